"""What each channel truly brought, and what an analyst may see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdpkit.world import ads
from cdpkit.world.plan import DAY

if TYPE_CHECKING:
    from cdpkit.world.world import World

_DAY = np.timedelta64(DAY, "us")


def attribution(world: World, day: int, horizon: int) -> pd.DataFrame:
    """Return the orders of a period that each channel brought: those not placed without it, all else equal.

    Returns
    -------
    DataFrame
        ``channel, best, best_se, oracle, oracle_se``: the truth on both sides, since the distance of a
        credit to the truth is its measure. ``(baseline)`` holds the orders that no ad brought.
    """
    start = np.datetime64(world.plan.first + day * DAY, "us")
    made = world.truth["credits"]
    made = made[(made["bought_on"] >= start) & (made["bought_on"] < start + horizon * _DAY)]
    brought = np.array([made[f"credit_{channel}"].sum() for channel in ads.CHANNELS])
    rows = [*zip(ads.CHANNELS, brought, strict=True), ("(baseline)", len(made) - brought.sum())]
    frame = pd.DataFrame(rows, columns=["channel", "best"])
    return frame.assign(best_se=0.0, oracle=frame["best"], oracle_se=0.0)


def observed(
    world: World, start: str, end: str, *, keep: float = 0.1, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return touches, orders and moments of persons, without a mistake of identity.

    Parameters
    ----------
    world : World
    start, end : str
        First day, and first day after the last.
    keep : float
        Share of the moments without an order that are kept, with the weight of those left out.
    seed : int
        Of that sample.

    Returns
    -------
    touches : DataFrame
        ``person_id, ts, channel, kind``.
    orders : DataFrame
        ``person_id, ts, value, place`` (site or store): those that show whose they are.
    moments : DataFrame
        ``person_id, ts, weight`` and what visits before the midnight say of intent: how recent, how many,
        carts left, and how recent the last order.
    """
    raw, truth = world.raw, world.truth
    touches = raw["ad_touches"].merge(truth["touches"][["touch_id", "person"]], on="touch_id")
    touches = pd.DataFrame(
        {
            "person_id": touches["person"],
            "ts": pd.to_datetime(touches["shown_at"]).dt.tz_localize(None).astype("datetime64[us]"),
            "channel": touches["channel"].astype("str"),
            "kind": touches["kind"].astype("str"),
        }
    )
    orders = truth["orders"][truth["orders"]["attributable"]]
    orders = orders.rename(columns={"person": "person_id", "ordered_at": "ts", "amount_minor": "value"})
    orders = orders.assign(place=orders["channel"].astype("str"))[["person_id", "ts", "value", "place"]]
    first, last = np.datetime64(start, "us"), np.datetime64(end, "us")
    days = int((last - first) / _DAY)
    people = truth["persons"].query("kind == 'person'")
    n, place = len(people), pd.Index(people["person"])
    visits = truth["sessions"]
    visits = visits[visits["person"].isin(place)]
    grid = _Grid(place, first, days)
    covariates = _looks(world, grid)
    covariates |= grid.recency("visit", visits["person"], visits["started_at"], (2.0, 5.0, 15.0, 45.0))
    carts = visits[visits["adds"] & ~visits["ordered"]]
    covariates |= grid.recency("cart", carts["person"], carts["started_at"], (5.0, 15.0))
    covariates |= grid.recency("order", orders["person_id"], orders["ts"], (15.0, 90.0))
    bought = np.zeros((n, days), dtype=bool)
    on = ((orders["ts"].to_numpy() - first) // _DAY).astype(int)
    inside = (on >= 0) & (on < days)
    bought[place.get_indexer(orders["person_id"])[inside], on[inside]] = True
    luck = np.random.default_rng(seed)
    # Who is not there yet is neither reached nor buys: a moment counts from the day after the first visit.
    there = visits.groupby("person")["started_at"].min().reindex(place).to_numpy().astype("datetime64[us]")
    known = there[:, None] < first + np.arange(days) * _DAY
    row, day = np.nonzero((bought | (luck.random((n, days)) < keep)) & known)
    moments = pd.DataFrame(
        {
            "person_id": place[row],
            "ts": first + day * _DAY,
            "weight": np.where(bought[row, day], 1.0, 1.0 / keep),
            **{name: table[row, day] for name, table in covariates.items()},
        }
    )
    return touches, orders, moments


def _looks(world: World, grid: _Grid) -> dict[str, np.ndarray]:
    """Return how much persons looked at products lately, and came back to one they had seen."""
    events = world.raw["web_events"]
    views = events[events["event_type"] == "Product Viewed"].drop_duplicates("event_id")
    views = views.merge(world.truth["events"], on="event_id")
    at = pd.to_datetime(views["ts"], format="mixed").astype("datetime64[us]")
    views = views.assign(at=at).sort_values("at", kind="stable")
    again = views[views.duplicated(["person", "product_id"])]
    return grid.recency("view", views["person"], views["at"], (2.0, 10.0)) | grid.recency(
        "seen again", again["person"], again["at"], (3.0, 15.0)
    )


class _Grid:
    """Decayed counts of dated facts at each midnight of a period, person by person."""

    def __init__(self, persons: pd.Index, first: np.datetime64, days: int) -> None:
        self.persons, self.first, self.days = persons, first, days

    def recency(
        self, name: str, person: pd.Series, at: pd.Series, decays: tuple[float, ...]
    ) -> dict[str, np.ndarray]:
        """Return, for each decay, log(1 + decayed count) of the facts before each midnight."""
        row = self.persons.get_indexer(pd.Index(person))
        day = ((at.to_numpy().astype("datetime64[us]") - self.first) // _DAY).astype(int)
        keep = (row >= 0) & (day < self.days)
        row, day = row[keep], day[keep]
        out = {}
        for decay in decays:
            table = np.zeros((len(self.persons), self.days))
            early = day < 0
            stock = np.bincount(row[early], np.exp((day[early] + 1) / decay), len(self.persons))
            count = np.zeros((len(self.persons), self.days))
            np.add.at(count, (row[~early], day[~early]), 1.0)
            for k in range(self.days):
                table[:, k] = stock
                stock = (stock + count[:, k]) * np.exp(-1 / decay)
            out[f"{name} {decay:g}"] = np.log1p(table)
        return out
