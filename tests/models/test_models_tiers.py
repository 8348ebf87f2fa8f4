"""Tiers against a declared reference population."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.errors import CdpkitError
from cdpkit.models import Tiers

SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.1000001, 0.2, 0.5, 0.9, 1.0]), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(SCORES, st.integers(0, 30), st.integers(0, 30))
def test_capacity_is_never_exceeded(scores: list[float], hot: int, warm: int) -> None:
    """Whatever the ties, at most the capacity is hot, and at most both capacities hot or warm."""
    tier = Tiers("capacity", hot=hot, warm=warm).fit(scores, "them").assign(scores)
    assert (tier == "hot").sum() <= hot or hot >= len(scores)
    assert (tier != "cold").sum() <= hot + warm or hot + warm >= len(scores)


def test_capacity_is_used_up_without_ties() -> None:
    """With distinct scores the best N are hot, the next M warm."""
    scores = np.random.default_rng(0).permutation(100) / 100
    tier = Tiers("capacity", hot=7, warm=20).fit(scores, "them").assign(scores)
    assert set(np.flatnonzero(tier == "hot")) == set(np.argsort(-scores)[:7])
    assert (tier == "warm").sum() == 20


def test_quantiles_cut_shares() -> None:
    """A tenth is hot and three tenths warm, and the cuts move with the reference, not the people scored."""
    reference = np.linspace(0, 1, 1000)
    tiers = Tiers("quantile", hot=0.1, warm=0.3).fit(reference, "all")
    tier = tiers.assign(reference)
    assert [(tier == t).sum() for t in ("hot", "warm", "cold")] == [100, 300, 600]
    assert (tiers.assign(reference / 2) == "hot").sum() == 0


def test_cost_cuts_where_a_contact_pays() -> None:
    """Warm from cost / value, hot from three times that."""
    tiers = Tiers("cost", cost=0.5, value=20.0).fit([0.0, 1.0], "all")
    assert tiers.thresholds_ == pytest.approx({"hot": 0.075, "warm": 0.025})
    assert tiers.assign([0.08, 0.03, 0.02]).tolist() == ["hot", "warm", "cold"]


@settings(deadline=None, max_examples=60)
@given(SCORES, SCORES)
def test_a_better_score_is_never_placed_lower(reference: list[float], scores: list[float]) -> None:
    """Percentile, decile and tier follow the score; percentiles and deciles keep to their scales."""
    tiers = Tiers().fit(reference, "all")
    ordered = np.sort(scores)
    percentile, decile = tiers.percentile(ordered), tiers.decile(ordered)
    assert (np.diff(percentile) >= 0).all() and ((percentile >= 0) & (percentile <= 100)).all()
    assert (np.diff(decile) <= 0).all() and set(decile) <= set(range(1, 11))
    rank = {"cold": 0, "warm": 1, "hot": 2}
    assert (np.diff([rank[t] for t in tiers.assign(ordered)]) >= 0).all()


def test_percentiles_are_those_of_the_reference() -> None:
    """The stored quantiles give the share of the reference below, to a thousandth."""
    reference = np.random.default_rng(0).beta(1, 9, 20_000)
    tiers = Tiers().fit(reference, "all")
    for score in (0.01, 0.1, 0.3):
        assert tiers.percentile([score])[0] == pytest.approx(100 * np.mean(reference < score), abs=0.2)
    counts = np.bincount(tiers.decile(reference))[1:]
    assert counts == pytest.approx(np.full(10, 2000), abs=60)


def test_ties_take_the_middle_of_their_places() -> None:
    """Sixty people of a hundred with one score stand at its middle, not at its top."""
    reference = np.append(np.zeros(60), np.linspace(0.1, 1, 40))
    assert Tiers().fit(reference, "all").percentile([0.0])[0] == pytest.approx(30, abs=1)


@pytest.mark.parametrize("method", ["quantile", "capacity", "cost"])
def test_tiers_survive_json(method: str) -> None:
    """State round-trips, an unreachable tier included, and assigns the same."""
    scores = np.random.default_rng(0).random(500)
    tiers = Tiers(method, hot=0, warm=0.5, cost=1, value=30).fit(scores, "active 365")
    again = Tiers.from_dict(json.loads(json.dumps(tiers.to_dict(), allow_nan=False)))
    assert (again.assign(scores) == tiers.assign(scores)).all()
    assert np.array_equal(again.percentile(scores), tiers.percentile(scores))
    assert again.reference_population_ == "active 365"


@pytest.mark.parametrize(
    "tiers",
    [
        Tiers("best"),
        Tiers(hot=0.8, warm=0.5),
        Tiers(hot=-1),
        Tiers("cost", cost=1),
        Tiers("cost", cost=0, value=1),
    ],
)
def test_senseless_tiers_are_refused(tiers: Tiers) -> None:
    """An unknown method, shares above one, a missing or null cost."""
    with pytest.raises(CdpkitError):
        tiers.fit([0.1, 0.2], "two")


def test_nobody_is_no_reference() -> None:
    """A population without people, or without scores, cannot be a reference."""
    for scores in ([], [np.nan, 0.1]):
        with pytest.raises(CdpkitError, match="reference population"):
            Tiers().fit(scores, "nobody")
