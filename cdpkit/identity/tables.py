"""Identity's door to the lake: records out of it, under consent; persons into it, without clear values."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

import pandas as pd
from sqlglot import exp, parse_one

from cdpkit.consent import nodes_sql
from cdpkit.errors import CdpkitError
from cdpkit.identity.claim import Previous
from cdpkit.identity.hygiene import TYPES
from cdpkit.identity.resolution import Resolution

if TYPE_CHECKING:
    from pathlib import Path

    from cdpkit.engine import Engine
    from cdpkit.run import Run

#: What a profile says of its owner and a person may show.
_PROFILE = (
    "first_name",
    "last_name",
    "gender",
    "birth_date",
    "street",
    "postcode",
    "city",
    "country",
    "language",
)
_FAR = "9999-12-31"

# One row a record and time at which it said something new; a value repeated at each visit counts once.
_RECORDS = """
    WITH changes AS (
        SELECT node_id, known_at, id_type, value,
               LAG(value) OVER (PARTITION BY node_id, id_type ORDER BY known_at, value) AS before
        FROM identifiers WHERE known_at < :as_of
    ), placed AS (
        SELECT node_id, known_at, id_type, value,
               ROW_NUMBER() OVER (PARTITION BY node_id, known_at, id_type ORDER BY value) AS k
        FROM changes WHERE before IS NULL OR before <> value
    ), ids AS (
        SELECT node_id, known_at, k FROM placed GROUP BY node_id, known_at, k
    ), said AS (
        SELECT COALESCE(p.node_id, i.node_id) AS node_id, COALESCE(p.known_at, i.known_at) AS known_at
        FROM (SELECT *, 1 AS k FROM profiles WHERE known_at < :as_of) AS p
        FULL OUTER JOIN ids AS i ON p.node_id = i.node_id AND p.known_at = i.known_at AND p.k = i.k
    ), first_said AS (
        SELECT node_id, MIN(known_at) AS known_at FROM said GROUP BY node_id
    ), every AS (
        SELECT * FROM said
        UNION ALL BY NAME
        SELECT n.node_id, n.known_at FROM nodes AS n LEFT JOIN first_said AS f ON f.node_id = n.node_id
        WHERE n.known_at < :as_of AND (f.node_id IS NULL OR n.known_at < f.known_at)
    ), permitted AS (SELECT 1)
    SELECT n.source, n.record_id, n.node_id, e.known_at, q.node_id IS NOT NULL AS may_link
    FROM every AS e
    JOIN nodes AS n ON n.node_id = e.node_id
    LEFT JOIN permitted AS q ON q.node_id = n.node_id
    ORDER BY n.node_id, e.known_at
