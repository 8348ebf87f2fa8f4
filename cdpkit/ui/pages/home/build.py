"""The executive view out of the lake: the figures other notebooks reported, none computed anew."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cdpkit.ui.digest import FORMAT, Rows, alone, nested, parts
from cdpkit.ui.privacy import K, distinct
from cdpkit.ui.reports import latest

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: From the most to the least promising.
TIERS = ("hot", "warm", "cold")

#: Everybody with a record of their own: a cookie or an unknown caller is not yet somebody to write to.
_KNOWN = """
    SELECT DISTINCT person_id FROM membership JOIN nodes USING (node_id)
    WHERE known_to IS NULL AND node_type NOT IN ('cookie', 'anonymous')
"""

#: For two stored audiences, how many persons one keeps and the other does not.
_APART = """
    WITH kept AS (
        SELECT audience, person_id FROM audiences AS a
        WHERE included AND as_of = (SELECT max(as_of) FROM audiences AS b WHERE b.audience = a.audience)
    ), sizes AS (SELECT audience, count(*) AS n FROM kept GROUP BY audience),
    shared AS (
        SELECT a.audience AS first, b.audience AS second, count(*) AS n
        FROM kept AS a JOIN kept AS b USING (person_id) WHERE a.audience < b.audience GROUP BY 1, 2
    )
    SELECT first, second, x.n - shared.n AS only_first, y.n - shared.n AS only_second
    FROM shared JOIN sizes AS x ON x.audience = first JOIN sizes AS y ON y.audience = second
"""


def build(engine: Engine, *, currency: str = "EUR", **_: Any) -> dict[str, Any] | None:
    """Return the page's payload, or None before anything was reported.

    Parameters
    ----------
    engine : Engine
        Sees ``reports``, ``scores``, ``audiences``, ``membership``, ``nodes`` and what `reach` reads.
    currency : str
        ISO 4217 code of amounts reported without their own.

    Returns
    -------
    dict or None
        ``figures`` and ``by_audience`` as `cdpkit.metrics` gave them to the notebook of maturity;
        ``tiers, reach, at_risk, stage, freshness, held_back``, each None or empty before its notebook ran.
    """
    frames = {
        "maturity": ("metrics", "metrics_by_audience", "actions"),
        "churn": ("at_risk",),
        "data": ("freshness",),
        "pressure_ledger": ("held_back",),
    }
    found = {model: latest(engine, model) for model in frames}
    scored = latest(engine, "appetence")
    dates = [report.as_of for report in (*found.values(), scored) if report.as_of is not None]
    if not dates:
        return None
    told: dict[str, Rows] = {
        f"{model}.{name}": _records(found[model].get(name))
        for model, names in frames.items()
        for name in names
    }
    at_risk = parts("people")(told["churn.at_risk"], K) if told["churn.at_risk"] else []
    described = found["maturity"].content("described")
    stage = {key: described[key] for key in ("stage", "finding")} if described else None
    return {
        "page": "home",
        "format": FORMAT,
        "k": K,
        "currency": currency,
        "data_up_to": str((max(dates) - max(dates).resolution).date()),
        "figures": told["maturity.metrics"],
        "by_audience": _told_apart(engine, told["maturity.metrics_by_audience"]),
        "tiers": _tiers(engine, scored.as_of),
        "reach": _reach(engine),
        "at_risk": at_risk,
        "stage": stage,
        "actions": told["maturity.actions"][:1],
        "freshness": [{"source": row["source"], "stale": row["stale"]} for row in told["data.freshness"]],
        "held_back": alone("n")(told["pressure_ledger.held_back"], K),
    }


def _tiers(engine: Engine, as_of: Any) -> dict[str, Any] | None:
    """Count the scored by tier, hidden as the page of propensity hides them, and say who decided."""
    if as_of is None:
        return None
    rows = _rows(
        engine,
        "SELECT tier, count(*) AS people, min(decided_by) AS decided_by FROM scores "
        f"WHERE model = 'appetence' AND as_of = TIMESTAMP '{as_of}' GROUP BY tier",
    )
    people = {row["tier"]: row["people"] for row in rows}
    if not people:
        return None
    counts = parts("people")([{"tier": tier, "people": people.get(tier, 0)} for tier in TIERS], K)
    rule = all(row["decided_by"] == "rule" for row in rows)
    return {"counts": counts, "people": sum(people.values()), "decided_by": "rule" if rule else "model"}


def _reach(engine: Engine) -> Rows:
    """Count who may be written to, of everybody known by a record of their own."""
    if not {"membership", "nodes", "golden", "consents", "messages"} <= set(engine.tables()):
        return []
    from cdpkit.segments import reach

    frame = reach(engine, _KNOWN)
    return nested("n", "with_address", "consented", "reachable")(_records(frame), K) if len(frame) else []


def _told_apart(engine: Engine, figures: Rows) -> Rows:
    """Keep the figures of audiences of k persons, no two of which differ by fewer than k."""
    pairs = _rows(engine, _APART)
    apart = {(row["first"], row["second"]): (row["only_first"], row["only_second"]) for row in pairs}
    sizes = {row["audience"]: row["people"] for row in figures}
    kept = distinct(sizes, apart, K)
    return [row for row in figures if row["audience"] in kept]


def _records(frame: Any) -> Rows:
    return json.loads(frame.to_json(orient="records"))


def _rows(engine: Engine, query: str) -> Rows:
    return _records(engine.query(query).to_pandas())
