"""Where MLflow keeps its records: one SQLite file and one artifact folder in each workspace."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cdpkit.errors import CdpkitError, IntegrityError

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: What every process that touches MLflow here runs under. Loading a pickle stays refused whatever
#: the user's environment says; the rest are defaults.
FLAGS = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_PROCESS_TAGS = ("cdpkit.host", "cdpkit.pid", "cdpkit.pid_start")


class HasStore(Protocol):
    """What tracking needs of a workspace: the folder of its MLflow store."""

    @property
    def mlruns(self) -> Path:
        """Folder of the store."""


@dataclass(frozen=True)
class Store:
    """An MLflow store.

    Parameters
    ----------
    uri : str
        Tracking and registry address.
    folder : Path, optional
        The workspace's `mlruns`; none when the address points elsewhere.
    """

    uri: str
    folder: Path | None

    def client(self) -> MlflowClient:
        """Return MLflow's client on this store."""
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def exists(self) -> bool:
        """Whether there is anything to read, known without importing MLflow."""
        return self.folder is None or (self.folder / "mlflow.db").exists()

    def experiment(self, topic: str) -> str:
        """Return the id of the topic's experiment, created with an absolute artifact folder."""
        client = self.client()
        found = client.get_experiment_by_name(topic)
        if found is not None:
            return found.experiment_id
        location = None if self.folder is None else (self.folder / "artifacts" / topic).as_uri()
        return client.create_experiment(topic, artifact_location=location)


def set_flags(environ: dict[str, str] | None = None) -> None:
    """Put `FLAGS` in `environ` (default: this process); only the refusal of pickles overrides."""
    target = os.environ if environ is None else environ
    for name, value in FLAGS.items():
        if name == "MLFLOW_ALLOW_PICKLE_DESERIALIZATION":
            target[name] = value
        else:
            target.setdefault(name, value)


def open_store(workspace: HasStore | str | Path) -> Store:
    """Return the store of a workspace; ``MLFLOW_TRACKING_URI`` wins.

    Parameters
    ----------
    workspace : Workspace or path
        A workspace, or its home folder.

    Raises
    ------
    CdpkitError
        When ``MLFLOW_TRACKING_URI`` asks for the file store, which MLflow has retired.

    Examples
    --------
    >>> open_store("/srv/cdp").uri
    'sqlite:////srv/cdp/mlruns/mlflow.db'
    """
    set_flags()
    asked = os.environ.get("MLFLOW_TRACKING_URI", "")
    if asked:
        if "://" not in asked or asked.startswith("file:"):
            raise CdpkitError(
                "`MLFLOW_TRACKING_URI` must be a database or a server",
                got="a folder",
                do="Give sqlite:///<path>/mlflow.db or http://…, or unset it",
            )
        return Store(asked, None)
    folder = Path(workspace) / "mlruns" if isinstance(workspace, str | Path) else workspace.mlruns
    folder = folder.absolute()
    return Store(f"sqlite:///{folder / 'mlflow.db'}", folder)


def prepare(store: Store) -> None:
    """Create the folders of a local store."""
    if store.folder is not None:
        (store.folder / "artifacts").mkdir(parents=True, exist_ok=True)


@contextmanager
def as_default(store: Store) -> Iterator[None]:
    """Make a store MLflow's default for a moment: parts of its registry know no other way."""
    import mlflow

    # When the environment names a store, `open_store` returned that one.
    if os.environ.get("MLFLOW_TRACKING_URI") == store.uri:
        yield
        return
    mlflow.set_tracking_uri(store.uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def process_tags(pid: int) -> dict[str, str]:
    """Name a process so that another one can tell later whether it still lives."""
    return dict(zip(_PROCESS_TAGS, (socket.gethostname(), str(pid), _started(pid)), strict=True))


def _started(pid: int) -> str:
    """Return when the kernel says a process started: a pid is used again, the pair is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def _is_alive(pid: int, started: str) -> bool:
    """Whether the very process still runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if started and _started(pid) != started:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return True


def reap(
    workspace: HasStore | str | Path,
    *,
    topic: str | None = None,
    now: datetime | None = None,
    stale_after: timedelta = timedelta(days=1),
) -> list[str]:
    """Mark as FAILED the runs that say RUNNING although nobody works on them.

    Parameters
    ----------
    workspace : Workspace or path
        Whose store.
    topic : str, optional
        Look at one experiment only.
    now : datetime, optional
        UTC time. With it, runs of other machines, whose processes cannot be looked at, are marked
        once they are older than `stale_after`. Runs started on this machine are judged by whether
        their process lives, at any age.

    Returns
    -------
    list of str
        Ids of the runs marked.

    Examples
    --------
    >>> import tempfile
    >>> reap(tempfile.mkdtemp())
    []
    """
    store = open_store(workspace)
    if not store.exists():
        return []
    client = store.client()
    if topic is None:
        experiments = [e.experiment_id for e in client.search_experiments()]
    else:
        found = client.get_experiment_by_name(topic)
        experiments = [] if found is None else [found.experiment_id]
    marked = []
    for run in client.search_runs(experiments, "attributes.status = 'RUNNING'") if experiments else []:
        host, pid, started = (run.data.tags.get(tag, "") for tag in _PROCESS_TAGS)
        if not pid:
            continue
        if host == socket.gethostname():
            dead = not _is_alive(int(pid), started)
        else:
            begun = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
            dead = now is not None and now.replace(tzinfo=UTC) - begun > stale_after
        if dead:
            client.set_tag(run.info.run_id, "cdpkit.failed", "its process is gone")
            client.set_terminated(run.info.run_id, "FAILED")
            marked.append(run.info.run_id)
    return marked


#: Columns of MLflow's database that hold an absolute artifact address.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def doctor_relocate(workspace: HasStore | str | Path) -> int:
    """Mend the addresses of a workspace that was moved or copied.

    MLflow writes absolute addresses when an experiment is created. This rewrites those of the old
    folder to the present one, in one transaction; addresses elsewhere are left alone.

    Returns
    -------
    int
        Number of addresses mended; 0 when nothing had moved.

    Raises
    ------
    IntegrityError
        When a mended address leads to no folder.

    Examples
    --------
    >>> import tempfile
    >>> doctor_relocate(tempfile.mkdtemp())
    0
    """
    folder = Path(workspace) / "mlruns" if isinstance(workspace, str | Path) else workspace.mlruns
    folder = folder.absolute()
    database = folder / "mlflow.db"
    if not database.exists():
        return 0
    new, mended = (folder / "artifacts").as_uri(), 0
    connection = sqlite3.connect(database, timeout=20)
    try:
        with connection:
            olds = {
                location.rsplit("/", 1)[0]
                for (location,) in connection.execute("SELECT artifact_location FROM experiments")
                if location and location.endswith(tuple(f"/artifacts/{name}" for name in _topics(connection)))
            } - {new}
            for old in olds:
                for table, column in _LOCATIONS:
                    mended += connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                        f" WHERE substr({column}, 1, ?) = ?",
                        (new + "/", len(old) + 2, len(old) + 1, old + "/"),
                    ).rowcount
    finally:
        connection.close()
    if mended and not (folder / "artifacts").is_dir():
        raise IntegrityError("the artifacts must move with the records", got="no `mlruns/artifacts` folder")
    return mended


def _topics(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the experiments."""
    return [name for (name,) in connection.execute("SELECT name FROM experiments")]
