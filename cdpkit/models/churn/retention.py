"""Whom to make which retention offer: the value it should save, less what it costs, under a budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, vstack

from cdpkit.errors import CdpkitError
from cdpkit.models.frame import FrameError

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Pairs of customer and offer up to which the best list is found exactly.
MOST_EXACT = 20_000


@dataclass(frozen=True)
class RetentionPlan:
    """The offers to make.

    Attributes
    ----------
    offers : DataFrame
        By customer: ``offer, cost, saved`` (expected value kept) and ``net`` (saved less cost); greatest
        net first.
    cost, net : float
        Totals.
    bound : float
        No list under the budget can net more; equal to `net` where the list is exactly the best.
    """

    offers: pd.DataFrame
    cost: float
    net: float
    bound: float


def retention_plan(
    risk: pd.Series,
    value: pd.Series,
    offers: pd.DataFrame,
    budget: float,
    *,
    uplift: pd.DataFrame | None = None,
    exact: bool | None = None,
) -> RetentionPlan:
    """Choose at most one offer a customer, so that the value saved less the cost is greatest.

    An offer saves ``risk × value × saves``: the share of departures it prevents, which only a past test
    knows. With `uplift`, estimated from such a test for each customer, that is taken instead; an offer
    that makes a customer leave is never made.

    Parameters
    ----------
    risk : Series
        Chance to leave, by customer.
    value : Series
        What would be lost, on the same index.
    offers : DataFrame
        ``offer, cost`` (money a contact, whoever accepts) and ``saves`` (share of departures prevented).
    budget : float
        Money, in the unit of the values.
    uplift : DataFrame, optional
        By customer, one column an offer: drop in the chance to leave.
    exact : bool, optional
        Solve exactly (HiGHS); by default up to 20,000 pairs. Beyond, offers are added in order of net value
        by money, which misses the best list by less than one offer; `bound` says by how much at most.

    Returns
    -------
    RetentionPlan

    Raises
    ------
    CdpkitError
        For costs that are not positive, or a negative budget.
    FrameError
        For columns that are absent.

    Notes
    -----
    A multiple-choice knapsack; the order of additions follows Sinha and Zoltners (1979), who solve its
    linear relaxation exactly.

    Examples
    --------
    >>> risk = pd.Series([0.5, 0.1], index=["a", "b"])
    >>> offers = pd.DataFrame({"offer": ["call", "voucher"], "cost": [2.0, 10.0], "saves": [0.1, 0.4]})
    >>> plan = retention_plan(risk, pd.Series([200.0, 200.0], index=["a", "b"]), offers, budget=10.0)
    >>> plan.offers[["offer", "net"]].values.tolist(), plan.net == plan.bound
    ([['voucher', 30.0]], True)
    """
    absent = [n for n in ("offer", "cost", "saves") if n not in offers.columns]
    if absent:
        raise FrameError("offers", [f"column `{n}` must be present; got no such column" for n in absent])
    cost = offers["cost"].to_numpy(dtype=float)
    if not (cost > 0).all() or not budget >= 0:
        raise CdpkitError("costs must be positive and the budget not negative", got=f"{cost.min()}, {budget}")
    stake = (risk * value.reindex(risk.index)).to_numpy(dtype=float)
    saved = np.outer(stake, offers["saves"].to_numpy(dtype=float))
    if uplift is not None:
        drop = uplift.reindex(index=risk.index, columns=list(offers["offer"])).to_numpy(dtype=float)
        saved = np.nan_to_num(drop) * value.reindex(risk.index).to_numpy(dtype=float)[:, None]
    net = np.nan_to_num(saved - cost)
    small = net.size <= MOST_EXACT if exact is None else exact
    pairs, bound = _exact(net, cost, budget) if small else _greedy(net, cost, budget)
    who, which = pairs
    table = pd.DataFrame(
        {
            "offer": offers["offer"].to_numpy()[which],
            "cost": cost[which],
            "saved": saved[who, which],
            "net": net[who, which],
        },
        index=risk.index[who],
    ).sort_values("net", ascending=False, kind="stable")
    return RetentionPlan(table, float(table["cost"].sum()), float(table["net"].sum()), bound)


def _exact(net: Array, cost: Array, budget: float) -> tuple[tuple[Rows, Rows], float]:
    who, which = np.nonzero(net > 0)
    if not len(who):
        return (who, which), 0.0
    gain, price = net[who, which], cost[which]
    persons = np.unique(who, return_inverse=True)[1]
    pair = np.arange(len(who))
    once = csr_array((np.ones(len(who)), (persons, pair)), shape=(persons.max() + 1, len(who)))
    rows = vstack([once, csr_array(price[None, :])])
    limit = np.append(np.ones(persons.max() + 1), budget)
    found = milp(
        -gain, constraints=LinearConstraint(rows, ub=limit), bounds=Bounds(0, 1),
        integrality=np.ones(len(who)), options={"mip_rel_gap": 0.0},
    )  # fmt: skip
    taken = found.x > 0.5
    return (who[taken], which[taken]), float(gain[taken].sum())


def _greedy(net: Array, cost: Array, budget: float) -> tuple[tuple[Rows, Rows], float]:
    """Add steps along each customer's efficient offers, best return first; the next step bounds the gap."""
    steps: list[tuple[float, int, int, float, float]] = []
    for person in np.flatnonzero((net > 0).any(axis=1)).tolist():
        spent, made = 0.0, 0.0
        while True:
            dearer = np.flatnonzero((cost > spent) & (net[person] > made))
            if not len(dearer):
                break
            slope = (net[person, dearer] - made) / (cost[dearer] - spent)
            best = int(dearer[slope.argmax()])
            steps.append(
                (float(slope.max()), person, best, float(cost[best] - spent), float(net[person, best] - made))
            )
            spent, made = float(cost[best]), float(net[person, best])
    steps.sort(key=lambda step: -step[0])
    chosen: dict[int, int] = {}
    left, total, bound, blocked = budget, 0.0, None, set[int]()
    for slope, person, offer, price, gain in steps:
        if person not in blocked and price <= left:
            chosen[person], left, total = offer, left - price, total + gain
        else:
            if bound is None:
                bound = total + slope * left
            # A dearer offer of somebody whose cheaper step was left out is no step from where they are.
            blocked.add(person)
    who = np.array(sorted(chosen), dtype=int)
    which = np.array([chosen[k] for k in who.tolist()], dtype=int)
    return (who, which), float(total if bound is None else bound)
