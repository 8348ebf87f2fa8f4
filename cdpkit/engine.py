"""SQL engines over the lake: DuckDB embedded here, a Spark session beside it later.

An engine shows every canonical table as a view under its own name, cast to the schema, whether or not
anything was loaded. Views are made when a query first names them, so that opening costs milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from cdpkit.errors import IntegrityError, LakeError
from cdpkit.lake.dataset import empty_relation, to_frame
from cdpkit.schema import TABLES

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa
    from sqlglot.expressions import Expression

    from cdpkit.lake import Lake, Snapshot


Answer = TypeVar("Answer")
_ABSENT = -1


class Result(Protocol):
    """What a query answers; each call runs it again, so keep the frame, not the result."""

    def to_pandas(self, categories: Sequence[str] = ()) -> pd.DataFrame:
        """Return the rows as a pandas frame."""

    def to_arrow(self) -> pa.Table:
        """Return the rows as an Arrow table."""

    def batches(self, rows: int = 500_000) -> Iterator[pa.RecordBatch]:
        """Yield the rows piece by piece."""


class Engine(Protocol):
    """What the layers above may ask of an engine; features compile to its `dialect`."""

    dialect: str

    def query(self, sql: str | Expression) -> Result:
        """Return the answer of one statement."""

    def register(self, name: str, frame: pd.DataFrame | pa.Table) -> None:
        """Make an in-memory frame visible as a table."""

    def materialise(self, name: str, sql: str | Expression) -> None:
        """Keep the rows of a query as a table of this engine."""

    def tables(self) -> set[str]:
        """Return the names a query may use."""


class DuckDBEngine:
    """Run SQL in memory over the files of one pinned lake snapshot.

    Parameters
    ----------
    lake : Lake, optional
        Where the tables live. Without one, canonical tables are empty but for `frames`.
    snapshot : str or Snapshot, optional
        ``"current"`` (published, pinned while the engine is open), ``"head"`` (for the steps of a
        run), a snapshot or its id.
    frames : mapping of str to DataFrame or Table, optional
        In-memory tables; those with a canonical name are conformed to the schema.
    threads : int, optional
        Worker threads of this engine.
    memory_limit : str, optional
        For instance ``"8GB"``; beyond it DuckDB spills to the lake's own scratch folder.

    Raises
    ------
    IntegrityError
        When the snapshot's files are not what was published, before any row is returned.

    Examples
    --------
    >>> import pandas as pd
    >>> aliases = pd.DataFrame({"old_id": ["a"], "person_id": ["b"], "run_id": ["r000001"]})
    >>> engine = DuckDBEngine(frames={"aliases": aliases})
    >>> engine.query("SELECT person_id FROM aliases").to_pandas()["person_id"].tolist()
    ['b']
    >>> engine.query("SELECT count(*) AS n FROM orders").to_pandas()["n"].item()
    0
    """

    dialect = "duckdb"

    def __init__(
        self,
        lake: Lake | None = None,
        snapshot: str | Snapshot = "current",
        frames: Mapping[str, pd.DataFrame | pa.Table] | None = None,
        threads: int = 2,
        memory_limit: str | None = None,
    ) -> None:
        self.lake = lake
        self._view = lake.view(snapshot) if lake is not None else None
        # What is visible: a table made here has no version, a view the version it reads.
        self._tables: set[str] = set()
        self._views: dict[str, int | None] = {}
        self._connection = _connect(lake, threads, memory_limit)
        for name, frame in (frames or {}).items():
            self.register(name, frame)

    def query(self, sql: str | Expression) -> DuckDBResult:
        """Return the answer of one statement, written for DuckDB or as a SQLGlot expression.

        Parameters
        ----------
        sql : str or sqlglot.Expression
            An expression is rendered for this engine's dialect.

        Returns
        -------
        DuckDBResult
            Rows on demand; a fault in the statement is raised here. To make a table, see `materialise`.
        """
        text = sql if isinstance(sql, str) else sql.sql(dialect=self.dialect)
        self._guarded(text, lambda: self._connection.sql(text))
        return DuckDBResult(self, text)

    def register(self, name: str, frame: pd.DataFrame | pa.Table) -> None:
        """Make a frame visible as a table; a canonical name is conformed to the schema.

        Raises
        ------
        SchemaError
            When a frame under a canonical name does not meet its table.
        """
        import pyarrow as pa

        if name in TABLES:
            table = TABLES[name].to_arrow(frame)
        else:
            table = (
                frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
            )
        self._connection.register("_incoming", table)
        try:
            self._keep(name, "FROM _incoming")
        finally:
            self._connection.unregister("_incoming")

    def materialise(self, name: str, sql: str | Expression) -> None:
        """Keep the rows of a query as a table of this engine, for the queries after it."""
        text = sql if isinstance(sql, str) else sql.sql(dialect=self.dialect)
        self._guarded(text, lambda: self._keep(name, text))

    def tables(self) -> set[str]:
        """Return the names a query may use."""
        stored = self._view.names() if self._view is not None else set()
        return set(TABLES) | stored | self._tables

    @property
    def snapshot(self) -> Snapshot | None:
        """The published snapshot this engine reads, or None on heads and in memory."""
        return self._view.snapshot if self._view is not None else None

    def close(self) -> None:
        """Release the connection and the pin on the snapshot."""
        self._connection.close()
        if self._view is not None:
            self._view.close()

    def __enter__(self) -> DuckDBEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep(self, name: str, sql: str) -> None:
        """Store the rows of a query under a name, in place of the view or table of that name."""
        self._connection.execute(f"CREATE OR REPLACE TABLE _kept AS {sql}")
        if self._views.pop(name, _ABSENT) is not _ABSENT:
            self._connection.execute(f'DROP VIEW "{name}"')
        self._connection.execute(f'DROP TABLE IF EXISTS "{name}"; ALTER TABLE _kept RENAME TO "{name}"')
        self._tables.add(name)

    def _expose(self, text: str) -> None:
        """Create the views a statement may name; a word too many costs one unused view."""
        stored = self._view.names() if self._view is not None else set()
        for name in (set(re.findall(r"\w+", text)) & (set(TABLES) | stored)) - self._tables:
            version = self._view.version(name) if self._view is not None else None
            if self._views.get(name, _ABSENT) == version:
                continue
            if self._view is not None and version is not None:
                body = self._view.dataset(name).relation(self._connection)
            else:
                body = empty_relation(TABLES[name])
            self._connection.execute(f'CREATE OR REPLACE VIEW "{name}" AS {body}')
            self._views[name] = version

    def _guarded(self, text: str, act: Callable[[], Answer]) -> Answer:
        """Run `act` with its views; when files went away under a new snapshot, reopen it once."""
        import duckdb

        try:
            self._expose(text)
            return act()
        except (duckdb.IOException, FileNotFoundError) as fault:
            if self._view is None:
                raise
            if not self._view.reopen():
                raise IntegrityError(
                    "the lake's files must be as published",
                    got="a file missing",
                    do="Restore the lake from a copy",
                ) from fault
        for name in list(self._views):
            self._connection.execute(f'DROP VIEW "{name}"')
            del self._views[name]
        self._expose(text)
        return act()


class DuckDBResult:
    """The answer of one statement; each call runs it on the engine's snapshot."""

    def __init__(self, engine: DuckDBEngine, sql: str) -> None:
        self._engine, self._sql = engine, sql

    def to_arrow(self) -> pa.Table:
        """Return the rows as an Arrow table; sums of integers come back as int64.

        Raises
        ------
        pyarrow.ArrowInvalid
            When a sum leaves the range of int64.
        """
        connection = self._engine._connection
        return _narrow(self._engine._guarded(self._sql, lambda: connection.sql(self._sql).to_arrow_table()))

    def to_pandas(self, categories: Sequence[str] = ()) -> pd.DataFrame:
        """Return the rows as a pandas frame.

        Parameters
        ----------
        categories : sequence of str, optional
            Text columns with few distinct values, returned as categoricals.

        Returns
        -------
        DataFrame
            Text as ``str``, times as ``datetime64[us]``, decimals as floats.
        """
        return to_frame(self.to_arrow(), categories)

    def batches(self, rows: int = 500_000) -> Iterator[pa.RecordBatch]:
        """Yield the rows piece by piece, on a connection of their own.

        Parameters
        ----------
        rows : int
            Rows a piece, at most.
        """
        import pyarrow as pa

        connection = self._engine._connection.cursor()
        try:
            reader = self._engine._guarded(self._sql, lambda: connection.sql(self._sql).to_arrow_reader(rows))
            for batch in reader:
                yield from _narrow(pa.Table.from_batches([batch])).to_batches()
        finally:
            connection.close()


