"""The maturity page: sections out of a payload, in both languages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cdpkit.ui import page as shell
from cdpkit.ui.formats import date, measure, number, percent
from cdpkit.ui.kit import Html, card, element, fact, missing, section, table
from cdpkit.ui.messages import Text, join, same, text
from cdpkit.ui.navigation import Entry
from cdpkit.ui.pages.maturity import words
from cdpkit.ui.pages.maturity.form import form

Payload = Mapping[str, Any]

#: Changes when a payload of before can no longer be drawn.
FORMAT = 1


def page(payload: Payload | None, menu: list[Entry] | None = None) -> shell.Page:
    """Return the maturity page of a published payload, or its polite empty state.

    Parameters
    ----------
    payload : mapping or None
        What `cdpkit.ui.pages.maturity.build` made; None before the first assessment.
    menu : list of Entry, optional
        Navigation; that of the current folder when absent.

    Returns
    -------
    Page
    """
    extra = {} if menu is None else {"menu": menu}
    if payload is None or payload["format"] != FORMAT:
        empty = shell.unpublished("maturity")
        parts = [*empty.sections, form({})]
        return shell.Page(empty.name, empty.title, text("maturity.definition"), None, parts, **extra)
    parts = [
        curve(payload), factors(payload), actions(payload), proofs(payload), axes(payload),
        essentials(payload), value(payload), plan(payload), compare(payload), words.functions(),
        words.benchmarks(), words.use_cases(), words.glossary(),
        form(payload.get("answers", {})),
    ]  # fmt: skip
    return shell.Page(
        "maturity", payload["finding"], text("maturity.definition"), trust(payload), parts, **extra
    )


def trust(payload: Payload) -> Html:
    """Return the trust strip: data, base, how much was answered and how much was measured."""
    asked = payload["asked"]
    loss = percent(payload["loss"]) if payload["tools"] else text("maturity.unknown")
    return shell.trust_strip(
        [
            (text("trust.data"), date(payload["data_up_to"])),
            (text("maturity.trust.answered"), text("maturity.of", n=payload["answered"], all=asked)),
            (text("maturity.trust.measured"), text("maturity.of", n=payload["measured"], all=asked)),
            (
                text("maturity.trust.loss"),
                loss,
            ),
        ]
    )


def curve(payload: Payload) -> Html:
    """Show the five stages in order, with what is declared, what is measured and the target."""
    marks = payload["stage"]
    steps = []
    for number_, stage in enumerate(words.stages(), start=1):
        here = [
            element("b", text(f"maturity.mark.{kind}"), class_=f"stage-mark {kind}")
            for kind in ("measured", "declared", "target")
            if marks[kind] == number_
        ]
        steps.append(
            element(
                "li",
                element("span", same(number_), class_="stage-number"),
                element("h3", stage["name"]),
                element("p", stage["meaning"], class_="note"),
                *here,
                class_="card stage" + (" current" if marks["measured"] == number_ else ""),
            )
        )
    following = words.stages()[marks["measured"] - 1]["next"]
    return section(
        "curve",
        text("maturity.curve.title"),
        text("maturity.curve.lead", low=marks["measured"], high=marks["possible"]),
        element("ol", *steps, class_="stages"),
        element("p", join(" ", text("maturity.curve.next"), following), class_="footnote"),
    )


def factors(payload: Payload) -> Html:
    """Show the three factors, the weakest first, and the four parts of the capacity."""
    rows = sorted(payload["factors"], key=lambda row: row["measured"])
    cards = [
        card(
            element("h3", _named(row)),
            element("p", text("maturity.points", n=number(row["measured"])), class_="big"),
            element("meter", min="0", max="100", value=f"{row['measured']:.0f}", aria_label=_named(row)),
            element("p", text("maturity.declared", n=number(row["declared"])), class_="note"),
            element("p", text("maturity.weakest"), class_="note weak") if row is rows[0] else None,
        )
        for row in rows
    ]
    return section(
        "factors",
        text("maturity.factors.title", factor=_named(rows[0])),
        text("maturity.factors.lead"),
        element("div", *cards, class_="trio"),
        _scale(text("maturity.parts.title"), payload["parts"], "maturity-parts"),
    )


def actions(payload: Payload) -> Html:
    """Show the next three actions with effort, impact and owner."""
    cards = [
        card(
            element("h3", {"fr": row["action_fr"], "en": row["action_en"]}),
            element(
                "dl",
                fact(text("maturity.effort"), text("maturity.of", n=row["effort"], all=3)),
                fact(text("maturity.impact"), text("maturity.of", n=row["impact"], all=3)),
                fact(text("maturity.owner"), words.owner(row["owner"])),
            ),
        )
        for row in payload["actions"]
    ]
    title = text("maturity.actions.title")
    return section("actions", title, words.formula(), element("div", *cards, class_="trio"))


def proofs(payload: Payload) -> Html:
    """Set what is declared beside what is measured, criterion by criterion."""
    flattered = sum((row["gap"] or 0) > 0 for row in payload["criteria"])
    rows = [
        (
            {"fr": row["name_fr"], "en": row["name_en"]},
            _level(row["declared"]),
            _level(row["measured"]),
            _measure(row),
            {"fr": row["proof_fr"], "en": row["proof_en"]} if row["proof_fr"] else text("maturity.said"),
        )
        for row in payload["criteria"]
    ]
    names = ("criterion", "declared", "measured", "value", "proof")
    columns = [text(f"maturity.column.{name}") for name in names]
    none = text("maturity.proofs.title.none")
    title = text("maturity.proofs.title", n=number(flattered)) if flattered else none
    return section(
        "proofs", title, text("maturity.proofs.lead"), table(title, columns, rows, "maturity-criteria")
    )


def axes(payload: Payload) -> Html:
    """Show the stage reached on who, what, when and where."""
    rows = [
        (
            _named(row),
            same(row["declared"]),
            same(row["measured"]),
            words.stages()[int(row["measured"]) - 1]["name"],
        )
        for row in payload["axes"]
    ]
    columns = [
        text(f"maturity.column.{name}") for name in ("axis", "declared_stage", "measured_stage", "stage")
    ]
    title = text("maturity.axes.title")
    return section("axes", title, None, table(title, columns, rows, "maturity-axes"))


def essentials(payload: Payload) -> Html:
    """Show the eight essentials and the four kinds of technology."""
    return section(
        "essentials",
        text("maturity.essentials.title"),
        None,
        element(
            "div",
            _scale(text("maturity.essentials.table"), payload["essentials"], "maturity-essentials"),
            _scale(text("maturity.technologies.table"), payload["technologies"], "maturity-technologies"),
            class_="pair even",
        ),
    )


def value(payload: Payload) -> Html:
    """Show the figures of the business in their tree: what one does, how one feels, stays, and is worth."""
    rows = [
        (
            words.metric(row["metric"]),
            text(f"maturity.branch.{row['branch']}"),
            measure(row["value"], row["unit"], row["currency"]),
            number(row["n"]),
        )
        for row in payload["metrics"]
    ]
    columns = [text(f"maturity.column.{name}") for name in ("metric", "branch", "value", "n")]
    title = text("maturity.value.title")
    return section("value", title, text("maturity.value.lead"), table(title, columns, rows, "metrics"))


def plan(payload: Payload) -> Html:
    """Show the roadmap in its stated order."""
    rows = [
        (
            {"fr": row["workstream"], "en": row["workstream_en"]},
            {"fr": row["objective"], "en": row["objective_en"]},
            {"fr": row["have"], "en": row["have_en"]},
            {"fr": row["missing"], "en": row["missing_en"]},
            same(f"{row['effort']}/3"),
            same(f"{row['impact']}/3"),
            {"fr": row["owner"], "en": row["owner_en"]},
            same(row["year"]),
        )
        for row in payload["roadmap"]
    ]
    names = ("workstream", "objective", "have", "missing", "effort", "impact", "owner", "year")
    columns = [text(f"maturity.column.{name}") for name in names]
    title = text("maturity.plan.title")
    return section("plan", title, words.formula(), table(title, columns, rows, "roadmap"))


def compare(payload: Payload) -> Html:
    """Set the last two assessments side by side, and tell the stages since the first."""
    title, dates = text("maturity.compare.title"), payload["history"]
    known = [row for row in payload.get("changes", ()) if row["change"]]
    if len(dates) < 2:
        lack = missing(text("maturity.compare.what"), need=2, got=len(dates))
        return section("compare", title, None, lack)
    before, after = (date(row["day"]) for row in dates[-2:])
    rows = [(_named(row), _level(row["before"]), _level(row["after"])) for row in known]
    columns = [text("maturity.column.criterion"), before, after]
    up, down = (sum(sign * row["change"] > 0 for row in known) for sign in (1, -1))
    past = [
        element("li", text("maturity.compare.stage", day=date(row["day"]), n=number(row["stage"])))
        for row in dates
    ]
    return section(
        "compare",
        title,
        text("maturity.compare.lead", up=number(up), down=number(down)),
        table(title, columns, rows, "maturity-changes"),
        element("ol", past, class_="footnote history"),
    )


def _scale(title: Text, rows: Iterable[Mapping[str, Any]], name: str) -> Html:
    """Return a table of one scale, in points of 100."""
    cells = [(_named(row), number(row["declared"]), number(row["measured"])) for row in rows]
    columns = [title, text("maturity.column.declared"), text("maturity.column.measured")]
    return table(title, columns, cells, name)


def _named(row: Mapping[str, Any]) -> Text:
    return {"fr": row["name_fr"], "en": row["name_en"]}


def _level(level: float | None) -> Text:
    return same("–") if level is None else text("maturity.of", n=int(level), all=4)


def _measure(row: Mapping[str, Any]) -> Text:
    return same("–") if row["value"] is None else measure(row["value"], row["unit"], None)
