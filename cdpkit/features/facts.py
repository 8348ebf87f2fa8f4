"""Facts a feature may read: canonical tables with their times, and views made of several of them.

A view is bi-temporal like the tables under it: a row is known as soon as all it is made of is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import cast

from sqlglot import exp, parse_one

from cdpkit.errors import FeatureError
from cdpkit.features.history import INTERACTIONS, view
from cdpkit.features.tree import Tree, sub, table
from cdpkit.schema import TABLES, Column, Table

#: Columns every fact offers besides its own.
DERIVED = {"day": "event_time"}


@dataclass(frozen=True)
class View:
    """A fact that is computed: its columns, its query, and the tables the query reads."""

    table: Table
    query: str
    bases: tuple[str, ...]


# One row a version of a product. The first one described it before, too, but was not known before.
_VERSIONS = """
    SELECT product_id, category, brand, tier, tags, known_at AS told_at,
           CASE WHEN LAG(known_at) OVER (PARTITION BY product_id ORDER BY known_at) IS NULL
                THEN CAST('0001-01-01 00:00:00' AS TIMESTAMP) ELSE known_at END AS since,
           LEAD(known_at) OVER (PARTITION BY product_id ORDER BY known_at) AS until
    FROM products
"""

# A declared address beside what open data say of its postcode, by the vintage known when it was declared.
_LOCATED = """
    SELECT f.node_id, f.source, f.event_time,
           CASE WHEN a.told_at > f.known_at THEN a.told_at ELSE f.known_at END AS known_at,
           a.median_income, a.upper_class_share, a.population
    FROM profiles AS f
    JOIN (
        SELECT postcode, median_income, upper_class_share, population, known_at AS told_at,
               CASE WHEN LAG(known_at) OVER (PARTITION BY postcode ORDER BY known_at, vintage) IS NULL
                    THEN CAST('0001-01-01 00:00:00' AS TIMESTAMP) ELSE known_at END AS since,
               LEAD(known_at) OVER (PARTITION BY postcode ORDER BY known_at, vintage) AS until
        FROM areas
    ) AS a ON a.postcode = f.postcode AND a.since <= f.known_at AND (a.until IS NULL OR f.known_at < a.until)
"""

# A fact beside the product as the catalogue described it when the fact was learned.
_WITH_PRODUCT = f"""
    SELECT f.*, p.tier, p.tags,
           COALESCE(p.category, {{category}}) AS product_category,
           COALESCE(p.brand, {{brand}}) AS product_brand,
           CASE WHEN p.told_at > f.known_at THEN p.told_at ELSE f.known_at END AS learned_at
    FROM {{facts}} AS f
    JOIN ({_VERSIONS}) AS p ON p.product_id = f.product_id AND p.since <= f.known_at
        AND (p.until IS NULL OR f.known_at < p.until)
