"""Writers killed at every stage, readers looping meanwhile: the published lake is whole at all times."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
import time
from datetime import datetime
from pathlib import Path

import pandas as pd

from cdpkit.engine import DuckDBEngine
from cdpkit.lake import Lake
from cdpkit.lake.pages import Pages
from cdpkit.lake.snapshot import Snapshots
from cdpkit.run import Run
from cdpkit.workspace import Workspace

DAY = pd.Timestamp("2026-01-01").as_unit("us")
# Forked from a server that has imported everything: a process then costs milliseconds.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["pandas", "pyarrow.parquet", "duckdb", "deltalake", "cdpkit.engine", "cdpkit.run"]
)
STAGES = [
    "mid-append", "mid-staging", "before-pages", "before-manifest", "after-manifest", "after-current", "mid-vacuum",
]  # fmt: skip


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _write(home: str, stage: str, rows: int, file_limit: int = 0) -> None:
    """Append as many rows to two tables and say so on a page, dying at a stage.

    A reader that sees the three differ has seen a mix of two runs.
    """
    if file_limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    with Run.begin(Workspace.open(home), "crash") as run:
        start = run.lake.read("nodes", "head").rows
        frame = pd.DataFrame({"node_id": range(start, start + rows), "source": "crm", "known_at": DAY})
        names = frame["node_id"].astype(str)
        run.lake.write("nodes", frame.assign(record_id=names, node_type="contact"))
        if stage == "mid-append":
            folder = run.lake.path / "tables" / "orders"
            threading.Thread(target=_die_at_next_file, args=(folder, len(_whole(folder)))).start()
            # Many months are many files: the first is whole long before the commit.
            frame = pd.concat([frame] * 960, ignore_index=True)
            names = frame.index.astype(str).to_series(index=frame.index)
            months = pd.to_timedelta(frame.index % 48 * 31, unit="D")
            run.lake.write("orders", frame.assign(order_id=names, event_time=(DAY + months).as_unit("us")))
            time.sleep(30)
        run.lake.write("orders", frame.assign(order_id=names, event_time=DAY))
        if stage == "mid-staging":
            os.replace = _die
        run.page("count", {"rows": start + rows})
        if stage == "before-pages":
            Pages.publish = _die
        elif stage == "before-manifest":
            Snapshots.write = _die
        elif stage == "after-manifest":
            Snapshots.point = _die
        elif stage == "after-current":
            Lake.vacuum = _die
        elif stage == "mid-vacuum":
            Pages.keep = _die
        run.finish(keep_days=0, now=datetime(2100, 1, 1))


def _whole(folder: Path) -> list[Path]:
    """Return the data files that are there with their content."""
    return [path for path in folder.rglob("*.parquet") if path.stat().st_size]


def _die_at_next_file(folder: Path, before: int) -> None:
    while len(_whole(folder)) == before:
        time.sleep(0.0002)
    _die()


def _uncommitted(workspace: Workspace) -> list[Path]:
    """Return the data files of orders that no commit names."""
    folder = workspace.lake_path / "tables" / "orders"
    logs = "".join(path.read_text() for path in folder.glob("_delta_log/*.json"))
    return [path for path in folder.rglob("*.parquet") if path.name not in logs]


def write(workspace: Workspace, stage: str, rows: int = 10, file_limit: int = 0) -> int | None:
    """Run a writer that dies at a stage; return its exit code."""
    writer = PROCESSES.Process(target=_write, args=(str(workspace.home), stage, rows, file_limit))
    writer.start()
    writer.join(60)
    return writer.exitcode


def seen(workspace: Workspace) -> tuple[int, int, int]:
    """Return the counts a reader sees: rows of both tables, and the page's word for it."""
    lake = workspace.lake()
    with DuckDBEngine(lake, threads=1) as engine:
        counted = engine.query(
            "SELECT (SELECT count(*) FROM nodes) AS n, (SELECT count(*) FROM orders) AS o"
        ).to_pandas()
        snapshot = engine.snapshot
        page = lake.pages.read("count", snapshot)["rows"] if snapshot is not None else 0
    return int(counted["n"].item()), int(counted["o"].item()), page


