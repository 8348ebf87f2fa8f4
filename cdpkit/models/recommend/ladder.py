"""The price ladder: what stands one step above a product in its own category."""

from __future__ import annotations

import pandas as pd

from cdpkit.errors import FaultsError


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
    >>> shop = pd.DataFrame({"product_id": ["s", "m", "l"], "category": ["tent"] * 3, "price": [100, 150, 400]})
    >>> ladder(shop).values.tolist()
    [['s', 'm', 1.5, 1]]
    """
    faults = [f"column `{c}` must be present" for c in ("product_id", "category", "price") if c not in products]
    if not faults:
        if products["product_id"].duplicated().any():
            faults.append(f"a product must come once; got {int(products['product_id'].duplicated().sum())} repeats")
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
