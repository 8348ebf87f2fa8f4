"""All steps in order under one lock: progress, resume after a failure, a report, one publication."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cdpkit.errors import CdpkitError, NotebookError
from cdpkit.notebooks import checkpoint, report
from cdpkit.notebooks.delay import delays, log_delays
from cdpkit.notebooks.parameters import Scalar, available, declared, default_folder, find, typed
from cdpkit.notebooks.runner import TIMEOUT, Session, prepare
from cdpkit.notebooks.verdict import Verdict
from cdpkit.scrub import scrub_tree
from cdpkit.sources import defaults_of
from cdpkit.tracking.runs import apply_promotions
from cdpkit.tracking.store import reap
from cdpkit.workspace import Workspace

#: Topics of an ordinary night, in no order of their own: numbers of the files give it.
CORE = ("load", "identity", "features", "appetence", "audiences", "maturity", "pages")

#: Topics no night runs: they show what it left.
ASIDE = ("tour", "person")

#: Called before a step (no verdict yet) and after it: number from 1, how many, topic, verdict.
Progress = Callable[[int, int, str, Verdict | None], None]


@dataclass(frozen=True)
class Nightly:
    """What became of a night.

    Parameters
    ----------
    run_id : str
        The run.
    status : str
        ``ok`` or ``failed``.
    reason : str
        Why it failed, without personal values.
    verdicts : tuple of Verdict
        One a step, those that were not run included.
    snapshot : str, optional
        What was published.
    promoted : tuple of str
        Versions whose alias moved.
    report : Path
        The HTML report.
    """

    run_id: str
    status: str
    reason: str
    verdicts: tuple[Verdict, ...]
    snapshot: str | None
    promoted: tuple[str, ...]
    report: Path

    @property
    def ok(self) -> bool:
        """Whether every step did its work or said why it could not."""
        return self.status == "ok"

    @property
    def exit_code(self) -> int:
        """Return what a command line should return: 0 or 1."""
        return 0 if self.ok else 1


def steps(folder: Path | None = None, *, only: Sequence[str] | None = None, all: bool = False) -> list[Path]:
    """Return the notebooks of a night, in the order of their numbers.

    Parameters
    ----------
    folder : Path, optional
        Where the notebooks are.
    only : sequence of str, optional
        These topics.
    all : bool
        Every notebook numbered below 90, instead of the core.

    Raises
    ------
    NotebookError
        When a topic has no notebook, or there is nothing to run.
    """
    topics = available(default_folder() if folder is None else folder)
    if only is not None:
        wanted = {find(topic, folder).stem[3:] for topic in only}
    else:
        # Numbers from 90 on are not of the night: the template is one.
        every = {topic for topic, path in topics.items() if path.name < "90" and topic not in ASIDE}
        wanted = every if all else set(CORE)
    chosen = [path for topic, path in topics.items() if topic in wanted]
    if not chosen:
        raise NotebookError(
            "a night must have a step", got="no notebook", do="Look at the folder of notebooks"
        )
    return chosen


@dataclass
class _Night:
    """The state of a night in progress, written to its report after each step."""

    session: Session
    notebooks: list[Path]
    values: dict[str, dict[str, Scalar]]
    base: str | None
    verdicts: list[Verdict] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)

    def content(self, status: str, **more: Any) -> dict[str, Any]:
        """Return the machine's report."""
        listed = [{**v.to_dict(), **mark} for v, mark in zip(self.verdicts, self.marks, strict=True)]
        left = self.notebooks[len(self.verdicts) :]
        return {
            "run_id": self.session.run.run_id,
            "status": status,
            "base": self.base,
            "parameters": self.parameters(),
            "steps": listed + [Verdict(path.stem[3:], "not run").to_dict() for path in left],
            **more,
        }

    def parameters(self) -> dict[str, Scalar]:
        """Return what the steps were given, without personal values."""
        merged = {name: value for values in self.values.values() for name, value in values.items()}
        return scrub_tree(merged, self.session.canaries)

    def key(self, notebook: Path) -> str:
        """Return what a step depends on besides the tables."""
        return checkpoint.key(notebook, self.values[notebook.stem], self.session.workspace.raw)

    def keep(self, verdict: Verdict, step: Mapping[str, Any]) -> None:
        """Note a step done by an earlier night, as that one left it."""
        self.verdicts.append(verdict)
        self.marks.append({"key": step["key"], "heads": step["heads"]})

    def add(self, verdict: Verdict, notebook: Path) -> None:
        """Note a step, with what a resumed night starts from."""
        mark: dict[str, Any] = {"key": self.key(notebook)}
        if verdict.ok:
            mark["heads"] = checkpoint.heads(self.session.run.lake)
            checkpoint.keep_pages(self.session.run.lake, self.session.outputs)
        self.verdicts.append(verdict)
        self.marks.append(mark)


