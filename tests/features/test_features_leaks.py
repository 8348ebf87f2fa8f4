"""Nothing after the date reaches a feature: the future may be anything, and mutants that leak are caught."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdpkit.engine import DuckDBEngine
from cdpkit.features import (
    Age,
    Count,
    Deliberation,
    Distinct,
    FeatureSet,
    Gap,
    Knowledge,
    Last,
    Latest,
    Mean,
    Rate,
    Recency,
    Repeats,
    Sessions,
    Share,
    Signal,
    Stage,
    Stock,
    Sum,
    catalogue,
    interactions,
    known,
)
from cdpkit.schema import TABLES

START = pd.Timestamp("2026-01-01")
STEP = pd.Timedelta(hours=6)
#: Everything a feature may read, and what only describes: products, areas.
FACTS = (
    "events", "orders", "messages", "contacts", "profiles", "order_lines", "quotes", "contracts", "bookings",
    "touches", "reviews", "surveys", "social", "watchlists", "consents", "identifiers",
)  # fmt: skip
CONTEXT = ("products", "areas")
POPULATION = "active_10"

Frames = dict[str, pd.DataFrame]

OUTCOMES = [(table, time) for table in FACTS for time in dict.fromkeys(TABLES[table].outcomes.values())]

#: The smallest set in which each mutant below has something to spoil.
LEAN = FeatureSet(
    "lean",
    [
        *[
            Count(table, of=known(time))
            for table, time in OUTCOMES
            if table in ("orders", "messages", "contacts")
        ],
        Count("events", windows=[1, 5]),
        Last("events.channel", values=["site", "app"]),
    ],
)

#: One feature of each mechanism: filters, both kinds of fills, groups, sessions, gaps, the history view.
EVERY = FeatureSet(
    "every",
    [
        *LEAN.features,
        *[Recency(table, of=known(time), family="recency") for table, time in OUTCOMES],
        *[
            Count(table, of=known(time), family="late")
            for table, time in OUTCOMES
            if table in ("quotes", "bookings")
        ],
        Count("messages", of=known("opened_at"), where="machine_open", name="machine_opens"),
        Count("orders", where="NOT known(cancelled_at)", fill=0, windows=[20], name="kept"),
        Rate("contacts", of=known("answered_at"), windows=[30]),
        Mean("contacts.satisfaction", of=known("resolved_at")),
        Sum("orders.returned_minor", of=known("returned_at"), windows=[30]),
        Share("events", by="category", windows=[10]),
        Distinct("interactions.kind", windows=[10]),
        Repeats("events.product_id", windows=[10]),
        Sessions("events", windows=[10], having="has_cart and not has_purchase"),
        Gap("events", stat="sd", windows=[20], name="pace"),
        Age("profiles.birth_date"),
        Stage("events", windows=[10]),
        Stock("messages", fade_days=3),
        Signal("contacts.text", signal="cancel"),
        Deliberation("order_lines", windows=[20]),
        Knowledge("facts"),
        Gap("events", stat="trend", windows=[20], name="slope"),
        Share("browsed", by="brand", family="browsed"),
        Distinct("tagged.tag"),
        Latest("located.median_income"),
    ],
)


def same_bytes(table: pa.Table) -> bytes:
    """Return a table as the bytes it would be stored in."""
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return out.getvalue()


def features_at(engine: DuckDBEngine, t: pd.Timestamp, features: FeatureSet = EVERY) -> bytes:
    return same_bytes(features.build(engine, t, population=POPULATION).to_arrow())


def rows_at(engine: DuckDBEngine, t: pd.Timestamp, features: FeatureSet = EVERY) -> bytes:
    """Return the features of known persons by row, half of them a day earlier."""
    persons = [f"joint{i}" for i in range(1, 4)] + [f"own{i:02d}" for i in range(1, 15)]
    rows = pd.DataFrame({"person_id": persons, "ts": [t - STEP * 4 * (i % 2) for i in range(len(persons))]})
    return same_bytes(features.build(engine, at=rows).to_arrow())


def cut(frames: Frames, t: pd.Timestamp) -> Frames:
    """Take away all that happened, was learned or was linked at the date or after."""
    past = dict(frames)
    for name in FACTS:
        if name not in frames:
            continue
        table = frames[name]
        past[name] = table[(table["event_time"] < t) & (table["known_at"] < t)]
    for name in set(CONTEXT) & set(frames):
        past[name] = frames[name][frames[name]["known_at"] < t]
    links = frames["membership"][frames["membership"]["known_from"] < t].copy()
    links["known_to"] = links["known_to"].where(links["known_to"] < t)
    past["membership"] = links
    return past


def blank(frames: Frames, t: pd.Timestamp) -> Frames:
    """Blank the outcomes that were not known before the date."""
    past = dict(frames)
    for name in FACTS:
        if name not in frames:
            continue
        table = frames[name].copy()
        for column, time in TABLES[name].outcomes.items():
            if column in table and time in frames[name]:
                table[column] = table[column].where(frames[name][time] < t)
        past[name] = table
    return past


def append(frames: Frames, t: pd.Timestamp, more: Frames) -> Frames:
    """Add another world's rows, all of them happening or learned at the date or after."""
    added = dict(frames)
    for name in FACTS:
        table = more[name].copy()
        late = np.arange(len(table)) % 2 == 0
        table.loc[late, "event_time"] = table.loc[late, "event_time"].clip(lower=t)
        table["known_at"] = table["known_at"].clip(lower=t)
        key = TABLES[name].key[0]
        if key != "node_id":
            table[key] = "z" + table[key]
        else:
            table["known_at"] += pd.to_timedelta(np.arange(1, len(table) + 1), "us")
        both = pd.concat([frames[name], table], ignore_index=True)
        added[name] = both.drop_duplicates(list(TABLES[name].key))
    for name in CONTEXT:
        first = TABLES[name].key[-1]
        later = more[name].assign(**({first: "z" + more[name][first]} if first == "vintage" else {}))
        later = later.assign(known_at=t + pd.to_timedelta(np.arange(1, len(more[name]) + 1), "us"))
        added[name] = pd.concat([frames[name], later], ignore_index=True)
    return added


