"""Answers are kept: shown at once as pending, then as history."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from cdpkit import maturity
from cdpkit.run import Run
from cdpkit.workspace import Workspace


@pytest.mark.req("MAT-10")
def test_answers_persist_and_call_for_action(tmp_path: Path) -> None:
    """Saved answers are pending at once, are history after a run, and each gap they leave has an action."""
    workspace = Workspace.open(tmp_path)
    for day, level in ((1, 1), (2, 2)):
        maturity.save(
            workspace, {"quality": level, "roadmap": None}, author="ines", decided_at=datetime(2026, 7, day),
            tools={"crm to e-mail": 0.9},
        )  # fmt: skip
    run = Run.begin(workspace, "maturity")
    assert maturity.history(run.engine(), workspace)["pending"].tolist() == [True, True]
    run.finish()
    run = Run.begin(workspace, "maturity")
    kept = maturity.history(run.engine(), workspace)
    run.abandon()
    assert kept["pending"].tolist() == [False, False]
    assert [answers["quality"] for answers in kept["answers"]] == [1, 2]
    assert kept.loc[0, "tools"] == {"crm to e-mail": 0.9}
    found = maturity.assess(kept["answers"].iloc[-1])
    actions = maturity.next_actions(found)
    assert len(actions) == 3 and actions["action_fr"].str.len().min() > 10
