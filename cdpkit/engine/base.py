"""What an engine offers, and what the engines over a lake have in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from cdpkit.errors import IntegrityError, LakeError
from cdpkit.lake.dataset import Dataset
from cdpkit.schema import TABLES

if TYPE_CHECKING:
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

    def apply(
        self,
        name: str,
        sql: str | Expression,
        function: Callable[[pd.DataFrame], pd.DataFrame],
        schema: pa.Schema,
        by: str | None = None,
    ) -> None:
        """Keep what a function makes of the rows of a query, piece by piece, as a table of this engine."""

    def tables(self) -> set[str]:
        """Return the names a query may use."""


class LakeEngine(ABC):
    """Show the tables of one pinned snapshot, each opened when a statement first names it.

    Parameters
    ----------
    lake : Lake, optional
        Where the tables live. Without one, canonical tables are empty but for what is registered.
    snapshot : str or Snapshot
        See `Lake.view`.
    """

    dialect: str

    def __init__(self, lake: Lake | None, snapshot: str | Snapshot) -> None:
        self.lake = lake
        self._view = lake.view(snapshot) if lake is not None else None
        # What is visible: a table made here has no version, a view the version it reads.
        self._tables: set[str] = set()
        self._views: dict[str, int | None] = {}

    @abstractmethod
    def _open(self, name: str, dataset: Dataset) -> None:
        """Show a table of the lake under its name."""

    @abstractmethod
    def _shut(self, name: str) -> None:
        """Take a view away."""

    @abstractmethod
    def _lost_a_file(self, fault: Exception) -> bool:
        """Tell whether a fault of this engine may come from a file that went away."""

    def tables(self) -> set[str]:
        """Return the names a query may use."""
        return set(TABLES) | self._stored() | self._tables

    @property
    def snapshot(self) -> Snapshot | None:
        """The published snapshot this engine reads, or None on heads and in memory."""
        return self._view.snapshot if self._view is not None else None

    def dataset(self, name: str) -> Dataset:
        """Return a canonical table with its files, at the version this engine reads."""
        version = self._view.version(name) if self._view is not None else None
        if self._view is None or version is None:
            return Dataset(TABLES[name], Path())
        return self._view.dataset(name)

    def show(self, name: str, dataset: Dataset) -> None:
        """Make some files of a table visible under a name of their own."""
        if name in TABLES or name in self._stored():
            raise LakeError("`name` must not be that of a table", got=name)
        self._open(name, dataset)
        self._tables.add(name)

    def close(self) -> None:
        """Release the pin on the snapshot."""
        if self._view is not None:
            self._view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rendered(self, sql: str | Expression) -> str:
        return sql if isinstance(sql, str) else sql.sql(dialect=self.dialect)

    def _stored(self) -> set[str]:
        return self._view.names() if self._view is not None else set()

    def _expose(self, text: str) -> None:
        """Open the tables a statement may name; a word too many costs one unused view."""
        for name in (set(re.findall(r"\w+", text)) & (set(TABLES) | self._stored())) - self._tables:
            version = self._view.version(name) if self._view is not None else None
            if self._views.get(name, _ABSENT) != version:
                self._open(name, self.dataset(name))
                self._views[name] = version

    def _own(self, name: str) -> bool:
        """Make a name this engine's own; tell whether a view stood under it."""
        self._tables.add(name)
        return self._views.pop(name, _ABSENT) is not _ABSENT

    def _guarded(self, text: str, act: Callable[[], Answer]) -> Answer:
        """Run `act` with its views; when files went away under a new snapshot, reopen it once."""
        try:
            self._expose(text)
            return act()
        except Exception as fault:
            if self._view is None or not (isinstance(fault, FileNotFoundError) or self._lost_a_file(fault)):
                raise
            if not self._view.reopen():
                raise IntegrityError(
                    "the lake's files must be as published",
                    got="a file missing",
                    do="Restore the lake from a copy",
                ) from fault
        for name in list(self._views):
            self._shut(name)
            del self._views[name]
        self._expose(text)
        return act()


def narrow(table: pa.Table) -> pa.Table:
    """Return 128-bit sums of integers as int64."""
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type) and field.type.scale == 0 and field.type.precision == 38:
            table = table.set_column(index, field.name, table.column(index).cast(pa.int64()))
    return table


def table_of(name: str, frame: pd.DataFrame | pa.Table) -> pa.Table:
    """Return a frame as an Arrow table; under a canonical name, in the storage schema."""
    import pyarrow as pa

    if name in TABLES:
        return TABLES[name].to_arrow(frame)
    return frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
