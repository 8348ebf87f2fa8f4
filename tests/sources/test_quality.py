"""Data are scored as they are, a gate stops what is too poor, and everything has its share of the whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit import quality
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError, FaultsError, QualityError
from cdpkit.schema import TABLES

DAYS = pd.date_range("2026-01-01", periods=200, freq="12h").astype("datetime64[us]")
TODAY = pd.Timestamp("2026-04-11")


def shop(**changes) -> dict[str, pd.DataFrame]:
    """Return two hundred orders and events of a source, and their owners."""
    n = len(DAYS)
    fact = {"node_id": np.arange(n) % 20 + 1, "source": "shop", "known_at": DAYS, "event_time": DAYS}
    route = np.where(np.arange(n) % 4 < 3, "purchase", None)
    orders = pd.DataFrame(
        {"order_id": [f"o{i}" for i in range(n)], **fact, "channel": "site", "amount_minor": np.arange(n) + 1,
         "currency": "EUR", "acquisition_route": route}
    )  # fmt: skip
    events = pd.DataFrame(
        {"event_id": [f"e{i}" for i in range(n)], **fact, "event_type": "Product Viewed", "channel": "site",
         "product_id": [f"p{i}" for i in range(n)], "touchpoint": "product"}
    )  # fmt: skip
    frames = {"orders": orders.astype({"amount_minor": "Int64"}), "events": events}
    return {name: frame.assign(**changes.get(name, {})) for name, frame in frames.items()}


def scored(frames: dict[str, pd.DataFrame], as_of=TODAY) -> pd.Series:
    with DuckDBEngine(frames=frames) as engine:
        return quality.scores(engine, as_of).set_index("source").loc["shop"]


DIMENSIONS = ("completeness", "validity", "uniqueness", "freshness")
CORRUPTIONS = {
    "emptied": ("completeness", "orders", "currency", None),
    "made impossible": ("validity", "orders", "currency", "euros"),
    "made negative": ("validity", "orders", "amount_minor", -1),
    "on no channel": ("validity", "events", "channel", "pigeon"),
}


@pytest.mark.parametrize("kind", CORRUPTIONS)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 99), shares=st.sets(st.integers(1, 100), min_size=2, max_size=3))
def test_the_more_a_column_is_corrupted_the_lower_the_score(kind, seed, shares):
    """Growing shares of the rows, in any order: the dimension and the whole score fall each time."""
    dimension, table, column, value = CORRUPTIONS[kind]
    order = np.random.default_rng(seed).permutation(len(DAYS))
    found = [scored(shop())]
    for share in sorted(shares):
        frames = shop()
        rows = order[: max(1, len(order) * share // 100)]
        frames[table].loc[rows, column] = pd.NA if value is None else value
        # A column emptied whole is missed because it is expected.
        expected = {("shop", name): [c for c in frame.columns if c not in ("node_id", "source", "known_at")]
                    for name, frame in frames.items()}  # fmt: skip
        with DuckDBEngine(frames=frames) as engine:
            found.append(quality.scores(engine, TODAY, expected=expected).iloc[0])
    assert all(a[dimension] > b[dimension] and a["score"] > b["score"] for a, b in pairwise(found))
    assert all(0 <= row[name] <= 1 for row in found for name in ("score", *DIMENSIONS))


def test_repeats_and_silence_lower_the_score_too():
    """Orders told twice under another number, and a source that stopped speaking."""
    frames = shop()
    again = frames["orders"].assign(order_id=lambda rows: "again" + rows["order_id"])
    frames["orders"] = pd.concat([frames["orders"], again], ignore_index=True)
    assert scored(frames)["uniqueness"] == pytest.approx(2 / 3) and scored(shop())["uniqueness"] == 1
    later = [scored(shop(), TODAY + pd.Timedelta(days=days))["freshness"] for days in (0, 5, 50)]
    assert later[0] == 1 and later[0] > later[1] > later[2]


def test_scores_are_those_of_the_date():
    """What came later, good or bad, changes nothing in an earlier score; each date has its row."""
    frames = shop()
    frames["orders"].loc[150:, "currency"] = "euros"
    cut = {name: frame[frame["known_at"] < DAYS[150]] for name, frame in frames.items()}
    with DuckDBEngine(frames=frames) as engine:
        both = quality.scores(engine, [DAYS[150], TODAY])
    alone = scored(cut, DAYS[150])
    assert {n: both[n].iloc[0] for n in DIMENSIONS} == pytest.approx({n: alone[n] for n in DIMENSIONS})
    assert both["validity"].iloc[0] == 1 > both["validity"].iloc[1]
    assert both["rows"].tolist() == [300, 400]


@pytest.mark.req("DAT-17")
def test_training_is_refused_on_poor_data_and_told_why():
    """Every column below its threshold is named with its source, its value and the threshold."""
    frames = shop()
    frames["orders"].loc[:59, "amount_minor"] = pd.NA
    frames["orders"].loc[60:79, "amount_minor"] = -5
    frames["events"].loc[:9, "event_type"] = ""
    with DuckDBEngine(frames=shop()) as engine:
        seen = quality.require(engine, TODAY)
    assert {"events.event_type", "orders.amount_minor"} <= set(seen["table"] + "." + seen["column"])
    with DuckDBEngine(frames=frames) as engine, pytest.raises(QualityError) as refused:
        quality.require(engine, TODAY)
    assert len(refused.value.faults) == 2
    filled, valid = refused.value.faults
    assert (
        "`orders.amount_minor` of source shop must be filled in at least 90.0% of 200 rows; got 70.0%"
        in filled
    )
    assert "valid in at least 95.0%" in valid and "got 85.7%" in valid
    with DuckDBEngine(frames=frames) as engine:
        quality.require(engine, TODAY, [quality.Threshold("orders.amount_minor", completeness=0.7)])
    with pytest.raises(QualityError, match=r"`b` must be filled in at least 50\.0% of 2 rows; got 0\.0%"):
        quality.require_frame(pd.DataFrame({"a": [1.0, 2.0], "b": [None, None]}), 0.5)


def test_a_source_that_is_late_by_its_own_rhythm_says_so():
    """A day without a half-daily source is nothing, a week is; the badge says it in two languages."""
    with DuckDBEngine(frames=shop()) as engine:
        today, week = (quality.freshness(engine, TODAY + pd.Timedelta(days=d)).iloc[0] for d in (0, 7))
    assert (today["usual_days"], today["stale"], week["stale"]) == (1.0, False, True)
    assert today["en"] == "Up to date: last data on 2026-04-10" and "À jour" in today["fr"]
    assert "nothing for 8 days" in week["en"] or "nothing for 7 days" in week["en"]
    assert "en retard" in week["fr"]


@pytest.mark.req("DAT-24")
@pytest.mark.parametrize("by", ["acquisition_route", "channel", "touchpoint"])
def test_coverage_sums_to_one_with_the_unknown(by):
    """Whatever the routes: known shares and the unknown make the whole, table by table."""
    with DuckDBEngine(frames=shop()) as engine:
        found = quality.coverage(engine, by)
    assert found.groupby("table")["share"].sum().tolist() == pytest.approx([1.0] * found["table"].nunique())
    assert (found.groupby("table")["value"].agg(lambda values: "unknown" in set(values))).all()
    kept = [t for t in TABLES.values() if {"node_id", "event_time"} <= set(t.names)]
    assert {t.name for t in kept if "acquisition_route" not in t} == {"identifiers", "consents"}
    if by == "acquisition_route":
        routes = found[found["table"] == "orders"].set_index("value")["share"]
        assert routes.to_dict() == {"purchase": 0.75, "unknown": 0.25}


@pytest.mark.req("WHR-01")
def test_an_unknown_touchpoint_is_flagged_until_it_is_in_the_inventory(tmp_path):
    """Data by touchpoint are counted whole; one nobody listed is flagged, and a brand may list its own."""
    frames = shop()
    frames["events"].loc[:9, "touchpoint"] = "smart mirror"
    frames["events"].loc[10:29, "touchpoint"] = None
    own = tmp_path / "touchpoints.toml"
    with DuckDBEngine(frames=frames) as engine:
        before = quality.coverage(engine, "touchpoint").set_index("value")
        assert before["rows"].to_dict() == {"product": 170, "unknown": 20, "smart mirror": 10}
        assert before.index[before["flagged"]].tolist() == ["smart mirror"]
        own.write_text('["smart mirror"]\nchannel = "object"\nfr = "miroir connecté"\nen = "smart mirror"\n')
        after = quality.coverage(engine, "touchpoint", inventory=quality.touchpoints(own))
    assert not after["flagged"].any()
    own.write_text('[mirror]\nchannel = "pigeon"\n')
    with pytest.raises(CdpkitError, match="channel of the vocabulary"):
        quality.touchpoints(own)


@pytest.mark.req("DAT-27")
def test_an_event_off_the_plan_is_reported_with_the_plans_line(tmp_path):
    """A name nobody planned, a property that is missing and one too many; the plan is in Segment's words."""
    plan = quality.TrackingPlan.generate()
    frames = shop()
    frames["events"].loc[:4, "event_type"] = "product_added"
    frames["events"].loc[5:9, "product_id"] = None
    frames["events"].loc[10:11, "query"] = "shoes"
    with DuckDBEngine(frames=frames) as engine:
        found = plan.check(engine).set_index(["event", "fault", "property"])
    viewed, added = plan["Product Viewed"].line, plan["Product Added"].line
    assert found[["rows", "line"]].T.to_dict("list") == {
        ("product_added", "not planned", ""): [5, added],
        ("Product Viewed", "missing", "product_id"): [5, viewed],
        ("Product Viewed", "not planned", "query"): [2, viewed],
    }
    assert found.loc[("product_added", "not planned", ""), "plan"] == "Product Added"
    with DuckDBEngine(frames=shop()) as engine:
        assert plan.check(engine).empty
    table = plan.frame("en")
    assert {"Product Viewed", "Order Completed"} <= set(table["event"])
    assert set(table["consent"]) == {"profiling", "stitching"}
    own = tmp_path / "plan.toml"
    own.write_text('["Mirror Touched"]\nfr = "a"\nen = "b"\nrequired = ["touchpoint"]\nproperties = []\n')
    assert quality.TrackingPlan.generate(["Mirror Touched"], own).lines[0].line == 1
    with pytest.raises(FaultsError, match="did you mean `Product Reviewed`"):
        quality.TrackingPlan.generate(["Product Reviewd"])


def test_the_plan_names_every_event_of_the_vocabulary():
    """The vocabulary and the plan are one."""
    from cdpkit.schema import EVENT_TYPES

    assert [line.event for line in quality.TrackingPlan.generate().lines] == list(EVENT_TYPES)
