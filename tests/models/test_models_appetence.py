"""The appetence classifier: what it plants it finds, what it saves it gives back, what it lacks it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from cdpkit.errors import CdpkitError, IntegrityError, NotEnoughDataError
from cdpkit.evaluate import calibration_error, log_losses, paired
from cdpkit.models import BASE, AppetenceClassifier, FrameError, RuleBaseline, served

#: Checks that cannot pass, each with its reason. None today.
EXPECTED_FAILURES: dict[str, str] = {}
CHECKS = parametrize_with_checks(
    [AppetenceClassifier(min_conversions=1, max_trees=10)],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)


@CHECKS
def test_scikit_learn_accepts_the_estimator(estimator, check) -> None:
    """The estimator keeps every promise of scikit-learn."""
    check(estimator)


def test_scikit_learn_ran_all_its_checks() -> None:
    """A release that silently drops checks is noticed."""
    assert len(CHECKS.args[1] if not callable(CHECKS.args[1]) else list(CHECKS.args[1]())) >= 55


def _people(n: int, seed: int = 0, effect: float = 1.0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """People with counts, gaps and categories; an interaction and a category act on the outcome."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "visits_30d": rng.poisson(3, n),
            "carts_30d": rng.poisson(1, n),
            "days_since_visit": np.where(rng.random(n) < 0.1, np.nan, rng.exponential(20, n)),
            "city": rng.choice(["Lyon", "Nice", "Lille", None], n),
            "noise": rng.standard_normal(n),
        }
    )
    odds = -1.5 + effect * (
        0.3 * (X["visits_30d"] - 3)
        + 0.8 * (X["carts_30d"] > 1) * (X["visits_30d"] > 3)
        + (X["city"] == "Nice")
    )
    p = expit(odds.to_numpy())
    return X, rng.random(n) < p, p


@pytest.fixture(scope="module")
def fitted() -> AppetenceClassifier:
    """A classifier fitted on planted people."""
    X, y, _ = _people(6000)
    return AppetenceClassifier().fit(X, y)


def test_it_finds_what_was_planted(fitted: AppetenceClassifier) -> None:
    """On new people it reaches most of the gain of the truth over the base rate, and is calibrated."""
    X, y, p = _people(6000, seed=1)
    q = fitted.predict_proba(X)[:, 1]
    flat = log_losses(y, np.full(len(y), y.mean())).mean()
    reached = (flat - log_losses(y, q).mean()) / (flat - log_losses(y, p).mean())
    assert reached > 0.85
    assert calibration_error(y, q)["inside"]


def test_nothing_planted_nothing_served() -> None:
    """Where nothing acts on anything the model does not beat its rule, and the rule is served."""
    decided = []
    for seed in range(8):
        X, y, _ = _people(1500, seed=seed, effect=0.0)
        later, later_y, _ = _people(1500, seed=100 + seed, effect=0.0)
        model = AppetenceClassifier(max_trees=100).fit(X, y)
        rule = RuleBaseline("days_since_visit", ascending=True).fit(X, y)
        p, q = (m.predict_proba(later)[:, 1] for m in (model, rule))
        decided.append(served(later_y, p, q).decided_by)
        assert np.ptp(p) < 0.2
    assert decided.count("model") <= 1


@pytest.mark.parametrize("learner", ["logistic", "boosting", "blend"])
@pytest.mark.parametrize("calibration", ["identity", "beta", "venn_abers"])
def test_saved_and_loaded_predictions_are_the_same(learner: str, calibration: str, tmp_path: Path) -> None:
    """Not close: the same, for every learner and calibration, gaps and unseen categories included."""
    X, y, _ = _people(800)
    model = AppetenceClassifier(learner=learner, calibration=calibration, max_trees=40).fit(X, y)
    again = AppetenceClassifier.load(model.save(tmp_path / "modèle saved"))
    later, _, _ = _people(500, seed=5)
    later.loc[:9, "city"] = "Paris"
    assert np.array_equal(model.predict_proba(later), again.predict_proba(later))
    assert np.array_equal(model.resemblance(later), again.resemblance(later))
    assert model.contributions(later).equals(again.contributions(later))
    assert np.array_equal(model.predict(later), again.predict(later))
    assert again.get_params() == model.get_params()
    pd.testing.assert_frame_equal(again.validation_, model.validation_)


def test_a_saved_model_is_json_only(fitted: AppetenceClassifier, tmp_path: Path) -> None:
    """Nothing on disk can execute when read."""
    fitted.save(tmp_path / "model")
    assert {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()} == {".json"}


def test_loading_something_else_is_refused(tmp_path: Path) -> None:
    """An empty folder and another kind of file are not a classifier."""
    with pytest.raises(IntegrityError, match="must hold `classifier"):
        AppetenceClassifier.load(tmp_path)
    (tmp_path / "classifier.json").write_text('{"format": "tiers"}')
    with pytest.raises(IntegrityError, match="something else"):
        AppetenceClassifier.load(tmp_path)


