"""The retention page out of the lake: the reports of the churn and lifetime value notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdpkit.ui import actions
from cdpkit.ui.digest import alone, gather, parts
from cdpkit.ui.privacy import K
from cdpkit.ui.reports import latest

if TYPE_CHECKING:
    from cdpkit.engine import Engine


def build(engine: Engine, *, currency: str = "EUR", **_: Any) -> dict[str, Any] | None:
    """Return the page's payload, or None before one of both notebooks reported.

    Tenths of too few customers are left out.

    Parameters
    ----------
    engine : Engine
        Sees ``reports``.
    currency : str
        ISO 4217 code of the amounts shown.
    """
    people, customers = parts("people"), parts("customers")
    wanted = {
        "churn": {
            "tiers": people, "at_risk": people, "retention": people, "lead": None, "ranking": None,
        },
        "lifetime_value": {
            "value": None, "deciles": None, "cohorts": customers, "sources": customers, "levers": people,
        },
        "pressure": {"served": None, "states": people},
        "pressure_ledger": {"distribution": None, "held_back": alone("n")},
    }  # fmt: skip
    page = gather(engine, "retention", wanted)
    if page is None:
        return None
    values = page["models"].get("lifetime_value", {}).get("frames", {})
    if sum(latest(engine, "lifetime_value").get("cohorts").get("customers", ())) < 10 * K:
        values.pop("deciles", None)
    offers = [actions.offer("leaving", "churn", "tier = 'hot'")] if "churn" in page["models"] else []
    if "lifetime_value" in page["models"]:
        offers.append(actions.offer("best_customers", "lifetime_value", "decile = 1"))
    return page | {"currency": currency, "offers": offers}
