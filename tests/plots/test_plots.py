"""Figures: the finding in the title, both languages, never colour alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from cdpkit import evaluate, plots
from cdpkit.errors import CdpkitError
from cdpkit.plots import quality, scores, targeting
from cdpkit.plots.style import COLOURS, PATTERNS, SHAPES, TIER_NAMES, number, percent

RNG = np.random.default_rng(0)
P = RNG.beta(1, 5, 1500)
Y = (RNG.random(1500) < P).astype(int)
RULE = np.full(1500, Y.mean())
TIER = np.where(P > 0.4, "hot", np.where(P > 0.15, "warm", "cold"))
FACTORS = pd.DataFrame(
    {
        "tier": "all",
        "rank": [1, 2],
        "feature": ["visits", "recency"],
        "strength": [0.5, 0.4],
        "push": [0.1, -0.2],
        "people": 9,
    }
)

DRAWN: dict[str, Callable[[str], go.Figure]] = {
    "ranking": lambda code: plots.ranking(evaluate.ranking(Y, P, baseline=RULE, draws=30), code),
    "ranking_alone": lambda code: plots.ranking(evaluate.ranking(Y, P, draws=30), code),
    "calibration": lambda code: plots.calibration(evaluate.calibration(Y, P, sims=50), code),
    "calibration_off": lambda code: plots.calibration(evaluate.calibration(Y, P / 2, sims=50), code),
    "deciles": lambda code: plots.deciles(evaluate.deciles(Y, P), code),
    "gains": lambda code: plots.gains(evaluate.gains(Y, P, baseline=RULE, draws=30), code),
    "tiers": lambda code: plots.tiers(evaluate.tiers(P, TIER, Y), code),
    "tiers_ahead": lambda code: plots.tiers(evaluate.tiers(P, TIER), code),
    "top_n": lambda code: plots.top_n(evaluate.top_n(P, Y), code, people=200),
    "top_n_ahead": lambda code: plots.top_n(evaluate.top_n(P), code),
    "histogram": lambda code: plots.histogram(evaluate.histogram(P, {"hot": 0.4, "warm": 0.15}), code),
    "histogram_plain": lambda code: plots.histogram(evaluate.histogram(P), code),
    "factors": lambda code: plots.factors(FACTORS, code),
    "achieved": lambda code: plots.achieved(
        evaluate.achieved(
            evaluate.log_losses(Y, P), evaluate.log_losses(Y, RULE), evaluate.log_losses(Y, P), draws=30
        ),
        code,
    ),
    "achieved_nothing": lambda code: plots.achieved(
        evaluate.achieved(*[evaluate.log_losses(Y, RULE)] * 3, draws=30), code
    ),
}


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_each_figure_speaks_both_languages(name: str) -> None:
    """A title that states a finding, a subtitle, a summary for screen readers; French is not English."""
    english, french = (DRAWN[name](code) for code in ("en", "fr"))
    for figure in (english, french):
        assert figure.layout.title.text and figure.layout.title.subtitle.text
        assert "{" not in figure.layout.title.text + figure.layout.title.subtitle.text
        assert figure.layout.meta["summary"].startswith(figure.layout.title.text)
        assert "nan" not in figure.layout.title.text
        assert len(figure.data) > 0
        figure.to_json()
    assert english.layout.title.text != french.layout.title.text
    assert len(english.data) == len(french.data)


def test_titles_follow_the_finding() -> None:
    """A calibration that fails is not announced as one that holds, nor a missing gain as a gain."""
    assert "hold:" in DRAWN["calibration"]("en").layout.title.text
    assert "do not hold" in DRAWN["calibration_off"]("en").layout.title.text
    assert "100%" in DRAWN["achieved"]("en").layout.title.text
    assert "no gain to measure" in DRAWN["achieved_nothing"]("en").layout.title.text


def test_title_figures_are_the_frames() -> None:
    """The number in a title is the number in its frame."""
    table = evaluate.top_n(P, sizes=[200])
    title = plots.top_n(table, "fr", people=200).layout.title.text
    assert number(table["expected"].iloc[0], "fr") in title
    hot = evaluate.tiers(P, TIER, Y).iloc[0]
    assert (
        percent(hot["share_conversions"], "en")
        in plots.tiers(evaluate.tiers(P, TIER, Y), "en").layout.title.text
    )


def test_tiers_are_told_by_shape_and_pattern_too() -> None:
    """Each tier has its own colour, pattern, shape and word."""
    codes = ("hot", "warm", "cold")
    for table in (COLOURS, PATTERNS, SHAPES, TIER_NAMES["en"], TIER_NAMES["fr"]):
        assert len({table[code] for code in codes}) == 3
    bars = [trace for trace in DRAWN["histogram"]("fr").data if trace.type == "bar"]
    assert [bar.name for bar in bars] == ["▼ Froid", "● Tiède", "▲ Chaud"]
    assert len({bar.marker.pattern.shape for bar in bars}) == 3


def test_contrast_is_enough_on_white() -> None:
    """Graphic contrast is at least 3:1 (WCAG 2.1, 1.4.11)."""
    for colour in COLOURS.values():
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert 1.05 / (luminance + 0.05) >= 3


def test_every_word_exists_in_both_languages() -> None:
    """Each figure's English and French have the same keys."""
    found = 0
    for module in (quality, targeting, scores):
        for name, words in vars(module).items():
            if isinstance(words, dict) and set(words) == {"en", "fr"}:
                assert words["en"].keys() == words["fr"].keys(), name
                found += 1
    assert found >= 9


def test_another_language_is_refused() -> None:
    """A language without words is named."""
    with pytest.raises(CdpkitError, match="language"):
        plots.deciles(evaluate.deciles(Y, P), "de")


def test_french_numbers_are_french() -> None:
    """Comma for decimals and a narrow space for thousands, on the axes too."""
    assert DRAWN["deciles"]("fr").layout.separators == ",\u202f"
    assert number(12345.6, "fr", 1) == "12\u202f345,6"
