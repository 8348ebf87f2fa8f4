"""What a failed night leaves for the one that resumes it: heads, staged pages, keys of its steps."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdpkit.lake.lock import WriterLock
from cdpkit.lake.snapshot import code_version, listing_digest
from cdpkit.notebooks import report
from cdpkit.notebooks.parameters import declared
from cdpkit.run import Run

if TYPE_CHECKING:
    from cdpkit.lake import Lake
    from cdpkit.notebooks.parameters import Scalar
    from cdpkit.workspace import Workspace

#: Version of a table's head, and a digest of its files: a table dropped and made again counts anew.
Heads = dict[str, tuple[int, str]]


def begin(workspace: Workspace, *, restore: bool) -> tuple[Run, WriterLock]:
    """Take the lock for a night; with `restore`, undo what a failed run left, as `Run.begin` does."""
    lock = WriterLock.acquire(workspace.lake_path / "LOCK", "nightly", "not yet numbered")
    try:
        published = workspace.lake().current()
        run_id = f"r{(published.sequence if published else 0) + 1:06d}"
        run = Run(workspace, "nightly", run_id, lock)
        lock.name(run_id)
        if restore:
            run.lake.restore()
    except BaseException:
        lock.release()
        raise
    return run, lock


def key(notebook: Path, values: Mapping[str, Scalar], raw: Path) -> str:
    """Return what a step's result depends on besides the tables: code, parameters, their files' state.

    A step that declares `path` and is given none reads `raw`.
    """
    named = [Path(value) for value in values.values() if isinstance(value, str) and value]
    if "path" in declared(notebook) and not values.get("path"):
        named.append(raw)
    files = [path for given in named if given.is_absolute() for path in _files(given)]
    seen = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    content = (notebook.read_bytes(), json.dumps(values, sort_keys=True), code_version(), seen)
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    """Return the file or the files right below the folder a parameter names."""
    if path.is_dir():
        return sorted(entry for entry in path.iterdir() if entry.is_file())
    return [path] if path.is_file() else []


def heads(lake: Lake) -> Heads:
    """Return the heads of all tables."""
    found = {}
    for name in sorted(lake.stored()):
        delta = lake.delta(name)
        version = delta.version
        assert version is not None
        found[name] = (version, listing_digest(delta.files(version)))
    return found


def check_out(lake: Lake, wanted: Mapping[str, Any], folder: Path) -> bool:
    """Make the heads and the staged pages those of a checkpoint; tell whether that was possible."""
    if lake.erasing.exists() or not set(wanted) <= lake.stored():
        return False
    try:
        same = [
            listing_digest(lake.delta(n).files(version)) == digest for n, (version, digest) in wanted.items()
        ]
    except FileNotFoundError:
        return False
    files = {lake.delta(n).root / f.path for n, (v, _) in wanted.items() for f in lake.delta(n).files(v)}
    if not all(same) or not all(path.exists() for path in files):
        return False
    for name in lake.stored():
        delta = lake.delta(name)
        if name not in wanted:
            delta.drop()
        elif delta.version != wanted[name][0]:
            delta.restore(wanted[name][0], lake.tags())
    lake.pages.clear()
    if (folder / "pages").is_dir():
        shutil.copytree(folder / "pages", lake.pages.staging)
    return True


def keep_pages(lake: Lake, folder: Path) -> None:
    """Copy the pages staged so far beside the report."""
    if lake.pages.staging.is_dir():
        shutil.copytree(lake.pages.staging, folder / "pages", dirs_exist_ok=True)


def drop_pages(folder: Path) -> None:
    """Forget the copies once they are published."""
    shutil.rmtree(folder / "pages", ignore_errors=True)


def last_failed(workspace: Workspace) -> dict[str, Any] | None:
    """Return the report of the last night when it failed or was killed, or None."""
    folders = sorted(workspace.outputs.iterdir()) if workspace.outputs.is_dir() else []
    reports = [content for folder in folders if (content := report.read(folder)) is not None]
    return reports[-1] if reports and reports[-1]["status"] in ("failed", "running") else None
