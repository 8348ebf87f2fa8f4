"""Node numbers: a record of a source gets one integer, the first time it is seen, for ever."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cdpkit.sources.expression import NAMED, RECORD

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from cdpkit.sources.rows import Part

#: Types of identifiers the canonical table knows.
ID_TYPES = ("email", "phone", "loyalty_id", "account_id", "cookie_id", "device_id", "app_id", "national_id")

#: The staged table that gives the number of each (source, record_id).
NODES = "_cdp_nodes"


def find(connection: duckdb.DuckDBPyConnection, parts: list[Part]) -> None:
    """List the records met, each with its source, type and the time it was first known.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where the rows are staged.
    parts : list of Part
        Rows made of the files, in the order of the contracts.
    """
    queries = [
        f"SELECT {_text(part.source)} AS source, {RECORD} AS record_id, {position} AS part,"
        f" min(known_at) AS known_at,"
        f" CASE WHEN bool_or({NAMED}) THEN {_text(part.kind)} ELSE 'anonymous' END AS node_type"
        f" FROM {part.rows} GROUP BY {RECORD}"
        for position, part in enumerate(parts)
        if part.output.has_node
    ]
    empty = (
        "SELECT NULL::VARCHAR AS source, NULL::VARCHAR AS record_id, 0 AS part, NULL::TIMESTAMP AS known_at,"
        " NULL::VARCHAR AS node_type WHERE false"
    )
    connection.execute(
        "CREATE OR REPLACE TABLE _cdp_met AS SELECT source, record_id, min(part) AS part,"
        " arg_min(node_type, part) AS node_type, min(known_at) AS known_at"
        f" FROM ({' UNION ALL '.join([*queries, empty])}) GROUP BY source, record_id"
    )


def assign(connection: duckdb.DuckDBPyConnection, engine: Any) -> tuple[pa.Table, bool]:
    """Number the records met: those known keep their number, the others follow the highest one.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where `find` listed the records.
    engine : Engine
        On the heads of the lake.

    Returns
    -------
    tuple of (pyarrow.Table, bool)
        Rows of the canonical table `nodes` to write, and whether they replace all of it: when a late
        file shows that a node was known earlier than thought.
    """
    engine.register("_cdp_met", connection.sql("SELECT source, record_id FROM _cdp_met").to_arrow_table())
    known = engine.query("SELECT n.* FROM nodes AS n SEMI JOIN _cdp_met USING (source, record_id)").to_arrow()
    top = engine.query("SELECT coalesce(max(node_id), 0) AS top FROM nodes").to_arrow()["top"][0].as_py()
    connection.register("_cdp_known", known)
    # Numbers follow the order of contracts and record ids, so that the same files give the same numbers.
    connection.execute(
        f"CREATE OR REPLACE TABLE {NODES} AS SELECT coalesce(k.node_id, {int(top)} + row_number() OVER"
        " (PARTITION BY k.node_id IS NULL ORDER BY m.part, m.record_id)) AS node_id, m.source, m.record_id,"
        " coalesce(k.node_type, m.node_type) AS node_type, least(k.known_at, m.known_at) AS known_at,"
        " k.node_id IS NULL AS is_new, m.known_at < k.known_at AS is_earlier"
        " FROM _cdp_met AS m LEFT JOIN _cdp_known AS k USING (source, record_id)"
    )
    connection.unregister("_cdp_known")
    columns = "node_id, source, record_id, node_type, known_at"
    if not connection.execute(f"SELECT 1 FROM {NODES} WHERE is_earlier LIMIT 1").fetchall():
        fresh = connection.sql(f"SELECT {columns} FROM {NODES} WHERE is_new ORDER BY node_id")
        return fresh.to_arrow_table(), False
    connection.register("_cdp_stored", engine.query("FROM nodes").to_arrow())
    whole = connection.sql(
        f"SELECT {columns} FROM {NODES} UNION ALL SELECT {columns} FROM _cdp_stored"
        f" ANTI JOIN {NODES} USING (node_id) ORDER BY node_id"
    ).to_arrow_table()
    connection.unregister("_cdp_stored")
    return whole, True


def forget(connection: duckdb.DuckDBPyConnection, lake: Any, parts: list[Part]) -> bool:
    """Drop from the records met those the lake was asked to forget; their rows then find no number.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where `find` listed the records.
    lake : Lake
        Its suppression list is asked, by record and by identifier.
    parts : list of Part
        As for `find`.

    Returns
    -------
    bool
        Whether anyone was dropped.
    """
    import pyarrow as pa

    records = connection.execute("SELECT source, record_id FROM _cdp_met").fetchall()
    gone = {record for record, listed in zip(records, lake.suppressed(records), strict=True) if listed}
    for part in parts:
        if part.output.table.name == "identifiers":
            seen = connection.execute(f"SELECT DISTINCT {RECORD}, id_type, value FROM {part.rows}").fetchall()
            listed = lake.suppressed([(kind, value) for _, kind, value in seen], of="identifiers")
            gone |= {(part.source, row[0]) for row, found in zip(seen, listed, strict=True) if found}
    if not gone:
        return False
    columns = {"source": [source for source, _ in gone], "record_id": [record for _, record in gone]}
    connection.register("_cdp_gone", pa.table(columns))
    kept = "FROM _cdp_met ANTI JOIN _cdp_gone USING (source, record_id)"
    connection.execute(f"CREATE OR REPLACE TABLE _cdp_met AS {kept}")
    connection.unregister("_cdp_gone")
    return True


def unforgotten(
    lake: Any, source: str, bad: Mapping[int, tuple[list[str], bytes]]
) -> dict[int, tuple[list[str], bytes]]:
    """Return the records set aside that name nobody the lake was asked to forget.

    Parameters
    ----------
    lake : Lake
        Its suppression list is asked of every cell, as a record and as an identifier of each type.
    source : str
        Source of the records.
    bad : mapping of int to (list of str, bytes)
        As judged, by line: a bad record may be broken anywhere, so that no column is trusted.
    """
    asked = [(line, cell) for line, (_, original) in bad.items() for cell in _cells(original)]
    if not asked:
        return dict(bad)
    hits = list(lake.suppressed([(source, cell) for _, cell in asked]))
    for kind in ID_TYPES:
        listed = lake.suppressed([(kind, cell) for _, cell in asked], of="identifiers")
        hits = [before or found for before, found in zip(hits, listed, strict=True)]
    gone = {line for (line, _), hit in zip(asked, hits, strict=True) if hit}
    return {line: one for line, one in bad.items() if line not in gone}


def _cells(original: bytes) -> set[str]:
    """Return what may be a cell of a record, whatever its delimiter and encoding, and JSON's values."""
    texts = {original.decode("utf-8", "replace"), original.decode("cp1252", "replace")}
    found = {cell.strip(" \"'[]{}\r\n") for text in texts for cell in re.split(r"[;,|\t]|\": ?", text)}
    found |= {word.strip("\"'") for text in texts for word in text.split() if len(word) > 7 or "@" in word}
    found |= {re.sub(r"\.0+$", "", cell) for cell in found}
    return found - {""}


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
