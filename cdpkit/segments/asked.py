"""What marketers ask for from a page, audiences and lists of complements; the next run does it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cdpkit import decisions
from cdpkit.errors import FaultsError
from cdpkit.segments.audience import ADDRESSES, Audience

if TYPE_CHECKING:
    from cdpkit.decisions import Decision
    from cdpkit.engine import Engine
    from cdpkit.workspace import Workspace

AUDIENCE, COMPLEMENTS = "audience", "complements"

#: Complements that a product may have at most.
MOST = 10


def ask(
    workspace: Workspace,
    offer: Mapping[str, str],
    channel: str,
    *,
    author: str,
    reason: str,
    decided_at: datetime,
) -> Decision:
    """Ask for an audience that a published page offers; the next run of the audiences makes it.

    Parameters
    ----------
    workspace : Workspace
        Whose inbox.
    offer : mapping
        ``name, model, where``, as the page offers them: a rule is never taken from a browser.
    channel : str
        A key of `ADDRESSES`.
    author, reason : str
        Who asks, and what for.
    decided_at : datetime
        UTC.

    Raises
    ------
    FaultsError
        When the channel is none, or nobody says who asks or what for.
    """
    faults = [] if channel in ADDRESSES else [f"`channel` must be one of {', '.join(ADDRESSES)}"]
    faults += [
        f"`{name}` must be said, in at most 200 letters"
        for name, words in (("author", author), ("reason", reason))
        if not 0 < len(words.strip()) <= 200
    ]
    if faults:
        raise FaultsError("an audience asked for", faults)
    return decisions.record(
        workspace,
        kind=AUDIENCE,
        subject=f"{offer['name']}_{channel}",
        content={"model": offer["model"], "where": offer["where"], "channel": channel},
        author=author.strip(),
        reason=reason.strip(),
        decided_at=decided_at,
    )


def audiences(engine: Engine, **precautions: Any) -> list[Audience]:
    """Return the audiences asked for whose model scored somebody, by name; the last word on each counts.

    Parameters
    ----------
    engine : Engine
        Sees ``decisions`` and ``scores``.
    **precautions
        As for `Audience`: ``quiet_days``, ``rest_days``, ``control_share``.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> audiences(DuckDBEngine())
    []
    """
    scored = set(engine.query("SELECT DISTINCT model FROM scores").to_pandas()["model"])
    found = {}
    for subject, content in _said(engine, AUDIENCE):
        if content.get("model") in scored:
            found[subject] = Audience(
                subject, str(content["model"]), str(content["where"]), channel=str(content["channel"]),
                **precautions,
            )  # fmt: skip
    return [found[name] for name in sorted(found)]


def propose(
    workspace: Workspace,
    product: str,
    others: Sequence[str],
    catalogue: Mapping[str, str],
    *,
    author: str,
    reason: str,
    decided_at: datetime,
) -> Decision:
    """Decide what is proposed with a product, best first; an empty list proposes nothing.

    Parameters
    ----------
    workspace : Workspace
        Whose inbox.
    product : str
        The product.
    others : sequence of str
        What goes with it.
    catalogue : mapping of str to str
        Products that may be named.
    author, reason : str
        Who decides, and why.
    decided_at : datetime
        UTC.

    Raises
    ------
    FaultsError
        Naming every product out of place.
    """
    faults = [f"product `{p}` must be in the catalogue" for p in (product, *others) if p not in catalogue]
    if product in others:
        faults.append("a product must not be proposed with itself")
    if len(set(others)) < len(others):
        faults.append("a product must be named once")
    if len(others) > MOST:
        faults.append(f"at most {MOST} products may be proposed; got {len(others)}")
    if not author.strip():
        faults.append("`author` must be said")
    if faults:
        raise FaultsError("the complements of a product", faults)
    return decisions.record(
        workspace,
        kind=COMPLEMENTS,
        subject=product,
        content={"others": list(others)},
        author=author.strip(),
        reason=reason.strip(),
        decided_at=decided_at,
    )


def complements(engine: Engine) -> dict[str, list[str]]:
    """Return the lists decided on the pages, by product; the last word on each counts.

    Parameters
    ----------
    engine : Engine
        Sees ``decisions`` and ``products``; a product that left the catalogue is left out.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> complements(DuckDBEngine())
    {}
    """
    known = set(engine.query("SELECT DISTINCT product_id FROM products").to_pandas()["product_id"])
    return {
        subject: [product for product in content["others"] if product in known]
        for subject, content in _said(engine, COMPLEMENTS)
        if subject in known
    }


def _said(engine: Engine, kind: str) -> list[tuple[str, dict]]:
    """Return the subjects and contents of the decisions of one kind, oldest first."""
    rows = engine.query(
        f"SELECT subject, content FROM decisions WHERE kind = '{kind}' ORDER BY event_time, decision_id"
    ).to_pandas()
    return [(str(row.subject), json.loads(str(row.content))) for row in rows.itertuples()]
