"""Identity on Spark: parts on the workers say what one machine says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pandas as pd

from cdpkit.engine import SparkEngine
from cdpkit.identity import resolve, resolve_spread

HERE = runpy.run_path(str(Path(__file__).resolve().parents[1] / "identity" / "test_identity_spread.py"))


def test_workers_find_the_persons_that_one_machine_finds(session) -> None:
    """Keys, components, guards, claims and the golden record, over a state with aliases and decisions."""
    records: pd.DataFrame = HERE["messy"](130)
    before = resolve(
        records[records["known_at"] < HERE["DAY"] + pd.Timedelta(days=55)], run_id="r1", scoring=False
    )
    decisions = HERE["asked"](records)
    whole = resolve(records, before, decisions, run_id="r2", scoring=False)
    assert len(whole.aliases) > 0
    with SparkEngine(session, frames={"said": records, "held": HERE["stored"](before)}) as engine:
        found = resolve_spread(
            engine,
            "said",
            run_id="r2",
            membership="held",
            aliases=before.aliases,
            decisions=decisions,
            parts=2,
        )
        HERE["compared"](whole, engine, found.tables, set(before.membership["person_id"]))
