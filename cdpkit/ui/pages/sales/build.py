"""The sales page out of the lake: the reports of lookalike, cross-sell, up-sell and journeys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdpkit.ui import actions
from cdpkit.ui.digest import Guard, Rows, gather, least, parts, steps
from cdpkit.ui.pages.sales.searches import told
from cdpkit.ui.privacy import K

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: Rules, products and audience sizes shown at most.
SHOWN = 20

#: Products that the editor of complements offers at most, and complements shown of each.
EDITED, LISTED = 300, 10


def build(engine: Engine, **_: Any) -> dict[str, Any] | None:
    """Return the page's payload, or None before one of these notebooks reported.

    Parameters
    ----------
    engine : Engine
        Sees ``reports`` and ``products``.
    """
    wanted: dict[str, dict[str, Guard | None]] = {
        "lookalike": {"audiences": parts("people", by="audience"), "reach": None},
        "cross_sell": {
            "lists": None,
            "rules": None,
            "own": None,
            "products": parts("people", by="product_id"),
        },
        "upsell": {"concordance": None, "moments": parts("customers")},
        "journeys": {"needs": least("people")},
    }
    page = gather(engine, "sales", wanted)
    if page is None:
        return None
    crossed = page["models"].get("cross_sell", {}).get("frames", {})
    # A rule rests on baskets, and a basket has an owner.
    kept = [row for row in crossed.get("rules", []) if row["baskets"] >= K]
    held = len(crossed.get("rules", [])) - len(kept)
    crossed |= {"rules": kept[:SHOWN], "products": crossed.get("products", [])[:SHOWN]}
    twins = page["models"].get("lookalike", {}).get("frames", {})
    twins["reach"] = steps("people")(twins.get("reach", []), K)[:SHOWN]
    named = {row[key] for row in kept[:SHOWN] for key in ("antecedent", "consequent")}
    named |= {row["product_id"] for row in crossed["products"]}
    offers = [actions.offer("twins", "lookalike", "decile = 1")] if "lookalike" in page["models"] else []
    return page | {
        "rules_held": held,
        "searches": told(page),
        "names": _names(engine, named),
        "catalogue": _names(engine, _sold(engine)) if crossed else {},
        "present": _present(kept, crossed.get("own", [])),
        "offers": offers,
    }


def _present(rules: Rows, own: Rows) -> dict[str, list[str]]:
    """Return what is proposed with each product: the marketer's list where there is one, else the rules."""
    learned: dict[str, list[str]] = {}
    for row in rules:
        learned.setdefault(row["antecedent"], []).append(row["consequent"])
    decided: dict[str, list[str]] = {row["product"]: [] for row in own}
    for row in sorted(own, key=lambda row: row["place"] or 0):
        if row["complement"] is not None:
            decided[row["product"]].append(row["complement"])
    return {product: others[:LISTED] for product, others in (learned | decided).items()}


def _sold(engine: Engine) -> set[str]:
    """Return the products sold most often, which the editor offers."""
    query = f"""SELECT product_id FROM order_lines WHERE product_id IS NOT NULL
                GROUP BY product_id ORDER BY count(*) DESC, product_id LIMIT {EDITED}"""
    return set(engine.query(query).to_pandas()["product_id"])


def _names(engine: Engine, products: set[str]) -> dict[str, str]:
    """Return what the catalogue calls each product, as known last."""
    known = engine.query("SELECT product_id, name FROM products ORDER BY known_at").to_pandas().dropna()
    known = known[known["product_id"].isin(products)]
    return dict(zip(known["product_id"], known["name"], strict=True))
