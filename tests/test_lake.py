"""The lake: what is written, published, restored, kept and refused."""

from __future__ import annotations

import json
import multiprocessing
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cdpkit.engine import DuckDBEngine
from cdpkit.errors import IntegrityError, LakeError, LockHeldError, SchemaError
from cdpkit.lake import format as layout
from cdpkit.lake.delta import Delta
from cdpkit.run import Run
from cdpkit.schema import TABLES, Column, Table
from cdpkit.workspace import Workspace

DAY = pd.Timestamp("2026-01-01").as_unit("us")
FEATURES = Table(
    "features_base",
    ("person_id", "as_of"),
    (
        Column("person_id", "string", "person", "personne", True, "pseudonym"),
        Column("as_of", "timestamp", "date", "date", True),
        Column("n", "int64", "number", "nombre"),
    ),
    "features", "variables", partition="as_of",
)  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return a workspace under a name with a space, an accent, a quote and a percent sign."""
    return Workspace.open(tmp_path / "Données clients d'été 100%")


def nodes(start: int, stop: int) -> pd.DataFrame:
    """Return rows of the table `nodes`."""
    return pd.DataFrame(
        {
            "node_id": range(start, stop),
            "source": "crm",
            "record_id": [f"C{i:05d}" for i in range(start, stop)],
            "node_type": "contact",
            "known_at": DAY,
        }
    )


def events(n: int, seed: int = 0) -> pd.DataFrame:
    """Return events spread over a year, out of order."""
    rng = np.random.default_rng(seed)
    times = pd.to_datetime(rng.integers(1_750_000_000, 1_780_000_000, n), unit="s").as_unit("us")
    return pd.DataFrame(
        {
            "event_id": [f"{seed}-{i}" for i in range(n)],
            "node_id": rng.integers(0, 50, n),
            "source": "web",
            "known_at": times,
            "event_time": times,
            "event_type": "Product Viewed",
        }
    )


def features(as_of: str, values: list[int]) -> pd.DataFrame:
    """Return rows of the features table at one date."""
    people = [f"p{i}" for i in range(len(values))]
    return pd.DataFrame({"person_id": people, "as_of": pd.Timestamp(as_of).as_unit("us"), "n": values})


def test_tables_come_back_as_written(workspace: Workspace) -> None:
    """Every column type survives the lake, under a folder name that Delta percent-encodes."""
    products = pd.DataFrame(
        {
            "product_id": ["a", "b"], "source": "catalogue", "known_at": DAY, "name": ["Vélo d'été", None],
            "tags": [["x", "y"], None], "price": [0.005, None], "currency": ["EUR", None],
        }
    )  # fmt: skip
    quarantine = pd.DataFrame(
        {
            "content_hash": "h", "source": "crm", "dataset": "d", "line": [1], "reasons": [["bad"]],
            "original": [b"\xff;x"], "run_id": "r000001",
        }
    )  # fmt: skip
    profiles = pd.DataFrame(
        {
            "node_id": [1], "source": "crm", "event_time": DAY, "known_at": DAY,
            "birth_date": [datetime(1980, 2, 29).date()],
        }
    )  # fmt: skip
    frames = {"products": products, "quarantine": quarantine, "profiles": profiles, "events": events(300)}
    with Run.begin(workspace, "load") as run:
        for name, frame in frames.items():
            run.lake.write(name, frame)
        run.finish()
    lake = workspace.lake()
    for name, frame in frames.items():
        key = list(TABLES[name].key)
        order = [(column, "ascending") for column in key]
        stored = lake.read(name).to_arrow().sort_by(order)
        expected = TABLES[name].to_arrow(frame).sort_by(order)
        assert stored.to_pylist() == expected.to_pylist(), name
    assert lake.read("products").to_pandas(["price"])["price"].max() == 0.005
    assert lake.read("events").rows == 300


def test_months_are_folders_and_rows_are_sorted_within(workspace: Workspace) -> None:
    """Look-back pruning needs one folder a month, time order in each file, and bounded row groups."""
    with Run.begin(workspace, "load") as run:
        run.lake.write("events", events(5_000))
        run.lake.delta("events").delete_nodes(["node_id"], [1, 2], run.lake.tags())
        run.finish()
    dataset = workspace.lake().read("events")
    seen = 0
    for path in dataset.files:
        times = pq.ParquetFile(path).read(["event_time"])["event_time"].to_pandas()
        assert times.is_monotonic_increasing
        assert {f"month={month}" for month in times.dt.strftime("%Y-%m")} == {path.parent.name}
        seen += len(times)
    assert seen == dataset.rows < 5_000
    assert "month" not in dataset.to_arrow().column_names


def test_pruning_by_time_reads_few_rows(workspace: Workspace) -> None:
    """A look-back filter on the view reaches the Parquet files' own statistics."""
    with Run.begin(workspace, "load") as run:
        run.lake.write("events", events(5_000))
        run.finish()
    plan = "\n".join(
        DuckDBEngine(workspace.lake())
        .query("EXPLAIN ANALYZE SELECT count(node_id) FROM events WHERE event_time >= '2026-05-01'")
        .to_pandas()
        .iloc[:, 1]
    )
    scanned = [int(word.replace(",", "")) for word in plan.split() if word.replace(",", "").isdigit()]
    assert max(scanned) < 2_500


