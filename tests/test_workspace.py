"""Where a workspace is, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpkit.errors import CdpkitError
from cdpkit.workspace import Workspace


def test_home_given_wins_over_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument, then CDPKIT_HOME, then the checkout above the current folder, then that folder."""
    monkeypatch.setenv("CDPKIT_HOME", str(tmp_path / "variable"))
    assert Workspace.open(tmp_path / "given").home == tmp_path / "given"
    assert Workspace.open("").home == tmp_path / "variable"
    monkeypatch.delenv("CDPKIT_HOME")
    inner = tmp_path / "checkout" / "notebooks" / "deep"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert Workspace.open().home == inner
    (tmp_path / "checkout" / "pyproject.toml").touch()
    assert Workspace.open().home == tmp_path / "checkout"


@pytest.mark.parametrize("name", ["a[1]", "a*", "what?", "source=shop"])
def test_refuses_a_path_the_engine_would_misread(tmp_path: Path, name: str) -> None:
    """A home DuckDB reads as a pattern or a partition is refused before anything is written."""
    with pytest.raises(CdpkitError, match="Rename the folder"):
        Workspace.open(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_every_path_is_below_home_and_none_is_made(tmp_path: Path) -> None:
    """Opening a workspace writes nothing."""
    workspace = Workspace.open(tmp_path / "new")
    paths = [getattr(workspace, name) for name in ("raw", "truth", "lake_path", "inbox", "published")]
    paths += [workspace.exports, workspace.outputs, workspace.mlruns, workspace.keys]
    assert len(set(paths)) == 9 and all(path.is_relative_to(workspace.home) for path in paths)
    assert workspace.lake().current() is None
    assert not workspace.home.exists()


def test_a_source_has_its_own_workspace(tmp_path: Path) -> None:
    """A source's workspace stays below `data/workspaces`, whatever its name tries."""
    assert Workspace.open(tmp_path).for_source("cdnow").home == tmp_path / "data" / "workspaces" / "cdnow"
    with pytest.raises(CdpkitError, match="source name"):
        Workspace.open(tmp_path).for_source("../elsewhere")
