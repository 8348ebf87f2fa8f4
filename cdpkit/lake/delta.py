"""One Delta table: the only file that speaks to delta-rs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from cdpkit.errors import LakeError, SchemaError
from cdpkit.schema import Column, Table

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

# Look-back pruning needs row groups that span little time.
_ROW_GROUP = 500_000
_COMMIT = re.compile(r"(\d{20})\.json")
# A longer list of nodes is erased by a rewrite: a predicate is parsed for every file.
_PREDICATE_NODES = 2_000


@dataclass(frozen=True)
class Stored:
    """A file of a version, as the Delta log records it."""

    path: str
    size: int
    rows: int


class Delta:
    """A Delta table in its folder.

    Parameters
    ----------
    root : Path
        Folder of the table.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def version(self) -> int | None:
        """Number of the last commit, read off the log's file names; None without a table."""
        log = self.root / "_delta_log"
        if not log.is_dir():
            return None
        commits = [int(match[1]) for entry in log.iterdir() if (match := _COMMIT.fullmatch(entry.name))]
        return max(commits, default=None)

    def files(self, version: int) -> list[Stored]:
        """Return the files of a version, sorted by path.

        The log percent-encodes what the disk does not: a folder with a space would not be found.
        """
        actions = self._open(version).get_add_actions(flatten=True)
        columns = [actions.column(name).to_pylist() for name in ("path", "size_bytes", "num_records")]
        return sorted(
            (Stored(unquote(path), size, rows) for path, size, rows in zip(*columns, strict=True)),
            key=lambda stored: stored.path,
        )

    def columns(self, version: int) -> dict[str, str]:
        """Return the stored columns with their types, in the words of the schema."""
        import pyarrow as pa

        return {field.name: _kind(field.type) for field in pa.schema(self._open(version).schema().to_arrow())}

    def described(self, name: str, version: int) -> Table:
        """Return a table that is not canonical, as its own files describe it."""
        metadata = self._open(version).metadata()
        columns = tuple(
            Column(column, kind, column, column, pii=_pii(column, kind))
            for column, kind in self.columns(version).items()
        )
        partition = next(iter(metadata.partition_columns), None)
        return Table(name, (), columns, metadata.description or name, name, partition=partition)

    def write(self, table: Table, rows: pa.Table, mode: str, tags: dict[str, str]) -> None:
        """Append rows, or put them in place of all others, creating the table when absent.

        Raises
        ------
        SchemaError
            When a stored column has another type: a type change is a migration.
        """
        from deltalake import DeltaTable, write_deltalake

        version, placed = self.version, _placed(table, rows)
        partition = [table.partition] if table.partition else None
        if version is None:
            self.root.mkdir(parents=True, exist_ok=True)
            DeltaTable.create(
                self.root,
                placed.schema,
                partition_by=partition,
                configuration=_statistics(table),
                description=table.en,
                commit_properties=_commit(tags),
            )
            version = 0
        stored = self.columns(version)
        fresh = set(placed.schema.names) - set(stored)
        changed = _changed(stored, placed.schema)
        if changed and (mode == "append" or table.name in _canonical()):
            raise SchemaError(f"table {table.name} in the lake", changed)
        gone = mode == "overwrite" and not set(stored) <= set(placed.schema.names)
        if not placed.num_rows and mode == "append" and not fresh:
            return
        schema_mode: Literal["merge", "overwrite"] | None
        schema_mode = "overwrite" if changed or gone else "merge" if fresh else None
        write_deltalake(
            self._open(), placed, mode="overwrite" if mode == "overwrite" else "append",
            partition_by=partition, schema_mode=schema_mode,
            writer_properties=_writer(), commit_properties=_commit(tags),
        )  # fmt: skip

    def delete(self, values: dict[str, Any], tags: dict[str, str]) -> int:
        """Delete the rows whose columns equal the given values; return how many."""
        predicate = " AND ".join(f'"{name}" = {_literal(value)}' for name, value in values.items())
        return self._delete(predicate, tags)

    def delete_before(self, time: str, limit: datetime, values: dict[str, Any], tags: dict[str, str]) -> int:
        """Delete the rows with the given values whose time is before a limit; return how many."""
        named = "".join(f' AND "{name}" = {_literal(value)}' for name, value in values.items())
        return self._delete(f'"{time}" < {_literal(limit)}{named}', tags)

    def delete_nodes(self, columns: Sequence[str], nodes: Iterable[int], tags: dict[str, str]) -> int | None:
        """Delete the rows of some nodes; None when there are too many for a predicate."""
        listed = sorted({int(node) for node in nodes})
        if len(listed) > _PREDICATE_NODES:
            return None
        numbers = ", ".join(map(str, listed))
        return self._delete(" OR ".join(f'"{column}" IN ({numbers})' for column in columns), tags)

    def rewrite(self, table: Table, reader: pa.RecordBatchReader, tags: dict[str, str]) -> None:
        """Put a stream of rows in place of all others; the log names no row."""
        from deltalake import write_deltalake

        write_deltalake(
            self._open(), reader, mode="overwrite", schema_mode="merge",
            partition_by=[table.partition] if table.partition else None,
            writer_properties=_writer(), commit_properties=_commit(tags),
        )  # fmt: skip

    def restore(self, version: int, tags: dict[str, str]) -> None:
        """Make the head equal to a version again."""
        self._open().restore(version, commit_properties=_commit(tags))

    def vacuum(self, keep: Iterable[int]) -> list[str]:
        """Remove every file that no kept version holds, orphans of killed writers included.

        Only the holder of the lake's lock may call it: a live writer's files would go too.
        """
        removed = self._open().vacuum(
            retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True,
            keep_versions=sorted(set(keep)),
        )  # fmt: skip
        for entry in (self.root / "_delta_log").iterdir():
            if entry.name.endswith(".tmp") or "#" in entry.name or entry.name.startswith("_commit_"):
                entry.unlink()
        return removed

    def drop(self) -> None:
        """Remove the table with all its versions."""
        shutil.rmtree(self.root)

    def logs(self, after: int) -> list[Path]:
        """Return the commits after a version."""
        found = [
            e
            for e in (self.root / "_delta_log").iterdir()
            if (m := _COMMIT.fullmatch(e.name)) and int(m[1]) > after
        ]
        return sorted(found)

    def _open(self, version: int | None = None) -> DeltaTable:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            return DeltaTable(self.root, version=version)
        except (TableNotFoundError, DeltaError) as fault:
            raise FileNotFoundError(f"Delta log of {self.root.name} at version {version}") from fault

    def _delete(self, predicate: str, tags: dict[str, str]) -> int:
        # Without writer properties the rewritten files would have row groups of a million rows.
        metrics = self._open().delete(predicate, writer_properties=_writer(), commit_properties=_commit(tags))
        return int(metrics["num_deleted_rows"])


