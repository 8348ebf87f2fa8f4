"""Visits on the moments page: what people come for, and where they are likely to be met next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdpkit.ui.digest import rows
from cdpkit.ui.formats import interval, number, percent
from cdpkit.ui.kit import Html, element, section
from cdpkit.ui.listing import Column, bars, channel, few, source, waiting, written
from cdpkit.ui.messages import Text, text

Payload = Mapping[str, Any] | None
Row = Mapping[str, Any]

_NOTEBOOK = "47_journeys"


def intents(payload: Payload) -> Html:
    """Show what visits are for; somebody who cancels or asks for help is not to be sold to."""
    title, found = text("moments.intents.title"), rows(payload, "journeys", "intents")
    if payload is None or "journeys" not in payload["models"]:
        return waiting("intents", title, _NOTEBOOK)
    known = [row for row in found if row["visits"] is not None]
    if not known:
        return few("intents", title)
    whole = sum(row["visits"] for row in known)
    shares = [{**row, "share": row["visits"] and row["visits"] / whole} for row in found]
    columns = [
        Column(text("moments.column.intent"), lambda row: text(f"moments.intent.{row['intent']}")),
        Column(text("moments.column.visits"), written("visits")),
        Column(text("moments.column.share"), written("share", percent)),
        Column(text("moments.column.persons"), written("people")),
    ]
    drawing = bars(
        "intents-shares", _came(known, whole), text("moments.intents.subtitle"),
        text("moments.intents.summary", n=number(whole)), columns, shares, source(payload, "journeys"),
        value="share", axis=".0%",
    )  # fmt: skip
    return section("intents", title, text("moments.intents.lead"), drawing, _trusted(payload))


def ahead(payload: Payload) -> Html:
    """Show where people are likely to be met next, and how often such a guess is right."""
    title, found = text("moments.ahead.title"), rows(payload, "journeys", "next")
    if payload is None or "journeys" not in payload["models"]:
        return waiting("ahead", title, _NOTEBOOK)
    known = [row for row in found if row["people"] is not None]
    if not known:
        return few("ahead", title)
    columns = [
        Column(text("moments.column.touchpoint"), lambda row: channel(row["touchpoint"])),
        Column(text("moments.column.persons"), written("people")),
    ]
    whole = sum(row["people"] for row in known)
    first = max(known, key=lambda row: row["people"])
    named = {"place": channel(first["touchpoint"]), "share": percent(first["people"] / whole)}
    drawing = bars(
        "ahead-people", text("moments.ahead.finding", None, **named), text("moments.ahead.subtitle"),
        text("moments.ahead.summary", n=number(whole)), columns, found, source(payload, "journeys"),
        value="people",
    )  # fmt: skip
    return section("ahead", title, text("moments.ahead.lead"), drawing, _guessed(payload))


def _came(known: Sequence[Row], whole: int) -> Text:
    """Say what most visits are for, and how many call for help rather than for an offer."""
    most = max(known, key=lambda row: row["visits"])
    care = sum(row["visits"] for row in known if row["intent"] in ("cancel", "support"))
    said = {"intent": text(f"moments.intent.{most['intent']}"), "share": percent(most["visits"] / whole)}
    return text("moments.intents.finding", None, care=percent(care / whole), **said)


def _trusted(payload: Payload) -> Html:
    """Say who tells the intent, and how well beside the rule where some visits' intent is known."""
    who = _decided(payload, "intent")
    by = text(f"moments.intents.by.{who}")
    proof = rows(payload, "journeys", "intent_proof")
    if not proof:
        return element("p", by, " ", text("moments.intents.unproved"), class_="footnote")
    told = {name: number(proof[0][name], 2) for name in ("served", "rule")}
    said = text("moments.intents.proof", None, n=number(proof[0]["visits"]), **told)
    return element("p", by, " ", said, class_="footnote")


def _guessed(payload: Payload) -> Html | None:
    """Say how often the next place is named right, beside the most frequent place."""
    by = {row["who"]: row for row in rows(payload, "journeys", "touchpoints")}
    if "model" not in by or "most frequent" not in by:
        return None
    model, rule = by["model"], by["most frequent"]
    reach = 1.96 * model["se_1"]
    sure = interval(percent(max(0, model["top_1"] - reach)), percent(min(1, model["top_1"] + reach)))
    said = text(
        "moments.ahead.proof", None, model=percent(model["top_1"]), sure=sure, rule=percent(rule["top_1"])
    )
    who = _decided(payload, "next touchpoint")
    return element("p", said, " ", text(f"moments.ahead.by.{who}"), class_="footnote")


def _decided(payload: Payload, what: str) -> str:
    """Return who decided on a figure of journeys; the rule where nothing says."""
    served = {row["what"]: row["decided_by"] for row in rows(payload, "journeys", "served")}
    return served.get(what, "rule")
