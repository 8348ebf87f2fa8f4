"""Answers over time: kept as decisions, so that each has an author and a date and none is lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from cdpkit import decisions
from cdpkit.maturity.assessment import declared_levels
from cdpkit.maturity.criteria import criteria

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.decisions import Decision
    from cdpkit.engine import Engine
    from cdpkit.workspace import Workspace

#: The kind of decision that answers are.
KIND = "maturity"


def save(
    workspace: Workspace,
    answers: Mapping[str, int | None],
    *,
    author: str,
    decided_at: datetime,
    tools: Mapping[str, float] | None = None,
    name: str = "organisation",
) -> Decision:
    """Drop a set of answers in the inbox; the next run takes it into the history.

    Parameters
    ----------
    workspace : Workspace
        Whose inbox.
    answers : mapping of str to int
        As in `cdpkit.maturity.assess`; None for "I do not know".
    author : str
        Who answered.
    decided_at : datetime
        When.
    tools : mapping, optional
        Match rate of each exchange between tools.
    name : str
        What was assessed: the organisation, a brand, a country.

    Raises
    ------
    FaultsError
        When an answer is no level of a criterion.
    """
    content = {"answers": declared_levels(answers), "tools": dict(tools or {})}
    return decisions.record(
        workspace, kind=KIND, subject=name, content=content, author=author, decided_at=decided_at
    )


def changes(before: Mapping[str, int | None], after: Mapping[str, int | None]) -> pd.DataFrame:
    """Set two sets of answers side by side, criterion by criterion.

    Parameters
    ----------
    before, after : mapping of str to int
        As in `cdpkit.maturity.assess`.

    Returns
    -------
    DataFrame
        ``criterion, name_fr, name_en, before, after, change``: levels 0 to 4, `change` missing where one of
        both is not known; the largest progress first.

    Examples
    --------
    >>> found = changes({"roadmap": 1, "unified_profile": 2}, {"roadmap": 3, "unified_profile": 2})
    >>> found.loc[0, "criterion"], float(found.loc[0, "change"])
    ('roadmap', 2.0)
    """
    import pandas as pd

    told = [declared_levels(answers) for answers in (before, after)]
    rows = [(c.id, c.workstream["fr"], c.workstream["en"], told[0][c.id], told[1][c.id]) for c in criteria()]
    frame = pd.DataFrame(rows, columns=["criterion", "name_fr", "name_en", "before", "after"])
    frame[["before", "after"]] = frame[["before", "after"]].astype("float64")
    frame["change"] = frame["after"] - frame["before"]
    return frame.sort_values("change", ascending=False, kind="stable").reset_index(drop=True)


def history(engine: Engine, workspace: Workspace | None = None) -> pd.DataFrame:
    """Return every set of answers, oldest first.

    Parameters
    ----------
    engine : Engine
        Sees ``decisions``.
    workspace : Workspace, optional
        With it, answers that no run has taken in yet are added, marked pending.

    Returns
    -------
    DataFrame
        ``decided_at, name, author, answers, tools, pending``.
    """
    import pandas as pd

    stored = engine.query(
        f"SELECT decision_id, event_time, subject, author, content FROM decisions WHERE kind = '{KIND}'"
    ).to_pandas()
    rows = [
        (row.decision_id, row.event_time, row.subject, row.author, json.loads(str(row.content)), False)
        for row in stored.itertuples()
    ]
    taken = {row[0] for row in rows}
    for waiting in decisions.pending(workspace) if workspace is not None else []:
        if waiting.kind == KIND and waiting.id not in taken:
            moment = pd.Timestamp(waiting.decided_at)
            rows.append((waiting.id, moment, waiting.subject, waiting.author, waiting.content, True))
    frame = pd.DataFrame(
        [
            (moment, name, author, content["answers"], content.get("tools", {}), pending)
            for _, moment, name, author, content, pending in rows
        ],
        columns=["decided_at", "name", "author", "answers", "tools", "pending"],
    )
    return frame.sort_values("decided_at", kind="stable").reset_index(drop=True)
