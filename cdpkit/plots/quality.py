"""Figures of a model's quality: beside its rule, its calibration, and the share of the gain within reach."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from cdpkit.plots.style import BAND, MODEL, RULE, dress, number, percent, say, spread

_RANKING = {
    "en": {
        "beats": "The model does better than the rule on {won} of {all} figures",
        "alone": "AUC {auc} and log-loss {loss} on people it did not learn from",
        "subtitle": "Gap between model and rule, better to the right, as a share of the rule; 95 % intervals",
        "subtitle_alone": "Each figure with its 95 % interval",
        "x": "Better than the rule",
        "x_alone": "Value",
        "n": "{people} people, {conversions} conversions",
        "roc_auc": "AUC",
        "pr_auc": "Precision-recall area",
        "log_loss": "Log-loss",
        "brier": "Brier score",
        "ece": "Calibration error",
        "lift_10": "Lift of the best 10 %",
    },
    "fr": {
        "beats": "Le modèle fait mieux que la règle sur {won} mesures sur {all}",
        "alone": "AUC {auc} et log-loss {loss} sur des personnes hors apprentissage",
        "subtitle": "Écart entre modèle et règle, mieux à droite, rapporté à la règle ; intervalles à 95 %",
        "subtitle_alone": "Chaque mesure avec son intervalle à 95 %",
        "x": "Mieux que la règle",
        "x_alone": "Valeur",
        "n": "{people} personnes, {conversions} conversions",
        "roc_auc": "AUC",
        "pr_auc": "Aire précision-rappel",
        "log_loss": "Log-loss",
        "brier": "Score de Brier",
        "ece": "Erreur de calibration",
        "lift_10": "Lift des 10 % les meilleurs",
    },
}


def ranking(frame: pd.DataFrame, language: str = "en") -> go.Figure:
    """Draw a model's figures beside its rule, from `cdpkit.evaluate.ranking`.

    Examples
    --------
    >>> from cdpkit.evaluate import ranking as report
    >>> p = np.linspace(0.01, 0.99, 200)
    >>> y = np.random.default_rng(0).random(200) < p
    >>> ranking(report(y, p, baseline=np.full(200, y.mean()), draws=50)).layout.title.text
    'The model does better than the rule on 5 of 5 figures'
    """
    words = say(_RANKING, language)
    figure = go.Figure()
    against = frame["baseline"].notna().all()
    rows = frame[frame["metric"] != "ece"] if against else frame
    labels = [words[m] for m in rows["metric"]]
    if against:
        sign = np.where(rows["higher_is_better"], 1.0, -1.0) / rows["baseline"].to_numpy(dtype=float)
        ends = np.sort([rows["difference_low"] * sign, rows["difference_high"] * sign], axis=0)
        value, low, high = (rows["difference"] * sign).to_numpy(), ends[0], ends[1]
        finding = words["beats"].format(won=int((low > 0).sum()), all=len(rows))
        figure.add_vline(x=0, line={"color": RULE, "dash": "dash"})
        figure.update_xaxes(tickformat=".0%")
    else:
        value, low, high = (rows[c].to_numpy(dtype=float) for c in ("value", "low", "high"))
        by_name = frame.set_index("metric")["value"]
        auc, loss = (number(by_name[m], language, 3) for m in ("roc_auc", "log_loss"))
        finding = words["alone"].format(auc=auc, loss=loss)
    figure.add_scatter(
        x=value,
        y=labels,
        mode="markers",
        marker={"size": 11, "color": MODEL},
        error_x=spread(low, value, high),
    )
    people, hits = (number(frame[c].iloc[0], language) for c in ("people", "conversions"))
    count = words["n"].format(people=people, conversions=hits)
    return dress(figure, language, words, finding, count=count, variant="" if against else "_alone")


_CALIBRATION = {
    "en": {
        "holds": "The probabilities hold: all {bins} groups stay within the band of a perfect model",
        "fails": "The probabilities do not hold in {out} of {bins} groups",
        "subtitle": "Groups of people of neighbouring scores, with 95 % intervals; band: where all groups "
        "of a perfect model<br>stay together 95 % of the time",
        "x": "Predicted probability",
        "y": "Observed share",
        "band": "Perfect model, 95 %",
        "observed": "Observed",
        "n": "{people} people",
    },
    "fr": {
        "holds": "Les probabilités tiennent : les {bins} groupes restent dans la bande d'un modèle parfait",
        "fails": "Les probabilités ne tiennent pas dans {out} groupes sur {bins}",
        "subtitle": "Groupes de personnes de scores voisins, avec intervalles à 95 % ; bande : là où tous "
        "les groupes d'un modèle parfait<br>restent ensemble 95 % du temps",
        "x": "Probabilité prédite",
        "y": "Part observée",
        "band": "Modèle parfait, 95 %",
        "observed": "Observé",
        "n": "{people} personnes",
    },
}


def calibration(frame: pd.DataFrame, language: str = "en") -> go.Figure:
    """Draw predicted and observed rates, from `cdpkit.evaluate.calibration`.

    Examples
    --------
    >>> from cdpkit.evaluate import calibration as table
    >>> p = np.linspace(0.01, 0.99, 3000)
    >>> y = np.random.default_rng(0).random(3000) < p
    >>> calibration(table(y, p)).layout.title.text
    'The probabilities hold: all 15 groups stay within the band of a perfect model'
    """
    words, figure = say(_CALIBRATION, language), go.Figure()
    x = frame["expected"]
    figure.add_scatter(
        x=x, y=frame["band_low"], mode="lines", line={"width": 0}, showlegend=False, hoverinfo="skip"
    )
    figure.add_scatter(
        x=x,
        y=frame["band_high"],
        mode="lines",
        line={"width": 0},
        fill="tonexty",
        fillcolor=BAND,
        name=words["band"],
    )
    inside = frame["inside"].to_numpy(dtype=bool)
    figure.add_scatter(
        x=x, y=frame["observed"], mode="markers", name=words["observed"],
        marker={"size": 10, "color": MODEL, "symbol": np.where(inside, "circle", "x")},
        error_y=spread(frame["low"], frame["observed"], frame["high"]),
    )  # fmt: skip
    out = int((~inside).sum())
    finding = words["fails" if out else "holds"].format(bins=len(frame), out=out)
    figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(tickformat=".0%")
    count = words["n"].format(people=number(frame["people"].sum(), language))
    return dress(figure, language, words, finding, count=count)


_ACHIEVED = {
    "en": {
        "found": "The model achieves {share} of the gain within reach ({low} to {high})",
        "none": "There is no gain to measure: {reason}",
        "subtitle": "0 %: the rule; 100 %: the best score possible with the same observations",
        "x": "Share of the gain within reach",
        "n": "{people} people",
        "reason": "the best score does not beat the rule by two standard errors",
    },
    "fr": {
        "found": "Le modèle obtient {share} du gain possible (de {low} à {high})",
        "none": "Il n'y a pas de gain à mesurer : {reason}",
        "subtitle": "0 % : la règle ; 100 % : le meilleur score possible avec les mêmes observations",
        "x": "Part du gain possible",
        "n": "{people} personnes",
        "reason": "le meilleur score ne dépasse pas la règle de deux erreurs types",
    },
}


def achieved(frame: pd.DataFrame, language: str = "en") -> go.Figure:
    """Draw the share of the gain within reach, from `cdpkit.evaluate.achieved`; one row a model.

    A column ``model``, where there is one, names the rows.

    Examples
    --------
    >>> row = {"share": 0.8, "low": 0.7, "high": 0.9, "people": 100, "reason": ""}
    >>> achieved(pd.DataFrame([row])).layout.title.text
    'The model achieves 80% of the gain within reach (70% to 90%)'
    """
    words, figure = say(_ACHIEVED, language), go.Figure()
    names = frame["model"] if "model" in frame else pd.Series([""] * len(frame))
    value = frame["share"].astype(float)
    figure.add_bar(
        x=value, y=names, orientation="h", marker={"color": MODEL},
        error_x=spread(frame["low"].astype(float), value, frame["high"].astype(float)),
    )  # fmt: skip
    figure.add_vline(x=0, line={"color": RULE, "dash": "dash"})
    figure.add_vline(x=1, line={"color": RULE})
    figure.update_xaxes(tickformat=".0%")
    best = frame.iloc[int(np.nanargmax(value))] if value.notna().any() else frame.iloc[0]
    if pd.isna(best["share"]):
        finding = words["none"].format(reason=words["reason"])
    else:
        finding = words["found"].format(**{k: percent(best[k], language) for k in ("share", "low", "high")})
    count = words["n"].format(people=number(frame["people"].max(), language))
    return dress(figure, language, words, finding, count=count)
