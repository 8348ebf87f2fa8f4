"""Identity on Spark: parts on the workers say what one machine says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pandas as pd

from cdpkit.engine import SparkEngine
from cdpkit.identity import resolve, resolve_spread

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
