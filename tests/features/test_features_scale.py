"""A million raw events become features in a stated time and memory, without any preparation of the data."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np, pyarrow as pa
from cdpkit.engine import DuckDBEngine
from cdpkit.features import catalogue

rng, n, persons = np.random.default_rng(0), 1_200_000, 40_000
begin = np.datetime64("2025-01-01", "us").astype("int64")
time = pa.array(np.sort(begin + rng.integers(0, 365 * 86_400_000_000, n))).cast(pa.timestamp("us"))
words = lambda values: pa.array(values).take(pa.array(rng.integers(0, len(values), n)))
events = pa.table({
    "event_id": pa.array(np.arange(n)).cast(pa.string()), "node_id": rng.integers(1, persons + 1, n),
    "source": words(["web"]), "known_at": time, "event_time": time, "channel": words(["site", "app"]),
    "event_type": words(["Page Viewed", "Product Viewed", "Products Searched", "Product Added"]),
    "product_id": words([f"p{i}" for i in range(500)]), "category": words(["a", "b", "c"]),
    "dwell_ms": rng.integers(100, 90_000, n), "local_hour": rng.integers(0, 24, n),
})
nodes = np.arange(1, persons + 1)
first = pa.array(np.full(persons, begin)).cast(pa.timestamp("us"))
members = pa.table({"node_id": nodes, "person_id": pa.array(nodes).cast(pa.string()), "known_from": first,
                    "known_to": pa.nulls(persons, pa.timestamp("us"))})
engine = DuckDBEngine(frames={"events": events, "membership": members})
built = catalogue.standard().build(engine, "2026-01-01", consent=False)
assert built.rows == persons and built.coverage("family").set_index("family").loc["browsing", "coverage"] > 0.8
"""


@pytest.mark.req("MOD-05")
def test_a_million_raw_events_take_under_40_cpu_seconds_and_two_gigabytes() -> None:
    """Raw events in, 77 features of 40,000 persons out, in a process of its own."""
    child = subprocess.Popen([sys.executable, "-c", SCRIPT], env=os.environ | {"OMP_NUM_THREADS": "1"})
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    assert used.ru_utime + used.ru_stime < 40
    assert used.ru_maxrss / 1024 < 2000
