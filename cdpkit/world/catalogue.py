"""The shop's catalogue: groups with latent vectors, a ladder of tiers, prices that change at dates."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from cdpkit.world.draws import Draws

#: Rank of the latent taste vectors.
RANK = 4

#: Products of one group; two for each of the middle tiers, one at each end.
PER_GROUP = 6
_TIER_OF_SLOT = np.array([0, 1, 1, 2, 2, 3])
_TIER_PRICE = np.array([0.55, 1.0, 1.7, 2.9])


@cache
def words() -> dict:
    """Return the vocabulary of `words.toml`."""
    return tomllib.loads(files("cdpkit.world").joinpath("words.toml").read_text(encoding="utf-8"))


@cache
def vocabulary(sector: str) -> dict:
    """Return the words of a sector: those of the retailer, and what `sectors.toml` puts in their place."""
    text = files("cdpkit.world").joinpath("sectors.toml").read_text(encoding="utf-8")
    return words() | tomllib.loads(text).get(sector, {})


def _outs(of_product: Draws, days: int, rate: float, mean: float) -> np.ndarray:
    """Return the days each product is out of stock: spells that begin at random."""
    n = len(of_product.base)
    outs = np.zeros((n, days), bool)
    count = of_product.poisson(rate * days / 365.25, 12, "stock-outs")
    for k in range(int(count.max(initial=0))):
        begins = (of_product.uniform("out day", k) * days).astype(np.int64)
        lasts = 1 + of_product.exponential(mean, "out days", k).astype(np.int64)
        for product in np.flatnonzero(count > k).tolist():
            outs[product, begins[product] : begins[product] + lasts[product]] = True
    return outs


@dataclass(frozen=True)
class Catalogue:
    """Products and what makes persons want them.

    Attributes
    ----------
    group, tier, brand : array of int
        Of each product.
    category_of : array of int
        Of each group.
    vectors : array (groups, RANK)
        Latent vectors; a person's taste for a group is ``popularity + vectors @ taste``.
    change_days, prices : arrays (products, 3) and (products, 4)
        Days at which the price changes, and the price before, between and after, in minor units.
    complement : array of int
        Group bought together with each group, or -1.
    quality : array of float
        What reviews say of each product beyond the buyer's luck.
    outs : array of bool (products, days)
        Whether each product is out of stock.
    """

    categories: list[str]
    groups: list[str]
    names: list[str]
    ids: list[str]
    group: np.ndarray
    tier: np.ndarray
    brand: np.ndarray
    category_of: np.ndarray
    vectors: np.ndarray
    popularity: np.ndarray
    product_weight: np.ndarray
    change_days: np.ndarray
    prices: np.ndarray
    complement: np.ndarray
    quality: np.ndarray
    outs: np.ndarray

    def out(self, product: np.ndarray, day: np.ndarray | int) -> np.ndarray:
        """Tell whether products are out of stock on days; nothing is, after the end or before the start."""
        at = np.asarray(day)
        inside = (at >= 0) & (at < self.outs.shape[1])
        return self.outs[product, np.clip(at, 0, self.outs.shape[1] - 1)] & inside

    def price(self, product: np.ndarray, day: np.ndarray) -> np.ndarray:
        """Return the price of products at days, in minor units."""
        rung = (self.change_days[product] <= np.asarray(day)[:, None]).sum(axis=1)
        return self.prices[product, rung]

    def group_shares(self, taste: np.ndarray) -> np.ndarray:
        """Return the cumulative share of each group for each row of `taste`."""
        logits = np.broadcast_to(self.popularity, (len(taste), len(self.popularity))).copy()
        for k in range(RANK):
            logits += taste[:, k, None] * self.vectors[None, :, k]
        weight = np.exp(logits)
        return np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)

    def product_shares(self, group: np.ndarray, tier: np.ndarray) -> np.ndarray:
        """Return the cumulative share of a group's products for a preferred tier."""
        distance = _TIER_OF_SLOT[None, :] - tier[:, None]
        weight = self.product_weight[group] * np.exp(-0.8 * distance**2)
        return np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)

    def affinity(self, taste: np.ndarray, tier: np.ndarray) -> np.ndarray:
        """Return the probability that a person's next free choice is each product: (persons, products)."""
        groups = np.diff(self.group_shares(taste), axis=1, prepend=0.0)
        within = [
            np.diff(self.product_shares(np.full(len(tier), g), tier), axis=1, prepend=0.0)
            for g in range(len(self.groups))
        ]
        return (groups[:, :, None] * np.stack(within, axis=1)).reshape(len(taste), -1)

    def choose(
        self, draws: Draws, shares: np.ndarray, tier: np.ndarray, stream: str, *counters: int | np.ndarray
    ) -> np.ndarray:
        """Return one product a unit, from rows of cumulative group shares and preferred tiers."""
        group = draws.pick_row(shares, stream + " group", *counters)
        slot = draws.pick_row(self.product_shares(group, tier), stream + " slot", *counters)
        return group * PER_GROUP + slot


