"""From an event to a profile and a segment: each night's delay is measured and logged."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from cdpkit.engine import DuckDBEngine
from cdpkit.notebooks import Verdict
from cdpkit.notebooks.delay import TOPIC, delays, log_delays
from cdpkit.tracking.store import open_store
from cdpkit.workspace import Workspace

DAY = pd.Timestamp("2025-01-10")
STEPS = [Verdict("load", "ok", seconds=5.0), Verdict("identity", "ok", seconds=7.0),
         Verdict("features", "ok", seconds=2.0), Verdict("audiences", "ok", seconds=1.0),
         Verdict("pages", "ok", seconds=9.0)]  # fmt: skip


def engine(*late: float) -> DuckDBEngine:
    """Events known so many seconds after they happened, the last of the day; one a month old and very late."""
    at = [DAY - pd.Timedelta(days=30), *[DAY] * len(late)]
    known = [t + pd.Timedelta(seconds=s) for t, s in zip(at, (1e6, *late), strict=True)]
    rows = {"event_id": [str(i) for i in range(len(at))], "event_time": at, "known_at": known}
    frame = pd.DataFrame(rows).assign(node_id=1, source="web", event_type="Page Viewed")
    return DuckDBEngine(frames={"events": frame})


@pytest.mark.req("IDN-06")
def test_the_delay_is_collection_wait_and_the_work_of_the_night() -> None:
    """Half the recent events are known within ten seconds; the night began an hour after the last was known."""
    told = delays(engine(2, 10, 20), STEPS, datetime(2025, 1, 10, 1, 0, 20, tzinfo=UTC))
    assert (told["collection_p50"], told["collection_p90"]) == (10.0, pytest.approx(18.0))
    assert told["wait"] == 3600.0
    assert (told["to_profile_work"], told["to_segment_work"]) == (12.0, 15.0)
    assert told["event_to_profile_p50"] == 10 + 3600 + 12
    assert told["event_to_segment_p90"] == pytest.approx(18 + 3600 + 15)


@pytest.mark.req("IDN-06")
def test_nothing_is_claimed_where_nothing_was_measured() -> None:
    """Without an identity step, with a step kept of an earlier night, or without an event: no delay."""
    assert delays(engine(2), [STEPS[0], STEPS[2]]) == {}
    assert delays(engine(2), [Verdict("identity", "resumed"), *STEPS[2:]]) == {}
    assert delays(DuckDBEngine(), STEPS) == {}
    assert "wait" not in delays(engine(2), STEPS)
    assert "event_to_segment_p50" not in delays(engine(2), STEPS[:2])


@pytest.mark.req("IDN-06")
def test_each_night_leaves_its_delays_in_mlflow(tmp_path) -> None:
    """One finished run a night, with its figures; a night that measured nothing leaves none."""
    workspace = Workspace.open(tmp_path)
    told = delays(engine(2, 10, 20), STEPS)
    made = log_delays(workspace, "r000001", told, snapshot="s000001", as_of="2025-01-10")
    assert log_delays(workspace, "r000002", {}, snapshot="s000002", as_of="2025-01-10") is None
    store = open_store(workspace)
    client = store.client()
    kept = client.search_runs([store.experiment(TOPIC)])
    assert [run.info.run_id for run in kept] == [made] and kept[0].info.status == "FINISHED"
    assert kept[0].data.metrics == {f"{name}_s": pytest.approx(value) for name, value in told.items()}
    assert kept[0].data.tags["run_id"] == "r000001" and kept[0].data.tags["snapshot"] == "s000001"
