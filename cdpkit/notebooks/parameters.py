"""Find a notebook by its topic, and check its parameters before anything runs."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cdpkit.errors import NotebookError

Scalar = str | int | float | bool

_NAME = re.compile(r"(\d\d)_([a-z][a-z0-9_]*)\.ipynb")
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
_FLAGS = {
    "true": True,
    "yes": True,
    "1": True,
    "oui": True,
    "false": False,
    "no": False,
    "0": False,
    "non": False,
}


@dataclass(frozen=True)
class Parameter:
    """A scalar of a notebook's parameters cell: its type, default and comment."""

    name: str
    type: str
    default: Scalar
    help: str


def default_folder() -> Path:
    """Return the folder of notebooks: ``CDPKIT_NOTEBOOKS``, the nearest project's, or the checkout's."""
    named = os.environ.get("CDPKIT_NOTEBOOKS", "")
    if named:
        return Path(named).absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
            return folder / "notebooks"
    return Path(__file__).resolve().parents[2] / "notebooks"


def available(folder: Path | None = None) -> dict[str, Path]:
    """Return the notebooks of a folder by topic, in the order of their numbers."""
    folder = default_folder() if folder is None else folder
    found = ((_NAME.fullmatch(path.name), path) for path in sorted(folder.glob("*.ipynb")))
    return {match[2]: path for match, path in found if match}


def find(topic: str, folder: Path | None = None) -> Path:
    """Return the notebook ``NN_topic.ipynb``.

    Parameters
    ----------
    topic : str
        ``"appetence"``, or the file name with its number.
    folder : Path, optional
        Where to look.

    Raises
    ------
    NotebookError
        When there is none, with the nearest topic.
    """
    topics = available(folder)
    wanted = re.sub(r"^\d\d_|\.ipynb$", "", topic)
    if wanted not in topics:
        raise NotebookError(
            "a notebook must exist for the topic", got=repr(topic), do=_hint(wanted, list(topics))
        )
    return topics[wanted]


def declared(path: Path) -> dict[str, Parameter]:
    """Return what the parameters cell of a notebook declares.

    Raises
    ------
    NotebookError
        When the notebook has not exactly one cell tagged ``parameters``, or a line of it is not
        ``name: type = constant`` with type str, int, float or bool.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1:
        raise NotebookError(f"{path.name} must have one cell tagged `parameters`", got=str(len(tagged)))
    source = "".join(tagged[0]["source"])
    found, faults = {}, []
    for node in ast.parse(source).body:
        parameter = _parameter(node, source.splitlines())
        if parameter is None:
            faults.append(f"line {node.lineno}")
        else:
            found[parameter.name] = parameter
    if faults:
        raise NotebookError(
            f"parameters of {path.name} must read `name: type = constant  # meaning`", got=", ".join(faults)
        )
    return found


def _parameter(node: ast.stmt, lines: Sequence[str]) -> Parameter | None:
    """Read one annotated line, or None when it is something else."""
    if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None):
        return None
    kind = ast.unparse(node.annotation)
    try:
        default: Any = ast.literal_eval(node.value)
    except ValueError:
        return None
    if kind not in _TYPES or type(default).__name__ != kind:
        return None
    comment = lines[node.lineno - 1][node.end_col_offset :].partition("#")[2].strip()
    return Parameter(node.target.id, kind, default, comment)


def typed(given: Mapping[str, Any], parameters: Mapping[str, Parameter], notebook: str) -> dict[str, Scalar]:
    """Return the values given, each in its declared type.

    Parameters
    ----------
    given : mapping
        Values, or texts as a command line has them.
    parameters : mapping
        What the notebook declares.
    notebook : str
        For messages.

    Raises
    ------
    NotebookError
        Naming every unknown name, with the nearest known one, and every value of another type.

    Examples
    --------
    >>> seed = {"seed": Parameter("seed", "int", 0, "randomness")}
    >>> typed({"seed": "7"}, seed, "30_appetence")
    {'seed': 7}
    >>> typed({"sead": "7"}, seed, "30_appetence")
    Traceback (most recent call last):
    ...
    cdpkit.errors.NotebookError: parameters of 30_appetence must be those it declares; got unknown `sead`...
    """
    values: dict[str, Scalar] = {}
    faults, unknown = [], []
    for name, value in given.items():
        if name not in parameters:
            unknown.append(name)
            faults.append(f"unknown `{name}`")
            continue
        try:
            values[name] = _convert(value, parameters[name].type)
        except (TypeError, ValueError):
            faults.append(f"`{name}` that is no {parameters[name].type}")
    if faults:
        raise NotebookError(
            f"parameters of {notebook} must be those it declares",
            got="; ".join(faults),
            do=" ".join(_hint(name, list(parameters)) for name in unknown) or None,
        )
    return values


def _convert(value: Any, kind: str) -> Scalar:
    """Return a value in its declared type; a text is read, any other type must fit already."""
    if kind == "bool":
        if isinstance(value, str) and value.lower() in _FLAGS:
            return _FLAGS[value.lower()]
        return value if isinstance(value, bool) else _refuse()
    if isinstance(value, bool):
        return _refuse()
    if kind == "str":
        return value if isinstance(value, str) else _refuse()
    if kind == "int":
        return int(value) if isinstance(value, str | int) else _refuse()
    return float(value)


def _refuse() -> Scalar:
    """Say that a value does not fit."""
    raise ValueError


def _hint(name: str, known: list[str]) -> str:
    """Return the nearest known name as a question, or all of them."""
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(known) or 'none'}"
