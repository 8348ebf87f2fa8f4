"""Execute a notebook under the workspace's lock and judge it; publish only what passed."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from cdpkit.notebooks.parameters import Scalar, declared, default_folder, find, typed
from cdpkit.notebooks.verdict import Verdict, judge
from cdpkit.run import Run
from cdpkit.scrub import scrub, scrub_tree
from cdpkit.tracking.runs import RUNS_SUFFIX, apply_promotions, settle
from cdpkit.tracking.store import set_flags
from cdpkit.workspace import Workspace

if TYPE_CHECKING:
    from nbformat import NotebookNode

#: Seconds the cells of a notebook may take before its kernel is ended.
TIMEOUT = 3600.0


@dataclass(frozen=True)
class Session:
    """A run that holds the lock, and hands it to the notebooks it executes.

    Parameters
    ----------
    workspace : Workspace
        Where the run writes.
    run : Run
        Holds the lock.
    timeout : float
        Seconds the cells of each notebook may take; a kernel's start has its own limit.
    canaries : tuple of str
        Values to take out of stored outputs besides the usual patterns.
    """

    workspace: Workspace
    run: Run
    timeout: float = TIMEOUT
    canaries: tuple[str, ...] = ()

    @property
    def outputs(self) -> Path:
        """Folder of the executed notebooks, logs and report."""
        return self.workspace.outputs / self.run.run_id

    def execute(self, notebook: Path, values: Mapping[str, Scalar]) -> Verdict:
        """Execute one notebook, end its MLflow runs truthfully, and keep its scrubbed output."""
        began = perf_counter()
        self.outputs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as errors:
            sentinel = Path(scratch) / "sentinel.json"
            listed = Path(f"{sentinel}{RUNS_SUFFIX}")
            try:
                done = _execute(notebook, values, self._environment(sentinel), errors, self.timeout)
            except BaseException:
                settle(self.workspace, _lines(listed), ok=False, reason="interrupted")
                raise
            fields = judge(
                done.notebook, done.error, sentinel, timed_out=done.timed_out, papermill_ok=done.error is None
            )
            started = _lines(listed)
            if started:
                ok = fields["status"] != "failed"
                settle(self.workspace, started, ok=ok, reason=str(fields.get("kind", "")))
            errors.seek(0)
            output = self._keep(notebook.stem, done.notebook, errors.read().decode("utf-8", "replace"))
        fields["result"] = scrub_tree(fields.get("result", {}), self.canaries)
        fields["reason"] = scrub(fields.get("reason", ""), self.canaries)
        seconds = perf_counter() - began
        overhead = seconds - _seconds_in_cells(done.notebook)
        topic = notebook.stem[3:]
        return Verdict(
            topic, **fields, seconds=seconds, overhead=overhead, output=output, mlflow_runs=tuple(started)
        )

    def _environment(self, sentinel: Path) -> dict[str, str]:
        """Return what a notebook's kernel runs under."""
        environ = dict(os.environ)
        set_flags(environ)
        environ.setdefault("OMP_NUM_THREADS", "1")
        return environ | self.run.environment(sentinel)

    def _keep(self, stem: str, notebook: NotebookNode, errors: str) -> Path:
        """Store the executed notebook and its log, without personal values."""
        import nbformat

        clean = nbformat.from_dict(scrub_tree(notebook, self.canaries))
        path = self.outputs / f"{stem}.ipynb"
        path.write_text(nbformat.writes(clean), encoding="utf-8")
        said = [
            f"[{number}] {output.name}: {output.text}"
            for number, cell in enumerate(clean.cells, start=1)
            for output in cell.get("outputs", [])
            if output.output_type == "stream"
        ]
        log = "\n".join([*said, *([f"[kernel] {scrub(errors, self.canaries)}"] if errors.strip() else [])])
        (self.outputs / f"{stem}.log").write_text(log, encoding="utf-8")
        return path


@dataclass(frozen=True)
class _Done:
    """What papermill left."""

    notebook: Any
    error: Exception | None
    timed_out: bool


