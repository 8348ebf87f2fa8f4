"""Inactivity by the marketer's own delays, and what each person last did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.errors import FaultsError, NotEnoughDataError
from cdpkit.segments.people import literal, member_sql

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: What people do, as opposed to what is sent to them: kind, table, time, further condition.
ACTS = (
    ("purchase", "orders", "event_time", "(cancelled_at IS NULL OR cancelled_at >= {t})"),
    ("visit", "events", "event_time", "TRUE"),
    ("response", "messages", "clicked_at", "TRUE"),
)


@dataclass(frozen=True)
class InactivityDefinition:
    """After how long without an act somebody is inactive.

    Parameters
    ----------
    purchase, visit, response : int or None
        Days without an order, a visit, a click in a message; None leaves that act out.
    logic : {"all", "any"}
        Whether every silence is needed, or one.

    Raises
    ------
    FaultsError
        With every fault.

    Examples
    --------
    >>> print(InactivityDefinition(purchase=365, visit=90, response=None).sentence("en"))
    no purchase for 365 days and no visit for 90 days
    """

    purchase: int | None = 365
    visit: int | None = 180
    response: int | None = 180
    logic: str = "all"

    def __post_init__(self) -> None:
        faults = [f"`{name}` must be >= 1; got {days}" for name, days in self.delays.items() if days < 1]
        if not self.delays:
            faults.append("`purchase`, `visit` or `response` must be given; got none")
        if self.logic not in ("all", "any"):
            faults.append(f"`logic` must be 'all' or 'any'; got {self.logic!r}")
        if faults:
            raise FaultsError("definition of inactivity", faults)

    @property
    def delays(self) -> dict[str, int]:
        """Delays in days, by act."""
        given = {"purchase": self.purchase, "visit": self.visit, "response": self.response}
        return {name: days for name, days in given.items() if days is not None}

    def sentence(self, language: str) -> str:
        """Say the definition in French or in English."""
        french = language == "fr"
        words = {
            "purchase": ("aucun achat", "no purchase"),
            "visit": ("aucune visite", "no visit"),
            "response": ("aucune réponse à nos messages", "no response to our messages"),
        }
        since, days = ("depuis", "jours") if french else ("for", "days")
        joint = {"all": (" et ", " and "), "any": (" ou ", " or ")}[self.logic][0 if french else 1]
        return joint.join(
            f"{words[act][0 if french else 1]} {since} {n} {days}" for act, n in self.delays.items()
        )

    def condition(self, as_of: object) -> str:
        """Return the SQL condition over `last_acts_sql`; who never acted is silent since first known."""
        t = literal(as_of)
        parts = [
            f"coalesce(last_{act}, known_from) < {t} - INTERVAL {n} DAY" for act, n in self.delays.items()
        ]
        return "(" + (" AND " if self.logic == "all" else " OR ").join(parts) + ")"


def acts_sql(as_of: object) -> str:
    """Build the query of every act of every person before a date: ``person_id, act, acted_at``."""
    t = literal(as_of)
    parts = [
        f"""SELECT person_id, '{act}' AS act, {at} AS acted_at FROM {table} JOIN member USING (node_id)
            WHERE {at} < {t} AND known_at < {t} AND {also.format(t=t)}"""
        for act, table, at, also in ACTS
    ]
    return f"WITH {member_sql(as_of)} {' UNION ALL '.join(parts)}"


def last_acts_sql(as_of: object) -> str:
    """Build the query of each person's last acts before a date.

    Returns
    -------
    str
        ``person_id, known_from, last_purchase, last_visit, last_response, n_orders, n_orders_365``, for
        the persons who permit profiling.
    """
    t = literal(as_of)
    lasts = ", ".join(f"max(acted_at) FILTER (act = '{act}') AS last_{act}" for act, *_ in ACTS)
    return f"""
    WITH {member_sql(as_of)}, acts AS (SELECT * FROM ({acts_sql(as_of)}) AS every), lasts AS (
      SELECT person_id, {lasts}, count(*) FILTER (act = 'purchase') AS n_orders,
             count(*) FILTER (act = 'purchase' AND acted_at >= {t} - INTERVAL 365 DAY) AS n_orders_365
      FROM acts GROUP BY person_id
    ), known AS (
      SELECT person_id, min(n.known_at) AS known_from FROM member JOIN nodes AS n USING (node_id) GROUP
        BY person_id
    )
    SELECT known.person_id, known_from, last_purchase, last_visit, last_response,
           coalesce(n_orders, 0) AS n_orders, coalesce(n_orders_365, 0) AS n_orders_365
    FROM known LEFT JOIN lasts USING (person_id)
    """


def inactive_sql(definition: InactivityDefinition, as_of: object) -> str:
    """Build the query of the inactive: ``person_id``.

    Notes
    -----
    The inactive who can still be written to are ``reach(engine, inactive_sql(...))``.
    """
    return f"SELECT person_id FROM ({last_acts_sql(as_of)}) AS held WHERE {definition.condition(as_of)}"


def curve(
    engine: Engine,
    definition: InactivityDefinition,
    as_of: object,
    days: tuple[int, ...] = (30, 90, 180, 365),
) -> pd.DataFrame:
    """Count the inactive as the purchase delay moves, the other delays as they are: what a slider shows.

    Returns
    -------
    DataFrame
        ``days, n_inactive, share``, a row a delay.
    """
    engine.materialise("_last_acts", last_acts_sql(as_of))
    moved = [
        InactivityDefinition(n, definition.visit, definition.response, definition.logic).condition(as_of)
        for n in days
    ]
    counts = ", ".join(f"count(*) FILTER ({condition}) AS n{i}" for i, condition in enumerate(moved))
    found = engine.query(f"SELECT count(*) AS n, {counts} FROM _last_acts").to_pandas().iloc[0]
    n = [int(found[f"n{i}"]) for i in range(len(days))]
    return pd.DataFrame(
        {"days": list(days), "n_inactive": n, "share": [v / max(int(found["n"]), 1) for v in n]}
    )


def suggest(engine: Engine, as_of: object, share: float = 0.9) -> int:
    """Suggest the purchase delay from the gaps between purchases.

    Parameters
    ----------
    engine : Engine
    as_of : timestamp-like
    share : float
        Share of past gaps, between two orders of one person, that were shorter than the delay suggested.

    Returns
    -------
    int
        Days, rounded up. Gaps still open are not seen, so that the suggestion is a lower bound.

    Raises
    ------
    NotEnoughDataError
        With fewer than 30 gaps.
    """
    gaps = engine.query(
        f"""SELECT count(gap) AS n, quantile_cont(gap, {float(share)}) AS days FROM (
              SELECT date_diff('hour', lag(acted_at) OVER (PARTITION BY person_id ORDER BY acted_at),
                acted_at) / 24.0 AS gap
              FROM ({acts_sql(as_of)}) AS every WHERE act = 'purchase') AS gaps"""
    ).to_pandas().iloc[0]  # fmt: skip
    if gaps["n"] < 30:
        raise NotEnoughDataError("a delay needs 30 gaps between purchases", got=str(int(gaps["n"])))
    return int(-(-float(gaps["days"]) // 1))
