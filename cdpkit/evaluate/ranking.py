"""How well a score ranks and how honest its probabilities are, beside the rule it must beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cdpkit.evaluate.calibration import BINS, calibration_error
from cdpkit.evaluate.intervals import DRAWS, bootstrap, quantile_range
from cdpkit.evaluate.paired import log_losses

Array = NDArray[np.float64]

#: Figures of a ranking report, and whether more is better.
METRICS = {
    "roc_auc": True,
    "pr_auc": True,
    "log_loss": False,
    "brier": False,
    "ece": False,
    "lift_10": True,
}


def ranking(
    y: ArrayLike,
    p: ArrayLike,
    *,
    baseline: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Report a score's ranking and probability figures, each with an interval and the baseline beside.

    Parameters
    ----------
    y : array-like of 0 and 1
        What happened.
    p : array-like
        The score: a probability.
    baseline : array-like, optional
        The rule's probabilities for the same rows.
    groups : array-like, optional
        The unit of each row, for the bootstrap; rows by default.
    draws, seed : int
        Bootstrap draws of units, and their seed.

    Returns
    -------
    DataFrame
        One row a metric (``roc_auc, pr_auc, log_loss, brier, ece, lift_10``): ``metric``,
        ``higher_is_better``, ``value, low, high``, ``floor, floor_high`` (what a perfectly calibrated
        score of this sharpness would show; for ``ece`` only), ``baseline, baseline_low,
        baseline_high``, ``difference, difference_low, difference_high`` (score minus baseline, paired
        by unit), ``people`` and ``conversions``. Intervals are 95 %.

    Raises
    ------
    ValueError
        Where `y` does not hold both outcomes.

    Notes
    -----
    The bootstrap inflates a calibration error, which is already biased upwards: its interval is the
    "basic" one, reflected around the value. Ties are shared: a group of equal scores counts as one.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.random(500)
    >>> y = rng.random(500) < p
    >>> table = ranking(y, p, baseline=np.full(500, 0.5), draws=200).set_index("metric")
    >>> bool(table.loc["roc_auc", "difference_low"] > 0.2), table.loc["roc_auc", "baseline"].item()
    (True, 0.5)
    """
    truth, score = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    if truth.min() == truth.max():
        raise ValueError("`y` must hold both outcomes; got one only. Score a later or larger population.")
    rule = None if baseline is None else np.asarray(baseline, dtype=float)

    def statistic(rows: NDArray[np.int64]) -> Callable[[Array], Array]:
        model_figures = _figures(truth[rows], score[rows])
        if rule is None:
            return model_figures
        rule_figures = _figures(truth[rows], rule[rows])
        return lambda w: np.hstack([model_figures(w), rule_figures(w)])

    value, drawn = bootstrap(statistic, len(truth), groups=groups, draws=draws, seed=seed)
    k = len(METRICS)
    table = pd.DataFrame({"metric": list(METRICS), "higher_is_better": list(METRICS.values())})
    _put(table, "", value[:k], drawn[:, :k], names=("value", "low", "high"))
    check = calibration_error(truth, score, seed=seed)
    is_ece = table["metric"] == "ece"
    table["floor"] = np.where(is_ece, check["floor"], np.nan)
    table["floor_high"] = np.where(is_ece, check["floor_high"], np.nan)
    blank = np.full(k, np.nan)
    _put(table, "baseline", *((value[k:], drawn[:, k:]) if rule is not None else (blank, blank[None, :])))
    gap, gaps = (
        (value[:k] - value[k:], drawn[:, :k] - drawn[:, k:]) if rule is not None else (blank, blank[None, :])
    )
    _put(table, "difference", gap, gaps)
    return table.assign(people=len(truth), conversions=int(truth.sum()))


def _put(
    table: pd.DataFrame, name: str, value: Array, drawn: Array, names: tuple[str, str, str] | None = None
) -> None:
    """Add a figure and its interval to the table; the error's own interval is reflected."""
    columns = names or (name, f"{name}_low", f"{name}_high")
    blank = np.full(len(value), np.nan)
    low, high = (blank, blank) if np.isnan(drawn).all() else quantile_range(drawn)
    error = (table["metric"] == "ece").to_numpy()
    if name != "difference":
        low, high = (
            np.where(error, np.maximum(2 * value - high, 0.0), low),
            np.where(error, np.maximum(2 * value - low, 0.0), high),
        )
    table[columns[0]], table[columns[1]], table[columns[2]] = value, low, high


def _figures(y: Array, p: Array) -> Callable[[Array], Array]:
    """Prepare the figures of one score: weights (draws × rows) → (draws × metrics)."""
    order = np.argsort(-p, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(p[order]) != 0))
    y_sorted, p_sorted = y[order], p[order]
    losses, squares = log_losses(y_sorted, p_sorted), (y_sorted - p_sorted) ** 2
    bins = np.concatenate([[0], np.cumsum([len(b) for b in np.array_split(order, min(BINS, len(p)))])[:-1]])

    def figures(weights: Array) -> Array:
        w = weights[:, order]
        positives = w * y_sorted
        pos = np.add.reduceat(positives, starts, axis=1)
        every = np.add.reduceat(w, starts, axis=1)
        cum_pos, cum_all = np.cumsum(pos, axis=1), np.cumsum(every, axis=1)
        n_pos, n_all = cum_pos[:, -1], cum_all[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            auc = ((every - pos) * (cum_pos - pos / 2)).sum(axis=1) / (n_pos * (n_all - n_pos))
            precision = np.where(cum_all > 0, cum_pos / np.where(cum_all > 0, cum_all, 1), 0.0)
            pr = (pos * precision).sum(axis=1) / n_pos
            lift = _captured(cum_all, cum_pos, 0.1 * n_all) / (0.1 * n_pos)
        miss = np.abs(np.add.reduceat(positives - w * p_sorted, bins, axis=1)).sum(axis=1) / n_all
        return np.column_stack([auc, pr, w @ losses / n_all, w @ squares / n_all, miss, lift])

    return figures


def _captured(cum_all: Array, cum_pos: Array, people: Array) -> Array:
    """Return conversions among the best `people` of each draw, sharing out a group of ties."""
    return np.array(
        [
            np.interp(n, np.append(0.0, every), np.append(0.0, pos))
            for every, pos, n in zip(cum_all, cum_pos, people, strict=True)
        ]
    )
