"""The tests page out of the lake: assignments drawn at random, control groups kept, and who then ordered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cdpkit.ui.digest import FORMAT, Rows, gather, least
from cdpkit.ui.privacy import K

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine

#: Days in which an order counts as an outcome.
DAYS = 30

#: What the arm to which nothing was done is called, by whoever drew it.
CONTROLS = ("control", "held", "holdout", "témoin")

#: Draws whose outcome is known, tests that only differ by their date taken together: one row a person and
#: arm, each draw weighted by how unlikely it was.
_DRAWN = """
    WITH bought AS (
        SELECT m.person_id, o.event_time FROM orders AS o JOIN membership AS m USING (node_id)
        WHERE m.known_to IS NULL AND o.cancelled_at IS NULL
    ), drawn AS (
        SELECT regexp_replace(a.test_id, '[0-9]+', '…', 'g') AS test, a.test_id,
               CASE WHEN a.arm IN ({controls}) THEN 'control' ELSE a.arm END AS arm,
               m.person_id, a.event_time, 1.0 / coalesce(a.propensity, 1.0) AS weight
        FROM assignments AS a JOIN membership AS m USING (node_id)
        WHERE m.known_to IS NULL
          AND a.event_time < (SELECT max(event_time) FROM orders) - INTERVAL {days} DAY
    ), judged AS (
        SELECT d.*, EXISTS (
            SELECT 1 FROM bought AS b WHERE b.person_id = d.person_id AND b.event_time >= d.event_time
            AND b.event_time < d.event_time + INTERVAL {days} DAY) AS ordered
        FROM drawn AS d
    )
    SELECT test, arm, person_id, sum(weight) AS weight,
           sum(CASE WHEN ordered THEN weight ELSE 0.0 END) AS outcome
    FROM judged GROUP BY test, arm, person_id
"""

_DATES = """
    SELECT regexp_replace(test_id, '[0-9]+', '…', 'g') AS test, count(DISTINCT test_id) AS draws,
           strftime(min(event_time), '%Y-%m-%d') AS first, strftime(max(event_time), '%Y-%m-%d') AS last
    FROM assignments
    WHERE event_time < (SELECT max(event_time) FROM orders) - INTERVAL {days} DAY GROUP BY 1 ORDER BY 1
"""

_ACTIVATIONS = """
    SELECT audience, channel, min(as_of) AS as_of, sum(CASE WHEN is_control THEN 0 ELSE 1 END) AS contacted,
           sum(CASE WHEN is_control THEN 1 ELSE 0 END) AS control
    FROM activation_log GROUP BY activation_id, audience, channel ORDER BY as_of, audience
"""


def build(engine: Engine, *, currency: str = "EUR", **_: Any) -> dict[str, Any] | None:
    """Return the page's payload, or None where nothing was drawn and nothing left.

    Parameters
    ----------
    engine : Engine
        Sees ``assignments, orders, membership, activation_log, reports``.
    currency : str
        ISO 4217 code of the amounts shown.

    Returns
    -------
    dict or None
        ``judged`` (see `cdpkit.evaluate.arms`; arms of few people are left out with their test), ``dates`` of
        each test, ``unjudged`` tests without a control group, ``waiting`` activations, and what the
        notebook of the long run reported.
    """
    held = engine.tables()
    judged, dates, unjudged = _judged(engine) if {"assignments", "orders"} <= set(held) else ([], {}, 0)
    waiting = _waiting(engine.query(_ACTIVATIONS).to_pandas()) if "activation_log" in held else []
    told = gather(engine, "tests", {"long_run": {"effects": least("people")}})
    if not judged and not waiting and not unjudged and told is None:
        return None
    return {
        "page": "tests", "format": FORMAT, "k": K, "days": DAYS, "judged": judged, "dates": dates,
        "unjudged": unjudged, "waiting": waiting, "currency": currency,
        "models": told["models"] if told else {},
    }  # fmt: skip


def _judged(engine: Engine) -> tuple[Rows, dict[str, Any], int]:
    """Compare the arms with their control; a test with an arm of few people is left out whole."""
    from cdpkit.evaluate import arms

    controls = ", ".join(f"'{name}'" for name in CONTROLS)
    drawn = engine.query(_DRAWN.format(days=DAYS, controls=controls)).to_pandas()
    if drawn.empty:
        return [], {}, 0
    sizes = drawn.groupby(["test", "arm"])["person_id"].nunique()
    small = set(sizes[sizes < K].reset_index()["test"])
    rows = json.loads(arms(drawn[~drawn["test"].isin(small)]).to_json(orient="records"))
    about = json.loads(engine.query(_DATES.format(days=DAYS)).to_pandas().to_json(orient="records"))
    judged = {row["test"] for row in rows}
    return rows, {row.pop("test"): row for row in about if row["test"] in judged}, len(about) - len(judged)


def _waiting(sent: pd.DataFrame) -> Rows:
    """Return what left, how many were kept aside, and from when its effect can be told."""
    import pandas as pd

    rows = []
    for row in json.loads(sent.to_json(orient="records", date_format="iso")):
        contacted, control = (n if n == 0 or n >= K else None for n in (row["contacted"], row["control"]))
        day = pd.Timestamp(row["as_of"])
        rows.append(
            {
                "audience": row["audience"], "channel": row["channel"], "contacted": contacted,
                "control": control, "from": str(day.date()),
                "ready": str((day + pd.Timedelta(days=DAYS)).date()),
            }
        )  # fmt: skip
    return rows
