"""Deciles, gains, tiers, the N best and the histogram."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.evaluate import deciles, gains, histogram, tiers, top_n


@pytest.fixture
def people() -> tuple[np.ndarray, np.ndarray]:
    """Outcomes drawn from their own probabilities."""
    rng = np.random.default_rng(0)
    p = rng.beta(1, 4, 2003)
    return (rng.random(2003) < p).astype(int), p


def test_deciles_partition(people: tuple[np.ndarray, np.ndarray]) -> None:
    """Each person is in one decile, the first has the best scores, conversions add up."""
    y, p = people
    table = deciles(y, p)
    assert table["decile"].tolist() == list(range(1, 11))
    assert table["people"].sum() == len(y) and table["observed"].sum() == y.sum()
    assert table["expected_rate"].is_monotonic_decreasing
    assert table["cumulative_share"].iloc[-1] == pytest.approx(1)


def test_gains_rise_from_nothing_to_everything(people: tuple[np.ndarray, np.ndarray]) -> None:
    """The curve starts at 0, ends at 1, never falls, and stays between random and perfect."""
    y, p = people
    table = gains(y, p, baseline=np.full(len(y), 0.2), draws=100)
    curve = table["share_conversions"]
    assert curve.iloc[0] == 0 and curve.iloc[-1] == pytest.approx(1) and curve.is_monotonic_increasing
    assert (curve <= table["perfect"] + 1e-12).all() and (curve >= table["random"] - 1e-12).all()
    assert np.allclose(table["baseline"], table["random"])
    assert ((table["low"] <= curve + 1e-12) & (curve <= table["high"] + 1e-12)).all()


def test_tiers_add_up_and_keep_empty_tiers(people: tuple[np.ndarray, np.ndarray]) -> None:
    """Tiers partition people, conversions and value; an empty tier keeps its row."""
    y, p = people
    code = np.where(p > 0.3, "hot", "cold")
    table = tiers(p, code, y, value=20.0)
    assert table["tier"].tolist() == ["hot", "warm", "cold"]
    assert table["people"].sum() == len(y) and table["observed"].sum() == y.sum()
    assert table["expected"].sum() == pytest.approx(p.sum())
    assert table["observed_value"].sum() == pytest.approx(20 * y.sum())
    warm = table.set_index("tier").loc["warm"]
    assert warm["people"] == 0 and np.isnan(warm["rate"])


def test_tiers_before_the_facts(people: tuple[np.ndarray, np.ndarray]) -> None:
    """Without outcomes the observed columns are unknown and the expected ones stand."""
    _, p = people
    table = tiers(p, np.where(p > 0.3, "hot", "warm"))
    assert table.loc[:1, "observed"].isna().all() and table["expected"].sum() == pytest.approx(p.sum())


def test_expected_conversions_cover_what_happens() -> None:
    """The interval of expected conversions holds the observed number about 95 times in 100."""
    rng = np.random.default_rng(1)
    p = rng.beta(1, 4, 2000)
    row = top_n(p, sizes=[500]).iloc[0]
    best = np.sort(p)[::-1][:500]
    draws = (rng.random((2000, 500)) < best).sum(axis=1)
    assert 0.93 <= np.mean((row["expected_low"] <= draws) & (draws <= row["expected_high"])) <= 0.97


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.data())
def test_top_n_contacts_the_best(scores: list[float], data: st.DataObject) -> None:
    """The N best expect at least what any other N people do, and precision never rises with N."""
    p = np.array(scores)
    n = data.draw(st.integers(1, len(p)))
    table = top_n(p, sizes=range(1, len(p) + 1))
    others = data.draw(st.permutations(range(len(p))))[:n]
    assert table["expected"].iloc[n - 1] >= p[list(others)].sum() - 1e-9
    assert (np.diff(table["precision"]) <= 1e-9).all()


def test_top_n_counts_money_and_facts(people: tuple[np.ndarray, np.ndarray]) -> None:
    """Cost, value, profit and observed conversions follow the people contacted."""
    y, p = people
    row = top_n(p, y, sizes=[100], cost=1.0, value=10.0).iloc[0]
    best = np.argsort(-p)[:100]
    assert row["observed"] == y[best].sum() and row["cost"] == 100
    assert row["profit"] == pytest.approx(10 * p[best].sum() - 100)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(0, 1), st.floats(0, 1))
def test_histogram_counts_everybody_in_their_tier(scores: list[float], one: float, two: float) -> None:
    """Bars hold everybody, and each tier's bars hold exactly the people of the tier."""
    p, (warm, hot) = np.array(scores), sorted((one, two))
    table = histogram(p, {"hot": hot, "warm": warm})
    assert table["people"].sum() == len(p)
    # The last bar is closed on the right, as any histogram's: a cut at the very top is the exception.
    if hot < p.max():
        assert table.loc[table["tier"] == "hot", "people"].sum() == (p >= hot).sum()
