"""From one retraining to the next: only the better one is promoted, and a mistake undoes itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from cdpkit import tracking
from cdpkit.models import AppetenceClassifier, Scorer, build_card
from cdpkit.tracking import registry

DEFINITION = {"name": "purchase"}


def _reactions(n: int, seed: int, effect: float = 1.0) -> tuple[pd.DataFrame, np.ndarray]:
    """People and what they did; `effect` is how much a message opened says of an order."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "visits": rng.poisson(3, n).astype(float),
            "opens": rng.poisson(2, n).astype(float),
            "country": rng.choice(["fr", "be"], n),
        }
    )
    odds = 0.4 * (X["visits"] - 3) + effect * (X["opens"] - 2) - 1
    return X, rng.random(n) < expit(odds.to_numpy())


def _log(home: Path, scorer: Scorer, as_of: str) -> tuple[tracking.TrackedRun, tracking.ModelVersion]:
    run = tracking.start("appetence", as_of=as_of, workspace=home, run_id="r000001")
    folder = scorer.save(home / f"saved{as_of}")
    return run, run.log_model(folder, inputs=scorer.wire())


def _scorer(X: pd.DataFrame, y: np.ndarray, judged_on: str) -> Scorer:
    model = AppetenceClassifier(max_trees=60).fit(X, y)
    card = build_card("appetence", definition=DEFINITION, classifier=model, windows={"test": judged_on})
    return Scorer("appetence", model, definition=DEFINITION, card=card).fit_tiers(X, "all").fit_drift(X)


def _champion(home: Path) -> str | None:
    found = registry.find(tracking.open_store(home), "appetence", "champion")
    return None if found is None else found.version


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Three retrainings: the first, one that learned nothing more, one that learned new reactions."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.pop("CDPKIT_SENTINEL", None)
    home = tmp_path_factory.mktemp("life")
    old, old_y = _reactions(3000, 0, effect=0.2)
    new, new_y = _reactions(3000, 1)
    judged, judged_y = _reactions(4000, 2)
    told: dict = {"home": home, "aliases": [], "judged": (judged, judged_y)}
    both = pd.concat([old, new], ignore_index=True)
    trained = [
        _scorer(old, old_y, "2026-01-01"),
        _scorer(*_reactions(3000, 3, effect=0.2), "2026-02-01"),
        _scorer(both, np.concatenate([old_y, new_y]), "2026-03-01"),
    ]
    for month, scorer in enumerate(trained, start=1):
        run, version = _log(home, scorer, f"2026-0{month}-01")
        comparison = tracking.compare(
            "appetence", judged, judged_y, scorer.probability(judged), workspace=home, definition=DEFINITION,
            since=pd.Timestamp("2026-03-01"), segments=judged[["country"]], drift=scorer.watch(judged),
            margin=0.01,
        )  # fmt: skip
        told["aliases"].append(run.promote(version.version, comparison).alias)
        told["comparison"] = comparison
        run.finish()
    return told


@pytest.mark.req("MEA-07")
def test_a_challenger_takes_over_only_where_new_reactions_made_it_better(life: dict) -> None:
    """Retrained on the same it stays challenger; retrained on new reactions it is proven better, and checked."""
    assert life["aliases"] == ["champion", "challenger", "champion"]
    assert _champion(life["home"]) == "3"
    checks = life["comparison"].checks
    assert {"calibration", "segment country = fr", "segment country = be", "drift within bounds"} <= set(
        checks
    )
    assert life["comparison"].lower > 0


def test_drift_or_a_spoilt_segment_keeps_the_champion(life: dict) -> None:
    """A better challenger is not promoted where what it watches has drifted, or a group loses by it."""
    X, y = _reactions(4000, 5)
    asked = {
        "workspace": life["home"], "definition": DEFINITION, "since": pd.Timestamp("2026-04-01"),
        "segments": X[["country"]],
    }  # fmt: skip
    scorer = tracking.load("appetence", workspace=life["home"]).model
    # The truth of one half, worse than nothing for the other country.
    better = np.where(X["country"] == "fr", np.clip(0.9 * y + 0.05, 0, 1), y.mean())
    told = tracking.compare("appetence", X, y, better, drift=scorer.watch(X), **asked)
    assert told is not None and told.lower > 0
    assert told.faults("3") == [
        "segment country = be does not hold"
    ] or "calibration does not hold" in told.faults("3")
    moved = scorer.watch(X.assign(opens=X["opens"] + 4))
    told = tracking.compare("appetence", X, y, np.clip(0.9 * y + 0.05, 0, 1), drift=moved, **asked)
    assert told is not None and "drift within bounds does not hold" in told.faults("3")


