"""UpliftRanker finds whom a treatment changes, serves the rule unless beaten, and knows an empty effect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdpkit.errors import FaultsError, IntegrityError, NotEnoughDataError
from cdpkit.evaluate import qini, qini_value
from cdpkit.models import UpliftRanker


def trial(kind: str, n: int = 4000, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Return people, outcomes, who was treated at random, and each one's true effect."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({f"x{k}": rng.normal(size=n) for k in range(5)})
    X["city"] = rng.choice(["Lyon", "Nice", "Lille"], n)
    treated = rng.random(n) < 0.5
    effect = {
        "none": np.zeros(n),
        "same": np.full(n, 0.05),
        "one": np.where(X["x0"] > 0, 0.15, -0.10),
        "many": 0.09 * np.tanh(X[["x0", "x1", "x2", "x3"]].sum(axis=1).to_numpy()),
    }[kind]
    y = rng.random(n) < 0.2 + 0.05 * np.tanh(X["x4"]) + effect * treated
    return X, y.astype(float), treated, np.asarray(effect)


@pytest.mark.req("MOD-18")
def test_persuadables_and_sleeping_dogs_are_told_apart() -> None:
    """Nine in ten of those whom treating helps or harms are on their side of zero."""
    X, y, treated, effect = trial("one", 8000)
    model = UpliftRanker().fit(X, y, treated)
    assert model.rule_ == "x0" and model.varies_
    right = (model.predict(X) > 0) == (effect > 0)
    assert right.mean() > 0.9
    assert model.reasons(X.head(5), 1)["reason"].eq("x0").all()


def test_the_rule_is_served_where_one_column_is_all() -> None:
    """Over ten trials whose effect is one column's, no learner displaces the rule more than once."""
    served = [UpliftRanker().fit(*trial("one", seed=seed)[:3]).choice_ for seed in range(10)]
    assert sum(name != "rule" for name in served) <= 1


def test_a_learner_is_served_where_many_columns_matter() -> None:
    """An effect spread over four columns is ranked better by a learner, on people never seen."""
    X, y, treated, _ = trial("many", 30_000, seed=1)
    model = UpliftRanker(random_state=1).fit(X, y, treated)
    new, _, _, effect = trial("many", 4000, seed=9)
    rule = UpliftRanker(method="rule").fit(X, y, treated)

    def told(ranker: UpliftRanker) -> float:
        return float(np.corrcoef(ranker.decision_function(new), effect)[0, 1])

    assert model.choice_ != "rule" and model.verdict_.decided_by == "model"
    assert told(model) > told(rule) + 0.1


@pytest.mark.req("MOD-18")
@pytest.mark.parametrize("kind", ["none", "same"])
def test_no_difference_is_found_where_there_is_none(kind: str) -> None:
    """Over 200 trials where nobody differs, people are said to differ nine times at most."""
    alarms, learners = 0, 0
    for seed in range(200):
        model = UpliftRanker().fit(*trial(kind, 1000, seed)[:3])
        alarms += model.varies_
        learners += model.choice_ != "rule"
    assert alarms <= 9 and learners <= 9


def test_everybody_has_the_effect_on_the_whole_where_none_differs() -> None:
    """Where people are not known to differ the prediction is the mean effect, its truth inside its error."""
    X, y, treated, _ = trial("same", 6000, seed=2)
    model = UpliftRanker().fit(X, y, treated)
    assert not model.varies_
    assert np.unique(model.predict(X)).tolist() == [model.effect_]
    assert abs(model.effect_ - 0.05) < 3 * model.effect_se_


@pytest.mark.req("MOD-18")
def test_a_placebo_gives_no_uplift() -> None:
    """With the treatment drawn again at random nobody differs, and the effect on the whole is near zero."""
    X, y, treated, _ = trial("one", 6000, seed=3)
    placebo = np.random.default_rng(8).permutation(treated)
    model = UpliftRanker().fit(X, y, placebo)
    assert not model.varies_ and abs(model.effect_) < 3 * model.effect_se_
    assert np.ptp(model.predict(X)) == 0


def test_qini_by_hand() -> None:
    """Ties count together; the best order is half the effect above the straight line."""
    y, t = [1, 0, 0, 0], [1, 0, 1, 0]
    assert qini_value(y, t, [2, 2, 1, 1]) == pytest.approx(0.125)
    assert qini_value(y, t, [1, 1, 1, 1]) == pytest.approx(0.0)
    assert qini_value(y, t, [1, 1, 2, 2]) == pytest.approx(-0.125)
    order = [2, 0, 3, 1]
    assert qini_value(np.array(y)[order], np.array(t)[order], [1, 2, 1, 2]) == pytest.approx(0.125)


def test_the_interval_of_a_qini_covers_its_truth() -> None:
    """Over 200 trials the 95 % bootstrap interval holds the Qini of a very large trial."""
    X, y, treated, _ = trial("one", 400_000, seed=99)
    truth = qini_value(y, treated, X["x0"])
    inside = 0
    for seed in range(200):
        X, y, treated, _ = trial("one", 800, seed)
        row = qini(y, treated, X["x0"], draws=100, seed=seed).iloc[0]
        inside += row["low"] < truth < row["high"]
    assert 0.90 <= inside / 200 <= 0.985


def test_rows_in_any_order_and_state_on_disk(tmp_path: Path) -> None:
    """A shuffled frame learns the same; what is read back tells the same."""
    X, y, treated, _ = trial("one", 2000)
    X.loc[::50, "x1"] = np.nan
    model = UpliftRanker().fit(X, y, treated)
    order = np.random.default_rng(0).permutation(len(X))
    again = UpliftRanker().fit(X.iloc[order], y[order], treated[order])
    np.testing.assert_allclose(again.decision_function(X), model.decision_function(X), atol=1e-9)
    back = UpliftRanker.load(model.save(tmp_path / "uplift"))
    np.testing.assert_array_equal(back.predict(X), model.predict(X))
    assert back.get_params() == model.get_params() and back.verdict_ == model.verdict_
    with pytest.raises(IntegrityError):
        UpliftRanker.load(tmp_path)


def test_faults_are_told_at_once() -> None:
    """A wrong method, a missing outcome and a third treatment are one refusal; a small trial another."""
    X, y, treated, _ = trial("one", 500)
    y = np.where(np.arange(500) == 3, np.nan, y)
    with pytest.raises(FaultsError) as caught:
        UpliftRanker(method="forest").fit(X, y, treated + 2 * (np.arange(500) == 7))
    assert all(word in str(caught.value) for word in ("method", "`y`", "treatment"))
    with pytest.raises(NotEnoughDataError, match="200"):
        UpliftRanker().fit(X.head(100), np.zeros(100), treated[:100])
