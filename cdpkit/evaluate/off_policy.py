"""What another policy would have brought, from choices whose chances were logged."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cdpkit.errors import FaultsError
from cdpkit.evaluate.intervals import Z95


def off_policy(
    outcome: ArrayLike,
    propensity: ArrayLike,
    chance: ArrayLike,
    *,
    expected: ArrayLike | None = None,
    expected_under: ArrayLike | None = None,
) -> pd.DataFrame:
    """Estimate the mean outcome of a policy from choices made by another one at random.

    Parameters
    ----------
    outcome : array-like
        What each choice brought.
    propensity, chance : array-like
        Chance of the choice made, under the policy that made it and under the one judged.
    expected, expected_under : array-like, optional
        A model's outcome of the choice made, and its mean under the policy judged. They add the doubly robust
        estimate.

    Returns
    -------
    DataFrame
        A row an estimator: ``estimator`` (`snips`, `dr`), ``value, low, high`` (95 %), ``effective``
        (effective sample size, (Σw)² / Σw²) and ``choices``.

    Raises
    ------
    FaultsError
        Where a chance is not one, or a choice could not be made.

    Notes
    -----
    Swaminathan and Joachims (2015), self-normalised estimator; Dudík, Langford and Li (2011), doubly robust.
    Errors are those of a ratio, to the first order.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> evening = rng.random(20_000) < 0.5
    >>> clicks = rng.random(20_000) < np.where(evening, 0.3, 0.1)
    >>> row = off_policy(clicks, np.full(20_000, 0.5), evening).iloc[0]
    >>> bool(row["low"] < 0.3 < row["high"])
    True
    """
    y, p, q = (np.asarray(x, dtype=float) for x in (outcome, propensity, chance))
    faults = []
    if not len(y) == len(p) == len(q) or not len(y):
        faults.append("`outcome`, `propensity` and `chance` must have one length, over 0")
    if ((p <= 0) | (p > 1)).any():
        faults.append("`propensity` must be over 0 and at most 1")
    if ((q < 0) | (q > 1)).any():
        faults.append("`chance` must be from 0 to 1")
    if (expected is None) != (expected_under is None):
        faults.append("`expected` and `expected_under` go together")
    if not faults and not q.any():
        faults.append("`chance` must be over 0 for some choice made")
    if faults:
        raise FaultsError("an off-policy estimate", faults)
    weight, n = q / p, len(y)
    value = float(weight @ y / weight.sum())
    rows = [("snips", value, weight * (y - value) / weight.mean())]
    if expected is not None and expected_under is not None:
        model, under = np.asarray(expected, dtype=float), np.asarray(expected_under, dtype=float)
        each = under + weight * (y - model)
        rows.append(("dr", float(each.mean()), each - each.mean()))
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    out = [
        {
            "estimator": name,
            "value": v,
            "low": v - half,
            "high": v + half,
            "effective": effective,
            "choices": n,
        }
        for name, v, part in rows
        for half in [Z95 * float(part.std()) / np.sqrt(n)]
    ]
    return pd.DataFrame(out)