"""


def records(engine: Engine, as_of: object = None) -> pd.DataFrame:
    """Read the records that `resolve` takes.

    Parameters
    ----------
    engine : Engine
        Reads ``nodes, profiles, identifiers`` and the consent tables.
    as_of : timestamp-like, optional
        UTC; nothing known at or after it is read. Default: everything known.

    Returns
    -------
    DataFrame
        ``source, record_id, node_id, known_at, may_link``, the profile's columns and one column an
        identifier type; a row for each time a record said something new. Every record is there: one
        that may not be stitched has a false ``may_link``, and becomes a person by itself.
    """
    far = _FAR if as_of is None else as_of
    stamp = pd.Timestamp(far)  # type: ignore[arg-type]
    stamp = stamp.tz_convert("UTC").tz_localize(None) if stamp.tzinfo is not None else stamp
    literal = exp.Cast(
        this=exp.Literal.string(stamp.isoformat(sep=" ", timespec="microseconds")),
        to=exp.DataType(this=exp.DataType.Type.TIMESTAMPNTZ),
    )
    tree = parse_one(_RECORDS, dialect="duckdb", into=exp.Select)
    for place in list(tree.find_all(exp.Placeholder)):
        place.replace(literal.copy())
    ctes = {cte.alias: cte.this for cte in tree.find_all(exp.CTE)}
    for kind in TYPES:
        value = parse_one(f"MAX(CASE WHEN id_type = '{kind}' THEN value END) AS {kind}")
        ctes["ids"].select(value, copy=False)
        ctes["said"].select(f"i.{kind}", copy=False)
    for name in _PROFILE:
        ctes["said"].select(f"p.{name}", copy=False)
    tree.select(*(f"e.{name}" for name in (*_PROFILE, *TYPES)), copy=False)
    ctes["permitted"].replace(nodes_sql("stitching", as_of))
    return engine.query(tree).to_pandas()


def previous(engine: Engine) -> Previous | None:
    """Read the last stored state, for `resolve` to continue; None when there is none.

    Parameters
    ----------
    engine : Engine
        Reads ``membership, nodes, aliases``.
    """
    held = engine.query(
        "SELECT n.source, n.record_id, m.person_id, m.known_from, m.known_to"
        " FROM membership AS m JOIN nodes AS n ON n.node_id = m.node_id"
    ).to_pandas()
    if held.empty:
        return None
    return Previous(held, engine.query("SELECT old_id, person_id FROM aliases").to_pandas())


def store(run: Run, resolution: Resolution) -> dict[str, int]:
    """Write a resolution to the lake, under the run's lock.

    Parameters
    ----------
    run : Run
        The run that holds the lock.
    resolution : Resolution
        Of records that carry ``node_id`` (see `records`).

    Returns
    -------
    dict of str to int
        Rows written, by table. State tables are replaced; `person_events` grows.

    Raises
    ------
    CdpkitError
        When the records had no ``node_id``.
    """
    written = frames(resolution, _key(run.lake.workspace.keys / "identifiers.key"))
    for name, frame in written.items():
        if name != "person_events":
            run.lake.write(name, frame, mode="overwrite")
        elif len(frame):
            run.lake.write(name, frame, mode="append")
    return {name: len(frame) for name, frame in written.items()}


def frames(resolution: Resolution, key: bytes) -> dict[str, pd.DataFrame]:
    """Return a resolution as the canonical tables, keyed by record number.

    Parameters
    ----------
    resolution : Resolution
        Of records that carry ``node_id``.
    key : bytes
        Secret of the digests of identifiers.

    Returns
    -------
    dict of str to DataFrame
        ``membership, links, persons, golden, person_events, aliases, identifier_status``.

    Raises
    ------
    CdpkitError
        When the records had no ``node_id``.
    """
    if "node_id" not in resolution.nodes:
        raise CdpkitError(
            "stored records must carry `node_id`", got="none", do="Read them with identity.records"
        )
    number = resolution.nodes.set_index(["source", "record_id"])["node_id"].astype("int64")

    def node(frame: pd.DataFrame, side: str = "") -> pd.Series:
        keys = pd.MultiIndex.from_frame(frame[[f"{side}source", f"{side}record_id"]])
        return pd.Series(number.reindex(keys).to_numpy(), index=frame.index)

    links, golden, status = resolution.links, resolution.golden, resolution.identifier_status
    status = status[status["status"] != "ok"]
    digests = [
        digest(key, kind, value) for kind, value in zip(status["id_type"], status["value"], strict=True)
    ]
    return {
        "membership": resolution.membership.assign(node_id=node(resolution.membership))[
            ["node_id", "person_id", "known_from", "known_to"]
        ],
        "persons": resolution.persons,
        "golden": golden.assign(node_id=node(golden)).drop(columns="record_id"),
        "links": links.assign(left_node=node(links, "left_"), right_node=node(links, "right_"))[
            [
                "left_node",
                "right_node",
                "rule",
                "id_type",
                "weight",
                "state",
                "refused_by",
                "evidence",
                "known_at",
                "run_id",
            ]
        ],
        "person_events": resolution.person_events,
        "aliases": resolution.aliases,
        "identifier_status": status.assign(value_key=digests)[
            ["id_type", "value_key", "n_records", "status", "reason"]
        ],
    }


def digest(key: bytes, kind: str, value: str) -> str:
    """Return the keyed digest under which an identifier may be written down.

    Examples
    --------
    >>> digest(b"k", "email", "a@b.fr") == digest(b"k", "email", "a@b.fr")
    True
    >>> digest(b"k", "email", "a@b.fr") == digest(b"other", "email", "a@b.fr")
    False
    """
    return hmac.digest(key, f"{kind}\0{value}".encode(), "sha256").hex()[:32]


def _key(path: Path) -> bytes:
    """Return the workspace's secret, made at the first use."""
    from cdpkit.lake.files import write_atomic

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        write_atomic(path, secrets.token_bytes(32), mode=0o600)
    return path.read_bytes()
