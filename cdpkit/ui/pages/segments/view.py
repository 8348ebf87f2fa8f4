"""The segments page: sections out of a payload, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdpkit.ui import page as shell
from cdpkit.ui.digest import current, rows
from cdpkit.ui.exports import export
from cdpkit.ui.formats import number, percent
from cdpkit.ui.kit import Html, element, notice, section
from cdpkit.ui.listing import Column, bars, channel, few, listing, made, source, waiting, written
from cdpkit.ui.messages import Text, text
from cdpkit.ui.navigation import Entry

Payload = Mapping[str, Any] | None
Row = Mapping[str, Any]

_NOTEBOOK = "51_segments"


def page(payload: Payload, menu: list[Entry] | None = None) -> shell.Page:
    """Return the segments page of a published payload, empty states where nothing was reported.

    Parameters
    ----------
    payload : mapping or None
        What `cdpkit.ui.pages.segments.build` made; None before the first publication.
    menu : list of Entry, optional
        Navigation; that of the current folder when absent.
    """
    shown = (rfm, stages, moves, inactive, personas, audiences, ready, audit, funnel)
    parts = [part(payload) for part in shown]
    return made("segments", payload, finding(payload), text("segments.definition"), parts, (), menu)


def finding(payload: Payload) -> Text | None:
    """Return the title: which group holds how much of the amount spent."""
    if not current(payload):
        return None
    found = [row for row in rows(payload, "segments", "rfm") if row["n"] is not None]
    if not found:
        return text("segments.finding.none")
    top = max(found, key=lambda row: row["share_of_amount"])
    return text(
        "segments.finding",
        group=_named(top),
        share=percent(top["share"]),
        amount=percent(top["share_of_amount"]),
    )


def rfm(payload: Payload) -> Html:
    """Show the groups by recency, frequency and amount."""
    title, found = text("segments.rfm.title"), rows(payload, "segments", "rfm")
    if payload is None or not found:
        return waiting("rfm", title, _NOTEBOOK)
    columns = [
        Column(text("segments.column.group"), _named),
        Column(text("axis.people"), written("n")),
        Column(text("segments.column.share"), written("share", percent)),
        Column(text("segments.column.amount"), written("share_of_amount", percent)),
        Column(text("segments.column.recency"), written("median_recency")),
        Column(text("segments.column.frequency"), written("median_frequency")),
    ]
    drawing = bars(
        "rfm-groups", finding(payload) or title, text("segments.rfm.subtitle"),
        text("segments.rfm.summary", n=number(len(found))), columns, found, source(payload, "segments"),
        value="n",
    )  # fmt: skip
    return section("rfm", title, text("segments.rfm.lead"), drawing)


def stages(payload: Payload) -> Html:
    """Show where people stand on their journey."""
    title, found = text("segments.stages.title"), rows(payload, "segments", "stages")
    if not found:
        return waiting("stages", title, _NOTEBOOK)
    columns = [
        Column(text("segments.column.stage"), lambda row: _stage(row["stage"])),
        Column(text("axis.people"), written("n")),
    ]
    return section("stages", title, None, listing(title, columns, found, "stages"))


def moves(payload: Payload) -> Html:
    """Show who moved from one stage to another since the earlier date."""
    title, found = text("segments.moves.title"), rows(payload, "segments", "stage_moves")
    if not found:
        return waiting("moves", title, _NOTEBOOK)
    columns = [
        Column(text("segments.column.from"), lambda row: _stage(row["origin"])),
        Column(text("segments.column.to"), lambda row: _stage(row["target"])),
        Column(text("axis.people"), written("n")),
        Column(text("segments.column.part"), written("share", percent)),
    ]
    shown = [row for row in found if row["n"] is not None]
    if not shown:
        return few("moves", title)
    return section("moves", title, text("segments.moves.lead"), listing(title, columns, shown, "moves"))


def inactive(payload: Payload) -> Html:
    """Show the delay suggested by the data, the inactive at each delay, and who can still be reached."""
    title, found = text("segments.inactive.title"), rows(payload, "segments", "inactive_curve")
    delay = rows(payload, "segments", "inactive_suggested")
    if not delay:
        return waiting("inactive", title, _NOTEBOOK)
    days, used = number(delay[0]["suggested_days"]), number(delay[0]["in_force"])
    columns = [
        Column(text("segments.column.days"), written("days")),
        Column(text("segments.column.inactive"), written("n_inactive")),
        Column(text("segments.column.share"), written("share", percent)),
    ]
    curve = listing(text("segments.inactive.curve"), columns, found, "inactive")
    reach = _reach(
        text("segments.inactive.reach"), rows(payload, "segments", "inactive_reach"), "inactive-reach"
    )
    body = element("div", curve, reach, class_="stack")
    return section("inactive", title, text("segments.inactive.lead", days=days, used=used), body)


def personas(payload: Payload) -> Html:
    """Show the groups the data themselves show, if there are any."""
    title, found = text("segments.personas.title"), rows(payload, "segments", "personas")
    if not rows(payload, "segments", "stages"):
        return waiting("personas", title, _NOTEBOOK)
    if not found:
        return section("personas", title, text("segments.personas.none"))
    columns = [
        Column(text("segments.column.traits"), lambda row: {"fr": row["traits_fr"], "en": row["traits_en"]}),
        Column(text("axis.people"), written("n")),
        Column(text("segments.column.share"), written("share", percent)),
    ]
    return section("personas", title, None, listing(title, columns, found, "personas"))


def ready(payload: Payload) -> Html:
    """Show every audience made: who is left out and why, and its file with its manifest."""
    if payload is None or "audiences" not in payload:
        return waiting("export", text("export.title"), "50_audiences")
    return export(payload)


def audiences(payload: Payload) -> Html:
    """Show how many of each audience can be reached, channel by channel."""
    title = text("segments.audiences.title")
    if payload is None or not current(payload) or "audience_reach" not in payload["models"]:
        return waiting("audiences", title, "50_audiences")
    frames = payload["models"]["audience_reach"]["frames"]
    tables = [
        _reach(text("segments.audiences.one", name=name.replace("_", " ")), found, f"reach-{name}")
        for name, found in frames.items()
        if any(row["n"] is not None for row in found)
    ]
    if not tables:
        said = notice(text("empty.title"), text("segments.audiences.few", k=number(payload["k"])))
        return section("audiences", title, text("segments.audiences.lead"), said)
    return section(
        "audiences", title, text("segments.audiences.lead"), element("div", *tables, class_="stack")
    )


def audit(payload: Payload) -> Html:
    """Show where contacts are lost, from known to reachable, with what to do about it."""
    title, found = text("segments.audit.title"), rows(payload, "segments", "contact_audit")
    if not found:
        return waiting("audit", title, _NOTEBOOK)
    columns = [
        Column(text("segments.column.step"), _named),
        Column(text("axis.people"), written("n")),
        Column(text("segments.column.share"), written("share", percent)),
        Column(text("segments.column.action"), _action),
    ]
    return section("audit", title, text("segments.steps.note"), listing(title, columns, found, "audit"))


def funnel(payload: Payload) -> Html:
    """Show the path from view to payment, by stage of the journey."""
    title, found = text("segments.funnel.title"), rows(payload, "segments", "funnel")
    if not rows(payload, "segments", "stages"):
        return waiting("funnel", title, _NOTEBOOK)
    if not found:
        return few("funnel", title)
    columns = [
        Column(text("segments.column.stage"), lambda row: _stage(row["audience"])),
        Column(text("segments.column.step"), _named),
        Column(text("axis.people"), written("n")),
        Column(text("segments.column.first"), written("share_of_first", percent)),
        Column(text("segments.column.action"), _action),
    ]
    return section("funnel", title, text("segments.steps.note"), listing(title, columns, found, "funnel"))


def _reach(title: Text, found: Any, name: str) -> Html:
    columns = [
        Column(text("segments.column.channel"), written("channel", channel)),
        Column(text("segments.column.members"), written("n")),
        Column(text("segments.column.address"), written("with_address")),
        Column(text("segments.column.consented"), written("consented")),
        Column(text("segments.column.reachable"), written("reachable")),
        Column(text("segments.column.share"), written("share", percent)),
    ]
    return listing(title, columns, found, name)


def _named(row: Row) -> Text:
    return {"fr": row["fr"], "en": row["en"]}


def _action(row: Row) -> Text:
    return {"fr": row["action_fr"] or "–", "en": row["action_en"] or "–"}


def _stage(name: str) -> Text:
    return text(f"segments.stage.{name}")
