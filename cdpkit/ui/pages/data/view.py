"""The data page: sections out of a payload, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdpkit.ui import page as shell
from cdpkit.ui.digest import current, rows
from cdpkit.ui.formats import date, number, percent
from cdpkit.ui.kit import Html, card, element, fact, section
from cdpkit.ui.listing import Column, bars, channel, few, listing, made, source, waiting, written
from cdpkit.ui.messages import Text, join, same, text
from cdpkit.ui.navigation import Entry
from cdpkit.ui.pages.data.shares import shares

Payload = Mapping[str, Any] | None
Row = Mapping[str, Any]

_NOTEBOOK = "00_load"

#: What is sent otherwise than planned, as the tracking plan calls it.
_FAULTS = ("not_planned", "missing")


def page(payload: Payload, menu: list[Entry] | None = None) -> shell.Page:
    """Return the data page of a published payload, empty states where nothing was reported.

    Parameters
    ----------
    payload : mapping or None
        What `cdpkit.ui.pages.data.build` made; None before the first publication.
    menu : list of Entry, optional
        Navigation; that of the current folder when absent.
    """
    shown = (freshness, quality, files, aside, plan, coverage, consents, identity, integrated, shares)
    parts = [part(payload) for part in shown]
    return made("data", payload, finding(payload), text("data.definition"), parts, facts(payload), menu)


def finding(payload: Payload) -> Text | None:
    """Return the title: how many sources are up to date, and which are late."""
    found = rows(payload, "data", "freshness")
    if not found:
        return None
    late = [row["source"] for row in found if row["stale"]]
    if not late:
        return text("data.finding.fresh", n=number(len(found)))
    return text("data.finding.late", n=number(len(late)), all=number(len(found)), names=", ".join(late))


def facts(payload: Payload) -> list[tuple[Text, Text]]:
    """Return what the trust strip adds: records read, set aside, persons."""
    if payload is None or not current(payload):
        return []
    found = rows(payload, "data", "files")
    read, held = sum(row["records_in"] for row in found), sum(row["quarantined"] for row in found)
    persons = payload["known"]["persons"]
    return [
        (text("data.trust.read"), number(read)),
        (text("data.trust.held"), number(held)),
        (text("data.trust.persons"), number(persons)),
    ]


def freshness(payload: Payload) -> Html:
    """Show each source's last data beside its own usual rhythm."""
    title, found = text("data.freshness.title"), rows(payload, "data", "freshness")
    if not found:
        return waiting("freshness", title, _NOTEBOOK)
    columns = [
        Column(text("data.column.source"), written("source", same)),
        Column(text("data.column.badge"), _badge),
        Column(text("data.column.last"), written("last_known", date)),
        Column(text("data.column.age"), written("age_days", lambda days: number(days, 1))),
        Column(text("data.column.usual"), written("usual_days", lambda days: number(days, 1))),
    ]
    return section(
        "freshness", title, text("data.freshness.lead"), listing(title, columns, found, "freshness")
    )


def quality(payload: Payload) -> Html:
    """Show the quality of each source: one bar, and the four measures behind it."""
    title, found = text("data.quality.title"), rows(payload, "data", "quality")
    if payload is None or not found:
        return waiting("quality", title, _NOTEBOOK)
    found = sorted(found, key=lambda row: row["score"] if row["score"] is not None else 2)
    names = ("score", "completeness", "validity", "uniqueness", "freshness")
    columns = [
        Column(text("data.column.source"), written("source", same)),
        *(Column(text(f"data.column.{name}"), written(name, percent)) for name in names),
        Column(text("data.column.rows"), written("rows")),
    ]
    worst, score = found[0]["source"], percent(found[0]["score"])
    said = text("data.quality.finding", source=worst, score=score)
    about = text("data.quality.summary", source=worst, score=score, n=number(len(found)))
    drawing = bars(
        "quality-scores", said, text("data.quality.subtitle"), about, columns, found,
        source(payload, "data"), value="score", axis=".0%",
    )  # fmt: skip
    return section("quality", title, text("data.quality.lead"), drawing)


