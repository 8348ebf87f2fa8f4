"""Runs: one at a time, handed to notebooks, published whole; and the decisions they take in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from cdpkit import decisions
from cdpkit.errors import FaultsError, IntegrityError, LakeError, LockHeldError
from cdpkit.lake import lock as lock_module
from cdpkit.lake.lock import WriterLock, holder
from cdpkit.run import Run
from cdpkit.workspace import Workspace

NODE = """
import sys, pandas as pd
from cdpkit.run import Run
from cdpkit.workspace import Workspace
run = Run.begin(Workspace.open(), "child")
number = int(sys.argv[1])
run.lake.write("nodes", pd.DataFrame({"node_id": [number], "source": "crm", "record_id": [str(number)],
    "node_type": "contact", "known_at": pd.Timestamp("2026-01-01").as_unit("us")}))
run.page("child", {"n": number})
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return an empty workspace."""
    return Workspace.open(tmp_path / "home")


def python(code: str, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run code in another process."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_run_ids_count_publications(workspace: Workspace) -> None:
    """Ids follow the last published run; an abandoned one leaves its number to the next."""
    ids = []
    for publish in (True, False, True):
        with Run.begin(workspace, "t") as run:
            ids.append(run.run_id)
            if publish:
                run.finish()
    assert ids == ["r000001", "r000002", "r000002"]
    with Run.begin(workspace, "t", run_id="mine") as run:
        assert run.run_id == "mine" and workspace.lake().status()["lock"]["run_id"] == "mine"


def test_a_second_run_is_refused_and_told_by_whom(workspace: Workspace) -> None:
    """In this process or another, without a token or with a wrong one."""
    with Run.begin(workspace, "nightly", holder="scheduler of marketing"):
        with pytest.raises(LockHeldError, match="held by scheduler of marketing"):
            Run.begin(workspace, "other")
        home = {"CDPKIT_HOME": str(workspace.home)}
        refused = python(NODE, "1", env=home)
        assert refused.returncode == 1 and "held by scheduler of marketing" in refused.stderr
        guessed = python(NODE, "1", env=home | {"CDPKIT_RUN_TOKEN": "guess", "CDPKIT_RUN_ID": "r000001"})
        assert guessed.returncode == 1 and "not the holder's" in guessed.stderr
        with pytest.raises(LockHeldError):
            workspace.lake().erase([1])
    Run.begin(workspace, "other").abandon()


def test_the_token_is_not_in_the_lock_file(workspace: Workspace) -> None:
    """Reading the workspace does not give the right to write to it."""
    with Run.begin(workspace, "nightly") as run:
        token = run.environment()["CDPKIT_RUN_TOKEN"]
        assert token not in run.lake.lock_path.read_text()


def test_notebooks_write_under_the_run_which_publishes(workspace: Workspace, tmp_path: Path) -> None:
    """A child joins, writes, says it is done; its rows and pages appear when the run publishes."""
    sentinel = tmp_path / "sentinel.json"
    with Run.begin(workspace, "nightly") as run:
        environment = run.environment(sentinel)
        for number in (1, 2):
            done = python(NODE + "run.finish({'rows': number})", str(number), env=environment)
            assert done.returncode == 0, done.stderr
            found = json.loads(sentinel.read_text())
            assert found == {"topic": "child", "run_id": "r000001", "result": {"rows": number}}
        assert workspace.lake().current() is None
        assert run.engine().query("SELECT count(*) AS n FROM nodes").to_pandas()["n"].item() == 2
        run.finish()
    assert workspace.lake().read("nodes").rows == 2
    assert workspace.lake().page("child") == {"n": 2}


def test_a_child_may_not_publish(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing is the run's, so that its steps appear together."""
    with Run.begin(workspace, "nightly") as run:
        for name, value in run.environment().items():
            monkeypatch.setenv(name, value)
        child = Run.begin(workspace, "child")
        assert child.joined and child.run_id == run.run_id
        with pytest.raises(LakeError, match="leave publishing to the run"):
            child.lake.publish(child.run_id)
        assert child.finish() is None


