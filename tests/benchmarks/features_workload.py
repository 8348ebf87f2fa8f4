"""The 66-feature workload of the benchmark, as declarations, and the floor: each table read once.

The floor groups the rows by person and touches every column the workload needs, once a table.
"""

from __future__ import annotations

from pathlib import Path

from cdpkit.features import (
    Count,
    Distinct,
    FeatureSet,
    Gap,
    Last,
    Mean,
    Rate,
    Recency,
    Repeats,
    Sessions,
    Share,
    Sum,
    Trend,
    known,
)

AS_OF = "2026-01-01"
KINDS = ["Page Viewed", "Product Viewed", "Products Searched", "Product Added", "Order Completed"]
CHANNELS = ["site", "app", "store", "call"]
CATEGORIES = [f"category {i}" for i in range(8)]
VIEWED = "event_type = 'Product Viewed'"

WORKLOAD = FeatureSet(
    "bench",
    [
        Recency("events", name="rec_any"),
        Recency("events", where=VIEWED, name="rec_view"),
        Recency("events", where="event_type = 'Product Added'", name="rec_add"),
        Last("events.channel", values=CHANNELS, name="last_channel"),
        Count("events", windows=[7, 30, 90, 365], fill=None, name="n"),
        Count("events", by="event_type", values=KINDS, windows=[30, 90], fill=None, name="n"),
        Count("events", by="channel", values=CHANNELS, windows=[90], fill=None, name="n"),
        Share("events", by="category", values=CATEGORIES, windows=[365], name="share"),
        *[Count("events", where=f"local_hour BETWEEN {6 * part} AND {6 * part + 5}", windows=[365], fill=None, name=f"part{part}")
          for part in range(4)],
        Count("events", where="local_weekday >= 6", windows=[365], fill=None, name="weekend"),
        Distinct("events.day", windows=[90], fill=None, name="days"),
        Distinct("events.product_id", windows=[90], fill=None, name="products"),
        Distinct("events.category", windows=[90], fill=None, name="categories"),
        Trend("events", windows=[90], recent=30, name="trend"),
        Sum("events.amount_minor", windows=[90], currency="EUR", fill=None, name="value"),
        Sessions("events", windows=[30, 90], fill=None, name="sessions"),
        Sessions("events", windows=[90], stat="events", name="per_session"),
        Sessions("events", windows=[90], stat="minutes", name="minutes"),
        Sessions("events", windows=[30], having="has_cart and not has_purchase", fill=None, name="abandoned"),
        Repeats("events.product_id", where=VIEWED, windows=[30], stat="count", fill=None, name="again"),
        Repeats("events.product_id", where=VIEWED, windows=[30], fill=None, name="most"),
        Count("orders", windows=[30, 90, 365], fill=None, name="orders"),
        Sum("orders.amount_minor", windows=[30, 90, 365], currency="EUR", fill=None, name="spent"),
        Mean("orders.amount_minor", windows=[365], currency="EUR", name="basket"),
        Recency("orders", name="rec_order"),
        Gap("orders", name="gap_mean"),
        Gap("orders", stat="sd", name="gap_sd"),
        Count("messages", windows=[7, 30, 90], fill=None, name="sent"),
        Count("messages", of=known("opened_at"), windows=[30, 90], fill=None, name="opened"),
        Count("messages", of=known("clicked_at"), windows=[90], fill=None, name="clicked"),
        Rate("messages", of=known("opened_at"), windows=[90], name="open_rate"),
        Count("messages", of=known("unsubscribed_at"), fill=None, name="left"),
        Recency("messages", of=known("opened_at"), name="rec_open"),
    ],
)  # fmt: skip

#: What the floor touches of each table, besides the key.
TOUCHED = {
    "events": ("amount_minor", "event_time", "session_id", "product_id", "channel", "event_type", "category"),
    "orders": ("amount_minor", "event_time"),
    "messages": ("event_time", "opened_at", "clicked_at", "unsubscribed_at"),
}


def files(home: Path, table: str) -> str:
    """Return the Parquet files of a table written by `features_data`."""
    return f"{home}/data/lake/tables/{table}/*/*.parquet"


def floor(home: Path) -> None:
    """Group each table by its key once, touching every column the workload needs."""
    import duckdb

    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("SET preserve_insertion_order = false")
        for table, columns in TOUCHED.items():
            touched = ", ".join(f"sum({c})" if c == "amount_minor" else f"max({c})" for c in columns)
            connection.execute(
                f"CREATE TEMP TABLE t_{table} AS SELECT node_id, count(*), {touched} "
                f"FROM read_parquet('{files(home, table)}') GROUP BY node_id"
            )
