"""How good ranked lists of products are: NDCG and recall a person, with the rule beside and intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.evaluate.intervals import Z95
from cdpkit.evaluate.paired import paired


def list_gains(ranked: NDArray[np.int64], bought: NDArray[np.bool_], *, top: int = 10) -> pd.DataFrame:
    """Return what each person's list was worth, given what the person then bought.

    Parameters
    ----------
    ranked : ndarray of int, shape (persons, length)
        Product codes, best first; at least as long as `top`.
    bought : ndarray of bool, shape (persons, products)
        What each person bought afterwards, among the products that could be listed. Persons who bought
        nothing have no gain: leave them out.
    top : int
        Places counted by the NDCG and the hit.

    Returns
    -------
    DataFrame
        A row a person: ``ndcg`` (at `top`, against the best list possible), ``recall`` (over the whole
        list, of at most as many products as the list is long) and ``hit`` (any of the `top`).

    Examples
    --------
    >>> bought = np.array([[True, False, False], [False, False, True]])
    >>> list_gains(np.array([[0, 1], [0, 1]]), bought, top=2)["ndcg"].tolist()
    [1.0, 0.0]
    """
    found = np.take_along_axis(bought, ranked, axis=1)
    wanted = bought.sum(axis=1)
    discount = 1 / np.log2(np.arange(2, top + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(wanted, top)]
    some = np.maximum(wanted, 1)
    return pd.DataFrame(
        {
            "ndcg": (found[:, :top] * discount[: ranked.shape[1]]).sum(axis=1)
            / np.where(ideal > 0, ideal, 1),
            "recall": found.sum(axis=1) / np.minimum(some, ranked.shape[1]),
            "hit": found[:, :top].any(axis=1).astype(float),
        }
    )


def lists(model: pd.DataFrame, rule: pd.DataFrame) -> pd.DataFrame:
    """Return the mean gains of a model's lists beside a rule's, for the same persons.

    Parameters
    ----------
    model, rule : DataFrame
        As given by `list_gains`, row by row the same persons.

    Returns
    -------
    DataFrame
        ``metric, value, low, high, baseline, difference, difference_low, difference_high, persons``: 95 %
        intervals, over persons.

    Examples
    --------
    >>> one = pd.DataFrame({"ndcg": [1.0, 0.5, 0.0]})
    >>> lists(one, one * 0)[["metric", "value", "baseline"]].values.tolist()
    [['ndcg', 0.5, 0.0]]
    """
    rows = []
    for metric in model.columns:
        gap = paired(model[metric], rule[metric])
        mean, se = model[metric].mean(), model[metric].std(ddof=1) / np.sqrt(len(model))
        rows.append(
            {
                "metric": metric,
                "value": mean,
                "low": mean - Z95 * se,
                "high": mean + Z95 * se,
                "baseline": rule[metric].mean(),
                "difference": gap.mean,
                "difference_low": gap.low,
                "difference_high": gap.high,
                "persons": len(model),
            }
        )
    return pd.DataFrame(rows)