"""
_VIEWED = "(SELECT * FROM events WHERE event_type IN ('Product Viewed', 'Product Added'))"
_BROWSED = _WITH_PRODUCT.format(facts=_VIEWED, category="f.category", brand="f.brand")
_BOUGHT = _WITH_PRODUCT.format(facts="order_lines", category="NULL", brand="NULL")

#: Attributes of a record that count as facts known of its owner.
_ATTRIBUTES = (
    "first_name",
    "last_name",
    "gender",
    "birth_date",
    "street",
    "postcode",
    "city",
    "country",
    "language",
)
#: Tables in which the owner of a record acts or answers, each a kind of fact.
_ACTS = (
    "events",
    "orders",
    "contacts",
    "quotes",
    "contracts",
    "bookings",
    "reviews",
    "surveys",
    "social",
    "watchlists",
)


_WHEN = "node_id, source, known_at, event_time"
_DESCRIBED = f"{_WHEN.replace('known_at', 'learned_at AS known_at')}, product_id, tier, " \
             "product_category AS category, product_brand AS brand"  # fmt: skip


def _known_facts() -> str:
    """Return the query of everything known of the owner of a record, one row a fact."""
    pieces = [
        f"SELECT {_WHEN}, '{name}' AS kind FROM profiles WHERE NOT {name} IS NULL" for name in _ATTRIBUTES
    ]
    pieces.append(f"SELECT {_WHEN}, id_type AS kind FROM identifiers")
    pieces.append(f"SELECT {_WHEN}, 'choices' AS kind FROM consents")
    pieces += [f"SELECT {_WHEN}, '{name}' AS kind FROM {name}" for name in _ACTS]
    return " UNION ALL ".join(pieces)


_NODE = tuple(TABLES["orders"][name] for name in ("node_id", "source", "known_at", "event_time"))


def _with_product(name: str, key: str, en: str, fr: str, more: tuple[Column, ...] = ()) -> Table:
    """Return a view of facts about products as a table."""
    own = TABLES["events" if key == "event_id" else "order_lines"]
    described = (TABLES["products"][column] for column in ("category", "brand", "tier"))
    columns = (own[key], *_NODE, own["product_id"], *described, *more)
    return Table(name, (key,), columns, en, fr, "event_time", "known_at")


_TAG = Column("tag", "string", "tag or keyword of the product", "étiquette ou mot-clé du produit")

#: The views, by name.
VIEWS: dict[str, View] = {
    "browsed": View(
        _with_product("browsed", "event_id", "A product viewed or added, as the catalogue describes it",
                      "Un produit consulté ou ajouté, tel que décrit au catalogue",
                      (TABLES["events"]["event_type"], TABLES["events"]["channel"])),
        f"SELECT event_id, event_type, channel, {_DESCRIBED} FROM ({_BROWSED}) AS b",
        ("events", "products"),
    ),
    "tagged": View(
        _with_product("tagged", "event_id", "A tag of a product viewed or added",
                      "Une étiquette d'un produit consulté ou ajouté", (_TAG,)),
        f"SELECT event_id, {_DESCRIBED}, UNNEST(tags) AS tag FROM ({_BROWSED}) AS b",
        ("events", "products"),
    ),
    "bought": View(
        _with_product("bought", "order_id", "A product ordered, as the catalogue describes it",
                      "Un produit commandé, tel que décrit au catalogue"),
        f"SELECT order_id, {_DESCRIBED} FROM ({_BOUGHT}) AS b WHERE COALESCE(quantity, 1) > 0",
        ("order_lines", "products"),
    ),
    "located": View(
        Table("located", ("node_id",), (*_NODE, *(TABLES["areas"][c] for c in
              ("median_income", "upper_class_share", "population"))),
              "A declared address in its neighbourhood", "Une adresse déclarée dans son quartier",
              "event_time", "known_at"),
        _LOCATED, ("profiles", "areas"),
    ),
    "facts": View(
        Table("facts", (), (*_NODE, Column("kind", "string", "what is known", "ce qui est connu")),
              "Something known of a person", "Un fait connu d'une personne", "event_time", "known_at"),
        _known_facts(), ("profiles", "identifiers", "consents", *_ACTS),
    ),
}  # fmt: skip


def fact(name: str) -> Table:
    """Return a table features may read, or say why not."""
    if name in VIEWS:
        return VIEWS[name].table
    found = INTERACTIONS if name == INTERACTIONS.name else TABLES.get(name)
    needed = {"node_id", "event_time", "known_at"}
    if found is None or not needed <= set(found.names):
        raise FeatureError("a feature must read a fact keyed by node, with its times", got=repr(name))
    return found


@cache
def _parsed(name: str) -> Tree:
    return cast(Tree, parse_one(VIEWS[name].query, dialect="duckdb"))


def fact_relation(name: str, alias: str) -> Tree:
    """Return a fact as a relation, views spelled out."""
    if name in VIEWS:
        return sub(_parsed(name).copy(), alias)
    return sub(view(), alias) if name == INTERACTIONS.name else table(name, alias)


def sensitive(found: Table, column: str) -> bool:
    """Tell whether a column is of the most protected class."""
    return column in found and found[column].pii == "sensitive"


def trait(column: Tree, key: str) -> Tree:
    """Return one attribute of a JSON column, as text."""
    access = cast(Tree, parse_one("c ->> '$.x'", dialect="duckdb"))
    access.find(exp.JSONPathKey).set("this", key)  # type: ignore[union-attr]
    access.find(exp.Column).replace(column)  # type: ignore[union-attr]
    return access
