"""The range as a ladder: on which rung each person buys, at which they look, and when they move up.

A product's rung is its ``tier``; rungs are put in order by their price, so that no list has to be kept.
Everything is read as of a date, like any feature: rows that happened and were known before it, under the
persons known then, of records whose owner permits profiling.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cdpkit.errors import FeatureError, NotEnoughDataError
from cdpkit.features.labels import outcome_records
from cdpkit.features.permission import permit
from cdpkit.features.population import Population, clock_at, instant, snapshot_members, snapshot_persons
from cdpkit.features.scans import MEMBERS, PERSONS

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine

_RUNGS = "range_rungs"
_NAMES = ("person_id", "as_of")

#: Days of purchases that say where a person stands, and of product pages that say where they look.
BOUGHT_DAYS = 365
LOOKED_DAYS = 28


def rungs(engine: Engine, as_of: object) -> list[str]:
    """Return the rungs of the range from entry to top, by the median list price known at a date.

    Raises
    ------
    NotEnoughDataError
        Where the catalogue has fewer than two rungs.
    """
    found = engine.query(
        "SELECT tier, median(price) AS price FROM products "
        f"WHERE tier IS NOT NULL AND known_at < {_at(as_of)} GROUP BY tier ORDER BY price, tier"
    ).to_pandas()
    if len(found) < 2:
        raise NotEnoughDataError(
            "a range needs at least 2 rungs of products with prices", got=str(len(found))
        )
    return [str(tier) for tier in found["tier"]]


def standing(
    engine: Engine,
    as_of: object,
    *,
    population: str | Population = "buyers_365",
    consent: bool = True,
    consent_at: object = None,
) -> pd.DataFrame:
    """Return where persons stand on the ladder, and where they look, at a date or several.

    Parameters
    ----------
    engine : Engine
    as_of : timestamp or sequence of timestamps
    population : str or Population
        Those who bought in the last year by default: somebody who never bought stands nowhere.
    consent, consent_at
        As in `FeatureSet.build`.

    Returns
    -------
    DataFrame
        ``person_id, as_of``; over the last year of purchases, ``upsell__rung`` (highest rung, 0 entry),
        ``upsell__mean_rung`` and ``upsell__last_rung``; over the last four weeks of product pages,
        ``upsell__rung_viewed`` (mean), ``upsell__views_above`` (pages above the highest rung bought) and
        ``upsell__share_above``; ``upsell__gap`` (looked at less bought, in rungs) and ``upsell__gap_trend``
        (that gap less the one of the four weeks before). Persons who bought nothing of a known rung are
        left out.
    """
    import pandas as pd

    whom = Population.parse(population)
    frames = []
    for date in _dates(as_of):
        clock = clock_at(date, engine.dialect)
        allowed = permit(engine, date, also_at=consent_at) if consent else None
        engine.materialise(PERSONS, snapshot_persons(whom, clock, allowed))
        engine.materialise(MEMBERS, snapshot_members(PERSONS, clock, allowed))
        _keep_rungs(engine, date)
        frames.append(engine.query(_standing(date)).to_pandas())
    frame = pd.concat(frames, ignore_index=True)
    return frame.astype({"person_id": "str", "as_of": "datetime64[us]"})


def moves(
    engine: Engine,
    as_of: object,
    *,
    periods: int = 3,
    period_days: int = 30,
    watermark: object,
    population: str | Population = "buyers_365",
    consent: bool = True,
    consent_at: object = None,
) -> pd.DataFrame:
    """Return when persons first bought above every rung of their last year, after a date or several.

    Parameters
    ----------
    engine : Engine
    as_of : timestamp or sequence of timestamps
    periods, period_days : int
        Periods looked ahead, and the days of one.
    watermark : timestamp
        Until when purchases are known: later periods are not watched.
    population, consent, consent_at
        As for `standing`.

    Returns
    -------
    DataFrame
        ``person_id, as_of, period`` (of the first move, from 1; 0 for none seen), ``next_rung`` (missing
        without a move) and ``observed`` (periods watched). The persons of `standing`.

    Raises
    ------
    FeatureError
        Where not even one period after a date is observed.
    """
    import numpy as np
    import pandas as pd

    end, frames = instant(watermark), []
    for date in _dates(as_of):
        observed = min(periods, (end - date).days // period_days)
        if observed < 1:
            raise FeatureError("a period after the date must be observed", got=f"{date} and data to {end}")
        here = standing(engine, date, population=population, consent=consent, consent_at=consent_at)
        outcome_records(engine, date, population, consent=consent, consent_at=consent_at)
        _keep_rungs(engine, date + pd.Timedelta(days=observed * period_days))
        bought = engine.query(_bought_after(date, observed * period_days)).to_pandas()
        both = bought.merge(here[["person_id", "upsell__rung"]], on="person_id")
        above = both[both["rung"] > both["upsell__rung"]]
        first = above.sort_values(["event_time", "rung"]).groupby("person_id", as_index=False).first()
        when = (first["event_time"] - date).dt.total_seconds() // (86_400 * period_days) + 1
        first = first.assign(period=when.astype("int64"), next_rung=first["rung"].astype(float))
        told = here[[*_NAMES]].merge(first[["person_id", "period", "next_rung"]], on="person_id", how="left")
        told["period"] = told["period"].fillna(0).astype(np.int64)
        frames.append(told.assign(observed=observed))
    return pd.concat(frames, ignore_index=True)


def _dates(as_of: object) -> list[pd.Timestamp]:
    given = [as_of] if isinstance(as_of, str) or not isinstance(as_of, Iterable) else list(as_of)
    return sorted({instant(date) for date in given})


def _at(date: object) -> str:
    return f"TIMESTAMP '{instant(date).isoformat(sep=' ', timespec='microseconds')}'"


def _keep_rungs(engine: Engine, date: pd.Timestamp) -> None:
    """Keep the rung of each product as the catalogue knew it at a date."""
    order = rungs(engine, date)
    number = " ".join(f"WHEN '{tier.replace(chr(39), chr(39) * 2)}' THEN {k}" for k, tier in enumerate(order))
    engine.materialise(
        _RUNGS,
        f"""SELECT product_id, CASE tier {number} END AS rung FROM (
            SELECT product_id, tier,
                row_number() OVER (PARTITION BY product_id ORDER BY known_at DESC) AS place
            FROM products WHERE known_at < {_at(date)} AND tier IS NOT NULL) AS latest WHERE place = 1""",
    )


def _standing(date: pd.Timestamp) -> str:
    """Return the query of purchases and product pages by rung, a row a person."""
    at = _at(date)

    def since(days: int) -> str:
        return f"f.event_time >= {at} - INTERVAL '{days}' DAY AND f.event_time < {at} AND f.known_at < {at}"

    pages = f"f.event_type = 'Product Viewed' AND {since(2 * LOOKED_DAYS)}"
    late = f"f.event_time >= {at} - INTERVAL '{LOOKED_DAYS}' DAY"
    return f"""
    WITH bought AS (
        SELECT m.key, max(r.rung) AS rung, avg(r.rung) AS mean_rung, max_by(r.rung, f.event_time) AS last_rung
        FROM order_lines AS f JOIN {MEMBERS} AS m ON f.node_id = m.node_id
        JOIN {_RUNGS} AS r ON f.product_id = r.product_id
        WHERE f.quantity > 0 AND {since(BOUGHT_DAYS)} GROUP BY m.key),
    seen AS (
        SELECT m.key, avg(CASE WHEN {late} THEN r.rung END) AS viewed,
            avg(CASE WHEN NOT ({late}) THEN r.rung END) AS viewed_before,
            sum(CASE WHEN {late} THEN 1 ELSE 0 END) AS pages,
            sum(CASE WHEN {late} AND r.rung > b.rung THEN 1 ELSE 0 END) AS above
        FROM events AS f JOIN {MEMBERS} AS m ON f.node_id = m.node_id
        JOIN {_RUNGS} AS r ON f.product_id = r.product_id JOIN bought AS b ON b.key = m.key
        WHERE {pages} GROUP BY m.key)
    SELECT p.person_id, p.as_of, CAST(b.rung AS DOUBLE) AS upsell__rung, b.mean_rung AS upsell__mean_rung,
        CAST(b.last_rung AS DOUBLE) AS upsell__last_rung, s.viewed AS upsell__rung_viewed,
        CAST(coalesce(s.above, 0) AS DOUBLE) AS upsell__views_above,
        CASE WHEN s.pages > 0 THEN CAST(s.above AS DOUBLE) / s.pages END AS upsell__share_above,
        s.viewed - b.mean_rung AS upsell__gap, s.viewed - s.viewed_before AS upsell__gap_trend
    FROM {PERSONS} AS p JOIN bought AS b ON b.key = p.key LEFT JOIN seen AS s ON s.key = p.key
    ORDER BY p.key"""


def _bought_after(date: pd.Timestamp, days: int) -> str:
    """Return the query of the rungs bought in the window, whoever's newest records they are on."""
    at = _at(date)
    return f"""
    SELECT n.person_id, f.event_time, r.rung FROM order_lines AS f
    JOIN label_nodes AS n ON f.node_id = n.node_id JOIN {_RUNGS} AS r ON f.product_id = r.product_id
    WHERE f.quantity > 0 AND f.event_time >= {at} AND f.event_time < {at} + INTERVAL '{days}' DAY"""
