"""Identity on Spark: parts on the workers say what one machine says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pandas as pd

from cdpkit.engine import SparkEngine
from cdpkit.identity import resolve, resolve_spread
from cdpkit.identity.contraction import contract

HERE = runpy.run_path(str(Path(__file__).resolve().parents[1] / "identity" / "test_identity_spread.py"))


def test_workers_find_the_persons_that_one_machine_finds(session) -> None:
    """Keys, components, guards, scored pairs and claims, over a state, decisions and records that are gone."""
    records: pd.DataFrame = HERE["alike"]()
    learned = resolve(records, run_id="r0").scoring
    assert learned is not None
    before = resolve(records.iloc[20:], run_id="r1", scoring=learned.model)
    decisions = HERE["apart_and_together"](records, before)
    now = records.iloc[:-5]
    whole = resolve(now, before, decisions, run_id="r2", scoring=learned.model)
    assert (whole.links["rule"] == "scored").sum() > 20 and len(whole.aliases) > 0
    with SparkEngine(session, frames={"said": now, "held": HERE["stored"](before)}) as engine:
        found = resolve_spread(
            engine, "said", run_id="r2", membership="held", aliases=before.aliases, decisions=decisions,
            scoring=learned.model, parts=2,
        )  # fmt: skip
        HERE["compared"](whole, engine, found.tables, set(before.membership["person_id"]))


def test_statements_of_spark_find_components(session) -> None:
    frames = {
        "nodes_": pd.DataFrame({"node": [-4, 0, 1, 2, 3, 8, 9]}),
        "pairs_": pd.DataFrame({"l": [0, 2, 3, 9], "r": [1, 1, 2, -4]}),
    }
    with SparkEngine(session, frames=frames) as engine:
        assert contract(engine, "nodes_", "pairs_", "groups_", here=0) > 0
        found = engine.query("SELECT node, component FROM groups_ ORDER BY node").to_pandas()
    assert found["component"].tolist() == [-4, 0, 0, 0, 0, 8, -4]
