"""What columns are worth: the same model with and without them, on the same later rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone

from cdpkit.errors import CdpkitError
from cdpkit.evaluate import log_losses, paired


def ablation(
    model: Any,
    families: Mapping[str, Sequence[str]],
    train: tuple[pd.DataFrame, ArrayLike],
    later: tuple[pd.DataFrame, ArrayLike],
    *,
    groups: ArrayLike | None = None,
    value: float | None = None,
    **fit: Any,
) -> pd.DataFrame:
    """Fit a model with all columns, then without each family, and compare them on later rows.

    Parameters
    ----------
    model : estimator
        Not fitted; it is cloned.
    families : mapping of name to columns
        What is taken away, one family at a time: ``{"third party": [...]}``.
    train, later : tuple of (DataFrame, array-like)
        Features and outcomes to learn from, and to judge on.
    groups : array-like, optional
        The unit of each later row.
    value : float, optional
        What a conversion brings, in one unit of money: the gain is then also given per thousand persons
        as the worth of conversions among the best tenth.
    **fit
        Passed to ``fit`` (groups, time, embargo of the training rows).

    Returns
    -------
    DataFrame
        A row a family: ``family, columns, with_log_loss, without_log_loss, gain`` (fall in log-loss, nats
        a row) with ``se, low, high``, ``top_conversions`` (conversions more among the best tenth of the
        later rows), ``top_value`` and ``worth_it``: the gain is above two paired standard errors.

    Raises
    ------
    CdpkitError
        For a family that names no column of the frame, or takes all of them.

    Examples
    --------
    >>> from cdpkit.models.appetence import AppetenceClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"visits": rng.normal(size=3000), "bought": rng.normal(size=3000)})
    >>> y = rng.random(3000) < 1 / (1 + np.exp(-X.visits))
    >>> half = slice(0, 1500), slice(1500, None)
    >>> told = ablation(AppetenceClassifier("logistic"), {"third party": ["bought"]},
    ...                 *((X.iloc[h], y[h]) for h in half))
    >>> bool(told["worth_it"].item())
    False
    """
    X, y = train
    names = [str(name) for name in X.columns]
    for family, columns in families.items():
        if not set(columns) & set(names) or set(names) <= set(columns):
            raise CdpkitError(f"family `{family}` must hold some columns of the frame, and not all")
    whole = _scores(model, X, y, later[0], names, fit)
    truth = np.asarray(later[1]).astype(bool)
    losses = log_losses(truth, whole)
    rows = []
    for family, columns in families.items():
        kept = [name for name in names if name not in set(columns)]
        less = _scores(model, X, y, later[0], kept, fit)
        gap = paired(log_losses(truth, less), losses, groups=groups)
        more = int(_top(truth, whole) - _top(truth, less))
        rows.append(
            {
                "family": family,
                "columns": len(names) - len(kept),
                "with_log_loss": float(losses.mean()),
                "without_log_loss": float(losses.mean() + gap.mean),
                "gain": gap.mean,
                "se": gap.se,
                "low": gap.low,
                "high": gap.high,
                "top_conversions": more,
                "top_value": np.nan if value is None else more * value,
                "worth_it": gap.worse(2.0),
            }
        )
    return pd.DataFrame(rows)


def _scores(
    model: Any, X: pd.DataFrame, y: ArrayLike, later: pd.DataFrame, names: list[str], fit: Any
) -> Any:
    return clone(model).fit(X[names], y, **fit).predict_proba(later[names])[:, 1]


def _top(truth: Any, p: Any) -> int:
    best = np.argsort(-p, kind="stable")[: max(len(p) // 10, 1)]
    return int(truth[best].sum())
