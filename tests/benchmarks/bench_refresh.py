"""The daily refresh beside a build from nothing, on the same lake and date, every value compared.

Run ``python tests/benchmarks/bench_refresh.py``; results go to ``tests/benchmarks/results/refresh.json``.
``--events`` sets the size. Figures are CPU seconds of this process (all threads), the two ways taking turns,
medians over the steps. Both read a lake on disk, under a membership with times (three records a person on
average, some persons with many), and both end with the frame a model takes. The refresh also stores its state.

Each step brings 1 % of the rows: the new days, and rows of the days before that come late. The history spans
400 days, so a step is four days; a step of one day is measured too. Some persons merge between the steps.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa

from cdpkit.features import Count, FeatureSet, Rate, Share, Sum, Trend, catalogue, known
from cdpkit.features.refresh import refresh
from cdpkit.run import Run
from cdpkit.workspace import Workspace

RESULTS = Path(__file__).parent / "results" / "refresh.json"
START, DAYS = pd.Timestamp("2025-01-01"), 400
DAY_US = 86_400_000_000
TYPES = ["Product Viewed", "Product List Viewed", "Page Viewed", "Products Searched", "Product Added",
         "Checkout Started", "Order Completed"]  # fmt: skip
WEIGHTS = [0.42, 0.18, 0.2, 0.08, 0.07, 0.03, 0.02]


def additive() -> FeatureSet:
    """Features that are sums and their quotients, over the tables and windows of a usual set."""
    visit = "NOT event_type IN ('Order Completed', 'Order Refunded', 'Order Cancelled')"
    return FeatureSet("additive", [
        Count("events", where=visit, windows=[7, 30, 90, 365], name="visits"),
        Count("events", by="event_type", values=TYPES[:5], windows=[30, 90]),
        Share("events", by="channel", values=["site", "app"], windows=[90]),
        Share("events", part="local_hour >= 18", windows=[90], name="evening"),
        Trend("events", where=visit, windows=[90]),
        Count("orders", where="NOT known(cancelled_at)", windows=[30, 90, 365], fill=0),
        Sum("orders.amount_minor", where="NOT known(cancelled_at)", windows=[90, 365], currency="EUR", fill=0),
        Count("messages", windows=[7, 30, 90]),
        Count("messages", of=known("clicked_at"), windows=[30, 90]),
        Rate("messages", of=known("opened_at"), windows=[90]),
        Rate("messages", of=known("clicked_at"), windows=[90, 365]),
    ])  # fmt: skip


def times(rng: np.random.Generator, n: int, active: np.ndarray) -> np.ndarray:
    """Return microseconds of visits that come in bursts: several rows on each day somebody is active."""
    day = active + 0.0
    return ((day + rng.random(n) * 0.1 + rng.integers(7, 20, n) / 24) * DAY_US).astype("int64")


def facts(events: int, seed: int) -> dict[str, pa.Table]:
    """Return events, orders and messages of a shop: 40 events a person, five on each day of activity."""
    rng = np.random.default_rng(seed)
    persons = events // 40
    nodes = persons * 3

    def frame(n: int, key: str, per_visit: int, late: float) -> dict[str, Any]:
        visits = max(n // per_visit, 1)
        who, day = rng.integers(0, nodes, visits), rng.integers(0, DAYS, visits)
        at = rng.integers(0, visits, n)
        moment = times(rng, n, day[at])
        known_at = moment + np.where(rng.random(n) < late, rng.integers(0, 5, n), 0) * DAY_US
        stamp = lambda x: pa.array(x + START.value // 1000, pa.timestamp("us"))  # noqa: E731
        return {
            key: pa.array([f"{key[0]}{i}" for i in range(n)]), "node_id": who[at] + 1,
            "source": pa.array(["web"]).take(pa.array(np.zeros(n, "int64"))),
            "event_time": stamp(moment), "known_at": stamp(known_at), "_moment": moment, "_visit": at,
        }  # fmt: skip

    def words(choices: list[str], n: int, p: list[float] | None = None) -> pa.Array:
        return pa.array(choices).take(pa.array(rng.choice(len(choices), n, p=p)))

    def after(moment: np.ndarray, share: float) -> pa.Array:
        n = len(moment)
        later = moment + (rng.exponential(1.0, n) * DAY_US).astype("int64") + START.value // 1000
        return pa.array(later, pa.timestamp("us"), mask=rng.random(n) >= share)

    e = frame(events, "event_id", 5, 0.01)
    n, visit = events, e.pop("_visit")
    e.pop("_moment")
    e |= {
        "event_type": words(TYPES, n, WEIGHTS), "channel": words(["site", "app"], n),
        "device": words(["desktop", "mobile", "tablet"], n),
        "session_id": pa.array(np.char.add("s", visit.astype(str))),
        "product_id": words([f"p{i}" for i in range(2000)], n), "category": words([f"c{i}" for i in range(12)], n),
        "brand": words([f"b{i}" for i in range(40)], n), "dwell_ms": rng.integers(500, 90_000, n),
        "scroll_share": rng.random(n).round(3), "local_hour": rng.integers(0, 24, n),
        "local_weekday": rng.integers(1, 8, n),
    }  # fmt: skip
    n = events // 10
    o = frame(n, "order_id", 1, 0.05)
    o |= {
        "channel": words(["site", "store"], n), "amount_minor": rng.integers(500, 20_000, n),
        "currency": words(["EUR"], n), "n_items": rng.integers(1, 6, n),
        "cancelled_at": after(o["_moment"], 0.05), "local_weekday": rng.integers(1, 8, n),
    }  # fmt: skip
    n = events // 4
    m = frame(n, "message_id", 1, 0.0)
    m |= {
        "channel": words(["email"], n), "opened_at": after(m["_moment"], 0.3), "clicked_at": after(m["_moment"], 0.06),
        "machine_open": pa.array(rng.random(n) < 0.1), "unsubscribed_at": after(m["_moment"], 0.002),
        "bounced_at": after(m["_moment"], 0.01),
    }  # fmt: skip
    for table in (o, m):
        table.pop("_moment"), table.pop("_visit")
    return {"events": pa.table(e), "orders": pa.table(o), "messages": pa.table(m)}


def memberships(events: int, seed: int) -> pd.DataFrame:
    """Return who holds which record since when: three on average, a tenth of the persons with eight or more."""
    rng = np.random.default_rng(seed)
    persons = events // 40
    nodes = persons * 3
    heavy = rng.random(persons) < 0.1
    weight = np.where(heavy, rng.integers(9, 14, persons), rng.integers(1, 4, persons)).astype(float)
    holder = np.searchsorted(np.cumsum(weight / weight.sum()), rng.random(nodes))
    node = np.arange(1, nodes + 1)
    joins = START + pd.to_timedelta(rng.integers(0, DAYS, nodes), "D")
    first = START - pd.Timedelta(days=1)
    alone = rng.random(nodes) < 0.6  # the others belonged to the person from the start
    own = pd.DataFrame({"node_id": node[alone], "person_id": [f"a{i}" for i in node[alone]],
                        "known_from": first, "known_to": joins[alone]})  # fmt: skip
    joint = pd.DataFrame({"node_id": node, "person_id": [f"p{i}" for i in holder],
                          "known_from": np.where(alone, joins, first), "known_to": pd.NaT})  # fmt: skip
    both = pd.concat([own, joint], ignore_index=True)
    return both.astype({"known_from": "datetime64[us]", "known_to": "datetime64[us]"})


def cpu(act: Any) -> tuple[float, Any]:
    """Return the CPU seconds of a call, and what it gave."""
    before = time.process_time()
    given = act()
    return time.process_time() - before, given


def until(rows: pa.Table, first: pd.Timestamp | None, last: pd.Timestamp) -> pa.Table:
    """Return the rows learned in a period."""
    import pyarrow.compute as pc

    kept = pc.less(rows["known_at"], pa.scalar(last.to_pydatetime(), pa.timestamp("us")))
    if first is not None:
        kept = pc.and_(
            kept, pc.greater_equal(rows["known_at"], pa.scalar(first.to_pydatetime(), pa.timestamp("us")))
        )
    return rows.filter(kept)


def differing(a: pd.DataFrame, b: pd.DataFrame) -> int:
    """Return how many columns are not the same to the last bit."""
    return sum(not a[c].equals(b[c]) for c in a) + (len(a.columns) != len(b.columns))


def measure(events: int, steps: list[int]) -> dict[str, Any]:
    """Refresh and build from nothing at the same dates."""
    rows, held = facts(events, 0), memberships(events, 1)
    sets = {"additive": additive(), "whole": catalogue.standard("EUR")}
    taken: dict[str, Any] = {name: [] for name in sets}
    start = DAYS - sum(steps)
    with tempfile.TemporaryDirectory() as home:
        workspace = Workspace.open(home)
        with Run.begin(workspace, "bench") as run:
            today = START + pd.Timedelta(days=start)
            run.lake.write("membership", held)
            for name, table in rows.items():
                run.lake.write(name, until(table, None, today))
            first = {n: cpu(lambda s=s: refresh(run, s, today, consent=False))[0] for n, s in sets.items()}
            for step in steps:
                before, today = today, today + pd.Timedelta(days=step)
                new = {name: until(table, before, today) for name, table in rows.items()}
                for name, table in new.items():
                    run.lake.write(name, table)
                for name, features in sets.items():
                    with run.engine() as engine:
                        full, a = cpu(
                            lambda features=features, engine=engine, today=today: features.build(
                                engine, today, consent=False
                            ).to_pandas("float32")
                        )
                    moved, done = cpu(partial(refresh, run, features, today, consent=False))
                    extra, b = cpu(partial(done.built.to_pandas, "float32"))
                    taken[name].append({
                        "days": step, "new_share": round(sum(t.num_rows for t in new.values()) / sum(t.num_rows for t in rows.values()), 4),
                        "full_cpu_s": round(full, 2), "refresh_cpu_s": round(moved + extra, 2),
                        "share": round((moved + extra) / full, 3), "persons": done.persons, "touched": done.touched,
                        "continued": not done.reason, "differing_columns": differing(a, b),
                    })  # fmt: skip
                    print(name, taken[name][-1], flush=True)
    return {
        "events": events, "features": {n: len(s.names) for n, s in sets.items()}, "steps": taken,
        "first_state_cpu_s": {n: round(s, 2) for n, s in first.items()},
    }  # fmt: skip


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=4_000_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    found = measure(asked.events, [4, 4, 4, 1])
    shares = {
        name: statistics.median(s["share"] for s in steps if s["days"] == 4)
        for name, steps in found["steps"].items()
    }
    bars = {"additive": 0.17, "whole": 0.30}
    found["bars"] = {n: {"share": shares[n], "bar": bars[n], "met": shares[n] <= bars[n]} for n in bars}
    libraries = ("duckdb", "deltalake", "pandas", "pyarrow", "sqlglot")
    found |= {
        "protocol": __doc__.split("\n\n")[1:],
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {name: version(name) for name in libraries},
    }  # fmt: skip
    asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found["bars"]))


if __name__ == "__main__":
    main()