def reorder(frames: Frames, seed: int) -> Frames:
    return {
        name: table.sample(frac=1, random_state=seed).reset_index(drop=True) for name, table in frames.items()
    }


def futures(frames: Frames, t: pd.Timestamp, more: Frames, seed: int) -> dict[str, Frames]:
    """Return the same past under other futures."""
    return {
        "cut": cut(blank(frames, t), t),
        "blanked": blank(frames, t),
        "appended": append(frames, t, more),
        "reordered": reorder(append(frames, t, more), seed),
    }


class Mutant(DuckDBEngine):
    """An engine that runs the compiler's SQL with a fault in it."""

    def __init__(self, frames: Frames, pattern: str = "", by: str = "") -> None:
        super().__init__(frames=frames)
        self.pattern, self.by, self.changed = pattern, by, 0

    def _spoil(self, sql: str) -> str:
        spoiled, n = re.subn(self.pattern, self.by, sql) if self.pattern else (sql, 0)
        self.changed += n
        return spoiled

    def query(self, sql):
        return super().query(self._spoil(sql if isinstance(sql, str) else sql.sql(dialect="duckdb")))

    def materialise(self, name, sql):
        super().materialise(name, self._spoil(sql if isinstance(sql, str) else sql.sql(dialect="duckdb")))


def leaks(frames: Frames, t: pd.Timestamp, more: Frames, view: Callable) -> list[str]:
    """Return the futures that change what `view` sees at the date."""
    base = view(DuckDBEngine(frames=frames), t)
    others = futures(frames, t, more, 3)
    return [name for name, other in others.items() if view(DuckDBEngine(frames=other), t) != base]


def caught(
    frames: Frames, t: pd.Timestamp, view: Callable, pattern: str, by: str, features: FeatureSet = LEAN
) -> bool:
    """Tell whether cutting and blanking the future changes what a spoiled compiler sees."""
    engine = Mutant(frames, pattern, by)
    base = view(engine, t, features)
    assert engine.changed, "the fault must be in the SQL"
    return view(Mutant(cut(blank(frames, t), t), pattern, by), t, features) != base


