"""Features beside Polars, pandas and the floor of the scan, alternated in one run.

Run ``python tests/benchmarks/bench_features.py --events 20e6 --persons 500e3``; results go to
``tests/benchmarks/results/features.json``. ``--only`` names the roles: ``"floor;ours, person"`` for the largest
sizes, which then need one layout of the data. The 66 features of `features_workload` are computed in a process
of their own, from the lake's files to a frame; CPU seconds are user and system of the whole process, start
and imports included, because wall clock says little on a shared machine. The floor groups the same rows by
the same key once a table, touching the same columns. Our figure is given with the person on the table (one
record a person) and with the join of records to persons as known at the date (three records a person on
average, one person in ten with eight or more, membership with times), both against the same floor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OUT = Path(__file__).parent / "results" / "features.json"
ROLES = ("floor", "ours, person", "ours, node", "polars", "pandas")
EXTRA = ("ours, person, catalogue", "ours, person, 12 dates")


def cpu() -> float:
    """Return the CPU seconds of this process."""
    return time.process_time()


def peak_mb() -> int:
    """Return the peak memory of this process since it began; `getrusage` would give that of its parent, too."""
    said = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(said.partition("VmHWM:")[2].split()[0]) // 1024


def engine(home: Path) -> Any:
    """Open the lake of one layout."""
    from cdpkit.engine import DuckDBEngine
    from cdpkit.lake import Lake
    from cdpkit.workspace import Workspace

    return DuckDBEngine(Lake(Workspace(home)))


def ours(home: Path, dates: int = 1, catalogue: bool = False) -> Any:
    """Build the workload, or the whole catalogue, at one date or at so many months before it."""
    import pandas as pd
    from features_workload import AS_OF, WORKLOAD

    from cdpkit.features import catalogue as ready

    features = ready.complete() if catalogue else WORKLOAD
    as_of = [pd.Timestamp(AS_OF) - pd.DateOffset(months=m) for m in range(dates)]
    with engine(home) as opened:
        return [features.build(opened, date, consent=False) for date in as_of][-1]


def play(role: str, home: Path, out: str) -> None:
    """Compute one role in this process, and keep its frame if asked."""
    import features_peers
    import features_workload

    layout = home / ("node" if role == "ours, node" else "person")
    begin = cpu()
    if role == "floor":
        features_workload.floor(layout)
        frame = None
    elif role.startswith("ours"):
        many, whole = "12" in role, "catalogue" in role
        frame = ours(layout, 12 if many else 1, whole)
    else:
        frame = features_peers.in_polars(layout) if role == "polars" else features_peers.in_pandas(layout)
    # All of the process so far, start and imports included; what follows only serves the comparison.
    print(json.dumps({"cpu_s": cpu(), "cpu_inside_s": cpu() - begin, "peak_mb": peak_mb()}))
    if out and frame is not None:
        frame = frame if hasattr(frame, "to_parquet") else frame.to_pandas()
        frame.rename(columns=lambda c: c.removeprefix("bench__")).to_parquet(out)


def run(role: str, home: Path, out: str = "") -> dict[str, float]:
    """Run one role in a process of its own; return its CPU seconds and peak memory."""
    command = [sys.executable, __file__, "--role", role, "--home", str(home), "--out", out]
    begin = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = child.stdout.read() if child.stdout else ""
    if child.wait():
        return {}
    told = json.loads(said.splitlines()[-1])
    return {key: round(value, 2) for key, value in told.items()} | {
        "wall_s": round(time.perf_counter() - begin, 2)
    }


def agree(files: dict[str, str]) -> dict[str, str]:
    """Compare the peers' values with ours, column by column; nothing and 0 are one thing to them."""
    import numpy as np
    import pandas as pd

    mine = pd.read_parquet(files["ours, person"])
    mine = mine.assign(node_id=mine["person_id"].astype("int64")).set_index("node_id").sort_index()
    said = {}
    for peer in ("polars", "pandas"):
        if peer not in files:
            continue
        theirs = pd.read_parquet(files[peer]).set_index("node_id").reindex(mine.index)
        differ = []
        for name in mine.columns.difference(["person_id", "as_of"]):
            left, right = mine[name], theirs[name]
            if name == "last_channel":
                # Ties at one instant are decided by us, and by nobody there.
                words = [values.astype("object").where(values.notna(), "") for values in (left, right)]
                same = (words[0].astype("str") == words[1].astype("str")).mean() > 0.9999
            else:
                pair = [np.nan_to_num(values.to_numpy(dtype=float)) for values in (left, right)]
                same = np.allclose(*pair, rtol=1e-9, atol=1e-6)
            if not same:
                differ.append(name)
        said[peer] = "all equal" if not differ else f"differ: {', '.join(differ)}"
    return said


