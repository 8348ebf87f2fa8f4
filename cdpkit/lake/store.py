"""The lake: Delta tables read and written together, one snapshot at a time."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cdpkit.errors import IntegrityError, LakeError
from cdpkit.lake import format as layout
from cdpkit.lake.dataset import Dataset
from cdpkit.lake.delta import Delta
from cdpkit.lake.lock import WriterLock
from cdpkit.lake.pages import Pages
from cdpkit.lake.pins import pinned
from cdpkit.lake.places import Places
from cdpkit.lake.snapshot import Snapshot, Snapshots, code_version, moved, pin
from cdpkit.lake.suppression import Suppression
from cdpkit.lake.view import View
from cdpkit.schema import TABLES, Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from cdpkit.lake.erase import Erasure

_scratches = itertools.count()


class Lake:
    """Every table of a workspace, under one published snapshot.

    Parameters
    ----------
    workspace : Workspace
        Where the lake lives: any object with its folders.
    lock : WriterLock, optional
        The right to write, which a run holds; without it the lake is read only.

    Raises
    ------
    LakeError
        When a newer release wrote this lake.

    Examples
    --------
    >>> from cdpkit.workspace import Workspace
    >>> lake = Workspace.open("/nowhere").lake()
    >>> lake.current() is None, lake.read("orders").rows
    (True, 0)
    """

    def __init__(self, workspace: Places, lock: WriterLock | None = None) -> None:
        self.workspace, self._lock = workspace, lock
        self.path = workspace.lake_path
        self.snapshots, self.pages = Snapshots(self.path), Pages(workspace.published)
        if lock is None:
            layout.check(self.path)

    # --- reading: no lock ---------------------------------------------------------------------------

    def current(self) -> Snapshot | None:
        """Return the published snapshot, or None before the first."""
        return self.snapshots.current()

    def find(self, snapshot: str | Snapshot) -> Snapshot | None:
        """Return a snapshot given as such, by id, or as ``"current"``.

        Raises
        ------
        LakeError
            When it was never published, or was vacuumed.
        """
        if isinstance(snapshot, Snapshot):
            return snapshot
        if snapshot == "current":
            return self.current()
        try:
            return self.snapshots.read(snapshot)
        except FileNotFoundError:
            raise LakeError(
                "a snapshot must be stored to be read", got=snapshot, do="It may have been vacuumed"
            ) from None

    def holds(self, snapshot_id: str) -> bool:
        """Tell whether a snapshot is still stored."""
        return snapshot_id in self.snapshots.names()

    def view(self, snapshot: str | Snapshot = "current") -> View:
        """Return what one reader sees; an engine is built on it."""
        return View(self, snapshot)

    def read(self, name: str, snapshot: str | Snapshot = "current") -> Dataset:
        """Return one table of a snapshot.

        Parameters
        ----------
        name : str
            A canonical table, empty if never written, or a stored one.
        snapshot : {"current", "head"} or Snapshot or str
            The published one by default; ``"head"`` for the steps of a run.

        Raises
        ------
        IntegrityError
            When its files are not what was published.
        """
        view = self.view(snapshot)
        try:
            return view.dataset(name)
        except FileNotFoundError:
            if view.reopen():
                return view.dataset(name)
            raise IntegrityError(
                f"table {name} must be as published", got="a file missing", do="Restore the lake from a copy"
            ) from None
        finally:
            view.close()

    def page(self, name: str) -> dict[str, Any]:
        """Return a published page of the dashboards."""
        for _ in range(2):
            snapshot = self.current()
            if snapshot is None:
                break
            with contextlib.suppress(FileNotFoundError):
                return self.pages.read(name, snapshot)
        raise LakeError(f"page {name} must have been published", do="Run the notebook that makes it")

    @contextlib.contextmanager
    def pin(self) -> Iterator[Snapshot | None]:
        """Hold the published snapshot: its files stay until the block ends."""
        view = self.view()
        try:
            yield view.snapshot
        finally:
            view.close()

    def delta(self, name: str) -> Delta:
        """Return a table's own store."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise LakeError("a table name must be lower-case letters, digits and _", got=repr(name))
        return Delta(self.path / "tables" / name)

    def stored(self) -> set[str]:
        """Return the tables that have a head, published or not."""
        folder = self.path / "tables"
        names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        return {name for name in names if self.delta(name).version is not None}

    def scratch(self) -> Path:
        """Return a folder of its own for an engine to spill to; the engine makes it when needed."""
        return self.path / "spill" / f"{os.getpid()}-{next(_scratches)}"

    def status(self) -> dict[str, Any]:
        """Return what an operator asks: snapshot, tables, who holds the lock, what waits."""
        from cdpkit.lake.status import status

        return status(self)

    @property
    def lock_path(self) -> Path:
        """The file whose lock gives the right to write."""
        return self.path / "LOCK"

    def suppression(self) -> Suppression:
        """Return the list of erased records and identifiers."""
        return Suppression(self.path / "suppressed.txt", self.workspace.keys / "suppression.key")

    def suppressed(
        self, pairs: Iterable[tuple[str, str]], of: Literal["records", "identifiers"] = "records"
    ) -> list[bool]:
        """Tell what a loader must leave out: a reloaded file brings nobody back.

        Parameters
        ----------
        pairs : iterable of (str, str)
            ``(source, record_id)``, or ``(id_type, value)`` for identifiers.
        of : {"records", "identifiers"}
            What the pairs are.
        """
        listed = self.suppression()
        return listed.records(pairs) if of == "records" else listed.identifiers(pairs)

    # --- writing: under the lock --------------------------------------------------------------------

    def write(
        self,
        table: str | Table,
        frame: pd.DataFrame | pa.Table,
        *,
        mode: Literal["append", "overwrite"] = "append",
        replace: Mapping[str, Any] | None = None,
    ) -> None:
        """Write rows to the head of a table; readers see them once published.

        Parameters
        ----------
        table : str or Table
            A canonical name, or the description of another table.
        frame : DataFrame or pyarrow.Table
            Conformed to the table.
        mode : {"append", "overwrite"}
            Beside the rows already there, or in place of all of them.
        replace : mapping, optional
            In place of exactly the rows with these values, such as
            ``{"model": "appetence", "as_of": as_of}``.

        Raises
        ------
        LakeError
            Without the lock, or when personal data would be stored without a node or person.
        SchemaError
            When the frame does not meet the table, or a column would change its type.
        """
        from cdpkit.lake.refusals import refuse_sensitive, refuse_unerasable

        known = TABLES[table] if isinstance(table, str) else table
        refuse_unerasable(known)
        if set(replace or ()) - set(known.names) or any(known[name].pii != "none" for name in replace or ()):
            raise LakeError("`replace` must name columns of the table that hold no personal data")
        tags, delta, rows = self.tags(), self.delta(known.name), known.to_arrow(frame)
        refuse_sensitive(known, rows)
        if replace and delta.version is not None:
            delta.delete(dict(replace), tags)
        delta.write(known, rows, mode, tags)

    def publish(self, run_id: str, inputs: Mapping[str, Any] | None = None) -> Snapshot:
        """Publish the heads and the staged pages as one snapshot.

        Parameters
        ----------
        run_id : str
            Run to name in the manifest.
        inputs : mapping, optional
            What the run read, kept in the manifest; no personal data.

        Returns
        -------
        Snapshot
            What readers see from now on.
        """
        if self.joined:
            raise LakeError("a notebook under a run must leave publishing to the run")
        previous = self.current()
        sequence = previous.sequence + 1 if previous else 1
        name = f"s{sequence:06d}"
        before = previous.tables if previous else {}
        tables = {table: pin(self.delta(table), before.get(table)) for table in sorted(self.stored())}
        pages = self.pages.publish(name, previous)
        snapshot = Snapshot(name, sequence, run_id, tables, dict(inputs or {}), code_version(), pages)
        self.snapshots.write(snapshot)
        self.snapshots.point(name)
        self.pages.clear()
        return snapshot

    def restore(self) -> list[str]:
        """Bring every head back to the published snapshot; return the tables that had moved.

        The first act of a run: whatever a failed one left is undone, tables it created included. The
        layout is migrated, and an erasure that was cut short is completed.
        """
        self._writing()
        layout.migrate(self)
        moved = self.undo()
        if self.erasing.exists():
            self.erase(())
        return moved

    def undo(self) -> list[str]:
        """Drop what was written since the last publication; return the tables concerned."""
        self._writing()
        published, undone = self.current(), []
        tables = published.tables if published else {}
        folder = self.path / "tables"
        for name in sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else ():
            delta = self.delta(name)
            if name not in tables:
                delta.drop()
                undone.append(name)
            elif moved(delta, tables[name]):
                delta.restore(tables[name].version, self.tags())
                undone.append(name)
        for name in self.snapshots.names():
            if published is None or name > published.id:
                self.snapshots.remove(name)
        self.pages.clear()
        self._sweep()
        return undone

    def vacuum(self, keep_days: float, now: datetime) -> list[str]:
        """Remove the snapshots nobody needs, with the files only they hold.

        Parameters
        ----------
        keep_days : float
            Snapshots stored since fewer days stay; so do the published one and those readers pin.
        now : datetime
            UTC.

        Returns
        -------
        list of str
            Ids of the snapshots removed.
        """
        self._writing()
        moment = now if now.tzinfo else now.replace(tzinfo=UTC)
        limit = (moment - timedelta(days=keep_days)).timestamp()
        kept = self._needed() | {
            name for name in self.snapshots.names() if self.snapshots.stored_at(name) >= limit
        }
        return self.forget(kept)

    def forget(self, kept: set[str]) -> list[str]:
        """Remove every snapshot but those, and all files they do not hold."""
        self._writing()
        names = self.snapshots.names()
        removed = [name for name in names if name not in kept]
        snapshots = [self.snapshots.read(name) for name in names if name in kept]
        for name in removed:
            self.snapshots.remove(name)
        for name in sorted(self.stored()):
            versions = [s.tables[name].version for s in snapshots if name in s.tables]
            self.delta(name).vacuum(versions)
        self.pages.keep(kept)
        return removed

    def erase(self, nodes: Iterable[int], id_columns: Iterable[str] = ()) -> Erasure:
        """Erase some records and all that was derived from their persons, everywhere in the workspace.

        See `cdpkit.lake.erase.erase`. Under a run's lock, what it has not published is undone first.
        """
        from cdpkit.lake.erase import erase

        with self._erasable() as lake:
            return erase(lake, nodes, id_columns)

    def erase_records(
        self, records: Iterable[tuple[str, str]], *, alone: bool = False, id_columns: Iterable[str] = ()
    ) -> Erasure:
        """Erase ``(source, record_id)`` records and, unless `alone`, all others of their persons today.

        See `cdpkit.lake.erase.erase_records`, called under the lock.
        """
        from cdpkit.lake.erase import erase_records

        with self._erasable() as lake:
            return erase_records(lake, records, alone, id_columns)

    # --- inside -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _erasable(self) -> Iterator[Lake]:
        """Give this lake under its run's lock, or one with a lock of its own."""
        if self._lock is not None:
            yield self
            return
        lock = WriterLock.acquire(self.lock_path, "erasure", "erasure")
        try:
            yield Lake(self.workspace, lock)
        finally:
            lock.release()

    @property
    def joined(self) -> bool:
        """Whether the lock is a run's that started this process: publishing and erasing are its own."""
        return self._writing().joined

    @property
    def erasing(self) -> Path:
        """Where an erasure in progress keeps its node ids, to be completed if it is cut short."""
        return self.path / "ERASING"

    def _writing(self) -> WriterLock:
        if self._lock is None:
            raise LakeError(
                "writing to the lake needs the lock of a run", do="Use `Run.begin(...)` and `run.lake`"
            )
        self._lock.check()
        return self._lock

    def tags(self) -> dict[str, str]:
        """Return what every commit of this run carries."""
        return {"cdpkit.lock": self._writing().fingerprint[:8]}

    def _sweep(self) -> None:
        """Remove what dead engines spilled."""
        folder = self.path / "spill"
        for entry in folder.iterdir() if folder.is_dir() else ():
            if not Path(f"/proc/{entry.name.partition('-')[0]}").exists():
                shutil.rmtree(entry, ignore_errors=True)

    def _needed(self) -> set[str]:
        published = self.current()
        return pinned(self.path / "pins") | ({published.id} if published else set())
