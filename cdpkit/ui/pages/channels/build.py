"""The channels page out of the lake: the reports of the attribution and deliverability notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdpkit.ui.digest import Guard, Rows, gather, least, parts

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: Weeks out of the ordinary shown at most, the latest.
SIGNALS = 12


def build(engine: Engine, *, currency: str = "EUR", **_: Any) -> dict[str, Any] | None:
    """Return the page's payload, or None before one of the two notebooks reported.

    Parameters
    ----------
    engine : Engine
        Sees ``reports``.
    currency : str
        ISO 4217 code of the amounts shown.
    """
    attribution: dict[str, Guard | None] = dict.fromkeys(("effects", "scenario", "served"))
    attribution |= {"scorecard": least("paths"), "synergies": least("paths")}
    mail = {
        "providers": least("sent"),
        "chart": least("sent"),
        "sunset": parts("people"),
        "spared": least("people"),
        "findings": None,
        "validation": least("messages"),
    }
    page = gather(engine, "channels", {"attribution": attribution, "deliverability": mail})
    if page is None:
        return None
    told = page["models"].get("deliverability", {}).get("frames", {})
    told["chart"] = _lately([row for row in told.get("chart", []) if row["signal"]])
    return page | {"currency": currency}


def _lately(signals: Rows) -> Rows:
    """Keep the last weeks that were out of the ordinary: older ones are history."""
    return sorted(signals, key=lambda row: row["week"])[-SIGNALS:]
