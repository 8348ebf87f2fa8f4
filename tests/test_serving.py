"""Serving: a stored model scores through MLflow, over doubles and strings, without our workshop."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import types
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdpkit import serving, tracking
from cdpkit.errors import IntegrityError

ROOT = Path(__file__).resolve().parents[1]
WIRE = {"n_orders": "double", "device": "string"}


class Table:
    """A model whose score is the number of orders and whose tier is the device."""

    @classmethod
    def load(cls, folder: Path) -> Table:
        model = cls()
        model.weight = json.loads((folder / "model.json").read_text(encoding="utf-8"))["weight"]
        return model

    def score(self, X: pd.DataFrame, as_of: pd.Timestamp, version: str) -> pd.DataFrame:
        assert list(X.columns) == list(WIRE) and X["n_orders"].dtype == "float64"
        assert pd.api.types.is_string_dtype(X["device"])
        return pd.DataFrame(
            {
                "person_id": [f"p{i}" for i in range(len(X))],
                "as_of": as_of,
                "score": self.weight * X["n_orders"].fillna(0.0),
                "decile": np.arange(len(X)) + 1,
                "tier": X["device"].fillna("cold"),
                "reasons": [["a", "b"]] * len(X),
                "version": version,
                "model": str(as_of.date()),
            }
        )


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a packed model."""
    double = types.ModuleType("serving_double")
    double.Table = Table  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "serving_double", double)
    monkeypatch.setattr(serving, "LOADERS", {"serving_double.Table"})
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.json").write_text('{"weight": 0.5}', encoding="utf-8")
    target = tmp_path / "packed"
    serving.pack(
        source, target, loader="serving_double.Table", topic="appetence", as_of="2026-06-30", inputs=WIRE
    )
    return target


def scorer(packed: Path) -> serving.ScoringModel:
    """Return the wrapper with its model loaded, as MLflow does it."""
    model = serving.ScoringModel()
    model.load_context(types.SimpleNamespace(artifacts={"model": str(packed)}))
    return model


def test_columns_may_be_absent_missing_and_in_any_order(packed: Path) -> None:
    """The wrapper gives the model its columns, and gives back doubles and strings in row order."""
    frame = pd.DataFrame({"other": [1, 2], "device": ["hot", None], "n_orders": [2, None]}, index=[7, 7])
    out = scorer(packed).predict(None, frame)
    assert out["score"].tolist() == [1.0, 0.0] and out["tier"].tolist() == ["hot", "cold"]
    assert out["reasons"].map(json.loads).tolist() == [["a", "b"]] * 2
    assert set(out.columns) <= set(serving.OUTPUTS) and "person_id" not in out
    assert out["decile"].dtype == "float64" and out.index.tolist() == [0, 1]
    assert scorer(packed).predict(None, frame[["other"]])["score"].tolist() == [0.0, 0.0]


def test_a_call_may_name_its_date_and_version(packed: Path) -> None:
    """Parameters of the call win over the date of the fit."""
    frame = pd.DataFrame({"n_orders": [1.0]})
    assert scorer(packed).predict(None, frame)["model"].tolist() == ["2026-06-30"]
    out = scorer(packed).predict(None, frame, params={"as_of": "2026-07-31", "version": "3"})
    assert out["model"].tolist() == ["2026-07-31"] and out["version"].tolist() == ["3"]


@pytest.mark.parametrize("change", ["alter", "add", "remove", "link", "loader"])
def test_the_wrapper_refuses_data_that_changed(packed: Path, tmp_path: Path, change: str) -> None:
    """Served anywhere, a model reads only the data it was packed with."""
    if change == "alter":
        (packed / "model.json").write_text('{"weight": 9}', encoding="utf-8")
    elif change == "add":
        (packed / "more.json").write_text("{}", encoding="utf-8")
    elif change == "remove":
        (packed / "model.json").unlink()
    elif change == "link":
        (packed / "model.json").rename(tmp_path / "model.json")
        (packed / "model.json").symlink_to(tmp_path / "model.json")
    else:
        spec = json.loads((packed / "serving.json").read_text(encoding="utf-8"))
        spec["loader"] = "os.system"
        (packed / "serving.json").write_text(json.dumps(spec), encoding="utf-8")
    with pytest.raises(IntegrityError):
        scorer(packed)


