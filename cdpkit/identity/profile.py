"""The 360 view of one person: who, what is known, every contact, scores, consents and pressure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from cdpkit.consent import rows_sql
from cdpkit.errors import CdpkitError
from cdpkit.identity.masks import mask
from cdpkit.identity.moments import instant, literal, members
from cdpkit.schema import CHANNELS, TABLES, Table

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: Tables that describe a record rather than tell a contact with its owner; lines are told by their order.
_NOT_A_CONTACT = {
    "profiles", "identifiers", "assignments", "merges", "cookie_matches", "positions", "order_lines",
}  # fmt: skip
#: Columns that say what kind of contact it was, the first that a table has.
_KIND = ("event_type", "kind", "reason", "survey", "network", "purpose", "variant")
_TIMELINE = [
    "event_time",
    "contact",
    "kind",
    "channel",
    "source",
    "touchpoint",
    "status",
    "amount_minor",
    "currency",
]
_ASKED = "profile_asked"
#: Days over which contact pressure is counted.
PRESSURE_DAYS = (7, 30, 90)


@dataclass(frozen=True)
class Profile:
    """What is known of one person; values are masked unless a person's own request asked for them.

    Attributes
    ----------
    person_id : str
        The person, as it is called today.
    at : Timestamp or None
        Knowledge used; None: everything known.
    records : DataFrame
        ``source, node_type, known_at, may_be_profiled``: the source records that are this person.
    identifiers : DataFrame
        ``id_type, value, source, first_seen, last_seen``.
    facts : DataFrame
        ``attribute, value, source, rule, known_at``: the golden record, where each value comes from and
        by which rule it was kept.
    inferred : DataFrame
        ``attribute, value, confidence, model, as_of``: what was deduced; never among the facts.
    timeline : DataFrame
        ``event_time, contact`` (the table), ``kind, channel, source, touchpoint, status, amount_minor,
        currency``: one row a row of a source table, the latest first.
    scores : DataFrame
        ``model, as_of, score, percentile, decile, tier, reasons, decided_by``, the latest of each model.
    consents : DataFrame
        ``purpose, channel, allowed``: what may be done with the person at the time.
    pressure : DataFrame
        ``channel, last_sent_at, sent_7d, sent_30d, sent_90d, clicked_90d``.
    withheld : dict of str to int
        Rows of each table left out, for their record may not be used for profiling.
    clear : bool
        Whether values are in clear.
    """

    person_id: str
    at: pd.Timestamp | None
    records: pd.DataFrame
    identifiers: pd.DataFrame
    facts: pd.DataFrame
    inferred: pd.DataFrame
    timeline: pd.DataFrame
    scores: pd.DataFrame
    consents: pd.DataFrame
    pressure: pd.DataFrame
    withheld: dict[str, int]
    clear: bool = False

    @property
    def parts(self) -> dict[str, pd.DataFrame]:
        """The frames by name, in reading order."""
        return {name: getattr(self, name) for name in _PARTS}

    def to_dict(self) -> dict[str, Any]:
        """Return the view as JSON values: times in ISO, missing values as None."""
        made = {name: _records(frame) for name, frame in self.parts.items()}
        at = None if self.at is None else self.at.isoformat()
        return {"person_id": self.person_id, "at": at, **made, "withheld": self.withheld}

    def to_json(self) -> str:
        """Return the view as a JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)


_PARTS = ("records", "identifiers", "facts", "inferred", "timeline", "scores", "consents", "pressure")


def contacts() -> list[Table]:
    """Return the tables of which each row is a contact with a person.

    Examples
    --------
    >>> {"events", "orders", "messages", "contacts", "touches", "consents"} <= {t.name for t in contacts()}
    True
    """
    return [
        table
        for table in TABLES.values()
        if "node_id" in table and table.event_time is not None and table.name not in _NOT_A_CONTACT
    ]


