"""A snapshot: which version of every table was published together, and what its files were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cdpkit.errors import IntegrityError
from cdpkit.lake.delta import Delta, Stored
from cdpkit.lake.files import digest, sync, write_atomic, write_json


@dataclass(frozen=True)
class Pinned:
    """A table of a snapshot.

    Parameters
    ----------
    version : int
        Delta version.
    rows : int
        Rows of all files.
    sha256 : str
        Digest over the sorted path, size and rows of the files.
    files : mapping of str to str
        SHA-256 of the content of each file, by path below the table's folder.
    """

    version: int
    rows: int
    sha256: str
    files: Mapping[str, str] = field(repr=False, default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """What was published by one run.

    Parameters
    ----------
    id : str
        Name of the manifest and of the folder of pages.
    sequence : int
        Count of publications of this lake.
    run_id : str
        Run that published it.
    tables : mapping of str to Pinned
        Every table, whether or not the run wrote it.
    inputs : mapping
        What the run says it read: files with their digests, parameters.
    code : str
        Version of cdpkit and digest of its sources.
    pages : mapping of str to str
        SHA-256 of each page, by name.
    """

    id: str
    sequence: int
    run_id: str
    tables: Mapping[str, Pinned] = field(repr=False)
    inputs: Mapping = field(repr=False, default_factory=dict)
    code: str = ""
    pages: Mapping[str, str] = field(repr=False, default_factory=dict)


class Snapshots:
    """The manifests of a lake, and `CURRENT` that names the published one.

    Parameters
    ----------
    path : Path
        Folder of the lake.
    """

    def __init__(self, path: Path) -> None:
        self.folder, self.pointer = path / "snapshots", path / "CURRENT"

    def current(self) -> Snapshot | None:
        """Return the published snapshot, or None before the first.

        Raises
        ------
        IntegrityError
            When `CURRENT` names a manifest that is not there.
        """
        for _ in range(100):
            try:
                name = self.pointer.read_text().strip()
            except FileNotFoundError:
                return None
            try:
                return self.read(name)
            except FileNotFoundError:
                # Published and vacuumed over between our two reads: the pointer has moved.
                continue
        raise IntegrityError(
            "CURRENT must name a stored manifest", got=name, do="Restore the lake from a copy"
        )

    def read(self, name: str) -> Snapshot:
        """Return a snapshot by its id."""
        try:
            content = json.loads((self.folder / f"{name}.json").read_bytes())
            tables = {table: Pinned(**entry) for table, entry in content.pop("tables").items()}
            return Snapshot(tables=tables, **content)
        except (json.JSONDecodeError, KeyError, TypeError) as fault:
            raise IntegrityError(
                f"manifest {name} must be whole", do="Restore the lake from a copy"
            ) from fault

    def write(self, snapshot: Snapshot) -> None:
        """Store a manifest; nobody reads it before `point` names it."""
        write_json(self.folder / f"{snapshot.id}.json", asdict(snapshot))

    def point(self, name: str) -> None:
        """Move `CURRENT`: the one step that publishes."""
        write_atomic(self.pointer, f"{name}\n".encode())

    def names(self) -> list[str]:
        """Return the ids of all stored manifests, oldest first."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def stored_at(self, name: str) -> float:
        """Return when a manifest was stored, in seconds since 1970."""
        return (self.folder / f"{name}.json").stat().st_mtime

    def remove(self, name: str) -> None:
        """Forget a manifest."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)


def pin(delta: Delta, before: Pinned | None) -> Pinned:
    """Return the manifest entry of a head, its new files read once and safe on the disk.

    Parameters
    ----------
    delta : Delta
        A table with a head.
    before : Pinned or None
        Its entry in the snapshot before, whose files are known.
    """
    version, known = delta.version, before.files if before else {}
    if version is None:
        raise IntegrityError(f"table {delta.root.name} must have a log", got="none")
    if before is not None and before.version == version:
        return before
    files = delta.files(version)
    fresh = [delta.root / stored.path for stored in files if stored.path not in known]
    logs = delta.logs(before.version if before else -1)
    sync([*fresh, *logs, *{path.parent for path in (*fresh, *logs)}, delta.root, delta.root.parent])
    contents = {stored.path: known.get(stored.path) or digest(delta.root / stored.path) for stored in files}
    return Pinned(version, sum(stored.rows for stored in files), listing_digest(files), contents)


def moved(delta: Delta, entry: Pinned) -> bool:
    """Tell whether a head differs from what was published; vacuuming adds commits that change nothing."""
    head = delta.version
    if head is None:
        raise IntegrityError(f"table {delta.root.name} must be as published", got="no log")
    return head != entry.version and listing_digest(delta.files(head)) != entry.sha256


def listing_digest(files: Iterable[Stored]) -> str:
    """Return the SHA-256 over sorted path, size and rows."""
    lines = sorted(f"{stored.path}\t{stored.size}\t{stored.rows}\n" for stored in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def code_version() -> str:
    """Return the release and a digest of the sources, which moves between releases too."""
    root = Path(__file__).resolve().parents[1]
    seen = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.toml")]):
        seen.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    try:
        release = version("cdpkit")
    except PackageNotFoundError:
        release = "0"
    return f"{release}+{seen.hexdigest()[:12]}"
