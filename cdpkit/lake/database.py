"""SQLite files without a person: their values struck out of every text, and out of the freed pages."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from cdpkit.lake.traces import Traces


def strike(path: Path, traces: Traces) -> tuple[int, bool]:
    """Strike a person out of a database in place.

    Parameters
    ----------
    path : Path
        A SQLite file, such as the one MLflow keeps.
    traces : Traces
        Whom to look for: ids, identifiers and full names, so that no code of a table is renamed.

    Returns
    -------
    tuple of (int, bool)
        Cells changed, and whether all could be searched.
    """
    found, searched = 0, True
    try:
        with closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.create_function("theirs", 1, lambda text: traces.in_text(text, words=False))
            connection.create_function("scrubbed", 1, lambda text: traces.scrubbed(text, words=False))
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            ).fetchall():
                for _, column, *_ in connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall():
                    try:
                        found += _strike_column(connection, _quoted(table), _quoted(column))
                    except sqlite3.IntegrityError:
                        searched = False  # a key of the tables: to change it would break them
            if found:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (sqlite3.Error, UnicodeError):
        return found, False
    return found, searched


def _strike_column(connection: sqlite3.Connection, table: str, column: str) -> int:
    where = f"typeof({column}) = 'text' AND theirs({column})"
    return connection.execute(f"UPDATE {table} SET {column} = scrubbed({column}) WHERE {where}").rowcount


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
