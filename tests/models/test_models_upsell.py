"""Moving up the range: planted moments are found, next rungs too, and what is missing is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.utils.estimator_checks import parametrize_with_checks

from cdpkit.errors import CdpkitError, IntegrityError, NotEnoughDataError
from cdpkit.evaluate import concordance
from cdpkit.models import UpsellTiming

#: Checks that cannot pass, each with its reason. None today.
EXPECTED_FAILURES: dict[str, str] = {}
CHECKS = parametrize_with_checks(
    [UpsellTiming(min_moves=1, learner="logistic")],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)


@CHECKS
def test_scikit_learn_accepts_the_estimator(estimator, check) -> None:
    """The estimator keeps every promise of scikit-learn."""
    check(estimator)


def test_scikit_learn_ran_all_its_checks() -> None:
    """A release that silently drops checks is noticed."""
    assert len(CHECKS.args[1] if not callable(CHECKS.args[1]) else list(CHECKS.args[1]())) >= 40


def _buyers(
    n: int, seed: int, effect: float = 1.0
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Buyers on four rungs who look higher before they move; the period planted for some of them."""
    rng = np.random.default_rng(seed)
    rung = rng.integers(0, 3, n)
    looked = rung + effect * rng.normal(0.3, 1.0, n)
    # A move is likely now for who looks higher, later for who has just started to look.
    started = rng.random(n) < 0.5
    now = expit(-3 + 1.6 * effect * np.clip(looked - rung, -1, 2))
    chances = np.column_stack([np.where(started, 0.15, 1.0) * now, now, np.where(started, 1.5, 1.0) * now])
    moves = rng.random((n, 3)) < chances
    period = np.where(moves.any(axis=1), moves.argmax(axis=1) + 1, 0)
    reached = np.minimum(rung + 1 + ((looked - rung) > 1.5) * (rng.random(n) < 0.8), 3)
    X = pd.DataFrame({"rung": rung, "looked": looked, "started": started, "noise": rng.normal(size=n)})
    return X, period, np.maximum(reached, rung + 1), chances


@pytest.fixture(scope="module")
def fitted() -> UpsellTiming:
    """A model of planted moves."""
    X, period, reached, _ = _buyers(6000, 0)
    return UpsellTiming(rung="rung", looked="looked").fit(X, period, next_rung=reached)


@pytest.mark.req("MOD-17")
def test_it_ranks_who_moves_first_and_finds_the_planted_moment(fitted: UpsellTiming) -> None:
    """On new buyers: a concordance near the truth's, and the best period within one of the planted one."""
    X, period, _, chances = _buyers(6000, 1)
    told = fitted.moment(X)
    time, event = np.where(period > 0, period, 3), period > 0
    reached = concordance(time, event, told["chance"], draws=50)
    best = concordance(time, event, 1 - np.prod(1 - chances, axis=1), draws=10)
    assert reached["value"] > best["value"] - 0.02 and reached["low"] > 0.6
    alive = np.cumprod(np.column_stack([np.ones(len(X)), 1 - chances[:, :2]]), axis=1)
    planted = (chances * alive).argmax(axis=1) + 1
    assert (np.abs(told["best_period"] - planted) <= 1).mean() > 0.8
    assert told["chance"].mean() == pytest.approx(event.mean(), abs=0.02)
    assert ((told["mean_period"] >= 1) & (told["mean_period"] <= 3)).all()


@pytest.mark.req("MOD-17")
def test_the_next_rung_follows_where_people_look(fitted: UpsellTiming) -> None:
    """Who looks two rungs up is offered two rungs up, the others the next one; never the rung they have."""
    X, *_ = _buyers(2000, 2)
    told = fitted.moment(X.assign(rung=1))
    high = (X["looked"] - 1 > 1.5).to_numpy()
    assert (told.loc[high, "next_rung"] == 3).all() and (told.loc[~high, "next_rung"] == 2).all()
    assert (fitted.moment(X)["next_rung"] > X["rung"].to_numpy()).all()


def test_periods_not_watched_say_nothing() -> None:
    """Half of the buyers watched for one period only: the hazards stay what they are."""
    X, period, _, _ = _buyers(4000, 3)
    watched = np.where(np.arange(4000) % 2, 3, 1)
    seen = np.where((period > 0) & (period <= watched), period, 0)
    censored = UpsellTiming(learner="logistic").fit(X, seen, observed=watched)
    naive = UpsellTiming(learner="logistic").fit(X, seen)
    whole = UpsellTiming(learner="logistic").fit(X, period)
    later, *_ = _buyers(2000, 4)
    truth = whole.predict(later).mean()
    assert censored.predict(later).mean() == pytest.approx(truth, abs=0.03)
    assert naive.predict(later).mean() < truth - 0.03


def test_nothing_planted_nothing_found() -> None:
    """Where looking says nothing, the order is chance."""
    X, period, _, _ = _buyers(4000, 5, effect=0.0)
    period = np.random.default_rng(0).permutation(period)
    model = UpsellTiming().fit(X, period)
    later, other, _, _ = _buyers(4000, 6, effect=0.0)
    other = np.random.default_rng(1).permutation(other)
    found = concordance(np.where(other > 0, other, 3), other > 0, model.predict(later), draws=50)
    assert found["low"] < 0.5 < found["high"] + 0.02


def test_saved_and_loaded_is_the_same(fitted: UpsellTiming, tmp_path: Path) -> None:
    """Not close: the same; and a folder of something else is refused."""
    X, *_ = _buyers(500, 7)
    again = UpsellTiming.load(fitted.save(tmp_path / "m"))
    pd.testing.assert_frame_equal(again.moment(X), fitted.moment(X))
    assert {path.suffix for path in (tmp_path / "m").rglob("*") if path.is_file()} == {".json"}
    with pytest.raises(IntegrityError, match="upsell"):
        UpsellTiming.load(tmp_path)


def test_what_cannot_be_learned_is_said() -> None:
    """Too few moves, periods that are none, a next rung that is not above."""
    X, period, reached, _ = _buyers(600, 8)
    few = np.where(np.cumsum(period > 0) <= 12, period, 0)
    with pytest.raises(NotEnoughDataError, match="100 moves up needed, 12 seen"):
        UpsellTiming().fit(X, few)
    with pytest.raises(ValueError, match="numbers of periods"):
        UpsellTiming().fit(X, period - 1)
    with pytest.raises(CdpkitError, match="above the rung"):
        UpsellTiming(rung="rung", min_moves=50).fit(X, period, next_rung=reached * 0)


def test_concordance_counts_comparable_pairs_only() -> None:
    """Against the definition, pair by pair, with ties and people watched for a while."""
    rng = np.random.default_rng(0)
    time, event = rng.integers(1, 5, 80), rng.random(80) < 0.5
    risk = rng.integers(0, 6, 80)
    won = total = 0.0
    for i in range(80):
        for j in range(80):
            if event[i] and (time[j] > time[i] or (time[j] == time[i] and not event[j])):
                total += 1
                won += 1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0
    told = concordance(time, event, risk, draws=5)
    assert told["value"] == pytest.approx(won / total) and told["pairs"] == total
