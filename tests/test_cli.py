"""The command line: thin, quick to answer, and honest in its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cdpkit import cli
from cdpkit.notebooks import Nightly, Verdict
from cdpkit.run import Run
from cdpkit.workspace import Workspace

CELL = {
    "cell_type": "code",
    "execution_count": None,
    "outputs": [],
    "id": "a",
    "metadata": {"tags": ["parameters"]},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a workspace beside a folder with one notebook."""
    for name in ("CDPKIT_HOME", "CDPKIT_RUN_TOKEN", "CDPKIT_SENTINEL"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    source = 'home: str = ""  # workspace\nseed: int = 0  # randomness\nas_of: str = ""  # date\nsource: str = ""  # what\npath: str = ""  # file'
    content = {"cells": [CELL | {"source": source}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "00_load.ipynb").write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setenv("CDPKIT_NOTEBOOKS", str(folder))
    return tmp_path / "home"


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Run `main` as the installed command does."""
    monkeypatch.setattr(sys, "argv", ["cdpkit", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


def test_help_is_quick_and_light() -> None:
    """`cdpkit --help` imports nothing heavy, and each command and option is described."""
    code = (
        "import sys; sys.argv = ['cdpkit', '--help']\n"
        "from cdpkit.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pandas', 'numpy', 'mlflow', 'papermill', 'duckdb', 'pyarrow', 'sklearn', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in cli.app.registered_commands:
        assert command.callback is not None and command.callback.__doc__
        assert (command.name or command.callback.__name__) in done.stdout
        usage = CliRunner().invoke(cli.app, [command.callback.__name__, "--help"])
        assert usage.exit_code == 0 and "--home" in usage.stdout


def test_a_mistyped_parameter_is_one_clean_message(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What could not start exits with 2 and a sentence, without a traceback, and nothing has run."""
    for arguments in (["run", "load", "-p", "sead=1"], ["run", "nightly", "-p", "sead=1"]):
        code, out, err = call(monkeypatch, capsys, *arguments, "--home", str(home))
        assert code == 2 and out == "" and "Did you mean `seed`?" in err and "Traceback" not in err
    for arguments in (["run", "lode"], ["run", "load", "-p", "seed"], ["run", "load", "--resume"]):
        code, _, err = call(monkeypatch, capsys, *arguments, "--home", str(home))
        assert code == 2 and err.startswith("cdpkit: ") and err.count("\n") == 1
    assert not home.exists()


def test_a_held_lock_is_refused_by_name(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second writer exits with 2 and learns who writes."""
    with Run.begin(Workspace.open(home), "x", holder="the scheduler"):
        code, _, err = call(monkeypatch, capsys, "run", "nightly", "--home", str(home))
    assert code == 2 and "the scheduler" in err


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("failed", 1)])
def test_a_night_ends_with_its_own_exit_code(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: str, code: int
) -> None:
    """The command passes its options on, shows progress, and returns what became of the night."""
    asked: dict[str, Any] = {}
    home.mkdir(parents=True, exist_ok=True)
    (home / "x.csv").touch()
    monkeypatch.chdir(home)

    def nightly(workspace: Workspace, **options: Any) -> Nightly:
        asked.update(options, home=workspace.home)
        verdict = Verdict(
            "load", status, kind="killed" if status == "failed" else "", reason="died", cell=3, seconds=2.0
        )
        options["progress"](1, 1, "load", None)
        options["progress"](1, 1, "load", verdict)
        return Nightly("r000001", status, "load: died", (verdict,), "s000001", (), home / "report.html")

    monkeypatch.setattr("cdpkit.notebooks.nightly", nightly)
    monkeypatch.setenv("CDPKIT_HOME", str(home))
    got, out, err = call(
        monkeypatch, capsys, "run", "nightly", "--source", "cdnow", "--path", "x.csv", "-p", "seed=3", "--resume"
    )  # fmt: skip
    assert got == code and "[1/1] load …" in out and f"[1/1] load {status} in 2.0 s" in out
    assert ("report.html" in out) if code == 0 else ("killed in cell 3" in out and "load: died" in err)
    assert asked["home"] == home / "data" / "workspaces" / "cdnow" and asked["source"] == "cdnow"
    assert (
        asked["path"] == str(Path("x.csv").absolute())
        and asked["parameters"] == {"seed": "3"}
        and asked["resume"]
    )


def test_status_is_for_machines_and_for_people(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty workspace and a published one both answer."""
    code, out, _ = call(monkeypatch, capsys, "status", "--home", str(home))
    assert code == 0 and "none published yet" in out
    run = Run.begin(Workspace.open(home), "x")
    run.finish()
    code, out, _ = call(monkeypatch, capsys, "status", "--home", str(home), "--json")
    assert code == 0 and json.loads(out)["snapshot"] == "s000001" and json.loads(out)["last_night"] is None


def test_erase_takes_all_records_of_a_person_and_names_nobody(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One record leads to the person's others of today; an unknown one erases nothing and is not repeated."""
    import pandas as pd

    now = pd.Timestamp("2026-01-01").as_unit("us")
    nodes = pd.DataFrame({"node_id": [1, 2, 3, 4], "source": "crm", "record_id": ["a:1", "b", "c", "d"]})
    # Nodes 1 and 3, and 2 and 4, were held to be one person each, and are no more.
    membership = pd.DataFrame(
        {
            "node_id": [1, 3, 2, 4, 1, 2, 3, 4],
            "person_id": ["p2", "p2", "p1", "p1", "p1", "p1", "p2", "p3"],
            "known_from": [now] * 4 + [now + pd.Timedelta("1D")] * 4,
            "known_to": pd.Series([now + pd.Timedelta("1D")] * 4 + [pd.NaT] * 4).astype("datetime64[us]"),
        }
    )
    run = Run.begin(Workspace.open(home), "x")
    run.lake.write("nodes", nodes.assign(node_type="contact", known_at=now))
    run.lake.write("membership", membership)
    run.finish()
    raw = Workspace.open(home).raw
    raw.mkdir(parents=True)
    (raw / "scan.png").write_bytes(b"\x89PNG")
    code, _, err = call(monkeypatch, capsys, "erase", "crm:a:1", "crm:zzz", "--home", str(home))
    assert code == 2 and "1 unknown of 2" in err and "zzz" not in err
    code, out, _ = call(monkeypatch, capsys, "erase", "crm:a:1", "--home", str(home))
    assert code == 0 and "Erased 2 records" in out and "rows in 2 tables" in out
    assert "look at it yourself: data/raw/scan.png" in out
    assert Workspace.open(home).lake().read("nodes").to_pandas()["node_id"].tolist() == [3, 4]
    assert Workspace.open(home).lake().erase_records([("crm", "c")], alone=True).records == 1


def test_demo_generates_then_runs_then_serves(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Raw exports first, then the night on them; the dashboards only after a good night, and if asked."""
    done: list[str] = []

    class World:
        def write(self, raw: Path, truth: Path) -> None:
            done.append(f"write {raw.name} {truth.name}")

    def nightly(workspace: Workspace, **options: Any) -> Nightly:
        done.append(f"night {options['source']} {Path(options['path']).name}")
        return Nightly("r1", "failed" if "bad" in str(workspace.home) else "ok", "", (), "s1", (), home)

    monkeypatch.setattr("cdpkit.world.generate", lambda n_persons, seed: World())
    monkeypatch.setattr("cdpkit.notebooks.nightly", nightly)
    monkeypatch.setattr("cdpkit.ui.server.main", lambda *a, **k: done.append(f"serve {k['port']}"))
    assert call(monkeypatch, capsys, "demo", "--home", str(home), "--port", "9")[0] == 0
    assert done == ["write raw truth", "night world raw", "serve 9"]
    assert call(monkeypatch, capsys, "demo", "--home", str(home), "--no-serve")[0] == 0
    assert call(monkeypatch, capsys, "demo", "--home", str(home / "bad"))[0] == 1
    assert done.count("serve 9") == 1 and len([d for d in done if d.startswith("serve")]) == 1


def test_doctor_looks_over_an_empty_workspace(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to mend is said as such."""
    code, out, _ = call(monkeypatch, capsys, "doctor", "--relocate", "--home", str(home))
    assert code == 0 and "Mended 0 addresses" in out and "Marked 0 dead runs" in out


@pytest.mark.parametrize(
    "option", [("--path", "absent.csv"), ("--source", "absent.toml"), ("--as-of", "2026-13-01")]
)
def test_a_wrong_option_is_refused_before_anything_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: tuple[str, str]
) -> None:
    """A file that is not there, or a date that is not one, ends with 2 and says which."""
    monkeypatch.setenv("CDPKIT_HOME", str(home))
    got, _, err = call(monkeypatch, capsys, "run", "nightly", *option)
    assert got == 2 and option[1] in err
