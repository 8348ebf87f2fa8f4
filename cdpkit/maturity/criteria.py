"""What maturity is judged on: criteria with anchored answers, and the scales they count in, as data."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

Text = dict[str, str]

#: Levels of an answer or of a piece of evidence.
LEVELS = range(5)


@dataclass(frozen=True)
class Criterion:
    """One observable question about the organisation.

    Attributes
    ----------
    id : str
        Its name in answers and pages.
    factor : {"data", "capacity", "scalability"}
        Where it counts.
    part : str
        Which capacity: human, technological, monetary or temporal; empty outside that factor.
    essential : str
        Which of the eight essentials it speaks of.
    technology, axis : str
        Which of the four technologies, and which of who, what, when and where; may be empty.
    weight : int
        How much it counts in its factor.
    effort, impact : int
        Of the work that raises it, from 1 to 3.
    owner : str
        Who would do it.
    evidence : str
        Measured evidence that speaks to it; empty where only people can say.
    question, action, workstream : Text
        Words in each language.
    answers : tuple of Text
        Five facts, from level 0 to level 4.
    """

    id: str
    factor: str
    essential: str
    weight: int
    effort: int
    impact: int
    owner: str
    question: Text
    answers: tuple[Text, ...]
    action: Text
    workstream: Text
    part: str = ""
    technology: str = ""
    axis: str = ""
    evidence: str = ""


@cache
def criteria() -> tuple[Criterion, ...]:
    """Return every criterion, in the order of the form.

    Examples
    --------
    >>> first = criteria()[0]
    >>> first.id, first.factor, len(first.answers)
    ('unified_profile', 'data', 5)
    """
    rows = read("criteria")["criterion"]
    return tuple(Criterion(**{**row, "answers": tuple(row["answers"])}) for row in rows)


@cache
def scales() -> dict[str, Any]:
    """Return the words of the scales: stages in order, factors, parts, essentials, technologies, axes.

    Examples
    --------
    >>> [stage["name"]["fr"] for stage in scales()["stage"]]
    ['Tous', 'Plusieurs', 'Quelques-uns', 'Certains', 'Une personne']
    """
    return read("scales")


@cache
def checklists() -> dict[str, Any]:
    """Return what to have by name: functions of the team, skills and their notebooks, the RACI template.

    Examples
    --------
    >>> [function["id"] for function in checklists()["function"]]
    ['product', 'research', 'marketing', 'analytics', 'it', 'legal']
    """
    return read("checklists")


def read(name: str) -> dict[str, Any]:
    """Read one of the room's TOML files."""
    return tomllib.loads(files("cdpkit.maturity").joinpath(f"{name}.toml").read_text(encoding="utf-8"))
