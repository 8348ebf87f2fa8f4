"""What a rule may speak of: ready fields, every standard feature, and the columns of a model's scores."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cdpkit.features import catalogue
from cdpkit.phrases import check_language
from cdpkit.schema import TABLES

#: What a field holds: a number, a text, or yes and no.
KINDS = ("number", "text", "flag")

FEATURES = "features_standard"

#: Columns of a score that a rule may name as they are.
_SCORE_WORDS = {
    "score": ("score", "score", "ratio"),
    "percentile": ("rang en percentile", "percentile", "ratio"),
    "decile": ("décile", "decile", "count"),
    "tier": ("niveau", "tier", "text"),
    "resemblance": ("ressemblance", "resemblance", "ratio"),
    "version": ("version du modèle", "model version", "text"),
    "decided_by": ("décideur", "decided by", "text"),
    "reference_population": ("population de référence", "reference population", "text"),
}


@dataclass(frozen=True)
class Field:
    """One thing a rule may compare.

    Parameters
    ----------
    name : str
        As rules write it.
    kind : str
        One of `KINDS`.
    fr, en : str
        What it is called.
    origin : {"feature", "score", "fact"}
        Where its value comes from.
    value : str
        An expression over features, a column of ``scores``, or a query of ``person_id, value``.
    needs : tuple of str
        Features its expression reads.
    model : str
        Model of a score.
    unit : str
        One of `cdpkit.phrases.UNITS`.
    values : tuple of (code, French word, English word)
        What a closed text may be.
    inferred : bool
        Deduced from where somebody lives, not known of the person.

    Examples
    --------
    >>> ready()["social_class"].inferred, ready()["age"].label("fr")
    (True, 'âge')
    """

    name: str
    kind: str
    fr: str
    en: str
    origin: str
    value: str
    needs: tuple[str, ...] = ()
    model: str = ""
    unit: str = "count"
    values: tuple[tuple[str, str, str], ...] = ()
    inferred: bool = False

    @property
    def codes(self) -> tuple[str, ...]:
        """Values a closed text may take; empty when it is open."""
        return tuple(code for code, _, _ in self.values)

    def label(self, language: str) -> str:
        """Return the field's name in a language."""
        return self.fr if check_language(language) == "fr" else self.en

    def words(self, language: str) -> dict[str, str]:
        """Return the word of each closed value in a language."""
        place = 1 if check_language(language) == "fr" else 2
        return {value[0]: value[place] for value in self.values}


@cache
def ready() -> dict[str, Field]:
    """Return the ready fields of `fields.toml`, by name."""
    text = files("cdpkit.segments").joinpath("fields.toml").read_text(encoding="utf-8")
    return {name: _ready(name, entry) for name, entry in tomllib.loads(text).items()}


@cache
def vocabulary(model: str | None = None) -> Mapping[str, Field]:
    """Return all a rule may name.

    Parameters
    ----------
    model : str, optional
        Also the bare columns of this model's scores, such as ``tier``.

    Returns
    -------
    dict of str to Field
        Ready fields, the standard features under their own names, and the model's columns.

    Examples
    --------
    >>> sorted(set(vocabulary("appetence")) - set(vocabulary()))[:3]
    ['decided_by', 'decile', 'percentile']
    >>> vocabulary()["rfm__n_orders__90d"].label("en")
    'orders in 90 days'
    """
    known = dict(ready())
    for output in catalogue.standard().outputs:
        words = tuple((code, *catalogue.WORDS.get(code, (code, code))) for code in output.categories)
        kind = "text" if output.dtype == "category" else "flag" if output.unit == "flag" else "number"
        # A flag of the feature table is 0 or 1: a rule compares yes and no.
        value = f"{output.name} > 0" if kind == "flag" else output.name
        known[output.name] = Field(
            output.name, kind, output.fr, output.en, "feature", value, (output.name,),
            unit=output.unit, values=words,
        )  # fmt: skip
    if model is not None:
        for name, (fr, en, unit) in _SCORE_WORDS.items():
            kind = "text" if TABLES["scores"][name].type == "string" else "number"
            known[name] = Field(
                name, kind, f"{fr} ({model})", f"{en} ({model})", "score", name, (), model, unit
            )
    return known


def _ready(name: str, entry: dict) -> Field:
    """Return one field of the data file."""
    given = dict(entry)
    origin = next(word for word in ("feature", "score", "fact") if word in given)
    value = given.pop(origin)
    values = tuple(tuple(words) for words in given.pop("values", ()))
    # A number says its unit; a text may say its values.
    kind = given.pop("kind", None) or ("number" if "unit" in given else "text")
    needs = tuple(given.pop("needs", ()))
    return Field(name, kind, origin=origin, value=value, values=values, needs=needs, **given)
