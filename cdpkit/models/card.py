"""The model card: what it predicts, on which data, how well beside its rule, and what it cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cdpkit.errors import CdpkitError
from cdpkit.models.state import plain

LANGUAGES = ("en", "fr")

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "title": "Model card",
        "definition": "What it predicts",
        "data": "Data",
        "model": "Model",
        "metrics": "How good it is, on later or held-out people",
        "tiers": "Tiers",
        "factors": "What matters most",
        "fairness": "By declared group",
        "limits": "Limits",
        "metric": "Figure",
        "value": "Model",
        "baseline": "Rule",
        "interval": "95 % interval",
        "floor": "a perfectly calibrated model of this size would show {floor}",
        "people": "{people} people, {conversions} conversions",
        "learner": "Learner: {learner}; calibration: {calibration}; {rows} rows, {conversions} conversions.",
        "tier_line": "Hot from {hot}, warm from {warm}; percentiles among: {population} ({size} people).",
        "nothing": "not declared",
        "colon": ":",
        "columns": "{n} columns.",
    },
    "fr": {
        "title": "Fiche du modèle",
        "definition": "Ce qu'il prédit",
        "data": "Données",
        "model": "Modèle",
        "metrics": "Sa qualité, sur des personnes plus tardives ou mises à part",
        "tiers": "Niveaux",
        "factors": "Ce qui compte le plus",
        "fairness": "Par groupe déclaré",
        "limits": "Limites",
        "metric": "Mesure",
        "value": "Modèle",
        "baseline": "Règle",
        "interval": "intervalle à 95 %",
        "floor": "un modèle parfaitement calibré de cette taille montrerait {floor}",
        "people": "{people} personnes, {conversions} conversions",
        "learner": "Apprenant : {learner} ; calibration : {calibration} ; {rows} lignes, "
        "{conversions} conversions.",
        "tier_line": "Chaud à partir de {hot}, tiède à partir de {warm} ; centiles parmi : {population} "
        "({size} personnes).",
        "nothing": "non déclaré",
        "colon": " :",
        "columns": "{n} colonnes.",
    },
}

#: Limits of every model of this kind; a notebook adds its own.
LIMITS: dict[str, tuple[str, ...]] = {
    "en": (
        "Reasons are associations in past behaviour, not causes: contacting a hot person is not shown to "
        "change what they do. Only a randomised test can show it.",
        "Probabilities hold for people like those it learned from; a change of offer, season or sources "
        "can break them. Compare expected and observed conversions after each campaign.",
        "It knows only the behaviour of people who may be profiled.",
    ),
    "fr": (
        "Les raisons sont des associations dans les comportements passés, pas des causes : rien ne prouve "
        "que contacter une personne chaude change sa décision. Seul un test aléatoire peut le montrer.",
        "Les probabilités valent pour des personnes semblables à celles de l'apprentissage ; un changement "
        "d'offre, de saison ou de sources peut les fausser. Comparez conversions attendues et observées "
        "après chaque campagne.",
        "Il ne connaît que le comportement des personnes dont le profilage est permis.",
    ),
}


def build_card(
    name: str,
    *,
    definition: Any = None,
    windows: Mapping[str, Any] | None = None,
    classifier: Any = None,
    metrics: pd.DataFrame | None = None,
    verdict: Any = None,
    tiers: Any = None,
    factors: pd.DataFrame | None = None,
    limits: Mapping[str, Sequence[str]] | None = None,
    fairness: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Gather a model card, ready for JSON.

    Parameters
    ----------
    name : str
        Registered name.
    definition : object with ``to_dict`` or mapping, optional
        What counts as a conversion.
    windows : mapping, optional
        Dates of the data: training, test, label window. Values are shown as text.
    classifier : AppetenceClassifier, optional
        For its learner, calibration, columns and validation.
    metrics : DataFrame, optional
        As given by `cdpkit.evaluate.ranking`.
    verdict : Verdict, optional
        Rule or model.
    tiers : Tiers, optional
        Cut lines and reference population.
    factors : DataFrame, optional
        As given by `cdpkit.models.importance`.
    limits : mapping of language to sentences, optional
        Added to those of every model.
    fairness : DataFrame, optional
        A tidy frame by declared group. Left out of the card when not given: nothing is guessed.

    Returns
    -------
    dict

    Examples
    --------
    >>> card = build_card("appetence", definition={"name": "buys within 30 days"})
    >>> card["definition"], len(card["limits"]["fr"])
    ({'name': 'buys within 30 days'}, 3)
    """
    card: dict[str, Any] = {
        "format": "model-card",
        "name": name,
        "definition": definition.to_dict() if hasattr(definition, "to_dict") else dict(definition or {}),
        "windows": {key: str(value) for key, value in (windows or {}).items()},
        "limits": {code: [*LIMITS[code], *(limits or {}).get(code, ())] for code in LANGUAGES},
    }
    if classifier is not None:
        card["model"] = {
            "learner": classifier.choice_,
            "calibration": classifier.calibration_,
            "columns": list(classifier.columns_.names),
            "validation": classifier.validation_,
            "validation_note": classifier.validation_note_,
            **classifier.trained_on_,
        }
    if metrics is not None:
        card["metrics"] = metrics
    if verdict is not None:
        said = {code: verdict.sentence(code) for code in LANGUAGES}
        card["verdict"] = verdict.to_dict() | {"sentence": said}
    if tiers is not None:
        kept = ("method", "parameters", "thresholds", "reference_population", "reference_size")
        card["tiers"] = {key: value for key, value in tiers.to_dict().items() if key in kept}
    if factors is not None:
        card["factors"] = factors
    if fairness is not None:
        card["fairness"] = fairness
    return plain(card)