def _only(frames: Frames, facts: set[str]) -> Frames:
    """Keep some facts, those that make a person active, and who is who."""
    kept = facts | {"orders", "events", "membership", "nodes", "source_bases"}
    return {name: frame for name, frame in frames.items() if name in kept}


def planted(frames: Frames, t: pd.Timestamp) -> Frames:
    """Make every time of the world fall on the date itself for some row that is otherwise visible."""
    rng, out = np.random.default_rng(0), dict(frames)
    for name in FACTS:
        table = frames[name].copy()
        past = (table["event_time"] < t) & (table["known_at"] < t)
        for time in dict.fromkeys(TABLES[name].outcomes.values()):
            if time in table:
                table.loc[past & (rng.random(len(table)) < 0.3), time] = t
        table.loc[past & (rng.random(len(table)) < 0.2), "known_at"] = t
        out[name] = table.drop_duplicates(list(TABLES[name].key))
    links = frames["membership"].copy()
    joining = links["node_id"].isin([5, 6, 7, 9])
    links.loc[joining & links["known_to"].notna(), "known_to"] = t
    links.loc[joining & links["known_to"].isna(), "known_from"] = t
    return out | {"membership": links}


seeds = st.integers(0, 10_000)
quick = settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.req("DAT-06")
@quick
@given(seed=seeds, step=st.integers(20, 150), more=seeds)
def test_features_are_byte_identical_under_any_future(world, seed: int, step: int, more: int) -> None:
    """Cut, blanked, appended or reordered, the future changes no byte of a snapshot."""
    frames, t = world(seed, rows=120), START + STEP * step
    assert leaks(frames, t, world(more, rows=80), features_at) == []


@settings(quick, max_examples=2)
@given(seed=seeds, step=st.integers(30, 150), more=seeds)
def test_rows_are_byte_identical_under_any_future(world, seed: int, step: int, more: int) -> None:
    """The same holds of dates by row."""
    frames, t = world(seed, rows=120), START + STEP * step
    assert leaks(frames, t, world(more, rows=80), rows_at) == []


@pytest.mark.req("DAT-06")
@quick
@given(seed=seeds, step=st.integers(10, 150), more=seeds)
def test_the_history_is_byte_identical_under_any_future(world, seed: int, step: int, more: int) -> None:
    """The relationship history as of a date, all channels in and out, does not change afterwards."""
    frames, t = world(seed, rows=60), START + STEP * step

    def seen(engine: DuckDBEngine, t: pd.Timestamp) -> bytes:
        return same_bytes(pa.Table.from_pandas(interactions(engine, t), preserve_index=False))

    base = seen(DuckDBEngine(frames=frames), t)
    for other in futures(frames, t, world(more, rows=60), 1).values():
        assert seen(DuckDBEngine(frames=other), t) == base


DATE = r"""(?:CAST\('[^']*' AS TIMESTAMP\)|"m"\."t"|"p"\."as_of")"""
MUTANTS = {
    **{f"{table}.{time} counted early": (rf'COALESCE\("f"\."{time}" < {DATE}, FALSE\)', f'"f"."{time}" IS NOT NULL') for table, time in OUTCOMES},
    **{f"{table}.{time} counted at the date": (rf'"f"\."{time}" < ', f'"f"."{time}" <= ') for table, time in OUTCOMES},
    "known_at ignored": (rf'"f"\."known_at" < {DATE}', "TRUE"),
    "known at the date": (r'"f"\."known_at" < ', '"f"."known_at" <= '),
    "newest person": (rf'"a"\."known_from" < {DATE} AND \("a"\."known_to" IS NULL OR "a"\."known_to" >= {DATE}\)', '"a"."known_to" IS NULL'),
    "linked at the date": (rf'"a"\."known_from" < ({DATE}) AND \("a"\."known_to" IS NULL OR "a"\."known_to" >= {DATE}\)',
                           r'"a"."known_from" <= \1 AND ("a"."known_to" IS NULL OR "a"."known_to" > \1)'),
}  # fmt: skip


#: Mutants tried by row too: identity, late knowledge, one outcome.
BY_ROW = ("known_at", "known", "newest", "linked", "messages.clicked_at")


