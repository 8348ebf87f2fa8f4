"""What marketers ask for on a page: kept as decisions, carried out by the next run, never a rule of the browser's."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from cdpkit import decisions
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import FaultsError
from cdpkit.segments import asked
from cdpkit.workspace import Workspace

NOW = datetime(2026, 7, 1)
OFFER = {"name": "leaving", "model": "churn", "where": "tier = 'hot'"}
CATALOGUE = {"P1": "Tent", "P2": "Mat", "P3": "Lamp"}


def _engine(workspace: Workspace) -> DuckDBEngine:
    """Return a lake that took the inbox in, with one scored model and two products left."""
    rows = [
        {"decision_id": d.id, "kind": d.kind, "subject": d.subject, "content": pd.Series(d.content).to_json(),
         "author": d.author, "reason": d.reason, "event_time": pd.Timestamp(d.decided_at), "run_id": "r1"}
        for d in decisions.pending(workspace)
    ]  # fmt: skip
    scores = pd.DataFrame(
        {"person_id": ["a"], "as_of": NOW, "model": "churn", "version": "1", "score": 0.5, "percentile": 50.0,
         "decile": 5, "decided_by": "model", "reference_population": "all"}
    )  # fmt: skip
    products = pd.DataFrame(
        {"product_id": ["P1", "P2"], "name": ["Tent", "Mat"], "source": "shop", "known_at": NOW}
    )
    return DuckDBEngine(frames={"decisions": pd.DataFrame(rows), "scores": scores, "products": products})


def test_an_audience_asked_for_is_made_by_the_offers_own_rule(tmp_path: Path) -> None:
    """The name says the channel; a model that scored nobody waits."""
    workspace = Workspace.open(tmp_path)
    asked.ask(workspace, OFFER, "sms", author="Ines", reason="autumn", decided_at=NOW)
    asked.ask(
        workspace,
        OFFER | {"name": "twins", "model": "lookalike"},
        "email",
        author="Ines",
        reason="x",
        decided_at=NOW,
    )
    (one,) = asked.audiences(_engine(workspace), quiet_days=3)
    assert (one.name, one.model, one.where, one.channel, one.quiet_days) == (
        "leaving_sms",
        "churn",
        "tier = 'hot'",
        "sms",
        3,
    )


def test_what_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """Channel, author and reason together; nothing is kept."""
    workspace = Workspace.open(tmp_path)
    with pytest.raises(FaultsError) as fault:
        asked.ask(workspace, OFFER, "pigeon", author="", reason="", decided_at=NOW)
    assert all(word in str(fault.value) for word in ("channel", "author", "reason"))
    assert decisions.pending(workspace) == []


def test_the_last_list_of_a_product_wins_and_only_what_is_sold_is_proposed(tmp_path: Path) -> None:
    """A product that left the catalogue since is left out; an empty list proposes nothing."""
    workspace = Workspace.open(tmp_path)
    for others, day in ((["P2"], 1), (["P3", "P2"], 2)):
        asked.propose(
            workspace, "P1", others, CATALOGUE, author="Ines", reason="x", decided_at=datetime(2026, 7, day)
        )
    asked.propose(workspace, "P2", [], CATALOGUE, author="Ines", reason="x", decided_at=NOW)
    assert asked.complements(_engine(workspace)) == {"P2": [], "P1": ["P2"]}


def test_a_list_names_known_products_once_and_not_itself(tmp_path: Path) -> None:
    """All faults at once."""
    with pytest.raises(FaultsError) as fault:
        asked.propose(
            Workspace.open(tmp_path),
            "P1",
            ["P1", "P9", "P9"],
            CATALOGUE,
            author="a",
            reason="",
            decided_at=NOW,
        )
    assert all(word in str(fault.value) for word in ("P9", "itself", "once"))
