"""Recency, frequency, amount: named groups that a marketer knows, and moves between two periods.

Recency is days since the last order, as in the scoring tradition (Hughes 1994), not the age at the last
purchase of the probability models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdpkit.errors import NotEnoughDataError
from cdpkit.segments.people import literal, member_sql

if TYPE_CHECKING:
    from cdpkit.engine import Engine

MEASURES = ("recency", "frequency", "monetary")

#: Named groups: lowest recency score, lowest frequency-and-amount score, French, English. First that fits.
GROUPS = {
    "champions": (4, 4, "champions", "champions"),
    "loyal": (3, 3, "fidèles", "loyal"),
    "recent": (4, 1, "récents, à développer", "recent, to develop"),
    "at_risk": (1, 4, "précieux, à retenir", "valuable, at risk"),
    "fading": (2, 2, "en train de s'éloigner", "fading"),
    "occasional": (3, 1, "occasionnels", "occasional"),
    "asleep": (1, 1, "endormis", "asleep"),
}


@dataclass(frozen=True)
class RfmCuts:
    """Cut points of the three measures: four each make five scores. Kept, they make periods comparable.

    Parameters
    ----------
    recency, frequency, monetary : tuple of float
        Ascending.
    """

    recency: tuple[float, ...]
    frequency: tuple[float, ...]
    monetary: tuple[float, ...]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> RfmCuts:
        """Cut at the fifths of a reference period.

        Raises
        ------
        NotEnoughDataError
            With fewer than 20 buyers.
        """
        if len(frame) < 20:
            raise NotEnoughDataError("RFM needs 20 buyers in the period", got=str(len(frame)))
        fifths = [0.2, 0.4, 0.6, 0.8]
        return cls(*(tuple(np.quantile(frame[name].to_numpy(dtype=float), fifths)) for name in MEASURES))


def measure(engine: Engine, as_of: object, days: int = 365) -> pd.DataFrame:
    """Measure the buyers of a period.

    Parameters
    ----------
    engine : Engine
        Sees ``orders, membership, consents``.
    as_of : timestamp-like
        End of the period; nothing at or after it is seen.
    days : int
        Length of the period.

    Returns
    -------
    DataFrame
        ``person_id, recency`` (days), ``frequency`` (orders), ``monetary`` (minor units, less returns;
        persons who paid in several currencies are left out).
    """
    t = literal(as_of)
    return engine.query(
        f"""WITH {member_sql(as_of)}
        SELECT person_id, date_diff('hour', max(event_time), {t}) / 24.0 AS recency, count(*) AS frequency,
               sum(amount_minor - CASE WHEN returned_at < {t} THEN coalesce(returned_minor, 0) ELSE 0
                 END)::DOUBLE AS monetary
        FROM orders JOIN member USING (node_id)
        WHERE event_time < {t} AND known_at < {t} AND event_time >= {t} - INTERVAL {int(days)} DAY
          AND (cancelled_at IS NULL OR cancelled_at >= {t})
        GROUP BY person_id HAVING count(DISTINCT currency) <= 1 ORDER BY person_id"""
    ).to_pandas()


def groups(frame: pd.DataFrame, cuts: RfmCuts | None = None) -> pd.DataFrame:
    """Score buyers from 1 to 5 on each measure and name their group.

    Parameters
    ----------
    frame : DataFrame
        As `measure` returns it.
    cuts : RfmCuts, optional
        Those of an earlier period, to compare with it; the frame's own by default.

    Returns
    -------
    DataFrame
        The frame with ``r, f, m`` (5 is best) and ``group``, a key of `GROUPS`.

    Examples
    --------
    >>> buyers = pd.DataFrame({"person_id": [f"p{i}" for i in range(20)], "recency": range(1, 21),
    ...                        "frequency": range(20, 0, -1), "monetary": range(2000, 0, -100)})
    >>> named = groups(buyers)
    >>> named["group"].iloc[0], named["group"].iloc[-1]
    ('champions', 'asleep')
    """
    cuts = cuts or RfmCuts.of(frame)
    scored = frame.assign(
        r=5 - np.searchsorted(cuts.recency, frame["recency"], side="left"),
        f=1 + np.searchsorted(cuts.frequency, frame["frequency"], side="left"),
        m=1 + np.searchsorted(cuts.monetary, frame["monetary"], side="left"),
    )
    # Half up: of a 3 and a 4, the better counts.
    worth = np.floor((scored["f"] + scored["m"]) / 2 + 0.5)
    tests = [(scored["r"] >= low_r) & (worth >= low_w) for low_r, low_w, _, _ in GROUPS.values()]
    return scored.assign(
        group=pd.Series(np.select(tests, list(GROUPS), default="asleep"), index=frame.index, dtype="str")
    )


def summary(scored: pd.DataFrame) -> pd.DataFrame:
    """Describe the groups.

    Returns
    -------
    DataFrame
        ``group, fr, en, n, share, share_of_amount, median_recency, median_frequency``, by value.
    """
    total = max(float(scored["monetary"].sum()), 1.0)
    rows = [
        (name, fr, en, len(part), len(part) / max(len(scored), 1), float(part["monetary"].sum()) / total,
         float(part["recency"].median()), float(part["frequency"].median()))
        for name, (_, _, fr, en) in GROUPS.items()
        if len(part := scored[scored["group"] == name])
    ]  # fmt: skip
    columns = ["group", "fr", "en", "n", "share", "share_of_amount", "median_recency", "median_frequency"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        "share_of_amount", ascending=False, ignore_index=True
    )
