"""The runner: what papermill calls a success is checked again, and nothing else is published."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
import pyarrow as pa
import pytest

from cdpkit import notebooks
from cdpkit.errors import LockHeldError, NotebookError
from cdpkit.lake.snapshot import code_version
from cdpkit.notebooks import checkpoint, report
from cdpkit.run import Run
from cdpkit.workspace import Workspace

pytestmark = pytest.mark.notebook

CANARY = "jean.canari@example.fr, 06 12 34 56 78, FR76 3000 6000 0112 3456 7890 189, Zoé Kanarienvogel"
PARAMETERS = 'home: str = ""  # workspace\nseed: int = 0  # randomness\npath: str = ""  # file of the source'
BEGIN = "from cdpkit.run import Run\nfrom cdpkit.workspace import Workspace\nrun = Run.begin(Workspace.open(home), '{topic}')"
WRITE = """
import datetime
import pyarrow as pa
row = {{"model": "{topic}", "as_of": datetime.datetime(2026, 1, 1), "name": "n", "content": str(seed)}}
run.lake.write("reports", pa.Table.from_pylist([row]), replace={{"model": "{topic}"}})
run.page("{topic}", {{"seed": seed}})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder of notebooks."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    return folder


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Return an empty workspace."""
    for name in (
        "CDPKIT_HOME",
        "CDPKIT_RUN_TOKEN",
        "CDPKIT_RUN_ID",
        "CDPKIT_SENTINEL",
        "MLFLOW_TRACKING_URI",
    ):
        monkeypatch.delenv(name, raising=False)
    return Workspace(tmp_path / "home é")


def write(folder: Path, name: str, *cells: str, parameters: str = PARAMETERS) -> str:
    """Write a notebook; return its topic."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_markdown_cell("# A question"), nbformat.v4.new_code_cell(parameters)]
    notebook.cells += [nbformat.v4.new_code_cell(cell.format(topic=name[3:])) for cell in cells]
    notebook.cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return name[3:]


def good(folder: Path, name: str) -> str:
    """Write a notebook that does its work."""
    return write(folder, name, BEGIN, WRITE, "run.finish({{'rows': 1, 'seed': seed}})")


def rows(workspace: Workspace) -> list[str]:
    """Return which topics have published."""
    return workspace.lake().read("reports").to_pandas()["model"].sort_values().tolist()


def test_a_notebook_that_does_its_work_is_published(folder: Path, workspace: Workspace) -> None:
    """The verdict carries the result; rows and page are in the snapshot; typed parameters were used."""
    verdict = notebooks.run(good(folder, "30_good"), {"seed": "7"}, workspace, folder=folder)
    assert (verdict.status, verdict.exit_code, verdict.result) == ("ok", 0, {"rows": 1, "seed": 7})
    assert rows(workspace) == ["good"] and workspace.lake().page("good") == {"seed": 7}
    assert verdict.output is not None and verdict.output.exists()
    assert verdict.overhead < verdict.seconds


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("import sys; sys.exit(0)", "exited"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed"),
        ("run = None", "no sentinel"),
    ],
)
def test_a_notebook_that_did_not_do_its_work_fails(
    folder: Path, workspace: Workspace, cell: str, kind: str
) -> None:
    """Left by sys.exit(0), killed or unsigned: FAILED, nothing published, lock given back."""
    wrote = (BEGIN, WRITE) if kind == "killed" else ("run = None", "1")
    topic = write(folder, "30_bad", *wrote, cell, "1" if kind == "no sentinel" else "run.finish()")
    verdict = notebooks.run(topic, None, workspace, folder=folder)
    assert (verdict.status, verdict.kind, verdict.exit_code) == ("failed", kind, 1)
    assert verdict.cell == (None if kind == "no sentinel" else 5)
    assert workspace.lake().current() is None
    with Run.begin(workspace, "next") as after:
        assert after.lake.stored() == set()


