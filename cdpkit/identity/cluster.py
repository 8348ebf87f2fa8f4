"""Guarded clustering: strongest links first, and none that would put two people in one person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

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


@dataclass(frozen=True)
class Trait:
    """What tells people apart: names, or birth dates.

    Parameters
    ----------
    node, code : ndarray of int
        Which node carries which value, each once.
    values : sequence
        What `judge` takes, by code.
    judge : callable
        Tells whether two values can be one person's.
    """

    node: np.ndarray
    code: np.ndarray
    values: Sequence[Any]
    judge: Callable[..., bool]
    known: dict[tuple[int, int], bool] = field(default_factory=dict, repr=False)

    def agree(self, a: int, b: int) -> bool:
        """Tell whether two codes can be one person's: the same values meet again and again."""
        if a == b:
            return True
        if (a, b) not in self.known:
            self.known[a, b] = self.known[b, a] = self.judge(self.values[a], self.values[b])
        return self.known[a, b]

    def disputed(self, labels: np.ndarray, n: int) -> np.ndarray:
        """Tell which components hold two values that disagree, or too many to ask."""
        top = len(self.values)
        pairs = np.sort(labels[self.node] * top + self.code)
        pairs = pairs[np.diff(pairs, prepend=-1) != 0]
        label, code = pairs // max(top, 1), pairs % max(top, 1)
        count = np.bincount(label, minlength=n)
        out = count > _MANY
        asked = (count > 1) & ~out
        begin = np.cumsum(count) - count
        for step in range(1, _MANY):
            at = np.flatnonzero(asked[label] & (np.arange(len(label)) - begin[label] + step < count[label]))
            if len(at) == 0:
                break
            a, b = code[at], code[at + step]
            both, place = np.unique(a * top + b, return_inverse=True)
            verdict = [self.agree(*divmod(pair, top)) for pair in both.tolist()]
            out[label[at[~np.array(verdict, dtype=bool)[place]]]] = True
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
    labels = components(n, left, right)
    doubtful = np.bincount(labels, minlength=1) > max_size
    doubtful[labels[[a for pair in apart for a in pair]]] = True
    for trait in traits:
        doubtful |= trait.disputed(labels, len(doubtful))
    calm = ~doubtful[labels[left]] if len(left) else np.zeros(0, dtype=bool)
    state[spanning(n, left, right, calm)] = USED
    involved = doubtful[labels]
    _kruskal(links, np.flatnonzero(~calm), traits, apart, max_size, involved, state, why)
    if involved.any():
        kept = state != REFUSED
        labels = components(n, left[kept], right[kept])
    return labels, state, why


def components(n: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the connected component of each node, numbered by its first node.

    Parameters
    ----------
    n : int
        Number of nodes.
    left, right : ndarray of int
        Edges.

    Examples
    --------
    >>> components(4, np.array([3]), np.array([1])).tolist()
    [0, 1, 2, 1]
    """
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    graph = coo_matrix((np.ones(len(left), np.int8), (left, right)), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    return pd.factorize(labels)[0].astype(np.int64)


def spanning(n: int, left: np.ndarray, right: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the positions of the links that joining in their order would use, among some."""
    at = np.flatnonzero(among)
    pair = left[at] * n + right[at]
    order = np.argsort(pair, kind="stable")
    at = at[order[np.diff(pair[order], prepend=-1) != 0]]
    graph = coo_matrix((at + 1.0, (left[at], right[at])), shape=(n, n)).tocsr()
    return minimum_spanning_tree(graph, overwrite=True).data.astype(np.int64) - 1


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


def names_agree(a: tuple[str, str], b: tuple[str, str]) -> bool:
    """Tell whether two (first name, last name) pairs can be one person's.

    Parameters
    ----------
    a, b : (str, str)
        Name keys, empty when unknown.

    Returns
    -------
    bool
        True for equal, unknown, abbreviated, swapped or mistyped (one slip) first names. A final
        ``e`` makes two names of most French couples, not a slip: Louis is not Louise.

    Examples
    --------
    >>> marie = ("marie", "petit")
    >>> [names_agree(marie, other) for other in (("m", "petit"), ("petit", "marie"), ("mraie", "petit"))]
    [True, True, True]
    >>> names_agree(marie, ("michel", "petit"))
    False
    >>> names_agree(("louis", "petit"), ("louise", "petit"))
    False
    """
    (x, x_last), (y, y_last) = a, b
    if x == y or not x or not y:
        return True
    if x_last and y_last and x == y_last and y == x_last:
        return True
    if len(x) == 1 or len(y) == 1:
        return x[0] == y[0]
    short, long = sorted((x, y), key=len)
    if long == short + "e":
        return False
    return long.startswith(short + " ") or (len(short) >= 3 and one_slip(short, long))


def one_slip(a: str, b: str) -> bool:
    """Tell whether one insertion, deletion, substitution or swap of neighbours makes `a` into `b`.

    Examples
    --------
    >>> one_slip("marie", "maire"), one_slip("marie", "mrie"), one_slip("marie", "maria l")
    (True, True, False)
    """
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1:
        return False
    i = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[i:] == b[i + 1 :]
    swapped = a[i + 1 : i + 2] + a[i : i + 1] == b[i : i + 2] and a[i + 2 :] == b[i + 2 :]
    return swapped or a[i + 1 :] == b[i + 1 :]


def dates_agree(a: str, b: str) -> bool:
    """Tell whether two birth dates can be one person's.

    Parameters
    ----------
    a, b : str
        ISO dates.

    Returns
    -------
    bool
        True for equal dates, day and month swapped, or one of them on 1 January (only the year
        known) of the same year.

    Examples
    --------
    >>> dates_agree("1980-03-04", "1980-04-03"), dates_agree("1980-03-04", "1980-01-01")
    (True, True)
    >>> dates_agree("1980-03-04", "1981-03-04")
    False
    """
    if a == b:
        return True
    if a[:4] != b[:4]:
        return False
    return a.endswith("-01-01") or b.endswith("-01-01") or (a[5:7] == b[8:10] and a[8:10] == b[5:7])
