"""What each visit wants, and what goes into a cart: focus products, complements, free choices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdpkit.world.catalogue import PER_GROUP, RANK, Catalogue
from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons
from cdpkit.world.plan import Plan
from cdpkit.world.visits import Visits


@dataclass
class Wishes:
    """The product each visit wants, how often it looks at it, and tastes for the rest."""

    shop: Catalogue
    product: np.ndarray
    focus: np.ndarray
    row: np.ndarray
    shares: np.ndarray
    tier: np.ndarray

    def free(self, visit: np.ndarray, luck: Draws) -> np.ndarray:
        """Return a product freely chosen at each draw, by the taste of the visit's unit."""
        row = self.row[visit]
        return self.shop.choose(luck, self.shares[row], self.tier[row], "free")


@dataclass
class Baskets:
    """Products put into a cart: one row a line; `visit` is a row of the visits or of the tickets."""

    visit: np.ndarray
    line: np.ndarray
    product: np.ndarray
    quantity: np.ndarray


def project_product(
    plan: Plan, persons: Persons, shares: np.ndarray, person: np.ndarray, number: np.ndarray
) -> np.ndarray:
    """Return the product a person's project (or whim) number is about."""
    me = Draws(plan.seed, persons.unit[person])
    return plan.shop.choose(me, shares[person], persons.tier[person], "project", number)


def wishes(plan: Plan, persons: Persons, visits: Visits) -> Wishes:
    """Return what every visit wants; strangers have a taste drawn for their unit."""
    strangers, back = np.unique(visits.unit[visits.person < 0], return_inverse=True)
    other = Draws(plan.seed, strangers)
    taste = np.concatenate([persons.taste, np.stack([other.normal("taste", k) for k in range(RANK)], axis=1)])
    tier = np.concatenate([persons.tier, np.clip(1.2 + 0.8 * other.normal("tier"), 0, 3)])
    shares = plan.shop.group_shares(taste)
    row = visits.person.copy()
    row[visits.person < 0] = len(persons) + back
    # Outside a project the wanted product is a whim of the week.
    number = np.where(visits.episode, visits.episode_no, 1_000_000 + visits.day // 7)
    rule = plan.rules.behaviour
    return Wishes(
        shop=plan.shop,
        product=plan.shop.choose(Draws(plan.seed, visits.unit), shares[row], tier[row], "project", number),
        focus=np.where(visits.bot, 0.0, np.where(visits.episode, rule.focus_episode, rule.focus)),
        row=row,
        shares=shares,
        tier=tier,
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
    full = fill(plan, visits.draws.take(acting), wanted.product[acting], wanted.shares[row], wanted.tier[row])
    keep = visits.ordered[acting][full.visit] | (full.line < 2)
    return Baskets(acting[full.visit[keep]], full.line[keep], full.product[keep], full.quantity[keep])
