"""The dashboards' pages: staged by a run, published with its snapshot."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from cdpkit.errors import IntegrityError, LakeError
from cdpkit.lake.files import digest, sync, write_json
from cdpkit.lake.snapshot import Snapshot


class Pages:
    """JSON pages below `data/published`, one folder a snapshot.

    Parameters
    ----------
    folder : Path
        The folder of published pages.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.staging = folder, folder / ".staging"

    def stage(self, name: str, payload: dict[str, Any]) -> None:
        """Write a page aside, to be published by the run.

        Raises
        ------
        LakeError
            When the name could leave the folder, or a number is not one JSON knows.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
            raise LakeError("a page name must be lower-case letters, digits, _ . and -", got=repr(name))
        try:
            write_json(self.staging / f"{name}.json", payload)
        except ValueError as fault:
            raise LakeError(
                f"page {name} must be JSON", got=str(fault), do="Put null for a missing number"
            ) from fault

    def clear(self) -> None:
        """Forget the staged pages."""
        shutil.rmtree(self.staging, ignore_errors=True)

    def publish(self, snapshot_id: str, previous: Snapshot | None) -> dict[str, str]:
        """Make the folder of a snapshot: staged pages, and those of before not staged again."""
        target, aside = self.folder / snapshot_id, self.folder / f".{snapshot_id}.tmp"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        if previous is not None:
            for name in previous.pages:
                shutil.copyfile(self.folder / previous.id / f"{name}.json", aside / f"{name}.json")
        for staged in sorted(self.staging.glob("*.json")) if self.staging.is_dir() else ():
            shutil.copyfile(staged, aside / staged.name)
        sync([*aside.iterdir(), aside])
        # A folder of this name is what a run killed before moving CURRENT left.
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        sync([self.folder])
        return {path.stem: digest(path) for path in sorted(target.glob("*.json"))}

    def read(self, name: str, snapshot: Snapshot) -> dict[str, Any]:
        """Return a published page.

        Raises
        ------
        LakeError
            When the snapshot has no such page.
        IntegrityError
            When it is not what was published.
        """
        if name not in snapshot.pages:
            raise LakeError(f"page {name} must have been published", do="Run the notebook that makes it")
        path = self.folder / snapshot.id / f"{name}.json"
        if digest(path) != snapshot.pages[name]:
            raise IntegrityError(
                f"page {name} must be as published", do="Run the notebook that makes it again"
            )
        return json.loads(path.read_bytes())

    def keep(self, snapshot_ids: set[str]) -> None:
        """Remove the folders of other snapshots."""
        for entry in self.folder.iterdir() if self.folder.is_dir() else ():
            if entry.is_dir() and entry.name not in snapshot_ids and entry != self.staging:
                shutil.rmtree(entry)
