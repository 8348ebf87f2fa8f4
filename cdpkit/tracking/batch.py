"""Score on Spark with a registered model, through MLflow's own UDF."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from cdpkit.tracking.registry import _required, check, example_rows, fetch
from cdpkit.tracking.store import HasStore, open_store


def score_on_spark(
    frame: Any,
    topic: str,
    version: str = "champion",
    *,
    as_of: object,
    workspace: HasStore | str | Path,
    keys: tuple[str, ...] = ("person_id",),
    folder: Path | None = None,
) -> Any:
    """Score the rows of a Spark frame where they are, with a model whose files were verified first.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        `keys` and the model's wire columns, numbers and texts; absent columns are missing values.
    topic, version : str
        Registered model, and number or alias.
    as_of : timestamp
        Date of the knowledge in the rows.
    workspace : Workspace or path
        Whose registry.
    keys : tuple of str
        Columns carried over.
    folder : Path, optional
        Where to put the copy of the model that the workers read; by default a folder of this machine that is
        removed when the process ends. On a cluster, one that every worker sees.

    Returns
    -------
    pyspark.sql.DataFrame
        The keys and the fields of the model's answer: ``score, percentile, decile, tier, reasons`` …

    Raises
    ------
    CdpkitError
        When there is no such version.
    IntegrityError
        When a file of the model is not what the registry recorded.

    Notes
    -----
    MLflow runs the stub of the stored model on each worker: cdpkit and mlflow must be installed there, in
    the versions that the model names.
    """
    from mlflow.pyfunc import load_model, spark_udf

    from cdpkit import serving

    store = open_store(workspace)
    entry = _required(store, topic, version)
    with tempfile.TemporaryDirectory() as scratch:
        found = fetch(store, entry, Path(scratch))
        check(store, entry, found)
        # Spark computes after this returns: its copy is one that nobody alters or takes away meanwhile.
        copy = (_until_the_end() if folder is None else folder) / "model"
        shutil.copytree(found, copy)
    check(store, entry, copy)
    spec = json.loads((copy / "artifacts" / "packed" / "serving.json").read_text(encoding="utf-8"))
    wire: dict[str, str] = spec["inputs"]
    asked = {"as_of": pd.Timestamp(as_of).isoformat(), "version": entry.version}  # type: ignore[arg-type]
    answer = load_model(str(copy)).predict(example_rows(wire), params=asked)
    fields = [f"{name} {serving.OUTPUTS[str(name)]}" for name in pd.DataFrame(answer).columns]
    score = spark_udf(
        frame.sparkSession,
        str(copy),
        result_type=", ".join(fields),
        env_manager="local",
        params=asked,
    )
    present = set(frame.columns)
    columns = [
        f"CAST(`{name}` AS {kind}) AS `{name}`" if name in present else f"CAST(NULL AS {kind}) AS `{name}`"
        for name, kind in wire.items()
    ]
    rows = frame.selectExpr(*(f"`{key}`" for key in keys), *columns)
    return rows.withColumn("answer", score(*wire)).selectExpr(*(f"`{key}`" for key in keys), "answer.*")


def _until_the_end() -> Path:
    """Return a folder that lives as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="cdpkit-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
