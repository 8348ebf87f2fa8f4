"""Everybody's 360 view in one row each: the table beside the view of one person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.consent import nodes_sql, persons_sql
from cdpkit.identity.moments import instant, literal, members
from cdpkit.identity.people import PARTNERS
from cdpkit.identity.profile import contacts
from cdpkit.schema import CHANNELS

if TYPE_CHECKING:
    from cdpkit.engine import Engine
    from cdpkit.identity.levels import IdentityLevels

_APART = ("events", "orders", "messages")


def profiles_360(engine: Engine, as_of: object, levels: IdentityLevels | None = None) -> pd.DataFrame:
    """Return one row a person, as known at a date: the rows of the table ``profile_360``.

    Parameters
    ----------
    engine : Engine
        Sees the canonical tables.
    as_of : timestamp-like
        UTC; nothing that happened or was learned at or after it counts.
    levels : IdentityLevels, optional
        Levels at the date (`identity_levels`); without them the column stays empty.

    Returns
    -------
    DataFrame
        The columns of ``profile_360``: counts of contacts are those of the person's own timeline (see
        `cdpkit.identity.profile_360`). Persons who are nothing but partners' cookies have no row.
    """
    t, stamp = literal(as_of), instant(as_of)
    held, allowed = members(as_of), nodes_sql("profiling", as_of).sql(dialect=engine.dialect)
    told = " UNION ALL ".join(
        f"SELECT node_id, '{table.name}' AS kind, {table.event_time} AS event_time FROM {table.name}"
        f" WHERE {table.event_time} < {t} AND {table.known_at} < {t}"
        for table in contacts()
    )
    counts = ", ".join(f"SUM(CASE WHEN kind = '{name}' THEN 1 ELSE 0 END) AS n_{name}" for name in _APART)
    query = _ROWS.format(
        members=held, allowed=allowed, told=told, counts=counts, partners=PARTNERS, t=t,
        since=literal(stamp - pd.Timedelta(days=30)),
    )  # fmt: skip
    out = engine.query(query).to_pandas()
    whole = ["n_contacts", *(f"n_{name}" for name in _APART), "sent_30d"]
    out[whole] = out[whole].fillna(0).astype("int64")
    out["n_other"] = out["n_contacts"] - out[[f"n_{name}" for name in _APART]].sum(axis=1)
    out["may_profile"] = out["may_profile"] > 0
    level = pd.Series(dtype="Int64") if levels is None else levels.persons.set_index("person_id")["level"]
    out["level"] = out["person_id"].map(level).astype("Int64")
    for name, lists in (("channels", _granted(engine, as_of)), ("tiers", _tiers(engine, t))):
        told_of = [lists.get(person) for person in out["person_id"]]
        out[name] = pd.Series(told_of, index=out.index, dtype=object)
    return out.assign(as_of=stamp)


def _granted(engine: Engine, as_of: object) -> dict[str, list[str]]:
    """Return the channels each person granted."""
    said = engine.query("SELECT DISTINCT channel FROM consents WHERE purpose = 'activation'").to_pandas()
    told = set(said["channel"])
    out: dict[str, list[str]] = {}
    for channel in [one for one in CHANNELS if told & {one, "*"}]:
        for person in engine.query(persons_sql("activation", as_of, channel)).to_pandas()["person_id"]:
            out.setdefault(person, []).append(channel)
    return out


def _tiers(engine: Engine, t: str) -> dict[str, list[str]]:
    """Return the latest tier each model gave a person."""
    scored = engine.query(
        "SELECT person_id, model, tier, as_of FROM scores"
        f" WHERE as_of <= {t} AND tier IS NOT NULL ORDER BY as_of"
    ).to_pandas()
    last = scored.drop_duplicates(["person_id", "model"], keep="last").sort_values(["person_id", "model"])
    out: dict[str, list[str]] = {}
    for person, model, tier in zip(last["person_id"], last["model"], last["tier"], strict=True):
        out.setdefault(person, []).append(f"{model}: {tier}")
    return out


_ROWS = """
    WITH held AS ({members}), partners AS ({partners}), who AS (
        SELECT h.person_id, MIN(n.known_at) AS known_since, COUNT(*) AS n_records,
               COUNT(DISTINCT n.source) AS n_sources,
               MAX(CASE WHEN a.node_id IS NOT NULL THEN 1 ELSE 0 END) AS may_profile
        FROM held AS h JOIN nodes AS n ON n.node_id = h.node_id AND n.known_at < {t}
        LEFT JOIN ({allowed}) AS a ON a.node_id = h.node_id
        LEFT JOIN partners AS p ON p.source = n.source
        GROUP BY h.person_id HAVING MAX(CASE WHEN p.source IS NULL THEN 1 ELSE 0 END) = 1
    ), did AS (
        SELECT h.person_id, COUNT(*) AS n_contacts, {counts}, MAX(c.event_time) AS last_contact_at,
               SUM(CASE WHEN kind = 'messages' AND c.event_time >= {since} THEN 1 ELSE 0 END) AS sent_30d
        FROM ({told}) AS c JOIN held AS h ON h.node_id = c.node_id
        JOIN ({allowed}) AS a ON a.node_id = c.node_id
        GROUP BY h.person_id
    )
    SELECT w.*, d.* EXCLUDE (person_id) FROM who AS w LEFT JOIN did AS d ON d.person_id = w.person_id
    ORDER BY w.person_id
"""
