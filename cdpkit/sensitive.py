"""Traits that nobody may infer: what the law protects most, by the words that name it in two languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

#: Beginnings of words, folded, by what they tell of (GDPR, article 9 and 10).
_BEGINNINGS: dict[str, tuple[str, ...]] = {
    "health": (
        "health", "sante", "disease", "maladi", "illness", "medic", "pathol", "pregnan", "enceinte",
        "grossesse", "maternit", "disab", "handicap", "allerg", "diabet", "cancer", "depress", "addict",
        "psychi", "obes",
    ),
    "religion": (
        "relig", "church", "eglise", "mosque", "synagog", "halal", "kosher", "casher", "kasher", "muslim",
        "musulman", "cathol", "protestant", "jewish", "judai", "buddh", "bouddh", "atheis", "athee", "croyan",
    ),
    "ethnic origin": ("ethni", "racial", "raciale", "nationalit", "skincolo", "immigr"),
    "political opinion": ("politi", "vote", "voting", "electoral", "electeur", "militan"),
    "union membership": ("syndic", "tradeunion", "labourunion", "laborunion"),
    "sex life": ("sexual", "sexuel", "homosex", "bisex", "transgen", "transsex", "lgbt", "gay", "lesbi"),
    "genetic or biometric data": ("genetic", "geneti", "biometr", "genom"),
    "offences": ("crimin", "felony", "offence", "offender", "condamn", "convict"),
}  # fmt: skip
#: Words that tell it only when whole: others begin like them.
_WHOLE: dict[str, tuple[str, ...]] = {
    "ethnic origin": ("race", "ethnicity"),
    "religion": ("faith", "juif", "juive", "islam", "muslim", "culte"),
    "union membership": ("union",),
    "sex life": ("orientation",),
    "offences": ("delit", "delits", "penal", "penale"),
}


def sensitive(text: str) -> str | None:
    """Return what protected trait the words of a name or value tell of, or None.

    Examples
    --------
    >>> sensitive("is_pregnant"), sensitive("Opinion politique"), sensitive("favourite_category")
    ('health', 'political opinion', None)
    """
    spaced = re.sub(r"(?<=[a-zà-ÿ])(?=[A-Z])", " ", text)
    folded = unicodedata.normalize("NFKD", spaced).encode("ascii", "ignore").decode().lower()
    words = re.split(r"[^a-z0-9]+", folded)
    pairs = [first + second for first, second in pairwise(words)]
    for trait, beginnings in _BEGINNINGS.items():
        if any(word.startswith(beginnings) for word in (*words, *pairs) if word):
            return trait
    for trait, whole in _WHOLE.items():
        if set(words) & set(whole):
            return trait
    return None


def faults(names: Iterable[str], values: Iterable[str] = ()) -> list[str]:
    """Return a sentence for each name that tells a protected trait, and for values that do.

    A value is never repeated: what it tells of is.

    Examples
    --------
    >>> faults(["religion", "size"], ["L", "pregnancy"])
    ['`religion` must not be inferred; it tells religion', 'no value may tell health']
    """
    told = [
        f"`{name}` must not be inferred; it tells {trait}"
        for name in dict.fromkeys(names)
        if (trait := sensitive(name)) is not None
    ]
    traits = dict.fromkeys(trait for value in set(values) if (trait := sensitive(value)) is not None)
    return told + [f"no value may tell {trait}" for trait in sorted(traits)]
