"""Why a product is recommended, as a message id with its values, then as words in French or English."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from cdpkit.models.recommend.interactions import Interactions
from cdpkit.models.recommend.parts import Parts, liking
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
        "a acheté {because} : {value} des paniers avec {because} l'ajoutent, {lift} fois l'ordinaire",
        "bought {because}: {value} of baskets with {because} add it, {lift} times the usual",
    ),
    "complement": (
        "va avec {because}, par choix du marketing",
        "goes with {because}, by the marketer's choice",
    ),
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


class Because:
    """Find why each product is recommended to a person, part by part.

    Parameters
    ----------
    parts : Parts
        What was learned.
    seen : Interactions
        The histories.
    """

    def __init__(self, parts: Parts, seen: Interactions) -> None:
        self.parts, self.seen, self.liking = parts, seen, liking(seen, parts.now)

    @cached_property
    def _rules(self) -> dict[str, pd.DataFrame]:
        return {str(product): table for product, table in self.parts.rules.groupby("consequent")}

    def of(self, person: int, code: int, order: Sequence[str]) -> str:
        """Return the reason of the first part, in an order, that has one to give; popularity always has."""
        for part in order:
            find = {"own": self._own, "rule": self._rule, "similar": self._similar}.get(part, self._popular)
            reason = find(person, code)
            if reason:
                return reason
        return self._popular(person, code)

    def _held(self, person: int) -> slice:
        return slice(self.liking.indptr[person], self.liking.indptr[person + 1])

    def _own(self, person: int, code: int) -> str:
        rows = slice(*np.searchsorted(self.seen.person, [person, person + 1]))
        at = np.flatnonzero(self.seen.product[rows] == code)
        if not len(at):
            return ""
        days = float(self.seen.age(self.parts.now)[rows][at].min())
        return encode("own", value=len(np.unique(self.seen.basket[rows][at])), days=int(days))

    def _rule(self, person: int, code: int) -> str:
        table = self._rules.get(str(self.parts.products[code]))
        owned = self.parts.products[self.liking.indices[self._held(person)]]
        table = None if table is None else table[table["antecedent"].isin(owned)]
        if table is None or not len(table):
            return ""
        best = table.iloc[int(np.asarray(table["lift"]).argmax())]
        share, lift = round(float(best["confidence"]), 4), round(float(best["lift"]), 2)
        return encode("rule", because=str(best["antecedent"]), value=share, lift=lift)

    def _similar(self, person: int, code: int) -> str:
        owned, weight = self.liking.indices[self._held(person)], self.liking.data[self._held(person)]
        column = self.parts.weight[owned, code]
        column = column.toarray().ravel() if hasattr(column, "toarray") else np.asarray(column).ravel()
        # What a person has bought does not recommend itself.
        pull = np.where(owned == code, -np.inf, column * weight)
        if not len(pull) or pull.max() <= 0:
            return ""
        # Where a rule says the same with its figures, the figures are told.
        return self._rule(person, code) or encode(
            "similar", because=str(self.parts.products[owned[pull.argmax()]])
        )

    def _popular(self, person: int, code: int) -> str:
        return encode("popular", value=int(self.parts.popular[code]), days=self.parts.popular_days)
