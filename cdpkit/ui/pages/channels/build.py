"""The channels page out of the lake: the reports of the attribution and deliverability notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdpkit.ui.digest import gather, parts
from cdpkit.ui.privacy import K

if TYPE_CHECKING:
    from cdpkit.engine import Engine


def build(engine: Engine, *, currency: str = "EUR", **_: Any) -> dict[str, Any] | None:
    """Return the page's payload, or None before one of the two notebooks reported.

    Parameters
    ----------
    engine : Engine
        Sees ``reports``.
    currency : str
        ISO 4217 code of the amounts shown.
    """
    names = ("effects", "scorecard", "synergies", "scenario", "served")
    mail = {"providers": None, "sunset": parts("people")}
    page = gather(engine, "channels", {"attribution": dict.fromkeys(names), "deliverability": mail})
    if page is None:
        return None
    told = page["models"].get("deliverability", {}).get("frames", {})
    told["providers"] = [row for row in told.get("providers", []) if row["sent"] >= K]
    frames = page["models"].get("attribution", {}).get("frames", {})
    for name in ("scorecard", "synergies"):
        frames[name] = [row for row in frames.get(name, []) if row["paths"] >= K]
    return page | {"currency": currency}
