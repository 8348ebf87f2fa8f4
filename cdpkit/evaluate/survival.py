"""Time to an event: how well a score orders who comes first, when some are only seen for a while."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from cdpkit.evaluate.intervals import quantile_range, unit_codes

#: Bootstrap draws of a concordance: each costs a sort.
DRAWS = 200


def concordance(
    period: ArrayLike,
    event: ArrayLike,
    risk: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.Series:
    """Return how often, of two comparable persons, the one at higher risk has the event first.

    Parameters
    ----------
    period : array-like
        Number of the period of the event, or of the last period watched.
    event : array-like of bool
        Whether the event was seen; without it the person was watched to the end of `period`.
    risk : array-like
        Higher means sooner.
    groups : array-like, optional
        The unit of each row, for the interval.
    draws, seed : int
        Bootstrap draws, and their seed.

    Returns
    -------
    Series
        ``value``; ``low, high`` (95 %, bootstrap of units) and ``pairs`` compared. 0.5 is chance.

    Notes
    -----
    Harrell, Califf, Pryor, Lee and Rosati (1982), *Evaluating the yield of medical tests*. Two persons are
    comparable when one's event falls in a period through which the other was watched without it.

    Examples
    --------
    >>> concordance([1, 2, 3], [True, True, False], [0.9, 0.5, 0.1], draws=10)[["value", "pairs"]].tolist()
    [1.0, 3.0]
    """
    time, seen = np.asarray(period, dtype=float), np.asarray(event).astype(bool)
    score = np.asarray(risk, dtype=float)
    value, pairs = _concordance(time, seen, score)
    codes, units = unit_codes(len(time), groups)
    order, sizes = np.argsort(codes, kind="stable"), np.bincount(codes, minlength=units)
    first = np.cumsum(sizes) - sizes
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(draws):
        picked = rng.integers(units, size=units)
        n = sizes[picked]
        rows = order[np.repeat(first[picked] - np.cumsum(n) + n, n) + np.arange(n.sum())]
        drawn.append(_concordance(time[rows], seen[rows], score[rows])[0])
    low, high = quantile_range(np.array(drawn)[:, None])
    return pd.Series({"value": value, "low": float(low[0]), "high": float(high[0]), "pairs": pairs})


def _concordance(
    time: NDArray[np.float64], seen: NDArray[np.bool_], risk: NDArray[np.float64]
) -> tuple[float, float]:
    """Sum, over the periods of events, the pairs in which the earlier one scores higher; ties are half."""
    won = total = 0.0
    for moment in np.unique(time[seen]):
        here = seen & (time == moment)
        later = (time > moment) | (~seen & (time == moment))
        n, m = int(here.sum()), int(later.sum())
        if n and m:
            ranks = rankdata(np.concatenate([risk[here], risk[later]]))
            won += ranks[:n].sum() - n * (n + 1) / 2
            total += n * m
    return (won / total if total else float("nan")), total
