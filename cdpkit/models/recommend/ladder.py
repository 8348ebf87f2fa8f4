"""The price ladder: what stands one step above a product in its own category."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdpkit.errors import FaultsError
from cdpkit.models.recommend.blend import AT_ONCE
from cdpkit.models.recommend.interactions import Interactions
from cdpkit.models.recommend.reasons import encode

if TYPE_CHECKING:
    from cdpkit.models.recommend.estimator import Recommender


def ladder(products: pd.DataFrame, *, least_ratio: float = 1.1, most_ratio: float = 2.5) -> pd.DataFrame:
    """Return the steps up from each product: dearer ones of its category, within reach.

    Parameters
    ----------
    products : DataFrame
        ``product_id, category, price`` (any unit, one currency), a row a product.
    least_ratio, most_ratio : float
        Price of the step over the price of the product.

    Returns
    -------
    DataFrame
        ``product_id, step`` (product above), ``ratio`` (of prices), ``rank`` (1 the nearest).

    Raises
    ------
    FaultsError
        For absent columns, a product named twice, or a price that is not above 0.

    Examples
    --------
    >>> shop = pd.DataFrame({"product_id": ["s", "m", "l"], "category": ["tent"] * 3,
    ...                      "price": [100, 150, 400]})
    >>> ladder(shop).values.tolist()
    [['s', 'm', 1.5, 1]]
    """
    faults = [
        f"column `{c}` must be present" for c in ("product_id", "category", "price") if c not in products
    ]
    if not faults:
        if products["product_id"].duplicated().any():
            faults.append(
                f"a product must come once; got {int(products['product_id'].duplicated().sum())} repeats"
            )
        if (products["price"].isna() | (products["price"] <= 0)).any():
            faults.append("`price` must be > 0")
    if faults:
        raise FaultsError("the products of the ladder", faults)
    own = products[["product_id", "category", "price"]].astype({"price": float})
    pairs = own.merge(own.rename(columns={"product_id": "step", "price": "dearer"}), on="category")
    pairs["ratio"] = pairs["dearer"] / pairs["price"]
    pairs = pairs[(pairs["ratio"] >= least_ratio) & (pairs["ratio"] <= most_ratio)]
    pairs = pairs.sort_values(["product_id", "ratio", "step"], kind="stable")
    pairs["rank"] = pairs.groupby("product_id").cumcount() + 1
    return pairs[["product_id", "step", "ratio", "rank"]].reset_index(drop=True)


def upsell(
    model: Recommender, steps: pd.DataFrame, seen: Interactions, asked: pd.Index, k: int,
    stock: Mapping[str, float] | None,
) -> pd.DataFrame:  # fmt: skip
    """Return dearer products of the categories each person buys in: see `Recommender.upsell`."""
    place = model.place(seen, asked)
    known = steps[steps["product_id"].isin(model.products_) & steps["step"].isin(model.products_)]
    out_of = {p for p, units in (stock or {}).items() if units <= 0}
    known = known[~known["step"].isin(out_of)]
    below, above = (model.products_.get_indexer(pd.Index(known[c])) for c in ("product_id", "step"))
    tables = []
    for first in range(0, len(asked), AT_ONCE):
        rows = np.arange(first, min(first + AT_ONCE, len(asked)))
        score, _, owned = model.score(seen, place[rows], "new")
        i, pair = np.nonzero(owned[:, below] & ~owned[:, above])
        table = pd.DataFrame(
            {
                "person_id": asked[rows[i]],
                "product_id": model.products_[above[pair]],
                "score": score[i, above[pair]],
                "because": model.products_[below[pair]],
                "ratio": known["ratio"].to_numpy()[pair],
            }
        )
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    table = table.sort_values(
        ["person_id", "score", "product_id", "ratio"], ascending=[True, False, True, True]
    )
    table = table.drop_duplicates(["person_id", "product_id"])
    table["rank"] = table.groupby("person_id").cumcount() + 1
    table = table[table["rank"] <= k].reset_index(drop=True)
    table["decided_by"] = model.verdicts_["new"].decided_by
    table["reason"] = [
        encode("step", because=str(b), value=round(float(r), 2))
        for b, r in zip(table["because"], table["ratio"], strict=True)
    ]
    return table[["person_id", "rank", "product_id", "score", "decided_by", "reason"]]
