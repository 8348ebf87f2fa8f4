"""Whom features are computed for: persons as known at the date, with permission, perhaps active.

A record belongs to the person it was known to belong to strictly before the date. A population is
computed at the same date as the features, from the same visible rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlglot import exp

from cdpkit.errors import FeatureError
from cdpkit.features.scans import Clock, holds
from cdpkit.features.tree import (
    Tree,
    all_of,
    col,
    is_null,
    join,
    named,
    select,
    sub,
    table,
    text,
    timestamp,
)
from cdpkit.phrases import check_language

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine

#: What makes a person active: what the person did, never what was sent to them.
ACTIVITY = (
    ("events", "event_time"),
    ("orders", "event_time"),
    ("contacts", "event_time"),
    ("messages", "clicked_at"),
)

#: Records that carry no declared identity.
ANONYMOUS = ("cookie", "anonymous", "device")


def instant(value: object) -> pd.Timestamp:
    """Return a date as a zone-less UTC timestamp in microseconds.

    Examples
    --------
    >>> instant("2026-01-01T01:00:00+01:00")
    Timestamp('2026-01-01 00:00:00')
    """
    import pandas as pd

    moment = pd.Timestamp(value)  # type: ignore[arg-type]
    if moment is pd.NaT:
        raise FeatureError("a date must not be missing", got="NaT")
    if moment.tz is not None:
        moment = moment.tz_convert("UTC").tz_localize(None)
    return moment.as_unit("us")


def moment(value: object) -> Tree:
    """Return a date as SQL."""
    return timestamp(text(instant(value).isoformat(sep=" ", timespec="microseconds")))


@dataclass(frozen=True)
class Population:
    """Who is in the frame.

    Parameters
    ----------
    active_days : int, optional
        Did something (see `ACTIVITY`) within so many days before the date.
    buyer_days : int, optional
        Ordered within so many days; 0 for ever.
    only_known : bool
        Leave out persons seen only through anonymous records.

    Examples
    --------
    >>> Population.parse("active_365") == Population.active(days=365)
    True
    >>> str(Population.parse("known & buyers_90"))
    'known & buyers_90'
    """

    active_days: int | None = None
    buyer_days: int | None = None
    only_known: bool = False

    @classmethod
    def all(cls) -> Population:
        """Everybody with a permitted record known at the date."""
        return cls()

    @classmethod
    def active(cls, days: int = 365) -> Population:
        """Those who did something within `days`."""
        return cls(active_days=days)

    @classmethod
    def buyers(cls, days: int | None = None) -> Population:
        """Those who ordered, within `days` if given."""
        return cls(buyer_days=days or 0)

    @classmethod
    def known(cls) -> Population:
        """Those with at least one record that is not anonymous."""
        return cls(only_known=True)

    def __and__(self, other: Population) -> Population:
        """Return those in both."""
        both: dict = {}
        for name in ("active_days", "buyer_days"):
            mine, theirs = getattr(self, name), getattr(other, name)
            limits = [days for days in (mine, theirs) if days]
            both[name] = min(limits) if limits else (theirs if mine is None else mine)
        return replace(self, **both, only_known=self.only_known or other.only_known)

    @classmethod
    def parse(cls, given: str | Population) -> Population:
        """Read ``all``, ``known``, ``active_365``, ``buyers``, ``buyers_90``, joined by ``&``."""
        if isinstance(given, Population):
            return given
        population = cls()
        for word in given.split("&"):
            found = re.fullmatch(r"(all|known|buyers)|(active|buyers)_(\d+)", word.strip())
            if found is None or found.group(3) == "0":
                raise FeatureError(
                    "a population must be all, known, active_<days>, buyers or buyers_<days>",
                    got=repr(given),
                )
            if found.group(2):
                days = int(found.group(3))
                population &= cls.active(days) if found.group(2) == "active" else cls.buyers(days)
            else:
                population &= getattr(cls, found.group(1))()
        return population

    def __str__(self) -> str:
        """Return the words `parse` reads."""
        words = ["known"] if self.only_known else []
        if self.active_days is not None:
            words.append(f"active_{self.active_days}")
        if self.buyer_days is not None:
            words.append(f"buyers_{self.buyer_days}" if self.buyer_days else "buyers")
        return " & ".join(words) or "all"

    def sentence(self, language: str) -> str:
        """Say who is in it, as a complement of "people".

        Examples
        --------
        >>> Population.parse("active_365").sentence("fr")
        'actives dans les 365 derniers jours'
        >>> Population.parse("known & buyers").sentence("en")
        'with a named record, who have ordered'
        """
        french = check_language(language) == "fr"
        parts = []
        if self.only_known:
            parts.append("avec une fiche nominative" if french else "with a named record")
        if self.active_days is not None:
            days = self.active_days
            parts.append(
                f"actives dans les {days} derniers jours" if french else f"active in the last {days} days"
            )
        if self.buyer_days is not None:
            days = self.buyer_days
            within = f" dans les {days} derniers jours" if french else f" in the last {days} days"
            parts.append(("ayant commandé" if french else "who have ordered") + (within if days else ""))
        return ", ".join(parts) or ("connues à la date" if french else "known at the date")

    def conditions(self, clock: Clock) -> list[Tree]:
        """Return tests over the records `a` of the persons alive at the date."""
        tests: list[Tree] = []
        if self.only_known:
            known = select([col("node_id")], table("nodes"), where=_named_record())
            tests.append(known)
        if self.active_days is not None:
            tests.append(_any_of([_did(t, time, self.active_days, clock) for t, time in ACTIVITY]))
        if self.buyer_days is not None:
            tests.append(_did("orders", "event_time", self.buyer_days or None, clock))
        return tests


def _named_record() -> Tree:
    listed = exp.In(this=col("node_type"), expressions=[text(kind) for kind in ANONYMOUS])
    return exp.Not(this=exp.Paren(this=listed))


def _any_of(queries: Iterable[Tree]) -> Tree:
    first, *others = queries
    for query in others:
        first = exp.Union(this=first, expression=query, distinct=False)
    return first


def _did(name: str, time: str, days: int | None, clock: Clock) -> Tree:
    """Return the records that did something, known and within `days` of its own time."""
    acted = col(time, "f")
    conditions = [
        clock.visible(days if time == "event_time" else None),
        None if time == "event_time" else holds(f"known({time})", clock.now),
        None if days is None else exp.GTE(this=acted, expression=clock.start(days)),
    ]
    return select([col("node_id", "f")], table(name, "f"), where=all_of(conditions))


def alive(at: Tree, permitted: Tree | None = None) -> exp.Select:
    """Return ``node_id, person_id`` as known strictly before a date.

    Parameters
    ----------
    at : Expression
        The date.
    permitted : Expression, optional
        Records that may be used, a query of one column `node_id`.
    """
    conditions: list[Tree | None] = [
        exp.LT(this=col("known_from", "a"), expression=at),
        exp.Paren(
            this=exp.Or(
                this=is_null(col("known_to", "a")),
                expression=exp.GTE(this=col("known_to", "a"), expression=at.copy()),
            )
        ),
    ]
    if permitted is not None:
        conditions.append(exp.In(this=col("node_id", "a"), query=exp.Subquery(this=permitted)))
    return select(
        [col("node_id", "a"), col("person_id", "a")], table("membership", "a"), where=all_of(conditions)
    )


def snapshot_persons(population: Population, clock: Clock, permitted: Tree | None) -> exp.Select:
    """Return ``key, person_id, as_of, is_known`` of a population, keys dense in order of person."""
    here = alive(clock.now(), permitted)
    tests = [
        exp.In(
            this=col("person_id", "a"),
            query=exp.Subquery(
                this=select(
                    [col("person_id", "b")],
                    sub(here.copy(), "b"),
                    where=exp.In(this=col("node_id", "b"), query=exp.Subquery(this=test)),
                )
            ),
        )
        for test in population.conditions(clock)
    ]
    persons = select(
        [col("person_id", "a")], sub(here, "a"), where=all_of(tests), group=[col("person_id", "a")]
    )
    order = exp.Order(expressions=[exp.Ordered(this=col("person_id", "p"), nulls_first=False)])
    key = exp.Window(this=exp.RowNumber(), order=order)
    return select(
        [
            named(key, "key"),
            col("person_id", "p"),
            named(clock.now(), "as_of"),
            named(exp.true(), "is_known"),
        ],
        sub(persons, "p"),
    )


def snapshot_members(persons: str, clock: Clock, permitted: Tree | None) -> exp.Select:
    """Return ``node_id, key`` of the persons of a snapshot."""
    same = exp.EQ(this=col("person_id", "a"), expression=col("person_id", "p"))
    return select(
        [col("node_id", "a"), col("key", "p")],
        sub(alive(clock.now(), permitted), "a"),
        [join(table(persons, "p"), same)],
    )


def row_members(rows: str, permitted: Tree | None) -> exp.Select:
    """Return ``node_id, key, t`` of rows with a date each, under the persons as known at each."""
    conditions: list[Tree | None] = [
        exp.LT(this=col("known_from", "a"), expression=col("as_of", "p")),
        exp.Paren(
            this=exp.Or(
                this=is_null(col("known_to", "a")),
                expression=exp.GTE(this=col("known_to", "a"), expression=col("as_of", "p")),
            )
        ),
    ]
    same = exp.EQ(this=col("person_id", "a"), expression=col("person_id", "p"))
    joins = [join(table("membership", "a"), same)]
    if permitted is not None:
        right = all_of(
            [
                exp.EQ(this=col("node_id", "c"), expression=col("node_id", "a")),
                exp.EQ(this=col("as_of", "c"), expression=col("as_of", "p")),
            ]
        )
        joins.append(join(sub(permitted, "c"), right))
    return select(
        [col("node_id", "a"), col("key", "p"), named(col("as_of", "p"), "t")],
        table(rows, "p"),
        joins,
        all_of(conditions),
    )


def population_frame(
    engine: Engine, population: str | Population, as_of: object, consent: bool = True
) -> pd.DataFrame:
    """Return the persons of a population at a date: ``person_id, as_of``."""
    from cdpkit.features.permission import permit

    clock = clock_at(as_of, engine.dialect)
    allowed = permit(engine, instant(as_of)) if consent else None
    query = snapshot_persons(Population.parse(population), clock, allowed)
    return (
        engine.query(query.sql(dialect=engine.dialect)).to_pandas().sort_values("key")[["person_id", "as_of"]]
    )


def clock_at(as_of: object, dialect: str) -> Clock:
    """Return the clock of one snapshot."""
    at = instant(as_of).isoformat(sep=" ", timespec="microseconds")
    return Clock(at, at, per_row=False, dialect=dialect)
