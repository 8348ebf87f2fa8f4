"""Behaviour kinds on small histories computed by hand, and on populations whose truth is planted."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from cdpkit import world as worlds
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import FeatureError
from cdpkit.features import (
    Count,
    Deliberation,
    Distinct,
    FeatureSet,
    Gap,
    Knowledge,
    Last,
    Latest,
    Max,
    Mean,
    PerSession,
    Recency,
    Repeats,
    Sessions,
    Share,
    Signal,
    Stage,
    Stock,
    Sum,
    Trait,
    WeekProfile,
)
from cdpkit.schema import EVENT_TYPES

T = pd.Timestamp("2026-03-31")
HOUR, DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)


def frame(columns: str, rows: list[tuple], table, **more: object) -> pd.DataFrame:
    """Return facts of record 1, learned when they happened."""
    made = table(columns, rows, **({"node_id": 1, "source": "test"} | more))
    return made.assign(known_at=made["event_time"])


def members(table, nodes: int = 1) -> pd.DataFrame:
    held = [(n, f"p{n:05d}", T - 900 * DAY, None) for n in range(1, nodes + 1)]
    return table("node_id person_id known_from known_to", held)


def value_of(declaration, frames: dict[str, pd.DataFrame], table) -> object:
    engine = DuckDBEngine(frames=frames | {"membership": members(table)})
    return FeatureSet("x", [declaration]).build(engine, T, consent=False).to_pandas().iloc[0, -1]


@pytest.mark.req("DAT-04")
def test_browsing_features_are_those_of_twenty_events_by_hand(table) -> None:
    """Twenty events in three visits: recency, frequency, depth, categories, stage of the funnel."""
    minute = pd.Timedelta(minutes=1)
    seen = [
        ("s1", 20 * DAY, ["Page Viewed", "Products Searched", "Product List Viewed", "Product Viewed", "Page Viewed"], "a"),
        ("s2", 6 * DAY, ["Page Viewed", "Product Viewed", "Product Viewed", "Product Added", "Page Viewed", "Product Viewed"], "b"),
        ("s3", 2 * DAY, ["Page Viewed", "Product List Viewed", "Product Viewed", "Product Viewed", "Product Added",
                         "Checkout Started", "Page Viewed", "Page Viewed", "Page Viewed"], "b"),
    ]  # fmt: skip
    rows = [
        (f"{visit}{i}", T - before + i * minute, kind, visit, f"p{i % 2}" if kind == "Product Viewed" else None,
         category if kind == "Product Viewed" else None)
        for visit, before, kinds, category in seen for i, kind in enumerate(kinds)
    ]  # fmt: skip
    assert len(rows) == 20
    frames = {"events": frame("event_id event_time event_type session_id product_id category", rows, table)}
    by_hand = [
        (Recency("events"), 2 - 8 / 1440),
        (Count("events", windows=[30]), 20),
        (Count("events", windows=[7]), 15),
        (Distinct("events.day", windows=[30]), 3),
        (Sessions("events", windows=[30]), 3),
        (Sessions("events", windows=[7]), 2),
        (Sessions("events", windows=[30], stat="events"), 20 / 3),
        (Sessions("events", windows=[30], stat="minutes"), (4 + 5 + 8) / 3),
        (Sessions("events", windows=[30], having="has_cart and not has_purchase"), 2),
        (Distinct("events.category", windows=[30]), 2),
        (Share("events", by="category", windows=[30]), 5 / 6),
        (Repeats("events.product_id", windows=[30]), 4),
        (Stage("events", windows=[30]), 5),
        (Stage("events", windows=[5]), 5),
        (Stage("events", windows=[1]), 0),
    ]
    for declaration, expected in by_hand:
        assert value_of(declaration, frames, table) == pytest.approx(expected), declaration


@pytest.mark.req("DAT-09")
def test_micro_behaviour_is_in_the_schema_and_its_aggregates_are_exact(table) -> None:
    """Clicks, dwell, mouse, scroll, hover and idle exist as events; sums by visit are those of the rows."""
    for kind in ("Click", "Page Dwelled", "Page Scrolled", "Element Hovered", "Mouse Moved", "Idle"):
        assert kind in EVENT_TYPES
    columns = "event_id event_time event_type session_id dwell_ms scroll_share hover_ms mouse_moves idle_ms"
    rows = [
        ("e1", T - DAY, "Page Dwelled", "s1", 4000, None, None, None, None),
        ("e2", T - DAY, "Page Scrolled", "s1", None, 0.5, None, None, None),
        ("e3", T - DAY, "Element Hovered", "s1", None, None, 700, None, None),
        ("e4", T - 2 * DAY, "Mouse Moved", "s2", None, None, None, 12, None),
        ("e5", T - 2 * DAY, "Idle", "s2", None, None, None, None, 9000),
        ("e6", T - 2 * DAY, "Click", "s2", 1000, 0.25, 300, 3, 1000),
    ]
    numbers = dict.fromkeys(("dwell_ms", "hover_ms", "mouse_moves", "idle_ms"), "Int64")
    frames = {"events": frame(columns, rows, table).astype(numbers)}
    by_hand = [
        (PerSession("events.dwell_ms", windows=[30]), 2500), (PerSession("events.hover_ms", windows=[30]), 500),
        (PerSession("events.mouse_moves", windows=[30]), 7.5), (PerSession("events.idle_ms", windows=[30]), 5000),
        (PerSession("events.scroll_share", windows=[30]), 0.375), (Max("events.scroll_share", windows=[30]), 0.5),
        (Count("events", where="event_type = 'Click'", windows=[30]), 1), (Mean("events.dwell_ms"), 2500),
    ]  # fmt: skip
    for declaration, expected in by_hand:
        assert value_of(declaration, frames, table) == pytest.approx(expected), declaration


@pytest.mark.req("DAT-09")
@pytest.mark.parametrize("planted", [True, False])
def test_the_ablation_finds_the_gain_of_micro_behaviour_where_there_is_one(planted: bool, table) -> None:
    """Where intent shows in reading times the features gain several points of AUC; else they gain none."""
    rng, n = np.random.default_rng(3), 1200
    intent = rng.normal(size=n)
    buys = rng.random(n) < 1 / (1 + np.exp(-1.5 * intent))
    visits = rng.poisson(2 + 0.4 * np.exp(0.3 * intent)) + 1
    node = np.repeat(np.arange(1, n + 1), visits)
    dwell = 20_000 * np.exp(0.5 * (intent[node - 1] if planted else 0) + 0.5 * rng.normal(size=len(node)))
    events = pd.DataFrame(
        {"event_id": [f"e{i}" for i in range(len(node))], "node_id": node, "source": "test", "event_type": "Page Viewed",
         "event_time": (T - pd.to_timedelta(rng.integers(1, 25, len(node)), "D")).astype("datetime64[us]"),
         "dwell_ms": dwell.astype(int), "hover_ms": (dwell * rng.random(len(node)) * 0.3).astype(int)}
    )  # fmt: skip
    engine = DuckDBEngine(
        frames={"events": events.assign(known_at=events["event_time"]), "membership": members(table, n)}
    )
    plain = [Count("events", windows=[7, 30]), Distinct("events.day", windows=[30]), Recency("events")]
    micro = [
        PerSession("events.dwell_ms", windows=[30]),
        Mean("events.dwell_ms"),
        PerSession("events.hover_ms", windows=[30]),
    ]
    auc = []
    for features in (plain, plain + micro):
        X = FeatureSet("m", features).build(engine, T, consent=False).matrix("float64")
        X = np.log1p(np.nan_to_num(X))
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        p = cross_val_predict(LogisticRegression(), X, buys, cv=5, method="predict_proba")[:, 1]
        auc.append(roc_auc_score(buys, p))
    gain = auc[1] - auc[0]
    assert gain > 0.05 if planted else gain < 0.02, auc


def purchases(rng: np.random.Generator, persons: int, considered: np.ndarray) -> dict[str, pd.DataFrame]:
    """Return orders prepared as two kinds of people do: at once, or over days of looking again."""
    views, lines = [], []
    for person in range(1, persons + 1):
        for order in range(3):
            slow = rng.random() < (0.85 if considered[person - 1] else 0.15)
            ordered, n = (
                T - pd.Timedelta(days=40 + 80 * order),
                int(rng.integers(3, 8) if slow else rng.integers(1, 3)),
            )
            hours = np.sort(rng.exponential(96 if slow else 0.7, n))
            lines.append((f"o{person}_{order}", 1, person, ordered, f"p{order}"))
            views += [
                (f"v{person}_{order}_{i}", person, ordered - HOUR * h, f"p{order}")
                for i, h in enumerate(hours)
            ]
    events = pd.DataFrame(views, columns=["event_id", "node_id", "event_time", "product_id"]).assign(
        event_type="Product Viewed"
    )
    bought = pd.DataFrame(lines, columns=["order_id", "line_no", "node_id", "event_time", "product_id"])
    return {
        name: made.assign(
            source="test",
            event_time=made["event_time"].astype("datetime64[us]"),
            known_at=lambda f: f["event_time"],
        )
        for name, made in (("events", events), ("order_lines", bought))
    }


@pytest.mark.req("DAT-05")
def test_impulsive_and_considered_buyers_are_told_apart(table) -> None:
    """Two populations of known latency: hours to the order, views and the tag separate them."""
    rng, n = np.random.default_rng(0), 300
    considered = np.arange(n) % 2 == 0
    engine = DuckDBEngine(frames=purchases(rng, n, considered) | {"membership": members(table, n)})
    stats = ("hours", "views", "impulsive", "style")
    built = FeatureSet("d", [Deliberation("order_lines", windows=[365], stat=s) for s in stats]).build(
        engine, T, consent=False
    )
    table_ = built.to_pandas()
    assert roc_auc_score(considered, table_["d__deliberation_hours__365d"]) > 0.9
    assert roc_auc_score(considered, table_["d__deliberation_views__365d"]) > 0.9
    assert roc_auc_score(considered, -table_["d__share_impulsive__365d"]) > 0.9
    assert ((table_["d__purchase_deliberation__365d"] == "considered") == considered).mean() > 0.85


def test_a_purchase_is_prepared_by_its_own_views(table) -> None:
    """Views count for the next order of that product only, within thirty days, the order's instant included."""
    views = [("v0", T - 50 * DAY, "p"), ("v1", T - 12 * DAY, "p"), ("v2", T - 10 * DAY, "p"), ("v3", T - 9 * DAY, "p"),
             ("v4", T - 2 * DAY, "p"), ("v5", T - 5 * DAY, "other")]  # fmt: skip
    lines = [("o1", 1, T - 10 * DAY, "p", 1), ("o1", 2, T - 10 * DAY, "p", 1), ("o2", 1, T - DAY, "p", 1),
             ("o3", 1, T - DAY, "unseen", 1), ("o4", 1, T - DAY, "other", -1)]  # fmt: skip
    frames = {
        "events": frame("event_id event_time product_id", views, table, event_type="Product Viewed"),
        "order_lines": frame("order_id line_no event_time product_id quantity", lines, table),
    }
    for stat, expected in (
        ("hours", (2 * 24 + 8 * 24) / 2),
        ("views", 2),
        ("impulsive", 0),
        ("style", "considered"),
    ):
        assert value_of(Deliberation("order_lines", stat=stat), frames, table) == expected, stat
    assert value_of(Deliberation("order_lines", windows=[5], stat="hours"), frames, table) == 8 * 24


