"""The ready features: families a retailer needs, each with its meaning and its sentence, in two languages.

They are data: `standard`, for every day, in `catalogue.toml`; `complete` adds those of
`catalogue_wide.toml`. Sources that cannot feed a family leave it entirely missing; `Built.drop_empty` takes
it out by name.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from cdpkit.features import behaviours, kinds, patterns
from cdpkit.features.build import FeatureSet
from cdpkit.features.declarations import Declaration, Output, known
from cdpkit.phrases import check_language, say, write

#: Words shown for the values of text features.
WORDS = {
    "site": ("le site", "the site"),
    "app": ("l'application", "the app"),
    "desktop": ("ordinateur", "desktop"),
    "mobile": ("mobile", "mobile"),
    "tablet": ("tablette", "tablet"),
    "impulsive": ("impulsif", "impulsive"),
    "considered": ("réfléchi", "considered"),
    "fr": ("français", "French"),
    "en": ("anglais", "English"),
    "granted": ("accordé", "granted"),
    "denied": ("refusé", "denied"),
    "f": ("femme", "woman"),
    "m": ("homme", "man"),
    "other": ("autre", "other"),
}


_EVERYDAY, _WIDE = "catalogue.toml", "catalogue_wide.toml"


@cache
def _entries(file: str) -> dict[str, Any]:
    """Read a data file."""
    return tomllib.loads(files("cdpkit.features").joinpath(file).read_text(encoding="utf-8"))


def families(language: str = "en", wide: bool = False) -> dict[str, str]:
    """Return what each family is about, those of `complete` too if `wide`.

    Examples
    --------
    >>> families("en")["rfm"]
    'purchases: recency, frequency, amount'
    """
    check_language(language)
    told = _entries(_EVERYDAY)["families"] | (_entries(_WIDE)["families"] if wide else {})
    return {name: words[language] for name, words in told.items()}


def _declare(family: str, entry: dict[str, Any], currency: str | None) -> Declaration:
    """Return one declaration of the data file."""
    given = dict(entry)
    word = given.pop("kind")
    kind = next(getattr(room, word) for room in (kinds, patterns, behaviours) if hasattr(room, word))
    for name in ("where", "history", "part"):
        for short, text in _entries(_EVERYDAY)["filters"].items():
            if name in given:
                given[name] = given[name].replace(f"${short}", text)
    if "of" in given:
        given["of"] = known(given["of"])
    if "currency" in kind.__dataclass_fields__:
        given["currency"] = currency
    return kind(given.pop("source"), family=family, **given)


@cache
def standard(currency: str | None = None) -> FeatureSet:
    """Return the ready set, which any source feeds as far as it can.

    Parameters
    ----------
    currency : str, optional
        Keep amounts of this ISO currency; without it, somebody who bought in several currencies in a
        window has a missing amount for that window.

    Examples
    --------
    >>> len(standard().names) >= 40
    True
    >>> standard()["rfm__n_orders__90d"].fr
    'nombre de commandes en 90 jours'
    """
    return FeatureSet("standard", _declared(_EVERYDAY, currency))


@cache
def complete(currency: str | None = None) -> FeatureSet:
    """Return all the ready features: the standard ones, and every further family the sources can feed.

    Examples
    --------
    >>> len(complete().names) >= 150
    True
    >>> complete()["journey__purchase_deliberation__365d"].en
    'impulsive or considered buyer'
    """
    return FeatureSet("complete", [*_declared(_EVERYDAY, currency), *_declared(_WIDE, currency)])


def _declared(file: str, currency: str | None) -> list[Declaration]:
    """Return the declarations of a data file, family by family."""
    entries = _entries(file)
    order = [*_entries(_EVERYDAY)["families"], *_entries(_WIDE)["families"]]
    return [_declare(family, entry, currency) for family in order for entry in entries.get(family, [])]


def describe(
    name: str,
    value: object,
    language: str,
    *,
    features: FeatureSet | None = None,
    currency: str | None = None,
) -> str:
    """Say a value of a feature in words, as the reason of a score.

    Parameters
    ----------
    name : str
        Column name.
    value : object
        The value; missing is said as missing.
    language : {"fr", "en"}
    features : FeatureSet, optional
        The set the name belongs to; the complete one by default.
    currency : str, optional
        ISO code with which amounts are written.

    Examples
    --------
    >>> describe("intent__max_views_of_one_product__7d", 3, "fr")
    'a consulté 3 fois la même fiche en 7 jours'
    >>> describe("intent__max_views_of_one_product__7d", 3, "en")
    'viewed the same product 3 times in 7 days'
    >>> describe("rfm__days_since_order", float("nan"), "en")
    'days since the last order: unknown'
    """
    return sentence((features or complete())[name], value, language, currency=currency)


def sentence(output: Output, value: object, language: str, *, currency: str | None = None) -> str:
    """Say a value of one output in words; see `describe`."""
    french = check_language(language) == "fr"
    meaning = output.fr if french else output.en
    if value is None or value != value:  # a missing number is not equal to itself
        return f"{meaning} : inconnu" if french else f"{meaning}: unknown"
    template = output.say[0 if french else 1]
    if output.unit == "text":
        shown = WORDS.get(str(value), (str(value),) * 2)[0 if french else 1]
        return say(
            template or meaning + (" : {value}" if french else ": {value}"), language, shown, unit="text"
        )
    number = float(value)  # type: ignore[arg-type]
    zero = output.say[2 if french else 3]
    if number == 0 and zero:
        return zero
    if not template:
        return f"{meaning} : {write(number, language, output.unit, currency)}".replace(
            " :", " :" if french else ":"
        )
    return say(template, language, number, unit=output.unit, currency=currency)