@pytest.mark.req("MEA-14")
def test_injected_drift_raises_the_alarm_and_a_mistake_is_undone(life: dict) -> None:
    """The champion is watched; where reactions turn back, the champion before it returns by itself."""
    home = life["home"]
    asked = {"workspace": home, "since": pd.Timestamp("2026-04-01")}
    X, y = _reactions(4000, 6)
    scorer = tracking.load("appetence", workspace=home).model
    assert not scorer.watch(X)["alarm"].any()
    assert tracking.protect("appetence", X, y, **asked) is None and _champion(home) == "3"
    # Injected drift: messages say little again.
    back, back_y = _reactions(4000, 7, effect=0.2)
    alarms = scorer.watch(back, back_y).set_index("signal")["alarm"]
    assert alarms["loss"] and not alarms["features"]
    early = asked | {"since": pd.Timestamp("2026-01-15")}
    assert tracking.protect("appetence", back, back_y, **early) is None
    undone = tracking.protect("appetence", back, back_y, **asked)
    assert undone is not None and undone.version == "1" and _champion(home) == "1"
    assert "rolled back from version 3" in undone.reason
    assert tracking.protect("appetence", back, back_y, **asked) is None


def test_the_served_object_is_the_evaluated_object(life: dict) -> None:
    """What was judged scores the same, bit for bit, once loaded from the registry: nothing is fitted again."""
    judged, _ = life["judged"]
    both = pd.concat([_reactions(3000, 0, effect=0.2)[0], _reactions(3000, 1)[0]], ignore_index=True)
    outcomes = np.concatenate([_reactions(3000, 0, effect=0.2)[1], _reactions(3000, 1)[1]])
    again = _scorer(both, outcomes, "2026-03-01")
    loaded = tracking.load("appetence", "3", workspace=life["home"]).model
    assert np.array_equal(loaded.probability(judged), again.probability(judged))
    assert loaded.tiers.to_dict() == again.tiers.to_dict() and loaded.card == again.card


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ask(port: int, rows: pd.DataFrame) -> list[dict]:
    content = json.dumps({"dataframe_split": json.loads(rows.to_json(orient="split", index=False))})
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", content.encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())["predictions"]


@pytest.mark.slow
def test_mlflow_models_serve_answers_and_an_altered_artifact_is_refused(life: dict, tmp_path: Path) -> None:
    """The registry's own command serves the stored model over HTTP; one changed byte and it does not."""
    home, rows = life["home"], life["judged"][0].head(5)
    expected = tracking.load("appetence", "3", workspace=home).model.probability(rows)
    tree = Path(
        registry.fetch(
            tracking.open_store(home), registry.find(tracking.open_store(home), "appetence", "3"), tmp_path
        )
    )  # type: ignore[arg-type]
    environ = os.environ | {
        "MLFLOW_TRACKING_URI": tracking.open_store(home).uri,
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
    }

    def serve() -> tuple[subprocess.Popen, int]:
        port = _free_port()
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/appetence/3",
                   "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]  # fmt: skip
        return subprocess.Popen(
            command, env=environ, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        ), port  # fmt: skip

    def stop(process: subprocess.Popen) -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)

    def answer(process: subprocess.Popen, port: int, seconds: float) -> list[dict] | None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            try:
                return _ask(port, rows)
            except urllib.error.HTTPError:
                return None
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.5)
        return None

    process, port = serve()
    try:
        found = answer(process, port, 120)
    finally:
        stop(process)
    assert found is not None
    assert [row["score"] for row in found] == pytest.approx(expected.tolist(), rel=1e-12)
    assert all(row["tier"] in ("hot", "warm", "cold") for row in found)
    victim = next(tree.rglob("classifier.json"))
    kept = victim.read_text(encoding="utf-8")
    victim.write_text(kept.replace('"weight"', '"weight "', 1) + " ", encoding="utf-8")
    process, port = serve()
    try:
        assert answer(process, port, 60) is None
    finally:
        stop(process)
        victim.write_text(kept, encoding="utf-8")
