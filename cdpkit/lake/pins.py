"""Readers' pins: a file that says which snapshot a live process reads."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import weakref
from pathlib import Path

_numbers = itertools.count()


class Pin:
    """Keep a snapshot's files from being vacuumed while this object lives.

    The pin is a locked file, so it ends with the process, however that ends. Where the lake cannot
    be written the reader goes without: it would reopen the published snapshot when files go.
    """

    def __init__(self, folder: Path, snapshot_id: str) -> None:
        self.snapshot_id = snapshot_id
        self._release = lambda: None
        with contextlib.suppress(OSError):
            path, descriptor = _hold(folder, snapshot_id)
            self._release = weakref.finalize(self, _drop, path, descriptor)

    def release(self) -> None:
        """Let the files go; a second call does nothing."""
        self._release()


def pinned(folder: Path) -> set[str]:
    """Return the snapshots that live readers hold, and clear away the pins of dead ones."""
    found = set()
    for path in folder.glob("*.pin") if folder.is_dir() else ():
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            found.add(path.read_text())
        finally:
            os.close(descriptor)
    return found


def _hold(folder: Path, snapshot_id: str) -> tuple[Path, int]:
    """Write and lock a pin; again if it was taken for a dead one before it was locked."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        path = folder / f"{os.getpid()}-{next(_numbers)}.pin"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.write(descriptor, snapshot_id.encode())
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if path.exists():
            return path, descriptor
        os.close(descriptor)


def _drop(path: Path, descriptor: int) -> None:
    path.unlink(missing_ok=True)
    os.close(descriptor)
