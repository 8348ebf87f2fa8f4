"""Identity resolution beside its peers on the same columns, in the same run: quality, cost, growth.

Run ``python tests/benchmarks/bench_identity.py``; results go to ``tests/benchmarks/results/identity.json``.

Every set is resolved with the defaults. The peers are Splink with the comparisons its documentation proposes
and ten blocking rules, at even odds and at .95, clustered by its own components; and recordlinkage's
unsupervised classifier on the same blocks, in the Python that ``CDPKIT_PEER_PYTHON`` names. FEBRL 2 and 4
without the national id, the three-column and no-duplicates cuts of FEBRL 4, fake_1000 and synthetic customers
were looked at while the defaults were chosen: for them the figures say what the defaults fit, not what they
foresee.

``CDPKIT_BENCH_CUSTOMERS`` names Parquet files of synthetic customers (columns ``source, rec_id, person,
first_name, surname, dob, email, phone, street_no, street, postcode``), separated by ``:``: each is resolved in
four processes: learning a model, by it, continuing, and by exact keys only; and Splink runs on the same data,
cleaned. A file whose name ends in ``nohub`` is the one without its shared e-mail
address. ``CDPKIT_BENCH_EDGES`` names numbers of identifier pairs to group (``1000000:10000000``).
``--only sets``, ``--only scale`` or ``--only components`` measures one part and keeps the others; sizes that
are not asked for are kept too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from identity_peers import FILLER, recordlinkage, rounded, splink, splink_at_scale, splink_components

from cdpkit.identity import ScoringModel, agreement, audit, connected, resolve

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CDPKIT_SHARED_DATA", ROOT.parent / "shared" / "data"))
OUT = Path(__file__).parent / "results" / "identity.json"


def febrl(files: tuple[str, ...], national_id: bool) -> tuple[pd.DataFrame, np.ndarray]:
    """Read FEBRL files; the truth is the number in the record id, which no tool sees."""
    parts = [
        pd.read_csv(DATA / "febrl" / f"{f}.csv.gz", skipinitialspace=True, dtype=str).assign(source=f)
        for f in files
    ]
    raw = pd.concat(parts, ignore_index=True)
    day, street = raw["date_of_birth"], raw["street_number"].fillna("") + " " + raw["address_1"].fillna("")
    out = pd.DataFrame(
        {
            "source": raw["source"], "record_id": [f"r{i}" for i in range(len(raw))],
            "first_name": raw["given_name"], "last_name": raw["surname"],
            "birth_date": day.str[:4] + "-" + day.str[4:6] + "-" + day.str[6:8],
            "street": street.str.strip().replace("", None), "postcode": raw["postcode"], "city": raw["suburb"],
        }
    )  # fmt: skip
    if national_id:
        out["national_id"] = raw["soc_sec_id"]
    return out, raw["rec_id"].str.extract(r"rec-(\d+)-")[0].to_numpy()


def fake_1000() -> tuple[pd.DataFrame, np.ndarray]:
    """Read Splink's own small set."""
    raw = pd.read_csv(DATA / "fake_1000" / "fake_1000.csv.gz", dtype=str)
    names = {"unique_id": "record_id", "surname": "last_name", "dob": "birth_date"}
    return raw.rename(columns=names).drop(columns="cluster").assign(source="s"), raw["cluster"].to_numpy()


