"""What a score is worth to a campaign: deciles, cumulative gains, tiers, the N best, the histogram."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cdpkit.evaluate.intervals import DRAWS, bootstrap, quantile_range, sum_of_chances, wilson

Array = NDArray[np.float64]

#: Tier codes, best first.
TIERS = ("hot", "warm", "cold")


def deciles(y: ArrayLike, p: ArrayLike) -> pd.DataFrame:
    """Return expected and observed conversions by decile of score, 1 the best.

    Parameters
    ----------
    y : array-like of 0 and 1
        What happened.
    p : array-like
        Predicted probabilities. Equal scores are ordered by row, as they come.

    Returns
    -------
    DataFrame
        ``decile, people, expected, observed`` (conversions), ``rate`` (share observed) with ``low,
        high`` (95 % Wilson), ``expected_rate``, ``lift`` (rate over the overall rate) and
        ``cumulative_share`` (of all conversions, from the best decile down).

    Examples
    --------
    >>> table = deciles([1] * 10 + [0] * 90, np.linspace(1, 0, 100))
    >>> table.loc[0, ["decile", "people", "observed", "lift"]].tolist()
    [1.0, 10.0, 10.0, 10.0]
    """
    truth, score = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    parts = np.array_split(np.argsort(-score, kind="stable"), 10)
    people = np.array([len(part) for part in parts])
    observed = np.array([truth[part].sum() for part in parts])
    expected = np.array([score[part].sum() for part in parts])
    low, high = wilson(observed, people)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = observed / people
        return pd.DataFrame(
            {
                "decile": np.arange(1, 11),
                "people": people,
                "expected": expected,
                "observed": observed.astype(int),
                "rate": rate,
                "low": low,
                "high": high,
                "expected_rate": expected / people,
                "lift": rate / truth.mean(),
                "cumulative_share": np.cumsum(observed) / truth.sum(),
            }
        )


def gains(
    y: ArrayLike,
    p: ArrayLike,
    *,
    baseline: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    points: int = 21,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the share of conversions reached when the best share of people is contacted.

    Returns
    -------
    DataFrame
        ``share_people`` (0 to 1), ``share_conversions`` with ``low, high`` (95 %, bootstrap of
        units), ``baseline`` (the rule; NaN without one), ``perfect`` and ``random``.

    Examples
    --------
    >>> table = gains([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], points=3, draws=20)
    >>> table["share_conversions"].tolist(), table["random"].tolist()
    ([0.0, 1.0, 1.0], [0.0, 0.5, 1.0])
    """
    truth, grid = np.asarray(y, dtype=float), np.linspace(0, 1, points)

    def reached(score: Array) -> Callable[[NDArray[np.int64]], Callable[[Array], Array]]:
        def statistic(rows: NDArray[np.int64]) -> Callable[[Array], Array]:
            order = np.argsort(-score[rows], kind="stable")
            starts = np.flatnonzero(np.append(True, np.diff(score[rows][order]) != 0))

            def figures(weights: Array) -> Array:
                w = weights[:, order]
                every = np.cumsum(np.add.reduceat(w, starts, axis=1), axis=1)
                pos = np.cumsum(np.add.reduceat(w * truth[rows][order], starts, axis=1), axis=1)
                return np.array(
                    [
                        np.interp(grid * a[-1], np.append(0.0, a), np.append(0.0, b)) / max(b[-1], 1e-12)
                        for a, b in zip(every, pos, strict=True)
                    ]
                )

            return figures

        return statistic

    model = reached(np.asarray(p, dtype=float))
    value, drawn = bootstrap(model, len(truth), groups=groups, draws=draws, seed=seed)
    low, high = quantile_range(drawn)
    blank = np.full(points, np.nan)
    every_row = np.arange(len(truth))
    rule = (
        blank
        if baseline is None
        else reached(np.asarray(baseline, dtype=float))(every_row)(np.ones((1, len(truth))))[0]
    )
    return pd.DataFrame(
        {
            "share_people": grid,
            "share_conversions": value,
            "low": low,
            "high": high,
            "baseline": rule,
            "perfect": np.minimum(grid / truth.mean(), 1.0),
            "random": grid,
        }
    )


