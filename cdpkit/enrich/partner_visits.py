"""Visits outside our own domains: events of a partner's source, their worth for interests, their removal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdpkit.consent import nodes_sql
from cdpkit.evaluate.paired import paired
from cdpkit.identity.agreements import Agreement
from cdpkit.identity.moments import instant, literal, members
from cdpkit.schema import TABLES

if TYPE_CHECKING:
    from cdpkit.engine import Engine
    from cdpkit.run import Run

#: Views by which the interests of all persons count as one's own prior.
PRIOR = 3.0


def partner_visits(engine: Engine, source: str, as_of: object) -> pd.DataFrame:
    """Return the visits a partner told of persons who may be profiled, as known at a date.

    Parameters
    ----------
    engine : Engine
        Sees ``events, membership, source_terms`` and what consent reads.
    source : str
        The partner's source.
    as_of : timestamp-like
        UTC.

    Returns
    -------
    DataFrame
        ``person_id, event_id, event_time, touchpoint, category``. A person without permission has none, and
        nobody has any once the agreement is over.

    Raises
    ------
    ConsentError
        When the source has no agreement with a partner and an end.
    """
    deal = Agreement.read(engine, source)
    over = instant(as_of) >= deal.until or "profiling" not in deal.purposes
    return _views(engine, as_of, f"e.source = '{source}' AND {'FALSE' if over else 'TRUE'}")


@dataclass(frozen=True)
class InterestGain:
    """What partners' visits add to the knowledge of interests.

    Attributes
    ----------
    table : DataFrame
        ``name, value, low, high``: ``buyers`` judged; ``coverage_own`` and ``coverage_with`` (share of buyers
        with any known interest); ``first_own`` and ``first_with`` (share whose first interest is what they
        bought); ``loss_own``, ``loss_with`` (log-loss of the category bought, nats) and ``gain``, their
        difference with its 95 % interval.
    worth_it : bool
        Whether the gain is above two paired standard errors.
    """

    table: pd.DataFrame
    worth_it: bool


def interest_gain(engine: Engine, source: str, as_of: object, *, horizon_days: int = 60) -> InterestGain:
    """Measure what a partner's visits tell of interests that our own events do not.

    Interests are the categories seen before the date, shrunk to everybody's; they are judged on the first
    category each person then buys on line, with our own events alone and with the partner's beside.

    Parameters
    ----------
    engine : Engine
        As for `partner_visits`, and ``order_lines, products``.
    source : str
        The partner's source.
    as_of : timestamp-like
        UTC; interests before, purchases from then on.
    horizon_days : int
        Purchases within so many days.
    """
    own = _views(engine, as_of, f"e.source <> '{source}'")
    theirs = partner_visits(engine, source, as_of)
    until = instant(as_of) + pd.Timedelta(days=horizon_days)
    bought = engine.query(
        _BOUGHT.format(now=members(until), then=members(as_of), start=literal(as_of), end=literal(until))
    ).to_pandas()
    bought = bought.drop_duplicates("person_id")
    names = sorted({*own["category"], *theirs["category"], *bought["category"]})
    if bought.empty or not names:
        return InterestGain(pd.DataFrame(columns=["name", "value", "low", "high"]), False)
    place = {name: i for i, name in enumerate(names)}
    row = {person: i for i, person in enumerate(bought["person_id"])}
    prior = np.bincount(own["category"].map(place), minlength=len(names)) + 1.0
    prior = prior / prior.sum()
    truth = bought["category"].map(place).to_numpy()
    loss, first, covered = {}, {}, {}
    for name, views in (("own", own), ("with", pd.concat([own, theirs], ignore_index=True))):
        mine = views[views["person_id"].isin(row)]
        counts = np.zeros((len(bought), len(names)))
        np.add.at(
            counts, (mine["person_id"].map(row).to_numpy(int), mine["category"].map(place).to_numpy(int)), 1
        )
        p = (counts + PRIOR * prior) / (counts.sum(axis=1, keepdims=True) + PRIOR)
        loss[name] = -np.log(p[np.arange(len(truth)), truth])
        first[name] = float((p.argmax(axis=1) == truth).mean())
        covered[name] = float((counts.sum(axis=1) > 0).mean())
    gap = paired(loss["own"], loss["with"])
    nan = float("nan")
    rows = [("buyers", float(len(bought)), nan, nan)]
    for label, values in (("coverage", covered), ("first", first)):
        rows += [(f"{label}_{name}", value, nan, nan) for name, value in values.items()]
    rows += [(f"loss_{name}", float(value.mean()), nan, nan) for name, value in loss.items()]
    rows.append(("gain", gap.mean, gap.low, gap.high))
    return InterestGain(pd.DataFrame(rows, columns=["name", "value", "low", "high"]), gap.worse(2.0))


def remove_source(run: Run, source: str) -> dict[str, int]:
    """Take every row of one source out of the heads: a partner leaves, and nothing else moves.

    Parameters
    ----------
    run : Run
        That holds the lock.
    source : str
        Whose rows go.

    Returns
    -------
    dict of str to int
        Rows removed, by table. Persons are those of the last resolution: resolve again before publishing,
        so that no person stands on a record that is gone. Files already taken in stay listed as such.
    """
    engine, gone = run.engine(), {}
    for name, table in TABLES.items():
        if "source" not in table or table["source"].pii != "none":
            continue
        n = (
            engine.query(f"SELECT COUNT(*) AS n FROM {name} WHERE source = '{source}'")
            .to_pandas()["n"]
            .iloc[0]
        )
        if n:
            gone[name] = int(n)
    for name in gone:
        run.lake.write(name, TABLES[name].empty(), replace={"source": source})
    return gone


def _views(engine: Engine, as_of: object, which: str) -> pd.DataFrame:
    """Return the categories seen by persons who may be profiled, as known at a date."""
    allowed = nodes_sql("profiling", as_of).sql(dialect=engine.dialect)
    return engine.query(
        _VIEWS.format(members=members(as_of), allowed=allowed, t=literal(as_of), which=which)
    ).to_pandas()


_VIEWS = """
    SELECT m.person_id, e.event_id, e.event_time, e.touchpoint, e.category
    FROM events AS e
    JOIN ({allowed}) AS a ON a.node_id = e.node_id JOIN ({members}) AS m ON m.node_id = e.node_id
    WHERE e.event_time < {t} AND e.known_at < {t} AND e.category IS NOT NULL AND {which}
    ORDER BY e.event_id
"""
#: What persons of the date buy afterwards, under any record that is theirs at the end.
_BOUGHT = """
    WITH same AS (
        SELECT DISTINCT t.person_id, n.person_id AS later FROM ({then}) AS t JOIN ({now}) AS n USING (node_id)
    )
    SELECT s.person_id, p.category FROM order_lines AS l
    JOIN ({now}) AS m ON m.node_id = l.node_id JOIN same AS s ON s.later = m.person_id
    JOIN (SELECT product_id, MIN(category) AS category FROM products GROUP BY product_id) AS p
      ON p.product_id = l.product_id
    WHERE l.event_time >= {start} AND l.event_time < {end} AND p.category IS NOT NULL
    ORDER BY s.person_id, l.event_time, l.order_id, l.line_no
"""
