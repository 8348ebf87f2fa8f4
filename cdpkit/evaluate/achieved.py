"""The share of the gain within reach that a model achieves: (model − rule) / (best − rule)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from cdpkit.evaluate.intervals import DRAWS, bootstrap, quantile_range
from cdpkit.evaluate.paired import paired
from cdpkit.evaluate.value import area

Array = NDArray[np.float64]


def achieved(
    model: ArrayLike,
    rule: ArrayLike,
    best: ArrayLike,
    *,
    outcome: ArrayLike | None = None,
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
        rows; see `cdpkit.evaluate.log_losses`. With an `outcome`: their scores.
    outcome : array-like, optional
        What happened (spend). The figure is then the Gini of the outcome ranked by each score, which is
        not a mean over rows; its errors are those of the bootstrap.
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
    if not len(np.asarray(model)):
        nothing = dict.fromkeys(("share", "low", "high", "gain", "possible", "possible_se"), np.nan)
        return pd.DataFrame([nothing | {"people": 0, "reason": "no best score is known"}])
    if outcome is not None:
        return _ranked(model, rule, best, np.asarray(outcome, dtype=float), groups, draws, seed)
    sign = 1.0 if higher_is_better else -1.0
    m, r, b = (sign * np.asarray(x, dtype=float) for x in (model, rule, best))
    possible = paired(b, r, groups=groups)
    row: dict[str, Any] = {
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


def _ranked(
    model: ArrayLike,
    rule: ArrayLike,
    best: ArrayLike,
    y: Array,
    groups: ArrayLike | None,
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """Return the share for a ranking, from its normalised Ginis."""
    scores = [np.asarray(x, dtype=float) for x in (model, rule, best)]

    def statistic(rows: NDArray[np.int64]) -> Callable[[Array], Array]:
        figures = [area(y[rows], score[rows]) for score in scores]
        perfect = area(y[rows], y[rows])

        def drawn(w: Array) -> Array:
            m, r, b = (figure(w) / perfect(w) for figure in figures)
            return np.column_stack([m - r, b - r])

        return drawn

    value, drawn = bootstrap(statistic, len(y), groups=groups, draws=draws, seed=seed)
    se = float(drawn[:, 1].std(ddof=1))
    row: dict[str, Any] = {
        "share": np.nan,
        "low": np.nan,
        "high": np.nan,
        "gain": float(value[0]),
        "possible": float(value[1]),
        "possible_se": se,
        "people": len(y),
        "reason": "",
    }
    if value[1] <= 2 * se:
        row["reason"] = "the best score does not beat the rule by two standard errors"
        return pd.DataFrame([row])
    low, high = quantile_range((drawn[:, 0] / drawn[:, 1])[:, None])
    row |= {"share": float(value[0] / value[1]), "low": float(low[0]), "high": float(high[0])}
    return pd.DataFrame([row])


def over_worlds(worlds: pd.DataFrame) -> pd.DataFrame:
    """Gather the shares of several worlds into one, with an interval over worlds.

    Parameters
    ----------
    worlds : DataFrame
        ``gain`` and ``possible``, one row a world, as given by `achieved`.

    Returns
    -------
    DataFrame
        One row: ``share`` (total gain over total possible), ``low, high`` (95 %, Student's law over worlds,
        of a ratio), ``worlds``. The interval is missing for a single world.

    Examples
    --------
    >>> over_worlds(pd.DataFrame({"gain": [0.08, 0.09], "possible": [0.1, 0.1]}))["share"].round(2).item()
    0.85
    """
    gain, possible = worlds["gain"].to_numpy(dtype=float), worlds["possible"].to_numpy(dtype=float)
    n, share = len(worlds), float(gain.sum() / possible.sum())
    half = np.nan
    if n > 1:
        influence = (gain - share * possible) / possible.mean()
        half = float(student.ppf(0.975, n - 1) * influence.std(ddof=1) / np.sqrt(n))
    return pd.DataFrame([{"share": share, "low": share - half, "high": share + half, "worlds": n}])