def profile_360(
    engine: Engine, person_id: str, at: object = None, *, subject_request: bool = False
) -> Profile:
    """Return the 360 view of a person.

    Parameters
    ----------
    engine : Engine
        Sees the canonical tables.
    person_id : str
        A person of ``membership``; a retired id leads to the one that took over (see `lookup`).
    at : timestamp-like, optional
        UTC; nothing that happened or was learned at or after it is shown. Default: everything known.
    subject_request : bool
        Whether the person asked for its own data: values are then in clear, and nothing is withheld. By
        default values are masked and records that may not be used for profiling tell nothing.

    Returns
    -------
    Profile
        Every number is counted from the tables; `cdpkit.identity.subject_file` has all their rows.

    Raises
    ------
    CdpkitError
        When nobody has this id at the time.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> day = pd.Timestamp("2025-01-01")
    >>> node = pd.DataFrame({"node_id": [1], "source": "crm", "record_id": "c1", "node_type": "contact",
    ...                      "known_at": day})
    >>> member = pd.DataFrame({"node_id": [1], "person_id": "p1", "known_from": day, "known_to": pd.NaT})
    >>> call = pd.DataFrame({"contact_id": ["k"], "node_id": 1, "source": "calls", "known_at": day,
    ...                      "event_time": day, "channel": "call", "reason": "delivery"})
    >>> engine = DuckDBEngine(frames={"nodes": node, "membership": member, "contacts": call})
    >>> profile_360(engine, "p1", subject_request=True).timeline[["contact", "kind"]].to_numpy().tolist()
    [['contacts', 'delivery']]
    >>> profile_360(engine, "p1").withheld
    {'contacts': 1}
    """
    moment = None if at is None else instant(at)
    now = present(engine, person_id)
    own = engine.query(
        f"SELECT m.node_id FROM ({members(moment)}) AS m WHERE m.person_id = {_quoted(now)} ORDER BY 1"
    ).to_pandas()["node_id"]
    if own.empty:
        raise CdpkitError(
            "a person must exist at the time asked", got="no record under this id", do="Find it with `lookup`"
        )
    asked = pd.DataFrame({"person_id": [now], "as_of": [instant(at).as_unit("us")]})
    engine.register(_ASKED, asked)
    usable = set(engine.query(rows_sql("profiling", _ASKED)).to_pandas()["node_id"])
    shown = sorted(own) if subject_request else sorted(set(own) & usable)
    nodes, t = _listed(sorted(own)), literal(moment)
    timeline = _timeline(engine, _listed(shown), t)
    total = {table.name: _count(engine, table, nodes, t) for table in contacts()}
    seen = timeline["contact"].value_counts()
    withheld = {name: n - int(seen.get(name, 0)) for name, n in total.items() if n > seen.get(name, 0)}
    show = (lambda attribute, value: value) if subject_request else mask
    records = engine.query(
        "SELECT node_id, source, node_type, known_at FROM nodes"
        f" WHERE node_id IN ({nodes}) ORDER BY known_at, node_id"
    ).to_pandas()
    records["may_be_profiled"] = records.pop("node_id").isin(usable)
    return Profile(
        now,
        moment,
        records,
        _masked(engine.query(_IDENTIFIERS.format(nodes=nodes, t=t)).to_pandas(), "id_type", show),
        _masked(engine.query(_FACTS.format(person=_quoted(now), t=t)).to_pandas(), "attribute", show),
        _masked(engine.query(_INFERRED.format(person=_quoted(now), t=t)).to_pandas(), "attribute", show),
        timeline,
        engine.query(_SCORES.format(person=_quoted(now), t=t)).to_pandas(),
        _consents(engine, bool(usable)),
        _pressure(engine, _listed(shown), moment, t),
        withheld,
        subject_request,
    )


def present(engine: Engine, person_id: str) -> str:
    """Return the id that a person goes by today.

    Parameters
    ----------
    engine : Engine
        Sees ``aliases``.
    person_id : str
        Present or retired.
    """
    found = engine.query(f"SELECT person_id FROM aliases WHERE old_id = {_quoted(person_id)}").to_pandas()
    return str(found["person_id"].iloc[0]) if len(found) else person_id


_IDENTIFIERS = """
    SELECT id_type, value, source, MIN(known_at) AS first_seen, MAX(event_time) AS last_seen
    FROM identifiers WHERE node_id IN ({nodes}) AND known_at < {t}
    GROUP BY id_type, value, source ORDER BY id_type, last_seen DESC, value
"""
_FACTS = """
    SELECT attribute, value, source, rule, known_at FROM golden
    WHERE person_id = {person} AND known_at < {t} ORDER BY attribute
"""
_INFERRED = """
    SELECT attribute, value, confidence, model, as_of FROM inferred
    WHERE person_id = {person} AND as_of <= {t} ORDER BY attribute, as_of DESC
"""
_SCORES = """
    SELECT model, as_of, score, percentile, decile, tier, reasons, decided_by FROM (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY model ORDER BY as_of DESC) AS place
        FROM scores WHERE person_id = {person} AND as_of <= {t}
    ) AS ranked WHERE place = 1 ORDER BY model
"""
_SENT = """
    SELECT channel, MAX(event_time) AS last_sent_at, {counts},
           SUM(CASE WHEN event_time >= {since} AND clicked_at < {t} THEN 1 ELSE 0 END) AS clicked_90d
    FROM messages WHERE node_id IN ({nodes}) AND event_time < {t} AND known_at < {t}
    GROUP BY channel ORDER BY channel
"""


