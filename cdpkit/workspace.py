"""The folder a user's work lives in: raw files, lake, decisions, exports and models."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cdpkit.errors import CdpkitError

if TYPE_CHECKING:
    from cdpkit.lake import Lake

# DuckDB reads [ ] * ? in a file name as a pattern, and a folder `a=b` as a column, without escape.
_REFUSED = "[]*?="


@dataclass(frozen=True)
class Workspace:
    """The paths of one workspace; nothing is created until something is written.

    Parameters
    ----------
    home : Path
        Absolute folder of the workspace.

    Raises
    ------
    CdpkitError
        When the path holds one of ``[ ] * ? =``, which the engine does not take literally.

    Examples
    --------
    >>> Workspace(Path("/srv/shop")).for_source("cdnow").lake_path.as_posix()
    '/srv/shop/data/workspaces/cdnow/data/lake'
    """

    home: Path

    def __post_init__(self) -> None:
        if any(mark in str(self.home) for mark in _REFUSED):
            raise CdpkitError(
                "a workspace path must hold none of [ ] * ? =",
                got=str(self.home),
                do="Rename the folder or choose another home",
            )

    @classmethod
    def open(cls, home: str | os.PathLike[str] | None = None) -> Workspace:
        """Return the workspace at `home`, or the default one.

        Parameters
        ----------
        home : path, optional
            Empty or None: the variable ``CDPKIT_HOME``, else the nearest folder upwards that holds
            ``pyproject.toml`` and ``notebooks/``, else the current folder.
        """
        chosen = str(home) if home else os.environ.get("CDPKIT_HOME", "")
        if chosen:
            return cls(Path(chosen).expanduser().resolve())
        here = Path.cwd().resolve()
        for folder in (here, *here.parents):
            if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
                return cls(folder)
        return cls(here)

    @property
    def data(self) -> Path:
        """Everything but the models."""
        return self.home / "data"

    @property
    def raw(self) -> Path:
        """Exports as received."""
        return self.data / "raw"

    @property
    def truth(self) -> Path:
        """Truth of a generated world, out of the features' reach."""
        return self.data / "truth"

    @property
    def lake_path(self) -> Path:
        """The Delta tables and the snapshots over them."""
        return self.data / "lake"

    @property
    def inbox(self) -> Path:
        """Decisions waiting for the next run."""
        return self.data / "decisions"

    @property
    def published(self) -> Path:
        """Pages of the published snapshots, and those being staged."""
        return self.data / "published"

    @property
    def exports(self) -> Path:
        """Files made for other systems."""
        return self.data / "exports"

    @property
    def outputs(self) -> Path:
        """Executed notebooks and logs, by run."""
        return self.data / "runs"

    @property
    def keys(self) -> Path:
        """Secrets of this workspace, readable by its owner only."""
        return self.data / "keys"

    @property
    def mlruns(self) -> Path:
        """The MLflow store."""
        return self.home / "mlruns"

    def for_source(self, source: str) -> Workspace:
        """Return the workspace a source is given when none is named.

        Raises
        ------
        CdpkitError
            When the name could leave the folder of workspaces.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", source):
            raise CdpkitError("a source name must be lower-case letters, digits, _ and -", got=repr(source))
        return Workspace(self.data / "workspaces" / source)

    def lake(self) -> Lake:
        """Return the lake for reading; a run returns it for writing."""
        from cdpkit.lake import Lake

        return Lake(self)