@pytest.mark.req("DAT-11")
def test_who_looks_at_one_brand_has_an_affinity_of_one(table) -> None:
    """Events beside the catalogue: brand, category and tag shares, by the version known when it was learned."""
    views = [
        ("e1", T - 3 * DAY, "a"),
        ("e2", T - 2 * DAY, "a"),
        ("e3", T - DAY, "b"),
        ("e4", T - DAY, "nowhere"),
    ]
    events = frame("event_id event_time product_id", views, table, event_type="Product Viewed")
    described = pd.DataFrame(
        {"product_id": ["a", "b", "a"], "source": "test", "known_at": [T - 99 * DAY, T - 99 * DAY, T],
         "category": ["shoes", "hats", "later"], "brand": ["acme", "acme", "later"], "tags": [["red", "sale"], ["red"], ["x"]]}
    ).astype({"known_at": "datetime64[us]"})  # fmt: skip
    frames = {"events": events, "products": described}
    assert value_of(Share("browsed", by="brand"), frames, table) == 1.0
    assert value_of(Share("browsed", by="brand", values=["acme"]), frames, table) == 1.0
    assert value_of(Share("browsed", by="category"), frames, table) == pytest.approx(2 / 3)
    assert value_of(Share("tagged", by="tag", values=["red"]), frames, table) == pytest.approx(3 / 5)
    unknown_then = described.assign(known_at=T)
    assert math.isnan(
        value_of(Share("browsed", by="brand"), frames | {"products": unknown_then.iloc[:2]}, table)
    )


