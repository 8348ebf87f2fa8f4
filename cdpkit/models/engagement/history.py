"""What was known of each recipient before each message: decayed counts of messages and of reactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.errors import FaultsError

Array = NDArray[np.float64]

#: Outcomes of a message, and the column that says when each happened.
OUTCOMES = {
    "click": "clicked_at",
    "complaint": "complained_at",
    "bounce": "bounced_at",
    "unsubscribe": "unsubscribed_at",
}

#: Days in which what was seen loses half of its weight; the last one forgets nothing.
HALF_LIVES = (30.0, 180.0, np.inf)

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class History:
    """What was known at each moment asked, a row a moment.

    Parameters
    ----------
    outcomes : tuple of str
    sent : ndarray of shape (moments, half-lives)
        Decayed count of the messages sent before.
    happened : ndarray of shape (moments, half-lives, outcomes)
        Decayed count of the reactions *known* before.
    since_sent : ndarray of shape (moments,)
        Days since the message before; NaN for a first one.
    since : ndarray of shape (moments, outcomes)
        Days since the last reaction of each kind.
    unanswered : ndarray of shape (moments,)
        Messages since the last click, or since the first one.
    """

    outcomes: tuple[str, ...]
    sent: Array
    happened: Array
    since_sent: Array
    since: Array
    unanswered: Array

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> History:
        """Return some of the moments."""
        parts = (self.sent, self.happened, self.since_sent, self.since, self.unanswered)
        return History(self.outcomes, *(part[rows] for part in parts))

    def frame(self) -> pd.DataFrame:
        """Return the history as columns of a model."""
        names = ["all" if np.isinf(life) else f"{life:g}d" for life in HALF_LIVES]
        columns: dict[str, Array] = {f"sent {n}": np.log1p(self.sent[:, k]) for k, n in enumerate(names)}
        for j, outcome in enumerate(self.outcomes):
            for k, name in enumerate(names):
                columns[f"{outcome} {name}"] = np.log1p(self.happened[:, k, j])
            columns[f"days since {outcome}"] = self.since[:, j]
        columns["days since sent"] = self.since_sent
        columns["unanswered"] = np.log1p(self.unanswered)
        return pd.DataFrame(columns)


def checked(sends: pd.DataFrame, more: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the outcomes a frame of messages tells, or every fault it has beside those known already."""
    faults = [*more]
    faults += [f"column `{c}` must be present" for c in ("person_id", "sent_at") if c not in sends]
    told = tuple(name for name, column in OUTCOMES.items() if column in sends)
    if not told:
        faults.append(f"one of {', '.join(OUTCOMES.values())} must be present")
    for column in ("sent_at", *(OUTCOMES[name] for name in told)):
        if column in sends and not pd.api.types.is_datetime64_dtype(sends[column]):
            faults.append(f"`{column}` must be a timestamp without a zone (UTC); got {sends[column].dtype}")
    for column in ("person_id", "sent_at"):
        if column in sends and sends[column].isna().any():
            faults.append(f"`{column}` must be known; got {int(sends[column].isna().sum())} missing")
    if not len(sends):
        faults.append("there must be messages; got none")
    if faults:
        raise FaultsError("the messages", faults)
    return told


def history(sends: pd.DataFrame, moments: pd.DataFrame | None = None) -> History:
    """Return what was known before each message, or at each moment asked.

    Parameters
    ----------
    sends : DataFrame
        ``person_id, sent_at`` and the outcomes told: ``clicked_at, complained_at, bounced_at,
        unsubscribed_at`` (timestamps in UTC, missing where it did not happen).
    moments : DataFrame, optional
        ``person_id, ts``; by default each message, at its sending.

    Returns
    -------
    History
        In the order of the rows asked. A reaction counts from its own time on, not from that of its message.

    Examples
    --------
    >>> at = pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"])
    >>> sends = pd.DataFrame({"person_id": "a", "sent_at": at, "clicked_at": [at[1], pd.NaT, pd.NaT]})
    >>> told = history(sends)
    >>> told.sent[:, -1].tolist(), told.happened[:, -1, 0].tolist()
    ([0.0, 1.0, 2.0], [0.0, 0.0, 1.0])
    """
    outcomes = checked(sends)
    asked = (
        sends[["person_id", "sent_at"]].set_axis(["person_id", "ts"], axis=1) if moments is None else moments
    )
    who, persons = pd.factorize(pd.concat([sends["person_id"], asked["person_id"]], ignore_index=True))
    first = sends["sent_at"].min()
    n, m = len(sends), len(asked)
    # At one instant a question comes first: it sees nothing of its own message nor of a reaction to it.
    kind, unit = [np.zeros(m, dtype=np.int64)], [who[n:]]
    time, row = [_days(asked["ts"], first)], [np.arange(m)]
    kind.append(np.ones(n, dtype=np.int64))
    unit.append(who[:n])
    time.append(_days(sends["sent_at"], first))
    row.append(np.full(n, -1))
    for j, name in enumerate(outcomes):
        there = sends[OUTCOMES[name]].notna().to_numpy()
        kind.append(np.full(int(there.sum()), 2 + j))
        unit.append(who[:n][there])
        time.append(_days(sends.loc[there, OUTCOMES[name]], first))
        row.append(np.full(int(there.sum()), -1))
    times = np.concatenate(time)
    kinds, units, rows = (np.concatenate(parts) for parts in (kind, unit, row))
    order = np.lexsort((kinds, times, units))
    return _walk(kinds[order], units[order], times[order], rows[order], len(persons), m, outcomes)


def _days(times: pd.Series, first: pd.Timestamp) -> Array:
    return ((times.to_numpy() - np.datetime64(first)) / _DAY).astype(float)


def _walk(
    kind: NDArray[np.int64], unit: NDArray[np.int64], time: Array, row: NDArray[np.int64],
    persons: int, asked: int, outcomes: tuple[str, ...],
) -> History:  # fmt: skip
    """Go through everybody's events at once, the first ones, then the second ones, and so on."""
    lives, columns = np.array(HALF_LIVES), 1 + len(outcomes)
    stock, seen = np.zeros((persons, len(lives), columns)), np.full((persons, columns), np.nan)
    now, silent = np.zeros(persons), np.zeros(persons)
    told = np.zeros((asked, len(lives), columns))
    since, unanswered = np.full((asked, columns), np.nan), np.zeros(asked)
    starts = np.flatnonzero(np.diff(unit, prepend=-1))
    rank = np.arange(len(unit)) - np.repeat(starts, np.diff(np.append(starts, len(unit))))
    by_rank = np.argsort(rank, kind="stable")
    for events in np.split(by_rank, np.cumsum(np.bincount(rank))[:-1] if len(rank) else []):
        who, at, what = unit[events], time[events], kind[events]
        stock[who] *= 0.5 ** ((at - now[who])[:, None, None] / lives[None, :, None])
        now[who] = at
        asks = what == 0
        place, of = row[events][asks], who[asks]
        told[place], since[place] = stock[of], at[asks][:, None] - seen[of]
        unanswered[place] = silent[of]
        acts, column = who[~asks], what[~asks] - 1
        stock[acts, :, column] += 1.0
        seen[acts, column] = at[~asks]
        silent[acts] += column == 0
        if "click" in outcomes:
            silent[acts[column == 1 + outcomes.index("click")]] = 0.0
    return History(outcomes, told[:, :, 0], told[:, :, 1:], since[:, 0], since[:, 1:], unanswered)
