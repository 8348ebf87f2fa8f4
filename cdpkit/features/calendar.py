"""The dates of a model: when it learns, when it is judged, when it scores. Never a row at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.definitions import BehaviourDefinition
from cdpkit.errors import NotEnoughDataError
from cdpkit.features.population import ACTIVITY, instant

if TYPE_CHECKING:
    from cdpkit.engine import Engine


def watermark(engine: Engine) -> pd.Timestamp:
    """Return the midnight after the last thing anybody did: everything loaded lies before it.

    Raises
    ------
    NotEnoughDataError
        When nothing happened at all.
    """
    latest = []
    for table, column in ACTIVITY:
        last = engine.query(f"SELECT max({column}) AS last FROM {table}").to_pandas()["last"].iloc[0]
        if not pd.isna(last):
            latest.append(instant(last))
    if not latest:
        tables = ", ".join(table for table, _ in ACTIVITY)
        raise NotEnoughDataError("features need facts to look at", got=f"no row in {tables}")
    return instant(max(latest).floor("D") + pd.Timedelta(days=1))


@dataclass(frozen=True)
class Calendar:
    """Snapshot dates such that every label window ends before the next use of its rows.

    Attributes
    ----------
    score : Timestamp
        When everybody is scored: all of the data is behind it.
    test : Timestamp
        When the model is judged; its label window ends at `observed` at the latest.
    train : tuple of Timestamp
        When it learns, oldest first; the last label window ends at `test` at the latest.
    observed : Timestamp
        Until when outcomes are known.
    """

    score: pd.Timestamp
    test: pd.Timestamp
    train: tuple[pd.Timestamp, ...]
    observed: pd.Timestamp

    @classmethod
    def backwards(
        cls,
        score: object,
        definition: BehaviourDefinition,
        *,
        since: object,
        observed: object = None,
        snapshots: int = 6,
        step_days: int = 30,
        history_days: int = 30,
    ) -> Calendar:
        """Lay the dates back from the scoring date.

        Parameters
        ----------
        score : timestamp
            When everybody is scored.
        definition : BehaviourDefinition
            Its gap and horizon make the label window.
        since : timestamp
            First day of the data.
        observed : timestamp, optional
            Until when outcomes are known, as `labels.data_watermark` says; the scoring date by default,
            and never after it.
        snapshots : int
            Training dates wanted, one every `step_days`.
        step_days : int
            Days between training dates.
        history_days : int
            Days of data a training date needs behind it.

        Raises
        ------
        NotEnoughDataError
            When not even one training date fits, with the days that are missing.

        Examples
        --------
        >>> from cdpkit.definitions import HotProspectDefinition
        >>> hot = HotProspectDefinition("purchase", horizon_days=30)
        >>> dates = Calendar.backwards("2026-07-01", hot, since="2025-01-01", snapshots=2)
        >>> [str(date.date()) for date in (*dates.train, dates.test)]
        ['2026-04-02', '2026-05-02', '2026-06-01']
        """
        end, window = instant(score), pd.Timedelta(days=definition.gap_days + definition.horizon_days)
        known = end if observed is None else min(end, instant(observed))
        test, first = known - window, instant(since) + pd.Timedelta(days=history_days)
        wanted = [test - window - pd.Timedelta(days=step_days * k) for k in range(snapshots)]
        train = tuple(sorted(date for date in wanted if date >= first))
        if not train:
            missing = (first - wanted[0]).ceil("D").days
            raise NotEnoughDataError(
                f"training, judging and scoring need {2 * window.days + history_days} days of data",
                got=f"{(end - instant(since)).days} days, {missing} too few",
                do="Load more history or shorten the horizon",
            )
        return cls(end, test, train, known)