def test_nothing_is_seen_before_it_is_published(workspace: Workspace) -> None:
    """Readers see the pinned versions; the run's own steps see the heads."""
    with Run.begin(workspace, "load") as run:
        run.lake.write("nodes", nodes(0, 3))
        assert workspace.lake().read("nodes").rows == 0
        assert run.lake.read("nodes", "head").rows == 3
        published = run.finish()
    assert workspace.lake().read("nodes").rows == 3
    assert published is not None and workspace.lake().current() == published


def test_replace_takes_the_place_of_exactly_those_rows(workspace: Workspace) -> None:
    """Writing a date again replaces that date only, and twice is once."""
    with Run.begin(workspace, "features") as run:
        run.lake.write(FEATURES, features("2026-01-01", [1, 2]))
        for values in ([3, 4], [5, 6, 7], [5, 6, 7]):
            at = pd.Timestamp("2026-02-01")
            run.lake.write(FEATURES, features("2026-02-01", values), replace={"as_of": at})
        rows = run.lake.read("features_base", "head").to_pandas()
        assert rows.groupby("as_of")["n"].sum().tolist() == [3, 18]
        run.lake.write(FEATURES, features("2026-03-01", [9]), mode="overwrite")
        assert run.lake.read("features_base", "head").to_pandas()["n"].tolist() == [9]
        run.lake.write(FEATURES, features("2026-03-01", []), mode="overwrite")
        assert run.lake.read("features_base", "head").rows == 0


def test_replace_never_names_a_person(workspace: Workspace) -> None:
    """A predicate stays in the log for ever, so personal columns are refused there."""
    with Run.begin(workspace, "features") as run, pytest.raises(LakeError, match="no personal data"):
        run.lake.write(FEATURES, features("2026-01-01", [1]), replace={"person_id": "p0"})


def test_a_failed_run_leaves_no_trace(workspace: Workspace) -> None:
    """The next run finds every table as published, those the failed run created gone."""
    with Run.begin(workspace, "load") as run:
        run.lake.write("nodes", nodes(0, 3))
        run.finish()
    before = workspace.lake().read("nodes").to_pandas()
    lock = Run.begin(workspace, "load")
    lock.lake.write("nodes", nodes(3, 9))
    lock.lake.write("nodes", nodes(0, 1), mode="overwrite")
    lock.lake.write("events", events(10))
    lock.lake.write(FEATURES, features("2026-01-01", [1]))
    lock.page("home", {"n": 1})
    lock._lock.release()  # as a crash does: no abandon
    with Run.begin(workspace, "again") as run:
        pd.testing.assert_frame_equal(run.lake.read("nodes", "head").to_pandas(), before)
        assert run.lake.stored() == {"nodes"}
        assert run.lake.undo() == []
        snapshot = run.finish()
    assert snapshot is not None and snapshot.pages == {}