def tiers(
    p: ArrayLike,
    tier: ArrayLike,
    y: ArrayLike | None = None,
    *,
    value: ArrayLike | float | None = None,
    order: Sequence[str] = TIERS,
) -> pd.DataFrame:
    """Return people, expected and observed conversions and value by tier, best tier first.

    Parameters
    ----------
    p : array-like
        Predicted probabilities.
    tier : array-like of str
        Tier code of each person.
    y : array-like of 0 and 1, optional
        What happened. Left out when the future is not known yet.
    value : float or array-like, optional
        Worth of one conversion, for everybody or by person, in any one unit.
    order : sequence of str
        Tier codes, best first; each has its row, even when empty.

    Returns
    -------
    DataFrame
        ``tier, people, share`` (of people), ``expected`` conversions with ``expected_low,
        expected_high`` (95 %, chance alone), ``observed``, ``rate`` with ``low, high`` (95 % Wilson),
        ``share_conversions``, ``expected_value`` and ``observed_value``. NaN where not known.

    Examples
    --------
    >>> table = tiers([0.9, 0.8, 0.1], ["hot", "hot", "cold"], [1, 0, 0], value=50.0)
    >>> table[["tier", "people", "observed", "expected_value"]].values.tolist()
    [['hot', 2, 1.0, 85.0], ['warm', 0, 0.0, 0.0], ['cold', 1, 0.0, 5.0]]
    """
    score, code = np.asarray(p, dtype=float), np.asarray(tier, dtype=object)
    truth = np.full(len(score), np.nan) if y is None else np.asarray(y, dtype=float)
    worth = np.broadcast_to(np.asarray(np.nan if value is None else value, dtype=float), score.shape)
    rows = []
    for name in order:
        inside = code == name
        n, chance = int(inside.sum()), score[inside]
        low, high = sum_of_chances(chance.sum(), (chance * (1 - chance)).sum(), n)
        observed = truth[inside].sum() if n or y is not None else np.nan
        rate_low, rate_high = wilson(observed, n)
        rows.append(
            {
                "tier": name,
                "people": n,
                "share": n / len(score) if len(score) else np.nan,
                "expected": chance.sum(),
                "expected_low": float(low),
                "expected_high": float(high),
                "observed": observed,
                "rate": observed / n if n else np.nan,
                "low": float(rate_low),
                "high": float(rate_high),
                "share_conversions": observed / truth.sum() if truth.sum() else np.nan,
                "expected_value": (chance * worth[inside]).sum() if value is not None else np.nan,
                "observed_value": (truth[inside] * worth[inside]).sum() if value is not None else np.nan,
            }
        )
    return pd.DataFrame(rows)


def top_n(
    p: ArrayLike,
    y: ArrayLike | None = None,
    *,
    sizes: Sequence[int] | None = None,
    cost: float | None = None,
    value: float | None = None,
) -> pd.DataFrame:
    """Return what contacting the N best would bring, for several N.

    Parameters
    ----------
    p : array-like
        Predicted probabilities.
    y : array-like of 0 and 1, optional
        What happened, where it is known.
    sizes : sequence of int, optional
        The N to report; 40 steps from 1 % to everybody by default.
    cost, value : float, optional
        Of one contact, and of one conversion, in one unit.

    Returns
    -------
    DataFrame
        ``people``, ``threshold`` (score of the last one contacted), ``expected`` conversions with
        ``expected_low, expected_high`` (95 %, chance alone), ``precision`` (expected share who
        convert), ``observed, observed_precision, observed_low, observed_high`` (Wilson), ``cost``,
        ``expected_value`` and ``profit``. NaN where not known.

    Examples
    --------
    >>> top_n([0.5, 0.1, 0.3], sizes=[1, 2])[["people", "expected", "precision"]].values.tolist()
    [[1.0, 0.5, 0.5], [2.0, 0.8, 0.4]]
    """
    score = np.asarray(p, dtype=float)
    if sizes is None:
        sizes = np.unique(np.round(np.linspace(0.01, 1, 40) * len(score)).astype(int)).tolist()
    n = np.clip(np.asarray([s for s in sizes if s > 0], dtype=int), 1, len(score))
    order = np.argsort(-score, kind="stable")
    best = score[order]
    expected, variance = np.cumsum(best)[n - 1], np.cumsum(best * (1 - best))[n - 1]
    low, high = sum_of_chances(expected, variance, n)
    observed = np.full(len(n), np.nan) if y is None else np.cumsum(np.asarray(y, dtype=float)[order])[n - 1]
    observed_low, observed_high = wilson(observed, n)
    spent = n * (np.nan if cost is None else cost)
    earned = expected * (np.nan if value is None else value)
    return pd.DataFrame(
        {
            "people": n,
            "threshold": best[n - 1],
            "expected": expected,
            "expected_low": low,
            "expected_high": high,
            "precision": expected / n,
            "observed": observed,
            "observed_precision": observed / n,
            "observed_low": observed_low,
            "observed_high": observed_high,
            "cost": spent,
            "expected_value": earned,
            "profit": earned - spent,
        }
    )


def histogram(p: ArrayLike, thresholds: Mapping[str, float] | None = None, *, bins: int = 40) -> pd.DataFrame:
    """Return how many people have each score, and the tier each bar falls in.

    Parameters
    ----------
    p : array-like
        Scores.
    thresholds : mapping, optional
        Lowest score of tiers, as ``{"hot": 0.4, "warm": 0.1}``. A bar never straddles one.
    bins : int
        Bars of equal width, before they are cut at the thresholds.

    Returns
    -------
    DataFrame
        ``low, high`` (score range), ``people``, ``tier`` (``"all"`` without thresholds).

    Examples
    --------
    >>> histogram([0.1, 0.2, 0.9], {"hot": 0.5, "warm": 0.15}, bins=2)["tier"].tolist()
    ['cold', 'warm', 'hot']
    """
    score = np.asarray(p, dtype=float)
    cuts = {k: float(v) for k, v in (thresholds or {}).items() if np.isfinite(v)}
    first, last = (float(score.min()), float(score.max())) if len(score) else (0.0, 1.0)
    inner = [c for c in cuts.values() if first < c < last]
    edges = np.unique(np.concatenate([np.linspace(first, max(last, first + 1e-9), bins + 1), inner]))
    people, _ = np.histogram(score, edges)
    best_first = sorted(cuts.items(), key=lambda item: -item[1])
    tier = [
        next((name for name, cut in best_first if low >= cut), "cold" if cuts else "all")
        for low in edges[:-1]
    ]
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "people": people, "tier": tier})
