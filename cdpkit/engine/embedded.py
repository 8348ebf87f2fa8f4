"""DuckDB, in memory, over the files of a snapshot: the engine of one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from cdpkit.engine.base import LakeEngine, narrow, table_of
from cdpkit.errors import LakeError
from cdpkit.lake.dataset import Dataset, to_frame

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa
    from sqlglot.expressions import Expression

    from cdpkit.lake import Lake, Snapshot


class DuckDBEngine(LakeEngine):
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
        super().__init__(lake, snapshot)
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
        text = self._rendered(sql)
        self._guarded(text, lambda: self._connection.sql(text))
        return DuckDBResult(self, text)

    def register(self, name: str, frame: pd.DataFrame | pa.Table) -> None:
        """Make a frame visible as a table; a canonical name is conformed to the schema.

        Raises
        ------
        SchemaError
            When a frame under a canonical name does not meet its table.
        """
        self._connection.register("_incoming", table_of(name, frame))
        try:
            self._keep(name, "FROM _incoming")
        finally:
            self._connection.unregister("_incoming")

    def materialise(self, name: str, sql: str | Expression) -> None:
        """Keep the rows of a query as a table of this engine, for the queries after it."""
        text = self._rendered(sql)
        self._guarded(text, lambda: self._keep(name, text))

    def apply(
        self,
        name: str,
        sql: str | Expression,
        function: Callable[[pd.DataFrame], pd.DataFrame],
        schema: pa.Schema,
        by: str | None = None,
    ) -> None:
        """Keep what a function makes of the rows of a query, piece by piece, as a table of this engine.

        Parameters
        ----------
        name : str
            Table to keep.
        sql : str or sqlglot.Expression
            The rows.
        function : callable
            Takes a frame and returns one of the columns of `schema`.
        schema : pyarrow.Schema
            Columns of the table.
        by : str, optional
            A column: all rows of one value come together in a piece of their own. By default pieces are cut
            anyhow.
        """
        import pyarrow as pa

        rows = self.query(sql).to_pandas()
        pieces = [rows] if by is None else [piece for _, piece in rows.groupby(by)]
        made = [pa.Table.from_pandas(function(piece), schema, preserve_index=False) for piece in pieces]
        self.register(name, pa.concat_tables([schema.empty_table(), *made]))

    def close(self) -> None:
        """Release the connection and the pin on the snapshot."""
        self._connection.close()
        super().close()

    def _keep(self, name: str, sql: str) -> None:
        """Store the rows of a query under a name, in place of the view or table of that name."""
        self._connection.execute(f"CREATE OR REPLACE TABLE _kept AS {sql}")
        if self._own(name):
            self._shut(name)
        self._connection.execute(f'DROP TABLE IF EXISTS "{name}"; ALTER TABLE _kept RENAME TO "{name}"')

    def _open(self, name: str, dataset: Dataset) -> None:
        body = dataset.relation(self._connection)
        self._connection.execute(f'CREATE OR REPLACE VIEW "{name}" AS {body}')

    def _shut(self, name: str) -> None:
        self._connection.execute(f'DROP VIEW "{name}"')

    def _lost_a_file(self, fault: Exception) -> bool:
        import duckdb

        return isinstance(fault, duckdb.IOException)


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
        return narrow(self._engine._guarded(self._sql, lambda: connection.sql(self._sql).to_arrow_table()))

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
                yield from narrow(pa.Table.from_batches([batch])).to_batches()
        finally:
            connection.close()


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
