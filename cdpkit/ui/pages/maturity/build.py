"""The maturity page out of the lake: the report of the last assessment, without anyone's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdpkit.ui.pages.maturity.view import FORMAT
from cdpkit.ui.reports import latest

if TYPE_CHECKING:
    from cdpkit.engine import Engine


def build(engine: Engine, **_: Any) -> dict[str, Any] | None:
    """Return the page's payload, or None before the first assessment.

    Parameters
    ----------
    engine : Engine
        Sees ``reports``.
    """
    report = latest(engine, "maturity")
    if not report:
        return None
    lists = ("criteria", "factors", "parts", "essentials", "technologies", "axes", "actions", "roadmap")
    frames = {
        name: report.get(name).to_dict(orient="records") for name in (*lists, "metrics", "history", "changes")
    }
    return {"page": "maturity", "format": FORMAT, **report.content("described"), **frames}
