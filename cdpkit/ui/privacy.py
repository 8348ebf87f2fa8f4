"""Small groups stay hidden: no count under k, and none that a subtraction would give back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: Groups of fewer people are hidden unless a workspace says otherwise.
K = 20


def suppress(counts: Sequence[int], k: int = K) -> list[int | None]:
    """Hide the counts under `k`, and one more where the total would give the hidden one back.

    Parameters
    ----------
    counts : sequence of int
        People in the parts of one whole whose total is shown.
    k : int, default 20
        Smallest group that may be shown. Nobody in a group (0) is no group and stays.

    Returns
    -------
    list of int or None
        None where hidden. Never exactly one hidden part summing to fewer than `k` people.

    Examples
    --------
    >>> suppress([400, 5, 60], k=20)
    [400, None, None]
    >>> suppress([400, 25, 60], k=20)
    [400, 25, 60]
    """
    hidden = {i for i, count in enumerate(counts) if 0 < count < k}
    while hidden and (len(hidden) == 1 or sum(counts[i] for i in hidden) < k):
        shown = [i for i, count in enumerate(counts) if i not in hidden and count > 0]
        if not shown:
            break
        hidden.add(min(shown, key=lambda i: counts[i]))
    return [None if i in hidden else int(count) for i, count in enumerate(counts)]


def merge_small(
    edges: Sequence[float], counts: Sequence[int], k: int = K, walls: Sequence[float] = ()
) -> tuple[list[float], list[int]]:
    """Merge neighbouring bins until each holds `k` people, never across a wall.

    Parameters
    ----------
    edges : sequence of float
        One more than the counts, increasing.
    counts : sequence of int
        People a bin.
    k : int, default 20
        Smallest bin that may be shown.
    walls : sequence of float
        Edges that must stay, such as the limits between tiers.

    Returns
    -------
    tuple of (list of float, list of int)
        Fewer edges and counts with the same total. A stretch between two walls that holds fewer
        than `k` people in all stays as one bin; `suppress` then hides it.

    Examples
    --------
    >>> merge_small([0, 1, 2, 3, 4], [50, 5, 30, 4], k=20)
    ([0, 2, 4], [55, 34])
    >>> merge_small([0, 1, 2], [50, 5], k=20, walls=[1])
    ([0, 1, 2], [50, 5])
    """
    kept, sums = [edges[0]], list[int]()
    stretch = 0
    for count, edge in zip(counts, edges[1:], strict=True):
        sums.append(int(count))
        kept.append(edge)
        while len(sums) - stretch > 1 and (sums[-1] < k or sums[-2] < k):
            last = sums.pop()
            sums[-1] += last
            del kept[-2]
        if edge in walls:
            stretch = len(sums)
    return kept, sums


def distinct(
    sizes: Mapping[str, int], apart: Mapping[tuple[str, str], tuple[int, int]], k: int = K
) -> list[str]:
    """Keep the groups whose figures may stand beside one another: none small, no two nearly the same.

    Of two groups that differ by a few persons, the difference of their figures is the figure of those few.

    Parameters
    ----------
    sizes : mapping of str to int
        People of each group; the larger of two near groups is kept.
    apart : mapping of (str, str) to (int, int)
        For two groups that share persons, how many are in the first alone and in the second alone.
    k : int, default 20
        Smallest group, and smallest difference, that may be told.

    Returns
    -------
    list of str
        Names, in the order given.

    Examples
    --------
    >>> sizes = {"hot": 300, "hot_adults": 290, "few": 9, "others": 80}
    >>> distinct(sizes, {("hot", "hot_adults"): (10, 0), ("hot", "others"): (260, 40)})
    ['hot', 'others']
    """
    kept: list[str] = []
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        near = [apart.get((name, other), apart.get((other, name))) for other in kept]
        if sizes[name] >= k and not any(0 < one < k for pair in near if pair for one in pair):
            kept.append(name)
    return [name for name in sizes if name in kept]
