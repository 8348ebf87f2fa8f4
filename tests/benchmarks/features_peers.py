"""The workload of `features_workload` as a practitioner would write it in Polars and in pandas.

Both read the person key on the table and join nothing; both return the columns under the same names.
"""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path

from features_workload import AS_OF, CATEGORIES, CHANNELS, KINDS, files

DAY_US = 86_400_000_000
COLUMNS = {
    "events": ["node_id", "event_time", "event_type", "channel", "category", "product_id", "session_id",
               "amount_minor", "local_hour", "local_weekday"],
    "orders": ["node_id", "event_time", "amount_minor"],
    "messages": ["node_id", "event_time", "opened_at", "clicked_at", "unsubscribed_at"],
}  # fmt: skip


def slug(word: str) -> str:
    """Spell a value as column names do."""
    return word.lower().replace(" ", "_")


def in_polars(home: Path):
    """Compute the features lazily, streaming."""
    import polars as pl

    at, c = pl.lit(AS_OF).str.to_datetime(time_unit="us"), pl.col
    time = c("event_time")

    def rows(table: str) -> pl.LazyFrame:
        return (
            pl.scan_parquet(files(home, table), hive_partitioning=False)
            .select(COLUMNS[table])
            .filter(time < at)
        )

    def since(days: int) -> pl.Expr:
        return time >= at - pl.duration(days=days)

    def number(condition: pl.Expr, name: str) -> pl.Expr:
        return condition.fill_null(False).sum().cast(pl.Int64).alias(name)

    def days_ago(when: pl.Expr, name: str) -> pl.Expr:
        return ((at - when).dt.total_microseconds() / DAY_US).alias(name)

    events = rows("events")
    ever = events.group_by("node_id").agg(
        days_ago(time.max(), "rec_any"),
        days_ago(time.filter(c("event_type") == "Product Viewed").max(), "rec_view"),
        days_ago(time.filter(c("event_type") == "Product Added").max(), "rec_add"),
        c("channel").sort_by("event_time").last().alias("last_channel"),
    )
    year = events.filter(since(365)).group_by("node_id").agg(
        pl.len().cast(pl.Int64).alias("n__365d"),
        *[((c("category") == k).sum() / c("category").count()).fill_nan(None).alias(f"share_{slug(k)}__365d") for k in CATEGORIES],
        *[number(c("local_hour").is_between(6 * p, 6 * p + 5), f"part{p}__365d") for p in range(4)],
        number(c("local_weekday") >= 6, "weekend__365d"),
    )  # fmt: skip
    quarter = events.filter(since(90))
    recent = quarter.group_by("node_id").agg(
        *[number(since(w), f"n__{w}d") for w in (7, 30, 90)],
        *[number((c("event_type") == k) & since(w), f"n_{slug(k)}__{w}d") for k in KINDS for w in (30, 90)],
        *[number(c("channel") == k, f"n_{k}__90d") for k in CHANNELS],
        time.dt.date().n_unique().alias("days__90d"),
        c("product_id").drop_nulls().n_unique().alias("products__90d"),
        c("category").drop_nulls().n_unique().alias("categories__90d"),
        (3.0 * since(30).sum() / pl.len()).alias("trend__90d"),
        c("amount_minor").sum().alias("value__90d"),
    )
    visits = quarter.group_by("node_id", "session_id").agg(
        pl.len().alias("n"), ((time.max() - time.min()).dt.total_microseconds() / 6e7).alias("minutes"),
        since(30).any().alias("recent"), ((c("event_type") == "Product Added") & since(30)).any().alias("cart"),
        ((c("event_type") == "Order Completed") & since(30)).any().alias("bought"),
    ).group_by("node_id").agg(
        number(c("recent"), "sessions__30d"), pl.len().cast(pl.Int64).alias("sessions__90d"),
        c("n").mean().alias("per_session__90d"), c("minutes").mean().alias("minutes__90d"),
        number(c("cart") & ~c("bought"), "abandoned__30d"),
    )  # fmt: skip
    viewed = events.filter(since(30) & (c("event_type") == "Product Viewed") & c("product_id").is_not_null())
    again = viewed.group_by("node_id", "product_id").agg(pl.len().alias("n")).group_by("node_id").agg(
        number(c("n") >= 2, "again__30d"), c("n").max().alias("most__30d")
    )  # fmt: skip
    orders = rows("orders").sort("node_id", "event_time").with_columns(
        gap=(time - time.shift(1).over("node_id")).dt.total_microseconds() / DAY_US
    ).group_by("node_id").agg(
        *[number(since(w), f"orders__{w}d") for w in (30, 90, 365)],
        *[c("amount_minor").filter(since(w)).sum().alias(f"spent__{w}d") for w in (30, 90, 365)],
        c("amount_minor").filter(since(365)).mean().alias("basket__365d"), days_ago(time.max(), "rec_order"),
        c("gap").mean().alias("gap_mean"), c("gap").std().alias("gap_sd"),
    )  # fmt: skip
    opened, clicked = c("opened_at") < at, c("clicked_at") < at
    messages = rows("messages").group_by("node_id").agg(
        *[number(since(w), f"sent__{w}d") for w in (7, 30, 90)],
        *[number(since(w) & opened, f"opened__{w}d") for w in (30, 90)], number(since(90) & clicked, "clicked__90d"),
        ((since(90) & opened).sum() / since(90).sum()).fill_nan(None).alias("open_rate__90d"),
        number(c("unsubscribed_at") < at, "left"), days_ago(c("opened_at").filter(opened).max(), "rec_open"),
    )  # fmt: skip
    whole = pl.scan_parquet(files(home, "membership").replace("/*/", "/")).select("node_id").unique()
    for part in (ever, year, recent, visits, again, orders, messages):
        whole = whole.join(part, on="node_id", how="left")
    return whole.collect(engine="streaming")


