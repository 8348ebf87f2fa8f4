"""How like a real shop a world is: moments beside those of public sets, and whether a classifier can tell.

Every comparison starts from one shape, orders: ``customer, at, amount, n_lines``. A customer is what the
systems see (an account, a card), not the true person: that is all the real sets have.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import rankdata, spearmanr

if TYPE_CHECKING:
    from cdpkit.world.world import World

#: What is compared: moment -> (real set, lowest and highest ratio world / real). The bands were chosen
#: before the last fit; a moment that is not here is shown, not claimed.
BANDS = {
    "repeat_share": ("cdnow", 0.70, 1.30),
    "later_share": ("cdnow", 0.70, 1.30),
    "returned_share": ("cdnow", 0.60, 1.40),
    "orders_a_customer": ("cdnow", 0.70, 1.30),
    "gap_days": ("cdnow", 0.65, 1.35),
    "gap_cv": ("cdnow", 0.70, 1.30),
    "spend_gini": ("online_retail", 0.70, 1.30),
    "basket_cv": ("cdnow", 0.60, 1.50),
    "weekend_share": ("online_shoppers", 0.75, 1.35),
    "weekend_lift": ("online_shoppers", 0.75, 1.30),
    "evening_share": ("complete_journey", 0.60, 1.50),
    "read_share": ("email_campaign", 0.60, 1.50),
    "click_share": ("email_campaign", 0.50, 1.80),
}

#: Where each public set is, in a folder of them.
FILES = {
    "cdnow": "cdnow/CDNOW_master.txt.gz",
    "online_retail": "online_retail/online_retail.parquet",
    "complete_journey": "complete_journey/transactions_sample.parquet",
    "online_shoppers": "online_shoppers/online_shoppers_intention.csv.gz",
    "email_campaign": "email_campaign/data_email_campaign_dev.csv.gz",
}

#: What is not, and why.
NOT_COMPARABLE = {
    "online_retail: gaps and repeats": "its customers are mostly resellers, who come back every few weeks",
    "online_retail: lines a basket": "twenty lines an invoice: wholesale baskets",
    "online_retail: hours": "an office that closes in the evening and on Saturdays",
    "complete_journey: orders, gaps, spend": "a sample of lines: baskets and gaps are incomplete; a grocer",
    "online_shoppers: conversion": "one session a user, chosen; the world exports every session of everybody",
    "online_shoppers: pages": "every page of long sessions; in the world, views of a product",
    "complete_journey: redemptions": "coupons sent to chosen households for weeks, not one message",
    "cdnow: hours": "dates only",
}


def orders(world: World) -> pd.DataFrame:
    """Return a world's orders as its systems see them: ``customer, at, amount, n_lines``.

    Examples
    --------
    >>> from cdpkit.world import generate
    >>> list(orders(generate(200, seed=1, end="2025-04-01")).columns)
    ['customer', 'at', 'amount', 'n_lines']
    """
    raw = world.raw
    shop, store = raw["shop_orders"], raw["store_tickets"].dropna(subset="loyalty_id")
    lines = raw["shop_order_lines"].groupby("order_id").size()
    online = pd.DataFrame(
        {
            "customer": shop.account_id,
            "at": _moments(shop.ordered_at),
            "amount": shop.amount.astype(float),
            "n_lines": shop.order_id.map(lines),
        }
    )
    paid = store.unit_price.str.replace(",", ".").astype(float) * store["quantity"]
    tickets = store.assign(amount=paid).groupby("ticket_id")
    tills = pd.DataFrame(
        {
            "customer": tickets.loyalty_id.first(),
            "at": pd.to_datetime(tickets.sold_at.first(), format="%d/%m/%Y %H:%M").astype("datetime64[us]"),
            "amount": tickets.amount.sum(),
            "n_lines": tickets["line_no"].count(),
        }
    )
    return pd.concat([online, tills], ignore_index=True)


def _moments(text: pd.Series) -> pd.Series:
    """Return ISO instants as local time, zone-less: what the real sets give."""
    local = pd.to_datetime(text, utc=True).dt.tz_convert("Europe/Paris")
    return local.dt.tz_localize(None).astype("datetime64[us]")


def online_retail(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the invoices of the UCI set as orders; credit notes and unnamed customers are left out."""
    kept = frame[frame.CustomerID.notna() & ~frame.InvoiceNo.str.startswith("C") & (frame.UnitPrice > 0)]
    made = kept.assign(paid=kept["Quantity"] * kept.UnitPrice).groupby("InvoiceNo")
    return pd.DataFrame(
        {
            "customer": made.CustomerID.first(),
            "at": made.InvoiceDate.min(),
            "amount": made.paid.sum(),
            "n_lines": made["StockCode"].count(),
        }
    ).reset_index(drop=True)


