"""Store a model so that it can be trusted later, and load it only if it still can."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from cdpkit.errors import CdpkitError, IntegrityError
from cdpkit.tracking.guard import refuse_values
from cdpkit.tracking.store import HasStore, Store, as_default, open_store

if TYPE_CHECKING:
    import pandas as pd

#: Libraries that scoring needs, pinned in every stored model as they are installed here.
PINNED = ("mlflow", "numpy", "pandas", "scikit-learn", "xgboost")

_FILES_TAG = "cdpkit.files"
# MLflow adds this file to a folder it resolves an alias to.
_ADDED_BY_MLFLOW = ("registered_model_meta",)


@dataclass(frozen=True)
class ModelVersion:
    """One version in the registry: `models:/<topic>/<version>`."""

    topic: str
    version: str
    mlflow_run: str
    model_id: str
    files: Mapping[str, str]

    @property
    def decided_by(self) -> str:
        """Return how scores name this model."""
        return f"{self.topic}:{self.version}"


@dataclass(frozen=True)
class LoadedModel:
    """A model whose files were those of the registry, ready to score."""

    model: Any
    topic: str
    version: str
    spec: Mapping[str, Any]


def store_model(
    store: Store,
    *,
    experiment: str,
    mlflow_run: str,
    topic: str,
    as_of: str,
    folder: Path,
    loader: str,
    inputs: pd.DataFrame | Mapping[str, str],
    extra: Mapping[str, Any],
) -> ModelVersion:
    """Write the stub, the data and their hashes, then register the version in one last call."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    from cdpkit import serving

    wire = dict(inputs) if isinstance(inputs, Mapping) else serving.wire_types(inputs)
    client = store.client()
    entry = client.create_logged_model(experiment, name=topic, source_run_id=mlflow_run)
    with tempfile.TemporaryDirectory() as scratch:
        source, packed, tree = (Path(scratch) / name for name in ("source", "packed", "tree"))
        shutil.copytree(folder, source)
        for name, content in extra.items():
            refuse_values(content, f"`{name}`")
            text = content if isinstance(content, str) else json.dumps(content, indent=1, ensure_ascii=False)
            (source / name).write_text(text, encoding="utf-8")
        serving.pack(source, packed, loader=loader, topic=topic, as_of=as_of, inputs=wire)
        card = Model(artifact_path=entry.artifact_location, run_id=mlflow_run, model_id=entry.model_id)
        _save_pyfunc(tree, packed, wire, card)
        files = serving.tree_hashes(tree)
        client.log_model_artifacts(entry.model_id, str(tree))
    client.finalize_logged_model(entry.model_id, "READY")
    client.log_outputs(mlflow_run, [LoggedModelOutput(entry.model_id, step=0)])
    return _register(store, topic, mlflow_run, entry.model_id, files)


def _save_pyfunc(tree: Path, packed: Path, wire: Mapping[str, str], card: Any) -> None:
    """Save the model folder in MLflow's format, from the stub."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    from cdpkit import serving

    kinds = {"double": DataType.double, "string": DataType.string}
    signature = ModelSignature(
        inputs=Schema([ColSpec(kinds[kind], name, required=False) for name, kind in wire.items()]),
        outputs=Schema(
            [ColSpec(kinds[kind], name, required=False) for name, kind in serving.OUTPUTS.items()]
        ),
        params=ParamSchema([ParamSpec(name, DataType.string, "") for name in ("as_of", "version")]),
    )
    stub = tree.with_name("stub.py")
    stub.write_text(serving.STUB, encoding="utf-8")
    with _without_chatter():
        mlflow.pyfunc.save_model(
            path=str(tree),
            python_model=str(stub),
            artifacts={"model": str(packed)},
            signature=signature,
            input_example=example_rows(wire),
            pip_requirements=requirements(),
            mlflow_model=card,
        )
    for cache in tree.rglob("__pycache__"):
        shutil.rmtree(cache)


def _without_chatter() -> Any:
    """Hold back MLflow's remarks while it saves: none is about the model."""
    from contextlib import contextmanager

    @contextmanager
    def quiet() -> Any:
        logger = logging.getLogger("mlflow")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)

    return quiet()


