"""E-mail on the channels page: whether it arrives, whom to write to no more, what a message lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdpkit.ui.digest import rows
from cdpkit.ui.formats import date, number, percent
from cdpkit.ui.kit import Html, card, element, notice, section
from cdpkit.ui.listing import Column, bars, between, few, listing, source, waiting, written
from cdpkit.ui.messages import Text, join, same, text

Payload = Mapping[str, Any] | None
Row = Mapping[str, Any]

_NOTEBOOK = "45_deliverability"

#: Share of complaints under which a sender is in order.
_GOOD = 0.001


def mail(payload: Payload) -> Html:
    """Show what mailbox providers make of the messages, and the weeks out of what is usual."""
    title, found = text("channels.mail.title"), rows(payload, "deliverability", "providers")
    if payload is None or "deliverability" not in payload["models"]:
        return waiting("mail", title, _NOTEBOOK)
    if not found:
        return few("mail", title)
    columns = [
        Column(text("channels.column.provider"), _provider),
        Column(text("channels.column.sent"), written("sent")),
        Column(text("channels.column.complaints"), between("complaint_rate", _fine)),
        Column(text("channels.column.bounces"), written("bounce_rate", percent)),
        Column(text("channels.column.clicks"), written("click_rate", percent)),
        Column(text("channels.column.limit"), _limit),
    ]
    drawing = bars(
        "mail-providers", _standing(found), text("channels.mail.subtitle"),
        text("channels.mail.summary", n=number(len(found))), columns, found,
        source(payload, "deliverability"),
        value="complaint_rate", low="low", high="high", axis=".1%",
    )  # fmt: skip
    return section("mail", title, text("channels.mail.lead"), drawing, _weeks(payload))


def stop(payload: Payload) -> Html:
    """Show whom to write to no more, and what leaving out the lowest scores spares and costs."""
    title = text("channels.stop.title")
    if payload is None or "deliverability" not in payload["models"]:
        return waiting("stop", title, _NOTEBOOK)
    stops, spared = rows(payload, "deliverability", "sunset"), rows(payload, "deliverability", "spared")
    if not stops and not spared:
        return few("stop", title)
    tables = []
    if stops:
        columns = [
            Column(text("channels.column.reason"), lambda row: text(f"channels.sunset.{row['reason']}")),
            Column(text("axis.people"), lambda row: _hidden(row["people"], payload["k"])),
        ]
        tables.append(listing(text("channels.stop.list"), columns, stops, "write-no-more"))
    if spared:
        columns = [
            Column(text("channels.column.left_out"), _left_out),
            *[
                Column(text(f"channels.column.spared_{name}"), written(name, percent))
                for name in ("complaint", "bounce", "unsubscribe", "click")
                if any(row.get(name) is not None for row in spared)
            ],
        ]
        tables.append(listing(text("channels.stop.spared"), columns, spared, "spared"))
    judged = rows(payload, "deliverability", "validation")
    learned = [row for row in judged if row["decided_by"] == "model"]
    said = text("channels.stop.proof", None, n=number(len(learned)), all=number(len(judged)))
    proof = element("p", said, class_="footnote") if judged else None
    return section("stop", title, text("channels.stop.lead"), element("div", *tables, class_="stack"), proof)


def message(payload: Payload) -> Html:
    """Show what would keep the checked message from the inbox, the gravest first, and what to do."""
    title = text("channels.message.title")
    if payload is None or "deliverability" not in payload["models"]:
        return waiting("message", title, _NOTEBOOK)
    found = rows(payload, "deliverability", "findings")
    if not found:
        how = element("code", "cdpkit run deliverability -p message=message.eml")
        return section(
            "message", title, None, notice(text("channels.message.none"), text("channels.message.how"), how)
        )
    columns = [
        Column(text("channels.column.fix"), lambda row: {"fr": row["fix_fr"], "en": row["fix_en"]}),
        Column(text("channels.column.field"), lambda row: text(f"channels.field.{row['field']}")),
        Column(text("channels.column.points"), written("points")),
    ]
    return section("message", title, text("channels.message.lead"), listing(title, columns, found, "message"))


def _weeks(payload: Mapping[str, Any]) -> Html:
    """Return the weeks out of what a provider's weeks are usually like, or that there is none."""
    title, found = text("channels.weeks.title"), rows(payload, "deliverability", "chart")
    if not found:
        return card(element("h3", title), element("p", text("channels.weeks.none")))
    columns = [
        Column(text("channels.column.week"), lambda row: date(row["week"][:10])),
        Column(text("channels.column.provider"), _provider),
        Column(text("channels.column.outcome"), lambda row: text(f"channels.outcome.{row['outcome']}")),
        Column(text("channels.column.rate"), written("rate", _fine)),
        Column(text("channels.column.usual"), lambda row: join(" – ", _fine(row["low"]), _fine(row["high"]))),
        Column(text("channels.column.signal"), lambda row: text(f"channels.signal.{row['signal']}")),
    ]
    table = listing(title, columns, found[::-1], "mail-weeks")
    return element("div", table, element("p", text("channels.weeks.lead"), class_="footnote"), class_="stack")


def _standing(found: Sequence[Row]) -> Text:
    """Say which providers are over a limit of complaints, or that none is."""
    over = [row for row in found if row["threshold"] and row["provider"] != "all"]
    if not over and any(row["threshold"] for row in found):
        return text("channels.standing.whole")
    if not over:
        sure = all(_surely_under(row) for row in found)
        return text("channels.standing.good") if sure else text("channels.standing.unsure")
    grave = [row for row in over if row["threshold"] == "over 0.3 %"]
    names = join(", ", *(_provider(row) for row in grave or over))
    level = "over" if grave else "raised"
    return text(f"channels.standing.{level}", len(grave or over), names=names)


def _left_out(row: Row) -> Text:
    return text("channels.left_out", None, share=percent(row["share"]), n=number(row["people"]))


def _provider(row: Row) -> Text:
    known = row["provider"] in ("all", "other")
    return text(f"channels.provider.{row['provider']}") if known else same(str(row["provider"]))


def _limit(row: Row) -> Text:
    if row["threshold"] == "over 0.3 %":
        return text("channels.limit.over")
    if row["threshold"]:
        return text("channels.limit.raised")
    return text("channels.limit.good") if _surely_under(row) else text("channels.limit.unsure")


def _surely_under(row: Row) -> bool:
    """Tell whether even the upper end of the interval is under Gmail's limit: few messages prove nothing."""
    return row["high"] is not None and row["high"] < _GOOD


def _fine(value: float) -> Text:
    return percent(value, 2)


def _hidden(people: float | None, k: int) -> Text:
    return text("hidden.under", k=number(k)) if people is None else number(people)
