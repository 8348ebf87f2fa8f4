"""The whole way on a real export, apart from the demo: files are what workers share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cdpkit import notebooks, tracking
from cdpkit.engine import DuckDBEngine
from cdpkit.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.notebook]


def test_a_real_export_goes_the_same_way(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Online Retail from a raw CSV: all records reconcile, the model stands beside the recency rule."""
    raw = tmp_path / "online_retail.csv"
    frame = pd.read_parquet(shared_data("online_retail/online_retail.parquet"))
    frame.to_csv(raw, index=False, date_format="%Y-%m-%d %H:%M:%S")
    workspace = Workspace.open(tmp_path).for_source("online_retail")
    result = notebooks.nightly(workspace, source="online_retail", path=raw)
    assert result.ok, result.reason
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
