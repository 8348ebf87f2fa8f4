"""The share of the gain within reach that a model achieves: (model − rule) / (best − rule)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cdpkit.evaluate.intervals import DRAWS, bootstrap, quantile_range
from cdpkit.evaluate.paired import paired

Array = NDArray[np.float64]


def achieved(
    model: ArrayLike,
    rule: ArrayLike,
    best: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    higher_is_better: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the share of the achievable gain, or NaN and why there is nothing to achieve.

    Parameters
    ----------
    model, rule, best : array-like
        Loss (or gain) of each row under the model, the rule and the best score possible, on the same
        rows; see `cdpkit.evaluate.log_losses`.
    groups : array-like, optional
        The unit of each row; rows by default.
    higher_is_better : bool
        Whether the figures are gains rather than losses.
    draws, seed : int
        Bootstrap draws of units, and their seed.

    Returns
    -------
    DataFrame
        One row: ``share`` with ``low, high`` (95 %), ``gain`` (model over rule), ``possible`` (best over
        rule) with ``possible_se``, ``people`` and ``reason`` (empty when `share` is a number).

    Notes
    -----
    The share is not given where `possible` is under two standard errors: a ratio of two noises.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rule = rng.random(400)
    >>> achieved(rule - 0.09, rule, rule - 0.1 + 0.001 * rng.random(400), draws=100)["share"].round(2).item()
    0.9
    >>> achieved(rule, rule, rule, draws=10)["reason"].item()
    'the best score does not beat the rule by two standard errors'
    """
    sign = 1.0 if higher_is_better else -1.0
    m, r, b = (sign * np.asarray(x, dtype=float) for x in (model, rule, best))
    possible = paired(b, r, groups=groups)
    row = {
        "share": np.nan,
        "low": np.nan,
        "high": np.nan,
        "gain": float((m - r).mean()),
        "possible": possible.mean,
        "possible_se": possible.se,
        "people": len(m),
        "reason": "",
    }
    if possible.mean <= 2 * possible.se:
        row["reason"] = "the best score does not beat the rule by two standard errors"
        return pd.DataFrame([row])

    def statistic(rows: NDArray[np.int64]) -> Callable[[Array], Array]:
        return lambda w: ((w @ (m - r)[rows]) / (w @ (b - r)[rows]))[:, None]

    value, drawn = bootstrap(statistic, len(m), groups=groups, draws=draws, seed=seed)
    low, high = quantile_range(drawn)
    row |= {"share": float(value[0]), "low": float(low[0]), "high": float(high[0])}
    return pd.DataFrame([row])
