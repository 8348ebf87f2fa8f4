"""Take personal values out of text before it is stored: addresses, phones, bank accounts, canaries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})*\.[^\W\d_]{2,24}")
# French numbers as people type them, and any number in international form. A digit, a letter or a
# decimal point on either side means a longer number: not a phone.
_PHONE = re.compile(
    r"(?<![\w.])(?:(?:\+33|0033)[ .-]?(?:\(0\))?[ .-]?|0)[1-9](?:[ .-]?\d{2}){4}(?![\w])"
    r"|(?<![\w.+])\+[1-9]\d{0,2}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}(?![\w])"
)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?!\w)")
# Colour codes may stand in the middle of an address and hide it.
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def _is_iban(text: str) -> bool:
    """Whether the check digits of a bank account hold."""
    compact = text.replace(" ", "")
    if not 15 <= len(compact) <= 34:
        return False
    digits = "".join(str(int(char, 36)) for char in compact[4:] + compact[:4])
    return int(digits) % 97 == 1


def scrub(text: str, canaries: Iterable[str] = ()) -> str:
    """Return `text` with personal values replaced by their kind in brackets.

    Parameters
    ----------
    text : str
        A log, a message, the output of a cell.
    canaries : iterable of str
        Further values to take out, whatever their case (planted customers, names known to the
        caller).

    Returns
    -------
    str
        The text, without terminal colours, with ``[email]``, ``[phone]``, ``[iban]``, ``[removed]``.

    Notes
    -----
    Patterns find what has a form. A name in a sentence has none: do not print rows of customers.

    Examples
    --------
    >>> scrub("no account for jean.dupont@example.fr, call 06 12 34 56 78")
    'no account for [email], call [phone]'
    >>> scrub("score 0.0612345678 over 541909 rows")
    'score 0.0612345678 over 541909 rows'
    """
    text = _COLOUR.sub("", text)
    for canary in sorted({c for c in canaries if c}, key=len, reverse=True):
        text = re.sub(re.escape(canary), "[removed]", text, flags=re.IGNORECASE)
    if "@" in text:
        text = _EMAIL.sub("[email]", text)
    text = _IBAN.sub(lambda match: "[iban]" if _is_iban(match[0]) else match[0], text)
    return _PHONE.sub("[phone]", text)


def holds_personal_values(text: str) -> bool:
    """Whether `scrub` would take something out of `text`.

    Examples
    --------
    >>> holds_personal_values("IBAN FR76 3000 6000 0112 3456 7890 189")
    True
    >>> holds_personal_values("2026-06-30")
    False
    """
    plain = _COLOUR.sub("", text)
    return scrub(plain) != plain


def scrub_tree(value: Any, canaries: Iterable[str] = ()) -> Any:
    """Return nested dicts and lists with every string scrubbed, pictures left as they are.

    Examples
    --------
    >>> scrub_tree({"text": ["write to a@b.fr", 3], "image/png": "aaaa"})
    {'text': ['write to [email]', 3], 'image/png': 'aaaa'}
    """
    canaries = tuple(canaries)
    if isinstance(value, str):
        return scrub(value, canaries)
    if isinstance(value, Mapping):
        return {
            key: item
            if str(key).startswith("image/") and key != "image/svg+xml"
            else scrub_tree(item, canaries)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [scrub_tree(item, canaries) for item in value]
    return value
