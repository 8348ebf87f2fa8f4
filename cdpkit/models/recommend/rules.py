"""Association rules of baskets: who buys this also buys that, what is new and what is lost."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, triu
from scipy.stats import hypergeom

from cdpkit.evaluate import wilson
from cdpkit.models.recommend.interactions import Interactions

_COLUMNS = ["antecedent", "consequent", "baskets", "support", "confidence", "low", "high", "lift", "p_value"]


def association_rules(seen: Interactions, *, least: int = 10, false_share: float = 0.01) -> pd.DataFrame:
    """Return the pairs of products bought together more often than chance.

    Parameters
    ----------
    seen : Interactions
        Purchases; baskets of one product count among all baskets.
    least : int
        Baskets that must hold both.
    false_share : float
        Share of the rules that may be chance (Benjamini and Hochberg, 1995, on exact one-sided tests
        over all pairs of products that `least` baskets hold).

    Returns
    -------
    DataFrame
        ``antecedent, consequent, baskets`` (with both), ``support`` (share of all baskets), ``confidence``
        (share of the antecedent's baskets that hold the consequent) with ``low, high`` (95 %, Wilson),
        ``lift`` (over the consequent's own share) and ``p_value``; by descending lower end of the lift.

    Notes
    -----
    Agrawal, Imielinski and Swami (1993), for pairs.

    Examples
    --------
    >>> frame = pd.DataFrame({"person_id": np.repeat(np.arange(60), 2), "ts": pd.Timestamp("2026-01-01"),
    ...                       "product_id": ["tent", "stove"] * 20 + ["mug", "pen"] * 40})
    >>> association_rules(Interactions.of(frame))[["antecedent", "consequent"]].head(1).values.tolist()
    [['stove', 'tent']]
    """
    once = seen.once_a_basket()
    total = int(once.basket.max(initial=-1)) + 1
    shape = (total, len(seen.products))
    held = csr_matrix((np.ones(len(once)), (once.basket, once.product)), shape=shape)
    alone = np.asarray(held.sum(axis=0)).ravel()
    both = triu(held.T @ held, k=1).tocoo()
    keep = both.data >= least
    a, b, n = both.row[keep], both.col[keep], both.data[keep].round().astype(int)
    p = hypergeom.sf(n - 1, total, alone[a].astype(int), alone[b].astype(int))
    true = _discoveries(p, false_share)
    a, b, n, p = a[true], b[true], n[true], p[true]
    left, right = np.concatenate([a, b]), np.concatenate([b, a])
    both_n, both_p = np.tile(n, 2), np.tile(p, 2)
    low, high = wilson(both_n, alone[left])
    share = alone[right] / max(total, 1)
    table = pd.DataFrame(
        {
            "antecedent": seen.products[left],
            "consequent": seen.products[right],
            "baskets": both_n,
            "support": both_n / max(total, 1),
            "confidence": both_n / alone[left],
            "low": low,
            "high": high,
            "lift": both_n / alone[left] / share,
            "p_value": both_p,
        },
        columns=_COLUMNS,
    )
    sure = pd.Series(low / share, index=table.index)
    order = np.lexsort((table["consequent"], table["antecedent"], -sure))
    return table.iloc[order].reset_index(drop=True)


def _discoveries(p: np.ndarray, share: float) -> np.ndarray:
    """Return which tests stand when at most a share of those kept may be chance."""
    order = np.argsort(p, kind="stable")
    below = p[order] <= share * np.arange(1, len(p) + 1) / max(len(p), 1)
    kept = np.zeros(len(p), dtype=bool)
    if below.any():
        kept[order[: np.flatnonzero(below)[-1] + 1]] = True
    return kept


def compare_rules(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return which rules are new, lost or kept since the last time.

    Returns
    -------
    DataFrame
        ``antecedent, consequent, status`` (``new``, ``lost``, ``kept``), ``lift_before, lift_after``:
        new ones first, then lost ones, strongest first.

    Examples
    --------
    >>> old = pd.DataFrame({"antecedent": ["a"], "consequent": ["b"], "lift": [2.0]})
    >>> new = pd.DataFrame({"antecedent": ["a"], "consequent": ["c"], "lift": [3.0]})
    >>> compare_rules(old, new)[["consequent", "status"]].values.tolist()
    [['c', 'new'], ['b', 'lost']]
    """
    keys = ["antecedent", "consequent"]
    sides = (before[[*keys, "lift"]], after[[*keys, "lift"]])
    table = sides[0].merge(sides[1], on=keys, how="outer", suffixes=("_before", "_after"))
    gone, came = table["lift_after"].isna(), table["lift_before"].isna()
    table["status"] = np.select([came, gone], ["new", "lost"], "kept")
    size = table["lift_after"].fillna(table["lift_before"])
    rank = table["status"].map({"new": 0, "lost": 1, "kept": 2})
    order = np.lexsort((table["consequent"], table["antecedent"], -size, rank))
    return table.iloc[order][[*keys, "status", "lift_before", "lift_after"]].reset_index(drop=True)
