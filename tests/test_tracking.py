"""Tracking: what a run keeps, what it refuses, which version is trusted and which is champion."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from cdpkit import serving, tracking
from cdpkit.errors import CdpkitError, IntegrityError
from cdpkit.tracking import promotion, registry
from cdpkit.tracking import store as stores

X = pd.DataFrame({"n_orders": [1.0, 2.0], "device": ["mobile", None]})


class Linear:
    """A model as serving sees one: a weight in a JSON file."""

    definition: ClassVar[dict] = {"name": "purchase"}
    card: ClassVar[dict] = {"windows": {"test": "2026-01-01"}}

    def __init__(self, weight: float = 0.1) -> None:
        self.weight = weight

    def save(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.json").write_text(json.dumps({"weight": self.weight}), encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: Path) -> Linear:
        return cls(**json.loads((folder / "model.json").read_text(encoding="utf-8")))

    def columns(self) -> list[str]:
        return ["n_orders", "device"]

    def probability(self, X: pd.DataFrame) -> pd.Series:
        return (self.weight * X["n_orders"].fillna(0)).clip(0.01, 0.99)

    def score(self, X: pd.DataFrame, as_of: pd.Timestamp, version: str) -> pd.DataFrame:
        score = self.weight * X["n_orders"].fillna(0)
        frame = pd.DataFrame({"score": score, "percentile": 50.0, "decile": 5, "tier": "warm"})
        return frame.assign(reasons=[["n_orders", "device", "age"]] * len(X), as_of=as_of, version=version)


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated, empty database: creating one takes seconds."""
    home = tmp_path_factory.mktemp("empty")
    store = tracking.open_store(home)
    stores.prepare(store)
    store.client().search_experiments()
    return home / "mlruns" / "mlflow.db"


