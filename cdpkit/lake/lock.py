"""One writer at a time: a lock that names its holder, and the part handed to notebooks it starts."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path

from cdpkit.errors import LockHeldError
from cdpkit.lake.files import sync

#: Seconds one asking who holds the lock may be in the way.
ASKING = 0.1
#: Seconds a kernel whose runner was killed may take to be gone: it looks for its parent each second, and its
#: threads let their files go after it counts as ended.
ENDING = 3.0


class WriterLock:
    """The right to write to a workspace, held until `release` or the end of the process.

    The holder has the lock file exclusively. A notebook it starts proves itself by a token and holds
    a second file in shared mode: while one such notebook lives, even orphaned, nobody else may write.
    """

    def __init__(self, descriptor: int, path: Path, token: str, joined: bool) -> None:
        self._descriptor, self._path, self.token, self.joined = descriptor, path, token, joined

    @classmethod
    def acquire(cls, path: Path, holder: str, run_id: str) -> WriterLock:
        """Take the lock.

        Raises
        ------
        LockHeldError
            Naming who holds it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        lock = cls(descriptor, path, secrets.token_hex(16), joined=False)
        try:
            if not _exclusive(descriptor, ASKING):
                raise _held(_read(path))
        except BaseException:
            os.close(descriptor)
            raise
        try:
            # Named first: a notebook of the ended run that comes late then finds its token refused.
            lock._write({"holder": holder, "run_id": run_id, "pid": os.getpid(), "token": lock.fingerprint})
            _refuse_orphans(path)
            sync([path.parent])
        except BaseException:
            lock.release()
            raise
        return lock

    @classmethod
    def join(cls, path: Path, token: str) -> WriterLock:
        """Share the lock of the run that started this process.

        Raises
        ------
        LockHeldError
            When the token is not the holder's, or the holder is gone.
        """
        try:
            descriptor = os.open(_children(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            raise _unknown_token() from None
        # First be counted, then ask: the holder may end in between, and the next must wait for us.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        lock = cls(descriptor, path, token, joined=True)
        try:
            lock.check()
        except LockHeldError:
            os.close(descriptor)
            raise
        return lock

    def check(self) -> None:
        """Raise `LockHeldError` unless the lock is still this run's."""
        if self._descriptor < 0:
            raise LockHeldError("a run must hold the lock to write", got="a run already ended")
        entry = _read(self._path)
        same = hmac.compare_digest(str(entry.get("token", "")), _fingerprint(self.token))
        if not same or (self.joined and holder(self._path) is None):
            raise _unknown_token()

    @property
    def held(self) -> bool:
        """Whether it was not released yet."""
        return self._descriptor >= 0

    @property
    def fingerprint(self) -> str:
        """What may be told of the token: it recognises the holder and gives no right."""
        return _fingerprint(self.token)

    @property
    def run_id(self) -> str:
        """The run that holds the lock."""
        return str(_read(self._path).get("run_id"))

    def name(self, run_id: str) -> None:
        """Say which run holds the lock."""
        self._write(_read(self._path) | {"run_id": run_id})

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._descriptor >= 0:
            if not self.joined:
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, entry: dict) -> None:
        # In place: another file under this name would have another lock.
        content = json.dumps(entry, ensure_ascii=False).encode()
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))
        os.fsync(self._descriptor)


def holder(path: Path) -> dict | None:
    """Return who holds the lock (holder, run_id, pid), or None when it is free."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # Shared, and given back at once: asking must not look like holding to another asker.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return {key: value for key, value in _read(path).items() if key != "token"}
    else:
        return None
    finally:
        os.close(descriptor)


def _exclusive(descriptor: int, seconds: float) -> bool:
    """Lock, trying for some seconds, and tell whether it is ours."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.025)


def _refuse_orphans(path: Path) -> None:
    """Refuse while a notebook of an ended run still lives: it could write under our feet."""
    descriptor = os.open(_children(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _exclusive(descriptor, ENDING):
            raise LockHeldError(
                "only one run may write to a workspace",
                got="a notebook still alive, of the run that ended before",
                do="Wait for it or end its kernel, then start again",
            )
    finally:
        os.close(descriptor)


def _held(entry: dict) -> LockHeldError:
    who = f"{entry.get('holder', 'another run')} (run {entry.get('run_id')}, process {entry.get('pid')})"
    return LockHeldError(
        "only one run may write to a workspace", got=f"held by {who}", do="Wait for it to end"
    )


def _unknown_token() -> LockHeldError:
    return LockHeldError(
        "a notebook may write only under the run that started it",
        got="a token that is not the holder's, or a run that has ended",
        do="Start the run again, or unset CDPKIT_RUN_TOKEN to run by hand",
    )


def _children(path: Path) -> Path:
    return path.with_name(path.name + ".notebooks")


def _fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