def test_a_notebook_that_takes_too_long_is_ended(folder: Path, workspace: Workspace) -> None:
    """Past its time the kernel is killed, whichever cell it was in: FAILED, nothing published, lock given back."""
    topic = write(folder, "30_slow", BEGIN, WRITE, "import time; time.sleep(600)", "run.finish()")
    verdict = notebooks.run(topic, None, workspace, folder=folder, timeout=1.0)
    assert (verdict.status, verdict.kind, verdict.exit_code) == ("failed", "timeout", 1)
    assert verdict.cell is not None and verdict.cell <= 5
    assert workspace.lake().current() is None
    with Run.begin(workspace, "next") as after:
        assert after.lake.stored() == set()


def test_a_mistyped_parameter_stops_before_anything_runs(folder: Path, workspace: Workspace) -> None:
    """Unknown names and values of another type are all told at once, with the nearest name."""
    topic = write(folder, "30_never", "open('ran', 'w')")
    with pytest.raises(NotebookError) as error:
        notebooks.run(topic, {"sead": "1", "seed": "many"}, workspace, folder=folder)
    assert "unknown `sead`" in str(error.value) and "Did you mean `seed`?" in str(error.value)
    assert "`seed` that is no int" in str(error.value)
    assert not (folder / "ran").exists() and not workspace.outputs.exists()
    with pytest.raises(NotebookError, match="Did you mean `never`"):
        notebooks.run("nevver", None, workspace, folder=folder)


@pytest.mark.parametrize(
    "line", ["seed = 0", "seed: list = []", "seed: int = 'a'", "seed: int = len('a')", "import os"]
)
def test_parameters_are_annotated_scalars(folder: Path, line: str) -> None:
    """A parameters cell that could not be checked is refused."""
    write(folder, "30_odd", "1", parameters=line)
    with pytest.raises(NotebookError, match="line 1"):
        notebooks.declared(folder / "30_odd.ipynb")


def test_parameters_are_read_with_type_default_and_meaning(folder: Path) -> None:
    """What a command line gives as text becomes what the notebook declares."""
    lines = 'share: float = -0.5  # a share\nkeep: bool = True  # keep # all\nname: str = "#1"  # a name'
    write(folder, "30_typed", "1", parameters=lines)
    known = notebooks.declared(folder / "30_typed.ipynb")
    assert known["share"] == notebooks.Parameter("share", "float", -0.5, "a share")
    assert known["name"].default == "#1" and known["keep"].help == "keep # all"
    assert notebooks.typed({"share": "1", "keep": "no", "name": "7"}, known, "x") == {
        "share": 1.0,
        "keep": False,
        "name": "7",
    }
    for wrong in ({"keep": "perhaps"}, {"keep": 1}, {"name": 3}, {"share": "x"}):
        with pytest.raises(NotebookError):
            notebooks.typed(wrong, known, "x")