def customers(path: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Read synthetic customers."""
    raw = pd.read_parquet(path)
    names = {"rec_id": "record_id", "surname": "last_name", "dob": "birth_date"}
    out = raw.assign(street=raw["street_no"] + " " + raw["street"], rec_id=raw["rec_id"].astype(str))
    return out.rename(columns=names).drop(columns=["person", "street_no"]), raw["person"].to_numpy()


def told_apart(frame: pd.DataFrame, truth: np.ndarray) -> np.ndarray:
    """Tell which records are of persons whose name and e-mail address are nobody else's.

    The generator gives one address to namesakes, to more of them the larger the base: nobody who believes in
    addresses can tell them apart, and a real mailbox has one owner.
    """
    own = frame.assign(truth=truth)[~frame["email"].isin(FILLER["email"])]
    own = own.dropna(subset=["first_name", "last_name", "email"])
    said = own.groupby(["first_name", "last_name", "email"])["truth"]
    return ~np.isin(truth, own.loc[said.transform("nunique") > 1, "truth"])


def few(columns: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """FEBRL 4 with few columns."""
    frame, truth = febrl(("febrl4a", "febrl4b"), False)
    return frame[["source", "record_id", *columns]], truth


def ours(frame: pd.DataFrame, truth: np.ndarray, **asked: Any) -> tuple[Any, dict[str, float]]:
    """Resolve; return the resolution, and how well and at what cost."""
    start = time.process_time()
    out = resolve(frame, run_id=asked.pop("run_id", "r1"), **asked)
    cpu = time.process_time() - start
    both = out.as_of().merge(frame[["source", "record_id"]].assign(truth=truth))
    return out, rounded(agreement(both["person_id"], both["truth"])) | {"cpu_s": round(cpu, 2)}


SETS = {
    "febrl1": lambda: febrl(("febrl1",), True),
    "febrl1 without national id": lambda: febrl(("febrl1",), False),
    "febrl2": lambda: febrl(("febrl2",), True),
    "febrl2 without national id": lambda: febrl(("febrl2",), False),
    "febrl4": lambda: febrl(("febrl4a", "febrl4b"), True),
    "febrl4 without national id": lambda: febrl(("febrl4a", "febrl4b"), False),
    "febrl4, three columns": lambda: few(["first_name", "last_name", "birth_date"]),
    "febrl4a, no duplicates": lambda: febrl(("febrl4a",), False),
    "fake_1000": fake_1000,
}


def sets() -> dict[str, dict]:
    """Measure every public set beside its peers."""
    results: dict[str, dict] = {}
    for name, read in SETS.items():
        frame, truth = read()
        results[name] = {"ours": ours(frame, truth)[1]}
        if "no duplicates" not in name:
            results[name] |= {"splink": splink(frame, truth), "recordlinkage": recordlinkage(frame, truth)}
        said = {"ours": results[name]["ours"]}
        said |= {
            "splink": results[name].get("splink", {}).get("at 0.5", {}),
            "rl": results[name].get("recordlinkage", {}),
        }
        print(
            name,
            {tool: [one.get(k) for k in ("pair_f1", "b3_f1", "cpu_s")] for tool, one in said.items()},
            flush=True,
        )
    return results


RUNS = ("learning", "saved model", "continuing", "exact keys")


def scale(path: str, tool: str) -> dict[str, Any]:
    """Measure one run over one base of customers by one tool, in this process."""
    frame, truth = customers(path)
    if tool == "splink":
        found = splink_at_scale(frame)
        return rounded(agreement(found.pop("labels"), truth)) | found | {"peak_mb": _peak()}
    saved = Path(tempfile.gettempdir()) / f"cdpkit-{Path(path).stem}-model.json"
    if tool == "exact keys":
        return ours(frame, truth, scoring=False)[1] | {"peak_mb": _peak()}
    model = None if tool == "learning" else ScoringModel.load(saved)
    first, report = ours(frame, truth, scoring=model)
    if tool == "continuing":
        again, report = ours(frame, truth, previous=first, run_id="r2")
        report["events"] = len(again.person_events)
    if tool == "learning":
        first.scoring.model.save(saved)
        both = frame[["source", "record_id"]].assign(truth=truth)[told_apart(frame, truth)]
        both = both.merge(first.as_of())
        apart = rounded(agreement(both["person_id"], both["truth"])) | {"records": len(both)}
        aside = audit(first)["set_aside"].sort_values("most_records", ascending=False).iloc[0]
        told = {k: str(aside[k]) for k in ("id_type", "status", "reason", "most_records")}
        report |= {"without namesakes of one address": apart, "busiest identifier": told}
        report["pairs_compared"] = len(first.scoring.compared.left)
    return report | {"peak_mb": _peak()}


def components(path: str, tool: str) -> dict[str, Any]:
    """Group the identifier pairs of a file by one tool, in this process."""
    before, start = _peak(), time.process_time()
    if tool == "splink":
        n = splink_components(path)
    else:
        edges = pd.read_parquet(path)
        n = int(connected(edges["l"], edges["r"])["component"].max()) + 1
    cpu = time.process_time() - start
    return {"components": n, "cpu_s": round(cpu, 2), "peak_mb": _peak(), "added_mb": _peak() - before}


def edges(n: int, path: str) -> None:
    """Write pairs of identifiers: persons of two to eight, some chance pairs, one chain of two thousand."""
    import duckdb

    random = np.random.default_rng(3)
    size = np.minimum(2 + random.geometric(0.35, n), 8)
    size = size[: int(np.searchsorted(np.cumsum(size + 1), n))]
    begin = np.cumsum(size) - size
    person = np.repeat(np.arange(len(size)), size)
    place = np.arange(size.sum()) - begin[person]
    child = np.flatnonzero(place > 0)
    parent = begin[person[child]] + (random.random(len(child)) * place[child]).astype(np.int64)
    more = random.integers(0, len(size), n - len(child))
    twice = [begin[more] + (random.random(len(more)) * size[more]).astype(np.int64) for _ in range(2)]
    chance = random.integers(0, size.sum(), (2, int(0.003 * n)))
    line = size.sum() + np.arange(2000)
    pairs = pd.DataFrame(
        {
            "a": np.concatenate([child, twice[0], chance[0], line[:-1]]),
            "b": np.concatenate([parent, twice[1], chance[1], line[1:]]),
        }
    ).sample(frac=1, random_state=1)
    name = "['em:', 'ck:', 'dv:', 'ly:', 'ph:'][1 + {0} % 5] || md5({0}::VARCHAR)[:12]"
    with duckdb.connect() as connection:
        connection.register("pairs", pairs)
        said = f"SELECT {name.format('a')} AS l, {name.format('b')} AS r FROM pairs"
        connection.execute(f"COPY ({said}) TO '{path}' (FORMAT parquet)")


def _peak() -> int:
    """Return the most memory this process has held; kilobytes on Linux, bytes on macOS."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)


def _apart(part: str, path: str, tool: str) -> dict[str, Any]:
    """Measure in a process of its own, whose memory is nobody else's."""
    done = subprocess.run(
        [sys.executable, __file__, "--part", part, "--tool", tool, "--path", path],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    print(part, tool, Path(path).stem, done.stdout.splitlines()[-1], flush=True)
    return json.loads(done.stdout.splitlines()[-1])


def at_scale(results: dict[str, dict], before: dict[str, dict]) -> dict[str, dict]:
    """Measure bases of customers; their quality goes beside that of the public sets."""
    found: dict[str, dict] = dict(before)
    for path in filter(None, os.environ.get("CDPKIT_BENCH_CUSTOMERS", "").split(":")):
        one = {"splink": _apart("scale", path, "splink")}
        one["ours"] = {run: _apart("scale", path, run) for run in RUNS}
        mine, bare = one["ours"], one["splink"]["cpu_s"]
        one["cpu_per_splink"] = {run: round(mine[run]["cpu_s"] / bare, 3) for run in RUNS[:3]}
        found[Path(path).stem] = one
        if not path.endswith("nohub.parquet"):
            name = (
                f"customers, {len(pd.read_parquet(path, columns=['person'])):,} records ({Path(path).stem})"
            )
            results[name] = {"ours": mine["learning"], "ours, exact keys": mine["exact keys"]}
    for stem, one in found.items():
        free = found.get(f"{stem}_nohub")
        if free:
            runs = ("learning", "saved model", "exact keys")
            one["cpu_per_hub_free"] = {
                run: round(one["ours"][run]["cpu_s"] / free["ours"][run]["cpu_s"], 3) for run in runs
            }
    return found


def grouped(before: dict[str, dict]) -> dict[str, dict]:
    """Measure the grouping of identifier pairs."""
    found: dict[str, dict] = dict(before)
    with tempfile.TemporaryDirectory() as folder:
        for size in filter(None, os.environ.get("CDPKIT_BENCH_EDGES", "").split(":")):
            path = str(Path(folder) / f"edges_{size}.parquet")
            edges(int(size), path)
            one: dict[str, Any] = {tool: _apart("components", path, tool) for tool in ("ours", "splink")}
            one["edges_per_second_over_splink"] = round(one["splink"]["cpu_s"] / one["ours"]["cpu_s"], 2)
            one["memory_over_splink"] = round(one["ours"]["peak_mb"] / one["splink"]["peak_mb"], 3)
            found[f"{int(size):,} pairs"] = one
    return found


def main() -> None:
    """Measure what is asked, print and write."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--only", choices=("sets", "scale", "components"))
    for name in ("--part", "--tool", "--path"):
        asked.add_argument(name)
    options = asked.parse_args()
    if options.part:
        print(
            json.dumps({"scale": scale, "components": components}[options.part](options.path, options.tool))
        )
        return
    before = json.loads(OUT.read_text()) if OUT.exists() else {}
    results = dict(before.get("results", {}))
    if options.only in (None, "sets"):
        results = sets() | {name: one for name, one in results.items() if name.startswith("customers")}
    written: dict[str, Any] = {
        "machine": {
            "python": platform.python_version(),
            "system": platform.system(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "versions": {
            name: version(name) for name in ("splink", "duckdb", "pandas", "numpy", "scipy", "pyarrow")
        },
        "scale": before.get("scale", {}),
        "components": before.get("components", {}),
        "results": results,
    }
    if options.only in (None, "scale"):
        written["scale"] = at_scale(results, written["scale"])
    if options.only in (None, "components"):
        written["components"] = grouped(written["components"])
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
