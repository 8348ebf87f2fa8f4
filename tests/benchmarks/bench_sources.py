"""A million records with three kinds of fault: scanned, judged, set aside and loaded.

Run ``python tests/benchmarks/bench_sources.py``; results go to ``tests/benchmarks/results/sources.json``.

CPU seconds are of the whole process, all threads. *Quarantine* is from the bytes of the file to its good
records as typed columns and its bad ones with reason, line and bytes; *load* goes on to the lake: nodes,
facts, Delta tables, fsync.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdpkit.run import Run
from cdpkit.sources import Contract, load
from cdpkit.sources.loading import scratch_database
from cdpkit.sources.quarantine import judge
from cdpkit.sources.reader import stage
from cdpkit.workspace import Workspace

OUT = Path(__file__).parent / "results" / "sources.json"
CONTRACT = """
source = "till"
delimiter = ";"
decimal = ","
zone = "Europe/Paris"
currency = "EUR"
dates = ["%d/%m/%Y %H:%M"]
[datasets.sales]
files = "sales.csv"
columns = ["ticket", "card", "sold_at", "email", "total"]
node = { type = "card", record_id = "card" }
event_time = "local_time(sold_at)"
checks = [{ must = "email holds an @", that = "email LIKE '%_@_%._%'" }]
[[datasets.sales.maps]]
table = "orders"
[datasets.sales.maps.set]
order_id = "ticket"
amount_minor = "minor(total)"
"""
FAULTS = {"amount": 1_000, "date": 1_000, "email": 1_000}


def write(path: Path, rows: int, seed: int = 0) -> None:
    """Write the records, the faults on lines of their own."""
    rng = np.random.default_rng(seed)
    n = np.arange(rows)
    at = pd.Timestamp("2025-06-01") + pd.to_timedelta(rng.integers(0, 100_000, rows), "min")
    minor = rng.integers(100, 99_999, rows)
    frame = pd.DataFrame(
        {
            "ticket": n,
            "card": "L" + pd.Series(n % (rows // 10)).astype(str),
            "sold_at": at.strftime("%d/%m/%Y %H:%M"),
            "email": "customer" + pd.Series(n % (rows // 10)).astype(str) + "@example.fr",
            "total": pd.Series(minor // 100).astype(str)
            + ","
            + pd.Series(minor % 100).astype(str).str.zfill(2),
        }
    )
    places = rng.permutation(rows)[: sum(FAULTS.values())]
    for place, (column, text) in enumerate(
        (("total", "abc"), ("sold_at", "31/02/2025 10:00"), ("email", "x"))
    ):
        frame.loc[places[place * 1000 : (place + 1) * 1000], column] = text
    frame.to_csv(path, sep=";", index=False)


def timed(act: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Run and return CPU and wall seconds."""
    before, start = os.times(), time.perf_counter()
    found = act()
    after = os.times()
    cpu = after.user + after.system - before.user - before.system
    return found, {"cpu_s": round(cpu, 2), "wall_s": round(time.perf_counter() - start, 2)}


def quarantine(contract: Contract, path: Path) -> dict[str, Any]:
    """Scan and judge, in memory."""
    dataset = contract.datasets["sales"]
    with scratch_database() as connection:
        plan = dataset.plan
        staged = stage(connection, "raw", path, dataset, dataset.columns, (), plan.columns)
        judged = judge(connection, dataset, plan, staged, "raw")
        return {"records": staged.records_in, "good": judged.n_good, "reasons": dict(judged.reasons)}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    contract = Contract.parse(CONTRACT)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sales.csv"
        write(path, rows)
        size = path.stat().st_size
        found, took = timed(lambda: quarantine(contract, path))
        assert set(found["reasons"].values()) == set(FAULTS.values()), found
        results["quarantine"] = found | took | {"rows_per_cpu_s": round(rows / took["cpu_s"])}
        run = Run.begin(Workspace(Path(folder) / "home"), "load")
        report, took = timed(lambda: load(run, contract, path))
        run.abandon()
        said = {"records": report.records_in, "good": report.good, "quarantined": report.quarantined}
        results["load"] = said | took | {"rows_per_cpu_s": round(rows / took["cpu_s"])}
    machine = {"python": platform.python_version(), "system": platform.system(), "cpus": os.cpu_count(),
               "load_at_end": round(os.getloadavg()[0], 1)}  # fmt: skip
    versions = {name: version(name) for name in ("duckdb", "pyarrow", "numpy", "deltalake")}
    OUT.parent.mkdir(exist_ok=True)
    content = {"machine": machine, "versions": versions, "file_bytes": size, "results": results}
    OUT.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
