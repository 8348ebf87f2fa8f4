"""The sales page: sections out of a payload, in both languages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cdpkit.ui import page as shell
from cdpkit.ui.actions import beside, editor
from cdpkit.ui.digest import current, rows
from cdpkit.ui.formats import interval, number, percent
from cdpkit.ui.kit import Html, element, notice, section
from cdpkit.ui.listing import Column, bars, between, few, listing, made, source, waiting, written
from cdpkit.ui.messages import Text, same, text
from cdpkit.ui.navigation import Entry
from cdpkit.ui.pages.sales.searches import searches

Payload = Mapping[str, Any] | None
Row = Mapping[str, Any]

#: Audiences and rules that have words of their own; others show what their notebook calls them.
_AUDIENCES = ("lookalike", "bought_most_recently", "everybody_else")
_RULES = ("looks_above", "low_rung_many_orders")

_TWINS, _CROSS, _UP = "40_lookalike", "43_cross_sell", "33_upsell"


def page(payload: Payload, menu: list[Entry] | None = None) -> shell.Page:
    """Return the sales page of a published payload, empty states where nothing was reported.

    Parameters
    ----------
    payload : mapping or None
        What `cdpkit.ui.pages.sales.build` made; None before the first publication.
    menu : list of Entry, optional
        Navigation; that of the current folder when absent.
    """
    parts = [part(payload) for part in (twins, reach, cross, lists, products, searches, upsell, proof)]
    return made("sales", payload, finding(payload), text("sales.definition"), parts, (), menu)


def finding(payload: Payload) -> Text | None:
    """Return the title: how often twins of the best customers converted."""
    if not current(payload):
        return None
    found = {row["audience"]: row for row in rows(payload, "lookalike", "audiences")}
    twin = found.get("lookalike")
    if twin is None or twin["rate"] is None:
        return text("sales.finding.none")
    sure = interval(percent(twin["low"]), percent(twin["high"]))
    return text("sales.finding", rate=percent(twin["rate"]), sure=sure)


def twins(payload: Payload) -> Html:
    """Show how the twins converted, beside the audiences a marketer would take without them."""
    title, found = text("sales.twins.title"), rows(payload, "lookalike", "audiences")
    if payload is None or not found:
        return waiting("twins", title, _TWINS)
    columns = [
        Column(text("sales.column.audience"), _audience),
        Column(text("axis.people"), written("people")),
        Column(text("sales.column.converted"), written("converted")),
        Column(text("sales.column.rate"), between("rate", percent)),
    ]
    drawing = bars(
        "twins-rates", finding(payload) or title, text("sales.twins.subtitle"),
        text("sales.twins.summary", n=number(len(found))), columns, found, source(payload, "lookalike"),
        value="rate", low="low", high="high", axis=".0%",
    )  # fmt: skip
    act = beside(payload, "twins", text("sales.offer.twins"))
    return section("twins", title, text("sales.twins.lead"), drawing, act)


def reach(payload: Payload) -> Html:
    """Show what is gained and lost when the audience of twins is stretched."""
    title, found = text("sales.reach.title"), rows(payload, "lookalike", "reach")
    if not found:
        return waiting("reach", title, _TWINS)
    columns = [
        Column(text("sales.column.size"), written("people")),
        Column(
            text("sales.column.precision"), between("precision", percent, "precision_low", "precision_high")
        ),
        Column(text("sales.column.recall"), between("recall", percent, "recall_low", "recall_high")),
    ]
    return section("reach", title, text("sales.reach.lead"), listing(title, columns, found, "reach"))


def cross(payload: Payload) -> Html:
    """Show which products go together, with how sure each rule is."""
    title, found = text("sales.cross.title"), rows(payload, "cross_sell", "rules")
    if payload is None or not rows(payload, "cross_sell", "lists"):
        return waiting("cross", title, _CROSS)
    held = payload["rules_held"]
    note = element("p", text("sales.cross.held", n=number(held), k=number(payload["k"])), class_="footnote")
    if not found:
        return section(
            "cross", title, None, notice(text("empty.title"), text("waiting.nothing")), note if held else None
        )
    columns = [
        Column(text("sales.column.with"), _product(payload, "antecedent")),
        Column(text("sales.column.then"), _product(payload, "consequent")),
        Column(text("sales.column.baskets"), written("baskets")),
        Column(text("sales.column.confidence"), between("confidence", percent)),
        Column(text("sales.column.lift"), written("lift", lambda lift: number(lift, 1))),
    ]
    table = listing(title, columns, found, "rules")
    return section("cross", title, text("sales.cross.lead"), table, note if held else None)


def lists(payload: Payload) -> Html:
    """Let the marketer decide what goes with what: a list of theirs wins over the rules learned."""
    title = text("sales.lists.title")
    if payload is None or not payload.get("catalogue"):
        return waiting("lists", title, _CROSS)
    held = rows(payload, "cross_sell", "own")
    decided = len({row["product"] for row in held})
    said = text("sales.lists.decided", count=decided, n=number(decided))
    waits = element(
        "p",
        class_="pending note",
        data_pending_kind="complements",
        data_words=text("sales.lists.pending"),
        hidden=True,
    )
    told = element("p", said, class_="lead")
    form = editor(payload["catalogue"], payload["present"])
    return section("lists", title, text("sales.lists.lead"), told, form, waits)


def products(payload: Payload) -> Html:
    """Show the products recommended to most people."""
    title, found = text("sales.products.title"), rows(payload, "cross_sell", "products")
    found = [row for row in found if row["people"] is not None]
    if payload is None or not rows(payload, "cross_sell", "lists"):
        return waiting("products", title, _CROSS)
    if not found:
        return few("products", title)
    columns = [
        Column(text("sales.column.product"), _product(payload, "product_id")),
        Column(text("axis.people"), written("people")),
    ]
    return section("products", title, None, listing(title, columns, found, "products"))


def upsell(payload: Payload) -> Html:
    """Show who may move up the range, to what and when."""
    title, found = text("sales.upsell.title"), rows(payload, "upsell", "moments")
    if not rows(payload, "upsell", "concordance"):
        return waiting("upsell", title, _UP)
    if not found:
        return few("upsell", title)
    columns = [
        Column(text("sales.column.rung"), written("next_rung", same)),
        Column(text("sales.column.period"), written("best_period")),
        Column(text("sales.column.customers"), written("customers")),
        Column(text("sales.column.expected"), written("expected", lambda n: number(n, 1))),
    ]
    return section("upsell", title, text("sales.upsell.lead"), listing(title, columns, found, "upsell"))


def proof(payload: Payload) -> Html:
    """Set recommendations and up-sell beside the rules a marketer would use without them."""
    title, tables = text("sales.proof.title"), []
    lists, found = rows(payload, "cross_sell", "lists"), rows(payload, "upsell", "concordance")
    if lists:
        columns = [
            Column(text("analyst.column.metric"), written("metric", same)),
            Column(text("analyst.column.model"), between("value", _three)),
            Column(text("analyst.column.rule"), written("baseline", _three)),
            Column(
                text("analyst.column.difference"),
                between("difference", _three, "difference_low", "difference_high"),
            ),
        ]
        tables.append(listing(text("sales.proof.lists"), columns, lists, "lists"))
    if found:
        columns = [
            Column(text("sales.column.score"), _who),
            Column(text("sales.column.how"), _how),
            Column(text("sales.column.concordance"), between("value", _three)),
        ]
        decided = text(f"sales.decided.{found[0]['decided_by']}")
        tables += [listing(text("sales.proof.upsell"), columns, found, "concordance"), element("p", decided)]
    if not tables:
        return waiting("proof", title, _CROSS)
    return section("proof", title, text("sales.proof.lead"), element("div", *tables, class_="stack"))


def _audience(row: Row) -> Text:
    name = row["audience"].replace(" ", "_")
    return text(f"sales.audience.{name}") if name in _AUDIENCES else same(row["audience"])


def _product(payload: Mapping[str, Any], key: str) -> Callable[[Row], Text]:
    """Write a product by its name, or by its number where the catalogue has none."""
    return lambda row: same(payload["names"].get(row[key], row[key]))


def _how(row: Row) -> Text:
    detail = row["score"].partition(": ")[2]
    name = detail.replace(",", "").replace(" ", "_")
    return text(f"sales.rule.{name}") if name in _RULES else same(detail or "–")


def _who(row: Row) -> Text:
    kind = row["score"].split(":")[0]
    return text(f"sales.score.{kind}")


def _three(value: float) -> Text:
    return number(value, 3)
