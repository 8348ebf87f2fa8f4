"""The learners, the calibrators and the validation behind a choice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from cdpkit.models.boosting import ShallowTrees
from cdpkit.models.calibrate import KINDS, Beta, Identity, VennAbers, calibrator, choose
from cdpkit.models.frame import Columns
from cdpkit.models.learners import Blend
from cdpkit.models.logistic import QuantileLogistic
from cdpkit.models.validation import plan


@pytest.fixture(scope="module")
def rows() -> tuple[Columns, np.ndarray, np.ndarray]:
    """Rows with numbers, categories and gaps, and a planted outcome."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "visits": rng.poisson(2, 2000).astype(float),
            "spend": np.where(rng.random(2000) < 0.6, 0.0, rng.exponential(50, 2000)),
            "recency": np.where(rng.random(2000) < 0.2, np.nan, rng.exponential(30, 2000)),
            "city": rng.choice(["Lyon", "Nice", "Lille"], 2000),
            "same": 1.0,
        }
    )
    odds = -2 + 0.5 * frame["visits"] + 0.01 * frame["spend"] + (frame["city"] == "Nice")
    columns = Columns.learn(frame)
    return columns, columns.encode(frame), rng.random(2000) < expit(odds)


def test_contributions_sum_to_the_log_odds(rows: tuple[Columns, np.ndarray, np.ndarray]) -> None:
    """For each learner and their blend, approximate or exact, the parts add up to the whole."""
    columns, matrix, y = rows
    logistic = QuantileLogistic(columns).fit(matrix, y)
    trees = ShallowTrees(columns, trees=30).fit(matrix, y)
    for model in (logistic, trees, Blend(logistic, trees, 0.3)):
        for exact in (False, True):
            assert np.allclose(
                model.contributions(matrix, exact).sum(axis=1), model.margin(matrix), atol=1e-4
            )


def test_a_blend_lies_between_its_parts(rows: tuple[Columns, np.ndarray, np.ndarray]) -> None:
    """In log-odds, and at its ends it is the part itself."""
    columns, matrix, y = rows
    logistic = QuantileLogistic(columns).fit(matrix, y)
    trees = ShallowTrees(columns, trees=30).fit(matrix, y)
    one, two = logistic.margin(matrix), trees.margin(matrix)
    mixed = Blend(logistic, trees, 0.4).margin(matrix)
    assert (mixed >= np.minimum(one, two) - 1e-9).all() and (mixed <= np.maximum(one, two) + 1e-9).all()
    assert np.array_equal(Blend(logistic, None, 1.0).margin(matrix), one)


def test_logistic_ignores_the_unit_of_a_number(rows: tuple[Columns, np.ndarray, np.ndarray]) -> None:
    """Scores depend on ranks: cents or euros give the same log-odds."""
    columns, matrix, y = rows
    cents = matrix.copy()
    cents[:, 1] *= 100
    one = QuantileLogistic(columns).fit(matrix, y).margin(matrix)
    assert np.allclose(one, QuantileLogistic(columns).fit(cents, y).margin(cents), atol=1e-4)


def test_logistic_does_not_run_away(rows: tuple[Columns, np.ndarray, np.ndarray]) -> None:
    """A number far beyond any seen is scored as the largest seen."""
    columns, matrix, y = rows
    model = QuantileLogistic(columns).fit(matrix, y)
    far, edge = matrix[:1].copy(), matrix[:1].copy()
    far[0, 1], edge[0, 1] = 1e9, matrix[:, 1].max()
    assert model.margin(far) == pytest.approx(model.margin(edge))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_calibrators_never_reverse_an_order(kind: str) -> None:
    """Higher log-odds, never a lower probability; and people who differ are still ranked."""
    rng = np.random.default_rng(0)
    margin = rng.normal(size=3000)
    fitted = KINDS[kind]().fit(margin, rng.random(3000) < expit(0.4 * margin - 1))
    p = fitted.predict(np.sort(margin))
    assert ((p > 0) & (p < 1)).all() and (np.diff(p) > 0).all()
    again = calibrator(fitted.to_dict())
    assert np.array_equal(again.predict(margin), fitted.predict(margin))


def test_venn_abers_is_two_isotonic_fits() -> None:
    """At each calibration score, p0 and p1 are isotonic fits with one more person of each outcome."""
    rng = np.random.default_rng(1)
    margin = np.sort(rng.normal(size=60))
    y = rng.random(60) < expit(margin)
    fitted = VennAbers().fit(margin, y)
    for k in (0, 20, 59):
        both = []
        for outcome in (0.0, 1.0):
            fit = IsotonicRegression().fit(np.append(margin, margin[k]), np.append(y, outcome))
            both.append(fit.predict([margin[k]])[0])
        merged = both[1] / (1 - both[0] + both[1])
        assert fitted.values[np.argmin(np.abs(fitted.knots - margin[k]))] == pytest.approx(merged)


def test_identity_is_kept_unless_another_helps() -> None:
    """Honest log-odds are left alone; doubled ones are bent back."""
    rng = np.random.default_rng(2)
    margin = rng.normal(-1, 1.5, 4000)
    y = rng.random(4000) < expit(margin)
    assert choose(margin, y, np.arange(4000))[0] == "identity"
    kind, table = choose(2.5 * margin, y, np.arange(4000))
    assert kind == "beta" and sum(row["chosen"] for row in table) == 1


def test_beta_finds_a_shift() -> None:
    """A base rate that moved is one number of three."""
    rng = np.random.default_rng(3)
    margin = rng.normal(size=20_000)
    fitted = Beta().fit(margin, rng.random(20_000) < expit(margin - 1))
    assert (fitted.a, fitted.b, fitted.c) == pytest.approx((1, 1, -1), abs=0.15)
    assert Identity().predict(margin) == pytest.approx(expit(margin))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(60, 200), st.integers(2, 30), st.integers(0, 5), st.booleans())
def test_validation_looks_back_only(
    seed: int, rows: int, dates: int, embargo: int, with_persons: bool
) -> None:
    """No row is judged by a learner of its own person, of later rows, or of labels not closed by then."""
    rng = np.random.default_rng(seed)
    time, persons = rng.integers(dates, size=rows), rng.integers(rows // 2, size=rows)
    y = rng.random(rows) < 0.5
    made = plan(y, groups=persons if with_persons else None, time=time, embargo=embargo, seed=seed)
    if made.scheme != "past-only":
        return
    for learn, judge in made.pairs:
        assert time[learn].max() <= time[judge].min() - embargo
        assert time[learn].max() < time[judge].min()
        assert not with_persons or not set(persons[learn]) & set(persons[judge])


def test_folds_keep_persons_whole_and_judge_everybody_once() -> None:
    """Without dates, each row is judged once, by learners that never saw its person."""
    rng = np.random.default_rng(0)
    persons, y = rng.integers(80, size=300), rng.random(300) < 0.3
    made = plan(y, groups=persons)
    assert made.scheme == "folds"
    assert sorted(np.concatenate([judge for _, judge in made.pairs])) == list(range(300))
    for learn, judge in made.pairs:
        assert not set(persons[learn]) & set(persons[judge])


def test_an_embargo_that_leaves_nothing_is_said() -> None:
    """When no label is closed in time, folds are used and the note tells why."""
    made = plan(np.array([True, False] * 20), time=np.arange(40) // 20, embargo=5)
    assert made.scheme == "folds" and "clear of the judged dates" in made.note
