"""What identity is measured against: Splink and recordlinkage, each as its documentation sets it up."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdpkit.identity import agreement

RULES = (
    ("national_id",), ("email",), ("birth_date",), ("first_name", "last_name"), ("last_name", "postcode"),
    ("first_name", "postcode"), ("street", "postcode"), ("last_name", "city"), ("first_name", "city"), ("street",),
)  # fmt: skip
#: A shop's or a family's values, as somebody who cleans before Splink would take them out.
FILLER = {
    "email": ("test@test.com", "noemail@noemail.fr", "na", "-"),
    "phone": ("0000000000", "+33600000000", "0123456789"),
    "first_name": ("NA", "inconnu", "xxx"),
    "last_name": ("NA", "client", "test"),
    "birth_date": ("1900-01-01",),
}


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
        out[f"at {at}"] = rounded(agreement(labels, truth))
    return out | {"cost": {"cpu_s": round(time.process_time() - start, 1)}}


def splink_at_scale(frame: pd.DataFrame) -> dict[str, Any]:
    """Splink on cleaned customers, by seven blocking rules and six comparisons: what a run costs, and gives."""
    import duckdb
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    frame = frame.drop(columns=["source", "record_id"]).assign(unique_id=np.arange(len(frame)))
    for name, values in FILLER.items():
        kept = frame[name].where(~frame[name].isin(values))
        frame[name] = kept.where(
            kept.map(kept.value_counts()).fillna(0) <= (50 if name in ("email", "phone") else np.inf)
        )
    frame["full_name"] = frame["first_name"] + " " + frame["last_name"]
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[
            cl.ForenameSurnameComparison(
                "first_name", "last_name", forename_surname_concat_col_name="full_name"
            ),
            cl.DateOfBirthComparison("birth_date", input_is_string=True),
            cl.EmailComparison("email"),
            cl.DamerauLevenshteinAtThresholds("phone", [1]).configure(term_frequency_adjustments=True),
            cl.JaroWinklerAtThresholds("street", [0.9]),
            cl.DamerauLevenshteinAtThresholds("postcode", [1]).configure(term_frequency_adjustments=True),
        ],
        blocking_rules_to_generate_predictions=[
            block_on("email"),
            block_on("phone"),
            block_on("last_name", "birth_date"),
            block_on("first_name", "birth_date"),
            block_on("postcode", "last_name", "substr(first_name, 1, 1)"),
            block_on("postcode", "street", "first_name"),
            block_on("full_name", "substr(postcode, 1, 2)"),
        ],
    )
    connection = duckdb.connect(config={"threads": 2})
    connection.register("given", frame)
    connection.execute("CREATE TABLE records AS SELECT * FROM given")
    start = time.process_time()
    api = DuckDBAPI(connection=connection)
    linker = Linker(api.register(connection.table("records")), settings)
    logging.getLogger("splink").setLevel(logging.CRITICAL)
    train = linker.training
    sure = [("email", "first_name"), ("first_name", "last_name", "birth_date"), ("phone", "first_name")]
    train.estimate_probability_two_random_records_match([block_on(*rule) for rule in sure], recall=0.7)
    train.estimate_u_using_random_sampling(max_pairs=2e6, seed=2)
    for rule in (("first_name", "last_name"), ("birth_date", "postcode"), ("email",)):
        train.estimate_parameters_using_expectation_maximisation(
            block_on(*rule), estimate_without_term_frequencies=True, max_pairs=2e6
        )
    trained = time.process_time()
    found = linker.inference.predict(threshold_match_probability=0.5, warning_mode="never")
    clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(
        found, threshold_match_probability=0.95
    )
    labels = clusters.as_duckdbpyrelation().df().sort_values("unique_id")["cluster_id"].to_numpy()
    cpu = time.process_time() - start
    return {"labels": labels, "cpu_s": round(cpu, 1), "training_cpu_s": round(trained - start, 1)}


def splink_components(path: str) -> int:
    """Cluster pairs of identifiers by Splink; return the number of components."""
    import duckdb
    from splink import DuckDBAPI
    from splink.clustering import cluster_pairwise_predictions_at_threshold

    logging.disable(logging.WARNING)
    connection = duckdb.connect()
    connection.execute(
        f"CREATE TABLE edges AS SELECT l AS id_l, r AS id_r, 1.0::DOUBLE AS match_probability FROM '{path}'"
    )
    connection.execute("CREATE TABLE nodes AS SELECT id_l AS id FROM edges UNION SELECT id_r FROM edges")
    api = DuckDBAPI(connection=connection)
    found = cluster_pairwise_predictions_at_threshold(
        api.register(connection.table("nodes")),
        api.register(connection.table("edges")),
        api,
        node_id_column_name="id",
        edge_id_column_name_left="id_l",
        edge_id_column_name_right="id_r",
        threshold_match_probability=0.5,
    )
    count = found.query_sql("SELECT count(DISTINCT cluster_id) AS n FROM {this}")
    return int(count.as_duckdbpyrelation().fetchnumpy()["n"][0])


def recordlinkage(frame: pd.DataFrame, truth: np.ndarray) -> dict[str, Any]:
    """recordlinkage's unsupervised classifier, in an environment of its own: ``CDPKIT_PEER_PYTHON``."""
    python = os.environ.get("CDPKIT_PEER_PYTHON")
    if not python:
        return {"absent": "CDPKIT_PEER_PYTHON names no Python that has recordlinkage"}
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "records.csv"
        frame.drop(columns=["source", "record_id"]).to_csv(given, index=False)
        done = subprocess.run(
            [python, "-c", _RECORDLINKAGE, str(given), json.dumps(RULES)],
            capture_output=True,
            text=True,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )
    if done.returncode:
        return {"absent": done.stderr.strip().splitlines()[-1]}
    said = json.loads(done.stdout.splitlines()[-1])
    return rounded(agreement(np.array(said["labels"]), truth)) | {"cpu_s": said["cpu_s"]}


_RECORDLINKAGE = """
import json, sys, time
import numpy as np, pandas as pd, recordlinkage as rl
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
frame = pd.read_csv(sys.argv[1], dtype=str)
start = time.process_time()
index = rl.Index()
for rule in json.loads(sys.argv[2]):
    if set(rule) <= set(frame):
        index.block(rule)
pairs = index.index(frame)
compare = rl.Compare()
for name in frame:
    if name in ("national_id", "birth_date", "postcode"):
        compare.string(name, name, method="damerau_levenshtein", threshold=0.8, label=name)
    else:
        compare.string(name, name, method="jarowinkler", threshold=0.85, label=name)
vectors = compare.compute(pairs, frame)
links = rl.ECMClassifier(binarize=0.5).fit_predict(vectors)
left, right = (np.asarray(links.get_level_values(k)) for k in (0, 1))
graph = coo_matrix((np.ones(len(left)), (left, right)), shape=(len(frame), len(frame)))
labels = connected_components(graph, directed=False)[1]
print(json.dumps({"labels": labels.tolist(), "cpu_s": round(time.process_time() - start, 1)}))
"""


def rounded(scores: dict[str, float]) -> dict[str, float]:
    """Return figures to five digits."""
    return {name: round(float(value), 5) for name, value in scores.items()}
