"""How fast a world is generated and written, and in how much memory.

Run ``python tests/benchmarks/bench_world.py`` or ``make bench NAME=world``; results go to
``tests/benchmarks/results/world.json``. Each size runs in a process of its own, whose peak memory the
system reports. The largest, a hundred million events, is a million persons, takes about a quarter of an hour and 10 GB of disk: set
``CDPKIT_BENCH_WORLD_LARGEST=1e8``. Sizes already measured
are kept with ``--keep``, each with the commit it was measured on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "ARROW_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "results" / "world.json"
#: Web events a person leaves in the eighteen months of the preset `retail`, to choose the persons.
PER_PERSON = 85
SIZES = (100_000, 1_000_000, 10_000_000)


def measure(persons: int, folder: Path) -> dict[str, Any]:
    """Generate and write one world in this process; return what it took."""
    import pyarrow as pa
    import pyarrow.parquet

    from cdpkit.world import generate

    pa.set_cpu_count(1)
    started, busy = time.perf_counter(), time.process_time()
    files = generate(persons, seed=0).write(folder / "raw", folder / "truth")
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    # Kilobytes on Linux, bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    web = pyarrow.parquet.ParquetFile(folder / "raw" / "web_events.parquet").metadata
    return {
        "persons": persons,
        "web_events": web.num_rows,
        "row_groups": web.num_row_groups,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "events_per_cpu_second": round(web.num_rows / cpu),
        "cpu_milliseconds_per_person": round(1000 * cpu / persons, 3),
        "peak_memory_mb": round(peak / 2**20),
        "disk_mb": round(sum(path.stat().st_size for path in files) / 2**20),
    }


def in_a_process(persons: int) -> dict[str, Any]:
    """Measure one size in a process of its own, on a folder removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="world-"))
    try:
        command = [sys.executable, __file__, "--one", str(persons), "--folder", str(folder)]
        out = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(out.stdout) | {"commit": commit()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def commit() -> str:
    """Return the commit measured, empty outside a checkout."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def machine() -> dict[str, Any]:
    """Say where the figures come from."""
    names = ("numpy", "pandas", "pyarrow", "scipy")
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {
        "cores": os.cpu_count(),
        "load_at_start": load,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }


def main() -> None:
    """Measure every size and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--one", type=int, help="measure one world of so many persons in this process")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep the sizes the results file has")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.folder)))
        return
    largest = float(os.environ.get("CDPKIT_BENCH_WORLD_LARGEST", SIZES[-1]))
    sizes = [size for size in (*SIZES, 100_000_000) if size <= largest]
    known = json.loads(given.out.read_text(encoding="utf-8")) if given.keep and given.out.exists() else {}
    rows = dict(known.get("sizes", {}))
    results: dict[str, Any] = {"machine": machine(), "sizes": rows}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        name = f"{size:.0e}".replace("+0", "")
        if name not in rows:
            rows[name] = in_a_process(max(size // PER_PERSON, 1))
        print(f"{name} events: {json.dumps(rows[name])}", flush=True)
        given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    table = [rows[name] for name in rows]
    first, last = table[min(1, len(table) - 1)], table[-1]
    results["bars"] = {
        "peak_memory_at_most_4_gb": all(row["peak_memory_mb"] <= 4096 for row in table),
        "linear": last["cpu_milliseconds_per_person"] <= 1.25 * first["cpu_milliseconds_per_person"],
    }
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results["bars"]))


if __name__ == "__main__":
    main()
