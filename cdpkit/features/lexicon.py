"""What a message says, by a small lexicon in French and English: data, in `lexicon.toml`."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import cache
from importlib.resources import files

#: Letters that may carry an accent in French, with or without it.
_ACCENTED = {"a": "[aàâä]", "c": "[cç]", "e": "[eéèêë]", "i": "[iîï]", "o": "[oôö]", "u": "[uùûü]"}
_EDGE = "[^a-z0-9àâäçéèêëîïôöùûü]"


@cache
def _entries() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(files("cdpkit.features").joinpath("lexicon.toml").read_text(encoding="utf-8"))


def signals() -> list[str]:
    """Return the signals the lexicon knows.

    Examples
    --------
    >>> "complaint" in signals()
    True
    """
    return list(_entries())


def pattern(signal: str) -> str:
    """Return the regular expression that finds a signal in lower-case text, accents or not.

    A term stands for itself at the beginning of a word; ``*`` at its end lets the word go on.

    Examples
    --------
    >>> import re
    >>> bool(re.search(pattern("cancel"), "je souhaite resilier mon contrat"))
    True
    >>> bool(re.search(pattern("cancel"), "is it possible to change the size?"))
    False
    """
    terms = [term for language in ("fr", "en") for term in _entries()[signal][language]]
    return f"(^|{_EDGE})({'|'.join(_expression(term) for term in terms)})"


def _expression(term: str) -> str:
    """Return one term as an expression."""
    open_ended = term.endswith("*")
    bare = unicodedata.normalize("NFD", term.rstrip("*").lower())
    letters = "".join(letter for letter in bare if not unicodedata.combining(letter))
    special = {"'": "['’]", " ": "[ ]+"} | _ACCENTED
    spelled = "".join(special.get(letter, re.escape(letter)) for letter in letters)
    return spelled if open_ended else f"{spelled}($|{_EDGE})"