def test_an_orphaned_notebook_keeps_others_out(workspace: Workspace) -> None:
    """While a notebook of a dead run lives nobody else may write, and it cannot either."""
    run = Run.begin(workspace, "nightly")
    code = (
        NODE
        + """
print("ready", flush=True); sys.stdin.readline()
try: run.lake.write("nodes", pd.DataFrame({"node_id": [9], "source": "crm", "record_id": ["9"],
    "node_type": "contact", "known_at": pd.Timestamp("2026-01-01").as_unit("us")}))
except Exception as fault: print(type(fault).__name__, flush=True)
sys.stdin.readline()
"""
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, "8"], env=os.environ | run.environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "ready\n"
        run._lock.release()  # the runner dies
        with pytest.raises(LockHeldError, match="a notebook still alive"):
            Run.begin(workspace, "next")
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "LockHeldError\n"
    finally:
        child.kill()
        child.wait()
    with Run.begin(workspace, "next") as after:
        assert after.lake.read("nodes", "head").rows == 0


def test_pages_not_written_again_are_carried_over(workspace: Workspace) -> None:
    """Each snapshot has every page, the newest of each; a failed run changes none."""
    for pages in ({"a": 1, "b": 1}, {"b": 2}):
        with Run.begin(workspace, "t") as run:
            for name, value in pages.items():
                run.page(name, {"value": value, "mot": "été"})
            run.finish()
    with Run.begin(workspace, "t") as run:
        run.page("a", {"value": 99})
    lake = workspace.lake()
    assert [lake.page(name)["value"] for name in "ab"] == [1, 2]
    assert "été" in (workspace.published / lake.current().id / "a.json").read_text("utf-8")


def test_a_page_altered_or_absent_is_an_error(workspace: Workspace) -> None:
    """A dashboard shows what was published or says why not."""
    with Run.begin(workspace, "t") as run:
        with pytest.raises(LakeError, match="must be JSON"):
            run.page("a", {"value": float("nan")})
        with pytest.raises(LakeError, match="page name"):
            run.page("../a", {})
        run.page("a", {"value": 1})
        run.finish()
    with pytest.raises(LakeError, match="Run the notebook"):
        workspace.lake().page("b")
    path = workspace.published / "s000001" / "a.json"
    path.write_text(path.read_text().replace("1", "2"))
    with pytest.raises(IntegrityError):
        workspace.lake().page("a")


def test_vacuuming_needs_the_time(workspace: Workspace) -> None:
    """Nothing here reads a clock."""
    with Run.begin(workspace, "t") as run:
        with pytest.raises(LakeError, match="`now` must come"):
            run.finish(keep_days=7)
        run.finish(keep_days=0, now=datetime(2100, 1, 1, tzinfo=UTC))
    assert workspace.lake().current().id == "s000001"


def decide(workspace: Workspace, hot: float) -> decisions.Decision:
    """Drop a decision on a threshold."""
    return decisions.record(
        workspace, kind="threshold", subject="appetence", content={"hot": hot}, author="ines",
        decided_at=datetime(2026, 6, 30, 8, tzinfo=UTC), reason="capacité réduite",
    )  # fmt: skip


def test_decisions_are_pending_until_published(workspace: Workspace) -> None:
    """A decision is taken in once, and a run that fails takes in nothing."""
    made = [decide(workspace, 0.1), decide(workspace, 0.2), decide(workspace, 0.1)]
    assert {waiting.id for waiting in decisions.pending(workspace)} == {made[0].id, made[1].id}
    with Run.begin(workspace, "t") as run:
        assert len(decisions.absorb(run)) == 2 and decisions.absorb(run) == []
    assert len(decisions.pending(workspace)) == 2
    with Run.begin(workspace, "t") as run:
        run.finish()
    decide(workspace, 0.3)
    assert [waiting.content for waiting in decisions.pending(workspace)] == [{"hot": 0.3}]
    stored = workspace.lake().read("decisions").to_pandas().sort_values("content")
    assert stored["content"].map(json.loads).tolist() == [{"hot": 0.1}, {"hot": 0.2}]
    assert stored["event_time"].eq(pd.Timestamp("2026-06-30 08:00")).all()
    assert stored["run_id"].eq("r000001").all() and stored["reason"].eq("capacité réduite").all()


def test_a_decision_needs_its_words(workspace: Workspace) -> None:
    """Kind, subject and author are asked for together."""
    with pytest.raises(FaultsError, match="3 faults"):
        decisions.record(
            workspace, kind="", subject=" ", content={}, author="", decided_at=datetime(2026, 1, 1)
        )
    assert decisions.pending(workspace) == []


