"""Visits as rows: what was done in each, up to any page of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdpkit.errors import FaultsError

#: Minutes of silence that end a visit.
GAP = 30

#: Column of a visit that counts events of a type.
_TYPES = {
    "searches": "Products Searched",
    "lists": "Product List Viewed",
    "views": "Product Viewed",
    "adds": "Product Added",
    "removes": "Product Removed",
    "carts": "Cart Viewed",
    "checkouts": "Checkout Started",
    "payments": "Payment Info Entered",
    "orders": "Order Completed",
}
#: Column of a visit that counts pages, by the place of contact.
_PAGES = {"help": ("help", "contact", "faq", "returns"), "cancellation": ("cancellation", "termination")}


def cut(events: pd.DataFrame, gap: int = GAP) -> pd.Series:
    """Return the number of each event's visit: another person, or a silence, begins another one.

    Parameters
    ----------
    events : DataFrame
        ``person_id, ts``.
    gap : int
        Minutes.

    Examples
    --------
    >>> at = pd.to_datetime(["2026-01-01 10:00", "2026-01-01 10:10", "2026-01-01 11:00"])
    >>> cut(pd.DataFrame({"person_id": ["a"] * 3, "ts": at})).tolist()
    [0, 0, 1]
    """
    ordered = events[["person_id", "ts"]].sort_values(["person_id", "ts"], kind="stable")
    new = (ordered["person_id"] != ordered["person_id"].shift()) | (
        ordered["ts"].diff() > pd.Timedelta(minutes=gap)
    )
    return (new.cumsum() - 1).reindex(events.index)


def visits(events: pd.DataFrame, *, gap: int = GAP, first: int | None = None) -> pd.DataFrame:
    """Return one row a visit.

    Parameters
    ----------
    events : DataFrame
        ``person_id, ts, event_type``, and where known ``touchpoint, product_id, category, dwell_ms``; types
        in Segment's words.
    gap : int
        Minutes of silence that end a visit.
    first : int, optional
        Only the first events of each visit: what is known while it lasts.

    Returns
    -------
    DataFrame
        ``person_id, started_at`` and numbers: ``events``, a count by type and page, ``products`` and
        ``categories`` (distinct, looked at), ``focus`` (share of the looks in the commonest category),
        ``in_focus`` (distinct products there), ``again`` (looks at a product already looked at),
        ``minutes``, ``dwell`` (mean seconds a page; missing where not known).

    Raises
    ------
    FaultsError
        With every fault of the events.

    Examples
    --------
    >>> at = pd.to_datetime(["2026-01-01 10:00", "2026-01-01 10:10"])
    >>> seen = pd.DataFrame({"person_id": "a", "ts": at, "event_type": "Product Viewed",
    ...                      "product_id": ["x", "y"], "category": "shoes"})
    >>> visits(seen)[["events", "views", "in_focus"]].values.tolist()
    [[2, 2, 2]]
    """
    faults = [f"column `{c}` must be present" for c in ("person_id", "ts", "event_type") if c not in events]
    if "ts" in events and not pd.api.types.is_datetime64_dtype(events["ts"]):
        faults.append(f"`ts` must be a timestamp without a zone (UTC); got {events['ts'].dtype}")
    if faults:
        raise FaultsError("the events", faults)
    events = events.reset_index(drop=True)
    visit = cut(events, gap)
    events = events.assign(visit=visit.to_numpy()).sort_values(["visit", "ts"], kind="stable")
    if first is not None:
        events = events[events.groupby("visit").cumcount() < first]
    grouped = events.groupby("visit", sort=True)
    table = pd.DataFrame(
        {
            "person_id": grouped["person_id"].first(),
            "started_at": grouped["ts"].min(),
            "events": grouped.size(),
        }
    )
    for name, kind in _TYPES.items():
        table[name] = _count(events, events["event_type"] == kind, table.index)
    place = events["touchpoint"] if "touchpoint" in events else pd.Series("", index=events.index)
    for name, pages in _PAGES.items():
        table[name] = _count(events, place.isin(pages), table.index)
    table["minutes"] = (grouped["ts"].max() - table["started_at"]).dt.total_seconds() / 60
    table["dwell"] = grouped["dwell_ms"].mean() / 1000 if "dwell_ms" in events else np.nan
    return table.join(_looks(events, table.index)).reset_index(drop=True)


def _count(events: pd.DataFrame, rows: pd.Series, index: pd.Index) -> pd.Series:
    return events.loc[rows, "visit"].value_counts().reindex(index, fill_value=0).astype("int64")


def _looks(events: pd.DataFrame, index: pd.Index) -> pd.DataFrame:
    """Return how looks at products spread over products and categories."""
    looked = events[events["event_type"] == "Product Viewed"]
    for name in ("product_id", "category"):
        if name not in looked:
            looked = looked.assign(**{name: np.nan})
    by = looked.groupby("visit")
    products, n = by["product_id"].nunique(), by.size()
    each = looked.groupby(["visit", "category"]).agg(
        looks=("product_id", "size"), products=("product_id", "nunique")
    )
    each = each.sort_values(["looks", "products"], kind="stable").groupby("visit").last()
    out = pd.DataFrame(
        {
            "products": products,
            "categories": by["category"].nunique(),
            "focus": each["looks"] / n,
            "in_focus": each["products"],
            "again": n - products,
        }
    )
    return out.reindex(index).fillna(0.0)
