"""Committed notebooks are programs one can read: no outputs, no functions, prose before code."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted([*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "dashboards").glob("*.ipynb")])
GROUPS = {"qui", "quoi", "quand", "ou"}


def _load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _source(cell: dict) -> str:
    return "".join(cell["source"])


def test_there_are_notebooks() -> None:
    """The core notebooks are committed."""
    topics = {path.stem for path in NOTEBOOKS}
    assert {"00_load", "10_identity", "20_features", "30_appetence", "50_audiences"} <= topics


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_carries_no_outputs(path: Path) -> None:
    """No outputs, no execution counts, a plain kernel, no machine path."""
    notebook = _load(path)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            assert not re.search(r"[\"'](/home|/root|/Users|C:\\\\)", _source(cell))
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_readable(path: Path) -> None:
    """No functions or classes, prose before code, cells and notebook of bounded size."""
    cells = _load(path)["cells"]
    assert cells[0]["cell_type"] == "markdown"
    code = [_source(cell) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) <= 16
    for source in code:
        assert len(source.splitlines()) <= 20
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_has_one_parameters_cell(path: Path) -> None:
    """Parameters are annotated, commented scalars, in one tagged cell."""
    tagged = [c for c in _load(path)["cells"] if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
    for line in _source(tagged[0]).splitlines():
        assert re.fullmatch(r"\w+: (str|int|float|bool) = .+  # .+", line), line


@pytest.mark.req("MAT-13")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_belongs_to_a_group(path: Path) -> None:
    """Each notebook and dashboard stands under Qui, Quoi, Quand or Où, or is said to prepare them all."""
    group = _load(path)["metadata"].get("cdpkit", {}).get("group")
    assert group in GROUPS | {"socle"}, f"{path.name}: metadata.cdpkit.group is {group!r}"
