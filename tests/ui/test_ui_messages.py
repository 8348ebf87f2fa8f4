"""Catalogues: the same keys and placeholders in both languages, none missing, none left over."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path

import pytest

from cdpkit.errors import CdpkitError
from cdpkit.ui import formats
from cdpkit.ui.messages import LANGUAGES, catalogue, join, same, text

UI = Path(formats.__file__).parent


def _forms(sentence: object) -> list[str]:
    return list(sentence.values()) if isinstance(sentence, dict) else [str(sentence)]


def _names(sentence: object) -> set[str]:
    return {name for form in _forms(sentence) for _, name, _, _ in string.Formatter().parse(form) if name}


def test_both_languages_hold_the_same_keys_in_order() -> None:
    """A key that one language lacks would break a page for half the readers."""
    assert list(catalogue("fr")) == list(catalogue("en")) == sorted(catalogue("fr"))


def test_no_sentence_lies_in_two_files() -> None:
    """A page's words begin with its name, so that no file hides the words of another."""
    files = [UI / "catalogues" / "fr.json", *UI.glob("pages/*/fr.json")]
    keys = [key for path in files for key in json.loads(path.read_text(encoding="utf-8"))]
    assert sorted(keys) == list(catalogue("fr"))
    for path in UI.glob("pages/*/fr.json"):
        assert all(
            key.startswith(f"{path.parent.name}.") for key in json.loads(path.read_text(encoding="utf-8"))
        )


def test_both_languages_use_the_same_placeholders() -> None:
    """A value named in one language only would vanish from the other."""
    faults = [key for key in catalogue("fr") if _names(catalogue("fr")[key]) != _names(catalogue("en")[key])]
    assert faults == []


def test_every_key_is_used_and_every_literal_key_exists() -> None:
    """No sentence is left over, and none is asked for that does not exist."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in UI.rglob("*.py"))
    asked = re.findall(r"""\btext\(\s*(f?)["']([a-z0-9_.{}\[\]'"]+)["']""", source)
    literal = {key for f, key in asked if not f}
    patterns = [
        re.compile(
            re.sub(r"\{[^}]*\}", r"[a-z0-9_]+", re.escape(key).replace(r"\{", "{").replace(r"\}", "}")) + "$"
        )
        for f, key in asked
        if f
    ]
    missing = literal - set(catalogue("fr"))
    unused = [k for k in catalogue("fr") if k not in literal and not any(p.match(k) for p in patterns)]
    assert (missing, unused) == (set(), [])


def test_french_punctuation_never_breaks_a_line() -> None:
    """A colon or a question mark keeps its word: the space before it does not break."""
    broken = [k for k, s in catalogue("fr").items() for form in _forms(s) if re.search(r" [:;?!%»]|« ", form)]
    assert broken == []


def test_plural_follows_each_language() -> None:
    """Zero is singular in French and plural in English."""
    none = text("count.people", count=0, n=same(0))
    assert none == {"fr": "0 personne", "en": "0 people"}


def test_unknown_key_is_an_error_that_names_it() -> None:
    """A typing mistake is found by the first test of the page, not by a reader."""
    with pytest.raises(CdpkitError, match=r"no\.such\.key"):
        text("no.such.key")


def test_join_keeps_languages_apart() -> None:
    """Joined parts never mix languages."""
    assert join("/", {"fr": "a", "en": "b"}, {"fr": "c", "en": "d"}) == {"fr": "a/c", "en": "b/d"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_follow_the_language(language: str) -> None:
    """Separators, the space before a per cent sign and the place of the currency are each language's own."""
    expected = {
        "fr": ("1\u202f234,5", "12\u202f%", "1\u202f234\u202f567\xa0€", "1er juil. 2026"),
        "en": ("1,234.5", "12%", "€1,234,567", "1 Jul 2026"),
    }[language]
    written = (
        formats.number(1234.5, 1),
        formats.percent(0.12),
        formats.money(123456700),
        formats.date("2026-07-01"),
    )
    assert tuple(words[language] for words in written) == expected


def test_money_without_cents_in_its_currency() -> None:
    """A yen has no minor unit: 1,234 minor units are 1,234 yen."""
    assert formats.money(1234, "JPY")["en"].endswith("1,234")
