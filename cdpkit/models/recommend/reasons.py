"""Why a product is recommended, as a message id with its values, then as words in French or English."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cdpkit.phrases import say, write

#: From a product to how it is called.
Name = Callable[[str], str]

_WORDS = {
    "own": (
        "acheté {value} {fois|fois}, la dernière il y a {days} jours",
        "bought {value} {time|times}, last {days} days ago",
    ),
    "popular": (
        "acheté par {value} {personne|personnes} ces {days} derniers jours",
        "bought by {value} {person|people} in the last {days} days",
    ),
    "rule": (
        "a acheté {because} : {value} des paniers avec {because} l'ajoutent, {lift} fois plus que d'ordinaire",
        "bought {because}: {value} of baskets with {because} add it, {lift} times the usual",
    ),
    "complement": ("va avec {because}, par choix du marketing", "goes with {because}, by the marketer's choice"),
    "similar": (
        "souvent acheté par ceux qui achètent {because}",
        "often bought by people who buy {because}",
    ),
    "step": (
        "un cran au-dessus de {because}, {value} fois son prix",
        "one step above {because}, {value} times its price",
    ),
}
_UNITS = {"rule": "share", "step": "ratio"}


def encode(kind: str, **values: Any) -> str:
    """Return a reason as stored.

    Examples
    --------
    >>> encode("popular", value=12, days=7)
    '{"id":"popular","value":12,"days":7}'
    """
    return json.dumps({"id": kind, **values}, ensure_ascii=False, separators=(",", ":"))


def reason_words(encoded: str, language: str, name: Name = str) -> str:
    """Say a stored reason.

    Parameters
    ----------
    encoded : str
        As given by `Recommender.recommend`.
    language : {"fr", "en"}
    name : callable, optional
        From a product to its name.

    Examples
    --------
    >>> reason_words('{"id":"rule","because":"tent","value":0.31,"lift":4.2}', "en")
    'bought tent: 31% of baskets with tent add it, 4.2 times the usual'
    """
    content = json.loads(encoded)
    kind = content.pop("id")
    value = content.pop("value", None)
    if "because" in content:
        content["because"] = name(content["because"])
    for key in ("days", "lift"):
        if key in content:
            content[key] = write(content[key], language, "ratio")
    template = _WORDS[kind][0 if language == "fr" else 1]
    return say(template, language, value, unit=_UNITS.get(kind, "count"), **content)
