"""One table of the lake at one version: its files, and how any engine reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cdpkit.errors import SchemaError
from cdpkit.schema import Table

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

#: How each column type of the schema is spelled in DuckDB.
SQL_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
    "decimal": "DECIMAL(18,4)",
    "binary": "BLOB",
    "list<string>": "VARCHAR[]",
}


@dataclass(frozen=True)
class Dataset:
    """The rows of a table at one version.

    Parameters
    ----------
    table : Table
        Columns as the schema has them today; a column older files lack is null.
    root : Path
        Folder of the Delta table; partition values are in the paths below it.
    files : tuple of Path
        The files of this version.
    rows : int
        Rows recorded for this version.
    version : int or None
        Delta version, None for a table never written.
    """

    table: Table
    root: Path
    files: tuple[Path, ...] = ()
    rows: int = 0
    version: int | None = None

    @property
    def schema(self) -> pa.Schema:
        """The storage schema."""
        return self.table.arrow()

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows as an Arrow table, in no promised order.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns wanted; all by default.

        Raises
        ------
        SchemaError
            Naming the columns the table does not have.
        """
        import duckdb

        wanted = list(self.table.names if columns is None else columns)
        unknown = [f"column `{name}` must be one of the table's" for name in wanted if name not in self.table]
        if unknown:
            raise SchemaError(f"table {self.table.name}", unknown)
        with duckdb.connect() as connection:
            listed = ", ".join(f'"{name}"' for name in wanted)
            rows = connection.sql(f"SELECT {listed} FROM ({self.relation(connection)})").to_arrow_table()
        return rows.cast(_pick(self.schema, wanted))

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows as a pandas frame: text as ``str``, times as ``datetime64[us]``."""
        return to_frame(self.to_arrow(columns))

    def relation(self, connection: duckdb.DuckDBPyConnection) -> str:
        """Return the DuckDB statement that reads the rows, cast to the schema.

        A column absent from every file is null: it was added to the schema after they were written.
        """
        if not self.files:
            return empty_relation(self.table)
        listed = ", ".join(_literal(str(path)) for path in self.files)
        source = f"read_parquet([{listed}], union_by_name=true, {self._hive()})"
        stored = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
        present = {c.name: _quoted(c.name) if c.name in stored else "NULL" for c in self.table.columns}
        columns = [
            f"CAST({present[c.name]} AS {SQL_TYPES[c.type]}) AS {_quoted(c.name)}" for c in self.table.columns
        ]
        return f"SELECT {', '.join(columns)} FROM {source}"

    def _hive(self) -> str:
        """Return how to read the partition column; `month` lives only in the path."""
        column = self.table.partition
        if column is None:
            return "hive_partitioning=false"
        kind = SQL_TYPES[self.table[column].type] if column in self.table else "VARCHAR"
        return f"hive_partitioning=true, hive_types={{'{column}': {kind}}}"


def empty_relation(table: Table) -> str:
    """Return the DuckDB statement of a table without rows.

    Examples
    --------
    >>> from cdpkit.schema import TABLES
    >>> empty_relation(TABLES["aliases"])
    'SELECT CAST(NULL AS VARCHAR) AS "old_id", ... WHERE false'
    """
    nulls = [f"CAST(NULL AS {SQL_TYPES[c.type]}) AS {_quoted(c.name)}" for c in table.columns]
    return f"SELECT {', '.join(nulls)} WHERE false"


def to_frame(table: pa.Table, categories: Sequence[str] = ()) -> pd.DataFrame:
    """Return an Arrow table as the pandas frame the numeric layers expect.

    Parameters
    ----------
    table : pyarrow.Table
        Any columns; decimals become floats, dates and times ``datetime64[us]``, flags with gaps
        pandas' ``boolean``.
    categories : sequence of str, optional
        Text columns with few distinct values, returned as categoricals.

    Examples
    --------
    >>> import pyarrow as pa
    >>> to_frame(pa.table({"channel": ["email", None]}), ["channel"])["channel"].dtype.name
    'category'
    """
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(pa.float64()))
        elif pa.types.is_date(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(pa.timestamp("us")))
    frame = table.to_pandas(categories=list(categories))
    for field in table.schema:
        if pa.types.is_boolean(field.type) and frame[field.name].dtype == object:
            frame[field.name] = frame[field.name].astype("boolean")
    return frame


def _pick(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([schema.field(name).with_nullable(True) for name in names])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
