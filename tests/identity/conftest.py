"""A small retailer, loaded and resolved once for the tests that read what identity leaves in the lake."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pandas as pd
import pytest

from cdpkit import identity, world
from cdpkit.run import Run
from cdpkit.sources import load
from cdpkit.workspace import Workspace

#: Knowledge of everything the retailer exported.
END = pd.Timestamp("2026-01-01")


@pytest.fixture(scope="session")
def retailer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A retailer of 300 persons: ``engine`` on its resolved lake, ``run``, ``truth``, ``end``."""
    home = tmp_path_factory.mktemp("retailer")
    made = world.generate(300, seed=5, start="2025-01-01", end="2026-01-01")
    made.write(home / "raw", home / "truth")
    run = Run.begin(Workspace(home), "identity")
    load(run, "world", home / "raw")
    engine = run.engine()
    identity.store(run, identity.resolve(identity.records(engine), run_id="r1", scoring=False))
    yield SimpleNamespace(engine=engine, run=run, truth=made.truth, raw=made.raw, end=END)
    engine.close()
    run.abandon()
