"""Message catalogues: every sentence a marketer reads, in French and in English."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from cdpkit.errors import CdpkitError

#: Languages of the dashboards; the first one is shown unless the reader asks for the other.
LANGUAGES = ("fr", "en")

#: A sentence in every language: ``{"fr": …, "en": …}``. Pages carry both and switch in the browser.
Text = dict[str, str]


@cache
def catalogue(language: str) -> dict[str, Any]:
    """Return the catalogue of one language: key to sentence, or to ``{"one": …, "other": …}``.

    What all pages say lies in ``catalogues/``, what one page says beside it, in ``pages/<page>/``.

    Parameters
    ----------
    language : {"fr", "en"}
        Language code.

    Returns
    -------
    dict
        The sentences by key.

    Raises
    ------
    CdpkitError
        If the language has no catalogue.

    Examples
    --------
    >>> catalogue("fr")["tier.hot"], catalogue("en")["tier.hot"]
    ('Chaud', 'Hot')
    """
    if language not in LANGUAGES:
        raise CdpkitError(f"language must be one of {', '.join(LANGUAGES)}", repr(language))
    room = files("cdpkit.ui")
    own = [folder.joinpath(f"{language}.json") for folder in room.joinpath("pages").iterdir()]
    sources = [room.joinpath(f"catalogues/{language}.json"), *(source for source in own if source.is_file())]
    words = [item for source in sources for item in json.loads(source.read_text(encoding="utf-8")).items()]
    return dict(sorted(words))


def text(key: str, count: float | None = None, **values: object) -> Text:
    """Return a sentence in every language, its placeholders filled.

    Parameters
    ----------
    key : str
        Key in the catalogues.
    count : float, optional
        What decides between singular and plural, by the rules of each language.
    **values
        Placeholders. A `Text` gives each language its own words; anything else is shown as it is.

    Returns
    -------
    Text
        The sentence in French and in English.

    Raises
    ------
    CdpkitError
        If no catalogue has the key.

    Examples
    --------
    >>> text("count.people", count=1, n={"fr": "1", "en": "1"})
    {'fr': '1 personne', 'en': '1 person'}
    """
    return {language: _sentence(language, key, count, values) for language in LANGUAGES}


def same(words: object) -> Text:
    """Return words that read alike in every language, such as a model's name.

    Examples
    --------
    >>> same("appetence")
    {'fr': 'appetence', 'en': 'appetence'}
    """
    return {language: str(words) for language in LANGUAGES}


def join(separator: str, *parts: Text) -> Text:
    """Put several texts after one another, language by language.

    Examples
    --------
    >>> join(" · ", same("a"), {"fr": "oui", "en": "yes"})
    {'fr': 'a · oui', 'en': 'a · yes'}
    """
    return {language: separator.join(part[language] for part in parts) for language in LANGUAGES}


def _sentence(language: str, key: str, count: float | None, values: dict[str, object]) -> str:
    try:
        sentence = catalogue(language)[key]
    except KeyError:
        raise CdpkitError(f"message `{key}` must be in the {language} catalogue", "no such key") from None
    if isinstance(sentence, dict):
        from babel import Locale

        sentence = sentence[Locale.parse(language).plural_form(0 if count is None else count)]
    filled = {name: v[language] if isinstance(v, dict) else v for name, v in values.items()}
    return sentence.format(**filled) if filled else sentence
