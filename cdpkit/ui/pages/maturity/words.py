"""What stands on the maturity page whatever the organisation: scales, benchmarks, roles, words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cdpkit import glossary as terms
from cdpkit.maturity.benchmarks import CONTEXT
from cdpkit.maturity.benchmarks import benchmarks as cards
from cdpkit.maturity.criteria import checklists, scales
from cdpkit.maturity.formula import FORMULA
from cdpkit.maturity.use_cases import use_cases as cases
from cdpkit.ui.kit import Html, card, element, section, table
from cdpkit.ui.messages import LANGUAGES, Text, join, same, text


def stages() -> Sequence[dict[str, Any]]:
    """Return the five stages in order."""
    return scales()["stage"]


def stage(number: float) -> Text:
    """Return the name of a stage from 1 to 5."""
    return stages()[int(number) - 1]["name"]


def owner(name: str) -> Text:
    """Return who would do a piece of work."""
    return scales()["owners"][name]


def formula() -> Text:
    """Return how work is put in order."""
    return FORMULA


def metric(name: str) -> Text:
    """Return the name of a figure."""
    from cdpkit.metrics import metrics

    return metrics()[name].name


def functions() -> Html:
    """Show the team: who is in it, what each reads, and who answers for what."""
    lists = checklists()
    rows = [
        (row["name"], same(", ".join(row["notebooks"])), same(", ".join(row["pages"])))
        for row in lists["function"]
    ]
    parties = lists["raci"]["party"]
    duties = [
        (activity["name"], *[same(activity["roles"][party["id"]]) for party in parties])
        for activity in lists["raci"]["activity"]
    ]
    letters = [join(" ", same(f"{letter}:"), words) for letter, words in lists["raci"]["letters"].items()]
    skills = [(row["name"], same(", ".join(row["notebooks"]))) for row in lists["skill"]]
    return section(
        "team",
        text("maturity.team.title"),
        text("maturity.team.lead"),
        table(
            text("maturity.team.functions"),
            [text(f"maturity.column.{name}") for name in ("function", "notebooks", "pages")],
            rows,
            "functions",
        ),
        table(
            text("maturity.team.raci"),
            [text("maturity.column.activity"), *[party["name"] for party in parties]],
            duties,
            "raci",
        ),
        element("p", join(" · ", *letters), class_="footnote"),
        table(
            text("maturity.team.skills"),
            [text(f"maturity.column.{name}") for name in ("skill", "notebooks")],
            skills,
            "skills",
        ),
    )


def benchmarks() -> Html:
    """Show the figures of the trade as dated context."""
    tiles = [
        card(
            element("p", one.value, class_="big"),
            element("p", one.meaning),
            element("p", one.population, class_="note"),
            element("p", {language: one.origin(language) for language in LANGUAGES}, class_="note"),
            element("p", one.note, class_="note") if one.note else None,
        )
        for one in cards()
    ]
    title = text("maturity.benchmarks.title")
    return section("benchmarks", title, CONTEXT, element("div", *tiles, class_="tiles"))


def use_cases() -> Html:
    """Show the seven use cases and the notebooks that serve them."""
    folder = Path.cwd().parent / "notebooks"
    there = {path.stem for path in folder.glob("*.ipynb")}
    rows = [
        (
            case.name,
            scales()["axes"][case.axis],
            same(", ".join(case.notebooks)) if case.covered else text("maturity.not_covered"),
        )
        for case in cases(there)
    ]
    columns = [text(f"maturity.column.{name}") for name in ("use_case", "axis", "notebooks")]
    title = text("maturity.use_cases.title")
    return section("use-cases", title, None, table(title, columns, rows, "use-cases"))


def glossary() -> Html:
    """Show one word per idea, with its meaning."""
    rows = [(term.word, term.meaning) for term in terms.glossary().values()]
    columns = [text(f"maturity.column.{name}") for name in ("word", "meaning")]
    title = text("maturity.glossary.title")
    return section("glossary", title, None, table(title, columns, rows, "glossary"))
