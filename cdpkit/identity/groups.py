"""Guarded agglomeration of scored pairs: likeliest first, and only groups that agree as a whole."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cdpkit.identity.cluster import MAX_SIZE, _components

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
        Group of each record, and of each pair its state (``used``, ``redundant``, ``refused``, or
        ``none`` for a pair below zero) and why it was refused.
    """
    state = np.full(len(left), "none", dtype=object)
    why = np.full(len(left), None, dtype=object)
    links = np.flatnonzero(log2_odds >= 0)
    order = links[np.lexsort((right[links], left[links], -log2_odds[links]))]
    near = _components(n, left[links], right[links])
    says: dict[int, dict[int, float]] = {}
    held = np.flatnonzero(near[left] == near[right])
    weight = np.clip(log2_odds[held], -_MOST, _MOST)
    for a, b, w in zip(left[held].tolist(), right[held].tolist(), weight.tolist(), strict=True):
        says.setdefault(a, {})[b] = says.setdefault(b, {})[a] = w
    foes: dict[int, set[int]] = {}
    for a, b in apart:
        foes.setdefault(a, set()).add(b)
        foes.setdefault(b, set()).add(a)
    group: dict[int, int] = {}
    members: dict[int, list[int]] = {}

    def refusal(a: list[int], b: list[int]) -> str | None:
        if foes and any(not foes[x].isdisjoint(b) for x in a if x in foes):
            return "decision"
        if int(size[a].sum() + size[b].sum()) > max_size:
            return "too many records"
        nothing: dict[int, float] = {}
        whole = sum(says.get(x, nothing).get(y, _UNSCORED) for x in a for y in b)
        return "the groups disagree" if whole < 0 else None

    for i, a, b in zip(order.tolist(), left[order].tolist(), right[order].tolist(), strict=True):
        a, b = group.get(a, a), group.get(b, b)
        if a == b:
            state[i] = "redundant"
            continue
        why[i] = refusal(members.get(a, [a]), members.get(b, [b]))
        state[i] = "refused" if why[i] else "used"
        if why[i] is None:
            members[a] = members.get(a, [a]) + members.pop(b, [b])
            group.update(dict.fromkeys(members[a], a))
    used = state == "used"
    labels = _components(n, left[used], right[used])
    # Refused when it came, joined by others since: evidence all the same.
    late = (state == "refused") & (labels[left] == labels[right])
    state[late], why[late] = "redundant", None
    return labels, state, why
