"""The best list of products a person can be shown, given what was seen of the person's tastes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdpkit.world.catalogue import RANK
from cdpkit.world.plan import DAY

if TYPE_CHECKING:
    from cdpkit.world.plan import Plan
    from cdpkit.world.world import World

#: Places of the list that is valued, and tastes drawn to stand for all there are.
LENGTH = 10
PARTICLES = 4000

_SECOND = 1_000_000


def discounts(length: int = LENGTH) -> np.ndarray:
    """Return what each place of a list is worth: a DCG with one product wanted is an NDCG.

    Examples
    --------
    >>> discounts(3).round(2).tolist()
    [1.0, 0.63, 0.5]
    """
    return 1 / np.log2(np.arange(2, length + 2))


def seen(world: World, as_of: str | np.datetime64) -> pd.DataFrame:
    """Return the products persons looked at or bought before a date, without a mistake of identity.

    Returns
    -------
    DataFrame
        ``person, product_id, ts, kind`` (``view`` or ``purchase``): what a recommender may learn from. Only
        store purchases with a card are in.
    """
    raw, truth = world.raw, world.truth
    people = truth["persons"].query("kind == 'person'")["person"]
    events = raw["web_events"]
    views = events[events["event_type"] == "Product Viewed"].drop_duplicates("event_id")
    views = views.merge(truth["events"], on="event_id")[["person", "product_id", "ts"]]
    orders = truth["orders"].rename(columns={"ordered_at": "ts"})[["order_id", "person", "ts"]]
    lines = raw["shop_order_lines"].rename(columns={"ordered_at": "ts"})[["order_id", "product_id"]]
    tickets = raw["store_tickets"].dropna(subset="loyalty_id").rename(columns={"ticket_id": "order_id"})
    bought = pd.concat([lines, tickets[["order_id", "product_id"]]])
    bought = bought.merge(orders, on="order_id")
    views = views.assign(ts=pd.to_datetime(views["ts"], format="mixed").astype("datetime64[us]"))
    table = pd.concat(
        [views.assign(kind="view"), bought[["person", "product_id", "ts"]].assign(kind="purchase")]
    )
    table = table[(table["ts"] < pd.Timestamp(str(as_of)[:10])) & table["person"].isin(people)]
    return table.astype({"product_id": "str"}).reset_index(drop=True)


def _draw(plan: Plan, particles: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tastes and rungs as the world draws them for its persons."""
    market, luck = plan.rules.market, np.random.default_rng(plan.seed + 17)
    taste = market.taste * luck.normal(size=(particles, RANK))
    tier = np.clip(market.tier + market.tier_spread * luck.normal(size=particles), 0, 3)
    return taste, tier


def recommendation(world: World, day: int, *, particles: int = PARTICLES) -> pd.DataFrame:
    """Return each person's best list and the oracle's, valued by the true chances of the next free choice.

    The tastes behind what was seen are integrated by importance: many tastes are drawn as the world draws
    them, each weighs as much as it explains the distinct products seen, and the chances are averaged. It
    takes distinct products as independent choices, which projects and complements make a little untrue.

    Returns
    -------
    DataFrame
        As `best` of a decision: ``best, best_se, oracle, oracle_se, best_choice, oracle_choice`` (the first
        product of each list) and ``option <product>``, the true chance that the next free choice is it; a
        list is worth the sum of the chances of its products times `discounts`.
    """
    plan, shop = world.plan, world.plan.shop
    date = np.datetime64((plan.first + day * DAY) // _SECOND, "s")
    known = seen(world, date)
    persons = world.truth["persons"].query("kind == 'person'").sort_values("person")
    here = persons["person"].isin(known["person"]).to_numpy()
    persons = persons[here]
    row = pd.Index(persons["person"]).get_indexer(pd.Index(known["person"]))
    column = pd.Index(shop.ids).get_indexer(pd.Index(known["product_id"]))
    held = np.zeros((len(persons), len(shop.ids)), dtype=np.float32)
    held[row, column] = 1.0
    own_taste = persons[[f"taste_{k}" for k in range(RANK)]].to_numpy()
    true = shop.affinity(own_taste, persons["preferred_tier"].to_numpy())
    halves = []
    for part in np.array_split(np.arange(particles), 2):
        taste, tier = (values[part] for values in _draw(plan, particles))
        chance = shop.affinity(taste, tier)
        log = held @ np.log(np.maximum(chance, 1e-300)).T.astype(np.float32)
        weight = np.exp(log - log.max(axis=1, keepdims=True))
        halves.append((weight / weight.sum(axis=1, keepdims=True)) @ chance)
    found = (halves[0] + halves[1]) / 2
    value = [_worth(true, guess) for guess in (found, halves[0], halves[1], true)]
    names = np.array(shop.ids)
    frame = pd.DataFrame(
        {
            "person": persons["person"].to_numpy(),
            "best": value[0],
            "best_se": np.abs(value[1] - value[2]) / 2,
            "oracle": value[3],
            "oracle_se": 0.0,
            "best_choice": names[found.argmax(axis=1)],
            "oracle_choice": names[true.argmax(axis=1)],
        }
    )
    options = pd.DataFrame(true, columns=[f"option {name}" for name in shop.ids])
    return pd.concat([frame, options], axis=1)


def _worth(true: np.ndarray, guess: np.ndarray) -> np.ndarray:
    ranked = np.argsort(-guess, axis=1, kind="stable")[:, :LENGTH]
    return np.take_along_axis(true, ranked, 1) @ discounts()
