"""What contacting the N best would give: the numbers the slider shows, from a function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdpkit.errors import CdpkitError


def best(payload: Mapping[str, Any], n: int, cost_per_contact_minor: float | None = None) -> dict[str, Any]:
    """Return what the slider shows for the N best, N rounded to the nearest published step.

    Parameters
    ----------
    payload : mapping
        The page's payload.
    n : int
        People to contact.
    cost_per_contact_minor : float, optional
        Cost of one contact in minor units; the payload's own when absent.

    Returns
    -------
    dict
        ``n``, ``expected`` conversions with ``low`` and ``high``, ``precision`` (expected share that
        converts) with its interval, ``random`` (conversions of as many people drawn at random),
        ``cost_minor`` and ``cost_per_conversion_minor`` (None when nothing is expected).

    Raises
    ------
    CdpkitError
        If the payload has no steps.

    Examples
    --------
    >>> steps = {"top_n": [{"n": 100, "expected": 30.0, "low": 20.0, "high": 40.0, "random": 5.0}]}
    >>> best(steps, 90, cost_per_contact_minor=10)["cost_per_conversion_minor"]
    33.33...
    """
    steps = payload.get("top_n") or []
    if not steps:
        raise CdpkitError(
            "the payload must hold `top_n` steps", "none", "Publish the page with an evaluation"
        )
    step = min(steps, key=lambda row: (abs(row["n"] - n), row["n"]))
    cost = (
        payload.get("cost_per_contact_minor", 0) if cost_per_contact_minor is None else cost_per_contact_minor
    )
    total = cost * step["n"]
    return {
        **{key: step[key] for key in ("n", "expected", "low", "high", "random")},
        "precision": step["expected"] / step["n"],
        "precision_low": step["low"] / step["n"],
        "precision_high": step["high"] / step["n"],
        "cost_minor": total,
        "cost_per_conversion_minor": total / step["expected"] if step["expected"] else None,
    }
