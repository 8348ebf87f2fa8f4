"""A person's orders as three numbers and a mean: how many more, how late the last, how long known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cdpkit.models.frame import FrameError

DAY = pd.Timedelta(days=1)


def order_days(orders: pd.DataFrame, before: Any = None) -> pd.DataFrame:
    """Return one row a person and day with an order: a basket sent in two parcels is one purchase.

    Parameters
    ----------
    orders : DataFrame
        ``person_id, ts`` (or ``event_time``) and ``amount`` (or ``amount_minor``), a row an order.
    before : timestamp, optional
        Keep what happened strictly before.

    Returns
    -------
    DataFrame
        ``person_id, day, amount``, by person and day; an amount that is missing counts as zero.

    Raises
    ------
    FrameError
        When a column is absent, a time is not one, or an amount is not finite.

    Examples
    --------
    >>> ts = pd.to_datetime(["2026-01-02 09:00", "2026-01-02 18:00", "2026-02-01 00:00"])
    >>> order_days(pd.DataFrame({"person_id": "a", "ts": ts, "amount": [10, 5, 8]})).amount.tolist()
    [15.0, 8.0]
    """
    names = {"event_time": "ts", "amount_minor": "amount"}
    given = orders.rename(columns={old: new for old, new in names.items() if new not in orders.columns})
    faults = [
        f"column `{name}` must be present; got no such column"
        for name in ("person_id", "ts", "amount")
        if name not in given.columns
    ]
    if not faults:
        if not pd.api.types.is_datetime64_any_dtype(given["ts"]):
            faults.append(f"column `ts` must hold times; got {given['ts'].dtype}")
        elif given["ts"].isna().any():
            faults.append(f"column `ts` must have no gap; got {int(given['ts'].isna().sum())}")
        if not pd.api.types.is_numeric_dtype(given["amount"]):
            faults.append(f"column `amount` must hold numbers; got {given['amount'].dtype}")
        elif np.isinf(given["amount"].to_numpy(dtype=float, na_value=np.nan)).any():
            faults.append("column `amount` must be finite; got infinities")
    if faults:
        raise FrameError("the frame of orders", faults)
    if before is not None:
        given = given[given["ts"] < pd.Timestamp(before)]
    days = pd.DataFrame(
        {
            "person_id": given["person_id"],
            "day": given["ts"].dt.floor("D"),
            "amount": given["amount"].astype(float).fillna(0.0),
        }
    )
    return days.groupby(["person_id", "day"], sort=True)["amount"].sum().reset_index()


def summary(orders: pd.DataFrame, observed_until: Any) -> pd.DataFrame:
    """Summarise each person's orders for a model of repeat purchases.

    Parameters
    ----------
    orders : DataFrame
        ``person_id, ts, amount``, a row an order; orders of one day are one purchase.
    observed_until : timestamp
        End of the period, not included.

    Returns
    -------
    DataFrame
        By ``person_id``: ``frequency`` (repeat purchases), ``recency`` (days from the first to the last),
        ``T`` (days from the first to the end), ``monetary`` (mean amount of *all* purchases), ``first``
        and ``last`` (days). Only persons with a purchase before the end.

    Notes
    -----
    The names are those of Fader, Hardie and Lee (2005), *"Counting your customers" the easy way*: their
    ``recency`` is the age at the last purchase, not the days since. Giving the Gamma-Gamma model the
    mean over all purchases, and not over the repeat ones only, lets it tell one-time buyers apart.

    Examples
    --------
    >>> ts = pd.to_datetime(["2026-01-01", "2026-01-11", "2026-01-21"])
    >>> orders = pd.DataFrame({"person_id": "a", "ts": ts, "amount": [10, 20, 30]})
    >>> summary(orders, "2026-01-31").iloc[0, :4].tolist()
    [2.0, 20.0, 30.0, 20.0]
    """
    end = pd.Timestamp(observed_until)
    days = order_days(orders, end)
    by = days.groupby("person_id")
    first, last = by["day"].min(), by["day"].max()
    return pd.DataFrame(
        {
            "frequency": by.size() - 1,
            "recency": (last - first).dt.total_seconds() / DAY.total_seconds(),
            "T": (end - first).dt.total_seconds() / DAY.total_seconds(),
            "monetary": by["amount"].mean(),
            "first": first,
            "last": last,
        }
    )
