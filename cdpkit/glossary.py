"""The words of the trade, in French and English: one word per idea, and what it means here."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

Text = dict[str, str]


@dataclass(frozen=True)
class Term:
    """One idea: its word and its meaning in each language."""

    id: str
    word: Text
    meaning: Text


@cache
def glossary() -> dict[str, Term]:
    """Return every term by its name.

    Examples
    --------
    >>> glossary()["churn"].word["fr"]
    'attrition'
    """
    text = files("cdpkit").joinpath("glossary.toml").read_text(encoding="utf-8")
    return {name: Term(id=name, **about) for name, about in tomllib.loads(text).items()}
