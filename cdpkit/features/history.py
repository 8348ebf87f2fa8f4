"""The relationship history: every contact with the brand, in and out, on every channel, bi-temporal.

A reaction (an opened message, a return) is a row of its own, at its own time, so nothing in this view
is learned later than the row says. The view is append-only because the facts under it are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from cdpkit.features.tree import sub
from cdpkit.schema import TABLES, Column, Table

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine


@dataclass(frozen=True)
class Strand:
    """One kind of contact: a table, which way it went, and the time that dates it."""

    table: str
    direction: str
    kind: str
    time: str = "event_time"


#: What the history is made of. `out` is what the brand did, `in` what the person did.
STRANDS = (
    Strand("events", "in", "event"),
    Strand("orders", "in", "order"),
    Strand("orders", "in", "cancellation", "cancelled_at"),
    Strand("orders", "in", "return", "returned_at"),
    Strand("messages", "out", "message"),
    Strand("messages", "in", "open", "opened_at"),
    Strand("messages", "in", "click", "clicked_at"),
    Strand("messages", "in", "unsubscribe", "unsubscribed_at"),
    Strand("messages", "in", "complaint", "complained_at"),
    Strand("contacts", "in", "contact"),
    Strand("contacts", "out", "answer", "answered_at"),
    Strand("quotes", "in", "quote"),
    Strand("contracts", "in", "contract"),
    Strand("contracts", "in", "termination", "cancelled_at"),
    Strand("bookings", "in", "booking"),
    Strand("touches", "out", "touch"),
    Strand("reviews", "in", "review"),
    Strand("surveys", "in", "survey"),
    Strand("social", "in", "social"),
    Strand("watchlists", "in", "watch"),
)

#: The view as a table: features may be declared on it like on any fact.
INTERACTIONS = Table(
    name="interactions",
    key=("interaction_id",),
    event_time="event_time",
    known_at="known_at",
    en="A contact between a person and the brand, either way",
    fr="Un contact entre une personne et la marque, dans un sens ou dans l'autre",
    columns=(
        Column("interaction_id", "string", "contact", "contact", required=True),
        TABLES["orders"]["node_id"],
        TABLES["orders"]["source"],
        TABLES["orders"]["known_at"],
        TABLES["orders"]["event_time"],
        Column("direction", "string", "in or out", "entrant (in) ou sortant (out)", required=True),
        TABLES["orders"]["channel"],
        Column("kind", "string", "what happened", "ce qui s'est passé", required=True),
        Column("fact", "string", "table the row comes from", "table d'origine", required=True),
    ),
)


def _later(known: exp.Expression, time: exp.Expression) -> exp.Expression:
    """Return the later of two times; a fact is never known before it happens."""
    return exp.Case(
        ifs=[exp.If(this=exp.GT(this=time.copy(), expression=known.copy()), true=time.copy())], default=known
    )


def view(tables: set[str] | None = None) -> exp.Expression:
    """Return the history as one relation.

    Parameters
    ----------
    tables : set of str, optional
        Keep only these facts; all of them by default.
    """
    selects = []
    for strand in STRANDS:
        if tables is not None and strand.table not in tables:
            continue
        table = TABLES[strand.table]
        column = lambda name: exp.column(name, quoted=True)  # noqa: E731
        time, known = column(strand.time), column("known_at")
        parts: list[exp.Expression] = [exp.Literal.string(f"{strand.table}:{strand.kind}")]
        for key in table.key:
            parts += [exp.Literal.string(":"), exp.cast(column(key), "text")]
        identity = parts[0]
        for part in parts[1:]:
            identity = exp.DPipe(this=identity, expression=part)
        learned = known if strand.time == "event_time" else _later(known, time)
        channel = column("channel") if "channel" in table else exp.cast(exp.Null(), "text")
        select = exp.select(
            identity.as_("interaction_id"),
            column("node_id"),
            column("source"),
            exp.alias_(learned, "known_at"),
            time.copy().as_("event_time"),
            exp.Literal.string(strand.direction).as_("direction"),
            channel.as_("channel") if "channel" not in table else channel,
            exp.Literal.string(strand.kind).as_("kind"),
            exp.Literal.string(strand.table).as_("fact"),
        ).from_(exp.to_table(strand.table))
        if strand.time != "event_time":
            select = select.where(exp.Not(this=exp.Is(this=column(strand.time), expression=exp.Null())))
        selects.append(select)
    union: exp.Expression = selects[0]
    for select in selects[1:]:
        union = exp.Union(this=union, expression=select, distinct=False)
    return union


def interactions(
    engine: Engine, as_of: object, persons: list[str] | None = None, consent: bool = True
) -> pd.DataFrame:
    """Return the relationship history as it was known at a date.

    Parameters
    ----------
    engine : Engine
    as_of : timestamp
        Only what happened and was known strictly before it, under the persons as known then.
    persons : list of str, optional
        Persons to keep.
    consent : bool
        Only records whose owner permits profiling at the date.

    Returns
    -------
    DataFrame
        ``person_id`` and the columns of `INTERACTIONS`, in the order of time.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> interactions(DuckDBEngine(), "2026-01-01").columns[:3].tolist()
    ['person_id', 'interaction_id', 'node_id']
    """
    from cdpkit.features.permission import permit
    from cdpkit.features.population import alive, moment

    at = moment(as_of)
    allowed = permit(engine, as_of) if consent else None
    seen = (
        exp.select("h.*")
        .from_(sub(view(), "h"))
        .where(exp.LT(this=exp.column("event_time", "h"), expression=at.copy()))
        .where(exp.LT(this=exp.column("known_at", "h"), expression=at.copy()))
    )
    query = (
        exp.select("m.person_id", *[f"h.{name}" for name in INTERACTIONS.names])
        .from_(seen.subquery("h"))
        .join(alive(at, allowed).subquery("m"), on="h.node_id = m.node_id")
        .order_by("h.event_time", "h.interaction_id")
    )
    if persons is not None:
        listed = [exp.Literal.string(person) for person in persons]
        query = query.where(exp.In(this=exp.column("person_id", "m"), expressions=listed))
    return engine.query(query.sql(dialect=engine.dialect)).to_pandas()
