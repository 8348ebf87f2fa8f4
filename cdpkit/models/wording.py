"""In words, what models compute themselves of orders and contracts; the catalogue says the features."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from cdpkit.models.reasons import Describe, plain_words
from cdpkit.phrases import check_language, say, write


@cache
def _words() -> dict[str, dict[str, str]]:
    return tomllib.loads(files("cdpkit.models").joinpath("words.toml").read_text(encoding="utf-8"))


def describe(
    name: str, value: Any, language: str, *, otherwise: Describe = plain_words, currency: str | None = None
) -> str:
    """Say a value of a column that a model computed itself, as the reason of a score.

    Parameters
    ----------
    name : str
        Column: ``p_alive``, ``days_to_end``, ``since_gaps``, ``n_0.5``, …
    value : object
        The value; missing is said as missing. Amounts are in minor units.
    language : {"fr", "en"}
    otherwise : callable
        Who says the others: `cdpkit.features.catalogue.describe`.
    currency : str, optional
        ISO code with which amounts are written.

    Examples
    --------
    >>> describe("since_gaps", 3.21, "en")
    'silent for 3.21 times the usual gap between orders'
    >>> describe("days_to_end", 12, "fr")
    'échéance du contrat dans 12 jours'
    >>> describe("n_0.5", 1, "en")
    '1 order over a past length of 0.5 × the period forecast'
    """
    french = check_language(language) == "fr"
    window = re.fullmatch(r"(n|amount)_([0-9.]+)", name)
    words = _words().get(window.group(1) if window else name)
    if words is None:
        return otherwise(name, value, language)
    part = write(float(window.group(2)), language, "ratio") if window else ""
    if value is None or value != value:  # a missing number is not equal to itself
        template = re.sub(r"\{(\w[^{}|]*)\|[^{}|]+\}", r"\1", words[language])
        unknown = "inconnu" if french else "unknown"
        return template.format(value=unknown, part=part)
    return say(words[language], language, float(value), unit=words["unit"], currency=currency, part=part)
