"""Where value comes from and where it could: by cohort, by source of acquisition, by lever."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdpkit.models.frame import FrameError

#: What could be moved, and what a marketer does about it.
LEVERS = {
    "frequency": (
        "buys less often than its peers: cross-sell",
        "achète moins souvent que ses pairs : vente croisée",
    ),
    "basket": (
        "spends less an order than its peers: up-sell",
        "dépense moins par commande : montée en gamme",
    ),
    "retention": ("may have left: win back", "est peut-être parti : rétention"),
}


def by_group(values: pd.DataFrame, group: pd.Series) -> pd.DataFrame:
    """Add up values by cohort, source of acquisition, or any other group.

    Parameters
    ----------
    values : DataFrame
        ``historic, predicted, total``, one row a customer, as given by `CustomerLifetimeValue.values`.
    group : Series
        The group of each customer, on the same index; a missing one is a group of its own.

    Returns
    -------
    DataFrame
        ``group, customers, historic, predicted, total`` (sums) and ``value_per_customer``, greatest
        total first. Sums over groups are those over customers.

    Examples
    --------
    >>> values = pd.DataFrame({"historic": [10.0, 5.0], "predicted": [1.0, 2.0], "total": [11.0, 7.0]})
    >>> by_group(values, pd.Series(["search", None]))[["group", "total"]].values.tolist()
    [['search', 11.0], ['(unknown)', 7.0]]
    """
    if not group.index.equals(values.index):
        raise FrameError("groups", ["they must have the index of the values"])
    named = group.astype("str").where(group.notna(), "(unknown)").rename("group")
    by = values[["historic", "predicted", "total"]].groupby(named)
    table = by.sum()
    table.insert(0, "customers", by.size())
    table["value_per_customer"] = table["total"] / table["customers"]
    return table.sort_values(["total"], ascending=False, kind="stable").reset_index()


def cohorts(summary: pd.DataFrame, frequency: str = "Q") -> pd.Series:
    """Return the month (``M``), quarter (``Q``) or year (``Y``) of each customer's first order.

    Examples
    --------
    >>> first = pd.DataFrame({"first": pd.to_datetime(["2026-02-03", "2026-05-01"])}, index=["a", "b"])
    >>> cohorts(first).tolist()
    ['2026Q1', '2026Q2']
    """
    return summary["first"].dt.to_period(frequency).astype("str")


def opportunities(
    values: pd.DataFrame, peers: pd.Series | None = None, *, reach: float = 0.75
) -> pd.DataFrame:
    """List what each customer would be worth if one lever brought them to where their peers are.

    Frequency: orders as often, while a customer, as the `reach` quantile of the peers. Basket: orders as
    large as that quantile. Retention: certain to be a customer still, at the own pace and mean order.

    Parameters
    ----------
    values : DataFrame
        ``predicted, mean_order, p_alive, pace, discount``, as given by `CustomerLifetimeValue.values`.
    peers : Series, optional
        The group of each customer (cohort, segment); everybody by default.
    reach : float
        Quantile of the peers that is aimed at.

    Returns
    -------
    DataFrame
        One row a customer who bought and a lever that has something to bring: ``lever``, ``now, could``
        (orders if a customer, amount of an order, or chance to be one) and ``opportunity`` (predicted value
        gained if the lever alone worked wholly); index of `values`, greatest first. It is a ceiling and a
        hypothesis, not a forecast: only a test tells how much of it a campaign brings.

    Examples
    --------
    >>> values = pd.DataFrame({"predicted": [50.0, 40.0], "pace": [2.0, 2.0], "mean_order": [50.0, 20.0],
    ...                        "p_alive": [0.5, 1.0], "discount": [1.0, 1.0]})
    >>> found = opportunities(values, reach=1.0)
    >>> found[["lever", "opportunity"]].values.tolist()
    [['basket', 60.0], ['retention', 50.0]]
    """
    bought = values[values["p_alive"].notna()]
    group = (
        pd.Series("all", index=bought.index) if peers is None else peers.reindex(bought.index).astype("str")
    )
    lasting = (1 - bought["p_alive"]) * bought["pace"] * bought["mean_order"] * bought["discount"]
    now = {"frequency": bought["pace"], "basket": bought["mean_order"], "retention": bought["p_alive"]}
    frames = []
    for lever, today in now.items():
        if lever == "retention":
            could, gain = pd.Series(1.0, index=today.index), lasting
        else:
            could = today.groupby(group).transform(lambda v: v.quantile(reach))
            gain = bought["predicted"] * (could / today.where(today > 0) - 1)
        frames.append(pd.DataFrame({"lever": lever, "now": today, "could": could, "opportunity": gain}))
    table = pd.concat(frames)
    table = table[np.isfinite(table["opportunity"]) & (table["opportunity"] > 1e-9)]
    return table.sort_values(["opportunity"], ascending=False, kind="stable")
