"""Who may be stitched, profiled and activated: one rule, read as of a time.

Activation needs a recorded grant for the channel. Stitching and profiling follow the latest decision;
without one, the basis that the record's source declares. Terms of the source that do not allow the purpose,
or no longer, win over both. Everything else is no. Decisions are joined to persons here, so that no other
module re-tells the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp, parse_one

from cdpkit.errors import ConsentError
from cdpkit.schema import PURPOSES

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine

#: The basis that permits without a decision, where a source's contract declares it.
STANDING_BASIS = "legitimate_interest"
#: "Everything known so far": later than any fact.
_END = "9999-12-31 00:00:00"

# A record by itself (stitching decides who is a person, so it cannot ask the person).
_BY_NODE = """
    SELECT n.node_id, n.source, m.as_of, CONCAT('node ', CAST(n.node_id AS TEXT)) AS holder,
           CAST(NULL AS TEXT) AS person_id
    FROM nodes AS n JOIN moments AS m ON n.known_at < m.as_of
"""
# A record under its person as known then; one that no resolution has seen stands for itself.
_BY_PERSON = """
    SELECT n.node_id, n.source, m.as_of, a.person_id,
           COALESCE(a.person_id, CONCAT('node ', CAST(n.node_id AS TEXT))) AS holder
    FROM nodes AS n JOIN moments AS m ON n.known_at < m.as_of
    LEFT JOIN membership AS a
      ON a.node_id = n.node_id AND a.known_from < m.as_of AND (a.known_to IS NULL OR a.known_to >= m.as_of)
"""
# The records of some persons, each at a time of its own.
_BY_ROW = """
    SELECT DISTINCT n.node_id, n.source, m.as_of, a.person_id, a.person_id AS holder
    FROM moments AS m
    JOIN membership AS a
      ON a.person_id = m.person_id AND a.known_from < m.as_of
     AND (a.known_to IS NULL OR a.known_to >= m.as_of)
    JOIN nodes AS n ON n.node_id = a.node_id
"""
_RULE = """
    WITH moments AS (SELECT 1), held AS (SELECT 1), said AS (
        SELECT h.holder, h.as_of, c.status,
               ROW_NUMBER() OVER (
                   PARTITION BY h.holder, h.as_of
                   ORDER BY c.event_time DESC, CASE WHEN c.status = 'granted' THEN 1 ELSE 0 END
               ) AS place
        FROM consents AS c
        JOIN held AS h ON h.node_id = c.node_id AND c.event_time < h.as_of AND c.known_at < h.as_of
        WHERE c.purpose = :purpose AND (:any_channel OR c.channel IN (:channel, '*'))
    ), standing AS (
        SELECT DISTINCT source FROM source_bases
        WHERE :standing AND purpose = :purpose AND basis = :basis
    )
    SELECT h.node_id, h.person_id, h.as_of
    FROM held AS h
    LEFT JOIN said AS d ON d.holder = h.holder AND d.as_of = h.as_of AND d.place = 1
    LEFT JOIN standing AS b ON b.source = h.source
    LEFT JOIN source_terms AS u ON u.source = h.source AND u.purpose = :purpose
    WHERE (d.status = 'granted' OR (d.status IS NULL AND b.source IS NOT NULL))
      AND (u.source IS NULL OR (u.allowed AND (u.until IS NULL OR u.until > h.as_of OR h.as_of >= :end)))
