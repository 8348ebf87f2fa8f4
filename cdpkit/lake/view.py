"""What one reader sees: a published snapshot held by a pin, or the heads of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cdpkit.errors import IntegrityError, LakeError
from cdpkit.lake.dataset import Dataset
from cdpkit.lake.delta import Stored
from cdpkit.lake.files import digest
from cdpkit.lake.pins import Pin
from cdpkit.lake.snapshot import Pinned, Snapshot, listing_digest
from cdpkit.schema import TABLES

if TYPE_CHECKING:
    from cdpkit.lake.store import Lake

_REPAIR = "Restore the lake from a copy, or load the sources again"


class View:
    """The tables of one snapshot, or of the heads.

    Parameters
    ----------
    lake : Lake
        Where the tables are.
    snapshot : {"current", "head"} or Snapshot or str
        The published one, the heads of the run in progress, or an older one by id.
    """

    def __init__(self, lake: Lake, snapshot: str | Snapshot = "current") -> None:
        self._lake, self._asked = lake, snapshot
        self.snapshot: Snapshot | None = None
        self._known: Snapshot | None = None
        self._pin: Pin | None = None
        self._verified: set[Path] = set()
        if snapshot == "head":
            # The run's own lock protects the heads; what was published is still checked.
            self._known = lake.current()
        else:
            self._hold()

    def names(self) -> set[str]:
        """Return the stored tables."""
        if self._asked == "head":
            return self._lake.stored()
        return set(self.snapshot.tables) if self.snapshot is not None else set()

    def version(self, name: str) -> int | None:
        """Return the version this view reads of a table: on the heads, the newest."""
        if self._asked == "head":
            return self._lake.delta(name).version
        entry = self.snapshot.tables.get(name) if self.snapshot is not None else None
        return entry.version if entry is not None else None

    def dataset(self, name: str) -> Dataset:
        """Return a table with its files, verified.

        Raises
        ------
        IntegrityError
            When the files are not those recorded: cut, altered, or another listing.
        FileNotFoundError
            When files are gone, which a newer snapshot explains: see `reopen`.
        """
        version, delta = self.version(name), self._lake.delta(name)
        if version is None:
            if name not in TABLES:
                raise LakeError(f"table {name} must have been written", got="no such table in this snapshot")
            return Dataset(TABLES[name], delta.root)
        files = delta.files(version)
        entry = self._entry(name)
        if self._asked != "head" and (entry is None or listing_digest(files) != entry.sha256):
            raise IntegrityError(f"table {name} must be as published", got="another listing", do=_REPAIR)
        self._verify(name, files, entry.files if entry is not None else {})
        table = TABLES[name] if name in TABLES else delta.described(name, version)
        rows = sum(stored.rows for stored in files)
        return Dataset(table, delta.root, tuple(delta.root / stored.path for stored in files), rows, version)

    def reopen(self) -> bool:
        """Move to the snapshot now published; tell whether it is another one."""
        if self._asked != "current":
            return False
        before = self.snapshot
        self._hold()
        return self.snapshot is not None and self.snapshot != before

    def close(self) -> None:
        """Let the snapshot go."""
        if self._pin is not None:
            self._pin.release()

    def _hold(self) -> None:
        """Pin the snapshot, and make sure it was not vacuumed before the pin was there."""
        while True:
            self.snapshot = self._known = self._lake.find(self._asked)
            if self.snapshot is None:
                return
            self.close()
            self._pin = Pin(self._lake.path / "pins", self.snapshot.id)
            if self._asked != "current" or self._lake.holds(self.snapshot.id):
                return

    def _entry(self, name: str) -> Pinned | None:
        return self._known.tables.get(name) if self._known is not None else None

    def _verify(self, name: str, files: Iterable[Stored], known: Mapping[str, str]) -> None:
        """Compare files with what was recorded, each once: they never change."""
        root = self._lake.delta(name).root
        for stored in files:
            path, expected = root / stored.path, known.get(stored.path)
            if path in self._verified and path.exists():
                continue
            cut = path.stat().st_size != stored.size
            if cut or (expected is not None and digest(path) != expected):
                raise IntegrityError(
                    f"table {name} must be as published",
                    got=f"a file {'cut short' if cut else 'altered'}",
                    do=_REPAIR,
                )
            self._verified.add(path)
