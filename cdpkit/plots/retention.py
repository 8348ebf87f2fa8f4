"""Figures of those who stay: cohorts under contract, and the curve drawn through them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from cdpkit.plots.style import dress, number, percent, say

_COHORTS = {
    "en": {
        "finding": "{share} of contracts are still held after {age} periods",
        "subtitle": "Share of each cohort still under contract, by age",
        "x": "Age, in periods",
        "y": "Share still held",
        "all": "all cohorts ({n} contracts)",
        "curve": "expected",
    },
    "fr": {
        "finding": "{share} des contrats tiennent encore après {age} périodes",
        "subtitle": "Part de chaque cohorte encore sous contrat, selon l'âge",
        "x": "Âge, en périodes",
        "y": "Part encore sous contrat",
        "all": "toutes les cohortes ({n} contrats)",
        "curve": "attendu",
    },
}
#: Cohorts drawn one by one, the largest first; the others count in the line of all.
SHOWN = 6
_DASHES = ("dot", "dash", "longdash", "dashdot", "longdashdot", "5px,2px")


def cohorts(survivors: pd.DataFrame, language: str = "en", *, curve: Any = None) -> go.Figure:
    """Draw how long contracts are held, from `cdpkit.models.cohort_survivors`.

    Parameters
    ----------
    survivors : DataFrame
        One row a cohort, one column an age; the first column counts all that began.
    language : {"fr", "en"}
    curve : object with ``survival(periods)``, optional
        A fitted `cdpkit.models.ShiftedBetaGeometric`, drawn twice as far as was observed.

    Examples
    --------
    >>> held = pd.DataFrame([[100, 80, 70], [50, 45, None]], columns=[0, 1, 2], index=["2025Q1", "2025Q2"])
    >>> cohorts(held, "en").layout.title.text
    '73% of contracts are still held after 2 periods'
    """
    words, figure = say(_COHORTS, language), go.Figure()
    counts = survivors.to_numpy(dtype=float)
    ages = np.asarray(survivors.columns, dtype=float)
    largest = np.argsort(-counts[:, 0], kind="stable")[:SHOWN]
    for dash, row in zip(_DASHES, sorted(largest), strict=False):
        name = str(survivors.index[row])
        share = counts[row] / counts[row, 0]
        figure.add_scatter(x=ages, y=share, mode="lines", name=name, line={"dash": dash, "width": 1})
    # Each step is shared by the cohorts seen over it.
    over = ~np.isnan(counts[:, 1:])
    before = np.where(over, counts[:, :-1], 0).sum(axis=0)
    stayed = np.where(over, counts[:, 1:], 0).sum(axis=0) / np.maximum(before, 1)
    whole = np.concatenate([[1.0], np.cumprod(stayed)])
    everybody = number(counts[:, 0].sum(), language)
    figure.add_scatter(x=ages, y=whole, mode="lines+markers", name=words["all"].format(n=everybody))
    if curve is not None:
        far = np.arange(2 * len(ages) - 1)
        expected = curve.survival(far)
        figure.add_scatter(x=far, y=expected, mode="lines", name=words["curve"], line={"dash": "dash"})
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    told = percent(float(whole[-1]), language)
    finding = words["finding"].format(share=told, age=number(ages[-1], language))
    return dress(figure, language, words, finding)
