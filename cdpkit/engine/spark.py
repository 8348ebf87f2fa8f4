"""Spark, over the files of the same snapshots: the engine of a base too large for one machine.

The statements are the ones DuckDB runs, rendered for Spark from the same trees; a conformance suite holds
their answers equal. ``notebooks/SPARK.md`` says how to use a cluster.

What differs between the two engines, and is settled here once:

- *Zone.* Times are UTC without a zone. An engine works in a session of its own, beside the caller's, with
  the zone set and checked; the caller's session keeps its zone.
- *Files.* A table is the list of files of one Delta version, read with the schema of the house: neither a
  Delta library nor a guess at types is needed. Partition values come from the paths.
- *Arithmetic.* ANSI mode is on: a sum that overflows and a text that is no number are errors, as in DuckDB.
- *Dates.* The calendar is Gregorian at all times, as Arrow's and DuckDB's are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cdpkit.engine.base import LakeEngine, narrow, table_of
from cdpkit.errors import LakeError, MissingToolError
from cdpkit.lake.dataset import Dataset, to_frame

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from sqlglot.expressions import Expression

    from cdpkit.lake import Lake, Snapshot

#: What makes Spark's answers DuckDB's; set on the engine's own session, and checked.
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.caseSensitive": "false",
}

#: What one machine needs, and a cluster decides for itself. On little data, preparing a wide statement costs
#: far more than running it: no generated code, no plan changed on the way, and Java's quick compiler.
LOCAL = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.buffer.pageSize": "1m",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}


def local_session(cores: int = 2, memory: str = "2g", **settings: str) -> SparkSession:
    """Return a Spark session on this machine.

    Parameters
    ----------
    cores : int
        Worker threads.
    memory : str
        Of the Java process, such as ``"2g"``.
    **settings
        Other Spark settings, dots written as ``__``: ``spark__sql__shuffle__partitions="8"``.

    Raises
    ------
    MissingToolError
        When PySpark or Java is absent.
    """
    reason = why_not()
    if reason:
        raise MissingToolError(
            "Spark must be installed",
            got=reason,
            do="pip install 'cdpkit[spark]'; apt-get install default-jre-headless",
        )
    import os
    import sys

    from pyspark.sql import SparkSession

    # Else workers start the machine's own Python, without our libraries.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(f"local[{cores}]").appName("cdpkit")
    given = {name.replace("__", "."): value for name, value in settings.items()}
    for name, value in {**LOCAL, "spark.driver.memory": memory, **given}.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def why_not() -> str:
    """Say what is missing to run Spark on this machine; nothing when nothing is.

    Examples
    --------
    >>> why_not() in ("", "no pyspark", "no java")
    True
    """
    import os
    import shutil
    from importlib.util import find_spec
    from pathlib import Path

    if find_spec("pyspark") is None:
        return "no pyspark"
    home = os.environ.get("JAVA_HOME")
    java = Path(home) / "bin" / "java" if home else shutil.which("java")
    return "" if java and Path(java).exists() else "no java"


class SparkEngine(LakeEngine):
    """Run the same statements on Spark, over the files of one pinned lake snapshot.

    Parameters
    ----------
    session : SparkSession, optional
        The caller's; by default `local_session`. The engine works beside it, in a session of its own
        that shares its cluster, and never changes its settings or its views.
    lake : Lake, optional
        Where the tables live, on storage every worker reads. Without one, canonical tables are empty
        but for `frames`.
    snapshot : str or Snapshot, optional
        See `DuckDBEngine`.
    frames : mapping of str to DataFrame or Table, optional
        In-memory tables; those with a canonical name are conformed to the schema.

    Raises
    ------
    LakeError
        When the session does not take the settings that make its answers right.
    IntegrityError
        When the snapshot's files are not what was published, before any row is returned.
    """

    dialect = "spark"

    def __init__(
        self,
        session: SparkSession | None = None,
        lake: Lake | None = None,
        snapshot: str | Snapshot = "current",
        frames: Mapping[str, pd.DataFrame | pa.Table] | None = None,
    ) -> None:
        self.session = _own_session(session if session is not None else local_session())
        super().__init__(lake, snapshot)
        for name, frame in (frames or {}).items():
            self.register(name, frame)

    def query(self, sql: str | Expression) -> SparkResult:
        """Return the answer of one statement, written for Spark or as a SQLGlot expression.

        Parameters
        ----------
        sql : str or sqlglot.Expression
            An expression is rendered for this engine's dialect.

        Returns
        -------
        SparkResult
            Rows on demand; a fault in the statement is raised here.
        """
        text = self._rendered(sql)
        return SparkResult(self, text, self.frame(text))

    def frame(self, sql: str | Expression) -> DataFrame:
        """Return a query as a Spark frame, whose rows stay on the cluster: to train, or to write."""
        text = self._rendered(sql)
        return self._guarded(text, lambda: self.session.sql(text))

    def register(self, name: str, frame: pd.DataFrame | pa.Table) -> None:
        """Make a frame visible as a table; a canonical name is conformed to the schema.

        Raises
        ------
        SchemaError
            When a frame under a canonical name does not meet its table.
        """
        self._keep(name, _spark_frame(self.session, table_of(name, frame)))

    def materialise(self, name: str, sql: str | Expression) -> None:
        """Keep the rows of a query as a table of this engine, for the queries after it.

        The rows are computed now and kept by the workers, on disk where memory is short; where the session
        has a checkpoint folder they are written there, and outlive the loss of a worker. Either way
        statements over this table are planned from its rows, not from the query that made them.
        """
        self._keep(name, self._lasting(self.frame(sql)))

    def apply(
        self,
        name: str,
        sql: str | Expression,
        function: Callable[[pd.DataFrame], pd.DataFrame],
        schema: pa.Schema,
        by: str | None = None,
    ) -> None:
        """Keep what a function makes of the rows of a query, piece by piece, as a table of this engine.

        The function runs on the workers, which need this package in the same version.

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

        # In Arrow, not in pandas: Spark does not know the texts of pandas 3.
        def made(piece: pa.Table) -> pa.Table:
            return pa.Table.from_pandas(function(to_frame(piece)), schema, preserve_index=False)

        def each(pieces: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for piece in pieces:
                yield from made(pa.Table.from_batches([piece])).combine_chunks().to_batches()

        rows, types = self.frame(sql), _spark_schema(schema)
        done = rows.mapInArrow(each, types) if by is None else rows.groupBy(by).applyInArrow(made, types)
        self._keep(name, self._lasting(done))

    def close(self) -> None:
        """Let the tables made here go, and the pin on the snapshot; the caller's session lives on."""
        for name in self._tables:
            self._shut(name)
        super().close()

    def _lasting(self, frame: DataFrame) -> DataFrame:
        """Return the rows of a frame, computed now."""
        lasting = self.session.sparkContext.getCheckpointDir() is not None
        return frame.checkpoint() if lasting else frame.localCheckpoint()

    def _keep(self, name: str, frame: DataFrame) -> None:
        """Show a frame under a name, in place of the view or table of that name."""
        # Spark resolves a frame when it is made: one that reads the name it takes keeps its own rows.
        frame.createOrReplaceTempView(f"`{name}`")
        self._own(name)

    def _open(self, name: str, dataset: Dataset) -> None:
        _read(self.session, dataset).createOrReplaceTempView(f"`{name}`")

    def _shut(self, name: str) -> None:
        self.session.catalog.dropTempView(name)

    def _lost_a_file(self, fault: Exception) -> bool:
        return "FILE_NOT_EXIST" in str(fault) or "PATH_NOT_FOUND" in str(fault)


class SparkResult:
    """The answer of one statement; each call runs it on the engine's snapshot."""

    def __init__(self, engine: SparkEngine, sql: str, frame: DataFrame) -> None:
        self._engine, self._sql = engine, sql
        # Resolving a wide statement takes seconds: the first call uses what `query` resolved.
        self._frame: DataFrame | None = frame

    def to_arrow(self) -> pa.Table:
        """Return the rows as an Arrow table, brought to this process; exact sums come back as int64."""
        return narrow(self._engine._guarded(self._sql, self._collect))

    def _collect(self) -> pa.Table:
        frame, self._frame = self._frame, None
        return (frame if frame is not None else self._engine.session.sql(self._sql)).toArrow()

    def to_pandas(self, categories: Sequence[str] = ()) -> pd.DataFrame:
        """Return the rows as a pandas frame; see `DuckDBResult.to_pandas`."""
        return to_frame(self.to_arrow(), categories)

    def batches(self, rows: int = 500_000) -> Iterator[pa.RecordBatch]:
        """Yield the rows piece by piece, having brought them all here: for more, see `SparkEngine.frame`.

        Parameters
        ----------
        rows : int
            Rows a piece, at most.
        """
        yield from self.to_arrow().to_batches(max_chunksize=rows)


def _own_session(session: SparkSession) -> SparkSession:
    """Return a session beside the caller's, in which times are UTC and faults are errors."""
    own = session.newSession()
    for name, value in SETTINGS.items():
        own.conf.set(name, value)
    got = {name: str(own.conf.get(name)) for name in SETTINGS}
    zone = own.sql("SELECT current_timezone()").first()
    if got != SETTINGS or zone is None or zone[0] != "UTC":
        wrong = ", ".join(f"{name}={value}" for name, value in got.items() if SETTINGS[name] != value)
        raise LakeError("the engine's zone must be UTC and its arithmetic ANSI", got=wrong or str(zone))
    return own


def _spark_schema(schema: pa.Schema) -> Any:
    """Return a schema in Spark's types, zone-less times kept zone-less."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema, prefer_timestamp_ntz=True)


def _spark_frame(session: SparkSession, table: pa.Table) -> DataFrame:
    """Return an Arrow table as a Spark frame."""
    return session.createDataFrame(table, _spark_schema(table.schema))  # type: ignore[call-overload, no-any-return]


def _read(session: SparkSession, dataset: Dataset) -> DataFrame:
    """Return the rows of a dataset, a column that no file has being null."""
    if not dataset.files:
        return _spark_frame(session, dataset.schema.empty_table())
    reader = session.read.schema(_spark_schema(dataset.schema)).option("basePath", str(dataset.root))
    return reader.parquet(*(str(path) for path in dataset.files)).select(*dataset.table.names)