def _canonical() -> Iterable[str]:
    from cdpkit.schema import TABLES

    return TABLES


def _placed(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows sorted by time, with the month that names their folder."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if table.event_time is not None and rows.num_rows:
        times = rows[table.event_time].cast(pa.int64()).to_numpy()
        if (times[1:] < times[:-1]).any():
            rows = rows.take(pa.array(np.argsort(times, kind="stable")))
    if table.partition != "month":
        return rows
    days = pc.cast(rows[table.event_time], pa.date32()).to_numpy().astype("datetime64[M]")
    months, codes = np.unique(days, return_inverse=True)
    texts = pa.array([str(month) for month in months], pa.string()).take(pa.array(codes, pa.int64()))
    return rows.append_column("month", texts)


def _statistics(table: Table) -> dict[str, str | None]:
    """Keep out of the log whatever could spell out a person: its statistics outlive deletion."""
    nodes = [c.name for c in table.columns if c.pii == "pseudonym" and c.type == "int64"]
    times = [] if table.holds_identifiers else [c.name for c in table.columns if c.name == table.event_time]
    kept = [name for name in (*nodes, *times) if name != table.partition]
    if not kept:
        return {"delta.dataSkippingNumIndexedCols": "0"}
    return {"delta.dataSkippingStatsColumns": ",".join(kept)}


def _kind(stored: pa.DataType) -> str:
    """Return a stored type in the words of the schema."""
    import pyarrow as pa

    tests: list[tuple[str, Callable[[pa.DataType], bool]]] = [
        (
            "string",
            lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t),
        ),
        ("int64", pa.types.is_int64),
        ("float64", pa.types.is_float64),
        ("bool", pa.types.is_boolean),
        ("timestamp", lambda t: pa.types.is_timestamp(t) and t.tz is None),
        ("date", pa.types.is_date),
        ("decimal", lambda t: pa.types.is_decimal(t) and (t.precision, t.scale) == (18, 4)),
        (
            "binary",
            lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_binary_view(t),
        ),
        ("list<string>", lambda t: pa.types.is_list(t) or pa.types.is_large_list(t)),
    ]
    for kind, holds in tests:
        if holds(stored):
            return kind
    raise LakeError("a stored column must have a type of the schema", got=str(stored))


def _changed(stored: dict[str, str], schema: pa.Schema) -> list[str]:
    return [
        f"column `{field.name}` must stay {stored[field.name]}; got {_kind(field.type)}, which is a migration"
        for field in schema
        if field.name in stored and stored[field.name] != _kind(field.type)
    ]


def _pii(column: str, kind: str) -> str:
    return (
        "pseudonym"
        if column.endswith(("node_id", "_node", "person_id")) and kind in ("int64", "string")
        else "none"
    )


def _literal(value: Any) -> str:
    if isinstance(value, datetime | date):
        # A text literal: a typed one becomes nanoseconds, which delta-rs cannot compare.
        return (
            "'" + value.isoformat(sep=" ") + "'" if isinstance(value, datetime) else f"'{value.isoformat()}'"
        )
    if isinstance(value, bool) or not isinstance(value, str):
        return str(value)
    return "'" + value.replace("'", "''") + "'"


def _writer() -> Any:
    from deltalake import WriterProperties

    return WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=_ROW_GROUP)


def _commit(tags: dict[str, str]) -> Any:
    from deltalake import CommitProperties

    return CommitProperties(custom_metadata=tags)
