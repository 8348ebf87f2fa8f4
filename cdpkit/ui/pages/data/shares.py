"""All shares of the achievable gain on one page: what models won of what could be won, in a known world."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cdpkit.ui.formats import number, percent
from cdpkit.ui.kit import Html, element, section
from cdpkit.ui.listing import Column, bars, between, written
from cdpkit.ui.messages import LANGUAGES, Text, catalogue, same, text

if TYPE_CHECKING:
    from cdpkit.engine import Engine

Row = Mapping[str, Any]

_LATEST = """
    SELECT model, name, content FROM reports WHERE name IN ('achieved', 'shares')
    QUALIFY as_of = max(as_of) OVER (PARTITION BY model) ORDER BY model, name
"""


def read(engine: Engine) -> list[dict[str, Any]]:
    """Return every share the notebooks reported, the largest first: of worlds whose truth is known."""
    found = []
    for model, name, content in engine.query(_LATEST).to_pandas().itertuples(index=False):
        for row in json.loads(content):
            named = row if name == "shares" else row | {"capability": model, "bar": None}
            kept = {key: named.get(key) for key in ("capability", "share", "low", "high", "bar")}
            found.append(kept | {"reason": named.get("reason") or ""})
    # No best score is known where the truth is not: a real source has nothing to show here.
    known = [row for row in found if row["share"] is not None or "no best" not in row["reason"]]
    return sorted(known, key=lambda row: (row["share"] is None, -(row["share"] or 0), row["capability"]))


def shares(payload: Mapping[str, Any] | None) -> Html:
    """Show what each model won of the gain that was there to win, beside what is asked of it."""
    title = text("data.shares.title")
    found = [] if payload is None else payload.get("shares", [])
    drawn = [row for row in found if row["share"] is not None]
    if not drawn:
        return section("shares", title, text("data.shares.none"))
    columns = [
        Column(text("data.column.capability"), _named),
        Column(text("data.column.won"), between("share", percent)),
        Column(text("data.column.asked"), written("bar", percent)),
        Column(text("data.column.verdict"), _held),
    ]
    least = drawn[-1]
    drawing = bars(
        "shares-won", text("data.shares.finding", name=_named(least), share=percent(least["share"])),
        text("data.shares.subtitle"), text("data.shares.summary", n=number(len(drawn))), columns, drawn,
        text("data.shares.source"), value="share", axis=".0%",
    )  # fmt: skip
    lost = len(found) - len(drawn)
    more = [element("p", text("data.shares.lost", n=number(lost)), class_="note")] if lost else []
    return section("shares", title, text("data.shares.lead"), drawing, *more)


def _named(row: Row) -> Text:
    name = str(row["capability"])
    known = f"data.capability.{name}" in catalogue(LANGUAGES[0])
    return text(f"data.capability.{name}") if known else same(name)


def _held(row: Row) -> Text:
    if row["bar"] is None:
        return same("–")
    return text("data.shares.met") if row["share"] >= row["bar"] else text("data.shares.missed")
