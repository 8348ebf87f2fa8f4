"""The channels page out of the lake: the report of the attribution notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdpkit.ui.digest import gather
from cdpkit.ui.privacy import K

if TYPE_CHECKING:
    from cdpkit.engine import Engine


def build(engine: Engine, *, currency: str = "EUR", **_: Any) -> dict[str, Any] | None:
    """Return the page's payload, or None before attribution was reported.

    Parameters
    ----------
    engine : Engine
        Sees ``reports``.
    currency : str
        ISO 4217 code of the amounts shown.
    """
    names = ("effects", "scorecard", "synergies", "scenario", "served")
    page = gather(engine, "channels", {"attribution": dict.fromkeys(names)})
    if page is None:
        return None
    frames = page["models"]["attribution"]["frames"]
    for name in ("scorecard", "synergies"):
        frames[name] = [row for row in frames.get(name, []) if row["paths"] >= K]
    return page | {"currency": currency}