def test_outputs_and_logs_hold_no_personal_values(folder: Path, workspace: Workspace, tmp_path: Path) -> None:
    """Prints, tables, tracebacks, the kernel's own errors and the result are scrubbed before they are stored."""
    topic = write(
        folder,
        "30_leaky",
        f"who = {CANARY!r}\nprint(who)",
        "import pandas as pd\npd.DataFrame({{'who': [who]}})",
        "import os, sys\nos.write(2, who.encode()); print(who, file=sys.__stderr__, flush=True)",
        "raise LookupError(who)",
    )
    verdict = notebooks.run(topic, None, workspace, folder=folder, canaries=["zoé kanarienvogel"])
    assert verdict.kind == "raised" and verdict.output is not None
    stored = [path for path in workspace.home.rglob("*") if path.is_file()]
    assert {path.suffix for path in stored} >= {".ipynb", ".log", ".json"}
    for path in stored:
        text = path.read_text(encoding="utf-8", errors="replace")
        for value in ("jean.canari", "12 34 56 78", "0112 3456", "Kanarienvogel"):
            assert value not in text and value not in str(verdict), f"{value} in {path.name}"
    executed = nbformat.read(verdict.output, as_version=4)
    printed = next(output.text for cell in executed.cells for output in cell.get("outputs", []))
    assert printed.startswith("[email], [phone], [iban], [removed]")
    # The code itself is not touched where it names nobody.
    assert "import pandas as pd\npd.DataFrame({'who': [who]})" in [cell.source for cell in executed.cells]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a migrated, empty MLflow database: creating one takes seconds."""
    from cdpkit import tracking

    home = tmp_path_factory.mktemp("empty")
    (home / "mlruns").mkdir()
    tracking.open_store(home).client().search_experiments()
    return (home / "mlruns" / "mlflow.db").read_bytes()


TRACK = """
from cdpkit import tracking
tracked = tracking.start("{topic}", as_of="2026-01-01", workspace=run.workspace, run_id=run.run_id)
tracked.log_metrics({{"rows": 1.0}})
"""


@pytest.mark.parametrize(
    ("last", "status"),
    [
        ("tracked.finish(); run.finish()", "FINISHED"),
        ("tracked.finish(); run.finish(); import os; os.kill(os.getpid(), 9)", "FAILED"),
    ],
)
def test_the_runner_owns_the_status_of_mlflow_runs(
    folder: Path, workspace: Workspace, empty_store: bytes, last: str, status: str
) -> None:
    """A run is FINISHED only when its notebook passed, whatever the notebook itself said."""
    from cdpkit import tracking

    workspace.mlruns.mkdir(parents=True)
    (workspace.mlruns / "mlflow.db").write_bytes(empty_store)
    topic = write(folder, "30_tracked", BEGIN, TRACK, last)
    verdict = notebooks.run(topic, None, workspace, folder=folder)
    client = tracking.open_store(workspace).client()
    assert [client.get_run(run).info.status for run in verdict.mlflow_runs] == [status]
    found = client.search_runs([client.get_experiment_by_name("tracked").experiment_id])
    assert [run.info.run_id for run in found] == list(verdict.mlflow_runs)


class Seen(list[tuple[str, str]]):
    """Collects progress."""

    def __call__(self, number: int, total: int, topic: str, verdict: Any) -> None:
        self.append((topic, verdict.status if verdict else "started"))


def test_a_night_runs_in_order_and_publishes_once(folder: Path, workspace: Workspace) -> None:
    """Steps follow their numbers, a skipped one says why, one snapshot comes out, with a report."""
    good(folder, "20_features")
    good(folder, "00_load")
    write(folder, "10_identity", BEGIN, "run.finish({{'skipped': 'this source has no <identifiers>'}})")
    good(folder, "99_template")
    seen = Seen()
    night = notebooks.nightly(workspace, folder=folder, all=True, parameters={"seed": "3"}, progress=seen)
    assert night.ok and night.exit_code == 0 and night.snapshot == "s000001"
    assert [v.topic for v in night.verdicts] == ["load", "identity", "features"]
    assert seen[:2] == [("load", "started"), ("load", "ok")] and ("identity", "skipped") in seen
    assert rows(workspace) == ["features", "load"] and workspace.lake().page("load") == {"seed": 3}
    page = night.report.read_text(encoding="utf-8")
    assert "this source has no &lt;identifiers&gt;" in page and "s000001" in page
    content = report.read(night.report.parent)
    assert content is not None and [s["status"] for s in content["steps"]] == ["ok", "skipped", "ok"]
    # Idempotent: another night on the same inputs gives the same rows.
    assert notebooks.nightly(workspace, folder=folder, only=["load"]).snapshot == "s000002"
    assert rows(workspace) == ["features", "load"]


def test_a_failed_night_publishes_nothing_and_resumes_where_it_stopped(
    folder: Path, workspace: Workspace, tmp_path: Path
) -> None:
    """Steps done are kept with their rows and pages; a step whose code changed runs again."""
    flag = tmp_path / "mended"
    good(folder, "00_load")
    good(folder, "10_identity")
    broken = f"import pathlib\nassert pathlib.Path({str(flag)!r}).exists()"
    write(folder, "20_features", BEGIN, WRITE, broken, "run.finish()")
    write(folder, "30_appetence", BEGIN, "run.finish()")
    night = notebooks.nightly(workspace, folder=folder)
    assert [v.status for v in night.verdicts] == ["ok", "ok", "failed", "not run"]
    assert night.exit_code == 1 and night.snapshot is None and workspace.lake().current() is None
    flag.touch()
    good(folder, "10_identity")
    path = folder / "10_identity.ipynb"
    path.write_text(
        path.read_text(encoding="utf-8").replace("A question", "Another question"), encoding="utf-8"
    )
    seen = Seen()
    night = notebooks.nightly(workspace, folder=folder, resume=True, progress=seen)
    assert [v.status for v in night.verdicts] == ["resumed", "ok", "ok", "ok"] and night.ok
    assert ("load", "started") not in seen
    assert rows(workspace) == ["features", "identity", "load"]
    assert set(workspace.lake().current().pages) == {"load", "identity", "features"}  # type: ignore[union-attr]


def test_a_checkpoint_that_is_gone_is_not_taken_for_another(workspace: Workspace) -> None:
    """A table dropped and made again counts its versions anew: same number, other rows, no resumption."""
    for content in ("first", "second"):
        run, lock = checkpoint.begin(workspace, restore=True)
        row = {"model": "m", "as_of": datetime(2026, 1, 1), "name": "n", "content": content}
        run.lake.write("reports", pa.Table.from_pylist([row]))
        run.page("m", {"content": content})
        if content == "first":
            before = checkpoint.heads(run.lake)
            checkpoint.keep_pages(run.lake, workspace.outputs)
            lock.release()
    now = checkpoint.heads(run.lake)
    assert now["reports"][0] == before["reports"][0]
    assert not checkpoint.check_out(run.lake, before, workspace.outputs)
    run.lake.write("reports", pa.Table.from_pylist([row]))
    assert checkpoint.check_out(run.lake, now, workspace.outputs)
    assert run.lake.read("reports", "head").rows == 1
    lock.release()


def test_a_night_refuses_what_no_step_declares(folder: Path, workspace: Workspace) -> None:
    """A mistyped parameter, or a date nobody asks for, is not silently dropped."""
    good(folder, "00_load")
    for options in ({"parameters": {"sead": 1}}, {"as_of": "2026-01-01"}, {"only": ["lode"]}):
        with pytest.raises(NotebookError):
            notebooks.nightly(workspace, folder=folder, **options)  # type: ignore[arg-type]
    assert not workspace.outputs.exists()


def test_two_schedulers_one_night(folder: Path, workspace: Workspace) -> None:
    """While one run holds the workspace the other is refused by name, before anything runs."""
    good(folder, "00_load")
    with (
        Run.begin(workspace, "first", holder="the first scheduler"),
        pytest.raises(LockHeldError, match="first"),
    ):
        notebooks.nightly(workspace, folder=folder)


def alive(pid: int) -> bool:
    """Tell whether a process runs: one that ended and waits for its parent to ask is gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_a_killed_runner_leaves_no_kernel_and_its_night_can_be_resumed(
    folder: Path, workspace: Workspace, tmp_path: Path
) -> None:
    """kill -9 of the runner in mid-step: its kernel goes too, readers see nothing, the next night completes."""
    started, done = tmp_path / "started", tmp_path / "done"
    wait = (
        "import os, pathlib, time\n"
        f"aside = pathlib.Path({str(started) + '.tmp'!r})\n"
        "aside.write_text(str(os.getpid()))\n"
        f"aside.rename({str(started)!r})\n"
        f"while not pathlib.Path({str(done)!r}).exists(): time.sleep(0.1)"
    )
    good(folder, "00_load")
    write(folder, "10_identity", BEGIN, WRITE, wait, "run.finish()")
    code = (
        "from pathlib import Path; from cdpkit import notebooks; from cdpkit.workspace import Workspace\n"
        f"notebooks.nightly(Workspace(Path({str(workspace.home)!r})), folder=Path({str(folder)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
    deadline = time.monotonic() + 180
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kernel = int(started.read_text())
    while alive(kernel) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(kernel) and workspace.lake().current() is None
    left = report.read(workspace.outputs / "r000001")
    assert left is not None and left["status"] == "running"
    done.touch()
    code_version.cache_clear()
    night = notebooks.nightly(workspace, folder=folder, resume=True)
    assert [v.status for v in night.verdicts] == ["resumed", "ok"] and rows(workspace) == ["identity", "load"]
    assert json.loads((night.report.parent / "report.json").read_text())["status"] == "ok"
