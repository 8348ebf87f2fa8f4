"""Small groups stay hidden: no count under k, and none that a subtraction would give back."""

from __future__ import annotations

from collections.abc import Sequence

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