def _read_on(home: str, stop, results) -> None:
    """Read until told to stop; report how many reads, and every one that was not whole."""
    workspace, reads, faults, last = Workspace.open(home), 0, [], 0
    while not stop.is_set():
        try:
            nodes, orders, page = seen(workspace)
            if not nodes == orders == page or nodes < last:
                faults.append((last, nodes, orders, page))
            last = nodes
        except Exception as fault:
            faults.append(repr(fault))
        reads += 1
        time.sleep(0.01)
    results.put((reads, faults))


def test_a_writer_killed_anywhere_never_shows(tmp_path: Path) -> None:
    """At each stage the published lake is the old or the new one, and the next run completes."""
    workspace = Workspace.open(tmp_path / "Données clients")
    assert write(workspace, "none") == 0
    stop, results = PROCESSES.Event(), PROCESSES.Queue()
    readers = [
        PROCESSES.Process(target=_read_on, args=(str(workspace.home), stop, results)) for _ in range(2)
    ]
    for reader in readers:
        reader.start()
    expected = 10
    try:
        for stage in STAGES:
            assert write(workspace, stage) == -signal.SIGKILL, stage
            expected += 10 if stage in ("after-current", "mid-vacuum") else 0
            assert seen(workspace) == (expected,) * 3, stage
            assert stage != "mid-append" or _uncommitted(workspace)
        assert write(workspace, "none") == 0
        assert seen(workspace) == (expected + 10,) * 3
    finally:
        stop.set()
        found = [results.get(timeout=60) for _ in readers]
        for reader in readers:
            reader.join()
    assert all(reads > 20 for reads, _ in found)
    assert [faults for _, faults in found] == [[], []]


def test_what_killed_writers_left_is_cleared(tmp_path: Path) -> None:
    """After the crashes and one good run, no file is on the disk that no snapshot holds."""
    workspace = Workspace.open(tmp_path)
    for stage in ("none", "mid-append", "mid-staging", "after-manifest", "none"):
        write(workspace, stage)
    lake = workspace.lake()
    assert seen(workspace) == (20, 20, 20)
    assert [path.stem for path in (lake.path / "snapshots").iterdir()] == [lake.current().id]
    for name in lake.stored():
        assert set((lake.path / "tables" / name).rglob("*.parquet")) == set(lake.read(name).files)
    assert [entry.name for entry in workspace.published.iterdir()] == [lake.current().id]
    assert not list(workspace.home.rglob("*.tmp"))


def test_random_kills_in_the_middle_of_writing(tmp_path: Path) -> None:
    """Killed at moments nobody chose, a writer of larger tables leaves the old state or the new."""
    workspace, whole = Workspace.open(tmp_path), 10
    write(workspace, "none")
    for delay in (0.1, 0.2, 0.3, 0.4):
        writer = PROCESSES.Process(target=_write, args=(str(workspace.home), "none", 60_000))
        writer.start()
        time.sleep(delay)
        writer.kill()
        writer.join()
        nodes, orders, page = seen(workspace)
        assert nodes == orders == page and nodes in (whole, whole + 60_000)
        whole = nodes
    with Run.begin(workspace, "after") as run:
        assert run.lake.read("nodes", "head").rows == run.lake.read("orders", "head").rows == whole


def test_a_full_disk_refuses_and_changes_nothing(tmp_path: Path) -> None:
    """When a file cannot be written whole the run fails, and the lake is as it was."""
    workspace = Workspace.open(tmp_path)
    assert write(workspace, "none") == 0
    assert write(workspace, "none", 60_000, file_limit=20_000) == 1
    assert seen(workspace) == (10, 10, 10)
    assert write(workspace, "none") == 0 and seen(workspace) == (20, 20, 20)
