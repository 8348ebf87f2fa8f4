"""What to offer to twins: what the seeds buy more than others, and what goes with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from cdpkit.evaluate import wilson


def seed_products(interactions: pd.DataFrame, seeds: Sequence[object], *, least: int = 5) -> pd.DataFrame:
    """Return the products that seeds buy more than other people do.

    Parameters
    ----------
    interactions : DataFrame
        ``person_id, product_id``, a row a purchase.
    seeds : sequence
        Person ids of the seeds.
    least : int
        Seeds who must have bought a product.

    Returns
    -------
    DataFrame
        ``product_id, seeds`` (seeds who bought it), ``share`` of them, ``population_share``, ``lift``,
        sorted by the lower end of the share's interval over the population's share.

    Examples
    --------
    >>> bought = pd.DataFrame({"person_id": [*range(20), *range(40)],
    ...                        "product_id": ["tent"] * 20 + ["mug"] * 40})
    >>> seed_products(bought, range(20))["product_id"].tolist()
    ['tent']
    """
    pairs = interactions[["person_id", "product_id"]].drop_duplicates()
    ours = pairs[pairs["person_id"].isin(seeds)]
    people, buyers = pairs["person_id"].nunique(), ours["person_id"].nunique()
    table = ours.groupby("product_id").size().rename("seeds").reset_index()
    everybody = table["product_id"].map(pairs.groupby("product_id").size())
    table["share"] = table["seeds"] / max(buyers, 1)
    table["population_share"] = everybody / people
    table["lift"] = table["share"] / table["population_share"]
    low, _ = wilson(table["seeds"], pd.Series(buyers, index=table.index))
    table["sure"] = low / table["population_share"]
    table = table[(table["seeds"] >= least) & (table["sure"] > 1)]
    table = table.sort_values(["sure", "product_id"], ascending=[False, True]).drop(columns="sure")
    return table.reset_index(drop=True)


def twin_offers(
    products: pd.DataFrame, complements: Mapping[str, Sequence[str]], *, most: int = 10
) -> pd.DataFrame:
    """Return what to offer to people like the seeds: the seeds' products, and their complements.

    Parameters
    ----------
    products : DataFrame
        As given by `seed_products`, best first.
    complements : mapping
        From a product to what goes with it, best first: the marketer's lists and the rules learned, as
        `cdpkit.models.recommend.Complements.table` gives them.
    most : int
        Seeds' products taken.

    Returns
    -------
    DataFrame
        ``product_id, kind`` (``same`` or ``complement``), ``because`` (the seeds' product a complement
        goes with; empty for the product itself). A product is offered once, for its best reason.

    Examples
    --------
    >>> offers = twin_offers(pd.DataFrame({"product_id": ["tent"]}), {"tent": ["stove"]})
    >>> offers.values.tolist()
    [['tent', 'same', ''], ['stove', 'complement', 'tent']]
    """
    names = products["product_id"].astype("str").tolist()[:most]
    rows = [(name, "same", "") for name in names]
    rows += [(str(other), "complement", name) for name in names for other in complements.get(name, ())]
    table = pd.DataFrame(rows, columns=["product_id", "kind", "because"])
    return table.drop_duplicates("product_id").reset_index(drop=True)
