"""The folders a lake works in, as a workspace names them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Places(Protocol):
    """What the lake asks of a workspace; `cdpkit.workspace.Workspace` is one."""

    @property
    def home(self) -> Path:
        """The workspace."""

    @property
    def data(self) -> Path:
        """Everything erasure searches."""

    @property
    def lake_path(self) -> Path:
        """The lake's own folder."""

    @property
    def inbox(self) -> Path:
        """Decisions waiting."""

    @property
    def mlruns(self) -> Path:
        """The MLflow store, which erasure searches too."""

    @property
    def published(self) -> Path:
        """Pages."""

    @property
    def keys(self) -> Path:
        """Secrets, out of the lake."""
