"""Where a stream of chunks goes: files appended table by table, or a fingerprint of the content."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from cdpkit.world import exports
from cdpkit.world.draws import mix

#: Rows of a row group at most; a chunk of fewer rows makes a group of its own.
ROW_GROUP = 500_000


class Files:
    """The files of one folder, appended table by table; they get their names when all is written.

    Parameters
    ----------
    folder : Path
        Made if need be.
    raw : bool
        Whether the tables are exports, written as their systems do, or truth, written as Parquet.
    """

    def __init__(self, folder: Path, *, raw: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.raw = folder, raw
        self._open: dict[str, pyarrow.parquet.ParquetWriter | pyarrow.csv.CSVWriter] = {}

    def append(self, tables: dict[str, pa.Table]) -> None:
        """Append each table to its file."""
        for name, table in tables.items():
            if name not in self._open:
                self._open[name] = self._writer(name, table.schema)
            sink = self._open[name]
            if isinstance(sink, pyarrow.parquet.ParquetWriter):
                sink.write_table(table, row_group_size=ROW_GROUP)
            else:
                sink.write_table(table)

    def path(self, name: str) -> Path:
        """Return the file of a table."""
        return self.folder / (exports.file_name(name) if self.raw else f"{name}.parquet")

    def _writer(self, name: str, schema: pa.Schema) -> pyarrow.parquet.ParquetWriter | pyarrow.csv.CSVWriter:
        part = self._part(name)
        if self.path(name).suffix == ".parquet":
            return pyarrow.parquet.ParquetWriter(part, schema, compression="zstd")
        mark = ";" if name in exports.FRENCH else ","
        options = pyarrow.csv.WriteOptions(delimiter=mark, quoting_style="needed", quoting_header="none")
        return pyarrow.csv.CSVWriter(part, schema, write_options=options)

    def _part(self, name: str) -> Path:
        final = self.path(name)
        return final.with_name(final.name + ".part")

    def __enter__(self) -> Files:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, sink in self._open.items():
            sink.close()
            if kind is None:
                os.replace(self._part(name), self.path(name))
            else:
                self._part(name).unlink(missing_ok=True)

    @property
    def written(self) -> list[Path]:
        """The files, in the order they were begun."""
        return [self.path(name) for name in self._open]


class Fingerprint:
    """A hash of the rows of tables that does not depend on their order, nor on how they come.

    Each row's 64-bit hash is mixed in two ways and both are added up, so rows may come in any order and
    in any parts, while a row lost, changed or repeated shows.

    Examples
    --------
    >>> whole, parts = Fingerprint(), Fingerprint()
    >>> whole.add("t", pa.table({"a": [1, 2, 3]}))
    >>> for rows in ([3], [1, 2]):
    ...     parts.add("t", pa.table({"a": rows}))
    >>> whole.hexdigest() == parts.hexdigest()
    True
    """

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}

    def add(self, name: str, table: pa.Table) -> None:
        """Add rows of a table."""
        rows = np.zeros(table.num_rows, np.uint64)
        for place, column in enumerate(table.columns):
            rows = mix(rows * np.uint64(0xD1342543DE82EF95) + _words(column) + np.uint64(place + 1))
        first, second = mix(rows), mix(rows ^ np.uint64(0x9E3779B97F4A7C15))
        more = np.array([len(rows), first.sum(), second.sum()], dtype=np.uint64)
        self._sums[name] = self._sums.get(name, np.zeros(3, np.uint64)) + more

    def hexdigest(self) -> str:
        """Return the hash of everything added, table by table."""
        whole = sha256()
        for name in sorted(self._sums):
            whole.update(name.encode() + self._sums[name].tobytes())
        return whole.hexdigest()


def _words(column: pa.ChunkedArray) -> np.ndarray:
    """Return one 64-bit word a value, the same whether or not others of its column are null."""
    missing = column.is_null().to_numpy()
    if pa.types.is_string(column.type):
        coded = column.combine_chunks().dictionary_encode()
        words = pd.util.hash_array(coded.dictionary.to_numpy(zero_copy_only=False).astype(object))
        place = coded.indices.fill_null(0).to_numpy()
        values = words[place] if len(words) else np.zeros(len(column), np.uint64)
    elif pa.types.is_floating(column.type):
        values = column.fill_null(0.0).to_numpy().astype(np.float64).view(np.uint64)
    else:
        values = column.cast(pa.int64()).fill_null(0).to_numpy().astype(np.uint64)
    return np.where(missing, np.uint64(0x6E756C6C), mix(values))
