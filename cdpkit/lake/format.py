"""The version of the lake's layout, and the steps from an older one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cdpkit.errors import LakeError
from cdpkit.lake.files import write_json

if TYPE_CHECKING:
    from cdpkit.lake.store import Lake

#: Layout written by this release.
VERSION = 1

#: For each older layout, the step that brings a lake to the next one. It runs under the writer lock.
MIGRATIONS: dict[int, Callable[[Lake], None]] = {}


def stored(path: Path) -> int | None:
    """Return the layout of a lake, or None when nothing was written yet."""
    try:
        return int(json.loads((path / "FORMAT").read_bytes())["format"])
    except FileNotFoundError:
        return None


def check(path: Path) -> None:
    """Refuse a lake that this release cannot read.

    Raises
    ------
    LakeError
        When it was written by a newer release, or waits for a migration.
    """
    found = stored(path)
    if found is not None and found > VERSION:
        raise LakeError(f"the lake's format must be at most {VERSION}", got=str(found), do="Update cdpkit")
    if found is not None and found < VERSION:
        raise LakeError(
            f"the lake's format must be {VERSION}", got=str(found), do="Start a run: it migrates the lake"
        )


def migrate(lake: Lake) -> None:
    """Bring a lake to this release's layout, one step at a time; the caller holds the lock."""
    found = stored(lake.path)
    if found is None:
        write_json(lake.path / "FORMAT", {"format": VERSION})
        return
    for version in range(found, VERSION):
        MIGRATIONS[version](lake)
        write_json(lake.path / "FORMAT", {"format": version + 1})
    check(lake.path)
