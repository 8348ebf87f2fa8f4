"""Whether a notebook did its work: papermill's word, its cells and the sentinel must agree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdpkit import errors
from cdpkit.scrub import scrub

_OWN_ERRORS = {name for name, item in vars(errors).items() if isinstance(item, type)} | {
    "DefinitionError",
    "FrameError",
}

#: What a notebook raises when the data, or this machine, cannot carry it: it is skipped and says why.
_DECLINED = ("NotEnoughDataError", "MissingToolError")


@dataclass(frozen=True)
class Verdict:
    """What became of one notebook.

    Parameters
    ----------
    topic : str
        Topic of the notebook.
    status : str
        ``ok``, ``skipped`` (the notebook said why, or the data or the machine could not carry it),
        ``resumed`` (done by an earlier run and kept), ``failed`` or ``not run``.
    kind : str
        Of a failure: ``raised``, ``killed``, ``timeout``, ``exited``, ``no sentinel``, ``unfinished``.
    reason : str
        In words, without personal values.
    cell : int, optional
        Number of the cell that failed, counted from 1.
    seconds, overhead : float
        Wall time, and the part of it outside the cells (kernel start and stop).
    result : mapping
        What the last cell returned through ``run.finish``.
    output : Path, optional
        The executed notebook, scrubbed.
    mlflow_runs : tuple of str
        Ids of the MLflow runs it started.
    """

    topic: str
    status: str
    kind: str = ""
    reason: str = ""
    cell: int | None = None
    seconds: float = 0.0
    overhead: float = 0.0
    result: Mapping[str, Any] = field(default_factory=dict)
    output: Path | None = None
    mlflow_runs: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the next step may follow."""
        return self.status in ("ok", "skipped", "resumed")

    @property
    def exit_code(self) -> int:
        """Return what a command line should return: 0 or 1."""
        return 0 if self.ok else 1

    def to_dict(self) -> dict[str, Any]:
        """Return a plain description, for reports."""
        plain = {**vars(self), "result": dict(self.result), "mlflow_runs": list(self.mlflow_runs)}
        plain.update(seconds=round(self.seconds, 2), overhead=round(self.overhead, 2))
        return {**plain, "output": None if self.output is None else self.output.name}


def judge(
    notebook: Any, error: BaseException | None, sentinel: Path, *, timed_out: bool, papermill_ok: bool
) -> dict[str, Any]:
    """Return status, kind, reason, cell and result of an executed notebook.

    Parameters
    ----------
    notebook : NotebookNode
        As papermill left it. Its statuses alone lie: after a killed kernel every cell reads
        ``completed``, after ``sys.exit(0)`` nothing is raised.
    error : exception, optional
        What papermill raised.
    sentinel : Path
        The file that the last cell writes.
    timed_out : bool
        Whether the watchdog ended the kernel.
    papermill_ok : bool
        Whether papermill returned.

    Returns
    -------
    dict
        Fields of `Verdict`.
    """
    cell = _first_unfinished(notebook)
    if timed_out:
        return _failed("timeout", "the notebook took longer than it may", cell)
    raised = _raised(notebook)
    if raised is not None:
        number, name, message = raised
        if name == "SystemExit":
            return _failed("exited", "a cell called sys.exit: the cells after it never ran", number)
        if name in _DECLINED:
            return {"status": "skipped", "reason": scrub(message), "cell": number}
        said = f"{name}: {scrub(message)}" if name in _OWN_ERRORS else f"{name}; see the executed notebook"
        return _failed("raised", said, number)
    if type(error).__name__ == "DeadKernelError":
        return _failed("killed", "the kernel died: killed, or out of memory", cell)
    if error is not None or not papermill_ok:
        return _failed("raised", f"{type(error).__name__} while executing", cell)
    if cell is not None or not notebook.metadata.papermill.get("end_time"):
        return _failed("unfinished", "a cell did not complete", cell)
    result = _read(sentinel)
    if result is None:
        return _failed("no sentinel", "the last cell must call `run.finish()`", None)
    if result.get("skipped"):
        return {"status": "skipped", "reason": scrub(str(result["skipped"])), "result": result}
    return {"status": "ok", "result": result}


def _failed(kind: str, reason: str, cell: int | None) -> dict[str, Any]:
    """Return the fields of a failure."""
    return {"status": "failed", "kind": kind, "reason": reason, "cell": cell}


def _numbered(notebook: Any) -> list[tuple[int, Any]]:
    """Return the cells with the numbers they have in the notebook on disk: papermill adds some."""
    added = {"injected-parameters", "papermill-error-cell-tag"}
    cells = [(bool(added & set(cell.metadata.get("tags", []))), cell) for cell in notebook.cells]
    numbers, number = [], 0
    for is_added, cell in cells:
        number += not is_added
        numbers.append((number, cell))
    return numbers


def _first_unfinished(notebook: Any) -> int | None:
    """Return the number of the first code cell that did not complete.

    Papermill says `completed` of every cell once a kernel has died; only a cell that ran to its end
    carries the time of the kernel's reply.
    """
    for number, cell in _numbered(notebook):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        replied = "shell.execute_reply" in cell.metadata.get("execution", {})
        if cell.metadata.get("papermill", {}).get("status") != "completed" or not replied:
            return number
    return None


def _raised(notebook: Any) -> tuple[int, str, str] | None:
    """Return cell number, class and message of the error a cell shows."""
    for number, cell in _numbered(notebook):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return number, output.ename, output.evalue
    return None


def _read(sentinel: Path) -> dict[str, Any] | None:
    """Return what the last cell wrote, or None when it did not."""
    try:
        content = json.loads(sentinel.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    result = content.get("result") if isinstance(content, dict) else None
    return result if isinstance(result, dict) else None
