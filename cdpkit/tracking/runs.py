"""One MLflow run of a notebook: what it was asked, what it found, the model it made."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cdpkit.errors import CdpkitError
from cdpkit.tracking import promotion
from cdpkit.tracking.guard import KEYS, refuse_customers, refuse_values
from cdpkit.tracking.registry import ModelVersion, store_model
from cdpkit.tracking.store import HasStore, Store, open_store, prepare, process_tags, reap

if TYPE_CHECKING:
    import pandas as pd

#: Set by the runner: the file the notebook's last cell writes. Beside it, with this suffix, a
#: notebook leaves the ids of its MLflow runs, which the runner brings to their end.
SENTINEL = "CDPKIT_SENTINEL"
RUNS_SUFFIX = ".mlflow"


class TrackedRun:
    """A run in progress; use `start`, and `finish` once the work is done.

    As a context manager it finishes on success and fails on an exception. Under the runner it stays
    RUNNING until the runner has judged the notebook: a crashed notebook must not look finished.
    """

    def __init__(
        self, store: Store, workspace: HasStore | str | Path, mlflow_run: str, topic: str, as_of: str
    ):
        self.store, self.workspace = store, workspace
        self.id, self.topic, self.as_of = mlflow_run, topic, as_of
        self._client = store.client()

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log numbers; each ``test_x`` comes with its ``baseline_x``.

        Raises
        ------
        CdpkitError
            When a test metric stands alone: a number without what it must beat says nothing.
        """
        from mlflow.entities import Metric

        alone = sorted(m for m in metrics if m.startswith("test_") and f"baseline_{m[5:]}" not in metrics)
        if alone:
            raise CdpkitError(
                "each `test_` metric must come with its `baseline_`",
                got=", ".join(alone),
                do="Log what the rule reaches on the same rows",
            )
        known = [Metric(name, float(v), 0, 0) for name, v in metrics.items() if not math.isnan(float(v))]
        for name in sorted(set(metrics) - {metric.key for metric in known}):
            self._client.set_tag(self.id, f"undefined.{name}", "not a number")
        self._client.log_batch(self.id, metrics=known)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log the notebook's parameters; personal values are refused."""
        from mlflow.entities import Param

        refuse_values(dict(params), "parameters")
        self._client.log_batch(
            self.id, params=[Param(name, str(value)[:500]) for name, value in params.items()]
        )

    def log_table(self, name: str, frame: pd.DataFrame) -> None:
        """Log a small table as JSON; rows of customers are refused."""
        refuse_customers(frame, name)
        records = json.loads(frame.to_json(orient="records", date_format="iso"))
        self._client.log_dict(self.id, {"records": records}, f"tables/{name}.json")

    def log_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Log a description as JSON."""
        refuse_values(content, f"`{name}`")
        self._client.log_dict(self.id, dict(content), f"{name}.json")

    def log_text(self, name: str, text: str) -> None:
        """Log a text, for instance a model card in Markdown."""
        refuse_values(text, f"`{name}`")
        self._client.log_text(self.id, text, name)

    def log_figure(self, name: str, figure: Any) -> None:
        """Log a plotly figure as JSON."""
        content = json.loads(figure.to_json())
        refuse_values(content, f"figure `{name}`")
        self._client.log_dict(self.id, content, f"figures/{name}.json")

    def log_model(
        self,
        folder: str | Path,
        *,
        inputs: pd.DataFrame | Mapping[str, str] | Sequence[Mapping[str, str]],
        loader: str = "cdpkit.models.Scorer",
        extra: Mapping[str, Any] | None = None,
    ) -> ModelVersion:
        """Store a saved model and register it as a version of the topic.

        Parameters
        ----------
        folder : path
            What the model's ``save`` wrote: JSON and arrays.
        inputs : DataFrame, mapping or sequence
            The training frame, of which only column names and types are read; or the wire types, as
            name to type or as `Scorer.wire` gives them.
        loader : str
            Dotted class on serving's fixed list.
        extra : mapping, optional
            Files to keep with the model: name to JSON content or text (definition, model card).

        Returns
        -------
        ModelVersion
            Registered, with the hashes of its files; it has no alias until `promote`.
        """
        if isinstance(inputs, Sequence):
            inputs = {column["name"]: column["type"] for column in inputs}
        odd = sorted({str(name) for name in inputs} & KEYS)
        if odd:
            raise CdpkitError("a model's inputs must be features", got=f"columns {', '.join(odd)}")
        experiment = self._client.get_run(self.id).info.experiment_id
        version = store_model(
            self.store,
            experiment=experiment,
            mlflow_run=self.id,
            topic=self.topic,
            as_of=self.as_of,
            folder=Path(folder),
            loader=loader,
            inputs=inputs,
            extra=extra or {},
        )
        self._client.set_tag(self.id, "cdpkit.version", version.version)
        return version

    def promote(self, version: str, comparison: promotion.Comparison | None = None) -> promotion.Promotion:
        """Judge a version of this run; see `cdpkit.tracking.promote`."""
        return promotion.promote(self.topic, version, comparison, workspace=self.workspace)

    def finish(self) -> None:
        """Say that the work is done: by hand, end the run and move the aliases decided."""
        self._client.set_tag(self.id, "cdpkit.work", "done")
        if SENTINEL not in os.environ:
            settle(self.workspace, [self.id], ok=True)
            apply_promotions(self.workspace, [self.id])

    def fail(self, reason: str) -> None:
        """End the run as FAILED."""
        settle(self.workspace, [self.id], ok=False, reason=reason)

    def __enter__(self) -> TrackedRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.fail(kind.__name__)


def start(
    topic: str,
    *,
    as_of: str,
    workspace: HasStore | str | Path,
    run_id: str,
    params: Mapping[str, Any] | None = None,
    snapshot: str = "",
    notebook: str = "",
    commit: str | None = None,
) -> TrackedRun:
    """Begin a run of `topic`, named ``topic@as_of``.

    Parameters
    ----------
    topic : str
        Experiment, registered model and notebook: one word.
    as_of : str
        Date of the knowledge used, ISO.
    workspace : Workspace or path
        Whose store.
    run_id : str
        The product's run.
    params : mapping, optional
        The notebook's parameters.
    snapshot : str
        The lake's snapshot read.
    notebook : str
        File name of the notebook.
    commit : str, optional
        Version of the code; by default what git says.

    Returns
    -------
    TrackedRun
        RUNNING. Runs of the topic left RUNNING by dead processes are marked FAILED first.
    """
    store = open_store(workspace)
    prepare(store)
    reap(workspace, topic=topic)
    refuse_values(dict(params or {}), "parameters")
    # Under the runner the parent ends this run, so it is the parent that must be alive.
    owner = os.getppid() if SENTINEL in os.environ else os.getpid()
    tags = {
        "as_of": as_of,
        "snapshot": snapshot,
        "git_commit": _commit() if commit is None else commit,
        "notebook": notebook,
        "run_id": run_id,
        **process_tags(owner),
    }
    made = store.client().create_run(store.experiment(topic), run_name=f"{topic}@{as_of[:10]}", tags=tags)
    if SENTINEL in os.environ:
        with open(os.environ[SENTINEL] + RUNS_SUFFIX, "a", encoding="utf-8") as file:
            file.write(made.info.run_id + "\n")
    run = TrackedRun(store, workspace, made.info.run_id, topic, as_of)
    run.log_params(params or {})
    return run


def _commit() -> str:
    """Return the version of the code as git names it, or nothing outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def settle(
    workspace: HasStore | str | Path, mlflow_runs: Iterable[str], *, ok: bool, reason: str = ""
) -> None:
    """Give MLflow runs their final status, whatever the notebook left: the runner's last word.

    Parameters
    ----------
    workspace : Workspace or path
        Whose store.
    mlflow_runs : iterable of str
        Ids of MLflow runs.
    ok : bool
        Whether the notebook did its work. Otherwise the runs are FAILED and what they wanted to
        promote is dropped.
    reason : str
        Kept as a tag of a failed run; a kind, not a message.
    """
    store = open_store(workspace)
    client = store.client()
    for mlflow_run in mlflow_runs:
        if not ok:
            client.set_tag(mlflow_run, "cdpkit.failed", reason or "failed")
            for entry in promotion.pending(store, mlflow_run):
                client.delete_model_version_tag(entry.topic, entry.version, "cdpkit.pending_alias")
        client.set_terminated(mlflow_run, "FINISHED" if ok else "FAILED")


def apply_promotions(
    workspace: HasStore | str | Path, mlflow_runs: Iterable[str], snapshot: str = ""
) -> list[str]:
    """Move the aliases that finished runs decided; the last act after publishing.

    Parameters
    ----------
    workspace : Workspace or path
        Whose store.
    mlflow_runs : iterable of str
        Ids of MLflow runs.
    snapshot : str
        The lake's snapshot just published, noted on the runs that are part of it.

    Returns
    -------
    list of str
        ``topic:version`` of the versions whose alias moved.
    """
    store = open_store(workspace)
    moved = []
    for mlflow_run in mlflow_runs:
        if snapshot:
            store.client().set_tag(mlflow_run, "snapshot", snapshot)
        for entry in promotion.pending(store, mlflow_run):
            promotion.apply(store, entry, workspace)
            moved.append(entry.decided_by)
    return moved