def cdnow(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the CDNOW master file as orders; purchases of one day are one order."""
    at = pd.to_datetime(frame.date.astype(str))
    days = frame.assign(at=at).groupby(["customer_id", "at"], as_index=False)
    made = days.agg(amount=("dollar_value", "sum"), n_lines=("number_of_cds", "sum"))
    return made.rename(columns={"customer_id": "customer"})


def complete_journey(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the baskets of the sampled grocery lines as orders."""
    baskets = frame.groupby("basket_id")
    return pd.DataFrame(
        {
            "customer": baskets.household_id.first(),
            "at": baskets.transaction_timestamp.min(),
            "amount": baskets.sales_value.sum(),
            "n_lines": baskets.size(),
        }
    ).reset_index(drop=True)


def cohort(made: pd.DataFrame, first: str | pd.Timestamp, weeks: int = 12, watched: int = 78) -> pd.DataFrame:
    """Return the orders of customers new within `weeks` of `first`, followed `watched` weeks."""
    start = pd.Timestamp(first)
    born = made.groupby("customer")["at"].transform("min")
    inside = (born >= start) & (born < start + pd.Timedelta(weeks=weeks))
    return made[inside & (made["at"] < start + pd.Timedelta(weeks=watched))]


def moments(made: pd.DataFrame, until: pd.Timestamp | None = None) -> dict[str, float]:
    """Return what is compared, for the orders of a cohort: repeats, gaps, spend, baskets, hours.

    Parameters
    ----------
    made : DataFrame
        ``customer, at, amount, n_lines``.
    until : Timestamp, optional
        Half-way date for `later_share` (buyers of before who buy after) and `returned_share` (those
        silent for the last third of the first half who do); by default the middle of the period.

    Returns
    -------
    dict
        `repeat_share` of customers with a second order, `orders_a_customer`, `gap_days` (median) and
        `gap_cv` of waits, `later_share`, `returned_share`, `spend_gini` over customers, `basket_cv` and
        `lines_a_basket`, `evening_share` of orders from 17 h on.
    """
    made = made.sort_values(["customer", "at"])
    n = made.groupby("customer").size()
    wait = made.groupby("customer")["at"].diff().dropna().dt.total_seconds() / 86_400
    start, end = made["at"].min(), made["at"].max()
    middle = start + (end - start) / 2 if until is None else until
    before, after = made[made["at"] < middle], made[made["at"] >= middle]
    last = before.groupby("customer")["at"].max()
    later = last.index.isin(after.customer)
    silent = (last < middle - (middle - start) / 3).to_numpy()
    spend = np.sort(made.groupby("customer").amount.sum().to_numpy())
    rank = np.arange(1, len(spend) + 1)
    return {
        "repeat_share": float((n > 1).mean()),
        "orders_a_customer": float(n.mean()),
        "gap_days": float(wait.median()),
        "gap_cv": float(wait.std() / wait.mean()),
        "later_share": float(later.mean()),
        "returned_share": float(later[silent].mean()) if silent.any() else np.nan,
        "spend_gini": float(
            2 * (rank * spend).sum() / (len(spend) * spend.sum()) - (len(spend) + 1) / len(spend)
        ),
        "basket_cv": float(made.amount.std() / made.amount.mean()),
        "lines_a_basket": float(made.n_lines.mean()),
        "evening_share": float((made["at"].dt.hour >= 17).mean()),
    }


def week_shape(made: pd.DataFrame) -> pd.DataFrame:
    """Return the share of orders in each hour of the week: ``weekday, hour, share``."""
    n = made.groupby([made["at"].dt.day_of_week.rename("weekday"), made["at"].dt.hour.rename("hour")]).size()
    full = pd.MultiIndex.from_product([range(7), range(24)], names=["weekday", "hour"])
    return (n.reindex(full, fill_value=0) / len(made)).rename("share").reset_index()


def sessions(world: World) -> pd.DataFrame:
    """Return a world's visits as a web analyst counts them: ``weekend, ordered, product_pages, returning``.

    A visit ends after half an hour without an event of its cookie.
    """
    events = world.raw["web_events"].drop_duplicates("event_id").sort_values(["cookie_id", "ts"])
    new = (events.cookie_id != events.cookie_id.shift()) | (events.ts.diff() > pd.Timedelta(minutes=30))
    events = events.assign(
        visit=new.cumsum(),
        view=events.event_type == "Product Viewed",
        bought=events.event_type == "Order Completed",
    )
    visits = events.groupby("visit")
    start = visits.ts.first()
    return pd.DataFrame(
        {
            "weekend": (start + pd.Timedelta(hours=1)).dt.day_of_week >= 5,
            "ordered": visits.bought.any(),
            "product_pages": visits.view.sum(),
            "returning": visits.cookie_id.first().duplicated(),
        }
    )


def online_shoppers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the UCI sessions in the same shape."""
    return pd.DataFrame(
        {
            "weekend": frame.Weekend.astype(bool),
            "ordered": frame.Revenue.astype(bool),
            "product_pages": frame.ProductRelated,
            "returning": frame.VisitorType == "Returning_Visitor",
        }
    )


def session_moments(visits: pd.DataFrame) -> dict[str, float]:
    """Return the share of visits at week-ends, what a week-end does to the order rate, and the rest shown."""
    rate = visits.groupby("weekend").ordered.mean()
    return {
        "weekend_share": float(visits.weekend.mean()),
        "weekend_lift": float(rate[True] / rate[False]),
        "conversion": float(visits.ordered.mean()),
        "product_pages": float(visits.product_pages.mean()),
        "returning_share": float(visits.returning.mean()),
    }


def reactions(world: World) -> dict[str, float]:
    """Return the shares of delivered e-mails that were opened (by a machine or not) and clicked."""
    log = world.raw["email_log"]
    there = log[log.delivered_at.notna()]
    # A proxy opens everything it receives: those recipients say nothing of reading.
    human = there[~there.recipient.isin(there.recipient[there.machine_open == 1].unique())]
    return {
        "read_share": float(human.opened_at.notna().mean()),
        "click_share": float(there.clicked_at.notna().mean()),
    }


def read(path: Path) -> pd.DataFrame:
    """Read a public set's file."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path, sep=r"\s+" if ".txt" in path.name else ",")


def real_moments(name: str, path: Path) -> dict[str, float]:
    """Return the moments of a public set, by its name in `FILES`."""
    frame = read(path)
    if name == "online_shoppers":
        return session_moments(online_shoppers(frame))
    if name == "email_campaign":
        status = frame.Email_Status
        return {"read_share": float((status > 0).mean()), "click_share": float((status == 2).mean())}
    if name == "cdnow":
        return moments(cdnow(frame), pd.Timestamp("1997-10-01"))
    return moments({"online_retail": online_retail, "complete_journey": complete_journey}[name](frame))


def rules(made: pd.DataFrame, cut: pd.Timestamp) -> dict[str, float]:
    """Return how the marketer's rules score: recency and number of past orders, for who buys after `cut`.

    AUC of each, and the rank correlation of past and later numbers of orders.
    """
    before, after = made[made["at"] < cut], made[made["at"] >= cut]
    past = before.groupby("customer")["at"].agg(["size", "max"])
    later = after.groupby("customer").size().reindex(past.index, fill_value=0)
    y = (later > 0).to_numpy()
    return {
        "recency_auc": _auc(past["max"].astype("int64").to_numpy(), y),
        "past_rate_auc": _auc(past["size"].to_numpy(), y),
        "past_rate_rank": float(spearmanr(past["size"], later).statistic),
    }


def popularity(lines: pd.DataFrame, cut: pd.Timestamp, k: int = 10) -> float:
    """Return how much more than chance the `k` best sellers before `cut` are sold after it.

    `lines` has ``product, at``.
    """
    before, after = lines[lines["at"] < cut], lines[lines["at"] >= cut]
    top = before["product"].value_counts().index[:k]
    return float(after["product"].isin(top).mean() / (k / before["product"].nunique()))


def _auc(score: np.ndarray, y: np.ndarray) -> float:
    n1, n0 = int(y.sum()), int((~y).sum())
    return float((rankdata(score)[y].sum() - n1 * (n1 + 1) / 2) / (n1 * n0)) if n1 and n0 else np.nan


def portraits(made: pd.DataFrame) -> pd.DataFrame:
    """Return one row a customer, free of units: what the classifier sees."""
    start, end = made["at"].min(), made["at"].max()
    wait = made.sort_values(["customer", "at"]).groupby("customer")["at"].diff() / (end - start)
    each = made.assign(wait=wait, rank=made.amount.rank(pct=True)).groupby("customer")
    return pd.DataFrame(
        {
            "n": each.size(),
            "first": (each["at"].min() - start) / (end - start),
            "recency": (end - each["at"].max()) / (end - start),
            "wait": each.wait.mean().fillna(1.0),
            "wait_spread": each.wait.std().fillna(0.0),
            "amount_rank": each["rank"].mean(),
            "amount_spread": each["rank"].std().fillna(0.0),
        }
    )


def distinguish(world: pd.DataFrame, real: pd.DataFrame, seed: int = 0) -> dict[str, float]:
    """Return how well a classifier tells the world's customers from the real ones: 0.5 is not at all.

    A classifier two-sample test (Lopez-Paz and Oquab 2017) on equal numbers of portraits, five folds.

    Returns
    -------
    dict
        `auc`, its standard error `se` (Hanley and McNeil 1982), and `n` customers of each side.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_predict

    left, right = portraits(world), portraits(real)
    n = min(len(left), len(right), 3000)
    both = pd.concat([left.sample(n, random_state=seed), right.sample(n, random_state=seed)])
    y = np.repeat([True, False], n)
    forest = RandomForestClassifier(150, min_samples_leaf=20, random_state=seed, n_jobs=1)
    auc = _auc(cross_val_predict(forest, both, y, cv=5, method="predict_proba")[:, 1], y)
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    error = np.sqrt((auc * (1 - auc) + (n - 1) * (q1 - auc**2 + q2 - auc**2)) / n**2)
    return {"auc": float(auc), "se": float(error), "n": float(n)}


def compare(world: dict[str, float], real: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Return moments side by side with their bands.

    Parameters
    ----------
    world : dict
        The world's moments.
    real : dict of dict
        The real sets' moments; those absent give no row.

    Returns
    -------
    DataFrame
        ``moment, real_set, world, real, ratio, low, high, inside``.
    """
    rows = [
        (name, where, world[name], real[where][name], world[name] / real[where][name], low, high)
        for name, (where, low, high) in BANDS.items()
        if where in real and name in real[where] and name in world
    ]
    frame = pd.DataFrame(rows, columns=["moment", "real_set", "world", "real", "ratio", "low", "high"])
    return frame.assign(inside=frame.ratio.between(frame.low, frame.high))