def files(payload: Payload) -> Html:
    """Show what each file brought."""
    title, found = text("data.files.title"), rows(payload, "data", "files")
    if not found:
        return waiting("files", title, _NOTEBOOK)
    columns = [
        Column(text("data.column.dataset"), lambda row: same(f"{row['source']} · {row['dataset']}")),
        Column(text("data.column.read"), written("records_in")),
        Column(text("data.column.good"), written("good")),
        Column(text("data.column.held"), written("quarantined")),
        Column(text("data.column.status"), lambda row: text(f"data.status.{row['status']}")),
    ]
    return section("files", title, None, listing(title, columns, found, "files"))


def aside(payload: Payload) -> Html:
    """Show what waits in quarantine, and why."""
    title = text("data.aside.title")
    if not rows(payload, "data", "files"):
        return waiting("quarantine", title, _NOTEBOOK)
    found = rows(payload, "data", "quarantine")
    if not found:
        return section("quarantine", title, text("data.aside.none"))
    columns = [
        Column(text("data.column.dataset"), lambda row: same(f"{row['source']} · {row['dataset']}")),
        Column(text("data.column.reason"), written("reason", same)),
        Column(text("data.column.records"), written("records")),
    ]
    return section("quarantine", title, text("data.aside.lead"), listing(title, columns, found, "quarantine"))


def plan(payload: Payload) -> Html:
    """Show what is sent otherwise than the tracking plan says."""
    title = text("data.plan.title")
    if not rows(payload, "data", "files"):
        return waiting("plan", title, _NOTEBOOK)
    found = rows(payload, "data", "tracking_plan")
    if not found:
        return section("plan", title, text("data.plan.none"))
    columns = [
        Column(text("data.column.event"), written("event", same)),
        Column(text("data.column.property"), written("property", same)),
        Column(text("data.column.fault"), _fault),
        Column(text("data.column.rows"), written("rows")),
        Column(text("data.column.share"), written("share", percent)),
    ]
    return section("plan", title, text("data.plan.lead"), listing(title, columns, found, "tracking-plan"))


def coverage(payload: Payload) -> Html:
    """Show which routes, channels and touchpoints the data cover."""
    title = text("data.coverage.title")
    tables = []
    for by in ("acquisition_route", "channel", "touchpoint"):
        found = rows(payload, "data", f"coverage_{by}")
        columns = [
            Column(text(f"data.coverage.{by}"), lambda row: same(f"{row['value']} · {row['table']}")),
            Column(text("data.column.rows"), written("rows")),
            Column(text("data.column.share"), written("share", percent)),
            Column(text("data.column.known"), _known),
        ]
        if found:
            tables.append(card(listing(text(f"data.coverage.{by}"), columns, found, f"coverage-{by}")))
    if not tables:
        return waiting("coverage", title, _NOTEBOOK)
    return section("coverage", title, text("data.coverage.lead"), element("div", *tables, class_="stack"))


def consents(payload: Payload) -> Html:
    """Show who agreed to what: the last word of each person by purpose and channel."""
    title = text("data.consents.title")
    if payload is None or not current(payload):
        return waiting("consents", title, _NOTEBOOK)
    found = payload["consents"]
    if not found:
        return few("consents", title)
    columns = [
        Column(text("data.column.purpose"), lambda row: text(f"data.purpose.{row['purpose']}")),
        Column(text("data.column.channel"), written("channel", _channel)),
        Column(text("data.column.answer"), lambda row: text(f"data.answer.{row['status']}")),
        Column(text("axis.people"), _people(payload["k"])),
    ]
    return section("consents", title, text("data.consents.lead"), listing(title, columns, found, "consents"))


