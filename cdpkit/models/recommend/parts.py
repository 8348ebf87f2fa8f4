"""The parts of a recommendation: recent popularity, what goes with a history, and the history itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from cdpkit.models.recommend.interactions import Interactions

Array = NDArray[np.float64]

#: Ridge of EASE, and the neighbours and shrinkage of the item-kNN that stands in for large catalogues.
RIDGE = 100.0
NEIGHBOURS, SHRINK = 100, 20.0

#: Days in which each product's purchase counts half as much, for what goes with a history.
HALF_LIFE = 90.0

PARTS = ("similar", "popular", "rule", "own")


def similarity(history: csr_matrix, ease_up_to: int) -> NDArray[np.float32] | csr_matrix:
    """Return how much each product of a history speaks for each other product.

    EASE (Steck, 2019): the ridge regression of each product on all others, in closed form. Above
    `ease_up_to` products, whose square would not fit, the cosine of the nearest products instead.

    Examples
    --------
    >>> bought = csr_matrix(np.repeat([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 50, axis=0))
    >>> weight = similarity(bought, 10)
    >>> bool(weight[0, 1] > 0.3 > abs(weight[0, 2]))
    True
    """
    if history.shape[1] <= ease_up_to:
        gram = (history.T @ history).toarray()
        gram[np.diag_indices(len(gram))] += RIDGE
        inverse = np.linalg.inv(gram)
        weight = inverse / -np.diag(inverse)
        np.fill_diagonal(weight, 0.0)
        return weight.astype(np.float32)
    length = np.sqrt(np.asarray(history.multiply(history).sum(axis=0)).ravel())
    together = (history.T @ history).tocsr()
    together.setdiag(0)
    together.eliminate_zeros()
    row = np.repeat(np.arange(together.shape[0]), np.diff(together.indptr))
    together.data = together.data / (length[row] * length[together.indices] + SHRINK)
    for product in range(together.shape[0]):
        values = together.data[together.indptr[product] : together.indptr[product + 1]]
        if len(values) > NEIGHBOURS:
            values[values < np.partition(values, -NEIGHBOURS)[-NEIGHBOURS]] = 0.0
    together.eliminate_zeros()
    return together.T.tocsr()


def rule_matrix(rules: pd.DataFrame, products: pd.Index) -> csr_matrix:
    """Return products × products: the share a rule adds to its consequent (confidence less own share)."""
    left, right = (products.get_indexer(pd.Index(rules[side])) for side in ("antecedent", "consequent"))
    gain = rules["confidence"].to_numpy() * (1 - 1 / rules["lift"].to_numpy())
    keep = (left >= 0) & (right >= 0)
    return csr_matrix((gain[keep], (left[keep], right[keep])), shape=(len(products), len(products)))


def standardised(score: Array) -> Array:
    """Return each person's scores less their mean, over their spread, so that parts can be added."""
    centre, spread = score.mean(axis=1, keepdims=True), score.std(axis=1, keepdims=True)
    return (score - centre) / np.where(spread > 1e-12, spread, 1.0)


@dataclass
class Parts:
    """What was learned from interactions up to a moment.

    Parameters
    ----------
    products : Index
    now : datetime64
        The moment: ages count from it.
    popular : ndarray
        Buyers of each product in the last `popular_days`.
    popular_days : int
    weight : ndarray or csr_matrix
        See `similarity`.
    rules : DataFrame
        See `association_rules`.
    half_life : float
        Days, of a person's own history.
    """

    products: pd.Index
    now: np.datetime64
    popular: Array
    popular_days: int
    weight: Any
    rules: pd.DataFrame
    half_life: float = 90.0
    _rules: csr_matrix = field(init=False)

    def __post_init__(self) -> None:
        self._rules = rule_matrix(self.rules, self.products)

    @classmethod
    def learn(
        cls,
        seen: Interactions,
        now: np.datetime64,
        rules: pd.DataFrame,
        *,
        popular_days: int,
        ease_up_to: int,
    ) -> Parts:
        """Learn from interactions before `now`."""
        late = seen.rows(seen.age(now) <= popular_days).matrix()
        popular = np.asarray(late.sum(axis=0)).ravel()
        return cls(
            seen.products, now, popular, popular_days, similarity(liking(seen, now), ease_up_to), rules
        )

    def scores(self, seen: Interactions, persons: NDArray[np.int64]) -> dict[str, Array]:
        """Return each part's standardised scores: persons × products."""
        mine = liking(seen, self.now)[persons]
        flat = np.tile(self.popular, (len(persons), 1))
        similar = mine @ self.weight
        found = {
            "similar": similar.toarray() if hasattr(similar, "toarray") else np.asarray(similar),
            "popular": flat,
            "rule": (mine @ self._rules).toarray(),
            "own": self.own(seen)[persons].toarray(),
        }
        return {name: standardised(score) for name, score in found.items()}

    def own(self, seen: Interactions) -> csr_matrix:
        """Return each person's own purchases, a basket each, decayed."""
        once = seen.once_a_basket()
        return once.matrix(0.5 ** (once.age(self.now) / self.half_life))


def liking(seen: Interactions, now: np.datetime64) -> csr_matrix:
    """Return persons × products: purchases decayed with age, at most 1 a product."""
    once = seen.once_a_basket()
    table = once.matrix(0.5 ** (once.age(now) / HALF_LIFE))
    table.data = np.minimum(table.data, 1.0)
    return table
