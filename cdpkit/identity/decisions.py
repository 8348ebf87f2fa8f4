"""Links that people asked for, and pairs they keep apart."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdpkit import decisions as inbox
from cdpkit.errors import FaultsError
from cdpkit.identity.evidence import find, microseconds
from cdpkit.identity.links import Rulebook

if TYPE_CHECKING:
    from cdpkit.engine import Engine
    from cdpkit.workspace import Workspace

#: Columns of a frame of decisions.
COLUMNS = ("kind", "left_source", "left_record_id", "right_source", "right_record_id", "decided_at")
_KINDS = ("must_link", "cannot_link")
#: Kind of these decisions in the inbox.
_INBOX = "link"


def decide(
    workspace: Workspace,
    kind: str,
    left: tuple[str, str],
    right: tuple[str, str],
    *,
    author: str,
    decided_at: datetime,
    reason: str = "",
) -> inbox.Decision:
    """Drop in the inbox that two records are one person, or are not; the next run takes it in.

    Parameters
    ----------
    workspace : Workspace
        Whose inbox.
    kind : str
        ``must_link`` or ``cannot_link``.
    left, right : (str, str)
        Source and record id.
    author, reason : str
        Who decided, and why.
    decided_at : datetime
        UTC when it has no zone.

    Raises
    ------
    FaultsError
        When the kind is neither, or words are missing.
    """
    if kind not in _KINDS:
        raise FaultsError("a decision on two records", [f"`kind` must be {' or '.join(_KINDS)}; got another"])
    content = {
        "kind": kind,
        "left_source": left[0],
        "left_record_id": left[1],
        "right_source": right[0],
        "right_record_id": right[1],
    }
    return inbox.record(
        workspace,
        kind=_INBOX,
        subject="identity",
        content=content,
        author=author,
        decided_at=decided_at,
        reason=reason,
    )


def unmerge(
    workspace: Workspace,
    left: tuple[str, str],
    right: tuple[str, str],
    *,
    author: str,
    decided_at: datetime,
    reason: str = "",
) -> inbox.Decision:
    """Decide that two records are two persons: a ``cannot_link`` that holds in every later run.

    Parameters
    ----------
    workspace, left, right, author, decided_at, reason
        See `decide`.
    """
    return decide(workspace, "cannot_link", left, right, author=author, decided_at=decided_at, reason=reason)


def link_decisions(engine: Engine) -> pd.DataFrame:
    """Read what people decided of pairs of records, for `resolve` to follow.

    Parameters
    ----------
    engine : Engine
        Reads the table ``decisions``.

    Returns
    -------
    DataFrame
        ``kind, left_source, left_record_id, right_source, right_record_id, decided_at``; decisions of
        another form are passed over.
    """
    rows = engine.query(
        "SELECT content, event_time FROM decisions WHERE kind = 'link' ORDER BY event_time, decision_id"
    ).to_pandas()
    made = [
        json.loads(content) | {"decided_at": at}
        for content, at in zip(rows["content"], rows["event_time"], strict=True)
    ]
    kept = [row for row in made if set(COLUMNS) <= set(row) and row["kind"] in _KINDS]
    out = pd.DataFrame(kept, columns=list(COLUMNS))
    return out.astype(dict.fromkeys(COLUMNS[:-1], "str") | {"decided_at": "datetime64[us]"})


def decided(
    decisions: pd.DataFrame | None, nodes: pd.DataFrame, book: Rulebook
) -> tuple[pd.DataFrame, list[tuple[int, int]]]:
    """Return the links people asked for, and the pairs they keep apart."""
    columns = ["left", "right", "rule", "known_at"]
    if decisions is None or decisions.empty:
        return pd.DataFrame(columns=columns, dtype=np.int64), []
    faults = [f"column `{name}` must be present" for name in COLUMNS if name not in decisions]
    kinds = set() if "kind" not in decisions else set(decisions["kind"]) - set(_KINDS)
    if kinds:
        faults.append(f"`kind` must be must_link or cannot_link; got {len(kinds)} other kinds")
    if faults:
        raise FaultsError("the decisions frame", faults)
    sides = [find(nodes, decisions[f"{s}_source"], decisions[f"{s}_record_id"]) for s in ("left", "right")]
    frame = pd.DataFrame(
        {
            "left": np.minimum(*sides),
            "right": np.maximum(*sides),
            "kind": decisions["kind"].to_numpy(),
            "known_at": microseconds(decisions["decided_at"]),
        }
    )
    frame = frame[(frame["left"] >= 0) & (frame["left"] != frame["right"])]
    frame = frame.sort_values(["left", "right", "known_at", "kind"], ascending=[True, True, False, True])
    frame = frame.drop_duplicates(["left", "right"])
    apart = frame.loc[frame["kind"] == "cannot_link", ["left", "right"]]
    may, since = nodes["may_link"].to_numpy(), nodes["known_from"].to_numpy()
    must = frame[(frame["kind"] == "must_link") & may[frame["left"]] & may[frame["right"]]]
    must = must.assign(
        rule=book.code("decision"),
        known_at=np.maximum(must["known_at"], np.maximum(since[must["left"]], since[must["right"]])),
    )
    return must[columns], list(apart.itertuples(index=False, name=None))
