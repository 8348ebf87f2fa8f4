"""Numbers, shares, money and dates as each language writes them (Babel); every function returns both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date as Date

from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, format_percent

from cdpkit.ui.messages import LANGUAGES, Text, text

#: The locale each language is formatted by: British dates read like French ones, day before month.
LOCALES = {"fr": "fr", "en": "en_GB"}

_FINE = "\u202f"  # narrow no-break space, the French one before a per cent sign


def _both(write: Callable[[str], str]) -> Text:
    return {language: write(LOCALES[language]) for language in LANGUAGES}


def number(value: float, digits: int = 0) -> Text:
    """Write a number with the language's separators.

    Parameters
    ----------
    value : float
        The number.
    digits : int, default 0
        Digits after the separator.

    Returns
    -------
    Text
        The number in each language.

    Examples
    --------
    >>> number(1234.5, 1)["en"], number(1234.5, 1)["fr"].replace(chr(0x202F), " ")
    ('1,234.5', '1 234,5')
    """
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return _both(lambda locale: format_decimal(value, format=pattern, locale=locale))


def percent(share: float, digits: int | None = None) -> Text:
    """Write a share in [0, 1] as a percentage; below 10 % one digit is kept unless told otherwise.

    Examples
    --------
    >>> percent(0.124)["en"], percent(0.0342)["en"], percent(0.124)["fr"].replace(chr(0x202F), " ")
    ('12%', '3.4%', '12 %')
    """
    if digits is None:
        digits = 1 if 0 < abs(share) < 0.0995 else 0
    decimals = "." + "0" * digits if digits else ""
    return _both(
        lambda locale: format_percent(
            share, format=f"#,##0{decimals}{_FINE if locale == 'fr' else ''}%", locale=locale
        )
    )


def money(minor: float, currency: str = "EUR", digits: int | None = None) -> Text:
    """Write an amount given in minor units (cents); whole units from 100 on unless told otherwise.

    Examples
    --------
    >>> money(1234500)["en"], money(1250)["en"]
    ('€12,345', '€12.50')
    """
    from babel.numbers import get_currency_precision

    precision = get_currency_precision(currency)
    amount = minor / 10**precision
    if digits is None:
        digits = 0 if abs(amount) >= 100 else precision

    def write(locale: str) -> str:
        from babel import Locale

        pattern = Locale.parse(locale).currency_formats["standard"].pattern
        decimals = "." + "0" * digits if digits else ""
        return format_currency(
            amount, currency, format=pattern.replace(".00", decimals), locale=locale, currency_digits=False
        )

    return _both(write)


def measure(value: float, unit: str, currency: str | None = None) -> Text:
    """Write a figure of `metrics.yml` in its unit: a share, an amount in minor units, a ratio or a number.

    Examples
    --------
    >>> measure(0.5, "share")["en"], measure(120000, "money", "EUR")["en"], measure(3.04, "ratio")["en"]
    ('50%', '€1,200', '3.0')
    """
    if unit == "share":
        return percent(value)
    if unit == "money":
        return money(value, currency or "EUR")
    return number(value, 1 if unit == "ratio" else 0)


def date(day: str | Date) -> Text:
    """Write a day, given as a date or in ISO form, with the month in letters.

    Examples
    --------
    >>> date("2026-11-22")
    {'fr': '22 nov. 2026', 'en': '22 Nov 2026'}
    >>> date("2026-07-01")["fr"]
    '1er juil. 2026'
    """
    value = Date.fromisoformat(day[:10]) if isinstance(day, str) else day
    written = _both(lambda locale: format_date(value, format="d MMM y", locale=locale))
    return written | {"fr": "1er" + written["fr"][1:]} if value.day == 1 else written


def interval(low: Text, high: Text) -> Text:
    """Write an interval in words: from one bound to the other.

    Examples
    --------
    >>> interval(percent(0.38), percent(0.46))["en"]
    'between 38% and 46%'
    """
    return text("interval", low=low, high=high)


def people(n: int | None, k: int) -> Text:
    """Write a number of people, or that they are fewer than `k` and stay hidden.

    Examples
    --------
    >>> people(1, 20)["en"], people(None, 20)["en"]
    ('1 person', 'fewer than 20')
    """
    if n is None:
        return text("hidden.under", k=number(k))
    return text("count.people", count=n, n=number(n))