def requirements() -> list[str]:
    """Return the exact libraries a stored model asks for.

    Examples
    --------
    >>> requirements()[0].startswith("cdpkit==")
    True
    """
    from cdpkit import __version__

    return [f"cdpkit=={__version__}", *(f"{name}=={installed(name)}" for name in PINNED)]


def example_rows(wire: Mapping[str, str]) -> pd.DataFrame:
    """Return an input example made up from the types alone: no row of a customer.

    Examples
    --------
    >>> example_rows({"n_orders": "double", "device": "string"}).to_dict("records")[0]
    {'n_orders': 0.0, 'device': 'unknown'}
    """
    import pandas as pd

    made_up = {"double": [0.0, 1.0], "string": ["unknown", "unknown"]}
    return pd.DataFrame({name: made_up[kind] for name, kind in wire.items()})


def _register(store: Store, topic: str, run: str, model_id: str, files: dict[str, str]) -> ModelVersion:
    """Create the version with its hashes: either both are in the registry or none."""
    from mlflow.exceptions import MlflowException

    client = store.client()
    try:
        client.get_registered_model(topic)
    except MlflowException:
        client.create_registered_model(topic)
    with as_default(store):
        made = client.create_model_version(
            topic,
            source=f"models:/{model_id}",
            run_id=run,
            model_id=model_id,
            tags={_FILES_TAG: json.dumps(files, sort_keys=True)},
        )
    return ModelVersion(topic, str(made.version), run, model_id, files)


