"""Bring the rows of all files together, table by table, and keep each fact once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cdpkit.errors import ContractError
from cdpkit.lake.dataset import SQL_TYPES
from cdpkit.schema import CHANNELS, MEDIA, Table
from cdpkit.sources.expression import LINE, RECORD
from cdpkit.sources.nodes import NODES
from cdpkit.sources.plan import Output

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


@dataclass
class Part:
    """Rows made of one file for one table.

    Parameters
    ----------
    position : int
        Which file of the load.
    source, kind : str
        Source, and type of its nodes.
    rows : str
        Staged table of rows.
    output : Output
        What made them.
    """

    position: int
    source: str
    kind: str
    rows: str
    output: Output


@dataclass
class Merged:
    """Rows of one canonical table ready to write, with the counts of each file by its position."""

    rows: pa.Table
    written: Counter[int] = field(default_factory=Counter)
    duplicates: Counter[int] = field(default_factory=Counter)
    conflicts: Counter[int] = field(default_factory=Counter)
    unknown_channels: dict[int, Counter[str]] = field(default_factory=dict)


def merge(connection: duckdb.DuckDBPyConnection, engine: Any, table: Table, parts: list[Part]) -> Merged:
    """Return the new rows of a table: one a key, the first known.

    A row whose key is there already, in these files or in the lake, is a duplicate; where it also says
    something else (when we learned it apart) it is counted as a conflict, and the first still holds.
    Of an identifier, the earliest sight on a record holds.

    Raises
    ------
    ContractError
        When two sources use the same key: then one contract must prefix its own.
    """
    every, sights = f"_cdp_all_{table.name}", table.name == "identifiers"
    united = " UNION ALL ".join(_typed(table, part) for part in parts)
    connection.execute(f"CREATE OR REPLACE TABLE {every} AS {united}")
    key = ["node_id", "id_type", "value"] if sights else list(table.key)
    listed = ", ".join(f'"{column}"' for column in table.names)
    existing = _existing(connection, engine, table, every, key)
    keys = ", ".join(f'"{column}"' for column in key)
    merged = Merged(connection.sql(f"SELECT {listed} FROM {every} WHERE false").to_arrow_table())
    if existing is not None or _repeats(connection, every, keys):
        stored = existing is not None
        old = f" UNION ALL BY NAME SELECT {listed}, -1 AS _cdp_part, 0 AS {LINE} FROM _cdp_existing"
        # What the lake holds stays; of new rows the earliest known holds. An earlier sight is added.
        order = f"{'' if sights else '_cdp_part >= 0, '}known_at, _cdp_part, {LINE}"
        said = ", ".join(f'"{column}"' for column in table.names if column not in ("source", "known_at"))
        connection.execute(
            f"CREATE OR REPLACE TABLE {every} AS SELECT * EXCLUDE (_cdp_said),"
            ' row_number() OVER w AS _cdp_rank, first_value("source") OVER w AS _cdp_first,'
            " first_value(_cdp_said) OVER w <> _cdp_said AS _cdp_differs"
            f" FROM (SELECT *, hash({said}) AS _cdp_said FROM (FROM {every}{old if stored else ''}))"
            f" WINDOW w AS (PARTITION BY {keys} ORDER BY {order})"
        )
        if stored:
            connection.unregister("_cdp_existing")
        again = f"FROM {every} WHERE _cdp_rank > 1 AND _cdp_part >= 0"
        if not sights:
            _refuse_collisions(connection, table, again)
            for part, n, differing in connection.execute(
                f"SELECT _cdp_part, count(*), count(*) FILTER (_cdp_differs) {again} GROUP BY 1"
            ).fetchall():
                merged.duplicates[part], merged.conflicts[part] = n, differing
        connection.execute(f"DELETE FROM {every} WHERE _cdp_rank > 1 OR _cdp_part < 0")
    counts = connection.execute(f"SELECT _cdp_part, count(*) FROM {every} GROUP BY 1").fetchall()
    merged.written.update(dict(counts))
    if "channel" in table:
        for part, channel, n in connection.execute(
            f"SELECT _cdp_part, channel, count(*) FROM {every} WHERE channel IS NOT NULL AND channel <> '*'"
            f" AND NOT list_contains({[*CHANNELS, *MEDIA]!r}, channel) GROUP BY 1, 2"
        ).fetchall():
            merged.unknown_channels.setdefault(part, Counter())[channel] = n
    times = [table.event_time] if table.event_time else []
    order = ", ".join(f'"{column}"' for column in dict.fromkeys([*times, *table.key]))
    merged.rows = connection.sql(f"SELECT {listed} FROM {every} ORDER BY {order}").to_arrow_table()
    connection.execute(f"DROP TABLE {every}")
    return merged


def _typed(table: Table, part: Part) -> str:
    """Return the query of a part with every column of the table, and its node's number."""
    made = set(part.output.values) | {"local_hour", "local_weekday"}
    if "channel" in part.output.values:
        made.add("channel_known")
    source = "'" + part.source.replace("'", "''") + "'"
    columns = []
    for column in table.columns:
        if column.name == "source":
            value = source
        elif column.name == "node_id":
            value = "n.node_id"
        else:
            value = f'r."{column.name}"' if column.name in made else "NULL"
        columns.append(f'CAST({value} AS {SQL_TYPES[column.type]}) AS "{column.name}"')
    match = f" JOIN {NODES} AS n ON n.source = {source} AND n.record_id = r.{RECORD}"
    join = match if part.output.has_node else ""
    return f"SELECT {', '.join(columns)}, {part.position} AS _cdp_part, r.{LINE} FROM {part.rows} AS r{join}"


def _existing(connection, engine: Any, table: Table, every: str, key: list[str]) -> pa.Table | None:
    """Register and return the rows of the lake that share a key with the new ones; None without any."""
    if not engine.query(f"SELECT 1 AS one FROM {table.name} LIMIT 1").to_arrow().num_rows:
        return None
    keys = ", ".join(f'"{column}"' for column in key)
    engine.register("_cdp_new", connection.sql(f"SELECT DISTINCT {keys} FROM {every}").to_arrow_table())
    found = engine.query(f"SELECT e.* FROM {table.name} AS e SEMI JOIN _cdp_new USING ({keys})").to_arrow()
    if not found.num_rows:
        return None
    connection.register("_cdp_existing", found)
    return found


def _repeats(connection, every: str, keys: str) -> bool:
    found = connection.execute(f"SELECT 1 FROM {every} GROUP BY {keys} HAVING count(*) > 1 LIMIT 1")
    return bool(found.fetchall())


def _refuse_collisions(connection, table: Table, again: str) -> None:
    clashes = connection.execute(
        f"SELECT source, _cdp_first, count(*) {again} AND source <> _cdp_first GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    if clashes:
        raise ContractError(
            f"table {table.name}",
            [
                f"key ({', '.join(table.key)}) must belong to one source; {n} rows of `{source}` use one of"
                f" `{first}`: prefix the key in the contract"
                for source, first, n in clashes
            ],
        )
