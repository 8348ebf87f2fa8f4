"""What activations changed: audience first, then channel; the contacted beside their own control group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cdpkit.errors import CdpkitError
from cdpkit.segments.people import literal

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine

#: How results are told unless asked otherwise: whom, then by which way.
BY = ("audience", "channel")
_MAY = ("audience", "channel", "destination", "activation_id", "as_of")


def results(engine: Engine, as_of: object, *, days: int = 30, by: Sequence[str] = BY) -> pd.DataFrame:
    """Compare who was handed over with who was kept apart, by what they bought within some days.

    Parameters
    ----------
    engine : Engine
        Sees ``activation_log, orders, membership``.
    as_of : timestamp-like
        Today: an activation counts once its days are over.
    days : int
        Days after the activation in which an order counts.
    by : sequence of str
        Columns of the activation log; by default audience, then channel.

    Returns
    -------
    DataFrame
        The columns of `by`, then ``contacted, control, bought, bought_control, rate, rate_control, effect,
        low, high``: `effect` is the difference of the rates, with its 95 % range (Agresti and Caffo,
        2000); missing without a control group.

    Raises
    ------
    CdpkitError
        When `by` names something else.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> results(DuckDBEngine(), "2026-07-01").columns.tolist()[:4]
    ['audience', 'channel', 'contacted', 'control']
    """
    if not by or set(by) - set(_MAY):
        raise CdpkitError(f"`by` must name some of {', '.join(_MAY)}", got=", ".join(by) or "nothing")
    t, keys = literal(as_of), ", ".join(by)
    frame = engine.query(
        f"""
        WITH handed AS (
          SELECT DISTINCT {keys}, person_id, is_control, as_of AS since FROM activation_log
          WHERE as_of + INTERVAL {int(days)} DAY <= {t}
        ), bought AS (
          SELECT DISTINCT h.* FROM handed AS h
          JOIN membership AS m ON m.person_id = h.person_id AND m.known_to IS NULL
          JOIN orders AS o ON o.node_id = m.node_id AND o.cancelled_at IS NULL
            AND o.event_time >= h.since AND o.event_time < h.since + INTERVAL {int(days)} DAY
        )
        SELECT {keys}, count(*) FILTER (NOT is_control) AS contacted, count(*) FILTER (is_control) AS control,
               coalesce(sum(buys) FILTER (NOT is_control), 0) AS bought,
               coalesce(sum(buys) FILTER (is_control), 0) AS bought_control
        FROM (SELECT *, 0 AS buys FROM handed EXCEPT SELECT *, 0 FROM bought
              UNION ALL SELECT *, 1 FROM bought) AS told
        GROUP BY {keys} ORDER BY {keys}"""
    ).to_pandas()
    n, m = frame["contacted"], frame["control"]
    frame["rate"], frame["rate_control"] = frame["bought"] / n, frame["bought_control"] / m
    frame["effect"] = frame["rate"] - frame["rate_control"]
    p, q = (frame["bought"] + 1) / (n + 2), (frame["bought_control"] + 1) / (m + 2)
    half = 1.959964 * (p * (1 - p) / (n + 2) + q * (1 - q) / (m + 2)) ** 0.5
    told = (n > 0) & (m > 0)
    frame["low"], frame["high"] = (p - q - half).where(told), (p - q + half).where(told)
    return frame