def in_pandas(home: Path):
    """Load the columns once, words as categoricals, then filtered group-bys."""
    import pandas as pd
    import pyarrow.dataset as ds

    at, words = pd.Timestamp(AS_OF), {"event_type", "channel", "category", "product_id"}

    def rows(table: str) -> pd.DataFrame:
        found = ds.dataset(
            sorted(glob.glob(files(home, table))), format=ds.ParquetFileFormat(dictionary_columns=words)
        )
        loaded = found.to_table(columns=COLUMNS[table]).unify_dictionaries().to_pandas(self_destruct=True)
        return loaded[loaded["event_time"] < at]

    def since(frame: pd.DataFrame, days: int) -> pd.DataFrame:
        return frame[frame["event_time"] >= at - pd.Timedelta(days=days)]

    def days_ago(times: pd.Series) -> pd.Series:
        return (at - times) / pd.Timedelta(days=1)

    def size(frame: pd.DataFrame) -> pd.Series:
        return frame.groupby("node_id").size()

    def distinct(frame: pd.DataFrame, column: str) -> pd.Series:
        return size(frame[["node_id", column]].dropna().drop_duplicates())

    out: dict[str, pd.Series] = {}

    def spread(frame: pd.DataFrame, column: str, values: list, name: Callable[[object], str]) -> None:
        table = frame.groupby(["node_id", column], observed=True).size().unstack(fill_value=0)
        for value in values:
            out[name(value)] = table[value] if value in table else pd.Series(dtype="int64")

    events = rows("events")
    out["rec_any"] = days_ago(events.groupby("node_id")["event_time"].max())
    for kind, name in (("Product Viewed", "rec_view"), ("Product Added", "rec_add")):
        out[name] = days_ago(events[events["event_type"] == kind].groupby("node_id")["event_time"].max())
    newest = events.groupby("node_id")["event_time"].idxmax()
    out["last_channel"] = events.loc[newest].set_index("node_id")["channel"].astype(str)
    year = since(events, 365)
    out["n__365d"] = size(year)
    told = year.groupby("node_id")["category"].count()
    spread(year, "category", CATEGORIES, lambda k: f"share_{slug(k)}__365d")
    for k in CATEGORIES:
        name = f"share_{slug(k)}__365d"
        out[name] = (out[name].reindex(told.index, fill_value=0) / told.where(told > 0)).dropna()
    spread(year.assign(part=year["local_hour"] // 6), "part", [0, 1, 2, 3], lambda p: f"part{p}__365d")
    out["weekend__365d"] = size(year[year["local_weekday"] >= 6])
    quarter = since(year, 90)
    month = since(quarter, 30)
    out["n__7d"], out["n__30d"], out["n__90d"] = size(since(month, 7)), size(month), size(quarter)
    for frame, days in ((month, 30), (quarter, 90)):
        spread(frame, "event_type", KINDS, lambda k, d=days: f"n_{slug(k)}__{d}d")
    spread(quarter, "channel", CHANNELS, lambda k: f"n_{k}__90d")
    out["days__90d"] = distinct(quarter.assign(day=quarter["event_time"].dt.normalize()), "day")
    out["products__90d"], out["categories__90d"] = (
        distinct(quarter, "product_id"),
        distinct(quarter, "category"),
    )
    out["trend__90d"] = 3.0 * out["n__30d"].reindex(out["n__90d"].index, fill_value=0) / out["n__90d"]
    out["value__90d"] = quarter.groupby("node_id")["amount_minor"].sum()
    visits = quarter.groupby(["node_id", "session_id"])["event_time"].agg(["size", "min", "max"])
    visits["minutes"] = (visits["max"] - visits["min"]).dt.total_seconds() / 60
    by_person = visits.groupby("node_id")
    out["sessions__90d"], out["per_session__90d"] = by_person.size(), by_person["size"].mean()
    out["minutes__90d"] = by_person["minutes"].mean()
    out["sessions__30d"] = visits[visits["max"] >= at - pd.Timedelta(days=30)].groupby("node_id").size()
    keys = ["node_id", "session_id"]
    cart, bought = (
        month.loc[month["event_type"] == k, keys].drop_duplicates()
        for k in ("Product Added", "Order Completed")
    )
    left = cart.merge(bought, how="left", indicator=True)
    out["abandoned__30d"] = size(left[left["_merge"] == "left_only"])
    seen = (
        month[month["event_type"] == "Product Viewed"]
        .groupby(["node_id", "product_id"], observed=True)
        .size()
    )
    out["again__30d"], out["most__30d"] = (
        seen[seen >= 2].groupby("node_id").size(),
        seen.groupby("node_id").max(),
    )
    orders = rows("orders").sort_values(["node_id", "event_time"])
    orders["gap"] = orders.groupby("node_id")["event_time"].diff() / pd.Timedelta(days=1)
    for w in (30, 90, 365):
        amounts = since(orders, w).groupby("node_id")["amount_minor"]
        out[f"orders__{w}d"], out[f"spent__{w}d"] = amounts.size(), amounts.sum()
    out["basket__365d"] = amounts.mean()
    by_person = orders.groupby("node_id")
    out["rec_order"] = days_ago(by_person["event_time"].max())
    out["gap_mean"], out["gap_sd"] = by_person["gap"].mean(), by_person["gap"].std()
    messages = rows("messages")
    opened = messages[messages["opened_at"] < at]
    for w in (7, 30, 90):
        out[f"sent__{w}d"] = size(since(messages, w))
    out["opened__30d"], out["opened__90d"] = size(since(opened, 30)), size(since(opened, 90))
    out["clicked__90d"] = size(since(messages[messages["clicked_at"] < at], 90))
    sent = out["sent__90d"]
    out["open_rate__90d"] = out["opened__90d"].reindex(sent.index, fill_value=0) / sent
    out["left"] = size(messages[messages["unsubscribed_at"] < at])
    out["rec_open"] = days_ago(opened.groupby("node_id")["opened_at"].max())
    return pd.DataFrame(out).rename_axis("node_id").reset_index()
