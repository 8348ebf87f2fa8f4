"""How well a score finds those whom a treatment changes: one Qini, one AUUC, uplift at a share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cdpkit.errors import FaultsError
from cdpkit.evaluate.intervals import bootstrap, quantile_range

Array = NDArray[np.float64]

#: Share of the people, best first, at which uplift is also told.
TOP = 0.3


def qini(
    y: ArrayLike, treated: ArrayLike, score: ArrayLike, *, draws: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Return the Qini and the AUUC of a score with their intervals.

    People are ranked by the score, best first. After the share φ of them, the gain is the treated's outcomes
    less those of the untreated brought to as many: ``Y₁(φ) − Y₀(φ) N₁(φ) / N₀(φ)``, divided by all the
    treated. AUUC is the area under that curve, Qini the area between it and the straight line to its end.
    Both are outcomes a treated person. People of one score are taken together, so that the
    order of the rows does not matter.

    Parameters
    ----------
    y : array-like
        Outcome: a conversion, or an amount.
    treated : array-like of bool
        Who was treated, at random.
    score : array-like
        Higher: more to gain by treating.
    draws, seed : int
        Bootstrap draws of people, and their seed.

    Returns
    -------
    DataFrame
        ``metric`` (`qini`, `auuc`, `uplift_at_30`), ``value, low, high`` (95 %, bootstrap), ``se`` and
        ``people``.

    Raises
    ------
    FaultsError
        Where lengths differ, or one of the groups is empty.

    Notes
    -----
    N. J. Radcliffe (2007), *Using control groups to target on predicted lift*. Libraries differ in scale and
    in ties: figures under the same name are not comparable.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, treated = rng.random(4000), rng.random(4000) < 0.5
    >>> y = rng.random(4000) < 0.1 + 0.3 * x * treated
    >>> told = qini(y, treated, x, draws=100).set_index("metric")
    >>> bool(told.loc["qini", "low"] > 0), bool(told.loc["qini", "value"] < told.loc["auuc", "value"])
    (True, True)
    """
    outcome, t, s = (np.asarray(x, dtype=float) for x in (y, treated, score))
    _check(outcome, t, s)

    def statistic(rows: NDArray[np.int64]) -> Callable[[Array], Array]:
        return curves(outcome[rows], t[rows], s[rows])

    value, drawn = bootstrap(statistic, len(s), draws=draws, seed=seed)
    low, high = quantile_range(drawn)
    return pd.DataFrame(
        {
            "metric": ["qini", "auuc", "uplift_at_30"],
            "value": value,
            "low": low,
            "high": high,
            "se": drawn.std(axis=0, ddof=1),
            "people": len(s),
        }
    )


def qini_value(y: ArrayLike, treated: ArrayLike, score: ArrayLike) -> float:
    """Return the Qini of a score alone: see `qini`.

    Examples
    --------
    >>> qini_value([1, 0, 0, 0], [1, 0, 1, 0], [2, 2, 1, 1])
    0.125
    """
    outcome, t, s = (np.asarray(x, dtype=float) for x in (y, treated, score))
    _check(outcome, t, s)
    return float(curves(outcome, t, s)(np.ones((1, len(s))))[0, 0])


def curves(y: Array, treated: Array, score: Array) -> Callable[[Array], Array]:
    """Return the function from weights (draws, rows) to Qini, AUUC and uplift at the top share."""
    order = np.argsort(-score, kind="stable")
    y, t = y[order], treated[order]
    ends = np.flatnonzero(np.diff(score[order], append=np.nan) != 0)

    def told(weights: Array) -> Array:
        w = weights[:, order]

        def upto(part: Array) -> Array:
            return np.cumsum(w * part, axis=1)[:, ends]

        n1, n0, y1, y0 = upto(t), upto(1 - t), upto(t * y), upto((1 - t) * y)
        per = np.where(n0 > 0, y0 / np.maximum(n0, 1e-12), 0.0)
        total = np.maximum(n1[:, -1:], 1e-12)
        gain = np.hstack([np.zeros((len(w), 1)), (y1 - per * n1) / total])
        share = np.hstack([np.zeros((len(w), 1)), (n1 + n0) / np.maximum(n1 + n0, 1e-12)[:, -1:]])
        area = np.trapezoid(gain, share, axis=1)
        place = (share[:, 1:] < TOP).sum(axis=1).clip(max=len(ends) - 1)[:, None]
        rate = y1 / np.maximum(n1, 1e-12) - per
        return np.column_stack([area - gain[:, -1] / 2, area, np.take_along_axis(rate, place, 1)[:, 0]])

    return told


def _check(y: Array, t: Array, s: Array) -> None:
    faults = []
    if not len(y) == len(t) == len(s):
        faults.append("`y`, `treated` and `score` must have one length")
    if set(np.unique(t)) != {0.0, 1.0}:
        faults.append("`treated` must hold treated and untreated people")
    if not np.isfinite(s).all() or not np.isfinite(y).all():
        faults.append("`y` and `score` must be finite")
    if faults:
        raise FaultsError("an uplift evaluation", faults)