def test_a_file_that_is_no_decision_holds_back_no_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays, is told of without its content or name, and those beside it are taken in."""
    made = decide(workspace, 0.1)
    good = json.loads((workspace.inbox / f"{made.id}.json").read_text())
    by_hand = good | {"decided_at": "2026-07-01T10:00:00+02:00"}
    bad = [
        b"{", b"[]", b"\xff", b"[" * 100_000, json.dumps(good | {"content": "x"}).encode(),
        json.dumps(good | {"decided_at": "yesterday"}).encode(), json.dumps({"kind": "k"}).encode(),
        json.dumps(good | {"reason": None}).encode(), json.dumps(good | {"content": {"p": float("nan")}}).encode(),
    ]  # fmt: skip
    for number, content in enumerate(bad):
        (workspace.inbox / f"zoe{number}.json").write_bytes(content)
    (workspace.inbox / "hand.json").write_text(json.dumps(by_hand))
    (workspace.inbox / "gone.json").symlink_to(workspace.inbox / "nowhere")
    with Run.begin(workspace, "t") as run, pytest.warns(UserWarning, match="9 files of the inbox") as told:
        run.finish()
    assert not any("zoe" in str(warning.message) for warning in told)
    stored = workspace.lake().read("decisions").to_pandas()
    assert sorted(stored["event_time"].astype(str)) == ["2026-06-30 08:00:00", "2026-07-01 08:00:00"]
    left = sorted(path.name for path in workspace.inbox.glob("zoe*"))
    assert len(left) == 9 and decisions.pending(workspace) == []
    assert not (workspace.inbox / "hand.json").exists()


def test_an_orphan_that_comes_late_finds_its_token_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new holder is named before it looks for orphans, and no more once it is refused."""
    path = workspace.lake_path / "LOCK"
    ended = WriterLock.acquire(path, "ended", "r000001")
    token, entry = ended.token, path.read_bytes()
    ended.release()
    path.write_bytes(entry)  # it was killed: nobody emptied the file
    refuse = lock_module._refuse_orphans

    def late(found: Path) -> None:
        with pytest.raises(LockHeldError, match="not the holder's"):
            WriterLock.join(found, token)
        refuse(found)

    monkeypatch.setattr(lock_module, "_refuse_orphans", late)
    WriterLock.acquire(path, "next", "r000002").release()

    def orphan(found: Path) -> None:
        raise LockHeldError("an orphan lives")

    monkeypatch.setattr(lock_module, "_refuse_orphans", orphan)
    with pytest.raises(LockHeldError, match="an orphan lives"):
        WriterLock.acquire(path, "next", "r000002")
    assert path.read_bytes() == b"" and holder(path) is None


def test_a_kernel_that_is_ending_is_waited_for(workspace: Workspace) -> None:
    """Whoever starts again at once after killing a runner finds its kernel still closing its files."""
    path = workspace.lake_path / "LOCK"
    ended = WriterLock.acquire(path, "ended", "r000001")
    entry = path.read_bytes()
    kernel = WriterLock.join(path, ended.token)
    ended.release()
    path.write_bytes(entry)  # it was killed: nobody emptied the file
    closing = threading.Timer(0.3, kernel.release)
    closing.start()
    try:
        WriterLock.acquire(path, "next", "r000002").release()
        assert not kernel.held
    finally:
        closing.cancel()
        kernel.release()


def test_commits_tell_nothing_of_the_token(workspace: Workspace) -> None:
    """What a table's log keeps of the lock is a digest."""
    with Run.begin(workspace, "t") as run:
        decide(workspace, 0.1)
        decisions.absorb(run)
        token = run.environment()["CDPKIT_RUN_TOKEN"]
        log = "".join(path.read_text() for path in run.lake.path.rglob("_delta_log/*.json"))
    assert "cdpkit.lock" in log and token[:8] not in log


def test_a_notebook_under_a_run_may_not_erase(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything is noted: the run goes on, and the next one has nothing to complete."""
    with Run.begin(workspace, "nightly") as run:
        for name, value in run.environment().items():
            monkeypatch.setenv(name, value)
        child = Run.begin(workspace, "child")
        with pytest.raises(LakeError, match="leave erasure to the run"):
            child.lake.erase([1])
        assert not child.lake.erasing.exists()
        child.finish()
        run.finish()
