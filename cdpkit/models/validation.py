"""Rows to learn from and rows to judge on: the past before the future, and each person on one side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

Rows = NDArray[np.int64]

#: Share of the rows, the latest, on which a choice is judged when rows have a time.
LATER_SHARE = 0.3


@dataclass(frozen=True)
class Plan:
    """How a choice is validated.

    Parameters
    ----------
    scheme : str
        ``"past-only"``, ``"folds"`` or ``"none"``.
    pairs : list of (rows to learn from, rows to judge on)
    note : str
        In words, what was done and why.
    """

    scheme: str
    pairs: list[tuple[Rows, Rows]]
    note: str


def plan(
    y: NDArray[np.bool_],
    *,
    groups: ArrayLike | None = None,
    time: ArrayLike | None = None,
    embargo: Any = None,
    folds: int = 3,
    seed: int = 0,
) -> Plan:
    """Plan a validation that never learns from the future, nor from the person it is judged on.

    Parameters
    ----------
    y : ndarray of bool
        What happened.
    groups : array-like, optional
        The person of each row.
    time : array-like, optional
        Date (or number) of each row. The latest 30 % of rows, whole dates only, are judged by learners
        of the rows before; in two steps where they hold several dates, so that a choice is made at the
        distance at which the model will be used, and twice.
    embargo : timedelta or number, optional
        Length of the label's window: rows whose window reaches into the judged dates are left out.
    folds : int
        Folds of persons.
    seed : int
        Randomness of the folds.

    Returns
    -------
    Plan

    Examples
    --------
    >>> y = np.array([True, False] * 50)
    >>> past_only = plan(y, time=np.arange(100))
    >>> past_only.scheme, [(int(a.max()), int(b.min())) for a, b in past_only.pairs]
    ('past-only', [(69, 70), (84, 85)])
    """
    persons = None if groups is None else pd.factorize(np.asarray(groups), sort=True)[0]
    if time is not None:
        pairs, note = _past_only(y, persons, time, embargo, folds, seed)
        if pairs:
            return Plan("past-only", pairs, note)
    else:
        note = "rows have no time"
    pairs = _both_outcomes(_folds(y, persons, folds, seed), y)
    if pairs:
        whole = "" if groups is None else " of persons"
        return Plan("folds", pairs, f"{note}: {len(pairs)} folds{whole}")
    return Plan("none", [], f"{note}: too few of one outcome to hold any out")


def _folds(y: NDArray[np.bool_], persons: Rows | None, folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    count = int(min(folds, y.sum(), (~y).sum()))
    if persons is not None:
        count = min(count, len(np.unique(persons)))
    if count < 2:
        return []
    blank = np.zeros(len(y))
    if persons is None:
        return list(StratifiedKFold(count, shuffle=True, random_state=seed).split(blank, y))
    # Whole persons, stratified on whether they ever converted.
    return list(StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(blank, y, persons))


def _past_only(
    y: NDArray[np.bool_], persons: Rows | None, time: ArrayLike, embargo: Any, folds: int, seed: int
) -> tuple[list[tuple[Rows, Rows]], str]:
    """Return pairs of earlier and later rows, or none and the reason."""
    when = pd.Series(np.asarray(time))
    dates = np.sort(when.unique())
    if len(dates) < 2:
        return [], "all rows have one date"
    ordered = when.sort_values(kind="stable")
    # The first judged date; then, where there are several, the one from which half of them lie.
    starts = [
        max(ordered.iloc[int((1 - share) * len(when))], dates[1]) for share in (LATER_SHARE, LATER_SHARE / 2)
    ]
    first = starts[0]
    starts = sorted(set(starts))
    splits = []
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        later = ((when >= start) & (when < end if end is not None else True)).to_numpy()
        known = start if embargo is None else start - embargo
        before = ((when < start) & (when <= known)).to_numpy()
        if _able(y, np.flatnonzero(before), np.flatnonzero(later)):
            splits.append((before, later))
        elif start == first:
            return [], "no earlier rows with both outcomes are clear of the judged dates"
    last_known = first if embargo is None else first - embargo
    note = f"judged on rows from {_day(first)} by learners of rows before"
    note += "" if embargo is None else f" {_day(last_known)} (labels closed by then)"
    note += f", and again from {_day(starts[1])} by learners of more rows" if len(splits) > 1 else ""
    if persons is None:
        return [(np.flatnonzero(before), np.flatnonzero(later)) for before, later in splits], note
    # A second judged period doubles the fits: one fold fewer pays for part of it.
    folds = max(2, folds - (len(splits) > 1))
    part = np.random.default_rng(seed).permutation(persons.max() + 1)[persons] % folds
    parted = [(before & (part != k), later & (part == k)) for before, later in splits for k in range(folds)]
    pairs = _both_outcomes([(np.flatnonzero(a), np.flatnonzero(b)) for a, b in parted], y)
    return pairs, note + f", other persons only ({folds} folds)"


def _able(y: NDArray[np.bool_], learn: Rows, judge: Rows) -> bool:
    return all(len(rows) and y[rows].any() and not y[rows].all() for rows in (learn, judge))


def _both_outcomes(pairs: list[tuple[Rows, Rows]], y: NDArray[np.bool_]) -> list[tuple[Rows, Rows]]:
    return [(learn, judge) for learn, judge in pairs if _able(y, learn, judge)]


def _day(moment: Any) -> str:
    return str(moment.date()) if isinstance(moment, pd.Timestamp) else str(moment)
