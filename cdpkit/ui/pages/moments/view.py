"""The moments page: sections out of a payload, in both languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cdpkit.ui import page as shell
from cdpkit.ui.digest import current, rows
from cdpkit.ui.formats import date, number, percent
from cdpkit.ui.kit import Html, card, element, figure, notice, section, table
from cdpkit.ui.listing import Column, few, listing, made, source, waiting, written
from cdpkit.ui.messages import Text, same, text
from cdpkit.ui.navigation import Entry
from cdpkit.ui.pages.moments.visits import ahead, intents
from cdpkit.ui.theme import GRID, TIERS, layout

Payload = Mapping[str, Any] | None
Row = Mapping[str, Any]

_NOTEBOOK = "41_send_time"

#: Who decided on an hour, from the surest to the least sure.
_BY = ("declared", "own hours", "everybody's hours", "any hour")


def page(payload: Payload, menu: list[Entry] | None = None) -> shell.Page:
    """Return the moments page of a published payload, empty states where nothing was reported.

    Parameters
    ----------
    payload : mapping or None
        What `cdpkit.ui.pages.moments.build` made; None before the first publication.
    menu : list of Entry, optional
        Navigation; that of the current folder when absent.
    """
    shown = [part(payload) for part in (hours, sureness, rhythm, order, up, intents, ahead, proof)]
    parts = [part for part in shown if part is not None]
    return made("moments", payload, finding(payload), text("moments.definition"), parts, (), menu)


def finding(payload: Payload) -> Text | None:
    """Return the title: the hour at which most should be written to, or that no hour does better."""
    if payload is None or not current(payload):
        return None
    served = rows(payload, "send_time", "served")
    found = [row for row in payload["hours"] if row["people"]]
    if not served or not found:
        return text("moments.finding.none")
    if served[0]["served"] == "any hour":
        return text("moments.finding.any")
    at: dict[int, int] = {}
    for row in found:
        at[row["hour"]] = at.get(row["hour"], 0) + row["people"]
    best = max(at, key=lambda hour: at[hour])
    return text("moments.finding", hour=_slot(best, payload), share=percent(at[best] / payload["scored"]))


def hours(payload: Payload) -> Html:
    """Show at which hour people would be written to, those without enough reactions apart."""
    title = text("moments.hours.title")
    if payload is None or not payload.get("hours"):
        return waiting("hours", title, _NOTEBOOK)
    found = [row for row in payload["hours"] if row["people"] is not None]
    if not found:
        return few("hours", title)
    served = rows(payload, "send_time", "served")
    if served and served[0]["served"] == "any hour":
        return section(
            "hours",
            title,
            text("moments.hours.lead"),
            notice(text("moments.hours.any"), text("moments.hours.any.do")),
        )
    own = sum(row["people"] for row in found if row["decided_by"] in _BY[:2])
    spec = _grid(payload, found) if payload["weekly"] else _bars(payload, found)
    columns = [text("moments.column.hour"), text("moments.column.by"), text("axis.people")]
    cells = [(_slot(row["hour"], payload), _by(row["decided_by"]), number(row["people"])) for row in found]
    summary = text("moments.hours.summary", own=number(own), all=number(payload["scored"]))
    drawing = figure(
        "hours-chart", finding(payload) or title, text("moments.hours.subtitle"), spec,
        summary, columns, cells, source(payload, "send_time"),
    )  # fmt: skip
    return section("hours", title, text("moments.hours.lead"), drawing)


def sureness(payload: Payload) -> Html | None:
    """Show for how many the hour is their own, and for how many it is everybody's."""
    if payload is None or not payload.get("hours"):
        return None
    title, total = text("moments.sure.title"), payload["scored"]
    cells = []
    for by in _BY:
        people = [row["people"] for row in payload["hours"] if row["decided_by"] == by]
        if people:
            known = None if None in people else sum(people)
            share = same("–") if known is None else percent(known / total)
            cells.append((_by(by), same("–") if known is None else number(known), share))
    columns = [text("moments.column.by"), text("axis.people"), text("moments.column.share")]
    return section("sure", title, text("moments.sure.lead"), table(title, columns, cells, "sureness"))


def rhythm(payload: Payload) -> Html:
    """Show how much was sent and answered, month by month."""
    title, found = text("moments.rhythm.title"), rows(payload, "pressure_ledger", "months")
    if not found:
        return waiting("rhythm", title, "52_activation")
    columns = [
        Column(text("moments.column.until"), lambda row: date(_day(row["until"]))),
        *[
            Column(text(f"moments.column.{name}"), written(name))
            for name in ("persons", "sent", "answered", "returned")
        ],
        Column(text("moments.column.silent"), written("silent", percent)),
    ]
    return section("rhythm", title, text("moments.rhythm.lead"), listing(title, columns, found, "months"))


