"""What each visit wants, and what goes into a cart: focus products, complements, free choices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdpkit.world.catalogue import PER_GROUP, RANK, Catalogue
from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons, rungs
from cdpkit.world.plan import Plan
from cdpkit.world.visits import Visits

#: Whims are numbered by the week, beyond the number of any project.
_WHIMS = 1_000_000


@dataclass
class Wishes:
    """The product each visit wants, how often it looks at it, and tastes for the rest."""

    shop: Catalogue
    product: np.ndarray
    focus: np.ndarray
    row: np.ndarray
    shares: np.ndarray
    tier: np.ndarray
    look: np.ndarray

    def free(self, visit: np.ndarray, luck: Draws, near: np.ndarray) -> np.ndarray:
        """Return a product freely looked at in each draw: of any group, or where `near` of the wanted one."""
        group = luck.pick_row(self.shares[self.row[visit]], "free group")
        group = np.where(near, self.shop.group[self.product[visit]], group)
        slot = luck.pick_row(self.shop.product_shares(group, self.look[visit]), "free slot")
        return group * PER_GROUP + slot


@dataclass
class Baskets:
    """Products put into a cart: one row a line; `visit` is a row of the visits or of the tickets."""

    visit: np.ndarray
    line: np.ndarray
    product: np.ndarray
    quantity: np.ndarray


def store_product(
    plan: Plan, persons: Persons, shares: np.ndarray, bought: dict[str, np.ndarray]
) -> np.ndarray:
    """Return the product each store purchase is about: the project's, or a whim of the week."""
    person, day = bought["person"], bought["day"]
    me, tier = Draws(plan.seed, persons.unit[person]), rungs(plan, persons, person, day)
    whim = plan.shop.choose(me, shares[person], tier, "project", _WHIMS + day // 7)
    return np.where(bought["episode"], bought["wanted"], whim)


def wishes(plan: Plan, persons: Persons, visits: Visits) -> Wishes:
    """Return what every visit wants; strangers have a taste drawn for their unit."""
    known = visits.person >= 0
    strangers, back = np.unique(visits.unit[~known], return_inverse=True)
    other, market = Draws(plan.seed, strangers), plan.rules.market
    taste = market.taste * np.stack([other.normal("taste", k) for k in range(RANK)], axis=1)
    taste = np.concatenate([persons.taste, taste])
    tier = np.clip(market.tier + market.tier_spread * other.normal("tier"), 0, 3)[back]
    row, rung = visits.person.copy(), np.empty(len(visits))
    row[~known], rung[~known] = len(persons) + back, tier
    rung[known] = rungs(plan, persons, visits.person[known], visits.day[known])
    look = rung.copy()
    soon = rungs(plan, persons, visits.person[known], visits.day[known], plan.rules.upgrade.window)
    look[known] += plan.rules.upgrade.look * (soon > rung[known])
    shares = plan.shop.group_shares(taste)
    rule = plan.rules.behaviour
    # Outside a project the wanted product is a whim of the week.
    whim = plan.shop.choose(
        Draws(plan.seed, visits.unit), shares[row], rung, "project", _WHIMS + visits.day // 7
    )
    return Wishes(
        shop=plan.shop,
        product=np.where(visits.episode, visits.wanted, whim),
        focus=np.where(visits.bot, 0.0, np.where(visits.episode, rule.focus_episode, rule.focus)),
        row=row,
        shares=shares,
        tier=rung,
        look=look,
    )


def fill(plan: Plan, luck: Draws, wanted: np.ndarray, shares: np.ndarray, tier: np.ndarray) -> Baskets:
    """Return one basket a draw: the wanted product, perhaps its complement, perhaps others."""
    shop, n = plan.shop, len(wanted)
    pair = shop.complement[shop.group[wanted]]
    paired = (pair >= 0) & luck.chance(plan.rules.orders.complement, "complement")
    slot = luck.pick_row(shop.product_shares(np.maximum(pair, 0), tier), "complement slot")
    extra = luck.poisson(0.45, 3, "extra")
    rows = [np.arange(n), np.flatnonzero(paired)]
    lines = [np.zeros(n, np.int64), np.ones(int(paired.sum()), np.int64)]
    products = [wanted, (np.maximum(pair, 0) * PER_GROUP + slot)[paired]]
    for k in range(3):
        more = np.flatnonzero(extra > k)
        rows.append(more)
        lines.append(1 + paired[more] + k)
        products.append(shop.choose(luck.take(more), shares[more], tier[more], "extra product", k))
    row, line = np.concatenate(rows), np.concatenate(lines)
    quantity = 1 + luck.take(row).pick(np.array([0.88, 0.09, 0.03]), "quantity", line)
    return Baskets(row, line, np.concatenate(products), quantity)


def carts(plan: Plan, visits: Visits, wanted: Wishes) -> Baskets:
    """Return what visits put into their carts; a cart left behind holds one or two lines."""
    acting = np.flatnonzero(visits.ordered | visits.adds)
    row = wanted.row[acting]
    full = fill(
        plan, visits.draws.take(acting), wanted.product[acting], wanted.shares[row], wanted.tier[acting]
    )
    keep = visits.ordered[acting][full.visit] | (full.line < 2)
    return Baskets(acting[full.visit[keep]], full.line[keep], full.product[keep], full.quantity[keep])