@pytest.fixture
def home(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a workspace whose path is as awkward as a real one, with the double on the list."""
    for name in ("MLFLOW_TRACKING_URI", "CDPKIT_SENTINEL"):
        monkeypatch.delenv(name, raising=False)
    double = types.ModuleType("model_double")
    double.Linear = Linear  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "model_double", double)
    monkeypatch.setattr(serving, "LOADERS", {"model_double.Linear"})
    home = tmp_path / "Données du site"
    (home / "mlruns").mkdir(parents=True)
    (home / "mlruns" / "mlflow.db").write_bytes(empty_store.read_bytes())
    return home


def begin(home: Path, **options: object) -> tracking.TrackedRun:
    """Start an appetence run in `home`."""
    return tracking.start("appetence", as_of="2026-06-30", workspace=home, run_id="r000001", **options)  # type: ignore[arg-type]


def log_version(
    home: Path, tmp_path: Path, weight: float = 0.1
) -> tuple[tracking.TrackedRun, tracking.ModelVersion]:
    """Log a model in a run still running."""
    run = begin(home)
    folder = Linear(weight).save(tmp_path / f"model{weight}")
    return run, run.log_model(folder, loader="model_double.Linear", inputs=X)


def champion(home: Path) -> str | None:
    """Return the champion's number."""
    found = registry.find(tracking.open_store(home), "appetence", "champion")
    return None if found is None else found.version


def status(home: Path, run: tracking.TrackedRun) -> str:
    """Return what MLflow says of a run."""
    return tracking.open_store(home).client().get_run(run.id).info.status


def test_the_store_lies_in_the_workspace_with_absolute_artifacts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records and artifacts go below the home, wherever the process stands."""
    monkeypatch.chdir("/")
    with begin(home) as run:
        run.log_table("deciles", pd.DataFrame({"decile": [1, 2], "rate": [0.3, 0.1]}))
    experiment = tracking.open_store(home).client().get_experiment_by_name("appetence")
    assert experiment.artifact_location == (home / "mlruns/artifacts/appetence").as_uri()
    assert list((home / "mlruns/artifacts/appetence").rglob("deciles.json"))


def test_mlflow_tracking_uri_wins(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own server is used when named, and the retired file store is refused."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    assert tracking.open_store(home).uri.endswith("/other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    with pytest.raises(CdpkitError, match="database or a server"):
        tracking.open_store(home)


def test_a_run_says_what_it_was_asked_and_on_what(home: Path) -> None:
    """Name, parameters, metrics and tags are what the notebook gave."""
    with begin(home, params={"seed": 0}, snapshot="s000004", notebook="30_appetence.ipynb") as run:
        run.log_metrics({"test_log_loss": 0.21, "baseline_log_loss": 0.25})
    kept = tracking.open_store(home).client().get_run(run.id)
    assert kept.info.run_name == "appetence@2026-06-30" and kept.info.status == "FINISHED"
    assert kept.data.params == {"seed": "0"}
    assert kept.data.metrics == {"test_log_loss": 0.21, "baseline_log_loss": 0.25}
    wanted = {
        "as_of": "2026-06-30",
        "snapshot": "s000004",
        "notebook": "30_appetence.ipynb",
        "run_id": "r000001",
    }
    assert wanted.items() <= kept.data.tags.items() and "git_commit" in kept.data.tags


def test_what_names_a_customer_is_refused_and_not_repeated(home: Path) -> None:
    """Customer rows, addresses and metrics without a baseline never reach the store."""
    run = begin(home)
    canary = "jean.canari@example.fr"
    refused = [
        lambda: run.log_metrics({"test_log_loss": 0.2}),
        lambda: run.log_table("scores", pd.DataFrame({"person_id": ["p1"], "score": [0.1]})),
        lambda: run.log_table("scores", pd.DataFrame({"score": [0.1]}, index=pd.Index([7], name="node_id"))),
        lambda: run.log_table("notes", pd.DataFrame({"note": [f"asked by {canary}"]})),
        lambda: run.log_json("card", {"contact": {"who": canary}}),
        lambda: run.log_text("card.md", f"ask {canary}"),
        lambda: run.log_params({"path": f"/data/{canary}.csv"}),
        lambda: run.log_model("nowhere", loader="model_double.Linear", inputs={"person_id": "string"}),
    ]
    for refuse in refused:
        with pytest.raises(CdpkitError) as error:
            refuse()
        assert canary not in str(error.value)
    run.finish()
    for path in (home / "mlruns").rglob("*"):
        assert path.is_dir() or canary.encode() not in path.read_bytes()


def test_a_failed_run_is_marked_failed(home: Path) -> None:
    """An exception by hand leaves FAILED, not FINISHED."""
    with pytest.raises(RuntimeError), begin(home) as run:
        raise RuntimeError
    assert status(home, run) == "FAILED"


def test_under_the_runner_a_run_waits_for_its_verdict(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished notebook leaves its run RUNNING and its alias unmoved; the runner does both."""
    monkeypatch.setenv("CDPKIT_SENTINEL", str(tmp_path / "sentinel"))
    run, version = log_version(home, tmp_path)
    decision = run.promote(version.version)
    run.finish()
    assert decision.alias == "champion" and not decision.applied
    assert status(home, run) == "RUNNING" and champion(home) is None
    listed = (tmp_path / "sentinel.mlflow").read_text().split()
    tracking.settle(home, listed, ok=True)
    assert status(home, run) == "FINISHED" and champion(home) is None
    assert tracking.apply_promotions(home, listed, "s000003") == ["appetence:1"]
    assert tracking.open_store(home).client().get_run(run.id).data.tags["snapshot"] == "s000003"
    assert champion(home) == "1"


def test_a_failed_verdict_drops_the_promotion(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version of a failed run is registered but never gets an alias."""
    monkeypatch.setenv("CDPKIT_SENTINEL", str(tmp_path / "sentinel"))
    run, version = log_version(home, tmp_path)
    run.promote(version.version)
    tracking.settle(home, [run.id], ok=False, reason="killed")
    assert status(home, run) == "FAILED"
    assert tracking.apply_promotions(home, [run.id]) == [] and champion(home) is None
    with pytest.raises(CdpkitError, match="FINISHED"):
        tracking.promote("appetence", version.version, workspace=home)


def test_a_stored_model_loads_and_scores_by_alias(home: Path, tmp_path: Path) -> None:
    """Our loader gives back the very model, with no pickle anywhere in the store."""
    run, version = log_version(home, tmp_path)
    run.promote(version.version)
    run.finish()
    loaded = tracking.load("appetence", workspace=home)
    assert loaded.model.weight == 0.1 and loaded.version == "1"
    assert loaded.spec["inputs"] == {"n_orders": "double", "device": "string"}
    names = [path.name for path in (home / "mlruns").rglob("*")]
    assert "MLmodel" in names and not [n for n in names if n.endswith((".pkl", ".pickle", ".skops"))]


@pytest.mark.parametrize("victim", ["artifacts/packed/model.json", "stub.py", "MLmodel"])
def test_an_altered_model_is_refused(home: Path, tmp_path: Path, victim: str) -> None:
    """One byte changed anywhere in the tree, stub included, and nothing is loaded."""
    run, version = log_version(home, tmp_path)
    run.promote(version.version)
    run.finish()
    tree = next((home / "mlruns/artifacts/appetence").rglob("MLmodel")).parent
    with (tree / victim).open("a", encoding="utf-8") as file:
        file.write(" ")
    with pytest.raises(IntegrityError, match=f"altered: {victim}"):
        tracking.load("appetence", workspace=home)


def test_a_file_added_or_taken_away_is_refused(home: Path, tmp_path: Path) -> None:
    """The tree is compared as a whole, in both directions."""
    run, version = log_version(home, tmp_path)
    run.finish()
    tree = next((home / "mlruns/artifacts/appetence").rglob("MLmodel")).parent
    (tree / "more.py").write_text("x = 1", encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"unknown: more\.py"):
        tracking.verify("appetence", version.version, workspace=home)
    (tree / "more.py").unlink()
    (tree / "conda.yaml").unlink()
    with pytest.raises(IntegrityError, match=r"missing: conda\.yaml"):
        tracking.promote("appetence", version.version, workspace=home)
    assert champion(home) is None


def test_code_and_unlisted_loaders_are_not_stored(home: Path, tmp_path: Path) -> None:
    """A model folder holds data, and names a loader of the fixed list."""
    folder = Linear().save(tmp_path / "model")
    run = begin(home)
    with pytest.raises(CdpkitError, match="fixed list"):
        run.log_model(folder, loader="os.system", inputs=X)
    (folder / "model.pkl").write_bytes(b"x")
    with pytest.raises(CdpkitError, match="data only"):
        run.log_model(folder, loader="model_double.Linear", inputs=X)
    assert registry.find(tracking.open_store(home), "appetence", "1") is None


def test_requirements_are_pinned_and_the_example_is_made_up(home: Path, tmp_path: Path) -> None:
    """The stored model names its exact libraries and shows no training row."""
    run, _ = log_version(home, tmp_path)
    run.finish()
    tree = next((home / "mlruns/artifacts/appetence").rglob("MLmodel")).parent
    lines = (tree / "requirements.txt").read_text().split()
    assert [line.split("==")[0] for line in lines] == ["cdpkit", *registry.PINNED]
    assert all("==" in line for line in lines)
    example = (tree / "input_example.json").read_text()
    assert "mobile" not in example and "unknown" in example


def comparison(champion: str = "1", lower: float = 0.01, **options: object) -> tracking.Comparison:
    """Return a paired result."""
    return tracking.Comparison("log_loss", lower + 0.01, lower, lower + 0.02, champion, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("result", "alias"),
    [
        (None, "challenger"),
        (comparison(), "champion"),
        (comparison(lower=-0.001), "challenger"),
        (comparison(lower=0.0), "challenger"),
        (comparison(lower=0.003, margin=0.002), "champion"),
        (comparison(lower=0.001, margin=0.002), "challenger"),
        (comparison(lower=float("nan")), "challenger"),
        (comparison(champion="7"), "challenger"),
        (comparison(checks={"calibration": True, "segment new": False}), "challenger"),
    ],
)
def test_promotion_needs_a_paired_gain_above_the_margin(
    result: tracking.Comparison | None, alias: str
) -> None:
    """Only a proven gain over the present champion, with every check, replaces it."""
    one, two = (tracking.ModelVersion("appetence", v, "", "", {}) for v in "12")
    assert promotion._judge(two, one, result)[0] == alias
    assert promotion._judge(two, None, result)[0] == "champion"


def test_a_challenger_is_compared_with_the_champion_on_the_same_rows(home: Path, tmp_path: Path) -> None:
    """No champion: nothing to compare; then the better one is promoted, an equal or a worse one is not."""
    y = [0, 1] * 200
    rows = pd.DataFrame({"n_orders": [float(outcome + 1) for outcome in y]})
    asked = {"workspace": home, "definition": Linear.definition, "since": pd.Timestamp("2026-02-01")}
    assert tracking.compare("appetence", rows, y, Linear(0.3).probability(rows), **asked) is None
    expected = {0.3: "champion", 0.2: "challenger", 0.35: "champion"}
    for weight, alias in expected.items():
        run, version = log_version(home, tmp_path, weight)
        found = tracking.compare("appetence", rows, y, Linear(weight).probability(rows), **asked)
        assert run.promote(version.version, found).alias == alias
        run.finish()
    assert champion(home) == "3"
    same = tracking.compare("appetence", rows, y, Linear(0.35).probability(rows), **asked)
    assert same is not None and same.gain == 0 and same.faults("3")
    seen = asked | {"since": pd.Timestamp("2025-12-01")}
    early = tracking.compare("appetence", rows, y, Linear(0.4).probability(rows), **seen)
    assert early is not None and any("had not seen" in fault for fault in early.faults("3"))
    other = tracking.compare(
        "appetence", rows, y, rows["n_orders"] * 0 + 0.5, **asked | {"definition": {"name": "x"}}
    )
    run, version = log_version(home, tmp_path, 0.1)
    assert run.promote(version.version, other).alias == "champion"


def test_rollback_gives_the_alias_back(home: Path, tmp_path: Path) -> None:
    """One call returns to the champion before; the stored copy follows."""
    for number, weight in enumerate((0.1, 0.2), start=1):
        run, version = log_version(home, tmp_path, weight)
        run.promote(version.version, comparison() if number == 2 else None)
        run.finish()
        assert champion(home) == str(number)
    assert tracking.rollback("appetence", workspace=home).version == "1"
    assert tracking.load("appetence", workspace=home).model.weight == 0.1
    with pytest.raises(CdpkitError, match="before this one"):
        tracking.rollback("appetence", workspace=home)


def test_a_decision_about_another_champion_does_not_take_its_place(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the alias moved between the decision and its application, the version stays challenger."""
    first, one = log_version(home, tmp_path, 0.1)
    second, two = log_version(home, tmp_path, 0.2)
    for run, version in ((first, one), (second, two)):
        assert run.promote(version.version).alias == "champion"
    first.finish()
    second.finish()
    assert champion(home) == "1"
    assert registry.find(tracking.open_store(home), "appetence", "challenger").version == "2"  # type: ignore[union-attr]


def test_scoring_goes_on_when_the_registry_is_down(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion verified last is loaded from its copy, verified again."""
    run, version = log_version(home, tmp_path)
    run.promote(version.version)
    run.finish()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert tracking.load("appetence", workspace=home).model.weight == 0.1
    kept = next((home / "mlruns/artifacts/.champions").rglob("model.json"))
    kept.write_text(json.dumps({"weight": 9.0}), encoding="utf-8")
    with pytest.raises(IntegrityError):
        tracking.load("appetence", workspace=home)


def test_a_registry_pointing_outside_the_workspace_is_refused(home: Path, tmp_path: Path) -> None:
    """An artifact location such as file:///etc is not followed."""
    import sqlite3

    run, version = log_version(home, tmp_path)
    run.finish()
    with sqlite3.connect(home / "mlruns/mlflow.db") as connection:
        connection.execute("UPDATE logged_models SET artifact_location = 'file:///etc'")
    with pytest.raises(IntegrityError, match="must lie in the workspace"):
        tracking.load("appetence", version.version, workspace=home)


def test_a_moved_workspace_is_mended(home: Path, tmp_path: Path) -> None:
    """After the folder moved, one call makes its models load again; a second finds nothing to do."""
    run, version = log_version(home, tmp_path)
    run.promote(version.version)
    run.finish()
    moved = tmp_path / "elsewhere"
    home.rename(moved)
    with pytest.raises(IntegrityError, match="relocate"):
        tracking.load("appetence", workspace=moved)
    assert tracking.doctor_relocate(moved) >= 4
    assert tracking.load("appetence", workspace=moved).version == "1"
    assert tracking.doctor_relocate(moved) == 0
    with begin(moved) as again:
        again.log_text("note.txt", "well")
    assert list((moved / "mlruns").rglob("note.txt"))


def test_killed_while_registering_leaves_the_champion_and_a_failed_run(home: Path, tmp_path: Path) -> None:
    """kill -9 before the version is written: no alias moves, and the next start marks the run FAILED."""
    run, version = log_version(home, tmp_path)
    run.promote(version.version)
    run.finish()
    code = f"""
import os, sys
from mlflow import MlflowClient
from cdpkit import serving, tracking
serving.LOADERS = {{"os.path"}}
MlflowClient.create_model_version = lambda *a, **k: os.kill(os.getpid(), 9)
run = tracking.start("appetence", as_of="2026-06-30", workspace={str(home)!r}, run_id="r1")
print(run.id, flush=True)
run.log_model({str(tmp_path / "model0.1")!r}, loader="os.path", inputs={{"n_orders": "double"}})
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    client, orphan = tracking.open_store(home).client(), process.stdout.strip()
    assert client.get_run(orphan).info.status == "RUNNING"
    begin(home)
    assert client.get_run(orphan).info.status == "FAILED"
    assert champion(home) == "1" and registry.find(tracking.open_store(home), "appetence", "2") is None


def test_the_reaper_leaves_living_runs_and_waits_for_foreign_ones(home: Path) -> None:
    """A living process keeps its run at any age; another machine's run is judged by its age."""
    client = tracking.open_store(home).client()
    living, foreign = begin(home), begin(home)
    client.set_tag(foreign.id, "cdpkit.host", "another-machine")
    assert tracking.reap(home) == []
    begun = datetime.fromtimestamp(client.get_run(foreign.id).info.start_time / 1000, UTC)
    assert tracking.reap(home, now=begun + timedelta(hours=3)) == []
    assert tracking.reap(home, now=begun + timedelta(days=3)) == [foreign.id]
    assert status(home, living) == "RUNNING"
