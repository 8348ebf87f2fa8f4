"""The marketer stays master: thresholds edited, persons put in or left out, all of it logged.

Decisions wait in the inbox (`cdpkit.decisions`), the next run takes them into the lake, and from then on
they win over what the machine would do. What protects a person is not the marketer's to lift: consent,
unsubscription, address and a suspension stand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from cdpkit import decisions
from cdpkit.errors import CdpkitError, FaultsError

if TYPE_CHECKING:
    from cdpkit.decisions import Decision
    from cdpkit.engine import Engine
    from cdpkit.workspace import Workspace

THRESHOLD, OVERRIDE = "threshold", "override"


@dataclass(frozen=True)
class Settled:
    """Thresholds in force.

    Attributes
    ----------
    values : dict
        By name: the marketer's where there is one, else the default.
    edited : DataFrame
        ``name, default, value, author, reason, decided_at``, one row a threshold that was edited.
    """

    values: dict[str, Any]
    edited: pd.DataFrame


def settled(engine: Engine, subject: str, defaults: Mapping[str, Any]) -> Settled:
    """Return the thresholds of a subject: the last decision on each wins over its default.

    Parameters
    ----------
    engine : Engine
        Sees ``decisions``.
    subject : str
        What the thresholds belong to, such as ``"audiences"``.
    defaults : mapping of str to int, float, str or bool

    Raises
    ------
    FaultsError
        When a decision gives a threshold a value of another type.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> settled(DuckDBEngine(), "audiences", {"quiet_days": 7}).values
    {'quiet_days': 7}
    """
    values, rows, faults = dict(defaults), {}, []
    for said in _said(engine, THRESHOLD, subject):
        for name, value in json.loads(said.content).items():
            if name not in defaults:
                continue
            if not _alike(value, defaults[name]):
                faults.append(f"`{name}` must be like its default {defaults[name]!r}; got {value!r}")
                continue
            values[name] = type(defaults[name])(value)
            rows[name] = (name, defaults[name], values[name], said.author, said.reason, said.event_time)
    if faults:
        raise FaultsError(f"the thresholds decided for {subject}", faults)
    columns = ["name", "default", "value", "author", "reason", "decided_at"]
    return Settled(values, pd.DataFrame(list(rows.values()), columns=columns))


def override(
    workspace: Workspace,
    *,
    audience: str,
    person_id: str,
    include: bool,
    author: str,
    reason: str,
    decided_at: datetime,
) -> Decision:
    """Put a person into an audience, or leave one out, whatever the rule says.

    Parameters
    ----------
    workspace : Workspace
        Whose inbox.
    audience : str
        Name of the audience.
    person_id : str
    include : bool
        True to put in, False to leave out.
    author, reason : str
        Who decides and why; both are needed.
    decided_at : datetime
        UTC.

    Raises
    ------
    CdpkitError
        When no reason is given.
    """
    if not reason.strip():
        raise CdpkitError("an override must have a reason", got="an empty text", do="Say why")
    return decisions.record(
        workspace,
        kind=OVERRIDE,
        subject=audience,
        content={"person_id": person_id, "include": bool(include)},
        author=author,
        reason=reason,
        decided_at=decided_at,
    )


def overridden(engine: Engine, audience: str) -> pd.DataFrame:
    """Return who was put into an audience or left out of it by hand; the last decision on a person wins.

    Returns
    -------
    DataFrame
        ``person_id, include``.
    """
    chosen = {}
    for said in _said(engine, OVERRIDE, audience):
        content = json.loads(said.content)
        if isinstance(content.get("person_id"), str) and isinstance(content.get("include"), bool):
            chosen[content["person_id"]] = content["include"]
    return pd.DataFrame(
        {
            "person_id": pd.Series(list(chosen), dtype="str"),
            "include": pd.Series(list(chosen.values()), dtype="bool"),
        }
    )


def _said(engine: Engine, kind: str, subject: str) -> list[Any]:
    """Return the decisions of one kind on one subject, oldest first."""
    from sqlglot import exp

    query = (
        exp.select("*")
        .from_("decisions")
        .where(exp.column("kind").eq(exp.Literal.string(kind)))
        .where(exp.column("subject").eq(exp.Literal.string(subject)))
        .order_by("event_time", "decision_id")
    )
    return list(engine.query(query).to_pandas().itertuples(index=False))


def _alike(value: object, default: object) -> bool:
    """Tell whether a value may stand for a default: a whole number may stand for a fraction."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, type(default))