facts = st.lists(
    st.tuples(st.sampled_from(["email", "phone", "card"]), st.integers(1, 700)),
    min_size=1,
    max_size=6,
    unique=True,
)


@pytest.mark.req("DAT-18")
@settings(max_examples=12, deadline=None, derandomize=True)
@given(known=facts, kind=st.sampled_from(["email", "phone", "card", "cookie"]), age=st.integers(1, 700))
def test_the_knowledge_score_rises_with_facts_and_their_recency(
    table, known: list, kind: str, age: int
) -> None:
    """One more fact never lowers the score and always raises it; the same fact, more recent, raises it more."""

    def score(said: list) -> float:
        rows = [(k, f"v{i}", T - days * DAY) for i, (k, days) in enumerate(said)]
        return value_of(
            Knowledge("facts"), {"identifiers": frame("id_type value event_time", rows, table)}, table
        )

    before, more, recent = score(known), score([*known, (kind, age)]), score([*known, (kind, age / 2)])
    assert 0 < before < more < recent <= 100


def test_what_messages_leave_fades(table) -> None:
    """The stock is the sum of e^(-age / 7 days), whatever the order of the rows."""
    sent = [(f"m{i}", T - d * DAY) for i, d in enumerate((0.5, 3, 20))]
    frames = {"messages": frame("message_id event_time", sent, table, channel="email")}
    expected = sum(math.exp(-d / 7) for d in (0.5, 3, 20))
    assert value_of(Stock("messages", fade_days=7), frames, table) == pytest.approx(expected, rel=1e-9)