"""


def permitted_nodes(
    engine: Engine, purpose: str, as_of: object = None, channel: str | None = None
) -> pd.DataFrame:
    """Return the records that may be used for a purpose.

    Parameters
    ----------
    engine : Engine
        Reads ``nodes, consents, source_bases, source_terms`` and, but for stitching, ``membership``.
    purpose : str
        ``stitching``, ``profiling`` or ``activation``.
    as_of : timestamp-like, optional
        UTC; what was decided or learned at or after it is not seen. Default: everything known.
    channel : str, optional
        Needed for activation, and only there.

    Returns
    -------
    DataFrame
        ``node_id``, in order.

    Raises
    ------
    ConsentError
        When the purpose is unknown, or the channel is missing or out of place.

    Examples
    --------
    >>> import pandas as pd
    >>> from cdpkit.engine import DuckDBEngine
    >>> day = pd.Timestamp("2025-01-01")
    >>> nodes = pd.DataFrame({"node_id": [1, 2], "source": ["crm", "web"], "record_id": ["a", "b"],
    ...                       "node_type": ["contact", "cookie"], "known_at": [day, day]})
    >>> bases = pd.DataFrame({"source": ["crm"], "purpose": ["stitching"], "basis": ["legitimate_interest"]})
    >>> engine = DuckDBEngine(frames={"nodes": nodes, "source_bases": bases})
    >>> permitted_nodes(engine, "stitching")["node_id"].tolist()
    [1]
    >>> permitted_nodes(engine, "activation", channel="email")["node_id"].tolist()
    []
    """
    query = nodes_sql(purpose, as_of, channel).order_by("node_id")
    return engine.query(query).to_pandas()


def permitted_persons(
    engine: Engine, purpose: str, as_of: object = None, channel: str | None = None
) -> pd.DataFrame:
    """Return the persons, as known at a time, who may be used for a purpose.

    A person's decision is the latest dated one over all records it has as of that time; a denial wins
    over a grant of the same instant. For profiling without a decision, one record whose source
    declares a basis is enough: `nodes_sql` says which records may then be used.

    Parameters
    ----------
    engine, purpose, as_of, channel
        As in `permitted_nodes`.

    Returns
    -------
    DataFrame
        ``person_id``, in order.

    Raises
    ------
    ConsentError
        When the purpose is unknown, or the channel is missing or out of place.
    """
    return engine.query(persons_sql(purpose, as_of, channel).order_by("person_id")).to_pandas()


def nodes_sql(purpose: str, as_of: object = None, channel: str | None = None) -> exp.Select:
    """Build the query of the records permitted as of one time or several.

    Parameters
    ----------
    purpose : str
        ``stitching``, ``profiling`` or ``activation``.
    as_of : timestamp-like or sequence of them, optional
        UTC. With a sequence the relation has one row a record and time.
    channel : str, optional
        For activation.

    Returns
    -------
    sqlglot.exp.Select
        ``node_id``, and ``as_of`` when a sequence was given. Renders for any dialect; usable as a
        sub-query.

    Examples
    --------
    >>> nodes_sql("profiling", "2025-01-01").named_selects
    ['node_id']
    """
    held = _BY_NODE if purpose == "stitching" else _BY_PERSON
    times, columns = _times(as_of)
    return _pick(_rule(purpose, channel, _moments(times), held), ["node_id", *columns])


def persons_sql(purpose: str, as_of: object = None, channel: str | None = None) -> exp.Select:
    """Build the query of the persons permitted as of one time or several.

    Parameters
    ----------
    purpose, as_of, channel
        As in `nodes_sql`.

    Returns
    -------
    sqlglot.exp.Select
        ``person_id``, and ``as_of`` when a sequence was given; distinct.
    """
    if purpose == "stitching":
        raise ConsentError("stitching must be asked by record", got="persons", do="Use `nodes_sql`")
    times, columns = _times(as_of)
    query = _pick(_rule(purpose, channel, _moments(times), _BY_PERSON), ["person_id", *columns])
    return query.where("person_id IS NOT NULL").distinct()


def rows_sql(purpose: str, rows: str, channel: str | None = None) -> exp.Select:
    """Build the query of the records permitted for persons at times of their own.

    Parameters
    ----------
    purpose : str
        ``profiling`` or ``activation``.
    rows : str
        A table or view of ``person_id, as_of`` known to the engine.
    channel : str, optional
        For activation.

    Returns
    -------
    sqlglot.exp.Select
        ``node_id, as_of``: for each row, the person's records that may be used then.

    Examples
    --------
    >>> rows_sql("profiling", "exposures").named_selects
    ['node_id', 'as_of']
    """
    moments = exp.select("person_id", "as_of").from_(exp.to_table(rows)).distinct()
    return _pick(_rule(purpose, channel, moments, _BY_ROW), ["node_id", "as_of"])


def _rule(purpose: str, channel: str | None, moments: exp.Query, held: str) -> exp.Query:
    """Return the rule for one purpose and channel, over some holders at some times."""
    if purpose not in PURPOSES:
        raise ConsentError(f"a purpose must be one of {', '.join(PURPOSES)}", got=repr(purpose))
    if (purpose == "activation") != (channel is not None):
        raise ConsentError(
            "activation is asked for one channel, other purposes for none",
            got=f"{purpose} with channel {channel!r}",
        )
    values = {
        "purpose": exp.Literal.string(purpose),
        "channel": exp.Literal.string(channel or "*"),
        "any_channel": exp.Boolean(this=channel is None),
        "standing": exp.Boolean(this=purpose != "activation"),
        "basis": exp.Literal.string(STANDING_BASIS),
        # "Everything known" has no date to hold an agreement's end against: whoever acts gives one.
        "end": exp.cast(exp.Literal.string(_END), "TIMESTAMP"),
    }
    tree = parse_one(_RULE, dialect="duckdb", into=exp.Select)
    for place in list(tree.find_all(exp.Placeholder)):
        place.replace(values[place.name].copy())
    parts = {"moments": moments, "held": parse_one(held, dialect="duckdb")}
    for cte in tree.find_all(exp.CTE):
        if cte.alias in parts:
            cte.set("this", parts[cte.alias])
    return tree


def _pick(rule: exp.Query, columns: list[str]) -> exp.Select:
    """Return some columns of the rule, in a form that can be joined."""
    alias = exp.TableAlias(this=exp.to_identifier("rule"))
    return exp.select(*columns).from_(exp.Subquery(this=rule, alias=alias))


def _times(as_of: object) -> tuple[list, list[str]]:
    """Return the times asked for, and the column that tells them apart when there are several."""
    if isinstance(as_of, Sequence) and not isinstance(as_of, str):
        return list(as_of), ["as_of"]
    return [as_of], []


def _moments(times: list) -> exp.Query:
    """Return the times as a relation of one column."""
    import pandas as pd

    selects = []
    for time in times:
        stamp = pd.Timestamp(_END if time is None else time)
        stamp = stamp.tz_convert("UTC").tz_localize(None) if stamp.tzinfo is not None else stamp
        literal = exp.Literal.string(stamp.isoformat(sep=" ", timespec="microseconds"))
        kind = exp.DataType(this=exp.DataType.Type.TIMESTAMPNTZ)
        selects.append(exp.select(exp.Cast(this=literal, to=kind).as_("as_of")))
    if not selects:
        raise ConsentError("at least one time must be given", got="none")
    union: exp.Query = selects[0]
    for select in selects[1:]:
        union = exp.Union(this=union, expression=select, distinct=True)
    return union