@pytest.mark.parametrize(
    ("name", "view"),
    [
        *[pytest.param(name, features_at, id=f"{name}, snapshot") for name in MUTANTS],
        *[pytest.param(n, rows_at, id=f"{n}, rows") for n in MUTANTS if n.split()[0] in BY_ROW],
    ],
)
def test_a_compiler_that_leaks_is_caught(name: str, view: Callable, world) -> None:
    """The property kills each mutant: it would notice if the compiler made this mistake."""
    pattern, by = MUTANTS[name]
    t, (table, _, time) = START + 100 * STEP, name.split()[0].partition(".")
    features = FeatureSet("lean", [Count(table, of=known(time))]) if time else LEAN
    kept = _only(planted(world(0, rows=150), t), {table} if time else {"events"})
    assert caught(kept, t, view, pattern, by, features)


@pytest.mark.req("DAT-06")
def test_the_ready_set_is_byte_identical_under_any_future(world) -> None:
    """The whole catalogue, too."""
    frames, t, ready = world(11, rows=200), START + 90 * STEP, catalogue.complete()
    base = features_at(DuckDBEngine(frames=frames), t, ready)
    for other in futures(frames, t, world(12, rows=80), 5).values():
        assert features_at(DuckDBEngine(frames=other), t, ready) == base


def test_ties_do_not_depend_on_the_order_of_rows(world) -> None:
    """A last value among equal times is the one listed last; picking any of them is caught."""
    frames, t = world(4, rows=300), START + 100 * STEP
    pattern, by = (
        r"(EPOCH_US\(\"f\"\.\"event_time\"\) \* 3 \+) CASE .*? END",
        r"\1 CAST(FLOOR(random() * 3) AS BIGINT)",
    )
    mutant = Mutant(frames, pattern, by)
    assert features_at(mutant, t, LEAN) != features_at(Mutant(reorder(frames, 1), pattern, by), t, LEAN)
    assert mutant.changed
    assert features_at(DuckDBEngine(frames=frames), t, LEAN) == features_at(
        DuckDBEngine(frames=reorder(frames, 1)), t, LEAN
    )


@pytest.mark.parametrize(
    ("pattern", "by"),
    [(r'("f"\."event_time") < ', r"\1 <= "), (r'("f"\."event_time") >= ', r"\1 > "), (r"INTERVAL '10' DAY", "INTERVAL '11' DAY")],
    ids=["end included", "start excluded", "a day too long"],
)  # fmt: skip
def test_a_window_with_a_wrong_edge_is_caught(pattern: str, by: str, table) -> None:
    """`[t - 10 days, t)`: a row at its start counts, one at its end does not, on ties and half days alike."""
    end, least = START + 40 * STEP, pd.Timedelta(microseconds=1)
    times = [("start", START), ("before", START - least), ("end", end), ("last", end - least)]
    edges = table("event_id event_time", times, node_id=1, source="test", event_type="Page Viewed")
    frames = {
        "events": edges.assign(known_at=edges["event_time"].where(edges["event_id"] != "end", START)),
        "membership": table("node_id person_id known_from known_to", [(1, "p", START - 9 * STEP, None)]),
    }
    features = FeatureSet("edge", [Count("events", windows=[10])])

    def counted(engine: DuckDBEngine) -> float:
        return features.build(engine, end, consent=False).to_pandas()["edge__n_events__10d"].item()

    assert counted(DuckDBEngine(frames=frames)) == 2
    mutant = Mutant(frames, pattern, by)
    assert counted(mutant) != 2 and mutant.changed


def test_the_session_before_a_login_stays_anonymous_until_the_login(on, table) -> None:
    """What a cookie did before it signed in is not its owner's before that was known."""
    login = START + 10 * STEP
    did = [("e1", START, START, "Product Added"), ("e2", login, login, "Signed In")]
    events = table("event_id event_time known_at event_type", did, node_id=2, source="web")
    held = [(1, "buyer", START, None), (2, "cookie", START - STEP, login), (2, "buyer", login, None)]
    members = table("node_id person_id known_from known_to", held)
    engine = on({"events": events, "membership": members})
    features = FeatureSet("login", [Count("events", where="event_type = 'Product Added'", fill="history")])
    counts = {}
    for t in (login, login + pd.Timedelta(microseconds=1)):
        frame = features.build(engine, t, consent=False).to_pandas().set_index("person_id")["login__n_events"]
        counts[t] = frame.to_dict()
    before, after = counts.values()
    assert before["cookie"] == 1 and np.isnan(before["buyer"])
    assert after == {"buyer": 1.0}