def test_undoing_a_table_restores_its_columns(workspace: Workspace) -> None:
    """A failed run's added column goes with its rows."""
    wider = Table(
        FEATURES.name, FEATURES.key, (*FEATURES.columns, Column("m", "float64", "m", "m")), "f", "f",
        partition="as_of",
    )  # fmt: skip
    with Run.begin(workspace, "features") as run:
        run.lake.write(FEATURES, features("2026-01-01", [1]))
        run.finish()
    with Run.begin(workspace, "features") as run:
        run.lake.write(wider, features("2026-02-01", [2]).assign(m=0.5))
        found = run.lake.read("features_base", "head").to_pandas().sort_values("as_of")
        assert found["m"].isna().tolist() == [True, False]
    found = workspace.lake().read("features_base", "head").to_pandas()
    assert list(found.columns) == ["person_id", "as_of", "n"]


def test_columns_added_by_a_release_read_as_null(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old files lack the new column, new files have it, and a reader sees one table."""
    with Run.begin(workspace, "load") as run:
        run.lake.write("nodes", nodes(0, 2))
        run.finish()
    old = TABLES["nodes"]
    added = Table(
        "nodes", old.key, (*old.columns, Column("tag", "string", "t", "t")), "n", "n", None, "known_at"
    )
    monkeypatch.setitem(TABLES, "nodes", added)
    assert workspace.lake().read("nodes").to_pandas()["tag"].isna().all()
    with Run.begin(workspace, "load") as run:
        run.lake.write("nodes", nodes(2, 4).assign(tag="new"))
        run.finish()
    rows = DuckDBEngine(workspace.lake()).query("SELECT * FROM nodes ORDER BY node_id").to_pandas()
    assert rows["tag"].fillna("-").tolist() == ["-", "-", "new", "new"]
    monkeypatch.setitem(TABLES, "nodes", old)
    assert list(workspace.lake().read("nodes").to_pandas().columns) == list(old.names)


def test_a_type_change_is_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another type under the same name is a migration, never a cast."""
    with Run.begin(workspace, "load") as run:
        run.lake.write("nodes", nodes(0, 2))
        run.finish()
    old = TABLES["nodes"]
    changed = tuple(Column(c.name, "int64" if c.name == "record_id" else c.type, "", "") for c in old.columns)
    monkeypatch.setitem(TABLES, "nodes", Table("nodes", old.key, changed, "n", "n"))
    with Run.begin(workspace, "load") as run:
        for mode in ("append", "overwrite"):
            with pytest.raises(SchemaError, match=r"`record_id` must stay string; got int64"):
                run.lake.write("nodes", nodes(2, 3).assign(record_id=[7]), mode=mode)


def test_writing_needs_the_lock(workspace: Workspace) -> None:
    """A lake opened for reading writes nothing, and an ended run neither."""
    with pytest.raises(LakeError, match="needs the lock"):
        workspace.lake().write("nodes", nodes(0, 1))
    run = Run.begin(workspace, "load")
    run.finish()
    with pytest.raises(LockHeldError):
        run.lake.write("nodes", nodes(0, 1))


def test_personal_data_needs_a_way_to_be_erased(workspace: Workspace) -> None:
    """A user's table of texts without node or person is refused."""
    stray = Table("notes", (), (Column("text", "string", "t", "t", pii="text"),), "n", "n")
    with Run.begin(workspace, "load") as run, pytest.raises(LakeError, match="node_id"):
        run.lake.write(stray, pd.DataFrame({"text": ["call Jean"]}))


def test_statistics_of_personal_columns_stay_out_of_the_log(workspace: Workspace) -> None:
    """The log outlives deletion, so it may know node ids only."""
    with Run.begin(workspace, "load") as run:
        run.lake.write("nodes", nodes(41, 43))
        run.lake.write(
            "identifiers",
            pd.DataFrame(
                {
                    "node_id": [1], "source": "crm", "id_type": "email", "value": "canary@example.fr",
                    "event_time": DAY, "known_at": DAY,
                }
            ),
        )  # fmt: skip
        run.lake.write(FEATURES, features("2026-01-01", [1]))
        run.finish()
    logs = b"".join(path.read_bytes() for path in workspace.lake_path.rglob("_delta_log/*"))
    assert b"canary" not in logs and b"C00041" not in logs and b'\\"p0\\"' not in logs
    assert rb"\"minValues\":{\"node_id\":41}" in logs


def _publish(workspace: Workspace, count: int = 1) -> list[str]:
    made = []
    for _ in range(count):
        with Run.begin(workspace, "load") as run:
            start = run.lake.read("nodes", "head").rows
            run.lake.write("nodes", nodes(start, start + 5))
            made.append(run.finish().id)
    return made


def _file(workspace: Workspace) -> Path:
    return max(workspace.lake().read("nodes").files, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("harm", ["cut", "flip", "gone", "log", "manifest"])
def test_damage_is_an_error_before_any_figure(workspace: Workspace, harm: str) -> None:
    """A file cut, altered by one byte or lost, a log or a manifest cut: nothing is read from them."""
    _publish(workspace, 2)
    path = _file(workspace)
    content = bytearray(path.read_bytes())
    log = max((workspace.lake_path / "tables" / "nodes" / "_delta_log").iterdir())
    if harm == "cut":
        path.write_bytes(content[:-7])
    elif harm == "flip":
        content[len(content) // 3] ^= 1
        path.write_bytes(content)
    elif harm == "gone":
        path.unlink()
    elif harm == "log":
        log.unlink()
    else:
        manifest = max((workspace.lake_path / "snapshots").iterdir())
        manifest.write_bytes(manifest.read_bytes()[:-40])
    with pytest.raises(IntegrityError):
        DuckDBEngine(workspace.lake()).query("SELECT count(*) FROM nodes").to_pandas()
    with pytest.raises(IntegrityError):
        workspace.lake().read("nodes").to_pandas()


def test_rows_dropped_from_the_log_are_noticed(workspace: Workspace) -> None:
    """A log that lists fewer rows than were published is not believed."""
    _publish(workspace, 2)
    log = max((workspace.lake_path / "tables" / "nodes" / "_delta_log").iterdir())
    lines = [line for line in log.read_text().splitlines() if '"add"' not in line]
    log.write_text("\n".join(lines) + "\n")
    with pytest.raises(IntegrityError, match="another listing"):
        workspace.lake().read("nodes")


def test_vacuum_keeps_the_published_the_recent_and_the_pinned(workspace: Workspace) -> None:
    """Old versions go with their files; those a reader holds stay readable."""
    first, second, third = _publish(workspace, 3)
    lake, now = workspace.lake(), datetime.now(UTC)
    with DuckDBEngine(lake, snapshot=second) as reader:
        with Run.begin(workspace, "clean") as run:
            assert run.lake.vacuum(7, now) == []
            assert run.lake.vacuum(7, now + timedelta(days=8)) == [first]
            run.abandon()
        assert reader.query("SELECT count(*) AS n FROM nodes").to_pandas()["n"].item() == 10
        assert lake.status()["pinned"] == [second]
    with Run.begin(workspace, "clean") as run:
        assert run.lake.vacuum(7, (now + timedelta(days=8)).replace(tzinfo=None)) == [second]
        run.abandon()
    assert lake.read("nodes").rows == 15 and lake.current().id == third
    with pytest.raises(LakeError, match="vacuumed"):
        lake.read("nodes", first)
    held = {stored.path for stored in Delta(workspace.lake_path / "tables" / "nodes").files(3)}
    on_disk = {path.name for path in (workspace.lake_path / "tables" / "nodes").glob("*.parquet")}
    assert on_disk == held


def _hold_a_pin(home: str, ready, leave) -> None:
    with Workspace.open(home).lake().pin():
        ready.set()
        leave.wait(30)


def test_a_pin_ends_with_its_process(workspace: Workspace) -> None:
    """A reader in another process holds its snapshot until it dies, however it dies."""
    first, second = _publish(workspace, 2)
    spawn = multiprocessing.get_context("spawn")
    ready, leave = spawn.Event(), spawn.Event()
    reader = spawn.Process(target=_hold_a_pin, args=(str(workspace.home), ready, leave))
    reader.start()
    assert ready.wait(30)
    assert workspace.lake().status()["pinned"] == [second]
    reader.kill()
    reader.join()
    assert workspace.lake().status()["pinned"] == []
    assert not list((workspace.lake_path / "pins").iterdir())
    assert first != second


def test_a_reader_reopens_when_its_files_are_erased(workspace: Workspace) -> None:
    """Erasure outranks pins: an open engine meets missing files and moves to the new snapshot."""
    _publish(workspace, 2)
    with DuckDBEngine(workspace.lake()) as reader:
        result = reader.query("SELECT count(*) AS n FROM nodes")
        assert result.to_pandas()["n"].item() == 10
        workspace.lake().erase([3, 4])
        assert result.to_pandas()["n"].item() == 8
        assert reader.snapshot == workspace.lake().current()


def test_a_newer_lake_is_refused_and_an_older_one_migrated(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release reads no newer layout; an older one waits for a run, which migrates it once."""
    _publish(workspace)
    (workspace.lake_path / "FORMAT").write_text(json.dumps({"format": 2}))
    with pytest.raises(LakeError, match="Update cdpkit"):
        workspace.lake()
    with pytest.raises(LakeError, match="Update cdpkit"):
        Run.begin(workspace, "load")
    (workspace.lake_path / "FORMAT").write_text(json.dumps({"format": 1}))
    steps = []
    monkeypatch.setattr(layout, "VERSION", 2)
    monkeypatch.setitem(layout.MIGRATIONS, 1, lambda lake: steps.append(lake.current().id))
    with pytest.raises(LakeError, match="migrates the lake"):
        workspace.lake()
    for _ in range(2):
        with Run.begin(workspace, "load") as run:
            run.abandon()
    assert steps == ["s000001"]
    assert workspace.lake().read("nodes").rows == 5


def test_status_is_json_and_tells_what_waits(workspace: Workspace) -> None:
    """Snapshot, rows, versions, holder and pending decisions, before and after the first run."""
    empty = workspace.lake().status()
    assert empty["snapshot"] is None and empty["tables"] == {}
    _publish(workspace)
    with Run.begin(workspace, "nightly", holder="scheduler") as run:
        found = json.loads(json.dumps(workspace.lake().status()))
        run.abandon()
    assert found["tables"] == {"nodes": {"rows": 5, "version": 1}}
    assert found["lock"] == {"holder": "scheduler", "run_id": "r000002", "pid": os.getpid()}
    assert workspace.lake().status()["lock"] is None
    assert (found["pending_decisions"], found["erasing"], found["format"]) == (0, False, 1)


def test_the_manifest_says_what_was_read_and_by_what_code(workspace: Workspace) -> None:
    """Inputs and code version are kept with the versions."""
    with Run.begin(workspace, "load") as run:
        run.lake.write("nodes", nodes(0, 1))
        run.finish(inputs={"crm_contacts.csv": "sha256:ab"})
    stored = json.loads((workspace.lake_path / "snapshots" / "s000001.json").read_text())
    assert stored["inputs"] == {"crm_contacts.csv": "sha256:ab"} and stored["run_id"] == "r000001"
    assert stored["code"].count("+") == 1
    assert stored["tables"]["nodes"]["rows"] == 1 and len(stored["tables"]["nodes"]["sha256"]) == 64


def test_equal_content_has_an_equal_digest_of_rows(workspace: Workspace, tmp_path: Path) -> None:
    """Publishing again without a change pins the same versions and digests."""
    _publish(workspace)
    before = workspace.lake().current()
    with Run.begin(workspace, "idle") as run:
        after = run.finish()
    assert after.tables == before.tables and after.id != before.id
