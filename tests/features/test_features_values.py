"""Every kind of feature on twenty-odd rows, against values computed by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from cdpkit.features import (
    Age,
    Count,
    Distinct,
    FeatureSet,
    First,
    Gap,
    Has,
    Last,
    Max,
    Mean,
    Min,
    Rate,
    Recency,
    Repeats,
    Sessions,
    Share,
    Sum,
    Tenure,
    Trend,
    known,
)

T = pd.Timestamp("2026-03-31 00:00")


def ago(days: float) -> pd.Timestamp:
    return T - pd.Timedelta(days=days)


@pytest.fixture(scope="module")
def engine(on, table):
    """Ann holds records 1 and 2 (and, too late, 3); Bob holds 4; Cid holds 5 and did nothing."""
    minute = 1 / 1440
    events = [
        # id, node, time, known, type, channel, session, product, category, scroll
        ("e01", 1, ago(30), ago(30), "Product Viewed", "site", "s1", "p1", "a", 0.5),  # the lower edge: in
        (
            "e02",
            1,
            ago(30 + minute),
            ago(30),
            "Product Viewed",
            "site",
            "s1",
            "p1",
            "a",
            0.5,
        ),  # just before it
        ("e03", 2, ago(5), ago(5), "Product Viewed", "app", None, "p1", "a", 0.25),
        ("e04", 2, ago(5 - 29 * minute), ago(4), "Product Added", "app", None, "p1", "a", None),
        (
            "e05",
            2,
            ago(5 - 59 * minute),
            ago(4),
            "Product Viewed",
            "app",
            None,
            "p2",
            "b",
            0.75,
        ),  # 30 min: new
        ("e06", 1, ago(2), ago(2), "Product Viewed", "site", "s2", "p1", None, 0.0),
        ("e07", 1, ago(2), ago(2), "Order Completed", "kiosk", "s2", None, None, None),  # a tie with e06
        ("e08", 1, ago(2 - 6 * minute), ago(1), "Product Added", "site", "s2", "p3", "b", None),
        ("e09", 1, T, T, "Product Added", "app", "s3", "p9", "c", 1.0),  # at the date: out
        ("e10", 1, ago(1), T, "Product Added", "app", "s4", "p9", "c", 1.0),  # learned at the date: out
        (
            "e11",
            3,
            ago(3),
            ago(3),
            "Product Added",
            "app",
            "s5",
            "p8",
            "c",
            1.0,
        ),  # joins Ann at the date: out
        ("e12", 4, ago(100), ago(100), "Product Viewed", "site", None, "p1", "a", 0.1),
    ]
    orders = [
        # id, node, time, known, channel, amount, discount, currency, cancelled, returned, returned amount
        ("o1", 1, ago(100), ago(100), "site", 1000, 0, "EUR", None, ago(90), 400),
        (
            "o2",
            2,
            ago(60),
            ago(60),
            "store",
            3000,
            100,
            "EUR",
            None,
            T,
            3000,
        ),  # returned at the date: not yet
        ("o3", 2, ago(50), ago(50), "site", 2000, None, "EUR", ago(49), None, None),
        ("o4", 1, ago(10), ago(10), "site", 5000, 50, "EUR", T, None, None),  # cancelled at the date: not yet
        ("o5", 4, ago(20), ago(20), "site", 700, 0, "EUR", None, None, None),
        ("o6", 4, ago(19), ago(19), "site", 900, 0, "GBP", None, None, None),
    ]
    messages = [
        # id, node, sent, opened, machine, clicked, unsubscribed
        ("m1", 1, ago(40), ago(39), False, ago(39), None),
        ("m2", 1, ago(20), ago(19), True, None, None),
        ("m3", 2, ago(10), T, False, T, T),
        ("m4", 2, ago(5), None, None, None, None),
    ]
    named = "node_id event_time known_at"
    frames = {
        "events": table(f"event_id {named} event_type channel session_id product_id category scroll_share", events),
        "orders": table(
            f"order_id {named} channel amount_minor discount_minor currency cancelled_at returned_at returned_minor", orders
        ).astype(dict.fromkeys(("discount_minor", "returned_minor"), "Int64")),
        "messages": table("message_id node_id event_time opened_at machine_open clicked_at unsubscribed_at", messages)
        .assign(known_at=lambda m: m["event_time"], channel="email")
        .astype({"machine_open": "boolean"}),
        "profiles": table("node_id event_time known_at gender birth_date", [
            (1, ago(300), ago(300), "f", pd.Timestamp("1990-03-31").date()),
            (2, ago(200), ago(200), "m", pd.Timestamp("1980-03-31").date()),
            (4, ago(10), T, "f", pd.Timestamp("1970-01-01").date()),
        ]),
        "membership": table("node_id person_id known_from known_to", [
            (1, "ann", ago(400), None),
            (2, "two", ago(400), ago(90)),
            (2, "ann", ago(90), None),
            (3, "three", ago(400), T),
            (3, "ann", T, None),
            (4, "bob", ago(400), None),
            (5, "cid", ago(400), None),
        ]),
    }  # fmt: skip
    for name in frames.keys() - {"membership"}:
        frames[name]["source"] = "test"
    return on(frames)


NAN = math.nan

#: Declaration, then the value for Ann, Bob, Cid and record 3 alone.
CASES = [
    # -- counts and fills: by default 0 needs a history, None needs a row in the window
    (Count("events", windows=[30]), (7, 0, NAN, 1)),
    (Count("events", windows=[30], fill=None), (7, NAN, NAN, 1)),
    (Count("events", windows=[30], fill=0), (7, 0, 0, 1)),
    (Count("events"), (8, 1, NAN, 1)),
    (Count("events", by="channel", values=["app"], windows=[30]), (3, 0, NAN, 1)),
    (Count("events", where="event_type = 'Product Added'", windows=[30], history="event_type = 'Product Added'"), (2, NAN, NAN, 1)),
    (Count("orders", where="not known(cancelled_at)", windows=[90]), (2, 2, NAN, NAN)),
    (Count("quotes", windows=[90], fill=0), (NAN, NAN, NAN, NAN)),  # a source that never spoke is not zero
    (Has("messages", of=known("unsubscribed_at")), (0, NAN, NAN, NAN)),
    (Has("messages", of=known("clicked_at")), (1, NAN, NAN, NAN)),
    # -- amounts
    (Sum("orders.amount_minor", windows=[90]), (10000, NAN, NAN, NAN)),  # Bob: two currencies
    (Sum("orders.amount_minor", windows=[90], fill=0), (10000, NAN, 0, 0)),
    (Sum("orders.amount_minor", windows=[90], currency="EUR"), (10000, 700, NAN, NAN)),
    (Sum("orders.amount_minor", windows=[5]), (0, 0, NAN, NAN)),
    (Sum("orders.returned_minor", of=known("returned_at")), (400, 0, NAN, NAN)),
    (Sum("events.scroll_share", windows=[30]), (1.5, 0, NAN, 1)),
    (Mean("orders.amount_minor", where="not known(cancelled_at)"), (3000, NAN, NAN, NAN)),
    (Mean("events.scroll_share", windows=[30]), (0.375, NAN, NAN, 1)),
    (Min("orders.amount_minor", windows=[90]), (2000, NAN, NAN, NAN)),
    (Max("orders.amount_minor", windows=[90], currency="GBP"), (NAN, 900, NAN, NAN)),
    # -- shares and rates: their denominators are the rows that can tell
    (Share("events", by="category", values=["a"], windows=[30]), (0.6, NAN, NAN, 0)),
    (Share("events", by="category", windows=[30]), (0.6, NAN, NAN, 1)),
    (Share("orders", part="discount_minor > 0"), (2 / 3, 0, NAN, NAN)),
    (Rate("messages", of=known("opened_at"), windows=[90]), (0.5, NAN, NAN, NAN)),
    (Rate("messages", of=known("opened_at"), part="not machine_open"), (0.25, NAN, NAN, NAN)),
    (Rate("messages", of=known("clicked_at"), windows=[30]), (0, NAN, NAN, NAN)),
    (Rate("orders", of=known("returned_at")), (0.25, 0, NAN, NAN)),
    # -- times
    (Recency("events"), (2 - 6 / 1440, 100, NAN, 3)),
    (Recency("events", cap_days=30), (2 - 6 / 1440, NAN, NAN, 3)),
    (Recency("messages", of=known("clicked_at")), (39, NAN, NAN, NAN)),
    (Tenure("orders"), (100, 20, NAN, NAN)),
    (Age("profiles.birth_date"), (16801 / 365.25, NAN, NAN, NAN)),  # 1980-03-31 to 2026-03-31: record 2 spoke last
    (Gap("orders"), (30, 1, NAN, NAN)),
    (Gap("orders", stat="sd"), (math.sqrt(300), NAN, NAN, NAN)),
    (Gap("orders", windows=[70]), (25, 1, NAN, NAN)),
    (Trend("events", windows=[90], recent=7), (90 / 7 * 6 / 8, NAN, NAN, 90 / 7)),
    # -- values: e06 and e07 happened together: a listed value wins over the others, until e08
    (Last("events.channel", values=["site", "app"], where="event_type <> 'Product Added'"), ("site", "site", None, None)),
    (Last("events.channel", values=["site", "kiosk"], where="event_type <> 'Product Added'"), ("kiosk", "site", None, None)),
    (Last("events.channel", values=["site", "app"]), ("site", "site", None, "app")),
    (First("events.channel", values=["site", "app"]), ("site", "site", None, "app")),
    (Last("profiles.gender", values=["f", "m"]), ("m", None, None, None)),
    # -- groups
    (Distinct("events.product_id", windows=[30]), (3, 0, NAN, 1)),
    (Distinct("events.day", windows=[30]), (3, 0, NAN, 1)),
    (Repeats("events.product_id", where="event_type = 'Product Viewed'", windows=[30]), (3, 0, NAN, 0)),
    (Repeats("events.product_id", where="event_type = 'Product Viewed'", windows=[30], stat="count"), (1, 0, NAN, 0)),
    (Repeats("events.product_id", windows=[30], stat="count", at_least=4), (1, 0, NAN, 0)),
    # -- sessions of Ann in 30 days: s1 (1 event), a visit of 29 min (2), one event 30 min later, s2 (3)
    (Sessions("events", windows=[30]), (4, 0, NAN, 1)),
    (Sessions("events", windows=[30], having="has_cart and not has_purchase"), (1, 0, NAN, 1)),
    (Sessions("events", windows=[30], having="n_events >= 2 and minutes > 10"), (1, 0, NAN, 0)),
    (Sessions("events", windows=[30], having="has_cart", stat="share"), (0.5, NAN, NAN, 1)),
    (Sessions("events", windows=[30], stat="events"), (7 / 4, NAN, NAN, 1)),
    (Sessions("events", windows=[30], stat="minutes"), (35 / 4, NAN, NAN, 0)),
    # -- the history of all channels: e and o and m and reactions, in
    (Distinct("interactions.channel", where="direction = 'in'", windows=[30]), (4, 1, NAN, 1)),
    (Count("interactions", where="kind = 'click'"), (1, 0, NAN, 0)),
]  # fmt: skip


def _name(index: int) -> str:
    return f"{CASES[index][0].source} {type(CASES[index][0]).__name__} {index}"


@pytest.fixture(scope="module")
def built(engine):
    """All cases built together, so that they share scans."""
    import dataclasses

    features = [dataclasses.replace(case, name=f"case{i}") for i, (case, _) in enumerate(CASES)]
    frame = FeatureSet("hand", features).build(engine, T, consent=False).to_pandas().set_index("person_id")
    frame.columns = ["as_of", *[f"case{i}" for i in range(len(CASES))]]
    return frame


@pytest.mark.parametrize("index", range(len(CASES)), ids=_name)
def test_value_is_the_one_computed_by_hand(index: int, engine, built) -> None:
    """Each kind gives the hand-computed value, built alone or among all the others."""
    declaration, expected = CASES[index]
    alone = FeatureSet("alone", [declaration]).build(engine, T, consent=False).to_pandas()
    alone = alone.set_index("person_id").iloc[:, -1]
    for person, value in zip(("ann", "bob", "cid", "three"), expected, strict=True):
        for got in (alone[person], built.loc[person, f"case{index}"]):
            if isinstance(value, str):
                assert got == value, person
            elif value is None or math.isnan(value):
                assert pd.isna(got), (person, got)
            else:
                assert got == pytest.approx(value, rel=1e-12), person


def test_the_population_is_everybody_known_then(engine) -> None:
    """Somebody who did nothing has a row; a record that joined at the date is still on its own."""
    frame = FeatureSet("s", [Count("events")]).build(engine, T, consent=False).to_pandas()
    assert frame["person_id"].tolist() == ["ann", "bob", "cid", "three"]
    assert (frame["as_of"] == T).all()
