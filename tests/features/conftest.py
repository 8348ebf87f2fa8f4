"""Small random worlds on a coarse time grid, so that ties and window edges happen all the time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from cdpkit.engine import DuckDBEngine
from cdpkit.schema import TABLES

Frames = dict[str, pd.DataFrame]

START = pd.Timestamp("2026-01-01")
STEP = pd.Timedelta(hours=6)
MOMENTS = {c.name for table in TABLES.values() for c in table.columns if c.type == "timestamp"}
EVENT_TYPES = ["Product Viewed", "Product Added", "Order Completed", "Products Searched"]


def _times(rng: np.random.Generator, n: int, steps: int = 160) -> pd.Series:
    return pd.Series(START + STEP * rng.integers(0, steps, n)).astype("datetime64[us]")


def _later(rng: np.random.Generator, times: pd.Series, share: float, most: int = 30) -> pd.Series:
    """Return a later time for a share of the rows, missing for the others."""
    late = times + STEP * rng.integers(0, most, len(times))
    return late.where(pd.Series(rng.random(len(times)) < share)).astype("datetime64[us]")


def _known(rng: np.random.Generator, times: pd.Series) -> pd.Series:
    """Return when a row was learned: mostly at once, sometimes late."""
    return _later(rng, times, 0.3, 20).fillna(times)


def _fact(rng: np.random.Generator, n: int, nodes: int, key: str) -> pd.DataFrame:
    times = _times(rng, n)
    return pd.DataFrame(
        {
            key: [f"{key[0]}{i:04d}" for i in rng.permutation(n)],
            "node_id": rng.integers(1, nodes + 1, n),
            "source": "test",
            "known_at": _known(rng, times),
            "event_time": times,
        }
    )


def random_frames(seed: int, rows: int = 240, nodes: int = 14) -> Frames:
    """Return canonical tables in which records join persons over time, late facts and outcomes included."""
    rng = np.random.default_rng(seed)

    def some(values, n, share=1.0):
        return pd.Series(rng.choice(values, n)).where(pd.Series(rng.random(n) < share))

    events = _fact(rng, rows, nodes, "event_id").assign(
        event_type=some(EVENT_TYPES, rows),
        channel=some(["site", "app", "kiosk"], rows, 0.9),
        session_id=some([f"s{i}" for i in range(rows // 6)], rows, 0.5),
        product_id=some([f"p{i}" for i in range(8)], rows, 0.8),
        category=some(["a", "b", "c"], rows, 0.8),
        scroll_share=rng.random(rows).round(3),
        local_hour=rng.integers(0, 24, rows),
    )
    orders = _fact(rng, rows // 2, nodes, "order_id")
    n = len(orders)
    orders = orders.assign(
        channel=some(["site", "store"], n),
        amount_minor=pd.array(rng.integers(100, 9000, n), dtype="Int64"),
        discount_minor=some([0, 100], n, 0.8).astype("Int64"),
        currency=some(["EUR", "EUR", "EUR", "GBP"], n),
        cancelled_at=_later(rng, orders["event_time"], 0.3),
        returned_at=_later(rng, orders["event_time"], 0.3),
    )
    orders["returned_minor"] = (orders["amount_minor"] // 2).where(orders["returned_at"].notna())
    messages = _fact(rng, rows, nodes, "message_id")
    opened = _later(rng, messages["event_time"], 0.6)
    messages = messages.assign(
        channel="email",
        delivered_at=_later(rng, messages["event_time"], 0.9),
        bounced_at=_later(rng, messages["event_time"], 0.2),
        opened_at=opened,
        machine_open=pd.Series(rng.random(rows) < 0.3).where(opened.notna()).astype("boolean"),
        clicked_at=_later(rng, messages["event_time"], 0.4),
        unsubscribed_at=_later(rng, messages["event_time"], 0.1),
        complained_at=_later(rng, messages["event_time"], 0.1),
    )
    contacts = _fact(rng, rows // 4, nodes, "contact_id")
    contacts = contacts.assign(
        channel="call",
        answered_at=_later(rng, contacts["event_time"], 0.7),
        resolved_at=_later(rng, contacts["event_time"], 0.7),
    )
    contacts["satisfaction"] = pd.Series(rng.random(len(contacts)).round(2)).where(
        contacts["resolved_at"].notna()
    )
    profiles = _fact(rng, nodes, nodes, "node").drop(columns="node").drop_duplicates(["node_id", "known_at"])
    births = pd.Series(
        pd.to_datetime("1950-01-01") + pd.to_timedelta(rng.integers(0, 20000, len(profiles)), "D")
    )
    profiles = profiles.assign(
        gender=some(["f", "m", "x"], len(profiles), 0.8).to_numpy(), birth_date=births.dt.date.to_numpy()
    )
    wide = np.random.default_rng(seed + 10_000)
    _describe(wide, events, orders, messages, contacts, profiles)
    return _others(wide, rows, nodes) | {
        "events": events,
        "orders": orders,
        "messages": messages,
        "contacts": contacts,
        "profiles": profiles,
        "nodes": pd.DataFrame(
            {"node_id": range(1, nodes + 1), "source": "test", "record_id": [f"r{i}" for i in range(nodes)],
             "node_type": ["cookie" if i % 3 == 0 else "account" for i in range(nodes)], "known_at": START - STEP}
        ),
        "source_bases": pd.DataFrame({"source": ["test"], "purpose": ["profiling"], "basis": ["legitimate_interest"]}),
        "membership": _membership(rng, nodes),
    }  # fmt: skip


def _some(rng: np.random.Generator, values: list, n: int, share: float = 1.0) -> pd.Series:
    return pd.Series(rng.choice(values, n)).where(pd.Series(rng.random(n) < share))


TEXTS = ["Je souhaite résilier mon contrat", "MERCI, c'est parfait !", "where is my order? still waiting",
         "too expensive, any discount?", "Le colis est arrivé cassé, c'est urgent", "bonjour", ""]  # fmt: skip


def _describe(rng, events, orders, messages, contacts, profiles) -> None:
    """Fill the columns that only the wide catalogue reads."""
    n = len(events)
    events["brand"], events["device"] = (
        _some(rng, ["x", "y"], n, 0.5),
        _some(rng, ["desktop", "mobile"], n, 0.9),
    )
    signs = (events["event_type"] == "Products Searched") & (rng.random(n) < 0.5)
    events["event_type"] = events["event_type"].mask(signs, "Signed In")
    events["campaign_id"], events["local_weekday"] = _some(rng, ["c1", "c2"], n, 0.3), rng.integers(1, 8, n)
    for column in ("dwell_ms", "hover_ms", "idle_ms", "mouse_moves"):
        events[column] = _some(rng, list(range(0, 60_000, 7)), n, 0.7).astype("Int64")
    orders["store_id"] = _some(rng, ["s1", "s2"], len(orders), 0.5)
    for column, most in (("local_hour", 24), ("local_weekday", 8), ("n_items", 5)):
        orders[column] = rng.integers(1, most, len(orders))
    messages["campaign_id"], messages["local_hour"] = (
        _some(rng, ["c1", "c2"], len(messages)),
        rng.integers(0, 24, len(messages)),
    )
    messages["channel"] = _some(rng, ["email", "sms", "push"], len(messages))
    contacts["text"] = _some(rng, TEXTS, len(contacts), 0.9)
    profiles["language"] = _some(rng, ["fr", "en", "de"], len(profiles), 0.7).to_numpy()
    profiles["postcode"] = _some(rng, ["75001", "13001", "99999"], len(profiles), 0.8).to_numpy()


def _others(rng: np.random.Generator, rows: int, nodes: int) -> Frames:
    """Return the tables that only the wide catalogue reads."""
    n = rows // 5
    products = [f"p{i}" for i in range(8)]
    texts = _some(rng, TEXTS, n, 0.9)
    made = {
        name: _fact(rng, n, nodes, TABLES[name].key[0] if len(TABLES[name].key) == 1 else "row")
        for name in ("order_lines", "quotes", "contracts", "bookings", "touches", "reviews", "surveys", "social",
                     "watchlists", "consents", "identifiers")
    }  # fmt: skip
    made["order_lines"] = _fact(rng, rows, nodes, "order_id").assign(
        line_no=1, product_id=_some(rng, products, rows, 0.9), quantity=_some(rng, [1, 2, -1], rows, 0.9).astype("Int64"))  # fmt: skip
    for name, times in (("quotes", ["accepted_at", "declined_at"]), ("contracts", ["cancelled_at", "renewed_at"]),
                        ("bookings", ["cancelled_at"]), ("watchlists", ["removed_at"]), ("order_lines", ["returned_at"])):  # fmt: skip
        for time in times:
            made[name][time] = _later(rng, made[name]["event_time"], 0.4)
    made["touches"]["kind"] = _some(rng, ["impression", "click"], n)
    made["reviews"] = made["reviews"].assign(rating=rng.random(n).round(2), text=texts)
    made["surveys"]["value"] = _some(rng, [0.0, 0.5, 1.0], n, 0.8)
    more = np.random.default_rng(rows * nodes)  # of its own: what was drawn before stays as it was
    made["surveys"] = made["surveys"].assign(
        score=made["surveys"]["value"], kind=_some(more, ["nps", "satisfaction"], n)
    )
    made["quotes"] = made["quotes"].assign(
        need=_some(more, ["garden", "kitchen"], n, 0.8), text=_some(more, TEXTS, n, 0.9)
    )
    made["social"] = made["social"].assign(
        kind=_some(rng, ["share", "like"], n), topic=_some(rng, ["a", "b"], n, 0.8)
    )
    made["watchlists"] = (
        made["watchlists"]
        .assign(product_id=_some(rng, products, n), kind="wish list")
        .drop(columns="row")
        .drop_duplicates(["node_id", "product_id", "event_time"])
    )
    made["consents"] = made["consents"].assign(
        purpose=_some(rng, ["profiling", "activation"], n), channel=_some(rng, ["email", "sms", "*"], n),
        status=_some(rng, ["granted", "denied"], n, 1.0)).drop(columns="row")  # fmt: skip
    made["consents"] = (
        made["consents"]
        .assign(status=lambda c: c["status"].where(c["purpose"] == "activation", "granted"))
        .drop_duplicates(["node_id", "purpose", "channel", "event_time", "status"])
    )
    made["identifiers"] = (
        made["identifiers"]
        .assign(id_type=_some(rng, ["email", "phone"], n), value=[f"v{i}" for i in range(n)])
        .drop(columns="row")
    )
    made["products"] = pd.DataFrame(
        {"product_id": [*products[:6], "p0", "p1"], "source": "test",
         "known_at": [START - STEP] * 4 + [START + 60 * STEP] * 2 + [START + 90 * STEP] * 2,
         "category": ["a", "b", "c", "a", None, "b", "z", "z"], "brand": ["x", "y", "x", None, "y", "x", "y", "y"],
         "tier": ["1", "2"] * 4, "tags": [["t1", "t2"], ["t2"], [], None, ["t3"], ["t1"], ["t9"], ["t1"]]}
    )  # fmt: skip
    made["areas"] = pd.DataFrame(
        {"postcode": ["75001", "75001", "13001"], "vintage": ["1", "2", "1"], "source": "test", "licence": "open",
         "known_at": [START - STEP, START + 80 * STEP, START + 50 * STEP], "median_income": [30e3, 31e3, 20e3],
         "upper_class_share": [0.4, 0.41, 0.2], "population": [16000, 16100, 39000]}
    )  # fmt: skip
    for frame in made.values():
        for column in MOMENTS & set(frame.columns):
            frame[column] = frame[column].astype("datetime64[us]")
    return made


def _membership(rng: np.random.Generator, nodes: int) -> pd.DataFrame:
    """Return persons of one record that later join one of four persons, as logins make them do."""
    first = START - STEP
    rows = []
    for node in range(1, nodes + 1):
        joins = START + STEP * int(rng.integers(0, 160)) if node % 4 else None
        rows.append((node, f"own{node:02d}", first, joins))
        if joins is not None:
            rows.append((node, f"joint{node % 4}", joins, None))
    return rows_of("node_id person_id known_from known_to", rows)


def rows_of(columns: str, rows: list[tuple], **more: object) -> pd.DataFrame:
    """Return rows as a canonical table holds them: what the schema calls a time is one."""
    frame = pd.DataFrame(rows, columns=columns.split()).assign(**more)
    for column in MOMENTS & set(frame.columns):
        frame[column] = pd.to_datetime(frame[column]).astype("datetime64[us]")
    return frame


def engine_on(frames: Frames) -> DuckDBEngine:
    """Return an engine on in-memory tables."""
    return DuckDBEngine(frames=frames)


@pytest.fixture(scope="session")
def world() -> Callable[..., Frames]:
    """Return the generator of small worlds."""
    return random_frames


@pytest.fixture(scope="session")
def on() -> Callable[[Frames], DuckDBEngine]:
    """Return what opens an engine on frames."""
    return engine_on


@pytest.fixture(scope="session")
def table() -> Callable[..., pd.DataFrame]:
    """Return what makes a table from its columns and rows."""
    return rows_of
