"""Guarded clustering: strongest links first, and none that would put two people in one person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from cdpkit.identity.graph import components, spanning

#: Records one person may hold; reached only by filler that every other rule let through.
MAX_SIZE = 500


#: What becomes of a link, and why it was refused: positions in these.
STATES = ("used", "redundant", "refused")
USED, REDUNDANT, REFUSED = range(3)
REASONS = (
    "decision",
    "first names disagree",
    "birth dates disagree",
    "too many records",
    "the groups disagree",
    "later sign-in",
)
#: Names of one component, or dates, beyond which its pairs are not all judged beforehand.
_MANY = 12


class Trait(Protocol):
    """What tells people apart: names, or birth dates (see `cdpkit.identity.names`)."""

    node: np.ndarray
    code: np.ndarray

    def __len__(self) -> int:
        """Return the number of values."""

    def agree(self, a: int, b: int) -> bool:
        """Tell whether two codes can be one person's."""

    def disagree(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Tell which pairs of codes can not be one person's."""


def _disputed(trait: Trait, labels: np.ndarray, n: int) -> np.ndarray:
    """Tell which components hold two values that disagree, or too many to ask."""
    top = max(len(trait), 1)
    pairs = np.sort(labels[trait.node] * top + trait.code)
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    label, code = pairs // top, pairs % top
    count = np.bincount(label, minlength=n)
    out = count > _MANY
    near = (count > 1) & ~out
    place = np.arange(len(label)) - (np.cumsum(count) - count)[label]
    for step in range(1, _MANY):
        at = np.flatnonzero(near[label] & (place + step < count[label]))
        if len(at) == 0:
            break
        out[label[at[trait.disagree(code[at], code[at + step])]]] = True
    return out


def _at_odds(n: int, left: np.ndarray, right: np.ndarray, traits: Sequence[Trait]) -> np.ndarray:
    """Return for each link the trait in which its two ends disagree, -1 for none."""
    out = np.full(len(left), -1, dtype=np.int8)
    for k, trait in enumerate(traits):
        # A node of several values is left to the slow way.
        code = np.full(n, -1, dtype=np.int64)
        code[trait.node] = trait.code
        code[trait.node[1:][trait.node[1:] == trait.node[:-1]]] = -1
        a, b = code[left], code[right]
        at = np.flatnonzero((a >= 0) & (b >= 0) & (a != b) & (out < 0))
        out[at[trait.disagree(a[at], b[at])]] = k
    return out


def cluster(
    n: int,
    links: pd.DataFrame,
    traits: Sequence[Trait],
    apart: Iterable[tuple[int, int]] = (),
    max_size: int = MAX_SIZE,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join nodes by links, strongest first, refusing those that join two people.

    Parameters
    ----------
    n : int
        Number of nodes.
    links : DataFrame
        ``left, right``, strongest first: their order is the order of acceptance. A true ``forced``
        marks a person's decision, which only a contrary decision refuses.
    traits : sequence of Trait
        Names, and birth dates; two that disagree are never in one person.
    apart : iterable of (int, int)
        Pairs that a decision keeps apart.
    max_size : int
        Largest person.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        Cluster of each node (numbered by first node), state of each link (a position in `STATES`), and
        why it was refused (a position in `REASONS`, else -1).
    """
    left, right = links["left"].to_numpy(np.int64), links["right"].to_numpy(np.int64)
    apart = list(apart)
    state = np.full(len(links), REDUNDANT, dtype=np.int8)
    why = np.full(len(links), -1, dtype=np.int8)
    forced = links["forced"].to_numpy(bool)
    decided = np.zeros(n, dtype=bool)
    decided[[a for pair in apart for a in pair]] = True
    decided[left[forced]] = True
    labels = components(n, left, right)
    doubtful = _doubtful(labels, traits, decided, max_size)
    # Where nobody decided, a link whose own ends disagree joins nobody: most disputes end there.
    by_decision = np.bincount(labels[decided], minlength=len(doubtful)) > 0
    open_to = np.flatnonzero((doubtful & ~by_decision)[labels[left]])
    odds = _at_odds(n, left[open_to], right[open_to], traits)
    state[open_to[odds >= 0]], why[open_to[odds >= 0]] = REFUSED, 1 + odds[odds >= 0]
    if (odds >= 0).any():
        kept = state != REFUSED
        labels = components(n, left[kept], right[kept])
        doubtful = _doubtful(labels, traits, decided, max_size)
    calm = (state != REFUSED) & ~doubtful[labels[left]]
    state[spanning(n, left, right, calm)] = USED
    hard = np.flatnonzero((state != REFUSED) & doubtful[labels[left]])
    if len(hard):
        _kruskal(links, hard, traits, apart, max_size, doubtful[labels], state, why)
        kept = state != REFUSED
        labels = components(n, left[kept], right[kept])
    return labels, state, why


def _doubtful(labels: np.ndarray, traits: Sequence[Trait], decided: np.ndarray, max_size: int) -> np.ndarray:
    """Tell which components may not be one person: they disagree, are too large or were decided on."""
    out = np.bincount(labels, minlength=1) > max_size
    out[labels[decided]] = True
    for trait in traits:
        out |= _disputed(trait, labels, len(out))
    return out


def _kruskal(
    links: pd.DataFrame,
    among: np.ndarray,
    traits: Sequence[Trait],
    apart: list[tuple[int, int]],
    max_size: int,
    involved: np.ndarray,
    state: np.ndarray,
    why: np.ndarray,
) -> None:
    """Write the state of the links among some, joining strongest first under the guards."""
    left, right = links["left"].to_numpy()[among].tolist(), links["right"].to_numpy()[among].tolist()
    forced = links["forced"].to_numpy(bool)[among].tolist()
    group = {x: x for x in np.flatnonzero(involved).tolist()}
    members: dict[int, list[int]] = {}
    held = [_gather(trait, involved) for trait in traits]
    foes: dict[int, set[int]] = {}
    for a, b in apart:
        foes.setdefault(a, set()).add(b)
        foes.setdefault(b, set()).add(a)
    mixed: set[int] = set()

    def refusal(a: int, b: int) -> int:
        if a in foes and foes[a].intersection(members.get(b, (b,))):
            return REASONS.index("decision")
        # People may have decided that two names are one person: then agreeing with one is enough.
        enough = any if a in mixed or b in mixed else all
        for k, (trait, values) in enumerate(zip(traits, held, strict=True)):
            x, y = values.get(a), values.get(b)
            if x and y and x != y and not enough(trait.agree(i, j) for i in x for j in y):
                return 1 + k
        size = len(members.get(a, (a,))) + len(members.get(b, (b,)))
        return REASONS.index("too many records") if size > max_size else -1

    for i, x, y, sure in zip(among.tolist(), left, right, forced, strict=True):
        a, b = group[x], group[y]
        if a == b:
            continue
        reason = refusal(a, b)
        if sure and reason > 0:
            mixed.add(a)
        elif reason >= 0:
            state[i], why[i] = REFUSED, reason
            continue
        state[i] = USED
        if b in mixed:
            mixed.add(a)
        moved = members.pop(b, [b])
        members.setdefault(a, [a]).extend(moved)
        group.update(dict.fromkeys(moved, a))
        for values in (*held, foes):
            if b in values:
                values[a] = values.get(a, set()) | values.pop(b)


def _gather(trait: Trait, involved: np.ndarray) -> dict[int, set[int]]:
    """Return the distinct values of each involved node."""
    at = involved[trait.node]
    out: dict[int, set[int]] = {}
    for node, code in zip(trait.node[at].tolist(), trait.code[at].tolist(), strict=True):
        out.setdefault(node, set()).add(code)
    return out
