"""The plan of the house: imports only go down, and each heavy library has one owner."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "cdpkit"

# A room may import rooms of a lower number; rooms of one number do not know each other,
# except for the pairs listed in NEIGHBOURS (left may import right).
LEVELS = {
    "__init__": 0,
    "disclosure": 0,
    "errors": 0,
    "glossary": 0,
    "phrases": 0,
    "scrub": 0,
    "sensitive": 0,
    "texts": 0,
    "normalise": 1,
    "schema": 1,
    "definitions": 2,
    "lake": 3,
    "workspace": 4,
    "decisions": 5,
    "engine": 5,
    "run": 6,
    "sources": 7,
    "world": 7,
    "consent": 7,
    "identity": 8,
    "metrics": 8,
    "quality": 8,
    "features": 9,
    "evaluate": 9,
    "segments": 10,
    "enrich": 10,
    "maturity": 11,
    "models": 10,
    "plots": 11,
    "governance": 11,
    "serving": 12,
    "tracking": 13,
    "ui": 14,
    "notebooks": 15,
    "cli": 16,
}

# Numeric rooms know no lake, no tracking and no drawing.
PURE = {"models", "evaluate", "plots", "definitions", "schema", "errors"}
FORBIDDEN_TO_PURE = {"lake", "engine", "run", "workspace", "features", "identity", "sources", "tracking"}

OWNERS = {
    "mlflow": {"tracking", "serving"},
    "papermill": {"notebooks"},
    "plotly": {"plots", "ui"},
    "deltalake": {"lake"},
    "voila": {"ui"},
    "ipywidgets": {"ui"},
    "splink": {"identity"},
    "pyspark": {"engine"},
    "xgboost": {"models"},
    "shap": {"models", "plots"},
    "typer": {"cli"},
    "faiss": {"models"},
}

LIGHT_IMPORT_REFUSES = {*OWNERS, "pandas", "numpy", "duckdb", "pyarrow", "sklearn", "scipy"}


def _room(path: Path) -> str:
    """Name the room a file belongs to: its first folder, or itself."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


class _Running(ast.NodeTransformer):
    """Leave out what only a type checker reads: the name of an argument's type pulls nothing in."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else node


def _imports(path: Path) -> set[str]:
    """Return the dotted names a file imports when it runs, at any depth of the code."""
    names: set[str] = set()
    for node in ast.walk(_Running().visit(ast.parse(path.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; spell it cdpkit.…"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "cdpkit" else {module}
    return names


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    """A file imports its own room or rooms below it."""
    room = _room(path)
    for name in _imports(path):
        if not name.startswith("cdpkit."):
            continue
        other = name.split(".")[1]
        assert other in LEVELS or other == "__version__", f"{name} is in no known room"
        if other in (room, "__version__"):
            continue
        assert LEVELS[other] < LEVELS[room], f"{path.name} in {room} imports {other}, which is not below it"
        if room in PURE:
            assert other not in FORBIDDEN_TO_PURE, f"{room} stays numeric: it may not import {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_have_one_owner(path: Path) -> None:
    """Only the owner of a heavy library imports it."""
    for name in _imports(path):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or _room(path) in owners, f"{name} belongs to {owners}, not to {_room(path)}"


def test_importing_the_package_is_light() -> None:
    """`import cdpkit` pulls no heavy library."""
    code = f"import sys, cdpkit; print(sorted({LIGHT_IMPORT_REFUSES!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_room_has_a_level() -> None:
    """A new room is given its place in the plan."""
    rooms = {_room(path) for path in FILES}
    assert rooms <= set(LEVELS), f"give these rooms a level: {rooms - set(LEVELS)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_reads_the_clock(path: Path) -> None:
    """Time is an argument: only the command line may ask what day it is."""
    if _room(path) == "cli":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}:
            owner = ast.unparse(node.value)
            assert owner.split(".")[-1] not in {"datetime", "date", "Timestamp"}, (
                f"{path.name}:{node.lineno} reads the clock; take the time as an argument"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_is_pickled(path: Path) -> None:
    """No module that can execute code while loading data is imported."""
    for name in _imports(path):
        assert name.split(".")[0] not in {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
