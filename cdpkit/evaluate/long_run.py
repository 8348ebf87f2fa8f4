"""What a campaign changes in the long run: value and repeat purchases against a control."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from cdpkit.errors import FaultsError, NotEnoughDataError

Array = NDArray[np.float64]

#: Two-sided risk, over the arms of a campaign together.
RISK = 0.05


def long_run(
    assigned: pd.DataFrame,
    orders: pd.DataFrame,
    as_of: pd.Timestamp,
    *,
    horizons: Sequence[int] = (14, 180),
    control: str = "control",
    yearly_discount: float = 0.1,
    min_people: int = 100,
) -> pd.DataFrame:
    """Return what each arm of a campaign adds a person, against the control, over short and long horizons.

    Everybody assigned counts, whether reached or not. Only people seen for the longest horizon are compared,
    so that both horizons are about the same people.

    Parameters
    ----------
    assigned : DataFrame
        ``person_id, arm, at``: who was put in which arm at random, and when.
    orders : DataFrame
        ``person_id, ts, value``; the day of the assignment is in.
    as_of : Timestamp
        Date of the knowledge: nothing later is read.
    horizons : sequence of int
        Days, the shortest and the longest among them; two at least.
    control : str
        Name of the arm left alone.
    yearly_discount : float
        Rate at which later value is worth less.
    min_people : int
        People of an arm under which nothing is said.

    Returns
    -------
    DataFrame
        A row an arm, horizon and measure (`value`, `orders`, `repeat`: the share with two orders or more):
        ``arm, days, measure, people, control`` (its mean), ``effect, low, high`` (95 %, all arms together),
        ``found`` and ``verdict`` (of the arm): `lasting gain`, `borrowed` (a gain of sales at first, a loss
        of value in the end), `slow gain` (nothing at first), `passing` (a gain at first, none shown in
        the end), `loss` or `not shown`.

    Raises
    ------
    FaultsError
        With every fault of the arguments.
    NotEnoughDataError
        Where the control or every arm has under `min_people` people seen long enough.

    Notes
    -----
    Differences of means with unequal variances, the risk divided by the number of arms (Bonferroni). Value is
    what was seen within the horizon: nothing is extrapolated.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> at = pd.Timestamp("2026-01-01")
    >>> assigned = pd.DataFrame({"person_id": range(2000), "arm": ["control", "gift"] * 1000, "at": at})
    >>> orders = pd.DataFrame({"person_id": rng.integers(0, 2000, 3000), "value": 20.0})
    >>> orders["ts"] = at + pd.to_timedelta(rng.integers(0, 200, 3000), "D")
    >>> told = long_run(assigned, orders, pd.Timestamp("2026-08-01"))
    >>> told["verdict"].unique().tolist()
    ['not shown']
    """
    ends = sorted({int(days) for days in horizons})
    _check(assigned, orders, ends, control)
    long = pd.Timedelta(days=ends[-1])
    people = assigned[assigned["at"] + long <= as_of].reset_index(drop=True)
    sizes = people["arm"].value_counts()
    arms = [a for a in sorted(sizes.index.astype("str")) if a != control and sizes[a] >= min_people]
    if not arms or sizes.get(control, 0) < min_people:
        raise NotEnoughDataError(
            f"{min_people} people of an arm and of the control must be seen for {ends[-1]} days",
            got=", ".join(f"{arm}: {n}" for arm, n in sizes.items()) or "nobody",
        )
    bought = people[["person_id", "at"]].merge(orders[orders["ts"] < as_of], on="person_id")
    age = (bought["ts"] - bought["at"]).dt.total_seconds().to_numpy(dtype=float) / 86_400
    discounted = bought["value"] / (1 + yearly_discount) ** (np.maximum(age, 0) / 365)
    bought = bought.assign(age=age, worth=discounted)
    bought = bought[(age >= 0) & (age < ends[-1])]
    sure = float(norm.ppf(1 - RISK / 2 / len(arms)))
    rows: list[dict[str, object]] = []
    for days in ends:
        part = bought[bought["age"] < days]
        place = pd.Index(people["person_id"]).get_indexer(part["person_id"])
        count = np.bincount(place, minlength=len(people)).astype(float)
        worth = np.bincount(place, part["worth"].to_numpy(dtype=float), len(people))
        measures = {"value": worth, "orders": count, "repeat": (count >= 2).astype(float)}
        for arm in arms:
            on, off = (people["arm"] == arm).to_numpy(), (people["arm"] == control).to_numpy()
            of: dict[str, object] = {"arm": arm, "days": days, "people": int(on.sum())}
            rows += [of | {"measure": m} | _gap(y[on], y[off], sure) for m, y in measures.items()]
    told = pd.DataFrame(rows)
    verdicts = {arm: _verdict(told[told["arm"] == arm], ends[0], ends[-1]) for arm in arms}
    return told.assign(verdict=told["arm"].map(verdicts))


def _check(assigned: pd.DataFrame, orders: pd.DataFrame, ends: list[int], control: str) -> None:
    faults = []
    for name, frame, columns in (
        ("assigned", assigned, ("person_id", "arm", "at")),
        ("orders", orders, ("person_id", "ts", "value")),
    ):
        if not isinstance(frame, pd.DataFrame) or not {*columns} <= {*frame}:
            faults.append(f"`{name}` must be a DataFrame with {', '.join(columns)}")
    if not faults and assigned["person_id"].duplicated().any():
        faults.append("`assigned` must put a person in one arm")
    if len(ends) < 2 or ends[0] < 1:
        faults.append("`horizons` must hold two numbers of days at least")
    if not faults and control not in set(assigned["arm"]):
        faults.append(f"an arm must be the control, {control!r}")
    if faults:
        raise FaultsError("long_run", faults)


def _gap(on: Array, off: Array, sure: float) -> dict[str, float | bool]:
    effect = float(on.mean() - off.mean())
    se = float(np.sqrt(on.var(ddof=1) / len(on) + off.var(ddof=1) / len(off)))
    low, high = effect - sure * se, effect + sure * se
    found = low > 0 or high < 0
    return {"control": float(off.mean()), "effect": effect, "low": low, "high": high, "found": found}


def _verdict(rows: pd.DataFrame, short: int, long: int) -> str:
    """Say what the first days promise and the long run keeps."""
    of = rows[rows["measure"] == "value"].set_index("days")
    shown = of["effect"].where(of["found"], 0.0).astype(float)
    first, last = float(shown[short]), float(shown[long])
    if last > 0:
        return "lasting gain" if first > 0 else "slow gain"
    if last < 0:
        return "borrowed" if first > 0 else "loss"
    return "passing" if first > 0 else "not shown"