def test_string_labels_survive(tmp_path: Path) -> None:
    """Classes keep their names through save and load."""
    X, y, _ = _people(600)
    model = AppetenceClassifier(learner="logistic").fit(X, np.where(y, "yes", "no"))
    again = AppetenceClassifier.load(model.save(tmp_path / "m"))
    assert again.classes_.tolist() == ["no", "yes"] and set(again.predict(X)) <= {"no", "yes"}


def test_it_says_how_much_is_missing() -> None:
    """Under the minimum it declines, with both numbers."""
    X, y, _ = _people(2000)
    few = np.flatnonzero(y)[43:]
    y[few] = False
    with pytest.raises(NotEnoughDataError, match="100 conversions needed, 43 seen"):
        AppetenceClassifier().fit(X, y)


def test_choice_is_made_on_the_past_only() -> None:
    """Where the past's link does not hold later, validation on dates sees it; folds would not."""
    rng = np.random.default_rng(0)
    n = 4000
    time = np.repeat(np.arange(10), n // 10)
    X = pd.DataFrame({"trend": time + rng.standard_normal(n) * 0.1, "signal": rng.standard_normal(n)})
    # Each date has its own level, written in a column: folds can learn it by heart, the future cannot.
    y = rng.random(n) < expit(X["signal"] + rng.normal(0, 1.5, 10)[time] - 1)
    shuffled = AppetenceClassifier().fit(X, y)
    dated = AppetenceClassifier().fit(X, y, time=time)
    loss = {
        name: model.validation_.query("stage == 'learner' and candidate == 'boosting'")["log_loss"].item()
        for name, model in (("folds", shuffled), ("past", dated))
    }
    assert loss["past"] > loss["folds"] + 0.02
    assert "judged on rows from 7" in dated.validation_note_ and "no time" in shuffled.validation_note_


def test_labels_after_the_choice_do_not_reach_it() -> None:
    """Rows inside the embargo may say anything: learners of the validation do not see them."""
    X, y, _ = _people(3000)
    time = np.repeat(np.arange(10), 300)
    changed = y.copy()
    inside = time == 6
    changed[inside] = ~changed[inside]
    one, two = (
        AppetenceClassifier(max_trees=60).fit(X, labels, time=time, embargo=3) for labels in (y, changed)
    )
    pd.testing.assert_frame_equal(one.validation_, two.validation_)


def test_same_seed_same_model() -> None:
    """Fitting is a function of its inputs and its seed."""
    X, y, _ = _people(1000)
    one, two = (
        AppetenceClassifier(random_state=7, max_trees=60).fit(X, y).predict_proba(X) for _ in range(2)
    )
    assert np.array_equal(one, two)


def test_resemblance_places_definers_evenly(fitted: AppetenceClassifier) -> None:
    """New people who met the definition are spread over 0 to 100; the others lie lower."""
    X, y, _ = _people(6000, seed=2)
    for scale in (fitted.resemblance(X), fitted.standing(X)):
        assert scale.min() >= 0 and scale.max() <= 100
        assert scale[y].mean() == pytest.approx(50, abs=3)
        assert scale[~y].mean() < 42
    order = np.argsort(fitted.predict_proba(X)[:, 1])
    assert (np.diff(fitted.standing(X)[order]) >= -1e-9).all()


@pytest.mark.req("MOD-03")
def test_everybody_has_a_resemblance_that_hidden_hot_prospects_do_not_bend() -> None:
    """Nobody is dropped, planted look-alikes rank above the others, though most of them pass for cold."""
    X, y, _ = _people(6000)
    hidden = y & (np.random.default_rng(1).random(len(y)) < 0.7)
    seen, half = (AppetenceClassifier(learner="logistic").fit(X, labels) for labels in (y, y & ~hidden))
    later, later_y, _ = _people(6000, seed=1)
    later.iloc[0] = None
    like, blind = seen.resemblance(later), half.resemblance(later)
    assert np.isfinite(like).all() and np.isfinite(blind).all()
    # Those who will do it, then those hidden among the unlabelled, against the truth's own order.
    truth = roc_auc_score(later_y[1:], _people(6000, seed=1)[2][1:])
    assert roc_auc_score(later_y, like) > truth - 0.03
    assert roc_auc_score(later_y, blind) > roc_auc_score(later_y, like) - 0.02
    assert roc_auc_score(hidden[~y | hidden], half.resemblance(X)[~y | hidden]) > truth - 0.05


def test_likelihood_and_likeness_may_part() -> None:
    """Alike in each column and yet unlikely, by a pair of columns that must agree: both scales are kept."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((8000, 3)), columns=["usual", "left", "right"])
    agree = (X["left"] > 0) == (X["right"] > 0)
    y = rng.random(8000) < expit(0.6 * X["usual"] - 4 + 4 * agree)
    model = AppetenceClassifier(learner="boosting").fit(X, y)
    said = pd.Series(model.disagreement(X))
    assert (said[~agree & (X["usual"] > 0.7)] == "alike but unlikely").mean() > 0.8
    assert (said[agree] == "alike but unlikely").mean() < 0.05
    assert set(said) <= {"", "likely but unlike", "alike but unlikely"}


def test_contributions_name_what_was_planted(fitted: AppetenceClassifier) -> None:
    """Parts sum to the log-odds, and noise weighs least."""
    X, _, _ = _people(500, seed=3)
    parts = fitted.contributions(X)
    margin = fitted.learner_.margin(fitted.columns_.encode(X))
    assert np.allclose(parts.sum(axis=1), margin, atol=1e-4)
    weight = parts.drop(columns=BASE).abs().mean()
    assert weight.idxmin() in ("noise", "days_since_visit") and weight["visits_30d"] > 2 * weight["noise"]


@pytest.mark.parametrize("learner", ["logistic", "boosting", "blend"])
def test_one_pass_tells_what_three_questions_tell(learner: str) -> None:
    """The chance, the likeness and the parts that are scored together are those asked for apart, bit for bit."""
    X, y, _ = _people(1500)
    model = AppetenceClassifier(learner=learner).fit(X, y)
    p, alike, parts = model.explained(X.head(300))
    assert np.array_equal(p, model.predict_proba(X.head(300))[:, 1])
    assert np.array_equal(alike, model.resemblance(X.head(300)))
    assert parts.equals(model.contributions(X.head(300)))


def test_approximate_reasons_agree_with_exact_ones() -> None:
    """The strongest reason of most people is the same under exact SHAP values."""
    X, y, _ = _people(3000)
    model = AppetenceClassifier(learner="boosting").fit(X, y)
    fast, exact = (model.contributions(X.head(500), exact=e).drop(columns=BASE) for e in (False, True))
    assert (fast.abs().idxmax(axis=1) == exact.abs().idxmax(axis=1)).mean() > 0.8


def test_people_are_scored_alone_or_together(fitted: AppetenceClassifier) -> None:
    """A score does not depend on who else is scored, nor on the order of the rows."""
    X, _, _ = _people(50, seed=4)
    p = fitted.predict_proba(X)
    assert np.array_equal(np.vstack([fitted.predict_proba(X.iloc[[i]]) for i in range(50)]), p)
    assert np.array_equal(fitted.predict_proba(X.iloc[::-1])[::-1], p)


def test_a_missing_column_and_a_bad_parameter_are_refused(fitted: AppetenceClassifier) -> None:
    """Errors name the thing."""
    X, y, _ = _people(500)
    with pytest.raises(ValueError, match="city"):
        fitted.predict_proba(X.drop(columns="city"))
    with pytest.raises(ValueError, match="learner"):
        AppetenceClassifier(learner="forest").fit(X, y)
    with pytest.raises(FrameError, match="when"):
        AppetenceClassifier().fit(X.assign(when=pd.Timestamp("2026-01-01")), y)


def test_a_generator_as_seed_cannot_be_saved(tmp_path: Path) -> None:
    """A seed that is not a number is not plain JSON; it is said rather than lost."""
    X, y, _ = _people(600)
    model = AppetenceClassifier(learner="logistic", random_state=np.random.RandomState(0)).fit(X, y)
    with pytest.raises(CdpkitError, match="random_state"):
        model.save(tmp_path / "m")


def test_the_blend_pays_for_itself() -> None:
    """A blend is served only when it beats the better single learner by a standard error."""
    for seed in range(3):
        X, y, _ = _people(1500, seed=seed)
        table = AppetenceClassifier().fit(X, y).validation_.query("stage == 'learner'").set_index("candidate")
        single = table.drop(index="blend")["log_loss"].idxmin()
        blend = table.loc["blend"]
        expected = "blend" if blend["difference"] < -blend["se"] else single
        assert table.index[table["chosen"]].tolist() == [expected]


def test_the_model_beats_a_rule_where_there_is_something_to_find(fitted: AppetenceClassifier) -> None:
    """The gain over a one-column rule is said with its standard error, in both languages."""
    X, y, _ = _people(4000, seed=6)
    train, train_y, _ = _people(4000, seed=7)
    rule = RuleBaseline("visits_30d").fit(train, train_y)
    p, q = fitted.predict_proba(X)[:, 1], rule.predict_proba(X)[:, 1]
    verdict = served(y, p, q)
    assert verdict.decided_by == "model" and paired(log_losses(y, p), log_losses(y, q)).better()
    assert "beats the rule" in verdict.sentence("en") and "mieux que la règle" in verdict.sentence("fr")