SAID = [
    ("cancel", "Bonjour, je souhaite RÉSILIER mon abonnement", True), ("cancel", "please cancel my order", True),
    ("cancel", "il me faut un bilan annuel", False), ("complaint", "le colis est arrivé cassé", True),
    ("complaint", "I am still waiting, this is unacceptable", True), ("buy", "Avez-vous un devis ?", True),
    ("buy", "my birthday is in May", False), ("return", "je veux etre remboursée", True),
    ("price", "c’est trop cher pour moi", True), ("praise", "Merci beaucoup, parfait", True),
    ("urgency", "Répondez au plus vite", True), ("urgency", "no hurry", False),
]  # fmt: skip


@pytest.mark.parametrize(("signal", "text", "found"), SAID)
def test_the_lexicon_hears_what_is_said(signal: str, text: str, found: bool, table) -> None:
    """In French and in English, accents and capitals aside, and not inside other words."""
    said = frame(
        "contact_id event_time text", [("c1", T - DAY, text), ("c2", T - DAY, None)], table, channel="email"
    )
    assert value_of(Signal("contacts.text", signal=signal, windows=[90]), {"contacts": said}, table) == float(
        found
    )
    assert value_of(Signal("contacts.text", signal=signal, stat="share"), {"contacts": said}, table) == float(
        found
    )