def nightly(
    workspace: Workspace | None = None,
    *,
    source: str | None = None,
    path: str | Path | None = None,
    as_of: str | None = None,
    only: Sequence[str] | None = None,
    all: bool = False,
    parameters: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    resume: bool = False,
    timeout: float = TIMEOUT,
    canaries: Iterable[str] = (),
    progress: Progress | None = None,
    now: datetime | None = None,
    keep_days: float = 30.0,
) -> Nightly:
    """Run the steps in order under one lock, and publish once at the end.

    Parameters
    ----------
    workspace : Workspace, optional
        Default: the one of the environment; with a source, ``data/workspaces/<source>`` below it.
    source, path : str, optional
        What to load, for the notebooks that declare it.
    as_of : str, optional
        Date of the knowledge used, ISO; by default the notebooks'.
    only, all
        See `steps`.
    parameters : mapping, optional
        Values for parameters that at least one step declares; each step gets those it declares.
    folder : Path, optional
        Where the notebooks are.
    resume : bool
        Keep the steps that the last failed night completed, when their code, their parameters and
        the published snapshot are still the same.
    timeout : float
        Seconds each notebook may take.
    canaries : iterable of str
        Values to take out of stored outputs besides addresses, phones and bank accounts.
    progress : callable, optional
        See `Progress`.
    now : datetime, optional
        UTC. With it, snapshots older than `keep_days` are removed after publishing, and MLflow runs
        that another machine left a day ago are marked failed.
    keep_days : float
        How long an old snapshot stays readable.

    Returns
    -------
    Nightly
        A failed step ends the night: nothing is published, later steps are ``not run``.

    Raises
    ------
    NotebookError
        When a topic or a parameter is unknown, before anything runs.
    LockHeldError
        When another run writes to the workspace.
    """
    if workspace is None:
        workspace = Workspace.open().for_source(source) if source else Workspace.open()
    notebooks = steps(folder, only=only, all=all)
    common = {"home": str(workspace.home), "as_of": as_of, "source": source}
    common["path"] = None if path is None else str(Path(path).absolute())
    values = _values(notebooks, _suited(source, notebooks) | dict(parameters or {}), common)
    earlier = checkpoint.last_failed(workspace) if resume else None
    run, lock = checkpoint.begin(workspace, restore=earlier is None)
    current = run.lake.current()
    night = _Night(
        Session(workspace, run, timeout, tuple(canaries)), notebooks, values, current.id if current else None
    )
    try:
        return _go(night, earlier, progress, now, keep_days)
    except BaseException:
        report.write(night.session.outputs, night.content("failed", reason="interrupted"))
        raise
    finally:
        # The heads stay as the failed step left them, for a night that resumes; any other run undoes them.
        lock.release()


def _suited(source: str | None, notebooks: Sequence[Path]) -> dict[str, Scalar]:
    """Return what the source suggests for parameters that the steps have."""
    known = {name for path in notebooks for name in declared(path)}
    suggested = defaults_of(source) if source else {}
    return {name: value for name, value in suggested.items() if name in known}


def _values(
    notebooks: Sequence[Path], given: Mapping[str, Any], common: Mapping[str, Any]
) -> dict[str, dict[str, Scalar]]:
    """Return each step's parameters; a name that no step declares is a mistake."""
    known = {path.stem: declared(path) for path in notebooks}
    everything = {name: parameter for one in known.values() for name, parameter in one.items()}
    asked = {name: value for name, value in common.items() if value is not None and name != "home"}
    typed({**asked, **given}, everything, "the night")
    return {
        path.stem: prepare(path, {n: v for n, v in given.items() if n in known[path.stem]}, common)
        for path in notebooks
    }


