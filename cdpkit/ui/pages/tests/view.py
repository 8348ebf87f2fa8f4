"""The tests page: sections out of a payload, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdpkit.ui import page as shell
from cdpkit.ui.digest import current
from cdpkit.ui.formats import date, interval, number, percent
from cdpkit.ui.kit import Html, element, notice, section
from cdpkit.ui.listing import Column, bars, between, channel, listing, written
from cdpkit.ui.messages import Text, join, same, text
from cdpkit.ui.navigation import Entry
from cdpkit.ui.pages.tests.campaigns import campaigns

Payload = Mapping[str, Any]
Row = Mapping[str, Any]


def page(payload: Payload | None, menu: list[Entry] | None = None) -> shell.Page:
    """Return the tests page of a published payload, or its polite empty state.

    Parameters
    ----------
    payload : mapping or None
        What `cdpkit.ui.pages.tests.build` made; None where nothing was ever drawn at random.
    menu : list of Entry, optional
        Navigation; that of the current folder when absent.
    """
    extra = {} if menu is None else {"menu": menu}
    if payload is None or not current(payload):
        words = notice(
            text("tests.none"),
            text("tests.none.do", notebook="50_audiences.ipynb"),
            element("code", "cdpkit run audiences"),
        )
        return shell.Page(
            "tests", text("tests.title"), text("tests.definition"), None, [words, wheel()], **extra
        )
    parts = [judged(payload), campaigns(payload), waiting(payload), wheel()]
    return shell.Page("tests", finding(payload), text("tests.definition"), trust(payload), parts, **extra)


def finding(payload: Payload) -> Text:
    """Return the title: how many of what was tried is shown to have changed something."""
    tried = [row for row in payload["judged"] if row["verdict"]]
    if not tried:
        return text("tests.finding.none")
    shown = sum(row["verdict"] != "unclear" for row in tried)
    if not shown:
        return text("tests.finding.zero", all=number(len(tried)))
    return text("tests.finding", count=shown, n=number(shown), all=number(len(tried)))


def trust(payload: Payload) -> Html:
    """Return the trust strip: the dates of the tests, the outcome, how people were compared."""
    spans = payload["dates"].values()
    facts = [(text("tests.trust.outcome"), text("tests.trust.days", n=number(payload["days"])))]
    if spans:
        first, last = min(span["first"] for span in spans), max(span["last"] for span in spans)
        days = [date(day) for day in dict.fromkeys((first, last))]
        facts.insert(0, (text("tests.trust.when"), join(" – ", *days)))
    facts += [
        (text("trust.population"), text("tests.trust.drawn")),
        (text("tests.trust.unjudged"), number(payload["unjudged"])),
    ]
    return shell.trust_strip(facts)


def judged(payload: Payload) -> Html:
    """Show the effect of each arm beside its control, with its interval and its verdict in words."""
    title, found = text("tests.judged.title"), payload["judged"]
    tried = [row for row in found if row["verdict"]]
    if not tried:
        return section(
            "judged",
            title,
            None,
            notice(text("empty.title"), text("tests.judged.none", k=number(payload["k"]))),
        )
    base = {row["test"]: row for row in found if not row["verdict"]}
    columns = [
        Column(text("tests.column.test"), _named),
        Column(text("axis.people"), written("people")),
        Column(text("tests.column.rate"), between("rate", percent)),
        Column(text("tests.column.control"), lambda row: between("rate", percent)(base[row["test"]])),
        Column(text("tests.column.difference"), _difference),
        Column(text("tests.column.verdict"), lambda row: text(f"tests.verdict.{row['verdict']}")),
        Column(text("tests.column.draws"), lambda row: _dates(payload["dates"][row["test"]])),
    ]
    spans = payload["dates"].values()
    source = text("tests.source", day=date(max(span["last"] for span in spans)))
    summary = text("tests.judged.summary", count=len(tried), n=number(len(tried)))
    drawing = bars(
        "effects", finding(payload), text("tests.judged.subtitle", n=number(payload["days"])),
        summary, columns, tried, source, value="difference", low="difference_low", high="difference_high",
        axis="+.1%",
    )  # fmt: skip
    lines = [element("li", _said(row), class_=f"verdict {row['verdict']}") for row in tried]
    return section(
        "judged", title, text("tests.judged.lead"), element("ul", lines, class_="verdicts"), drawing
    )


def waiting(payload: Payload) -> Html:
    """Show what left with a control group and cannot be judged yet."""
    title, found = text("tests.waiting.title"), payload["waiting"]
    if not found:
        return section("waiting", title, None, notice(text("empty.title"), text("tests.waiting.none")))
    columns = [
        Column(text("tests.column.audience"), lambda row: same(row["audience"].replace("_", " "))),
        Column(text("tests.column.channel"), lambda row: channel(row["channel"])),
        Column(text("tests.column.contacted"), written("contacted")),
        Column(text("tests.column.aside"), written("control")),
        Column(text("tests.column.from"), lambda row: date(row["from"])),
        Column(text("tests.column.ready"), lambda row: date(row["ready"])),
    ]
    return section(
        "waiting", title, text("tests.waiting.lead"), listing(title, columns, found, "activations")
    )


def wheel() -> Html:
    """Show the wheel: learn, test, optimise, and where each is done."""
    steps = [
        element(
            "li",
            element("h3", text(f"tests.wheel.{name}")),
            element("p", text(f"tests.wheel.{name}.about"), class_="note"),
            element("a", text(f"tests.wheel.{name}.go"), href=target),
            class_="card",
        )
        for name, target in (
            ("learn", "/page/appetence#why"),
            ("test", "/page/appetence#export"),
            ("optimise", "/page/channels#scenario"),
        )
    ]  # fmt: skip
    return section("wheel", text("tests.wheel.title"), None, element("ol", steps, class_="trio wheel"))


def _named(row: Row) -> Text:
    return same(f"{row['test']} · {row['arm']}")


def _difference(row: Row) -> Text:
    return between("difference", _points, "difference_low", "difference_high")(row)


def _points(share: float) -> Text:
    return text("tests.points", n=number(100 * share, 1))


def _said(row: Row) -> Text:
    sure = interval(_points(row["difference_low"]), _points(row["difference_high"]))
    return text(
        f"tests.said.{row['verdict']}", test=_named(row), points=_points(abs(row["difference"])), sure=sure
    )


def _dates(span: Mapping[str, Any]) -> Text:
    return text("tests.draws", count=span["draws"], n=number(span["draws"]), day=date(span["last"]))