def test_the_week_is_shared_among_its_parts(table) -> None:
    """Eight parts that add up to 1; gaps that widen have a slope above zero."""
    rows = [
        (f"e{i}", T - d * DAY, hour, day)
        for i, (d, hour, day) in enumerate([(1, 9, 1), (2, 9, 2), (4, 20, 6), (7, None, None)])
    ]
    events = frame("event_id event_time local_hour local_weekday", rows, table, event_type="Page Viewed")
    frames = {"events": events.astype({"local_hour": "Int64", "local_weekday": "Int64"})}
    engine = DuckDBEngine(frames=frames | {"membership": members(table)})
    week = (
        FeatureSet("w", [WeekProfile("events", windows=[30])])
        .build(engine, T, consent=False)
        .to_pandas()
        .iloc[0, 2:]
    )
    assert len(week) == 8 and week.sum() == pytest.approx(1)
    assert week["w__share_events_week_morning__30d"] == pytest.approx(2 / 3)
    assert value_of(Gap("events", stat="trend"), frames, table) == pytest.approx(-1)  # 3, 2, 1 days apart


def test_the_neighbourhood_is_the_one_known_then(table) -> None:
    """A vintage published later describes the address, but not before it was known."""
    lives = frame("event_time postcode", [(T - 50 * DAY, "75001")], table)
    areas = pd.DataFrame(
        {"postcode": "75001", "vintage": ["1"], "source": "open", "licence": "open", "median_income": [3e4]}
    )
    for known, expected in ((T - 90 * DAY, 3e4), (T - DAY, 3e4), (T, math.nan)):
        told = areas.assign(known_at=pd.Series([known]).astype("datetime64[us]"))
        got = value_of(Latest("located.median_income"), {"profiles": lives, "areas": told}, table)
        assert got == pytest.approx(expected, nan_ok=True)


# --- sensitive fields -----------------------------------------------------------------------------------


@pytest.mark.req("DAT-28")
def test_a_sensitive_field_of_the_health_preset_is_refused(table) -> None:
    """What the health insurer marks sensitive makes no feature, unless the declaration says what for."""
    fields = worlds.generate(60, seed=1, preset="health", start="2026-01-01", end="2026-02-01").raw[
        "crm_fields"
    ]
    declared = fields[["field", "class", "label_fr", "label_en"]].drop_duplicates().assign(source="crm")
    assert set(declared["class"]) >= {"sensitive"}
    sensitive = declared.loc[declared["class"] == "sensitive", "field"].iloc[0]
    profiles = frame("event_time traits", [(T - DAY, f'{{"{sensitive}": "oui", "hobby": "chess"}}')], table)
    frames = {"profiles": profiles, "source_fields": declared}
    told = {"values": ["oui", "non"]}
    with pytest.raises(FeatureError, match="sensitive field must not be used"):
        value_of(Trait("profiles.traits", key=sensitive, **told), frames, table)
    with pytest.raises(FeatureError, match="no declared class"):
        value_of(Trait("profiles.traits", key="hobby", **told), frames, table)
    assert (
        value_of(Trait("profiles.traits", key=sensitive, sensitive_for="care", **told), frames, table)
        == "oui"
    )
    harmless = pd.DataFrame({"source": ["crm"], "field": ["hobby"], "class": ["none"]})
    opened = frames | {"source_fields": harmless}
    assert value_of(Trait("profiles.traits", key="hobby", values=["chess"]), opened, table) == "chess"


@pytest.mark.parametrize(
    "declare",
    [
        lambda **k: Last("contacts.reason", values=["x"], **k),
        lambda **k: Count("contacts", where="reason = 'illness'", **k),
        lambda **k: Count("contacts", history="reason = 'illness'", **k),
        lambda **k: Share("contacts", by="reason", **k),
        lambda **k: Share("contacts", part="reason = 'illness'", **k),
        lambda **k: Distinct("contacts.reason", **k),
    ],
    ids=["column", "where", "history", "by", "part", "group"],
)
def test_a_sensitive_column_is_refused_wherever_it_is_named(declare, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of the most protected class is refused by its class, and allowed for a declared purpose."""
    import dataclasses

    from cdpkit import schema

    held = schema.TABLES["contacts"]
    columns = tuple(
        dataclasses.replace(c, pii="sensitive") if c.name == "reason" else c for c in held.columns
    )
    monkeypatch.setitem(schema.TABLES, "contacts", dataclasses.replace(held, columns=columns))
    with pytest.raises(FeatureError, match="a sensitive field must not be used"):
        declare()
    assert declare(sensitive_for="care") is not None
    assert Sum("orders.amount_minor") is not None