def test_a_date_with_a_zone_is_its_instant_across_a_change_of_clock(table) -> None:
    """Midnight in Paris after the clocks moved is 22:00 UTC, and a day before it is 24 hours before."""
    paris, utc = "2026-03-30T00:00:00+02:00", pd.Timestamp("2026-03-29 22:00")
    least = pd.Timedelta(microseconds=1)
    times = [("start", utc - pd.Timedelta(days=1)), ("before", utc - pd.Timedelta(days=1) - least),
             ("last", utc - least), ("end", utc), ("wall", pd.Timestamp("2026-03-29 23:30"))]  # fmt: skip
    events = table("event_id event_time", times, node_id=1, source="test", event_type="Page Viewed")
    frames = {
        "events": events.assign(known_at=events["event_time"]),
        "membership": table("node_id person_id known_from known_to", [(1, "p", START, None)]),
    }
    features = FeatureSet("zone", [Count("events", windows=[1])])

    def counted(engine: DuckDBEngine, as_of: object) -> float:
        return features.build(engine, as_of, consent=False).to_pandas()["zone__n_events__1d"].item()

    engine = DuckDBEngine(frames=frames)
    assert counted(engine, paris) == counted(engine, utc) == 2
    rows = pd.DataFrame({"person_id": ["p"], "ts": [pd.Timestamp(paris)]})
    assert features.build(engine, at=rows, consent=False).to_pandas()["zone__n_events__1d"].item() == 2
    wall = Mutant(frames, "2026-03-29 22:00:00", "2026-03-30 00:00:00")
    assert counted(wall, paris) != 2 and wall.changed


WINDOWED = {
    "deliberation": Deliberation("order_lines", windows=[10], stat="views"),
    "pressure": Stock("messages", windows=[10]),
    "stage": Stage("events", windows=[10]),
    "sessions": Sessions("events", windows=[10]),
    "gaps": Gap("events", windows=[10], stat="trend"),
    "groups": Distinct("events.product_id", windows=[10]),
}


@pytest.mark.parametrize("kind", WINDOWED)
@pytest.mark.parametrize("edge", [r'("f"\."event_time") < ', r'("f"\."known_at") < '], ids=["end", "learned"])
def test_every_mechanism_stops_before_the_date(kind: str, edge: str, world) -> None:
    """Each way of computing closes its window before the date: letting the date itself in is caught."""
    frames, t = planted(world(0, rows=200), START + 100 * STEP), START + 100 * STEP
    for name in ("events", "messages", "order_lines"):
        rows = frames[name].copy()
        rows.loc[rows.index % 5 == 0, ["event_time", "known_at"]] = t if "event" in edge else t - STEP
        if "known" in edge:
            rows.loc[rows.index % 5 == 0, "known_at"] = t
        frames[name] = rows
    features = FeatureSet("edge", [WINDOWED[kind]])
    right = features_at(DuckDBEngine(frames=frames), t, features)
    assert right == features_at(DuckDBEngine(frames=cut(frames, t)), t, features)
    mutant = Mutant(frames, edge, r"\1 <= ")
    if "known" not in edge:
        mutant.pattern, mutant.by = r'("f"\."(?:event_time|known_at)") < ', r"\1 <= "
    assert features_at(mutant, t, features) != right and mutant.changed


@pytest.mark.parametrize("kind", ["deliberation", "pressure", "sessions", "groups"])
def test_every_mechanism_starts_at_its_window(kind: str, world) -> None:
    """A window one day longer gives other values: the lower edge is where it was declared."""
    frames, t = world(0, rows=500), START + 100 * STEP
    features = FeatureSet("edge", [WINDOWED[kind]])
    longer = Mutant(
        frames, r"INTERVAL '(10|40)' DAY", lambda found: f"INTERVAL '{int(found.group(1)) + 4}' DAY"
    )
    assert features_at(longer, t, features) != features_at(DuckDBEngine(frames=frames), t, features)
    assert longer.changed
