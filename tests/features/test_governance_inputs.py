"""What a score used of a person, and what was known and went unused."""

from __future__ import annotations

import pandas as pd
import pytest

from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError
from cdpkit.governance import inputs, usage

DAY, AT = pd.Timestamp("2025-01-01"), pd.Timestamp("2025-02-01")
ORDERS, VISITS, CALLS = "rfm__n_orders__90d", "browsing__n_events__30d", "contact__n_contacts__365d"


@pytest.fixture
def engine() -> DuckDBEngine:
    """Zoe ordered, browsed and wrote a review; her features hold orders and visits, no call; a declared city."""
    stamp = {"node_id": 1, "source": "s", "event_time": DAY, "known_at": DAY}
    member = {
        "node_id": [1],
        "person_id": "zoe",
        "known_from": DAY - pd.Timedelta(days=1),
        "known_to": pd.NaT,
    }
    stored = {
        "person_id": ["zoe", "ana"],
        "as_of": AT,
        ORDERS: [2.0, None],
        VISITS: [3.0, 1.0],
        CALLS: [None, None],
    }
    return DuckDBEngine(
        frames={
            "membership": pd.DataFrame(member),
            "orders": pd.DataFrame({"order_id": ["o"], **stamp}),
            "events": pd.DataFrame({"event_id": ["e"], "event_type": "Page Viewed", **stamp}),
            "reviews": pd.DataFrame({"review_id": ["r"], **stamp}),
            "golden": pd.DataFrame(
                {"person_id": ["zoe"], "attribute": "city", "value": "Lyon", "node_id": 1, "source": "s",
                 "known_at": DAY, "rule": "most recent"}
            ),
            "features_standard": pd.DataFrame(stored).astype({CALLS: "float64"}),
        }
    )  # fmt: skip


@pytest.mark.req("IDN-05")
def test_what_is_known_and_unused_is_told(engine) -> None:
    """A feature of the profile that the model does not take, a fact nothing reads, a table nothing reads."""
    told = inputs(engine, "zoe", [ORDERS, CALLS], as_of=AT).set_index(["kind", "input"])["state"].to_dict()
    assert told == {
        ("feature", ORDERS): "used",
        ("feature", CALLS): "missing",
        ("feature", VISITS): "unused",
        ("fact", "city"): "unused",
        ("table", "orders"): "used",
        ("table", "events"): "unused",
        ("table", "reviews"): "unused",
    }


@pytest.mark.req("IDN-05")
def test_a_column_without_weight_is_idle_and_nothing_unused_is_lost(engine) -> None:
    """Taken but weighing nothing is no use; taking the column moves it, and its table, to used."""
    weights = {ORDERS: 0.0, VISITS: 0.7}
    told = inputs(engine, "zoe", [ORDERS, VISITS], as_of=AT, weights=weights).set_index("input")
    assert told.loc[[ORDERS, VISITS, "events", "orders"], "state"].tolist() == [
        "idle",
        "used",
        "used",
        "unused",
    ]
    assert told.loc[VISITS, "weight"] == 0.7 and "Lyon" not in told.to_csv()
    with pytest.raises(CdpkitError, match="stored features"):
        inputs(engine, "leo", [ORDERS], as_of=AT)


@pytest.mark.req("IDN-05")
def test_over_a_base_the_widely_known_and_unused_comes_first(engine) -> None:
    """Counts are those of the stored features."""
    told = usage(engine, [ORDERS, CALLS, "gone"], as_of=AT)
    assert told[["input", "state", "persons", "share"]].to_numpy().tolist() == [
        [VISITS, "unused", 2, 1.0], [CALLS, "missing", 0, 0.0], ["gone", "missing", 0, 0.0], [ORDERS, "used", 1, 0.5],
    ]  # fmt: skip
    assert told["family"].tolist() == ["browsing", "contact", "", "rfm"]