def _execute(
    path: Path, values: Mapping[str, Scalar], environ: Mapping[str, str], errors: Any, timeout: float
) -> _Done:
    """Execute in memory: nothing is on disk before it is scrubbed."""
    import nbformat
    import papermill
    from papermill.engines import NBClientEngine, papermill_engines

    from cdpkit.notebooks.kernel import CLIENT_OPTIONS, kill, manager_class

    kept: list[Any] = []

    class Engine(NBClientEngine):
        """Keeps the notebook within reach when the kernel dies."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            kept.append(nb_man)
            return super().execute_managed_notebook(nb_man, kernel_name, **options)

    papermill_engines.register("cdpkit", Engine)
    started: list[Any] = []
    manager = manager_class(environ, str(path.parent), errors, started)
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        kill(started)

    watchdog = threading.Timer(timeout, expire)
    watchdog.daemon = True
    error: Exception | None = None
    try:
        with _quiet():
            papermill.execute_notebook(
                nbformat.read(str(path), as_version=4),
                None,
                parameters=dict(values),
                engine_name="cdpkit",
                kernel_manager_class=manager,
                cwd=str(path.parent),
                on_notebook_start=lambda notebook: watchdog.start(),
                **CLIENT_OPTIONS,
            )
    except Exception as fault:
        error = fault
    finally:
        watchdog.cancel()
        kill(started)
    if not kept:
        assert error is not None
        raise error
    return _Done(kept[0].nb, error, expired.is_set())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence papermill: its messages repeat what cells printed, unscrubbed."""
    loggers = [logging.getLogger(name) for name in ("papermill", "traitlets")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _lines(path: Path) -> list[str]:
    """Return the lines of a file that may not exist."""
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def _seconds_in_cells(notebook: Any) -> float:
    """Return the wall time spent in cells."""
    return sum(cell.metadata.get("papermill", {}).get("duration") or 0.0 for cell in notebook.cells)


def prepare(notebook: Path, given: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return the typed parameters of a notebook: those given, and the common ones it declares."""
    known = declared(notebook)
    wanted = {name: value for name, value in common.items() if name in known and value is not None}
    return typed({**wanted, **given}, known, notebook.stem)


def run(
    topic: str,
    parameters: Mapping[str, Any] | None = None,
    workspace: Workspace | None = None,
    *,
    folder: Path | None = None,
    run_id: str | None = None,
    timeout: float = TIMEOUT,
    canaries: Iterable[str] = (),
    holder: str = "",
) -> Verdict:
    """Run the notebook of a topic and publish what it wrote, if it did its work.

    Parameters
    ----------
    topic : str
        ``"appetence"`` runs ``NN_appetence.ipynb``.
    parameters : mapping, optional
        Values, or texts, for parameters the notebook declares.
    workspace : Workspace, optional
        Default: the one of the environment.
    folder : Path, optional
        Where the notebooks are.
    run_id : str, optional
        By default the next one.
    timeout : float
        Seconds its cells may take.
    canaries : iterable of str
        Values to take out of stored outputs besides addresses, phones and bank accounts.
    holder : str
        Who holds the lock, for whoever finds it taken.

    Returns
    -------
    Verdict
        ``ok`` only when papermill returned, every cell completed and the last one wrote the
        sentinel. Otherwise nothing is published, and the lake is restored by the next run.

    Raises
    ------
    NotebookError
        When the topic or a parameter is unknown, before anything runs.
    LockHeldError
        When another run writes to the workspace.
    """
    workspace = Workspace.open() if workspace is None else workspace
    notebook = find(topic, default_folder() if folder is None else folder)
    values = prepare(notebook, parameters or {}, {"home": str(workspace.home)})
    canaries = tuple(canaries)
    held = Run.begin(workspace, notebook.stem[3:], run_id=run_id, holder=holder or f"run {topic}")
    session = Session(workspace, held, timeout, canaries)
    try:
        verdict = session.execute(notebook, values)
        if verdict.ok:
            inputs = {"steps": [notebook.stem], "parameters": scrub_tree(values, canaries)}
            published = held.finish(inputs=inputs, release=False)
            if verdict.mlflow_runs:
                apply_promotions(workspace, verdict.mlflow_runs, published.id if published else "")
    finally:
        # Undoes what was not published, and gives back a lock that aliases, too, moved under.
        held.abandon()
    record = {"run_id": held.run_id, "verdict": verdict.to_dict(), "parameters": scrub_tree(values, canaries)}
    (session.outputs / f"{notebook.stem}.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    return verdict