def find(store: Store, topic: str, version: str) -> ModelVersion | None:
    """Return a version by number or by alias, or None."""
    from mlflow.exceptions import MlflowException

    client = store.client()
    try:
        if str(version).isdigit():
            entry = client.get_model_version(topic, str(version))
        else:
            entry = client.get_model_version_by_alias(topic, version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    files = json.loads(entry.tags.get(_FILES_TAG, "{}"))
    model_id = entry.model_id or str(entry.source).removeprefix("models:/")
    return ModelVersion(topic, str(entry.version), str(entry.run_id), model_id, files)


def _required(store: Store, topic: str, version: str) -> ModelVersion:
    """Return a version that somebody asked for."""
    entry = find(store, topic, version) if store.exists() else None
    if entry is None:
        raise CdpkitError(
            f"`{topic}` must have a version {version!r}", got="none", do=f"Run `cdpkit run {topic}`"
        )
    return entry


def fetch(store: Store, version: ModelVersion, scratch: Path) -> Path:
    """Return a folder with the files of a version: its own when local, a download otherwise.

    Raises
    ------
    IntegrityError
        When the registry points outside the workspace's artifacts.
    """
    location = store.client().get_logged_model(version.model_id).artifact_location
    parts = urlparse(location)
    if parts.scheme not in ("", "file"):
        from mlflow.artifacts import download_artifacts

        return Path(download_artifacts(artifact_uri=location, dst_path=str(scratch), tracking_uri=store.uri))
    folder = Path(unquote(parts.path))
    if store.folder is not None and not folder.resolve().is_relative_to(store.folder.resolve()):
        raise IntegrityError(
            "a stored model must lie in the workspace's `mlruns`",
            got=f"another folder for {version.decided_by}",
            do="If the workspace was moved, run `cdpkit doctor --relocate`",
        )
    return folder


def check(store: Store, version: ModelVersion, folder: Path) -> None:
    """Raise unless the whole tree is what the registry recorded."""
    from cdpkit import serving

    if not version.files:
        raise IntegrityError(f"version {version.decided_by} must have recorded hashes", got="none")
    if not folder.is_dir():
        raise IntegrityError(f"the files of {version.decided_by} must exist", got="no folder")
    serving.check_hashes(serving.tree_hashes(folder, but=_ADDED_BY_MLFLOW), version.files, version.decided_by)


def verify(topic: str, version: str = "champion", *, workspace: HasStore | str | Path) -> ModelVersion:
    """Check every file of a stored model against the hashes in the registry.

    Parameters
    ----------
    topic : str
        Registered model.
    version : str
        Number or alias.
    workspace : Workspace or path
        Whose registry.

    Raises
    ------
    CdpkitError
        When there is no such version.
    IntegrityError
        When a file is altered, missing or was not there.
    """
    store = open_store(workspace)
    entry = _required(store, topic, version)
    with tempfile.TemporaryDirectory() as scratch:
        check(store, entry, fetch(store, entry, Path(scratch)))
    return entry


def load(topic: str, version: str = "champion", *, workspace: HasStore | str | Path) -> LoadedModel:
    """Load a stored model through our own loader, once the whole tree is verified.

    The stub is not run and nothing is unpickled. When the registry cannot be reached and the
    champion is asked for, the champion verified last is loaded from the workspace's copy.

    Parameters
    ----------
    topic : str
        Registered model.
    version : str
        Number or alias.
    workspace : Workspace or path
        Whose registry.

    Raises
    ------
    CdpkitError
        When there is no such version.
    IntegrityError
        When the tree is not what was recorded.
    """
    from mlflow.exceptions import MlflowException

    from cdpkit import serving

    store = open_store(workspace)
    try:
        entry = _required(store, topic, version)
    except MlflowException as error:
        kept = _kept_champion(workspace, topic) if version == "champion" else None
        if kept is None:
            raise CdpkitError("the model registry must answer", got=type(error).__name__) from error
        logging.getLogger(__name__).warning("registry out of reach: %s champion kept here is used", topic)
        model, spec = serving.unpack(kept / "artifacts" / "packed")
        return LoadedModel(model, topic, kept.name, spec)
    with tempfile.TemporaryDirectory() as scratch:
        folder = fetch(store, entry, Path(scratch))
        check(store, entry, folder)
        model, spec = serving.unpack(folder / "artifacts" / "packed")
    return LoadedModel(model, topic, entry.version, spec)


def champions(workspace: HasStore | str | Path) -> list[str]:
    """Return the topics that have a champion."""
    store = open_store(workspace)
    if not store.exists():
        return []
    return [m.name for m in store.client().search_registered_models() if "champion" in m.aliases]


def _keep_folder(workspace: HasStore | str | Path, topic: str) -> Path:
    """Return where copies of champions are kept; beside the store, whatever its address."""
    root = Path(workspace) / "mlruns" if isinstance(workspace, str | Path) else workspace.mlruns
    return root / "artifacts" / ".champions" / topic


def keep_champion(workspace: HasStore | str | Path, entry: ModelVersion) -> None:
    """Copy a verified champion beside the store, for the day the registry does not answer."""
    store, root = open_store(workspace), _keep_folder(workspace, entry.topic)
    target = root / entry.version
    if not target.exists():
        with tempfile.TemporaryDirectory() as scratch:
            root.mkdir(parents=True, exist_ok=True)
            partial = root / f".{entry.version}.tmp"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(fetch(store, entry, Path(scratch)), partial)
        check(store, entry, partial)
        partial.replace(target)
    record = root / "champion.json.tmp"
    record.write_text(json.dumps({"version": entry.version, "files": dict(entry.files)}), encoding="utf-8")
    record.replace(root / "champion.json")
    for old in root.iterdir():
        if old.is_dir() and old != target:
            shutil.rmtree(old)


def _kept_champion(workspace: HasStore | str | Path, topic: str) -> Path | None:
    """Return the folder of the champion kept here, verified again, or None."""
    from cdpkit import serving

    root = _keep_folder(workspace, topic)
    if not (root / "champion.json").exists():
        return None
    record = json.loads((root / "champion.json").read_text(encoding="utf-8"))
    folder = root / record["version"]
    serving.check_hashes(
        serving.tree_hashes(folder, but=_ADDED_BY_MLFLOW), record["files"], f"{topic}:{record['version']}"
    )
    return folder