def card_markdown(card: Mapping[str, Any], language: str = "en") -> str:
    """Write a card as Markdown, in English or French.

    Raises
    ------
    CdpkitError
        For another language.

    Examples
    --------
    >>> text = card_markdown(build_card("appetence"), "fr")
    >>> text.splitlines()[0]
    '# Fiche du modèle : appetence'
    """
    if language not in LANGUAGES:
        raise CdpkitError(f"`language` must be one of {LANGUAGES}", got=repr(language))
    words = WORDS[language]
    parts = [f"# {words['title']}{words['colon']} {card['name']}"]
    for title, key in (("definition", "definition"), ("data", "windows")):
        lines = [f"- {k}{words['colon']} {v}" for k, v in card[key].items()] or [words["nothing"]]
        parts.append("\n".join([f"## {words[title]}", "", *lines]))
    if "model" in card:
        model = card["model"]
        columns = words["columns"].format(n=len(model["columns"]))
        parts.append(f"## {words['model']}\n\n{words['learner'].format(**model)} {columns}")
    if "metrics" in card or "verdict" in card:
        parts.append("\n".join([f"## {words['metrics']}", "", *_metric_lines(card, words, language)]))
    if "tiers" in card:
        parts.append(f"## {words['tiers']}\n\n{_tier_line(card['tiers'], words, language)}")
    if "factors" in card:
        strongest = [row["feature"] for row in card["factors"] if row["tier"] == "all"]
        parts.append("\n".join([f"## {words['factors']}", "", *(f"- {name}" for name in strongest)]))
    if "fairness" in card:
        parts.append("\n".join([f"## {words['fairness']}", "", *_table(card["fairness"], language)]))
    parts.append("\n".join([f"## {words['limits']}", "", *(f"- {s}" for s in card["limits"][language])]))
    return "\n\n".join(parts) + "\n"


def _metric_lines(card: Mapping[str, Any], words: Mapping[str, str], language: str) -> list[str]:
    lines = [card["verdict"]["sentence"][language], ""] if "verdict" in card else []
    rows = card.get("metrics") or []
    if not rows:
        return lines
    lines += [
        f"| {words['metric']} | {words['value']} | {words['interval']} | {words['baseline']} |",
        "|---|---|---|---|",
    ]
    for row in rows:
        value, low, high, rule = (_number(row[k], language) for k in ("value", "low", "high", "baseline"))
        note = ""
        if row.get("floor") is not None:
            note = f" ({words['floor'].format(floor=_number(row['floor'], language))})"
        lines.append(f"| {row['metric']}{note} | {value} | {low} – {high} | {rule} |")
    return [*lines, "", words["people"].format(**rows[0])]


def _tier_line(tiers: Mapping[str, Any], words: Mapping[str, str], language: str) -> str:
    cuts = {code: _number(cut, language) for code, cut in tiers["thresholds"].items()}
    population, size = tiers["reference_population"], tiers["reference_size"]
    return words["tier_line"].format(**cuts, population=population, size=size)


def _table(rows: Sequence[Mapping[str, Any]], language: str) -> list[str]:
    if not rows:
        return []
    names = list(rows[0])
    body = [
        "| "
        + " | ".join(_number(r[n], language) if isinstance(r[n], float) else str(r[n]) for n in names)
        + " |"
        for r in rows
    ]
    return ["| " + " | ".join(names) + " |", "|" + "---|" * len(names), *body]


def _number(value: Any, language: str) -> str:
    if value is None:
        return "–"
    text = f"{float(value):.4f}"
    return text.replace(".", ",") if language == "fr" else text
