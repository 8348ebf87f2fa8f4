"""Set algebra on selections: the laws hold, and the counts of a combination add up."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpkit.segments import Selection, combine, overlap

sets = st.frozensets(st.sampled_from("abcdefgh"))
some = st.lists(sets, min_size=1, max_size=4)


def _named(persons: list[frozenset[str]], word: str) -> list[Selection]:
    return [Selection(f"{word}{i}", one) for i, one in enumerate(persons)]


@given(sets, sets, sets)
def test_the_laws_of_sets_hold(x: frozenset, y: frozenset, z: frozenset) -> None:
    """Commutative, associative, distributive, De Morgan by difference, absorption."""
    a, b, c = _named([x, y, z], "s")
    same = [
        (a | b, b | a), (a & b, b & a), ((a | b) | c, a | (b | c)), ((a & b) & c, a & (b & c)),
        (a & (b | c), (a & b) | (a & c)), (a | (b & c), (a | b) & (a | c)), (a - (b | c), (a - b) & (a - c)),
        (a - (b & c), (a - b) | (a - c)), (a | (a & b), a), (a ^ b, (a | b) - (a & b)), ((a - b) & b, a - a),
    ]  # fmt: skip
    for left, right in same:
        assert left.persons == right.persons, (left.name, right.name)


@pytest.mark.req("SEG-08")
@given(some, st.lists(sets, max_size=4), st.sampled_from(["any", "all"]))
def test_what_is_excluded_is_out_and_counts_add_up(inside: list, outside: list, match: str) -> None:
    """The result meets no excluded set, and each person who left is counted once, at the first."""
    kept, waterfall = combine("x", _named(inside, "in"), _named(outside, "out"), match=match)
    whole = reduce(frozenset.union if match == "any" else frozenset.intersection, inside)
    assert all(not kept.persons & one for one in outside) and kept.persons <= whole
    assert waterfall["n_out"].sum() + len(kept) == len(whole) == waterfall["n_left"].iloc[0]
    assert waterfall["n_left"].iloc[-1] == len(kept) and len(waterfall) == 1 + len(outside)


@pytest.mark.req("SEG-02")
@given(some)
def test_the_overlap_matrix_is_set_arithmetic(held: list) -> None:
    """Each cell is the size of an intersection, the diagonal that of the selection."""
    frame = overlap(_named(held, "s"))
    for row in frame.itertuples(index=False):
        a, b = held[int(row.a[1:])], held[int(row.b[1:])]
        assert row.n_both == len(a & b) and row.n_a == len(a) and row.n_b == len(b)
        assert row.jaccard == len(a & b) / max(len(a | b), 1)