def order(payload: Payload) -> Html:
    """Say whether the order of messages matters, and which one does best where it does."""
    title, found = text("moments.order.title"), rows(payload, "sequences", "served")
    if not found:
        return waiting("order", title, "46_sequences")
    told = found[0]
    counts = {"orders": number(told["orders"]), "people": number(told["people"])}
    if told["served"] == "best order":
        said = text("moments.order.best", None, best=same(told["best"]), **counts)
    else:
        said = text("moments.order.any", None, **counts)
    return section("order", title, text("moments.order.lead"), card(element("p", said)))


def up(payload: Payload) -> Html:
    """Show when customers are ready to move up the range."""
    title, found = text("moments.up.title"), rows(payload, "upsell", "moments")
    if payload is None or "upsell" not in payload["models"]:
        return waiting("up", title, "33_upsell")
    if not found:
        return few("up", title)
    columns = [
        Column(text("moments.column.rung"), written("next_rung", same)),
        Column(text("moments.column.period"), written("best_period")),
        Column(text("moments.column.customers"), written("customers")),
    ]
    return section("up", title, text("moments.up.lead"), listing(title, columns, found, "up-sell-moments"))


def proof(payload: Payload) -> Html:
    """Set hours of one's own beside everybody's hours and no preference at all."""
    title, found = text("moments.proof.title"), rows(payload, "send_time", "validation")
    if not found:
        return waiting("proof", title, _NOTEBOOK)
    columns = [
        Column(text("moments.column.candidate"), lambda row: _by(row["candidate"])),
        Column(text("moments.column.loss"), written("loss", lambda v: number(v, 4))),
        Column(text("moments.column.difference"), written("difference", lambda v: number(v, 4))),
        Column(text("moments.column.se"), written("se", lambda v: number(v, 4))),
    ]
    served = rows(payload, "send_time", "served")
    said = element("p", text(f"moments.decided.{served[0]['decided_by']}"), class_="lead") if served else None
    return section(
        "proof", title, text("moments.proof.lead"), said, listing(title, columns, found, "send-time-proof")
    )


def _bars(payload: Mapping[str, Any], found: Sequence[Row]) -> dict[str, Any]:
    """Draw people by hour of the day, hatched where the hour is not their own."""
    traces = []
    for own, colour, pattern in ((True, TIERS["cold"].colour, ""), (False, TIERS["warm"].colour, "/")):
        mine = [row for row in found if (row["decided_by"] in _BY[:2]) is own]
        if mine:
            traces.append(
                {
                    "type": "bar", "name": text("moments.legend.own") if own else text("moments.legend.all"),
                    "x": [row["hour"] for row in mine], "y": [row["people"] for row in mine],
                    "marker": {"color": colour, "pattern": {"shape": pattern}},
                }
            )  # fmt: skip
    axes = {
        "xaxis": {"title": {"text": text("moments.axis.hour")}, "dtick": 2, "range": [-0.5, 23.5]},
        "yaxis": {"title": {"text": text("axis.people")}, "rangemode": "tozero"},
    }
    return {"data": traces, "layout": layout(barmode="stack", **axes)}


def _grid(payload: Mapping[str, Any], found: Sequence[Row]) -> dict[str, Any]:
    """Draw people by hour and weekday; an empty cell is one where nobody is written to, or too few."""
    at: dict[int, int] = {}
    for row in found:
        at[row["hour"]] = at.get(row["hour"], 0) + row["people"]
    z = [[at.get(24 * day + hour) for hour in range(24)] for day in range(7)]
    grid = {
        "type": "heatmap", "z": z, "x": list(range(24)), "y": list(range(7)), "xgap": 1, "ygap": 1,
        "colorscale": [[0, "#dbe7f3"], [1, TIERS["cold"].colour]], "hoverongaps": False,
        "colorbar": {"title": {"text": text("axis.people")}},
    }  # fmt: skip
    axes = {
        "xaxis": {"title": {"text": text("moments.axis.hour")}, "dtick": 2},
        "yaxis": {
            "tickvals": list(range(7)), "ticktext": [text(f"moments.day.{day}") for day in range(7)],
            "autorange": "reversed", "gridcolor": GRID,
        },
    }  # fmt: skip
    return {"data": [grid], "layout": layout(**axes)}


def _slot(slot: int, payload: Mapping[str, Any]) -> Text:
    hour = text("moments.hour", hour=f"{slot % 24:02d}")
    return (
        text("moments.slot", day=text(f"moments.day.{slot // 24}"), hour=hour) if payload["weekly"] else hour
    )


def _day(moment: float | str) -> str:
    """Return the day of a moment, in milliseconds since 1970 or written out."""
    return (
        moment if isinstance(moment, str) else datetime.fromtimestamp(moment / 1000, UTC).date().isoformat()
    )


def _by(name: str) -> Text:
    keys = dict(zip(_BY, ("declared", "own", "common", "any"), strict=True))
    return text(f"moments.by.{keys[name]}") if name in keys else same(name)
