"""Which missing fact to ask a person next: the one whose absence costs a model most, by segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone

from cdpkit.errors import CdpkitError
from cdpkit.evaluate import log_losses, paired

#: Persons who told a fact, under which what it is worth is not said.
LEAST = 50


def next_fact(
    model: Any,
    facts: Mapping[str, Sequence[str]],
    train: tuple[pd.DataFrame, ArrayLike],
    later: tuple[pd.DataFrame, ArrayLike],
    *,
    segments: ArrayLike | None = None,
    units: ArrayLike | None = None,
    least: int = LEAST,
    **fit: Any,
) -> pd.DataFrame:
    """Rank the facts to ask for in each segment, by what a model loses when they are hidden.

    Parameters
    ----------
    model : estimator
        Not fitted; it is cloned.
    facts : mapping of name to columns
        What may be asked: ``{"birth date": ["age"], …}``. A fact is known of a person when one of its columns
        is there.
    train, later : tuple of (DataFrame, array-like)
        Features and outcomes to learn from, and to judge on.
    segments : array-like, optional
        Segment of each later row; by default everybody is one.
    units : array-like, optional
        The unit of each later row (a person, a household), for intervals.
    least : int
        Later rows that know a fact, under which the segment says nothing about it.
    **fit
        Passed to ``fit`` (groups, time, embargo of the training rows).

    Returns
    -------
    DataFrame
        ``segment, rank, fact, persons, missing`` (rows that lack it), ``loss`` (rise of log-loss, nats a row,
        on the rows that know it, of the same model made without it), ``se, low, high, worth`` (loss times
        missing: what asking everybody may bring) and ``ask``: the loss is above two paired standard errors
        and somebody lacks the fact. Ranked by loss; a fact too few know has none, and no rank.

    Raises
    ------
    CdpkitError
        For a fact that names no column of the frame, or takes all of them.

    Examples
    --------
    >>> from cdpkit.models.appetence import AppetenceClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(3000, 3)), columns=["visits", "age", "size"])
    >>> y = rng.random(3000) < 1 / (1 + np.exp(-X.visits - X.age))
    >>> X.loc[rng.random(3000) < 0.3, ["age"]] = np.nan
    >>> half = slice(0, 1500), slice(1500, None)
    >>> told = next_fact(AppetenceClassifier("logistic"), {"birth date": ["age"], "shoe size": ["size"]},
    ...                  *((X.iloc[h], y[h]) for h in half))
    >>> told[["fact", "ask"]].to_numpy().tolist()
    [['birth date', True], ['shoe size', False]]
    """
    X, y = train
    names = [str(name) for name in X.columns]
    for fact, columns in facts.items():
        if not set(columns) & set(names) or set(names) <= set(columns):
            raise CdpkitError(f"fact `{fact}` must hold some columns of the frame, and not all")
    rows_later, truth = later[0], np.asarray(later[1]).astype(bool)
    label = np.full(len(rows_later), "all") if segments is None else np.asarray(segments).astype(str)
    unit = None if units is None else np.asarray(units)
    whole = log_losses(truth, _scores(model, X, y, rows_later, names, fit))
    told = []
    for fact, columns in facts.items():
        held = [name for name in columns if name in names]
        kept = [name for name in names if name not in set(held)]
        less = log_losses(truth, _scores(model, X, y, rows_later, kept, fit))
        known = rows_later[held].notna().any(axis=1).to_numpy()
        for segment in np.unique(label):
            here = label == segment
            at = here & known
            lacks = int((here & ~known).sum())
            row: dict[str, Any] = {"segment": segment, "fact": fact, "persons": int(here.sum())}
            row["missing"] = lacks
            if at.sum() < least:
                told.append(
                    row | dict.fromkeys(("loss", "se", "low", "high", "worth"), np.nan) | {"ask": False}
                )
                continue
            gap = paired(less[at], whole[at], groups=None if unit is None else unit[at])
            told.append(
                row
                | {"loss": gap.mean, "se": gap.se, "low": gap.low, "high": gap.high}
                | {"worth": gap.mean * lacks, "ask": gap.worse(2.0) and lacks > 0}
            )
    out = pd.DataFrame(told)
    out["rank"] = out.groupby("segment")["loss"].rank(ascending=False, method="first").astype("Int64")
    columns = ["segment", "rank", "fact", "persons", "missing", "loss", "se", "low", "high", "worth", "ask"]
    return out[columns].sort_values(["segment", "rank", "fact"], ignore_index=True)


def _scores(
    model: Any, X: pd.DataFrame, y: ArrayLike, later: pd.DataFrame, names: list[str], fit: Any
) -> Any:
    return clone(model).fit(X[names], y, **fit).predict_proba(later[names])[:, 1]
