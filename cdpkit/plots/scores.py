"""Figures of the scores themselves: how they are spread, and what matters most in them."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import plotly.graph_objects as go

from cdpkit.plots.style import COLOURS, PATTERNS, dress, number, say, tier_label

_HISTOGRAM = {
    "en": {
        "finding": "{n} people are hot, out of {all}",
        "plain": "{all} people scored",
        "subtitle": "People by score; lines: where each tier starts",
        "x": "Score (predicted probability)",
        "y": "People",
    },
    "fr": {
        "finding": "{n} personnes sont chaudes, sur {all}",
        "plain": "{all} personnes notées",
        "subtitle": "Personnes par score ; lignes : où commence chaque niveau",
        "x": "Score (probabilité prédite)",
        "y": "Personnes",
    },
}


def histogram(frame: pd.DataFrame, language: str = "en") -> go.Figure:
    """Draw the scores and their cut lines, from `cdpkit.evaluate.histogram`.

    Examples
    --------
    >>> from cdpkit.evaluate import histogram as table
    >>> histogram(table([0.1, 0.2, 0.9], {"hot": 0.5, "warm": 0.15}), "fr").layout.title.text
    '1 personnes sont chaudes, sur 3'
    """
    words, figure = say(_HISTOGRAM, language), go.Figure()
    for code in ("cold", "warm", "hot", "all"):
        rows = frame[frame["tier"] == code]
        if not len(rows):
            continue
        figure.add_bar(
            x=(rows["low"] + rows["high"]) / 2, y=rows["people"], width=rows["high"] - rows["low"],
            name=tier_label(code, language),
            marker={"color": COLOURS[code], "pattern": {"shape": PATTERNS[code]}},
        )  # fmt: skip
        if code in ("warm", "hot"):
            cut = {"color": "#222222", "dash": "dash"}
            figure.add_vline(x=rows["low"].min(), line=cut, annotation_text=tier_label(code, language))
    everybody = number(frame["people"].sum(), language)
    hot = number(frame.loc[frame["tier"] == "hot", "people"].sum(), language)
    cut_up = bool((frame["tier"] != "all").any())
    finding = (
        words["finding"].format(n=hot, all=everybody) if cut_up else words["plain"].format(all=everybody)
    )
    figure.update_layout(barmode="overlay", bargap=0)
    return dress(figure, language, words, finding)


_FACTORS = {
    "en": {
        "finding": "What matters most for the score: {first}",
        "subtitle": "Mean size of each column's part in the score (log-odds): associations, not causes",
        "x": "Mean part in the score",
        "up": "▲ mostly raises",
        "down": "▼ mostly lowers",
        "n": "{people} people",
    },
    "fr": {
        "finding": "Ce qui compte le plus dans le score : {first}",
        "subtitle": "Part moyenne de chaque colonne dans le score (log-cote) : associations, pas causes",
        "x": "Part moyenne dans le score",
        "up": "▲ élève plutôt",
        "down": "▼ abaisse plutôt",
        "n": "{people} personnes",
    },
}


def factors(
    frame: pd.DataFrame,
    language: str = "en",
    *,
    tier: str = "all",
    describe: Callable[[str, str], str] | None = None,
) -> go.Figure:
    """Draw what matters most, from `cdpkit.models.importance`, for everybody or one tier.

    Parameters
    ----------
    frame : DataFrame
        ``tier, rank, feature, strength, push, people``.
    language : {"en", "fr"}
        Language of the words.
    tier : str
        Which tier to draw.
    describe : callable, optional
        From a feature and a language to its name in words.

    Examples
    --------
    >>> row = {"tier": "all", "rank": 1, "feature": "visits", "strength": 1.0, "push": 0.1, "people": 9}
    >>> factors(pd.DataFrame([row])).layout.title.text
    'What matters most for the score: visits'
    """
    words, figure = say(_FACTORS, language), go.Figure()
    rows = frame[frame["tier"] == tier].sort_values("strength", kind="stable")
    names = [describe(f, language) if describe else f for f in rows["feature"]]
    for word, wanted, colour, shape in (
        ("up", True, COLOURS["hot"], ""),
        ("down", False, COLOURS["cold"], "/"),
    ):
        mine = ((rows["push"] >= 0) == wanted).to_numpy()
        if mine.any():
            mine_names = [n for n, m in zip(names, mine, strict=True) if m]
            figure.add_bar(
                x=rows["strength"][mine], y=mine_names, orientation="h",
                name=words[word], marker={"color": colour, "pattern": {"shape": shape}},
            )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=names)
    figure.update_layout(showlegend=True)
    count = words["n"].format(people=number(rows["people"].max(), language))
    finding = words["finding"].format(first=names[-1])
    return dress(figure, language, words, finding, count=count)
