"""Small groups: hidden, and not given back by subtraction or by merging."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdpkit.ui.privacy import merge_small, suppress

COUNTS = st.lists(st.integers(0, 200), min_size=1, max_size=12)
K = st.integers(2, 50)


@given(COUNTS, K)
def test_no_small_group_is_shown(counts: list[int], k: int) -> None:
    """Every count shown is nobody or at least k, and unchanged."""
    shown = suppress(counts, k)
    assert all(s is None or (s == c and (s == 0 or s >= k)) for s, c in zip(shown, counts, strict=True))


@given(COUNTS, K)
def test_total_does_not_give_a_hidden_group_back(counts: list[int], k: int) -> None:
    """With the total known, what is hidden is several groups of at least k people, or all there is."""
    shown = suppress(counts, k)
    hidden = [c for s, c in zip(shown, counts, strict=True) if s is None]
    some_left = any(s for s in shown if s)
    assert not hidden or not some_left or (len(hidden) > 1 and sum(hidden) >= k)


@given(COUNTS, K, st.sets(st.integers(1, 11)))
def test_merged_bins_keep_everyone_and_the_walls(counts: list[int], k: int, walls: set[int]) -> None:
    """Merging moves nobody across a limit between tiers and loses nobody."""
    edges = list(range(len(counts) + 1))
    inner = [wall for wall in walls if wall < len(counts)]
    kept, sums = merge_small(edges, counts, k, inner)
    assert sum(sums) == sum(counts) and len(kept) == len(sums) + 1
    assert set(inner) <= set(kept) and kept[0] == 0 and kept[-1] == len(counts)
    assert all(total == sum(counts[low:high]) for low, high, total in zip(kept, kept[1:], sums, strict=False))


@given(COUNTS, K)
def test_a_small_bin_remains_only_where_there_is_nobody_else(counts: list[int], k: int) -> None:
    """Without walls, a bin under k means fewer than k people in all."""
    _, sums = merge_small(list(range(len(counts) + 1)), counts, k)
    assert min(sums) >= k or len(sums) == 1