def _timeline(engine: Engine, nodes: str, t: str) -> pd.DataFrame:
    """Return every contact told of some records, the latest first."""
    parts = []
    for table in contacts():
        kind = next((name for name in _KIND if name in table), None)
        columns = {
            "event_time": table.event_time,
            "contact": f"'{table.name}'",
            "kind": kind,
            "channel": "channel" if "channel" in table else None,
            "source": "source",
            "touchpoint": "touchpoint" if "touchpoint" in table else None,
            "status": "status" if "status" in table else None,
            "amount_minor": "amount_minor" if "amount_minor" in table else "CAST(NULL AS BIGINT)",
            "currency": "currency" if "currency" in table else None,
        }
        listed = ", ".join(f"{value or 'CAST(NULL AS VARCHAR)'} AS {name}" for name, value in columns.items())
        parts.append(f"SELECT {listed} FROM {table.name} WHERE {_told(table, nodes, t)}")
    query = " UNION ALL ".join(parts)
    out = engine.query(
        f"SELECT * FROM ({query}) AS every ORDER BY event_time DESC, contact, kind"
    ).to_pandas()
    return out[_TIMELINE].astype({"amount_minor": "Int64"})


def _told(table: Table, nodes: str, t: str) -> str:
    return f"node_id IN ({nodes}) AND {table.event_time} < {t} AND {table.known_at} < {t}"


def _count(engine: Engine, table: Table, nodes: str, t: str) -> int:
    query = f"SELECT COUNT(*) AS n FROM {table.name} WHERE {_told(table, nodes, t)}"
    return int(engine.query(query).to_pandas()["n"].iloc[0])


def _consents(engine: Engine, profiling: bool) -> pd.DataFrame:
    """Return what the person permits, a purpose and channel a row."""
    rows = [{"purpose": "profiling", "channel": "*", "allowed": profiling}]
    said = engine.query("SELECT DISTINCT channel FROM consents WHERE purpose = 'activation'").to_pandas()
    for channel in [c for c in CHANNELS if c in set(said["channel"]) or "*" in set(said["channel"])]:
        yes = engine.query(rows_sql("activation", _ASKED, channel)).to_pandas()
        rows.append({"purpose": "activation", "channel": channel, "allowed": len(yes) > 0})
    return pd.DataFrame(rows)


def _pressure(engine: Engine, nodes: str, moment: pd.Timestamp | None, t: str) -> pd.DataFrame:
    """Return how much the person was written to lately, before a time or before the last fact."""
    if moment is None:
        last = engine.query("SELECT MAX(event_time) AS t FROM messages").to_pandas()["t"].iloc[0]
        moment = pd.Timestamp("2262-01-01") if pd.isna(last) else pd.Timestamp(last)
    since = {days: literal(moment - pd.Timedelta(days=days)) for days in PRESSURE_DAYS}
    counts = ", ".join(
        f"SUM(CASE WHEN event_time >= {begin} THEN 1 ELSE 0 END) AS sent_{days}d"
        for days, begin in since.items()
    )
    query = _SENT.format(counts=counts, since=since[PRESSURE_DAYS[-1]], nodes=nodes, t=t)
    return engine.query(query).to_pandas()


def _masked(frame: pd.DataFrame, attribute: str, show: Any) -> pd.DataFrame:
    values = [show(name, value) for name, value in zip(frame[attribute], frame["value"], strict=True)]
    return frame.assign(value=pd.Series(values, index=frame.index, dtype="str"))


def _listed(nodes: list[int]) -> str:
    return ", ".join(str(int(node)) for node in nodes) or "NULL"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as JSON values."""
    return json.loads(frame.to_json(orient="records", date_format="iso", date_unit="us"))
