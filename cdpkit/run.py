"""A run: the lock on a workspace from its first read to its publication."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdpkit.errors import LakeError
from cdpkit.lake import Lake, Snapshot
from cdpkit.lake.files import write_json
from cdpkit.lake.lock import WriterLock

if TYPE_CHECKING:
    from cdpkit.engine import DuckDBEngine
    from cdpkit.workspace import Workspace

TOKEN, RUN_ID, SENTINEL = "CDPKIT_RUN_TOKEN", "CDPKIT_RUN_ID", "CDPKIT_SENTINEL"


class Run:
    """Work on a workspace that is published whole or not at all.

    Begin one with `Run.begin`; end it with `finish` or `abandon`. As a context manager it abandons
    what was not finished.

    Parameters
    ----------
    workspace : Workspace
        Where it works.
    topic : str
        What it works on: ``"nightly"``, ``"appetence"``.
    run_id : str
        Names the run in the manifest and in the ids it makes.
    lock : WriterLock
        Held, or shared with the run that started this notebook.
    """

    def __init__(self, workspace: Workspace, topic: str, run_id: str, lock: WriterLock) -> None:
        self.workspace, self.topic, self.run_id = workspace, topic, run_id
        self.lake = Lake(workspace, lock)
        self._lock = lock

    @classmethod
    def begin(
        cls, workspace: Workspace, topic: str, run_id: str | None = None, holder: str | None = None
    ) -> Run:
        """Take the lock, or join the run that started this process, and undo what a failed run left.

        Parameters
        ----------
        workspace : Workspace
            Where to work.
        topic : str
            What this run works on.
        run_id : str, optional
            By default the number after the last published run, as ``r000001``; under a runner, its own.
        holder : str, optional
            Named to whoever is refused meanwhile; the topic by default.

        Raises
        ------
        LockHeldError
            When another run holds the workspace, or the token handed over is not the holder's.
        """
        path, token = workspace.lake_path / "LOCK", os.environ.get(TOKEN)
        if token:
            lock = WriterLock.join(path, token)
            return cls(workspace, topic, run_id or os.environ.get(RUN_ID) or lock.run_id, lock)
        lock = WriterLock.acquire(path, holder or topic, run_id or "not yet numbered")
        try:
            run = cls(workspace, topic, run_id or _next_id(Lake(workspace, lock)), lock)
            lock.name(run.run_id)
            run.lake.restore()
        except BaseException:
            lock.release()
            raise
        return run

    @property
    def joined(self) -> bool:
        """Whether a runner started this process and will publish for it."""
        return self._lock.joined

    def engine(self, **options: Any) -> DuckDBEngine:
        """Return an engine on the heads: it sees what this run's steps write, as they write it.

        Parameters
        ----------
        **options
            ``frames``, ``threads`` and ``memory_limit`` of `DuckDBEngine`.
        """
        from cdpkit.engine import DuckDBEngine

        return DuckDBEngine(self.lake, "head", **options)

    def page(self, name: str, payload: dict[str, Any]) -> None:
        """Stage a page of the dashboards; it is published with the run, others are carried over.

        Parameters
        ----------
        name : str
            Lower-case letters, digits, ``_``, ``.`` and ``-``.
        payload : dict
            JSON: a missing number is None, not NaN.
        """
        self._lock.check()
        self.lake.pages.stage(name, payload)

    def environment(self, sentinel: str | os.PathLike[str] | None = None) -> dict[str, str]:
        """Return the variables that let a notebook this run starts write under its lock.

        Parameters
        ----------
        sentinel : path, optional
            File the notebook's last cell writes its result to, through `finish`.
        """
        handed = {"CDPKIT_HOME": str(self.workspace.home), TOKEN: self._lock.token, RUN_ID: self.run_id}
        return handed | ({SENTINEL: str(sentinel)} if sentinel is not None else {})

    def finish(
        self,
        result: Mapping[str, Any] | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        keep_days: float | None = None,
        now: datetime | None = None,
        release: bool = True,
    ) -> Snapshot | None:
        """Take in the pending decisions, publish, give the lock back; under a runner, say it is done.

        Parameters
        ----------
        result : mapping, optional
            What the run found, as JSON; under a runner it is what the sentinel holds.
        inputs : mapping, optional
            What it read, kept in the manifest.
        keep_days : float, optional
            With `now`, remove the snapshots older than this, but those readers pin.
        now : datetime, optional
            UTC.
        release : bool
            Whether to give the lock back; False leaves it to a caller with more to do under it.

        Returns
        -------
        Snapshot or None
            What was published; None under a runner, which publishes when all its steps are done.
        """
        if self.joined:
            sentinel = os.environ.get(SENTINEL)
            if sentinel:
                write_json(
                    Path(sentinel), {"topic": self.topic, "run_id": self.run_id, "result": result or {}}
                )
            self._lock.release()
            return None
        from cdpkit import decisions

        if keep_days is not None and now is None:
            raise LakeError(
                "`now` must come with `keep_days`", do="Pass the time: nothing here reads a clock"
            )
        decisions.absorb(self)
        snapshot = self.lake.publish(self.run_id, inputs)
        decisions.settle(self)
        if keep_days is not None and now is not None:
            self.lake.vacuum(keep_days, now)
        if release:
            self._lock.release()
        return snapshot

    def abandon(self) -> None:
        """Undo what was not published and give the lock back; under a runner, leave that to it."""
        try:
            if not self.joined:
                self.lake.undo()
        finally:
            self._lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock.held:
            self.abandon()


def _next_id(lake: Lake) -> str:
    """Return the id after the last published run, without a clock."""
    published = lake.current()
    return f"r{(published.sequence if published else 0) + 1:06d}"
