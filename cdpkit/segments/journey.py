"""Stages of the customer journey at a date, moves between two dates, and who comes back after a silence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.errors import CdpkitError
from cdpkit.segments.inactive import InactivityDefinition, acts_sql, last_acts_sql
from cdpkit.segments.people import literal

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: Stages, from first sight to loss and back, with their words.
STAGES = {
    "suspect": ("suspect", "suspect"),
    "prospect": ("prospect", "prospect"),
    "client": ("client", "client"),
    "loyal": ("fidèle", "loyal"),
    "inactive": ("inactif", "inactive"),
    "returning": ("de retour", "returning"),
}


@dataclass(frozen=True)
class JourneyDefinition:
    """Where one stage ends and the next begins.

    Parameters
    ----------
    inactivity : InactivityDefinition
        When a known person is inactive.
    loyal_orders : int
        Orders within a year that make a client loyal.
    returning_days : int
        How long somebody who broke a silence is returning, in days; active afterwards.

    Examples
    --------
    >>> JourneyDefinition(loyal_orders=4).silence
    180
    """

    inactivity: InactivityDefinition = field(default_factory=InactivityDefinition)
    loyal_orders: int = 3
    returning_days: int = 30

    def __post_init__(self) -> None:
        if self.loyal_orders < 2 or self.returning_days < 1:
            raise CdpkitError(
                "`loyal_orders` must be >= 2 and `returning_days` >= 1",
                got=f"{self.loyal_orders} and {self.returning_days}",
            )

    @property
    def silence(self) -> int:
        """Days without any act that make a return: the shortest delay of the inactivity."""
        return min(self.inactivity.delays.values())


def stages_sql(definition: JourneyDefinition, as_of: object) -> str:
    """Build the query of each person's stage at a date.

    Returns
    -------
    str
        ``person_id, stage``. In this order: *suspect*, never identified and without an order; *returning*,
        somebody who acted within `returning_days` after a silence; *inactive*; *loyal*; *client*, with an
        order; *prospect*.
    """
    t = literal(as_of)
    return f"""
    WITH lasts AS ({last_acts_sql(as_of)}), back AS (
      SELECT DISTINCT person_id FROM ({returns_sql(definition, as_of)}) AS returned
      WHERE returned_at >= {t} - INTERVAL {int(definition.returning_days)} DAY
    ), named AS (
      SELECT DISTINCT person_id FROM golden
      WHERE attribute IN ('email', 'phone', 'account_id', 'loyalty_id', 'last_name') AND known_at < {t}
    )
    SELECT l.person_id, CASE
        WHEN l.n_orders = 0 AND n.person_id IS NULL THEN 'suspect'
        WHEN b.person_id IS NOT NULL THEN 'returning'
        WHEN {definition.inactivity.condition(as_of)} THEN 'inactive'
        WHEN l.n_orders_365 >= {int(definition.loyal_orders)} THEN 'loyal'
        WHEN l.n_orders > 0 THEN 'client' ELSE 'prospect' END AS stage
    FROM lasts AS l LEFT JOIN back AS b ON b.person_id = l.person_id
    LEFT JOIN named AS n ON n.person_id = l.person_id
    """


def returns_sql(definition: JourneyDefinition, as_of: object) -> str:
    """Build the query of the returns before a date: ``person_id, returned_at, silent_days``.

    Notes
    -----
    A return is an act that follows a silence of at least `JourneyDefinition.silence` days after an
    earlier act. It is the event that starts a new process; the silence is over once it happened.
    """
    return f"""
    SELECT person_id, acted_at AS returned_at, silent_days FROM (
      SELECT person_id, acted_at,
             date_diff('hour', lag(acted_at) OVER (PARTITION BY person_id ORDER BY acted_at), acted_at)
               / 24.0 AS silent_days
      FROM ({acts_sql(as_of)}) AS every) AS acts
    WHERE silent_days >= {int(definition.silence)}
    """


def stages(engine: Engine, definition: JourneyDefinition, as_of: object) -> pd.DataFrame:
    """Return each person's stage: ``person_id, stage``."""
    return engine.query(stages_sql(definition, as_of)).to_pandas()


def transitions(before: pd.DataFrame, after: pd.DataFrame, column: str = "stage") -> pd.DataFrame:
    """Return how persons moved between two dates.

    Parameters
    ----------
    before, after : DataFrame
        ``person_id`` and `column`, one row a person. Whoever is in one only comes from, or goes to,
        ``absent``.
    column : str
        What moves: ``stage``, or the ``group`` of RFM.

    Returns
    -------
    DataFrame
        ``origin, target, n, share``; the shares of each origin sum to one.

    Examples
    --------
    >>> one = pd.DataFrame({"person_id": ["a", "b"], "stage": ["client", "client"]})
    >>> two = pd.DataFrame({"person_id": ["a", "c"], "stage": ["loyal", "prospect"]})
    >>> transitions(one, two)["target"].tolist()
    ['prospect', 'absent', 'loyal']
    """
    moved = before[["person_id", column]].merge(
        after[["person_id", column]], on="person_id", how="outer", suffixes=("_before", "_after")
    )
    sides = {"origin": f"{column}_before", "target": f"{column}_after"}
    frame = pd.DataFrame(
        {name: moved[side].astype("str").where(moved[side].notna(), "absent") for name, side in sides.items()}
    )
    counted = frame.groupby(["origin", "target"], sort=True).size().rename("n").reset_index()
    return counted.assign(share=counted["n"] / counted.groupby("origin")["n"].transform("sum"))