def identity(payload: Payload) -> Html:
    """Show how many records make how many persons, and how often each source's records match another's."""
    title = text("data.identity.title")
    if payload is None or not current(payload) or not payload["persons"]["persons"]:
        return waiting("identity", title, "10_identity")
    whole = payload["persons"]
    each = number(whole["records"] / whole["persons"], 2)
    share = percent(whole["joined"] / whole["persons"])
    cards = [
        (text("data.identity.persons"), number(whole["persons"]), text("data.identity.each", n=each)),
        (text("data.identity.known"), number(payload["known"]["persons"]), text("data.identity.known.note")),
        (text("data.identity.joined"), share, text("data.identity.joined.note")),
    ]
    columns = [
        Column(text("data.column.source"), written("source", same)),
        Column(text("data.column.records"), written("records")),
        Column(text("data.column.matched"), written("matched")),
        Column(text("data.column.rate"), _rate),
    ]
    figures = element("dl", [fact(*one) for one in cards], class_="card facts")
    found = listing(text("data.identity.table"), columns, payload["matches"], "matches")
    kinds = [
        Column(text("data.column.kind"), _both),
        Column(text("axis.people"), written("persons")),
        Column(text("data.column.records"), written("records")),
    ]
    if payload["populations"]:
        kept = listing(text("data.identity.kinds"), kinds, payload["populations"], "populations")
        found = element("div", kept, found, class_="stack")
    whole_person = element("p", text("data.identity.one"), class_="footnote")
    return section("identity", title, text("data.identity.lead"), figures, found, whole_person)


def integrated(payload: Payload) -> Html:
    """Set the base's own integrated view beside what the trade said of its own, as dated context."""
    from cdpkit.maturity.benchmarks import CONTEXT, benchmarks

    title = text("data.integrated.title")
    if payload is None or not current(payload) or not payload["known"]["persons"]:
        return waiting("integrated", title, "10_identity")
    trade = next(one for one in benchmarks() if one.id == "ST-24")
    whole = payload["known"]
    origin = {language: trade.origin(language) for language in ("fr", "en")}
    own = card(
        element("h3", text("data.integrated.own")),
        element("p", percent(whole["joined"] / whole["persons"]), class_="big"),
        element("p", text("data.integrated.own.note"), class_="note"),
        _level(payload),
    )
    theirs = card(
        element("h3", text("data.integrated.trade")),
        element("p", trade.value, class_="big"),
        element("p", trade.meaning, class_="note"),
        element("p", join(" · ", trade.population, origin), class_="note"),
        element("p", CONTEXT, class_="note weak"),
    )
    return section("integrated", title, None, element("div", own, theirs, class_="pair even"))


def _level(payload: Mapping[str, Any]) -> Html:
    """Say the base's own level, who reaches each and what the next lacks, or that none was judged yet."""
    levels, base = payload["levels"], payload["level_of_base"]
    if not levels or not base:
        return element("p", text("data.integrated.unjudged"), class_="note")
    lines = [
        element(
            "li",
            text("data.integrated.level", level=number(row["level"]), name=_both(row), share=_share(row)),
        )
        for row in levels
        if row["level"] is not None
    ]
    told = text("data.integrated.base", level=number(base[0]["level"]))
    wants = [
        row for row in payload["lacking"] if row["level"] == base[0]["level"] and row["share"] is not None
    ]
    lacks = [
        element("li", text("data.integrated.lacks", what=_both(row), share=_share(row))) for row in wants
    ]
    more = [element("p", text("data.integrated.next")), element("ul", lacks, class_="note")] if wants else []
    return element("div", element("p", told), element("ul", lines, class_="note"), more)


def _share(row: Row) -> Text:
    return same("–") if row["share"] is None else percent(row["share"])


def _both(row: Row) -> Text:
    return {"fr": row["fr"], "en": row["en"]}


def _badge(row: Row) -> Text:
    return text("data.badge.late") if row["stale"] else text("data.badge.fresh")


def _known(row: Row) -> Text:
    return text("data.known.no") if row["flagged"] else text("data.known.yes")


def _channel(name: str) -> Text:
    return text("data.channel.all") if name == "*" else channel(name)


def _people(k: int) -> Any:
    return lambda row: text("hidden.under", k=number(k)) if row["people"] is None else number(row["people"])


def _rate(row: Row) -> Text:
    return percent(row["matched"] / row["records"]) if row["records"] else same("–")


def _fault(row: Row) -> Text:
    fault = row["fault"].replace(" ", "_")
    return text(f"data.fault.{fault}") if fault in _FAULTS else same(row["fault"])