def _narrow(table: pa.Table) -> pa.Table:
    """Return 128-bit sums of integers as int64."""
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type) and field.type.scale == 0 and field.type.precision == 38:
            table = table.set_column(index, field.name, table.column(index).cast(pa.int64()))
    return table


def _connect(lake: Lake | None, threads: int, memory_limit: str | None) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database in UTC that downloads nothing and spills inside the lake."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "autoinstall_known_extensions": "false",
    }
    if memory_limit is not None:
        settings["memory_limit"] = memory_limit
    if lake is not None:
        settings["temp_directory"] = str(lake.scratch())
    connection = duckdb.connect(config=settings)
    connection.execute("SET GLOBAL TimeZone = 'UTC'; SET enable_progress_bar = false")
    # A caller's local variable must never answer for a table that is missing.
    connection.execute("SET GLOBAL python_enable_replacements = false")
    zone = connection.execute("SELECT current_setting('TimeZone')").fetchall()
    if zone != [("UTC",)]:
        raise LakeError("the engine's zone must be UTC", got=str(zone))
    return connection


# SparkEngine(session, lake) belongs here: same protocol, `dialect = "spark"`, reading `Dataset.files`
# with `basePath` and `Dataset.schema`, zone and TIMESTAMP_NTZ inference checked at connect.