def build(
    seed: int, days: int, sector: str = "retail", *, out_rate: float = 0.0, out_days: float = 10.0
) -> Catalogue:
    """Return the catalogue of a seed, with price changes and stock-outs over `days` days.

    Parameters
    ----------
    seed, days
        The world's.
    sector : str
        Vocabulary: categories, prices, complements, brands and adjectives.
    out_rate, out_days : float
        Stock-outs a product and year, and their mean length.

    Examples
    --------
    >>> shop = build(0, 365)
    >>> len(shop.ids) == len(shop.groups) * PER_GROUP
    True
    """
    text = vocabulary(sector)
    categories = list(text["categories"])
    groups = [name for names in text["categories"].values() for name in names]
    base = np.array([price for prices in text["prices"].values() for price in prices], dtype=float)
    n_groups, n = len(groups), len(groups) * PER_GROUP
    of_group, of_product = Draws(seed, np.arange(n_groups)), Draws(seed, np.arange(n))
    group = np.repeat(np.arange(n_groups), PER_GROUP)
    tier = np.tile(_TIER_OF_SLOT, n_groups)
    category_of = np.repeat(np.arange(len(categories)), [len(v) for v in text["categories"].values()])
    of_category = Draws(seed, np.arange(len(categories)))
    vectors = np.stack(
        [
            0.8 * of_category.normal("category vector", k)[category_of] + 0.6 * of_group.normal("vector", k)
            for k in range(RANK)
        ],
        axis=1,
    )
    list_price = base[group] * _TIER_PRICE[tier] * np.exp(0.12 * of_product.normal("price"))
    list_price = np.maximum(100, (list_price // 100) * 100 - 10).astype(np.int64)
    prices, changes = [list_price], []
    for k in range(3):
        happens = of_product.chance(0.35, "price change", k)
        day = (of_product.uniform("price day", k) * days).astype(np.int64)
        changes.append(np.where(happens, day, 10**6))
        ratio = 1 + 0.22 * (of_product.uniform("price ratio", k) - 0.5)
        prices.append(np.maximum(100, (list_price * ratio).astype(np.int64) // 100 * 100 - 10))
    places = {name: place for place, name in enumerate(groups)}
    complement = np.full(n_groups, -1)
    for left, right in text["complements"].items():
        complement[places[left]] = places[right]
    adjective = of_product.pick(np.ones(len(text["adjectives"])), "name")
    brand = of_product.pick(np.ones(len(text["brands"])), "brand")
    names = [
        f"{groups[g].capitalize()} {text['adjectives'][a]} {text['brands'][b]}"
        for g, a, b in zip(group, adjective, brand, strict=True)
    ]
    return Catalogue(
        categories=categories,
        groups=groups,
        names=names,
        ids=[f"P{place:05d}" for place in range(n)],
        group=group,
        tier=tier,
        brand=brand,
        category_of=category_of,
        vectors=vectors,
        popularity=0.5 * of_group.normal("popularity"),
        product_weight=np.exp(0.5 * of_product.normal("popularity")).reshape(n_groups, PER_GROUP),
        change_days=np.sort(np.stack(changes, axis=1), axis=1),
        prices=np.stack(prices, axis=1),
        complement=complement,
        quality=of_product.normal("quality"),
        outs=_outs(of_product, days, out_rate, out_days),
    )
