"""The compiled features equal a slow, plain reference on random worlds, by snapshot and by row."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
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
    Population,
    Rate,
    Recency,
    Repeats,
    Sessions,
    Share,
    Sum,
    Tenure,
    Trend,
    catalogue,
    known,
)

START = pd.Timestamp("2026-01-01")
DAY = pd.Timedelta(days=1)
DATES = [START + pd.Timedelta(days=d) for d in (12, 20, 31)]

Rows = list[dict]
KEYS = {"events": "event_id", "orders": "order_id", "messages": "message_id", "contacts": "contact_id"}


def _seen(value: object) -> bool:
    return not pd.isna(value)


def _before(row: dict, column: str, t: pd.Timestamp) -> bool:
    return _seen(row[column]) and row[column] < t


class Visible:
    """The rows one person shows at a date."""

    def __init__(self, frames: dict[str, pd.DataFrame], person: str, t: pd.Timestamp) -> None:
        m = frames["membership"]
        held = m[(m["person_id"] == person) & (m["known_from"] < t) & ~(m["known_to"] < t)]
        self.frames, self.nodes, self.t = frames, set(held["node_id"]), t
        self._read: dict[tuple[str, int | None], Rows] = {}

    def rows(self, table: str, window: int | None = None) -> Rows:
        if (table, window) not in self._read:
            self._read[table, window] = self._select(table, window)
        return self._read[table, window]

    def _select(self, table: str, window: int | None) -> Rows:
        frame = self.frames[table]
        kept = frame[
            frame["node_id"].isin(self.nodes) & (frame["event_time"] < self.t) & (frame["known_at"] < self.t)
        ]
        if window is not None:
            kept = kept[kept["event_time"] >= self.t - window * DAY]
        tie = [c for c in ("event_time", KEYS.get(table, "known_at"), "node_id") if c in kept.columns]
        return kept.sort_values(tie).to_dict("records")


Case = tuple[Callable[..., object], Callable[[Visible, int | None], object]]


def _ratio(above: int, below: int) -> float:
    return above / below if below else math.nan


def _filled(value: float, history: bool) -> float:
    return 0 if history and pd.isna(value) else value


def _count(table: str, keep: Callable[[dict, pd.Timestamp], bool]) -> Callable[[Visible, int | None], float]:
    def count(v: Visible, window: int | None) -> float:
        n = sum(keep(row, v.t) for row in v.rows(table, window))
        return n if v.rows(table) else math.nan

    return count


def _total(v: Visible, window: int | None, keep: Callable[[dict], bool]) -> float:
    rows = [row for row in v.rows("orders", window) if keep(row)]
    if not rows:
        return 0 if v.rows("orders") else math.nan
    if len({row["currency"] for row in rows}) > 1:
        return math.nan
    return sum(row["amount_minor"] for row in rows)


def _sessions(v: Visible, window: int | None) -> list[Rows]:
    rows = v.rows("events", window)
    groups: dict[object, Rows] = {}
    run, last = 0, None
    for row in rows:
        if _seen(row["session_id"]):
            groups.setdefault(row["session_id"], []).append(row)
            continue
        if last is None or row["event_time"] - last >= pd.Timedelta(minutes=30):
            run += 1
        last = row["event_time"]
        groups.setdefault(run, []).append(row)
    return list(groups.values())


def _gaps(v: Visible, window: int | None) -> list[float]:
    times = [row["event_time"] for row in v.rows("orders", window)]
    return [(b - a) / DAY for a, b in itertools.pairwise(times)]


def _top(v: Visible, table: str, column: str, window: int | None) -> Counter:
    return Counter(row[column] for row in v.rows(table, window) if _seen(row[column]))


def _last(
    v: Visible, table: str, column: str, window: int | None, values: list[str], first: bool = False
) -> object:
    rows = [row for row in v.rows(table, window) if _seen(row[column])]
    if not rows:
        return None
    instant = (min if first else max)(row["event_time"] for row in rows)
    found = {row[column] for row in rows if row["event_time"] == instant}
    listed = [value for value in values if value in found]
    return listed[0 if first else -1] if listed else "other"


def _cart(rows: Rows) -> bool:
    return any(row["event_type"] == "Product Added" for row in rows)


def _bought(rows: Rows) -> bool:
    return any(row["event_type"] == "Order Completed" for row in rows)


def _mean_amount(v: Visible, window: int | None) -> float:
    rows = v.rows("orders", window)
    total = _total(v, window, lambda r: True)
    return total / len(rows) if rows else math.nan


def _age(v: Visible, window: int | None) -> float:
    rows = [row for row in v.rows("profiles") if _seen(row["birth_date"])]
    if not rows:
        return math.nan
    newest = max(rows, key=lambda r: (r["event_time"], r["node_id"]))
    return (v.t - pd.Timestamp(newest["birth_date"])) / DAY / 365.25


def _since(v: Visible, times: list[pd.Timestamp], first: bool = False) -> float:
    return (v.t - (min(times) if first else max(times))) / DAY if times else math.nan


#: One reference a kind: the declaration of a window, and the plain computation.
CASES: dict[str, Case] = {
    "count": (lambda w: Count("events", windows=w), _count("events", lambda r, t: True)),
    "cart": (lambda w: Count("events", where="event_type = 'Product Added'", windows=w),
             _count("events", lambda r, t: r["event_type"] == "Product Added")),
    "opens": (lambda w: Count("messages", of=known("opened_at"), where="not machine_open", windows=w),
              _count("messages", lambda r, t: _before(r, "opened_at", t) and r["machine_open"] is False)),
    "kept": (lambda w: Count("orders", where="not known(cancelled_at)", windows=w),
             _count("orders", lambda r, t: not _before(r, "cancelled_at", t))),
    "has": (lambda w: Has("messages", of=known("complained_at"), windows=w),
            lambda v, w: _filled(float(any(_before(r, "complained_at", v.t) for r in v.rows("messages", w))) or math.nan,
                                 bool(v.rows("messages")))),
    "sum": (lambda w: Sum("orders.amount_minor", windows=w), lambda v, w: _total(v, w, lambda r: True)),
    "sum_eur": (lambda w: Sum("orders.amount_minor", currency="EUR", windows=w),
                lambda v, w: _total(v, w, lambda r: r["currency"] == "EUR")),
    "mean": (lambda w: Mean("orders.amount_minor", windows=w), _mean_amount),
    "satisfied": (lambda w: Mean("contacts.satisfaction", of=known("resolved_at"), windows=w),
                  lambda v, w: float(np.mean([r["satisfaction"] for r in v.rows("contacts", w) if _before(r, "resolved_at", v.t)] or [math.nan]))),
    "max": (lambda w: Max("events.scroll_share", windows=w),
            lambda v, w: max([r["scroll_share"] for r in v.rows("events", w)], default=math.nan)),
    "min": (lambda w: Min("events.local_hour", windows=w),
            lambda v, w: min([r["local_hour"] for r in v.rows("events", w)], default=math.nan)),
    "share": (lambda w: Share("events", by="category", values=["a"], windows=w),
              lambda v, w: _ratio(_top(v, "events", "category", w)["a"], _top(v, "events", "category", w).total())),
    "top": (lambda w: Share("events", by="category", windows=w),
            lambda v, w: _ratio(max(_top(v, "events", "category", w).values(), default=0), _top(v, "events", "category", w).total())),
    "part": (lambda w: Share("orders", part="discount_minor > 0", windows=w),
             lambda v, w: _ratio(sum(r["discount_minor"] > 0 for r in v.rows("orders", w) if _seen(r["discount_minor"])),
                                 sum(_seen(r["discount_minor"]) for r in v.rows("orders", w)))),
    "rate": (lambda w: Rate("messages", of=known("clicked_at"), windows=w),
             lambda v, w: _ratio(sum(_before(r, "clicked_at", v.t) for r in v.rows("messages", w)), len(v.rows("messages", w)))),
    "recency": (lambda w: Recency("events", windows=w), lambda v, w: _since(v, [r["event_time"] for r in v.rows("events", w)])),
    "recency_click": (lambda w: Recency("messages", of=known("clicked_at"), windows=w),
                      lambda v, w: _since(v, [r["clicked_at"] for r in v.rows("messages", w) if _before(r, "clicked_at", v.t)])),
    "tenure": (lambda w: Tenure("orders", windows=w), lambda v, w: _since(v, [r["event_time"] for r in v.rows("orders", w)], True)),
    "age": (lambda w: Age("profiles.birth_date", windows=[None] if w == [None] else w), lambda v, w: _age(v, w) if w is None else _SKIP),
    "last": (lambda w: Last("events.channel", values=["site", "app"], windows=w),
             lambda v, w: _last(v, "events", "channel", w, ["site", "app"])),
    "first": (lambda w: First("orders.channel", values=["store"], windows=w),
              lambda v, w: _last(v, "orders", "channel", w, ["store"], True)),
    "distinct": (lambda w: Distinct("events.product_id", windows=w),
                 lambda v, w: _filled(len(_top(v, "events", "product_id", w)) or math.nan, bool(v.rows("events")))),
    "days": (lambda w: Distinct("events.day", windows=w),
             lambda v, w: _filled(len({r["event_time"].date() for r in v.rows("events", w)}) or math.nan, bool(v.rows("events")))),
    "repeat": (lambda w: Repeats("events.product_id", windows=w),
               lambda v, w: _filled(max(_top(v, "events", "product_id", w).values(), default=math.nan), bool(v.rows("events")))),
    "again": (lambda w: Repeats("events.product_id", stat="count", windows=w),
              lambda v, w: _filled(sum(n >= 2 for n in _top(v, "events", "product_id", w).values()) if _top(v, "events", "product_id", w) else math.nan,
                                   bool(v.rows("events")))),
    "sessions": (lambda w: Sessions("events", windows=w), lambda v, w: _filled(len(_sessions(v, w)) or math.nan, bool(v.rows("events")))),
    "abandoned": (lambda w: Sessions("events", having="has_cart and not has_purchase", windows=w),
                  lambda v, w: _filled(sum(_cart(s) and not _bought(s) for s in _sessions(v, w)), bool(v.rows("events"))) if v.rows("events") else math.nan),
    "minutes": (lambda w: Sessions("events", stat="minutes", windows=w),
                lambda v, w: float(np.mean([(s[-1]["event_time"] - s[0]["event_time"]) / pd.Timedelta(minutes=1) for s in _sessions(v, w)] or [math.nan]))),
    "gap": (lambda w: Gap("orders", windows=w), lambda v, w: float(np.mean(_gaps(v, w) or [math.nan]))),
    "gap_sd": (lambda w: Gap("orders", stat="sd", windows=w),
               lambda v, w: float(np.std(_gaps(v, w), ddof=1)) if len(_gaps(v, w)) > 1 else math.nan),
    "trend": (lambda w: Trend("events", windows=[x or 400 for x in w], recent=3),
              lambda v, w: _ratio(len(v.rows("events", 3)), len(v.rows("events", w or 400))) * (w or 400) / 3),
}  # fmt: skip
_SKIP = object()
WINDOWS = [5, 11, None]  # the last is all history


def _name(case: str, window: int | None) -> str:
    case = "share_a" if case == "share" else case
    shown = 400 if window is None and case == "trend" else window
    return f"r__{case}" + ("" if shown is None else f"__{shown}d")


@pytest.fixture(scope="module")
def features() -> FeatureSet:
    declared = [replace(make(WINDOWS), name=name) for name, (make, _) in CASES.items()]
    return FeatureSet("r", declared)


@pytest.mark.parametrize("seed", [0, 1])
def test_compiled_features_equal_the_plain_reference(seed: int, world, on, features: FeatureSet) -> None:
    """Counts are exact and floats within 1e-9, for every kind, window, person and date."""
    frames = world(seed)
    built = features.build(on(frames), DATES, consent=False).to_pandas()
    assert len(built) > 3 * 4
    for row in built.to_dict("records"):
        v = Visible(frames, row["person_id"], row["as_of"])
        for case, (_, compute) in CASES.items():
            for window in WINDOWS:
                expected, got = compute(v, window), row[_name(case, window)]
                where = (row["person_id"], row["as_of"], case, window, expected, got)
                if expected is _SKIP:
                    continue
                if expected is None or (isinstance(expected, float) and math.isnan(expected)):
                    assert pd.isna(got), where
                elif isinstance(expected, str):
                    assert got == expected, where
                else:
                    assert got == pytest.approx(float(expected), rel=1e-9, abs=1e-9), where


@pytest.mark.parametrize("seed", [3])
def test_rows_with_one_date_equal_the_snapshot(seed: int, world, on, features: FeatureSet) -> None:
    """`at` with equal dates gives the very values of `as_of`, and in the order of its rows."""
    engine, t = on(world(seed)), DATES[1]
    both = features + FeatureSet("standard", catalogue.standard().features)
    snapshot = both.build(engine, t).to_pandas()
    rows = snapshot[["person_id"]].sample(frac=1, random_state=seed).assign(ts=t)
    by_row = both.build(engine, at=rows).to_pandas()
    assert by_row["person_id"].tolist() == rows["person_id"].tolist()
    aligned = snapshot.set_index("person_id").loc[rows["person_id"]].reset_index()
    pd.testing.assert_frame_equal(by_row, aligned[by_row.columns], check_exact=True)


def test_rows_with_dates_of_their_own_equal_one_build_each(world, on, features: FeatureSet) -> None:
    """Each row of `at` is what a build at its own date gives, membership as known then included."""
    engine = on(world(5))
    persons = ["joint1", "own01", "nobody"]
    rows = pd.DataFrame([(p, t) for p in persons for t in DATES], columns=["person_id", "ts"]).sample(
        frac=1, random_state=1
    )
    together = features.build(engine, at=rows).to_pandas()
    for i, (person, t) in enumerate(rows.itertuples(index=False)):
        alone = features.build(engine, at=pd.DataFrame({"person_id": [person], "ts": [t]})).to_pandas()
        pd.testing.assert_frame_equal(together.iloc[[i]].reset_index(drop=True), alone, check_exact=True)
    nobody = together[together["person_id"] == "nobody"].drop(columns=["person_id", "as_of"])
    assert nobody.isna().all(axis=None)


def test_several_dates_equal_one_build_each(world, on, features: FeatureSet) -> None:
    """A list of dates is the builds of each, one after the other."""
    engine = on(world(6))
    whom = Population.active(10) & Population.known()
    together = features.build(engine, DATES, population=whom).to_pandas()
    alone = pd.concat(
        [features.build(engine, t, population=whom).to_pandas() for t in DATES], ignore_index=True
    )
    pd.testing.assert_frame_equal(together, alone)


def test_scans_do_not_change_values(world, on, features: FeatureSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """One scan for everything and one scan a window give the same values: the plan is only a plan."""
    from cdpkit.features import plan

    engine = on(world(7))
    chosen = features.build(engine, DATES[2]).to_pandas()
    for cost in (0.0, 1e9):
        monkeypatch.setattr(plan, "SCAN_COST", cost)
        monkeypatch.setattr(plan, "ROW_COST", dict.fromkeys(plan.ROW_COST, cost))
        pd.testing.assert_frame_equal(features.build(engine, DATES[2]).to_pandas(), chosen, check_exact=True)
