"""Figures of whom to contact: deciles, gains, tiers and the N best."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from cdpkit.plots.style import (
    BAND,
    COLOURS,
    MODEL,
    PATTERNS,
    RULE,
    dress,
    number,
    percent,
    say,
    spread,
    tier_label,
)

_DECILES = {
    "en": {
        "finding": "The best tenth converts {lift} times as often as all, and makes {share} of conversions",
        "subtitle": "Share who converted, by tenth of score, with a 95 % interval; line: predicted",
        "x": "Decile (1 is best)",
        "y": "Share who converted",
        "observed": "Observed",
        "expected": "Predicted",
        "n": "{people} people, {hits} conversions",
    },
    "fr": {
        "finding": "Le meilleur dixième convertit {lift} fois plus que tous et fait {share} des conversions",
        "subtitle": "Part ayant converti, par dixième de score, avec un intervalle à 95 % ; ligne : prédit",
        "x": "Décile (1 est le meilleur)",
        "y": "Part ayant converti",
        "observed": "Observé",
        "expected": "Prédit",
        "n": "{people} personnes, {hits} conversions",
    },
}


def deciles(frame: pd.DataFrame, language: str = "en") -> go.Figure:
    """Draw conversion by decile, from `cdpkit.evaluate.deciles`.

    Examples
    --------
    >>> from cdpkit.evaluate import deciles as table
    >>> deciles(table([1] * 10 + [0] * 90, np.linspace(1, 0, 100))).layout.title.text
    'The best tenth converts 10.0 times as often as all, and makes 100% of conversions'
    """
    words, figure = say(_DECILES, language), go.Figure()
    figure.add_bar(
        x=frame["decile"], y=frame["rate"], name=words["observed"], marker={"color": MODEL},
        error_y=spread(frame["low"], frame["rate"], frame["high"]),
    )  # fmt: skip
    figure.add_scatter(
        x=frame["decile"], y=frame["expected_rate"], name=words["expected"], mode="lines+markers",
        line={"color": COLOURS["hot"], "dash": "dot"}, marker={"symbol": "diamond", "size": 9},
    )  # fmt: skip
    figure.update_xaxes(dtick=1)
    figure.update_yaxes(tickformat=".0%")
    best = frame.iloc[0]
    finding = words["finding"].format(
        lift=number(best["lift"], language, 1), share=percent(best["cumulative_share"], language)
    )
    count = words["n"].format(
        people=number(frame["people"].sum(), language), hits=number(frame["observed"].sum(), language)
    )
    return dress(figure, language, words, finding, count=count)


_GAINS = {
    "en": {
        "finding": "Contacting {people} of people reaches {share} of conversions{rule}",
        "rule": " (the rule: {share})",
        "subtitle": "Share of conversions reached, best scores first; band: 95 % interval",
        "x": "Share of people contacted",
        "y": "Share of conversions reached",
        "model": "Model",
        "baseline": "Rule",
        "perfect": "Perfect foresight",
        "random": "At random",
    },
    "fr": {
        "finding": "Contacter {people} des personnes touche {share} des conversions{rule}",
        "rule": " (la règle : {share})",
        "subtitle": "Part des conversions touchées, meilleurs scores d'abord ; bande : intervalle à 95 %",
        "x": "Part des personnes contactées",
        "y": "Part des conversions touchées",
        "model": "Modèle",
        "baseline": "Règle",
        "perfect": "Prévision parfaite",
        "random": "Au hasard",
    },
}


def gains(frame: pd.DataFrame, language: str = "en", *, share_people: float = 0.2) -> go.Figure:
    """Draw cumulative gains, from `cdpkit.evaluate.gains`; the title reads them at `share_people`.

    Examples
    --------
    >>> from cdpkit.evaluate import gains as table
    >>> y, p = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0], np.linspace(1, 0, 10)
    >>> gains(table(y, p, draws=20)).layout.title.text
    'Contacting 20% of people reaches 100% of conversions'
    """
    words, figure = say(_GAINS, language), go.Figure()
    x = frame["share_people"]
    figure.add_scatter(
        x=x, y=frame["low"], mode="lines", line={"width": 0}, showlegend=False, hoverinfo="skip"
    )
    figure.add_scatter(
        x=x,
        y=frame["high"],
        mode="lines",
        line={"width": 0},
        fill="tonexty",
        fillcolor=BAND,
        showlegend=False,
        hoverinfo="skip",
    )
    lines = [("share_conversions", "model", MODEL, "solid"), ("baseline", "baseline", COLOURS["hot"], "dash"),
             ("perfect", "perfect", RULE, "dot"), ("random", "random", RULE, "longdash")]  # fmt: skip
    for column, word, colour, dash in lines:
        if frame[column].notna().any():
            figure.add_scatter(x=x, y=frame[column], name=words[word], line={"color": colour, "dash": dash})
    figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(tickformat=".0%")
    here = int(np.argmin(np.abs(x - share_people)))
    rule = frame["baseline"].iloc[here]
    finding = words["finding"].format(
        people=percent(x.iloc[here], language),
        share=percent(frame["share_conversions"].iloc[here], language),
        rule="" if pd.isna(rule) else words["rule"].format(share=percent(rule, language)),
    )
    return dress(figure, language, words, finding)


_TIERS = {
    "en": {
        "finding": "{share} of people are hot and make {hits} of conversions",
        "ahead": "{share} of people are hot: {expected} conversions expected ({low} to {high})",
        "subtitle": "Share who converted in each tier, with a 95 % interval; diamond: predicted",
        "subtitle_ahead": "Predicted share of each tier; what happened is not known yet",
        "x": "",
        "y": "Share who converted",
        "observed": "Observed",
        "expected": "Predicted",
        "people": "{n} people",
    },
    "fr": {
        "finding": "{share} des personnes sont chaudes et font {hits} des conversions",
        "ahead": "{share} des personnes sont chaudes : {expected} conversions attendues (de {low} à {high})",
        "subtitle": "Part ayant converti dans chaque niveau, avec un intervalle à 95 % ; losange : prédit",
        "subtitle_ahead": "Part prédite dans chaque niveau ; la suite n'est pas encore connue",
        "x": "",
        "y": "Part ayant converti",
        "observed": "Observé",
        "expected": "Prédit",
        "people": "{n} personnes",
    },
}


def tiers(frame: pd.DataFrame, language: str = "en") -> go.Figure:
    """Draw conversion by tier, from `cdpkit.evaluate.tiers`.

    Examples
    --------
    >>> from cdpkit.evaluate import tiers as table
    >>> tiers(table([0.9, 0.1, 0.1, 0.1], ["hot", "cold", "cold", "cold"], [1, 0, 0, 0])).layout.title.text
    '25% of people are hot and make 100% of conversions'
    """
    words, figure = say(_TIERS, language), go.Figure()
    known = frame["rate"].notna().any()
    labels = [
        f"{tier_label(code, language)}<br>{words['people'].format(n=number(n, language))}"
        for code, n in zip(frame["tier"], frame["people"], strict=True)
    ]
    if known:
        figure.add_bar(
            x=labels, y=frame["rate"], name=words["observed"],
            marker={"color": [COLOURS[t] for t in frame["tier"]],
                    "pattern": {"shape": [PATTERNS[t] for t in frame["tier"]]}},
            error_y=spread(frame["low"], frame["rate"], frame["high"]),
        )  # fmt: skip
    figure.add_scatter(
        x=labels, y=frame["expected"] / frame["people"].where(frame["people"] > 0), name=words["expected"],
        mode="markers", marker={"symbol": "diamond", "size": 12, "color": "#222222"},
    )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    hot = frame.iloc[0]
    finding = words["finding" if known else "ahead"].format(
        share=percent(hot["share"], language),
        hits=percent(hot["share_conversions"], language) if known else "",
        expected=number(hot["expected"], language),
        low=number(hot["expected_low"], language),
        high=number(hot["expected_high"], language),
    )
    return dress(figure, language, words, finding, variant="" if known else "_ahead")


_TOP = {
    "en": {
        "finding": "The {n} best: {expected} conversions expected ({low} to {high}), {precision} of them",
        "subtitle": "Conversions expected, best scores first; band: 95 %, chance alone",
        "x": "People contacted",
        "y": "Conversions",
        "expected": "Expected",
        "observed": "Observed",
    },
    "fr": {
        "finding": "Les {n} meilleurs : {expected} conversions attendues (de {low} à {high}), "
        "{precision} d'entre eux",
        "subtitle": "Conversions attendues, meilleurs scores d'abord ; bande : 95 %, hasard seul",
        "x": "Personnes contactées",
        "y": "Conversions",
        "expected": "Attendu",
        "observed": "Observé",
    },
}


def top_n(frame: pd.DataFrame, language: str = "en", *, people: int | None = None) -> go.Figure:
    """Draw what contacting the N best brings, from `cdpkit.evaluate.top_n`; the title reads it at `people`.

    Examples
    --------
    >>> from cdpkit.evaluate import top_n as table
    >>> top_n(table([0.5, 0.1, 0.3], sizes=[1, 2]), people=2).layout.title.text
    'The 2 best: 1 conversions expected (0 to 2), 40% of them'
    """
    words, figure = say(_TOP, language), go.Figure()
    x = frame["people"]
    figure.add_scatter(
        x=x, y=frame["expected_low"], mode="lines", line={"width": 0}, showlegend=False, hoverinfo="skip"
    )
    figure.add_scatter(
        x=x, y=frame["expected_high"], mode="lines", line={"width": 0}, fill="tonexty", fillcolor=BAND,
        showlegend=False, hoverinfo="skip",
    )  # fmt: skip
    figure.add_scatter(x=x, y=frame["expected"], name=words["expected"], line={"color": MODEL})
    if frame["observed"].notna().any():
        figure.add_scatter(
            x=x, y=frame["observed"], name=words["observed"], line={"color": COLOURS["hot"], "dash": "dot"}
        )
    here = 0 if people is None else int(np.argmin(np.abs(x - people)))
    row = frame.iloc[here]
    finding = words["finding"].format(
        n=number(row["people"], language),
        expected=number(row["expected"], language),
        low=number(row["expected_low"], language),
        high=number(row["expected_high"], language),
        precision=percent(row["precision"], language),
    )
    return dress(figure, language, words, finding)
