"""Retention: what a source's terms give a limit to is deleted after it, rows and records alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdpkit.lake.erase import node_columns
from cdpkit.lake.files import digest
from cdpkit.schema import TABLES, Table

if TYPE_CHECKING:
    import pandas as pd

#: Tables that a run computes, or that say what was taken in and on which terms.
_APART = ("nodes", "source_files", "source_bases", "source_terms", "source_fields", "quarantine", "cleaned")


def dated() -> list[Table]:
    """Return the tables of facts: their rows are of a source and happened, or were learned, at a time.

    Examples
    --------
    >>> {"events", "profiles", "signals"} <= {table.name for table in dated()}
    True
    """
    return [t for t in TABLES.values() if "source" in t and _time(t) and t.name not in _APART]


def due(engine: Any, now: datetime) -> pd.DataFrame:
    """Count the rows that are past the term of their source.

    Parameters
    ----------
    engine : Engine
        On the lake.
    now : datetime
        Today, UTC: nothing here reads a clock.

    Returns
    -------
    DataFrame
        ``source, table, limit, rows``: rows older than `limit`, where there are any.
    """
    import pandas as pd

    found = []
    for source, limit in _limits(engine, now).items():
        for table in dated():
            n = engine.query(
                f"SELECT count(*) AS n FROM {table.name} WHERE source = '{_quoted(source)}'"
                f" AND {_time(table)} < TIMESTAMP '{limit}'"
            ).to_pandas()["n"].item()  # fmt: skip
            if n:
                found.append((source, table.name, pd.Timestamp(limit), n))
    return pd.DataFrame(found, columns=["source", "table", "limit", "rows"])


def expire(run: Any, now: datetime) -> pd.DataFrame:
    """Delete what is past the term its source's contract declares (`terms.retention_days`).

    Rows go by when they happened. A record of the source that nothing speaks of any more goes too, with
    its links and its place in a person; what was derived of its person is computed again by the next
    run. Quarantined records of a source none of whose facts remain go as well. The bytes go with the
    last snapshot that holds them: publish, then `Lake.forget` or `Lake.vacuum`. The exports themselves are
    `past_files`.

    Parameters
    ----------
    run : Run
        Holds the workspace's lock.
    now : datetime
        Today, UTC.

    Returns
    -------
    DataFrame
        ``source, table, limit, rows`` deleted; table ``nodes`` counts the records.
    """
    import pandas as pd

    lake = run.lake
    with closing(run.engine()) as engine:
        gone, limits = due(engine, now), _limits(engine, now)
    for row in gone.to_dict("records"):
        time, limit = _time(TABLES[row["table"]]), limits[row["source"]]
        lake.delta(row["table"]).delete_before(time, limit, {"source": row["source"]}, lake.tags())
    lines = []
    for source in gone["source"].unique():
        with closing(run.engine()) as engine:
            silent, spoken = _silent(engine, source)
        for table, n in _drop_nodes(lake, silent):
            lines.append((source, table, pd.Timestamp(limits[source]), n))
        if not spoken and "quarantine" in lake.stored():
            n = lake.delta("quarantine").delete({"source": source}, lake.tags())
            lines += [(source, "quarantine", pd.Timestamp(limits[source]), n)] if n else []
    more = pd.DataFrame(lines, columns=gone.columns)
    return pd.concat([gone, more], ignore_index=True) if len(more) else gone


def past_files(engine: Any, folder: Path, now: datetime) -> dict[Path, list[str]]:
    """List the raw files taken in that are past the term of every source they were read for.

    A file last written before the limit can hold nothing younger. One written later may hold old rows
    beside young ones: it stays until its own day, its old rows gone from the lake.

    Parameters
    ----------
    engine : Engine
        On the lake.
    folder : Path
        Where the exports lie, such as ``data/raw``; files that links lead to elsewhere are left alone.
    now : datetime
        Today, UTC.

    Returns
    -------
    dict of Path to list of str
        The files, with the sources they were read for.
    """
    limits = _limits(engine, now)
    readers: dict[str, set[str]] = {}
    for row in engine.query("SELECT DISTINCT content_hash, source FROM source_files").to_arrow().to_pylist():
        readers.setdefault(row["content_hash"], set()).add(row["source"])
    found: dict[Path, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)
        if not any(written < limit for limit in limits.values()):
            continue
        sources = readers.get(digest(path), set())
        if sources and all(written < limits.get(source, datetime.min) for source in sources):
            found[path] = sorted(sources)
    return found


def _time(table: Table) -> str:
    """Return the column by which a row ages; empty where it does not."""
    return table.event_time or table.known_at or ""


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _limits(engine: Any, now: datetime) -> dict[str, datetime]:
    """Return, by source with a term, the moment before which nothing may be kept."""
    rows = engine.query(
        "SELECT source, min(retention_days) AS days FROM source_terms"
        " WHERE retention_days IS NOT NULL GROUP BY source ORDER BY source"
    ).to_arrow().to_pylist()  # fmt: skip
    moment = now.replace(tzinfo=None)
    return {row["source"]: moment - timedelta(days=int(row["days"])) for row in rows}


def _silent(engine: Any, source: str) -> tuple[list[int], bool]:
    """Return the records of a source that no row speaks of, and whether any row of it remains."""
    spoken = " UNION ALL ".join(
        f"SELECT node_id FROM {table.name} WHERE source = '{_quoted(source)}'"
        for table in dated()
        if "node_id" in table
    )
    rows = engine.query(
        f"SELECT n.node_id FROM nodes AS n ANTI JOIN ({spoken}) AS s USING (node_id)"
        f" WHERE n.source = '{_quoted(source)}' ORDER BY 1"
    ).to_arrow()
    left = engine.query(f"SELECT count(*) AS n FROM ({spoken}) AS s").to_arrow()["n"][0].as_py()
    return rows["node_id"].to_pylist(), bool(left)


def _drop_nodes(lake: Any, nodes: list[int], batch: int = 500) -> Iterator[tuple[str, int]]:
    """Delete records by number from every table that speaks of them; yield each table with its count."""
    if not nodes:
        return
    for name in sorted(lake.stored()):
        columns = node_columns(TABLES[name]) if name in TABLES else []
        n = sum(
            lake.delta(name).delete_nodes(columns, nodes[k : k + batch], lake.tags()) or 0
            for k in range(0, len(nodes) if columns else 0, batch)
        )
        if n:
            yield name, n
