"""A night's last steps and its memory: what is done under the lock, told when it fails, and seen as stale."""

from __future__ import annotations

import importlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cdpkit import decisions, notebooks
from cdpkit.errors import LockHeldError
from cdpkit.lake.lock import holder
from cdpkit.notebooks import Verdict, checkpoint, nightly
from cdpkit.notebooks.runner import Session
from cdpkit.run import Run
from cdpkit.workspace import Workspace

night_module = importlib.import_module("cdpkit.notebooks.nightly")
CELL = {"cell_type": "code", "execution_count": None, "outputs": [], "id": "a"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the notebook of one step, which is not executed but held to be good."""
    monkeypatch.delenv("CDPKIT_RUN_TOKEN", raising=False)
    cell = CELL | {"source": 'path: str = ""  # file', "metadata": {"tags": ["parameters"]}}
    content = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_load.ipynb").write_text(json.dumps(content))
    verdict = Verdict("load", "ok", mlflow_runs=("m1",))

    def execute(session: Session, *_: Any) -> Verdict:
        session.outputs.mkdir(parents=True, exist_ok=True)
        return verdict

    monkeypatch.setattr(Session, "execute", execute)
    return tmp_path / "notebooks"


@pytest.mark.parametrize("step", ["apply_promotions", "reap"])
def test_mlflow_failing_after_publication_is_told_and_holds_no_lock(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Aliases move and dead runs are marked under the night's lock; a failure of theirs is in the report."""
    workspace = Workspace.open(tmp_path / "home")
    under: list[bool] = []

    def works(*_: Any, **__: Any) -> list[str]:
        under.append(holder(workspace.lake_path / "LOCK") is not None)
        with pytest.raises(LockHeldError):
            Run.begin(workspace, "other")
        return ["appetence 3"]

    def fails(*_: Any, **__: Any) -> None:
        works()
        raise RuntimeError("z@example.fr")

    for name in ("apply_promotions", "reap"):
        monkeypatch.setattr(night_module, name, fails if name == step else works)
    night = nightly(workspace, folder=folder)
    assert night.status == "failed" and night.snapshot == "s000001" and all(under)
    assert night.reason.startswith("published, but") and "RuntimeError" in night.reason
    page = night.report.read_text()
    assert "published, but" in page and "z@example.fr" not in page
    assert night.promoted == (("appetence 3",) if step == "reap" else ())
    assert holder(workspace.lake_path / "LOCK") is None


def test_a_night_and_a_notebook_take_decisions_in(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in the inbox is in the table of the snapshot they publish, and waits no more."""
    workspace = Workspace.open(tmp_path / "home")
    monkeypatch.setattr(night_module, "apply_promotions", lambda *_: [])
    monkeypatch.setattr(night_module, "reap", lambda *_, **__: [])
    monkeypatch.setattr("cdpkit.notebooks.runner.apply_promotions", lambda *_: [])
    for day, work in enumerate((lambda: nightly(workspace, folder=folder),
                                lambda: notebooks.run("load", workspace=workspace, folder=folder)), start=1):  # fmt: skip
        decisions.record(
            workspace, kind="threshold", subject="appetence", content={"hot": day}, author="ines",
            decided_at=datetime(2026, 1, day),
        )  # fmt: skip
        work()
        assert len(workspace.lake().read("decisions").to_arrow()) == day
        assert decisions.pending(workspace) == []


def test_a_step_without_a_path_depends_on_the_raw_files(folder: Path, tmp_path: Path) -> None:
    """A resumed night does not keep a load of files that changed since."""
    raw, other = tmp_path / "raw", tmp_path / "other.csv"
    raw.mkdir()
    (raw / "a.csv").write_text("1")
    other.write_text("1")
    notebook = folder / "00_load.ipynb"
    unnamed = [checkpoint.key(notebook, values, raw) for values in ({}, {"path": ""})]
    named = checkpoint.key(notebook, {"path": str(other)}, raw)
    (raw / "a.csv").write_text("12")
    assert not set(unnamed) & {checkpoint.key(notebook, values, raw) for values in ({}, {"path": ""})}
    assert named == checkpoint.key(notebook, {"path": str(other)}, raw)
