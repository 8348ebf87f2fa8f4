"""The tests page out of the lake: assignments drawn at random, control groups kept, and who then ordered."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from cdpkit.ui.digest import FORMAT, Rows
from cdpkit.ui.privacy import K

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine

#: Days in which an order counts as an outcome.
DAYS = 30

#: What the arm to which nothing was done is called, by whoever drew it.
CONTROLS = ("control", "held", "holdout", "témoin")

#: Draws whose outcome is known: one a person and arm, weighted by how unlikely it was.
_DRAWN = """
    WITH bought AS (
        SELECT m.person_id, o.event_time FROM orders AS o JOIN membership AS m USING (node_id)
        WHERE m.known_to IS NULL AND o.cancelled_at IS NULL
    ), last AS (SELECT max(event_time) AS seen FROM orders),
    drawn AS (
        SELECT a.test_id, a.arm, m.person_id, a.event_time, 1.0 / coalesce(a.propensity, 1.0) AS weight
        FROM assignments AS a JOIN membership AS m USING (node_id)
        WHERE m.known_to IS NULL AND a.event_time < (SELECT seen FROM last) - INTERVAL {days} DAY
    )
    SELECT test_id, arm, d.person_id, weight, CAST(event_time AS DATE) AS day,
           weight * (CASE WHEN EXISTS (
               SELECT 1 FROM bought AS b WHERE b.person_id = d.person_id AND b.event_time >= d.event_time
               AND b.event_time < d.event_time + INTERVAL {days} DAY) THEN 1 ELSE 0 END) AS outcome
    FROM drawn AS d
"""

_ACTIVATIONS = """
    SELECT audience, channel, min(as_of) AS as_of, sum(CASE WHEN is_control THEN 0 ELSE 1 END) AS contacted,
           sum(CASE WHEN is_control THEN 1 ELSE 0 END) AS control
    FROM activation_log GROUP BY activation_id, audience, channel ORDER BY as_of, audience
"""


def build(engine: Engine, **_: Any) -> dict[str, Any] | None:
    """Return the page's payload, or None where nothing was drawn and nothing left.

    Parameters
    ----------
    engine : Engine
        Sees ``assignments, orders, membership, activation_log``.

    Returns
    -------
    dict or None
        ``judged`` (see `cdpkit.evaluate.arms`; arms of few people are left out with their test), ``dates`` of
        each test, ``unjudged`` tests without a control group, and ``waiting`` activations.
    """
    held = engine.tables()
    drawn = engine.query(_DRAWN.format(days=DAYS)).to_pandas() if "assignments" in held else None
    sent = engine.query(_ACTIVATIONS).to_pandas() if "activation_log" in held else None
    waiting = [] if sent is None else _waiting(sent)
    judged, dates, unjudged = ([], {}, 0) if drawn is None or drawn.empty else _judged(drawn)
    if not judged and not waiting and not unjudged:
        return None
    return {
        "page": "tests", "format": FORMAT, "k": K, "days": DAYS, "judged": judged, "dates": dates,
        "unjudged": unjudged, "waiting": waiting,
    }  # fmt: skip


def family(test: str) -> str:
    """Return what tests that only differ by their date have in common.

    Examples
    --------
    >>> family("D20250118"), family("D20250118:hour"), family("PROGRAMME")
    ('D…', 'D…:hour', 'PROGRAMME')
    """
    return re.sub(r"\d+", "…", test)


def _judged(drawn: pd.DataFrame) -> tuple[Rows, dict[str, Any], int]:
    """Compare the arms, tests that only differ by their date taken together."""
    from cdpkit.evaluate import arms

    drawn = drawn.assign(
        test=drawn["test_id"].map(family), arm=drawn["arm"].replace(list(CONTROLS), "control")
    )
    each = drawn.groupby(["test", "arm", "person_id"], as_index=False)[["weight", "outcome"]].sum()
    sizes = each.groupby(["test", "arm"])["person_id"].nunique()
    small = set(sizes[sizes < K].reset_index()["test"])
    found = arms(each[~each["test"].isin(small)])
    spans = {"first": ("day", "min"), "last": ("day", "max"), "draws": ("test_id", "nunique")}
    about = drawn.groupby("test").agg(**spans)
    dates = {
        str(test): {
            "first": str(row["first"])[:10],
            "last": str(row["last"])[:10],
            "draws": int(row["draws"]),
        }
        for test, row in about.iterrows()
    }
    rows = json.loads(found.to_json(orient="records"))
    judged = {row["test"] for row in rows}
    return rows, {test: dates[test] for test in dates if test in judged}, len(set(dates) - judged)


def _waiting(sent: pd.DataFrame) -> Rows:
    """Return what left, how many were kept aside, and from when its effect can be told."""
    import pandas as pd

    from cdpkit.ui.privacy import suppress

    rows = []
    for row in sent.to_dict("records"):
        contacted, control = suppress([int(row["contacted"]), int(row["control"])], K)
        day = pd.Timestamp(row["as_of"])
        rows.append(
            {
                "audience": row["audience"], "channel": row["channel"], "contacted": contacted,
                "control": control, "from": str(day.date()),
                "ready": str((day + pd.Timedelta(days=DAYS)).date()),
            }
        )  # fmt: skip
    return rows
