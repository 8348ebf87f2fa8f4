"""The segments page out of the lake: the reports of the segments and audiences notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdpkit.ui import exports
from cdpkit.ui.digest import gather, nested, parts, steps
from cdpkit.ui.privacy import K
from cdpkit.ui.reports import latest

if TYPE_CHECKING:
    from cdpkit.engine import Engine


def build(engine: Engine, **_: Any) -> dict[str, Any] | None:
    """Return the page's payload, or None before segments or an audience were reported.

    Parameters
    ----------
    engine : Engine
        Sees ``reports``.
    """
    reachable = nested("n", "with_address", "consented", "reachable")
    segments = {
        "rfm": parts("n"),
        "stages": parts("n"),
        "stage_moves": parts("n", by="origin"),
        "inactive_suggested": None,
        "inactive_curve": steps("n_inactive"),
        "inactive_reach": reachable,
        "personas": parts("n"),
        "contact_audit": steps("n"),
        "funnel": steps("n", by="audience"),
    }
    page = gather(engine, "segments", {"segments": segments, "audience_reach": {"*": reachable}})
    made = latest(engine, "audiences")
    listed = [exports.summary(made.content(name), K) for name in sorted(made.frames)]
    return None if page is None else page | {"audiences": listed}
