"""The published snapshot as a dashboard reads it: JSON pages, checked, without any data library."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from cdpkit.errors import IntegrityError
from cdpkit.workspace import Workspace


@dataclass(frozen=True)
class Published:
    """One published snapshot's pages.

    Parameters
    ----------
    workspace : Workspace
        Where they are.
    snapshot : str or None
        Its name; None before the first publication.
    pages : dict
        SHA-256 of each page, by name.
    """

    workspace: Workspace
    snapshot: str | None
    pages: dict[str, str]

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a page's payload, or None where this snapshot has no such page.

        Raises
        ------
        IntegrityError
            If the file is not what was published.
        """
        if self.snapshot is None or name not in self.pages:
            return None
        content = (self.workspace.published / self.snapshot / f"{name}.json").read_bytes()
        if hashlib.sha256(content).hexdigest() != self.pages[name]:
            raise IntegrityError(
                f"page {name} must be as published", do="Run the notebook that makes it again"
            )
        return json.loads(content)


def snapshot(home: str | Workspace | None = None) -> str | None:
    """Return the name of the published snapshot, or None before the first publication.

    Parameters
    ----------
    home : str or Workspace, optional
        The workspace, found as `Workspace.open` finds it.
    """
    workspace = home if isinstance(home, Workspace) else Workspace.open(home)
    try:
        return (workspace.lake_path / "CURRENT").read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def published(home: str | Workspace | None = None) -> Published:
    """Return the published snapshot of a workspace.

    Parameters
    ----------
    home : str or Workspace, optional
        The workspace, found as `Workspace.open` finds it.

    Examples
    --------
    >>> import tempfile
    >>> published(tempfile.mkdtemp()).read("appetence") is None
    True
    """
    workspace = home if isinstance(home, Workspace) else Workspace.open(home)
    name = snapshot(workspace)
    if name is None:
        return Published(workspace, None, {})
    manifest = json.loads((workspace.lake_path / "snapshots" / f"{name}.json").read_text(encoding="utf-8"))
    return Published(workspace, name, manifest["pages"])
