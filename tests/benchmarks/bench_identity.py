"""Identity resolution beside bare Splink on the same columns, in the same run.

Run ``python tests/benchmarks/bench_identity.py``; results go to ``tests/benchmarks/results/identity.json``.

Every set is resolved with the defaults. The peer is Splink with the comparisons its documentation proposes
and ten blocking rules, at even odds and at .95, clustered by its own components. FEBRL 2 and 4 without the
national id, the three-column and no-duplicates cuts of FEBRL 4, fake_1000 and 10,000 synthetic customers were
looked at while the defaults were chosen: for them the figures say what the defaults fit, not what they foresee.

``CDPKIT_BENCH_CUSTOMERS`` names Parquet files of synthetic customers (columns ``source, rec_id, person,
first_name, surname, dob, email, phone, street_no, street, postcode``), separated by ``:``; 100,000 records
take about a minute, a million several. The peer is not run on them.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from cdpkit.identity import agreement, resolve

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CDPKIT_SHARED_DATA", ROOT.parent / "shared" / "data"))
OUT = Path(__file__).parent / "results" / "identity.json"
RULES = (
    ("national_id",), ("email",), ("birth_date",), ("first_name", "last_name"), ("last_name", "postcode"),
    ("first_name", "postcode"), ("street", "postcode"), ("last_name", "city"), ("first_name", "city"), ("street",),
)  # fmt: skip


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


def few(columns: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """FEBRL 4 with few columns."""
    frame, truth = febrl(("febrl4a", "febrl4b"), False)
    return frame[["source", "record_id", *columns]], truth


def ours(frame: pd.DataFrame, truth: np.ndarray, scoring: bool | None = None) -> dict[str, float]:
    """Resolve with the defaults."""
    start = time.process_time()
    out = resolve(frame, run_id="r1", scoring=scoring)
    cpu = time.process_time() - start
    both = out.as_of().merge(frame[["source", "record_id"]].assign(truth=truth))
    return _rounded(agreement(both["person_id"], both["truth"])) | {"cpu_s": round(cpu, 1)}


def splink(frame: pd.DataFrame, truth: np.ndarray) -> dict[str, dict[str, float]]:
    """Splink as its documentation sets it up."""
    import duckdb
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    frame = frame.drop(columns=["source", "record_id"]).assign(unique_id=np.arange(len(frame)))
    choices = {
        "first_name": cl.NameComparison("first_name").configure(term_frequency_adjustments=True),
        "last_name": cl.NameComparison("last_name").configure(term_frequency_adjustments=True),
        "birth_date": cl.DateOfBirthComparison(
            "birth_date", input_is_string=True, invalid_dates_as_null=True
        ),
        "national_id": cl.DamerauLevenshteinAtThresholds("national_id", [1, 2]),
        "street": cl.JaroWinklerAtThresholds("street", [0.9, 0.7]),
        "postcode": cl.DamerauLevenshteinAtThresholds("postcode", [1, 2]).configure(
            term_frequency_adjustments=True
        ),
        "city": cl.JaroWinklerAtThresholds("city", [0.9, 0.7]).configure(term_frequency_adjustments=True),
        "email": cl.EmailComparison("email"),
    }
    held = [rule for rule in RULES if set(rule) <= set(frame)]
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[choice for name, choice in choices.items() if name in frame],
        blocking_rules_to_generate_predictions=[block_on(*rule) for rule in held],
    )
    start = time.process_time()
    api = DuckDBAPI(connection=duckdb.connect(config={"threads": 1}))
    linker = Linker(api.register(frame), settings)
    logging.getLogger("splink").setLevel(logging.CRITICAL)
    sure = [
        ("first_name", "last_name", "birth_date"),
        *(rule for rule in held if rule[0] in ("national_id", "email")),
    ]
    train = linker.training
    train.estimate_probability_two_random_records_match([block_on(*rule) for rule in sure], recall=0.7)
    train.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    for rule in (("first_name", "last_name"), ("birth_date",), ("email",), ("postcode",)):
        if set(rule) <= set(frame):
            train.estimate_parameters_using_expectation_maximisation(
                block_on(*rule), estimate_without_term_frequencies=True
            )
    pairs = linker.inference.predict(threshold_match_probability=0.01, warning_mode="never")
    out = {}
    for at in (0.5, 0.95):
        clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(
            pairs, threshold_match_probability=at
        )
        labels = clusters.as_duckdbpyrelation().df().sort_values("unique_id")["cluster_id"]
        out[f"at {at}"] = _rounded(agreement(labels, truth))
    return out | {"cost": {"cpu_s": round(time.process_time() - start, 1)}}


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 5) for name, value in scores.items()}


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


def main() -> None:
    """Measure every set, print and write."""
    results: dict[str, dict] = {}
    for name, read in SETS.items():
        frame, truth = read()
        results[name] = {"ours": ours(frame, truth)}
        if "no duplicates" not in name:
            results[name] |= {"splink": splink(frame, truth)}
        print(
            name,
            {
                tool: {k: v for k, v in said.items() if k in ("pair_f1", "b3_f1", "largest", "at 0.5")}
                for tool, said in results[name].items()
            },
            flush=True,
        )
    for path in filter(None, os.environ.get("CDPKIT_BENCH_CUSTOMERS", "").split(":")):
        frame, truth = customers(path)
        name = f"customers, {len(frame):,} records ({Path(path).stem})"
        results[name] = {"ours": ours(frame, truth), "ours, exact keys": ours(frame, truth, scoring=False)}
        print(name, results[name], flush=True)
    versions = {name: version(name) for name in ("splink", "duckdb", "pandas", "numpy", "scipy")}
    machine = {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(
        json.dumps({"machine": machine, "versions": versions, "results": results}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
