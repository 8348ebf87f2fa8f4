"""How long it takes to recognise a client at an entry point, by persons in the base.

Run ``python tests/benchmarks/bench_lookup.py``; results go to ``tests/benchmarks/results/lookup.json``.

Each person has a contact (e-mail, phone), an account, sometimes a card, and cookies that signed in. Look-ups
come in the spellings of counters (blanks, capitals, national numbers), a tenth of them of nobody; the type is
guessed from the value. The directory stays in memory between look-ups, as in a service.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from cdpkit.engine import DuckDBEngine
from cdpkit.identity import Directory

OUT = Path(__file__).parent / "results" / "lookup.json"
DAY = pd.Timestamp("2025-01-01")
ASKED = 20_000


def base(n: int, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Return the stored state of `n` persons."""
    person = np.arange(n)
    parts = [(person, "crm", "email", [f"given.family{i}@mail{i % 7}.fr" for i in person])]
    parts += [(person, "crm", "phone", [f"06 {i // 10000:04d} {i % 10000:04d}" for i in 10_000_000 + person])]
    parts += [(person, "shop", "account_id", [f"acc-{i}" for i in person])]
    card = person[rng.random(n) < 0.4]
    parts += [(card, "store", "loyalty_id", [f"L{i:09d}" for i in card])]
    cookie = np.repeat(person, rng.poisson(2.0, n))
    parts += [(cookie, "web", "cookie_id", [f"ck{i:016x}" for i in range(len(cookie))])]
    rows = pd.concat(
        [pd.DataFrame({"person": p, "source": s, "id_type": k, "value": v}) for p, s, k, v in parts],
        ignore_index=True,
    )
    own = rows["id_type"].isin(["cookie_id", "loyalty_id", "account_id"])
    record = rows["value"].where(own, "c" + rows["person"].astype(str))
    node, _ = pd.factorize(rows["source"] + "/" + record)
    rows = rows.assign(node_id=node, record_id=record, event_time=DAY, known_at=DAY)
    nodes = rows.drop_duplicates("node_id").assign(node_type="contact")
    member = nodes.assign(
        person_id="p" + nodes["person"].astype(str), known_from=DAY, known_to=pd.Series(pd.NaT, nodes.index)
    )
    return {
        "nodes": nodes[["node_id", "source", "record_id", "node_type", "known_at"]],
        "identifiers": rows[["node_id", "source", "id_type", "value", "event_time", "known_at"]],
        "membership": member[["node_id", "person_id", "known_from", "known_to"]],
    }


def measure(n: int) -> dict[str, float]:
    """Time many look-ups one by one."""
    rng = np.random.default_rng(n)
    tables = base(n, rng)
    engine = DuckDBEngine(frames=tables)
    start = time.process_time()
    book = Directory.read(engine)
    opened = time.process_time() - start
    seen = tables["identifiers"]
    values = seen["value"].sample(ASKED, random_state=1).to_numpy(object)
    values = np.where(np.arange(ASKED) % 2, values, [" " + v.upper() + " " for v in values])
    nobody = rng.random(ASKED) < 0.1
    values = np.where(nobody, "zz" + values.astype(str), values)
    took, found = np.empty(ASKED), 0
    for i, value in enumerate(values):
        begin = time.perf_counter_ns()
        found += book.find(value).status == "found"
        took[i] = time.perf_counter_ns() - begin
    assert found == int((~nobody).sum()), "every known identifier is found, and no other"
    p50, p95, p99 = np.quantile(took / 1000, [0.5, 0.95, 0.99])
    return {
        "persons": n,
        "identifiers": len(seen),
        "lookups": ASKED,
        "p50_us": round(p50, 1),
        "p95_us": round(p95, 1),
        "p99_us": round(p99, 1),
        "open_cpu_s": round(opened, 2),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Measure and write."""
    machine = {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
    versions = {name: version(name) for name in ("duckdb", "pandas", "numpy", "pyarrow")}
    sizes = [measure(n) for n in (10_000, 100_000)]
    OUT.write_text(json.dumps({"machine": machine, "versions": versions, "lookup": sizes}, indent=1) + "\n")
    print(json.dumps(sizes, indent=1))


if __name__ == "__main__":
    main()
