"""The look shared by every figure: a palette safe for colour-blind readers, shapes beside colours, words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from babel.numbers import format_decimal, format_percent

from cdpkit.errors import CdpkitError

LANGUAGES = ("en", "fr")

#: Vermilion, grey and blue of Okabe and Ito's palette (grey darkened to 4.5:1 on white).
COLOURS = {"hot": "#D55E00", "warm": "#767676", "cold": "#0072B2", "all": "#0072B2"}
MODEL, RULE, BAND, INK = "#0072B2", "#767676", "rgba(0,114,178,0.15)", "#222222"

#: A tier is never told by its colour alone.
SHAPES = {"hot": "▲", "warm": "●", "cold": "▼", "all": ""}
PATTERNS = {"hot": "", "warm": "/", "cold": ".", "all": ""}

TIER_NAMES = {
    "en": {"hot": "Hot", "warm": "Warm", "cold": "Cold", "all": "Everybody"},
    "fr": {"hot": "Chaud", "warm": "Tiède", "cold": "Froid", "all": "Tout le monde"},
}


def say(words: Mapping[str, Mapping[str, str]], language: str) -> Mapping[str, str]:
    """Return the words of a language.

    Raises
    ------
    CdpkitError
        For a language without words.

    Examples
    --------
    >>> say({"en": {"a": "people"}, "fr": {"a": "personnes"}}, "fr")["a"]
    'personnes'
    """
    if language not in words:
        raise CdpkitError(f"`language` must be one of {tuple(words)}", got=repr(language))
    return words[language]


def percent(share: float, language: str, digits: int = 0) -> str:
    r"""Write a share as a percentage, as the language does.

    Examples
    --------
    >>> percent(0.1234, "fr", 1), percent(0.1234, "en", 1)
    ('12,3\u202f%', '12.3%')
    """
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return format_percent(
        share, format=f"{pattern}\u202f%" if language == "fr" else f"{pattern}%", locale=language
    )


def number(value: float, language: str, digits: int = 0) -> str:
    r"""Write a number as the language does.

    Examples
    --------
    >>> number(1234.5, "fr", 1), number(1234.5, "en", 1)
    ('1\u202f234,5', '1,234.5')
    """
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return format_decimal(value, format=pattern, locale=language)


def tier_label(code: str, language: str) -> str:
    """Name a tier with its shape.

    Examples
    --------
    >>> tier_label("hot", "fr")
    '▲ Chaud'
    """
    return f"{SHAPES[code]} {say(TIER_NAMES, language)[code]}".strip()


def dress(
    figure: go.Figure,
    language: str,
    words: Mapping[str, str],
    finding: str,
    *,
    count: str = "",
    variant: str = "",
) -> go.Figure:
    """Give a figure its finding as title, its definition as subtitle, its axes' names and its count.

    Definition and names are the words ``subtitle``, ``x`` and ``y`` of the figure, those of a `variant`
    (``subtitle_alone``) where it has them. The finding and subtitle are also kept as
    `layout.meta["summary"]`, the text a screen reader is given.
    """
    subtitle, x, y = (words.get(f"{name}{variant}", words.get(name, "")) for name in ("subtitle", "x", "y"))
    subtitle = f"{subtitle} · {count}" if count else subtitle
    figure.update_layout(
        title={"text": finding, "subtitle": {"text": subtitle}, "x": 0, "xanchor": "left"},
        template="plotly_white",
        font={"color": INK, "size": 14},
        separators=",\u202f" if language == "fr" else ".,",
        margin={"t": 90, "b": 90, "l": 70, "r": 30},
        legend={"orientation": "h", "y": -0.25},
        meta={"summary": f"{finding}. {subtitle}.".replace("<br>", " "), "language": language},
    )
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    return figure


def spread(low: Any, value: Any, high: Any) -> dict[str, Any]:
    """Return plotly's error bars for an interval that is not centred."""
    return {"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low}
