"""Short sentences in French and English: plural choices and numbers as each language writes them.

A template holds ``{value}``, other named values, and choices such as ``{commande|commandes}`` made by
the value: French says the singular below 2, English for exactly 1.
"""

from __future__ import annotations

import math
import re

#: Languages a marketer may read.
LANGUAGES = ("fr", "en")

#: What a number counts: how it is written and when it is singular.
UNITS = ("count", "days", "years", "minutes", "milliseconds", "share", "money", "ratio", "flag", "text")

#: Durations are told in whole units: milliseconds as seconds.
_WHOLE = {"days": 1, "years": 1, "minutes": 1, "milliseconds": 1000}

_CHOICE = re.compile(r"\{([^{}|]+)\|([^{}|]+)\}")


def check_language(language: str) -> str:
    """Return `language`, or say which ones exist."""
    if language not in LANGUAGES:
        raise ValueError(f"`language` must be one of {', '.join(LANGUAGES)}; got {language!r}")
    return language


def write(value: object, language: str, unit: str = "count", currency: str | None = None) -> str:
    """Write a value as the language does.

    Parameters
    ----------
    value : object
        A number, or text when `unit` is ``"text"``. Money is in minor units.
    language : {"fr", "en"}
    unit : str
        One of `UNITS`.
    currency : str, optional
        ISO 4217 code of a ``"money"`` value; without it the amount is written bare.

    Examples
    --------
    >>> write(1234.5, "en"), write(0.25, "en", "share"), write(0.4, "en", "days")
    ('1,234.5', '25%', 'less than one')
    """
    from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision

    check_language(language)
    if unit == "text":
        return str(value)
    number = float(value)  # type: ignore[arg-type]
    if unit == "share":
        return format_percent(number, "#,##0\u202f%" if language == "fr" else "#,##0%", locale=language)
    if unit == "money":
        if currency is None:
            return format_decimal(number / 100, "#,##0.00", locale=language)
        return format_currency(number / 10 ** get_currency_precision(currency), currency, locale=language)
    if unit in _WHOLE:
        number = number / _WHOLE[unit]
        if number < 1:
            feminine = "e" if unit in ("minutes", "milliseconds") else ""
            return f"moins d'un{feminine}" if language == "fr" else "less than one"
        number = math.floor(number)
    return format_decimal(number, "#,##0.##" if unit == "ratio" else "#,##0.#", locale=language)


def say(
    template: str,
    language: str,
    value: object = None,
    *,
    unit: str = "count",
    currency: str | None = None,
    **others: object,
) -> str:
    """Fill a template: the value, the other named words, and the plural choices the value makes.

    Examples
    --------
    >>> say("a passé {value} {commande|commandes} en {days} jours", "fr", 1, days=90)
    'a passé 1 commande en 90 jours'
    >>> say("placed {value} {order|orders} in {days} days", "en", 0, days=90)
    'placed 0 orders in 90 days'
    """
    check_language(language)
    plural = False
    if isinstance(value, int | float) or hasattr(value, "__float__"):
        size = abs(float(value))  # type: ignore[arg-type]
        if unit in _WHOLE:
            size = max(1, math.floor(size / _WHOLE[unit]))
        plural = size >= 2 if language == "fr" else size != 1
    text = _CHOICE.sub(lambda found: found.group(2 if plural else 1), template)
    shown = "" if value is None else write(value, language, unit, currency)
    return text.format(value=shown, **others)