def _go(
    night: _Night,
    earlier: Mapping[str, Any] | None,
    progress: Progress | None,
    now: datetime | None,
    keep: float,
) -> Nightly:
    """Run what is left, then publish, then move the aliases."""
    session, total = night.session, len(night.notebooks)
    _resume(night, earlier)
    if not night.verdicts:
        shutil.rmtree(session.outputs, ignore_errors=True)
    for number, notebook in enumerate(night.notebooks, start=1):
        resumed = number <= len(night.verdicts)
        if progress is not None and not resumed:
            progress(number, total, notebook.stem[3:], None)
        if not resumed:
            night.add(session.execute(notebook, night.values[notebook.stem]), notebook)
        verdict = night.verdicts[number - 1]
        if progress is not None:
            progress(number, total, notebook.stem[3:], verdict)
        if not verdict.ok:
            return _end(night, "failed", reason=f"{verdict.topic}: {verdict.reason}")
        report.write(session.outputs, night.content("running"))
    inputs = {"steps": [path.stem for path in night.notebooks], "parameters": night.parameters()}
    published = session.run.finish(
        inputs=inputs, keep_days=None if now is None else keep, now=now, release=False
    )
    started = [mlflow_run for verdict in night.verdicts for mlflow_run in verdict.mlflow_runs]
    promoted: Sequence[str] = ()
    snapshot = published.id if published else ""
    try:
        _log_delays(night, snapshot, now)
        if started:
            promoted = apply_promotions(session.workspace, started, snapshot)
            reap(session.workspace, now=now)
    except Exception as error:  # MLflow raises anything from a locked database to a broken address
        told = str(error) if isinstance(error, CdpkitError) else type(error).__name__
        what = "dead runs were not marked" if promoted else "an alias was not moved or the delays not logged"
        return _end(night, "failed", reason=f"published, but {what}. {told}", promoted=promoted)
    return _end(night, "ok", promoted=promoted)


def _log_delays(night: _Night, snapshot: str, now: datetime | None) -> None:
    """Measure how long events took to reach profiles and segments, and log it."""
    with night.session.run.engine() as engine:
        measured = delays(engine, night.verdicts, now)
        newest = engine.query("SELECT CAST(MAX(event_time) AS VARCHAR) AS t FROM events").to_arrow()
    log_delays(
        night.session.workspace,
        night.session.run.run_id,
        measured,
        snapshot=snapshot,
        as_of=newest["t"][0].as_py() or "",
    )


def _resume(night: _Night, earlier: Mapping[str, Any] | None) -> None:
    """Keep the steps of an earlier night, its heads and pages put back; none when they cannot be."""
    if earlier is None:
        return
    kept: list[Mapping[str, Any]] = []
    for notebook, step in zip(night.notebooks, earlier["steps"], strict=False):
        same = step.get("key") == night.key(notebook)
        if earlier["base"] != night.base or not same or "heads" not in step:
            break
        kept.append(step)
    lake, folder = night.session.run.lake, night.session.outputs
    if not kept or not checkpoint.check_out(lake, kept[-1]["heads"], folder):
        lake.restore()
        return
    for step in kept:
        output = folder / step["output"] if step["output"] else None
        runs = tuple(step["mlflow_runs"])
        night.keep(
            Verdict(step["topic"], "resumed", result=step["result"], output=output, mlflow_runs=runs), step
        )


def _end(night: _Night, status: str, *, reason: str = "", promoted: Sequence[str] = ()) -> Nightly:
    """Write the last word."""
    session = night.session
    left = [Verdict(path.stem[3:], "not run") for path in night.notebooks[len(night.verdicts) :]]
    published = session.workspace.lake().current()
    snapshot = published.id if published is not None and published.run_id == session.run.run_id else None
    content = night.content(status, reason=reason, snapshot=snapshot, promoted=list(promoted))
    page = report.write(session.outputs, content)
    if snapshot is not None:
        checkpoint.drop_pages(session.outputs)
    return Nightly(
        session.run.run_id, status, reason, (*night.verdicts, *left), snapshot, tuple(promoted), page
    )