def compiling() -> dict[str, float]:
    """Return the CPU seconds to compile the catalogue, scaled to 200 features."""
    from cdpkit.features import catalogue

    features, took = catalogue.complete(), []
    for _ in range(7):
        begin = cpu()
        _ = features.compile("2026-01-01").sql
        took.append(cpu() - begin)
    n = len(features.names)
    return {"features": n, "cpu_s": round(min(took), 3), "cpu_s_for_200": round(min(took) * 200 / n, 3)}


def measured(home: Path, repeats: int, only: list[str]) -> dict[str, Any]:
    """Alternate the roles (Polars, which no bar names, runs once), then compare values, dates, the catalogue."""
    files = {role: f"{home}/{role.replace(', ', '_')}.parquet" for role in ROLES if role != "floor"}
    runs: dict[str, list[dict[str, float]]] = {role: [] for role in ROLES}
    for number in range(repeats):
        for role in ROLES:
            if role not in only or (role == "polars" and number):
                continue
            found = run(role, home, files.get(role, "") if not number else "")
            runs[role] += [found] if found else []
            print(role, found or "failed", flush=True)
    extra = {role: run(role, home) for role in EXTRA if role in only}
    print(extra, flush=True)
    roles = {
        role: {key: statistics.median(r[key] for r in found) for key in found[0]} | {"runs": len(found)}
        for role, found in (runs | {k: [v] if v else [] for k, v in extra.items()}).items()
        if found
    }
    base, inside = roles["floor"]["cpu_s"], roles["floor"]["cpu_inside_s"]
    for said in roles.values():
        said["x_floor"] = round(said["cpu_s"] / base, 2)
        said["x_floor_inside"] = round(said["cpu_inside_s"] / inside, 2)
    one = roles["ours, person"]["cpu_inside_s"]
    many = roles.get("ours, person, 12 dates", {}).get("cpu_inside_s")
    return {
        "roles": roles,
        "twelve_dates_x_one": round(many / one, 2) if many else None,
        "values": agree({role: file for role, file in files.items() if Path(file).exists()}),
        "absent": [peer for peer in ("polars", "pandas") if peer in only and peer not in roles],
    }


def main() -> None:
    """Measure, print and write."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--events", type=float, default=20e6)
    asked.add_argument("--persons", type=float, default=500e3)
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--home", default=str(Path(tempfile.gettempdir()) / "cdpkit_bench_features"))
    asked.add_argument("--only", default=";".join((*ROLES, *EXTRA)), help="roles, separated by semicolons")
    asked.add_argument("--role", default="")
    asked.add_argument("--out", default="")
    given = asked.parse_args()
    if given.role:
        return play(given.role, Path(given.home), given.out)
    import features_data

    home = Path(given.home) / f"{int(given.events)}_{int(given.persons)}"
    begin = cpu()
    only = given.only.split(";")
    layouts = ("person", "node") if "ours, node" in only else ("person",)
    features_data.write(home, int(given.events), int(given.persons), layouts)
    print("data", round(cpu() - begin, 1), "CPU s", flush=True)
    results = json.loads(OUT.read_text())["results"] if OUT.exists() else {}
    name = f"{int(given.events):,} events, {int(given.persons):,} persons"
    results[name] = measured(home, given.repeats, only)
    results["compile"] = compiling()
    results[name]["load"] = [round(x, 1) for x in os.getloadavg()]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(
        json.dumps({"machine": _machine(), "versions": _versions(), "results": results}, indent=1) + "\n"
    )
    print(json.dumps(results, indent=1))
    return None


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(), "system": platform.system(), "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }  # fmt: skip


def _versions() -> dict[str, str]:
    found = {}
    for name in ("duckdb", "polars", "pandas", "pyarrow", "sqlglot", "deltalake"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


if __name__ == "__main__":
    main()