def test_mlflow_loads_by_alias_and_checks_the_wire(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`models:/appetence@champion` scores through plain MLflow with pickles refused."""
    import mlflow
    from mlflow.exceptions import MlflowException

    monkeypatch.delenv("CDPKIT_SENTINEL", raising=False)
    (packed / "serving.json").unlink()
    with tracking.start("appetence", as_of="2026-06-30", workspace=tmp_path, run_id="r1") as run:
        version = run.log_model(packed, loader="serving_double.Table", inputs=WIRE)
        run.promote(version.version)
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    mlflow.set_tracking_uri(tracking.open_store(tmp_path).uri)
    try:
        model = mlflow.pyfunc.load_model("models:/appetence@champion")
        out = model.predict(pd.DataFrame({"n_orders": [4.0], "device": ["warm"]}), params={"version": "1"})
        assert out["score"].tolist() == [2.0] and out["version"].tolist() == ["1"]
        assert model.predict(pd.DataFrame({"device": [None]}))["score"].tolist() == [0.0]
        with pytest.raises(MlflowException):
            model.predict(pd.DataFrame({"n_orders": ["many"], "device": ["warm"]}))
    finally:
        mlflow.set_tracking_uri(None)
    # Reading by alias must not make the tree look altered.
    assert tracking.verify("appetence", workspace=tmp_path).version == "1"


@pytest.fixture(scope="module")
def scorer_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """Return a workspace whose champion is a real scorer, rows to score, and the scores expected."""
    from cdpkit.models import AppetenceClassifier, Scorer

    home, rng = tmp_path_factory.mktemp("scorer"), np.random.default_rng(0)
    X = pd.DataFrame(
        {"visits": rng.poisson(3.0, 900).astype("float64"), "device": rng.choice(["app", "site"], 900)}
    )
    X.loc[::9, "visits"] = np.nan
    y = rng.random(900) < 1 / (1 + np.exp(3 - X["visits"].fillna(0)))
    scorer = Scorer("appetence", AppetenceClassifier(max_trees=20).fit(X, y)).fit_tiers(X, "everybody")
    folder = scorer.save(home / "saved")
    with tracking.start("appetence", as_of="2026-06-30", workspace=home, run_id="r1") as run:
        version = run.log_model(folder, inputs=scorer.wire())
        run.promote(version.version)
    rows = X.head(20).reset_index(drop=True)
    return home, rows, scorer.score(rows, pd.Timestamp("2026-06-30"), version.version)


def test_a_real_scorer_scores_the_same_from_the_registry(
    scorer_home: tuple[Path, pd.DataFrame, pd.DataFrame],
) -> None:
    """Our loader and the wrapper give the scores of the model that was fitted, bit for bit."""
    home, rows, expected = scorer_home
    loaded = tracking.load("appetence", workspace=home)
    again = loaded.model.score(rows, pd.Timestamp("2026-06-30"), loaded.version)
    pd.testing.assert_frame_equal(again, expected)
    tree = next((home / "mlruns/artifacts/appetence").rglob("packed"))
    out = scorer(tree).predict(None, rows, params={"version": loaded.version})
    assert out["score"].tolist() == expected["score"].tolist()
    assert out["tier"].tolist() == expected["tier"].tolist()
    assert out["reasons"].map(json.loads).tolist() == expected["reasons"].tolist()


def closure(*names: str) -> dict[str, str]:
    """Return the installed versions of some packages and of all they need, but for the GPU library."""
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found or name.startswith("nvidia-"):
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        found[name] = package.version
        needed = (Requirement(text) for text in package.requires or [])
        waiting += [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


SCORE = """
import sys, pandas as pd, mlflow, cdpkit
assert "{venv}" in cdpkit.__file__, cdpkit.__file__
mlflow.set_tracking_uri("sqlite:///{home}/mlruns/mlflow.db")
model = mlflow.pyfunc.load_model("models:/appetence@champion")
rows = pd.read_json("{rows}", orient="split", dtype={{"visits": "float64"}})
model.predict(rows, params={{"version": "1"}}).to_json("{out}", orient="split", double_precision=15)
assert not {{"papermill", "plotly", "voila", "ipykernel"}} & set(sys.modules)
"""


@pytest.mark.slow
def test_a_clean_environment_with_the_wheel_and_mlflow_scores(
    scorer_home: tuple[Path, pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    """The wheel named in the model's requirements, what it needs and mlflow: nothing of the workshop."""
    home, rows, expected = scorer_home
    uv = [sys.executable, "-m", "uv", "--quiet"]
    environ = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MLFLOW", "CDPKIT", "VIRTUAL"))
    }

    def sh(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]

    sh(*uv, "build", "--wheel", "--out-dir", str(tmp_path / "dist"), str(ROOT))
    wheel = next((tmp_path / "dist").glob("*.whl"))
    needed = closure("cdpkit", "mlflow")
    del needed["cdpkit"]
    venv = tmp_path / "venv"
    sh(*uv, "venv", "--python", sys.executable, str(venv))
    packages = [f"{name}=={version}" for name, version in sorted(needed.items())]
    sh(*uv, "pip", "install", "--no-deps", "--python", str(venv / "bin/python"), str(wheel), *packages)
    copied = tmp_path / "copy"
    shutil.copytree(home, copied)
    assert tracking.doctor_relocate(copied)
    rows.to_json(tmp_path / "rows.json", orient="split", double_precision=15)
    named = {"venv": venv, "home": copied, "rows": tmp_path / "rows.json", "out": tmp_path / "out.json"}
    sh(str(venv / "bin/python"), "-c", SCORE.format(**named))
    out = pd.read_json(tmp_path / "out.json", orient="split", dtype=False)
    np.testing.assert_allclose(out["score"], expected["score"], rtol=1e-9)
    assert out["tier"].tolist() == expected["tier"].tolist()
    requirements = next((copied / "mlruns/artifacts").rglob("requirements.txt")).read_text().split()
    pinned = dict(line.split("==") for line in requirements)
    assert wheel.name.startswith(f"cdpkit-{pinned.pop('cdpkit')}-")
    assert pinned.items() <= needed.items()
