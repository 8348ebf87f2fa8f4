"""Small groups on pages: bins merged until each is large enough, no two groups nearly the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdpkit.disclosure import K, suppress

__all__ = ["K", "distinct", "merge_small", "suppress"]


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
