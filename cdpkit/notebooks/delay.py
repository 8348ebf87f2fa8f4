"""How long an event takes to reach a profile and a segment: measured each night, logged to MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdpkit.engine import Engine
    from cdpkit.notebooks.verdict import Verdict
    from cdpkit.workspace import Workspace

#: MLflow experiment of the nights.
TOPIC = "nightly"
#: Where an event becomes part of a profile, and of a segment: the last step of each that ran.
PROFILE, SEGMENT = ("identity",), ("audiences", "segments", "appetence")


def delays(
    engine: Engine, verdicts: Sequence[Verdict], now: datetime | None = None, *, days: int = 7
) -> dict[str, float]:
    """Return the delays of a night, in seconds.

    Parameters
    ----------
    engine : Engine
        Sees ``events`` as the night left them.
    verdicts : sequence of Verdict
        Steps in order, with their seconds.
    now : datetime, optional
        UTC; when the night began. Without it the wait for the night is not counted.
    days : int
        Events of so many days before the newest are looked at.

    Returns
    -------
    dict of str to float
        ``collection_p50`` and ``collection_p90`` (from an event until it is known), ``wait`` (from the last
        event known until the night), ``to_profile_work`` and ``to_segment_work`` (steps of the night up to
        there), ``event_to_profile_p50`` and ``_p90``, ``event_to_segment_p50`` and ``_p90``: their sums. Only
        what the night did: without an identity step, or with one kept of an earlier night, none.
    """
    import pandas as pd

    ran = [verdict for verdict in verdicts if verdict.ok]
    if any(verdict.status == "resumed" for verdict in ran) or not ran:
        return {}
    told = engine.query(
        "SELECT QUANTILE_CONT(EXTRACT(EPOCH FROM known_at - event_time), 0.5) AS p50,"
        " QUANTILE_CONT(EXTRACT(EPOCH FROM known_at - event_time), 0.9) AS p90, MAX(known_at) AS last"
        " FROM events"
        f" WHERE event_time >= (SELECT MAX(event_time) FROM events) - INTERVAL {int(days)} DAY"
    ).to_pandas()
    if pd.isna(told["p50"].iloc[0]):
        return {}
    out = {name: float(told[name[-3:]].iloc[0]) for name in ("collection_p50", "collection_p90")}
    wait = 0.0
    if now is not None:
        moment = pd.Timestamp(now)
        moment = moment.tz_convert("UTC").tz_localize(None) if moment.tzinfo is not None else moment
        wait = max((moment - told["last"].iloc[0]).total_seconds(), 0.0)
        out["wait"] = wait
    topics = [verdict.topic for verdict in ran]
    for name, steps in (("profile", PROFILE), ("segment", SEGMENT)):
        places = [
            max(i for i, topic in enumerate(topics) if topic == step) for step in steps if step in topics
        ]
        if not places or "identity" not in topics:
            continue
        work = sum(verdict.seconds for verdict in ran[: places[0] + 1])
        out[f"to_{name}_work"] = work
        for part in ("p50", "p90"):
            out[f"event_to_{name}_{part}"] = out[f"collection_{part}"] + wait + work
    return out if "to_profile_work" in out else {}


def log_delays(
    workspace: Workspace, run_id: str, measured: dict[str, float], *, snapshot: str, as_of: str
) -> str | None:
    """Log a night's delays as an MLflow run; return its id, or None where nothing was measured.

    Parameters
    ----------
    workspace : Workspace
        Whose store.
    run_id : str
        The night.
    measured : dict of str to float
        See `delays`.
    snapshot : str
        What was published.
    as_of : str
        Date of the knowledge, ISO.
    """
    if not measured:
        return None
    from cdpkit.tracking import runs

    tracked: Any = runs.start(TOPIC, as_of=as_of, workspace=workspace, run_id=run_id, snapshot=snapshot)
    with tracked:
        tracked.log_metrics({f"{name}_s": round(value, 3) for name, value in measured.items()})
    return str(tracked.id)
