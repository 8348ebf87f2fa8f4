"""Decisions of people: an inbox of small files, taken into the lake by the next run.

A dashboard drops a decision without the lake's lock and shows it at once as pending. Each is one file,
created whole, named by its content: saying the same thing twice is saying it once.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cdpkit.errors import FaultsError

if TYPE_CHECKING:
    from cdpkit.lake import Lake
    from cdpkit.workspace import Workspace


class Absorber(Protocol):
    """The run that takes decisions in: a `cdpkit.run.Run`."""

    workspace: Workspace
    run_id: str
    lake: Lake


@dataclass(frozen=True)
class Decision:
    """One decision of one person.

    Parameters
    ----------
    kind : str
        ``threshold``, ``override``, ``link``, ``audience``, ``download``…
    subject : str
        What it is about.
    content : dict
        The decision itself, as JSON.
    author : str
        Who decided.
    reason : str
        Why, in words.
    decided_at : str
        UTC, ISO 8601.
    """

    kind: str
    subject: str
    content: dict[str, Any]
    author: str
    reason: str
    decided_at: str

    @property
    def id(self) -> str:
        """The digest of the content: the same decision has the same name."""
        return "d" + hashlib.sha256(_encoded(self)).hexdigest()[:20]


def record(
    workspace: Workspace,
    *,
    kind: str,
    subject: str,
    content: dict[str, Any],
    author: str,
    decided_at: datetime,
    reason: str = "",
) -> Decision:
    """Drop a decision in the inbox.

    Parameters
    ----------
    workspace : Workspace
        Whose inbox.
    kind, subject, author, reason : str
        See `Decision`.
    content : dict
        JSON.
    decided_at : datetime
        UTC when it has no zone.

    Raises
    ------
    FaultsError
        Naming the words that are missing.

    Examples
    --------
    >>> import tempfile
    >>> from cdpkit.workspace import Workspace
    >>> with tempfile.TemporaryDirectory() as home:
    ...     workspace = Workspace.open(home)
    ...     made = record(workspace, kind="threshold", subject="appetence", content={"hot": 0.1},
    ...                   author="ines", decided_at=datetime(2026, 6, 30))
    ...     [waiting.content for waiting in pending(workspace)]
    [{'hot': 0.1}]
    """
    missing = [
        f"`{name}` must be given; got an empty text"
        for name, text in {"kind": kind, "subject": subject, "author": author}.items()
        if not text.strip()
    ]
    if missing:
        raise FaultsError("a decision", missing)
    decision = Decision(kind, subject, content, author, reason, _moment(decided_at.isoformat()).isoformat())
    target = workspace.inbox / f"{decision.id}.json"
    if not target.exists():
        _create(target, _encoded(decision))
    return decision


def pending(workspace: Workspace) -> list[Decision]:
    """Return the decisions no run has taken in yet, oldest first; files that are none are passed over."""
    return sorted(_waiting(workspace)[0].values(), key=lambda decision: (decision.decided_at, decision.id))


def absorb(run: Absorber) -> list[Decision]:
    """Write the pending decisions to the table `decisions`; their files leave once it is published.

    A file that holds no decision stays where it is, with a warning: it must not hold back a run.

    Parameters
    ----------
    run : Run
        The run in progress.

    Returns
    -------
    list of Decision
        Those taken in now, oldest first.
    """
    import pandas as pd

    unreadable = _waiting(run.workspace)[1]
    if unreadable:
        # Not what they hold, nor how they are called: either may name somebody.
        warnings.warn(
            f"{unreadable} files of the inbox `{run.workspace.inbox.name}` hold no decision: left there",
            stacklevel=2,
        )
    known = _known(run)
    taken = {d.id: d for d in pending(run.workspace) if d.id not in known}
    if taken:
        rows = [
            {
                "decision_id": decision.id, "kind": decision.kind, "subject": decision.subject,
                "content": json.dumps(decision.content, ensure_ascii=False), "author": decision.author,
                "reason": decision.reason, "event_time": _moment(decision.decided_at),
                "run_id": run.run_id,
            }
            for decision in taken.values()
        ]  # fmt: skip
        frame = pd.DataFrame(rows)
        frame["event_time"] = frame["event_time"].astype("datetime64[us]")
        run.lake.write("decisions", frame)
    return list(taken.values())


def settle(run: Absorber) -> None:
    """Remove the files of the decisions that are published: what a crash leaves is taken in once."""
    waiting = _waiting(run.workspace)[0]
    known = _known(run) if waiting else set()
    for path, decision in waiting.items():
        if decision.id in known:
            path.unlink(missing_ok=True)


def _waiting(workspace: Workspace) -> tuple[dict[Path, Decision], int]:
    """Return the decisions in the inbox by file, and how many files hold none."""
    found, unreadable = {}, 0
    for path in sorted(workspace.inbox.glob("*.json")):
        try:
            found[path] = _decoded(path.read_bytes())
        except FileNotFoundError:
            continue  # taken in, or withdrawn, since the folder was listed
        except (OSError, ValueError, TypeError, RecursionError):
            unreadable += 1
    return found, unreadable


def _decoded(raw: bytes) -> Decision:
    """Return the decision a file holds; raise ValueError or TypeError when it holds none."""
    decision = Decision(**json.loads(raw))
    texts = [getattr(decision, field.name) for field in fields(decision) if field.name != "content"]
    if not all(isinstance(text, str) for text in texts) or not isinstance(decision.content, dict):
        raise TypeError
    _moment(decision.decided_at)
    _encoded(decision)  # NaN and broken characters have no place in the table
    return decision


def _moment(text: str) -> datetime:
    """Return a time in UTC, which it is already when it has no zone."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _known(run: Absorber) -> set[str]:
    return set(run.lake.read("decisions", "head").to_arrow(["decision_id"])["decision_id"].to_pylist())


def _encoded(decision: Decision) -> bytes:
    return json.dumps(asdict(decision), ensure_ascii=False, sort_keys=True, allow_nan=False).encode()


def _create(target: Path, content: bytes) -> None:
    """Create a file whole under its final name."""
    from cdpkit.lake.files import write_atomic

    write_atomic(target, content, mode=0o600)
    os.chmod(target, 0o600)
