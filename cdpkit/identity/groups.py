"""Guarded agglomeration of scored pairs: likeliest first, and only groups that agree as a whole."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cdpkit.identity.cluster import MAX_SIZE, REASONS, REDUNDANT, REFUSED, USED
from cdpkit.identity.graph import components

#: One pair's say for or against a group, at most; and the say of a pair that no block held.
_MOST, _UNSCORED = 10.0, -1.0


def agglomerate(
    n: int,
    left: np.ndarray,
    right: np.ndarray,
    log2_odds: np.ndarray,
    size: np.ndarray,
    apart: Iterable[tuple[int, int]] = (),
    max_size: int = MAX_SIZE,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join records by scored pairs, refusing those whose groups speak against it.

    Two groups become one when the log2 odds of all pairs between them sum to no less than zero: one
    pair that looks alike does not join two groups that do not. (Greedy correlation clustering; Bansal,
    Blum and Chawla 2004.)

    Parameters
    ----------
    n : int
        Number of records.
    left, right : ndarray of int
        Scored pairs, each once.
    log2_odds : ndarray of float
        Of being one person; pairs below zero never link but count.
    size : ndarray of int
        How many records each stands for.
    apart : iterable of (int, int)
        Pairs that a decision keeps apart.
    max_size : int
        Largest person.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        Group of each record, and of each pair its state (a position in `cluster.STATES`, -1 for a pair
        below zero) and why it was refused (a position in `cluster.REASONS`, else -1).
    """
    state = np.full(len(left), -1, dtype=np.int8)
    why = np.full(len(left), -1, dtype=np.int8)
    links = np.flatnonzero(log2_odds >= 0)
    near = components(n, left[links], right[links])
    # Two records and nothing else: one pair, and nobody to object.
    alone = (np.bincount(near)[near[left[links]]] == 2) & (size[left[links]] + size[right[links]] <= max_size)
    if foes := {x for pair in apart for x in pair}:
        alone &= ~np.isin(left[links], list(foes))
    state[links[alone]] = USED
    links = links[~alone]
    order = links[np.lexsort((right[links], left[links], -log2_odds[links]))]
    _join(
        order, left, right, np.clip(log2_odds, -_MOST, _MOST), near, size, list(apart), max_size, state, why
    )
    used = state == USED
    labels = components(n, left[used], right[used])
    # Refused when it came, joined by others since: evidence all the same.
    late = (state == REFUSED) & (labels[left] == labels[right])
    state[late], why[late] = REDUNDANT, -1
    return labels, state, why


def _join(
    order: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    weight: np.ndarray,
    near: np.ndarray,
    size: np.ndarray,
    apart: list[tuple[int, int]],
    max_size: int,
    state: np.ndarray,
    why: np.ndarray,
) -> None:
    """Write the state of the pairs in order, joining likeliest first under the guards."""
    says: dict[int, dict[int, float]] = {}
    open_to = np.zeros(len(near), dtype=bool)
    open_to[near[left[order]]] = True
    held = np.flatnonzero((near[left] == near[right]) & open_to[near[left]])
    for a, b, w in zip(left[held].tolist(), right[held].tolist(), weight[held].tolist(), strict=True):
        says.setdefault(a, {})[b] = says.setdefault(b, {})[a] = w
    foes: dict[int, set[int]] = {}
    for a, b in apart:
        foes.setdefault(a, set()).add(b)
        foes.setdefault(b, set()).add(a)
    group: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    nothing: dict[int, float] = {}

    def refusal(a: list[int], b: list[int]) -> str | None:
        if foes and any(not foes[x].isdisjoint(b) for x in a if x in foes):
            return "decision"
        if int(size[a].sum() + size[b].sum()) > max_size:
            return "too many records"
        whole = sum(says.get(x, nothing).get(y, _UNSCORED) for x in a for y in b)
        return "the groups disagree" if whole < 0 else None

    for i, a, b in zip(order.tolist(), left[order].tolist(), right[order].tolist(), strict=True):
        a, b = group.get(a, a), group.get(b, b)
        if a == b:
            state[i] = REDUNDANT
            continue
        reason = refusal(members.get(a, [a]), members.get(b, [b]))
        if reason:
            state[i], why[i] = REFUSED, REASONS.index(reason)
            continue
        state[i] = USED
        members[a] = members.get(a, [a]) + members.pop(b, [b])
        group.update(dict.fromkeys(members[a], a))
