"""The channels page: sections out of a payload, in both languages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cdpkit.ui import page as shell
from cdpkit.ui.digest import current, rows
from cdpkit.ui.formats import money, number, percent
from cdpkit.ui.kit import Html, section
from cdpkit.ui.listing import Column, bars, between, channel, few, listing, made, source, waiting, written
from cdpkit.ui.messages import Text, join, text
from cdpkit.ui.navigation import Entry
from cdpkit.ui.pages.channels.mail import mail, message, stop

Payload = Mapping[str, Any] | None
Row = Mapping[str, Any]

_NOTEBOOK = "44_attribution"


def page(payload: Payload, menu: list[Entry] | None = None) -> shell.Page:
    """Return the channels page of a published payload, empty states where nothing was reported.

    Parameters
    ----------
    payload : mapping or None
        What `cdpkit.ui.pages.channels.build` made; None before the first publication.
    menu : list of Entry, optional
        Navigation; that of the current folder when absent.
    """
    parts = [part(payload) for part in (added, credits, together, scenario, mail, stop, message)]
    return made("channels", payload, finding(payload), text("channels.definition"), parts, (), menu)


def finding(payload: Payload) -> Text | None:
    """Return the title: the channels that truly added orders, or that none is shown to."""
    if not current(payload) or not rows(payload, "attribution", "effects"):
        return None
    found = [row for row in rows(payload, "attribution", "effects") if row["found"]]
    if not found:
        return text("channels.finding.none")
    return text("channels.finding", names=join(", ", *(channel(row["channel"]) for row in found)))


def added(payload: Payload) -> Html:
    """Show the orders each channel added, intent held equal, with their intervals."""
    title, found = text("channels.added.title"), rows(payload, "attribution", "effects")
    if payload is None or not found:
        return waiting("added", title, _NOTEBOOK)
    found = sorted(found, key=lambda row: -row["added"])
    columns = [
        Column(text("channels.column.channel"), _named),
        Column(text("channels.column.added"), between("added", _one)),
        Column(text("channels.column.shown"), _shown),
    ]
    drawing = bars(
        "added-orders", finding(payload) or title, text("channels.added.subtitle"),
        text("channels.added.summary", n=number(len(found))), columns, found, source(payload, "attribution"),
        value="added", low="low", high="high",
    )  # fmt: skip
    return section("added", title, text("channels.added.lead"), drawing)


def credits(payload: Payload) -> Html:
    """Set the usual credits beside what was truly added, and what each costs."""
    title, found = text("channels.credits.title"), rows(payload, "attribution", "scorecard")
    if payload is None or not rows(payload, "attribution", "effects"):
        return waiting("credits", title, _NOTEBOOK)
    if not found:
        return few("credits", title)
    amount = _units(payload)
    columns = [
        Column(text("channels.column.channel"), _named),
        Column(text("channels.column.first"), written("credit_first", _one)),
        Column(text("channels.column.last"), written("credit_last", _one)),
        Column(text("channels.column.shapley"), written("credit_shapley", _one)),
        Column(text("channels.column.added"), written("added", _one)),
        Column(text("channels.column.spend"), written("spend", amount)),
        Column(text("channels.column.per_last"), written("cost_per_last", amount)),
        Column(text("channels.column.per_added"), written("cost_per_added", amount)),
    ]
    served = rows(payload, "attribution", "served")
    by = served[0]["decided_by"] if served else "rule"
    return section(
        "credits", title, text(f"channels.decided.{by}"), listing(title, columns, found, "credits")
    )


def together(payload: Payload) -> Html:
    """Show which channels do more together than apart, or less."""
    title = text("channels.together.title")
    if not rows(payload, "attribution", "effects"):
        return waiting("together", title, _NOTEBOOK)
    found = rows(payload, "attribution", "synergies")
    if not found:
        return few("together", title)
    columns = [
        Column(text("channels.column.pair"), _pair),
        Column(text("channels.column.both"), written("both", percent)),
        Column(text("channels.column.first_only"), written("first_only", percent)),
        Column(text("channels.column.second_only"), written("second_only", percent)),
        Column(text("channels.column.paths"), written("paths")),
        Column(text("channels.column.verdict"), _verdict),
    ]
    return section(
        "together", title, text("channels.together.lead"), listing(title, columns, found, "synergies")
    )


def scenario(payload: Payload) -> Html:
    """Show another share-out of the same budget: a scenario, not a forecast."""
    title, found = text("channels.scenario.title"), rows(payload, "attribution", "scenario")
    if payload is None or not rows(payload, "attribution", "effects"):
        return waiting("scenario", title, _NOTEBOOK)
    if not found:
        return few("scenario", title)
    amount = _units(payload)
    columns = [
        Column(text("channels.column.channel"), _named),
        Column(text("channels.column.spend"), written("spend", amount)),
        Column(text("channels.column.budget"), written("budget", amount)),
        Column(text("channels.column.change"), written("change", percent)),
        Column(text("channels.column.added"), written("added", _one)),
        Column(text("channels.column.expected"), written("expected", _one)),
        Column(text("channels.column.seen"), _seen),
    ]
    return section(
        "scenario", title, text("channels.scenario.lead"), listing(title, columns, found, "scenario")
    )


def _named(row: Row) -> Text:
    return channel(row["channel"].strip("()"))


def _pair(row: Row) -> Text:
    return join(" + ", channel(row["first"]), channel(row["second"]))


def _shown(row: Row) -> Text:
    return text("channels.shown.yes") if row["found"] else text("channels.shown.no")


def _verdict(row: Row) -> Text:
    if not row["found"]:
        return text("channels.verdict.none")
    return text("channels.verdict.more") if row["found"] > 0 else text("channels.verdict.less")


def _seen(row: Row) -> Text:
    return text("channels.seen.beyond") if row["extrapolates"] else text("channels.seen.within")


def _one(value: float) -> Text:
    return number(value, 1)


def _units(payload: Mapping[str, Any]) -> Callable[[float], Text]:
    """Write an amount given in whole units of the currency."""
    from babel.numbers import get_currency_precision

    minor = 10 ** get_currency_precision(payload["currency"])
    return lambda value: money(value * minor, payload["currency"])
