"""The documents tell the truth about the project."""

from __future__ import annotations

import ast
import importlib
import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "notebooks/README.md")


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_named_in_documents_exist(name: str) -> None:
    """Every `make x` a document shows is a target."""
    targets = set(re.findall(r"^([a-z]+):", _text("Makefile"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)", _text(name))) | set(
        re.findall(r"^make ([a-z]+)", _text(name), re.M)
    )
    assert named <= targets


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_named_in_documents_exist(name: str) -> None:
    """Every file or folder of the repository that a document names is there."""
    made_by_runs = ("data/", "mlruns/", "tests/benchmarks/results/", ".venv/")
    for path in re.findall(
        r"`((?:cdpkit|notebooks|tests|dashboards|docs|data|mlruns)/[\w./-]*)`", _text(name)
    ):
        if not path.startswith(made_by_runs):
            assert (ROOT / path).exists(), f"{name} names {path}"


def test_architecture_names_every_room() -> None:
    """ARCHITECTURE.md lists every module and package of cdpkit."""
    rooms = {
        p.name.removesuffix(".py") for p in (ROOT / "cdpkit").iterdir() if p.suffix == ".py" or p.is_dir()
    }
    rooms -= {"__init__", "__pycache__"}
    text = _text("ARCHITECTURE.md")
    assert {room for room in rooms if f"`{room}`" not in text} == set()


def test_every_command_is_described_in_the_readme() -> None:
    """Each command of the command line appears in the README."""
    typer_app = importlib.import_module("cdpkit.cli").app
    names = {c.name or c.callback.__name__.replace("_", "-") for c in typer_app.registered_commands}
    text = _text("README.md")
    assert {name for name in names if f"cdpkit {name}" not in text} == set()


def test_lock_pins_every_requirement_and_carries_no_address() -> None:
    """The lock names each direct dependency once, pinned, without an index address."""
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    wanted = project["dependencies"] + [
        r for extra in ("workbench", "test") for r in project["optional-dependencies"][extra]
    ]
    lines = _text("requirements.lock").splitlines()
    pinned = {line.split("==")[0].lower() for line in lines}
    assert all("==" in line for line in lines)
    assert not [line for line in lines if "://" in line or "--hash" in line or line.startswith("-")]
    names = {re.split(r"[>=<\[]", r)[0].lower().replace("_", "-") for r in wanted}
    assert names <= {name.replace("_", "-") for name in pinned}


def test_the_readme_quotes_the_measured_figures() -> None:
    """Each row of the README's benchmark table is the results file's, to its last digit."""
    results = json.loads(_text("tests/benchmarks/results/appetence.json"))["results"]
    text = _text("README.md")
    for name, result in results.items():
        if "figures" in result:
            loss = next(f["value"] for f in result["figures"] if f["metric"] == "log_loss")
            gap = result["log_loss_minus_peer"]
            assert f"| {name} | {loss:.4f} |" in text
            assert f"{gap['mean']:+.4f} ± {gap['se']:.4f}" in text


def test_the_readme_quotes_the_identity_figures() -> None:
    """Each row of the README's identity table is the results file's."""
    results = json.loads(_text("tests/benchmarks/results/identity.json"))["results"]
    told = _text("README.md")
    table = told[told.index("| records | B³ | pairwise F1 | Splink B³") :].split("\n\n", 1)[0]
    rows = table.splitlines()
    assert len(rows) == len(results) + 2, "every measured set is quoted"
    for line in rows[2:]:
        name, b3, pairs = (part.strip() for part in line.split("|")[1:4])
        assert (b3, pairs) == tuple(f"{results[name]['ours'][m]:.4f}" for m in ("b3_f1", "pair_f1")), name


def test_every_public_object_has_a_docstring() -> None:
    """Public modules, classes and functions of the package say what they are."""
    missing = []
    for path in sorted((ROOT / "cdpkit").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if ast.get_docstring(tree) is None:
            missing.append(str(path.relative_to(ROOT)))
        public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name[0] != "_"]
        missing += [f"{path.relative_to(ROOT)}:{n.name}" for n in public if ast.get_docstring(n) is None]
    assert missing == []
