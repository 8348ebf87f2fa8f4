"""The whole way on a real export, apart from the demo: files are what workers share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cdpkit import tracking
from cdpkit.engine import DuckDBEngine
from cdpkit.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.notebook]


def test_a_real_export_goes_the_same_way(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Online Retail from a raw CSV: all records reconcile, the model stands beside the recency rule."""
    raw = tmp_path / "online_retail.csv"
    frame = pd.read_parquet(shared_data("online_retail/online_retail.parquet"))
    frame.to_csv(raw, index=False, date_format="%Y-%m-%d %H:%M:%S")
    command = [sys.executable, "-m", "cdpkit.cli", "run", "nightly", "--source", "online_retail"]
    home = os.environ | {"CDPKIT_HOME": str(tmp_path)}
    done = subprocess.run([*command, "--path", str(raw)], capture_output=True, text=True, env=home)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    workspace = Workspace.open(tmp_path).for_source("online_retail")
    engine = DuckDBEngine(workspace.lake())
    files = engine.query(
        "SELECT sum(records_in) AS i, sum(good) AS g, sum(quarantined) AS q FROM source_files"
    )
    counted = files.to_pandas().iloc[0]
    assert counted["i"] == 541_909 == counted["g"] + counted["q"]
    champion = tracking.load("appetence", workspace=workspace).model
    assert champion.definition["horizon_days"] == 90
    assert {"baseline", "low", "high"} <= set(pd.DataFrame(champion.card["metrics"]).columns)
    audience = workspace.lake().page("appetence")["audiences"][0]
    assert audience["empty"] and audience["candidates"] > 0
    left_out = {row["reason"]: row["n_out"] for row in audience["waterfall"]}
    assert left_out["no_consent"] == audience["candidates"]
