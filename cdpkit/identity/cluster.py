"""Guarded clustering: strongest links first, and none that would put two people in one person."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

#: Records one person may hold; reached only by filler that every other rule let through.
MAX_SIZE = 500


@dataclass(frozen=True)
class Traits:
    """What tells people apart: the names and birth dates of each node.

    Parameters
    ----------
    names : DataFrame
        ``node, first_name, last_name``: keys, distinct; a missing part is an empty string.
    dates : DataFrame
        ``node, birth_date``: keys, distinct.
    """

    names: pd.DataFrame
    dates: pd.DataFrame


def cluster(
    n: int,
    links: pd.DataFrame,
    traits: Traits,
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
        (optional) marks a person's decision, which only a contrary decision refuses.
    traits : Traits
        Names and birth dates; two that disagree are never in one person.
    apart : iterable of (int, int)
        Pairs that a decision keeps apart.
    max_size : int
        Largest person.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        Cluster of each node (numbered by first node), state of each link (``used``, ``redundant`` or
        ``refused``), and why it was refused (None otherwise).
    """
    left, right = links["left"].to_numpy(np.int64), links["right"].to_numpy(np.int64)
    forced = links["forced"].to_numpy(bool) if "forced" in links else np.zeros(len(links), dtype=bool)
    apart = list(apart)
    state = np.full(len(links), "redundant", dtype=object)
    why = np.full(len(links), None, dtype=object)
    labels = _components(n, left, right)
    doubtful = _doubtful(labels, traits, [a for pair in apart for a in pair], max_size)
    calm = ~doubtful[labels[left]] if len(left) else np.zeros(0, dtype=bool)
    state[_tree(n, left, right, calm)] = "used"
    _kruskal(
        left, right, np.flatnonzero(~calm), forced, traits, apart, max_size, doubtful[labels], state, why
    )
    kept = state != "refused"
    return _components(n, left[kept], right[kept]), state, why


def _components(n: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the connected component of each node, numbered by its first node."""
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    graph = coo_matrix((np.ones(len(left), np.int8), (left, right)), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    return pd.factorize(labels)[0].astype(np.int64)


def _doubtful(labels: np.ndarray, traits: Traits, decided: list[int], max_size: int) -> np.ndarray:
    """Tell which components hold more than one first name or birth date, a decision, or too many nodes."""
    n = int(labels.max()) + 1 if len(labels) else 0
    out = np.bincount(labels, minlength=n) > max_size
    out[labels[decided]] = True
    for frame, column in ((traits.names, "first_name"), (traits.dates, "birth_date")):
        codes, values = pd.factorize(frame[column])
        if len(values) == 0:
            continue
        given = codes != (list(values).index("") if "" in values else -1)
        pairs = np.unique(labels[frame["node"].to_numpy()[given]] * len(values) + codes[given])
        out |= np.bincount(pairs // len(values), minlength=n) > 1
    return out


def _tree(n: int, left: np.ndarray, right: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the positions of the links that Kruskal's algorithm would use, among some."""
    at = np.flatnonzero(among)
    pair = left[at] * n + right[at]
    at = np.sort(at[np.unique(pair, return_index=True)[1]])
    graph = coo_matrix((at + 1.0, (left[at], right[at])), shape=(n, n)).tocsr()
    return minimum_spanning_tree(graph).data.astype(np.int64) - 1


def _kruskal(
    left: np.ndarray,
    right: np.ndarray,
    among: np.ndarray,
    forced: np.ndarray,
    traits: Traits,
    apart: list[tuple[int, int]],
    max_size: int,
    involved: np.ndarray,
    state: np.ndarray,
    why: np.ndarray,
) -> None:
    """Write the state of the links among some, joining strongest first under the guards."""
    parent: dict[int, int] = {}
    size: dict[int, int] = {}
    names, dates = _gather(traits.names, involved), _gather(traits.dates, involved)
    foes: dict[int, set[int]] = {}
    for a, b in apart:
        foes.setdefault(a, set()).add(b)
        foes.setdefault(b, set()).add(a)
    members: dict[int, list[int]] = {}
    same_person, same_day = _memory(names_agree), _memory(dates_agree)
    mixed: set[int] = set()

    def root(x: int) -> int:
        while (up := parent.get(x, x)) != x:
            parent[x] = parent.get(up, up)
            x = up
        return x

    def refusal(a: int, b: int) -> str | None:
        if a in foes and foes[a].intersection(members.get(b, (b,))):
            return "decision"
        # People may have decided that two names are one person: then agreeing with one is enough.
        enough = any if a in mixed or b in mixed else all
        if not _agree(names, a, b, same_person, enough):
            return "first names disagree"
        if not _agree(dates, a, b, same_day, enough):
            return "birth dates disagree"
        return "too many records" if size.get(a, 1) + size.get(b, 1) > max_size else None

    for i in among.tolist():
        a, b = root(int(left[i])), root(int(right[i]))
        if a == b:
            continue
        reason = refusal(a, b)
        if forced[i] and reason not in (None, "decision"):
            mixed.add(a)
        elif reason is not None:
            state[i], why[i] = "refused", reason
            continue
        state[i] = "used"
        parent[b] = a
        if b in mixed:
            mixed.add(a)
        size[a] = size.get(a, 1) + size.pop(b, 1)
        for traits_of in (names, dates, foes):
            if b in traits_of:
                traits_of[a] = traits_of.get(a, set()) | traits_of.pop(b)  # type: ignore[assignment, operator]
        if apart:
            members[a] = members.get(a, [a]) + members.pop(b, [b])


def _agree(
    values: dict[int, set], a: int, b: int, judge: Callable[..., bool], enough: Callable[..., bool]
) -> bool:
    """Tell whether the values of two groups are one person's; no value is no disagreement."""
    if a not in values or b not in values:
        return True
    return enough(judge(x, y) for x in values[a] for y in values[b])


def _gather(frame: pd.DataFrame, involved: np.ndarray) -> dict[int, set]:
    """Return the distinct values of each involved node."""
    frame = frame[involved[frame["node"].to_numpy()]] if len(frame) else frame
    columns = [c for c in frame.columns if c != "node"]
    values = list(zip(*(frame[c] for c in columns), strict=True)) if len(columns) > 1 else frame[columns[0]]
    out: dict[int, set] = {}
    for node, value in zip(frame["node"].tolist(), values, strict=True):
        out.setdefault(node, set()).add(value)
    return out


def _memory(judge: Callable[..., bool]) -> Callable[..., bool]:
    """Remember the judgements of one clustering: the same names meet again and again."""
    known: dict[tuple, bool] = {}

    def asked(a: object, b: object) -> bool:
        if a == b:
            return True
        if (a, b) not in known:
            known[a, b] = judge(a, b)
        return known[a, b]

    return asked


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
