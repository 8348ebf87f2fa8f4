"""Searches on the sales page: what people look for in vain, and what they look for more and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdpkit.ui.digest import Rows, rows
from cdpkit.ui.formats import number, percent
from cdpkit.ui.kit import Html, card, element, section
from cdpkit.ui.listing import Column, few, listing, waiting, written
from cdpkit.ui.messages import Text, same, text

Payload = Mapping[str, Any] | None
Row = Mapping[str, Any]

#: Segments told apart, beside everybody.
SEGMENTS = ("customers", "others")

#: Terms shown at most.
SHOWN = 30

_NOTEBOOK = "47_journeys"


def by_term(needs: Sequence[Row]) -> Rows:
    """Return one row a term of everybody's searches, with the people of each segment that may be told.

    Terms that call for something come first, those that find nothing before those that rise.

    Examples
    --------
    >>> needs = [{"segment": "all", "term": "tent", "people": 90, "need": ""},
    ...          {"segment": "customers", "term": "tent", "people": 60, "need": ""},
    ...          {"segment": "all", "term": "kayak", "people": 40, "need": "nothing found"}]
    >>> [(row["term"], row["customers"], row["others"]) for row in by_term(needs)]
    [('kayak', None, None), ('tent', 60, None)]
    """
    within = {(row["segment"], row["term"]): row["people"] for row in needs}
    order = {"both": 0, "nothing found": 1, "rising": 2}
    terms = [
        {**row, **{name: within.get((name, row["term"])) for name in SEGMENTS}}
        for row in needs
        if row["segment"] == "all"
    ]
    return sorted(terms, key=lambda row: (order.get(row["need"], 3), -row["people"]))[:SHOWN]


def searches(payload: Payload) -> Html:
    """Show the terms that find nothing and those that rise, customers and others apart."""
    title, found = text("sales.searches.title"), (payload or {}).get("searches", [])
    if payload is None or "journeys" not in payload["models"]:
        return waiting("searches", title, _NOTEBOOK)
    if not found:
        return few("searches", title)
    columns = [
        Column(text("sales.column.term"), lambda row: same(row["term"])),
        Column(text("sales.column.need"), _need),
        Column(text("axis.people"), written("people")),
        *[Column(text(f"sales.column.of_{name}"), written(name)) for name in SEGMENTS],
        Column(text("sales.column.zero"), _zero),
        Column(text("sales.column.growth"), _growth),
    ]
    note = element("p", text("sales.searches.held", k=number(payload["k"])), class_="footnote")
    said = card(element("h3", _finding(found)), element("p", text("sales.searches.do")))
    return section(
        "searches", title, text("sales.searches.lead"), said, listing(title, columns, found, "searches"), note
    )


def _finding(found: Sequence[Row]) -> Text:
    empty = [row["term"] for row in found if row["need"] in ("both", "nothing found")]
    rising = [row["term"] for row in found if row["need"] in ("both", "rising")]
    if not empty and not rising:
        return text("sales.searches.quiet")
    if not empty:
        return text("sales.searches.rising", len(rising), n=number(len(rising)), first=same(rising[0]))
    return text("sales.searches.empty", len(empty), n=number(len(empty)), first=same(empty[0]))


def _need(row: Row) -> Text:
    need = (row["need"] or "none").replace(" ", "_")
    return text(f"sales.need.{need}")


def _zero(row: Row) -> Text:
    if not row["zero_share"]:
        return percent(0)
    return text("sales.at_least", share=percent(row["zero_share"]), low=percent(row["zero_low"]))


def _growth(row: Row) -> Text:
    return text("sales.new") if not row["before"] else text("sales.times", n=number(row["growth"], 1))


def told(page: Mapping[str, Any]) -> Rows:
    """Return the searches of a page's reports, by term.

    Examples
    --------
    >>> told({"format": 2, "models": {}})
    []
    """
    return by_term(rows(page, "journeys", "needs"))
