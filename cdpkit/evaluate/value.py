"""How good a forecast of value is: who is ranked first, how much in all, and for each tenth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cdpkit.evaluate.intervals import DRAWS, bootstrap, quantile_range

Array = NDArray[np.float64]

#: Figures of the value report, and whether more is better; None: nearer to zero is better.
VALUE_METRICS: dict[str, bool | None] = {
    "gini": True,
    "top_10_share": True,
    "spearman": True,
    "mae": False,
    "decile_error": False,
    "aggregate_error": None,
}


def gini(y: ArrayLike, score: ArrayLike) -> float:
    """Return the normalised Gini of outcomes ranked by a score: 1 for the perfect ranking, 0 for none.

    Parameters
    ----------
    y : array-like
        Outcomes, at least 0: spend, orders.
    score : array-like
        Higher is better; equal scores share their outcomes.

    Raises
    ------
    ValueError
        Where all outcomes are equal: there is nothing to rank.

    Examples
    --------
    >>> gini([0, 1, 5], [0.1, 0.5, 0.9]), gini([0, 1, 5], [1, 1, 1])
    (1.0, 0.0)
    """
    truth, p = np.asarray(y, dtype=float), np.asarray(score, dtype=float)
    one = np.ones((1, len(truth)))
    best = area(truth, truth)(one)[0]
    if not best > 0:
        raise ValueError("`y` must hold different outcomes; got one only")
    return float(area(truth, p)(one)[0] / best)


def area(y: Array, score: Array) -> Callable[[Array], Array]:
    """Prepare twice the area between the gains curve and the diagonal: weights (draws × rows) → draws.

    Examples
    --------
    >>> area(np.array([1.0, 0.0]), np.array([2.0, 1.0]))(np.ones((1, 2)))
    array([0.5])
    """
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) != 0))
    sorted_y = y[order]

    def figures(weights: Array) -> Array:
        w = weights[:, order]
        people = np.cumsum(np.add.reduceat(w, starts, axis=1), axis=1)
        worth = np.cumsum(np.add.reduceat(w * sorted_y, starts, axis=1), axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            x = np.hstack([np.zeros((len(w), 1)), people / people[:, -1:]])
            g = np.hstack([np.zeros((len(w), 1)), worth / worth[:, -1:]])
        return np.asarray((np.diff(x, axis=1) * (g[:, 1:] + g[:, :-1])).sum(axis=1) - 1)

    return figures


def value_losses(y: ArrayLike, p: ArrayLike) -> Array:
    """Return the Poisson deviance of each row, in units of the mean outcome: a loss of amounts as of counts.

    Examples
    --------
    >>> value_losses([0.0, 2.0], [0.5, 1.5]).round(3)
    array([1.   , 0.151])
    """
    truth, score = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    level = max(float(truth.mean()), 1e-300)
    score = np.maximum(score, 1e-9 * level)
    some = truth > 0
    logs = np.log(np.where(some, truth, 1.0) / np.where(some, score, 1.0))
    return np.asarray(2 * (truth * logs - (truth - score)) / level)


def value(
    y: ArrayLike,
    p: ArrayLike,
    *,
    baseline: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Report a forecast of value, each figure with an interval and the baseline beside.

    Parameters
    ----------
    y : array-like
        What was spent.
    p : array-like
        What was expected.
    baseline : array-like, optional
        What the rule expected of the same rows.
    groups : array-like, optional
        The unit of each row, for the bootstrap; rows by default.
    draws, seed : int
        Bootstrap draws of units, and their seed.

    Returns
    -------
    DataFrame
        One row a metric: ``gini`` (normalised), ``top_10_share`` (of all spend, that of the best tenth),
        ``spearman``, ``mae``, ``decile_error`` (mean gap between expected and actual over tenths of the
        forecast, against the mean), ``aggregate_error`` (expected over actual total, minus one); columns
        as in `cdpkit.evaluate.ranking` (no ``floor``), with ``people`` and ``total`` (spent by all).

    Notes
    -----
    The root of mean squares is left out: one or two wholesalers decide it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.gamma(1.0, 10.0, 500)
    >>> table = value(rng.poisson(p), p, baseline=np.full(500, 10.0), draws=100).set_index("metric")
    >>> bool(table.loc["gini", "value"] > 0.9), round(table.loc["gini", "baseline"].item(), 9)
    (True, 0.0)
    """
    truth, score = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    rule = None if baseline is None else np.asarray(baseline, dtype=float)
    if not truth.max() > truth.min():
        raise ValueError("`y` must hold different outcomes; got one only. Judge on a longer period.")

    def statistic(rows: NDArray[np.int64]) -> Callable[[Array], Array]:
        own = _figures(truth[rows], score[rows])
        if rule is None:
            return own
        other = _figures(truth[rows], rule[rows])
        return lambda w: np.hstack([own(w), other(w)])

    found, drawn = bootstrap(statistic, len(truth), groups=groups, draws=draws, seed=seed)
    k = len(VALUE_METRICS)
    blank, blanks = np.full(k, np.nan), np.full((1, k), np.nan)
    beside, besides = (found[k:], drawn[:, k:]) if rule is not None else (blank, blanks)
    table = pd.DataFrame({"metric": list(VALUE_METRICS), "higher_is_better": list(VALUE_METRICS.values())})
    parts = {
        "value": (found[:k], drawn[:, :k]),
        "baseline": (beside, besides),
        "difference": (found[:k] - beside, drawn[:, :k] - besides),
    }
    for name, (figure, all_drawn) in parts.items():
        low, high = (blank, blank) if np.isnan(all_drawn).all() else quantile_range(all_drawn)
        ends = ("low", "high") if name == "value" else (f"{name}_low", f"{name}_high")
        table[name], table[ends[0]], table[ends[1]] = figure, low, high
    return table.assign(people=len(truth), total=float(truth.sum()))


def _figures(y: Array, p: Array) -> Callable[[Array], Array]:
    """Prepare the figures of one forecast: weights (draws × rows) → (draws × metrics)."""
    ranked, perfect = area(y, p), area(y, y)
    order = np.argsort(-p, kind="stable")
    tenths = np.array_split(order, min(10, len(p)))
    rank_y, rank_p = (pd.Series(v).rank().to_numpy() for v in (y, p))

    def figures(weights: Array) -> Array:
        n, spent = weights.sum(axis=1), weights @ y
        with np.errstate(invalid="ignore", divide="ignore"):
            best = ranked(weights) / perfect(weights)
            top = weights[:, tenths[0]] @ y[tenths[0]] / spent
            miss = [np.abs(weights[:, rows] @ (p - y)[rows]) for rows in tenths]
            # Ranks of the whole serve every draw: exact when each row counts once.
            a, b = (r - (weights @ r / n)[:, None] for r in (rank_y, rank_p))
            likeness = (weights * a * b).sum(axis=1) / np.sqrt(
                (weights * a**2).sum(axis=1) * (weights * b**2).sum(axis=1)
            )
            likeness = np.nan_to_num(likeness)
            return np.column_stack(
                [
                    best,
                    top,
                    likeness,
                    weights @ np.abs(y - p) / n,
                    np.sum(miss, axis=0) / spent,
                    weights @ p / spent - 1,
                ]
            )

    return figures
