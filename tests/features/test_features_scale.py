"""A million persons and their raw events become features in a stated time and memory, without preparation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "tests" / "benchmarks" / "results" / "features.json"

SCRIPT = """
import numpy as np, pyarrow as pa
from cdpkit.engine import DuckDBEngine
from cdpkit.features import catalogue

rng, n, persons = np.random.default_rng(0), 1_200_000, 1_000_000
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
assert built.rows == persons and built.coverage("family").set_index("family").loc["browsing", "covered"] > 0.65
"""


@pytest.mark.req("MOD-05", "WHR-13")
def test_a_million_persons_and_their_raw_events_take_under_40_cpu_seconds_and_three_gigabytes() -> None:
    """1.2 million raw events in, 77 features of a million persons out, in a process of its own."""
    child = subprocess.Popen([sys.executable, "-c", SCRIPT], env=os.environ | {"OMP_NUM_THREADS": "1"})
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    assert used.ru_utime + used.ru_stime < 40
    assert used.ru_maxrss / 1024 < 3000


@pytest.mark.req("WHR-13")
@pytest.mark.parametrize("persons", ["100,000", "1,000,000"])
def test_what_a_million_persons_take_is_published(persons: str) -> None:
    """The README gives the wall time and peak memory of the measured file, for 100,000 persons and a million."""
    results = json.loads(MEASURED.read_text(encoding="utf-8"))["results"]
    size = next(name for name in results if name.endswith(f" {persons} persons") and name.startswith("1"))
    role = results[size]["roles"]["ours, person"]
    wall, peak = f"{role['wall_s']:.0f} s", f"{role['peak_mb'] / 1024:.1f} GB"
    assert f"| {size} | {wall} | {peak} |" in (ROOT / "README.md").read_text(encoding="utf-8")
