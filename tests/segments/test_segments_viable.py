"""The gate of a segment: closed forms of break-even and power, and what happens to those who miss it."""

from __future__ import annotations

from math import ceil, inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpkit.errors import FaultsError
from cdpkit.segments.viable import Economics, merged, power, size_needed, viable


@given(st.integers(100, 10_000), st.integers(1, 100), st.integers(1, 100_000), st.integers(0, 50))
def test_break_even_is_where_profit_covers_the_message(
    margin: int, percent: int, creative: int, contact: int
) -> None:
    """The profit of that many people covers the message, and of one fewer does not."""
    money = Economics(margin, percent / 100, creative, contact)
    each = margin * percent / 100 - contact
    if each <= 0:
        assert money.break_even == inf
    else:
        assert (
            money.break_even * each
            >= creative - 1e-6
            > (money.break_even - 1) * each - 1e-6 * creative - 2e-6
        )
        assert money.break_even == pytest.approx(ceil(creative / each - 1e-9))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_power_equals_what_simulation_finds(share: float) -> None:
    """The closed form agrees with 4,000 simulated tests, and with no lift it is the level."""
    n, base, lift = 6_000, 0.05, 0.018
    draw = np.random.default_rng(0)
    kept, treated = round(n * share), n - round(n * share)
    a, b = draw.binomial(kept, base, 4_000) / kept, draw.binomial(treated, base + lift, 4_000) / treated
    z = (b - a) / np.sqrt(a * (1 - a) / kept + b * (1 - b) / treated)
    assert power(n, base, lift, control_share=share) == pytest.approx((np.abs(z) > 1.96).mean(), abs=0.035)
    assert power(n, base, 0.0, control_share=share) == pytest.approx(0.05)


@given(st.floats(0.01, 0.3), st.floats(0.005, 0.1), st.floats(0.05, 0.9))
def test_the_size_needed_reaches_its_power(base: float, lift: float, share: float) -> None:
    """`size_needed` is the inverse of `power`."""
    n = size_needed(base, lift, control_share=share)
    assert power(n, base, lift, control_share=share) >= 0.8 - 1e-3


@pytest.mark.req("SEG-07")
def test_two_segments_with_one_message_are_told() -> None:
    """A segment that gets the message of another is no segment of its own."""
    money = Economics(margin=2_000, response=0.02, creative=0, contact=0)
    found = viable(
        {"a": 90_000, "b": 90_000, "c": 90_000}, money, base=0.05, lift=0.01,
        messages={"a": "promo", "b": "promo", "c": "news"},
    ).set_index("segment")["verdict"]  # fmt: skip
    assert found.to_dict() == {"a": "same_message", "b": "same_message", "c": "keep"}


@pytest.mark.req("SEG-05")
def test_a_segment_under_the_floor_is_merged_or_flagged() -> None:
    """Too few to hide, too few to pay, too few to test: each is told by its first reason, with its power."""
    money = Economics(margin=2_000, response=0.02, creative=50_000, contact=5)
    found = viable({"k": 12, "pay": 300, "test": 3_000, "fine": 60_000}, money, base=0.05, lift=0.01)
    told = found.set_index("segment")[["verdict", "why"]].agg(" ".join, axis=1).to_dict()
    assert told == {
        "k": "merge k_anonymity",
        "pay": "merge break_even",
        "test": "flag power",
        "fine": "keep ",
    }
    assert (found["break_even"] == ceil(50_000 / (2_000 * 0.02 - 5))).all()
    assert found["power"].is_monotonic_increasing
    homes = merged({"k": 12, "pay": 300, "test": 3_000}, 1_429, {"k": "pay", "pay": "test", "test": "pay"})
    assert homes == {"k": "test", "pay": "test", "test": "test"}


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50), min_size=1))
def test_merging_loses_nobody(sizes: dict[str, int]) -> None:
    """Every segment has a home that exists, and homes are their own home."""
    chain = dict(zip("abcdef", "bcdefa", strict=True))
    homes = merged(sizes, 40, chain)
    assert set(homes) == set(sizes)
    assert all(homes[home] == home for home in homes.values())


def test_impossible_economics_are_refused() -> None:
    """All faults are told at once, and a test of nothing has no size."""
    with pytest.raises(FaultsError, match="2 faults"):
        Economics(margin=-1, response=2, creative=0, contact=0)
    with pytest.raises(FaultsError):
        size_needed(0.1, 0.0)
