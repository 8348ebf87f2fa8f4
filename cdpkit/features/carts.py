"""Visits with their carts: what each showed, whether it ended in an order, and when to score it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdpkit.features.permission import permit
from cdpkit.features.population import instant, moment

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine

#: Minutes of silence that end a visit, and hours in which an order still belongs to the cart.
SILENCE_MINUTES = 30
ORDER_HOURS = 24

_ALLOWED = "cart_nodes"


def visits(engine: Engine, since: object, until: object, *, consent: bool = True) -> pd.DataFrame:
    """Return the visits of a period that looked at a product, with what they showed.

    Parameters
    ----------
    engine : Engine
    since, until : timestamp
        Period, the end excluded; orders are looked for until `ORDER_HOURS` after a visit and no further than
        `until`, and visits that end too late for that are left out.
    consent : bool
        Use only records whose owner permits profiling at `until`.

    Returns
    -------
    DataFrame
        ``person_id`` (as known at `until`; missing for a record of nobody), ``node_id, started_at, cart_at``
        (when the last product was added; missing without a cart), ``pages`` (product pages), ``compared``
        (different products of the category most looked at), ``dwell_ms`` (mean of product pages),
        ``searches, lists, cart_views, removed, delivery_pages, checkouts``, ``cart`` and ``ordered`` (flags).
        A visit ends with half an hour of silence.
    """
    allowed = permit(engine, until) if consent else None
    at, first = moment(until).sql(dialect=engine.dialect), moment(since).sql(dialect=engine.dialect)
    whose = f"node_id IN ({allowed.sql(dialect=engine.dialect)})" if allowed is not None else "TRUE"
    engine.materialise(
        _ALLOWED,
        f"SELECT node_id, person_id FROM membership WHERE known_from < {at} "
        f"AND (known_to IS NULL OR known_to >= {at}) AND {whose}",
    )
    frame = engine.query(_visits(first, at)).to_pandas()
    frame = frame.astype({"person_id": "str", "cart": bool, "ordered": bool})
    return frame.sort_values(["started_at", "node_id"], ignore_index=True)


def moments(carts: pd.DataFrame, seconds: int = 60) -> pd.DataFrame:
    """Return the moment at which each cart is scored, for `FeatureSet.build(at=…)`: ``person_id, ts``.

    Parameters
    ----------
    carts : DataFrame
        Rows of `visits` with a cart and a person.
    seconds : int
        After the last product was added: what the site has noted by then is known.

    Examples
    --------
    >>> import pandas as pd
    >>> carts = pd.DataFrame({"person_id": ["a"], "cart_at": [pd.Timestamp("2026-01-01")]})
    >>> str(moments(carts)["ts"].item())
    '2026-01-01 00:01:00'
    """
    import pandas as pd

    return pd.DataFrame(
        {
            "person_id": carts["person_id"].to_numpy(),
            "ts": [instant(at) for at in carts["cart_at"] + pd.Timedelta(seconds=seconds)],
        }
    )


def _visits(first: str, at: str) -> str:
    """Return the query: events, cut into visits, added up, beside the orders that followed."""

    def count(what: str, name: str) -> str:
        return f"sum(CASE WHEN {what} THEN 1 ELSE 0 END) AS {name}"

    sums = ", ".join(
        [
            count("event_type = 'Product Viewed'", "pages"),
            count("event_type = 'Products Searched'", "searches"),
            count("event_type = 'Product List Viewed'", "lists"),
            count("event_type = 'Cart Viewed'", "cart_views"),
            count("event_type = 'Product Removed'", "removed"),
            count("touchpoint = 'delivery'", "delivery_pages"),
            count("event_type = 'Checkout Started'", "checkouts"),
            count("event_type = 'Product Added'", "added"),
            count("event_type = 'Order Completed'", "completed"),
        ]
    )
    return f"""
    WITH seen AS (
        SELECT f.node_id, m.person_id, f.event_time, f.event_type, f.product_id, f.category, f.touchpoint,
            f.dwell_ms, lag(f.event_time) OVER (PARTITION BY f.node_id ORDER BY f.event_time) AS before
        FROM events AS f JOIN {_ALLOWED} AS m ON f.node_id = m.node_id
        WHERE f.event_time >= {first} AND f.event_time < {at} AND f.known_at < {at}),
    cut AS (
        SELECT *, sum(CASE WHEN before IS NULL OR event_time > before + INTERVAL '{SILENCE_MINUTES}' MINUTE
            THEN 1 ELSE 0 END)
            OVER (PARTITION BY node_id ORDER BY event_time ROWS UNBOUNDED PRECEDING) AS visit
        FROM seen),
    looked AS (
        SELECT node_id, visit, max(products) AS compared FROM (
            SELECT node_id, visit, category, count(DISTINCT product_id) AS products FROM cut
            WHERE event_type = 'Product Viewed' GROUP BY node_id, visit, category) AS by_category
        GROUP BY node_id, visit),
    added AS (
        SELECT node_id, visit, max(person_id) AS person_id, min(event_time) AS started_at,
            max(event_time) AS ended_at,
            max(CASE WHEN event_type = 'Product Added' THEN event_time END) AS cart_at,
            avg(CASE WHEN event_type = 'Product Viewed' THEN dwell_ms END) AS dwell_ms, {sums}
        FROM cut GROUP BY node_id, visit),
    bought AS (
        SELECT a.node_id, a.visit, count(*) AS orders FROM added AS a
        JOIN {_ALLOWED} AS m ON m.person_id = a.person_id
        JOIN orders AS o ON o.node_id = m.node_id AND o.event_time >= a.started_at
            AND o.event_time < a.ended_at + INTERVAL '{ORDER_HOURS}' HOUR AND o.event_time < {at}
        GROUP BY a.node_id, a.visit)
    SELECT a.person_id, a.node_id, a.started_at, a.cart_at, a.pages, l.compared, a.dwell_ms, a.searches,
        a.lists, a.cart_views, a.removed, a.delivery_pages, a.checkouts, a.added > 0 AS cart,
        a.completed > 0 OR coalesce(b.orders, 0) > 0 AS ordered
    FROM added AS a JOIN looked AS l ON l.node_id = a.node_id AND l.visit = a.visit
    LEFT JOIN bought AS b ON b.node_id = a.node_id AND b.visit = a.visit
    WHERE a.ended_at < {at} - INTERVAL '{ORDER_HOURS}' HOUR"""
