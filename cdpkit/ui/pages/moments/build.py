"""The moments page out of the lake: the reports of send time, pressure, sequences and journeys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdpkit.ui.digest import Guard, Rows, gather, least, parts
from cdpkit.ui.privacy import K

if TYPE_CHECKING:
    from cdpkit.engine import Engine


def build(engine: Engine, **_: Any) -> dict[str, Any] | None:
    """Return the page's payload, or None before one of its notebooks reported.

    Parameters
    ----------
    engine : Engine
        Sees ``reports``.
    """
    wanted: dict[str, dict[str, Guard | None]] = {
        "send_time": {"hours": None, "validation": None, "served": None},
        "upsell": {"moments": parts("customers")},
        "pressure_ledger": {"months": least("persons")},
        "sequences": {"served": None},
        "journeys": {
            "intents": parts("people"),
            "intent_proof": least("visits"),
            "next": parts("people"),
            "touchpoints": None,
            "served": None,
        },
    }
    page = gather(engine, "moments", wanted)
    if page is None:
        return None
    sent = page["models"].get("send_time", {}).get("frames", {})
    people: dict[tuple[int, str], int] = {}
    for row in sent.get("hours", []):
        people[(int(row["hour"]), row["decided_by"])] = int(row["people"])
    told: Rows = [{"hour": hour, "decided_by": by, "people": n} for (hour, by), n in sorted(people.items())]
    # Hours of the week or of the day: a slot past 23 can only be of the week.
    weekly = any(row["hour"] > 23 for row in told)
    return page | {"hours": parts("people")(told, K), "weekly": weekly, "scored": sum(people.values())}
