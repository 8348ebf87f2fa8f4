"""What a registered model runs when it is served: read JSON, check its hashes, score.

A stored model is a folder of data (JSON, arrays) and a stub of three lines that imports
`ScoringModel` from here; nothing in it is pickled. The folder's ``serving.json`` names the loader,
the wire columns and the SHA-256 of every other file.

Notes
-----
MLflow executes the stub it finds in a stored model. `ScoringModel` checks its data, not its stub;
`cdpkit.tracking.load` checks both against the registry and runs no stub at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.pyfunc import PythonModel

from cdpkit.errors import CdpkitError, IntegrityError
from cdpkit.lake.files import digest

#: The only classes a stored model may name: each has ``load(folder)`` and ``score(X, as_of, version)``.
LOADERS = {"cdpkit.models.Scorer", "cdpkit.models.ValueScorer"}

STUB = """\
from mlflow.models import set_model
from cdpkit.serving import ScoringModel
set_model(ScoringModel())
"""

#: What comes back over the wire, in this order; fields a model does not have are left out.
OUTPUTS = {
    "score": "double",
    "percentile": "double",
    "decile": "double",
    "tier": "string",
    "resemblance": "double",
    "reasons": "string",
    "decided_by": "string",
    "reference_population": "string",
    "model": "string",
    "version": "string",
}

_SPEC = "serving.json"


def tree_hashes(folder: Path, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by its relative path.

    Raises
    ------
    IntegrityError
        When the tree holds a link: what it leads to could change behind the hash.
    """
    hashes = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise IntegrityError("a stored model must hold plain files", got=f"a link, {name}")
        if path.is_file() and name not in but:
            hashes[name] = digest(path)
    return hashes


def check_hashes(found: Mapping[str, str], recorded: Mapping[str, str], what: str) -> None:
    """Compare two trees.

    Raises
    ------
    IntegrityError
        Naming every file that is altered, missing or was not there.

    Examples
    --------
    >>> check_hashes({"a": "1"}, {"a": "2", "b": "3"}, "model x")
    Traceback (most recent call last):
    ...
    cdpkit.errors.IntegrityError: the files of model x must be those recorded; got altered: a; missing: b...
    """
    differences = {
        "altered": sorted(n for n in found.keys() & recorded.keys() if found[n] != recorded[n]),
        "missing": sorted(recorded.keys() - found.keys()),
        "unknown": sorted(found.keys() - recorded.keys()),
    }
    faults = [f"{kind}: {', '.join(names)}" for kind, names in differences.items() if names]
    if faults:
        raise IntegrityError(
            f"the files of {what} must be those recorded",
            got="; ".join(faults),
            do="Do not use it; log it again",
        )


def pack(
    source: Path, target: Path, *, loader: str, topic: str, as_of: str, inputs: Mapping[str, str]
) -> None:
    """Copy a saved model to `target` with the description its wrapper needs.

    Parameters
    ----------
    source : Path
        What the model's ``save`` wrote.
    target : Path
        A folder that does not exist yet.
    loader : str
        A member of `LOADERS`.
    topic, as_of : str
        Registered name, and date of the knowledge the model was fitted on.
    inputs : mapping
        Wire columns, ``"double"`` or ``"string"``.

    Raises
    ------
    CdpkitError
        When the loader or a wire type is not allowed, or a file could carry code.
    """
    if loader not in LOADERS:
        raise CdpkitError(
            "`loader` must be on the fixed list", got=repr(loader), do=f"One of {sorted(LOADERS)}"
        )
    wrong = sorted(set(inputs.values()) - {"double", "string"})
    if wrong or not inputs:
        raise CdpkitError("wire columns must be double or string", got=", ".join(wrong) or "no columns")
    allowed = {".json", ".ubj", ".npy", ".parquet", ".txt", ".md", ".csv"}
    odd = sorted(p.name for p in source.rglob("*") if p.is_file() and p.suffix not in allowed)
    if odd:
        raise CdpkitError("a stored model must be data only", got=", ".join(odd), do="Save JSON or arrays")
    shutil.copytree(source, target)
    spec = {
        "format": 1,
        "loader": loader,
        "topic": topic,
        "as_of": as_of,
        "inputs": dict(inputs),
        "files": tree_hashes(target, but=(_SPEC,)),
    }
    (target / _SPEC).write_text(json.dumps(spec, indent=1), encoding="utf-8")


def unpack(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return the model kept in a folder, and its description, once its hashes are checked.

    Raises
    ------
    IntegrityError
        When a file is not what was packed, or the loader is not on the list.
    """
    spec = json.loads((folder / _SPEC).read_text(encoding="utf-8"))
    check_hashes(tree_hashes(folder, but=(_SPEC,)), spec["files"], f"model {spec['topic']}")
    if spec["loader"] not in LOADERS:
        raise IntegrityError("a stored model must name a loader on the fixed list", got=repr(spec["loader"]))
    module, _, name = spec["loader"].rpartition(".")
    return getattr(import_module(module), name).load(folder), spec


def wire_types(X: pd.DataFrame) -> dict[str, str]:
    """Return the wire type of each column: numbers and flags as doubles, the rest as strings.

    Examples
    --------
    >>> wire_types(pd.DataFrame({"n_orders": [1], "device": ["mobile"]}))
    {'n_orders': 'double', 'device': 'string'}
    """
    is_number = pd.api.types.is_numeric_dtype
    return {str(name): "double" if is_number(dtype) else "string" for name, dtype in X.dtypes.items()}


def from_wire(frame: pd.DataFrame, inputs: Mapping[str, str]) -> pd.DataFrame:
    """Return the model's columns in its order: absent ones missing, doubles float64, strings str."""
    columns: dict[str, Any] = {}
    for name, kind in inputs.items():
        column = frame[name] if name in frame else pd.Series([None] * len(frame), index=frame.index)
        if kind == "double":
            columns[name] = pd.to_numeric(column).astype("float64")
        else:
            columns[name] = column.where(column.notna(), None).astype("str")
    return pd.DataFrame(columns, index=frame.index)


def to_wire(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the fields of `OUTPUTS` as doubles and strings; lists become JSON."""
    columns: dict[str, Any] = {}
    for name, kind in OUTPUTS.items():
        if name not in scores:
            continue
        if kind == "double":
            columns[name] = scores[name].astype("float64")
        else:
            columns[name] = scores[name].map(_text).astype("str")
    return pd.DataFrame(columns).reset_index(drop=True)


def _text(value: Any) -> str:
    """Return one output value as text."""
    if isinstance(value, str):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    return "" if value is None or value != value else json.dumps(value, ensure_ascii=False, default=str)


class ScoringModel(PythonModel):
    """Serve a model of `LOADERS` through MLflow.

    Notes
    -----
    Input: the wire columns, any of them absent or missing. Output: the fields of `OUTPUTS`, one row
    an input row, in the same order. Parameters of a call: ``as_of`` (ISO date) and ``version``.
    """

    def load_context(self, context: Any) -> None:
        """Read the model from its verified data."""
        self._model, self._spec = unpack(Path(context.artifacts["model"]))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Score each row."""
        asked = {key: value for key, value in (params or {}).items() if value}
        as_of = pd.Timestamp(asked.get("as_of", self._spec["as_of"])).as_unit("us")
        X = from_wire(pd.DataFrame(model_input), self._spec["inputs"]).reset_index(drop=True)
        return to_wire(self._model.score(X, as_of=as_of, version=str(asked.get("version", ""))))
