"""Figures of the trade, as dated context: never a target, never a promise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

Text = dict[str, str]

#: What stands beside every card.
CONTEXT = {"fr": "contexte, pas objectif", "en": "context, not a target"}

#: Shown where the document names no source or no year.
NOT_CITED = {"fr": "non citée", "en": "not cited"}


@dataclass(frozen=True)
class Benchmark:
    """One figure, of whom, when, and who says so.

    Attributes
    ----------
    id : str
    value, meaning, population : Text
        In each language.
    year : int or None
    source : str or None
    document : str
        Founding document that cites it.
    note : Text or None
        How an unclear sentence was read.
    """

    id: str
    value: Text
    meaning: Text
    population: Text
    year: int | None
    source: str | None
    document: str
    note: Text | None = None

    def origin(self, language: str) -> str:
        """Return source and year, saying which the document does not give.

        Examples
        --------
        >>> next(card for card in benchmarks() if card.id == "ST-15").origin("fr")
        'source non citée, année non citée'
        """
        missing = NOT_CITED[language]
        source = self.source or ("source " + missing)
        year = str(self.year) if self.year else {"fr": "année ", "en": "year "}[language] + missing
        return f"{source}, {year}"


@cache
def benchmarks() -> tuple[Benchmark, ...]:
    """Return the cards, in order."""
    import yaml

    text = files("cdpkit.maturity").joinpath("benchmarks.yml").read_text(encoding="utf-8")
    return tuple(Benchmark(**row) for row in yaml.safe_load(text))
