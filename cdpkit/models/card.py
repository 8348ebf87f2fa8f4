"""The model card: what it predicts, on which data, how well beside its rule, and what it cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cdpkit.errors import CdpkitError
from cdpkit.models.fairness import sensitive_columns
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
        "ungrouped": "No declared group was given: how the score treats groups is not known.",
        "sensitive": "Sensitive topics",
        "clean": "None of the {checked} columns names a sensitive topic.",
        "left_out": "Left out of the model: {columns}.",
        "found": "Columns about a sensitive topic: {columns}. This model must not be used for contact.",
        "drift": "Drift",
        "ablation": "What families of columns are worth",
        "rung": "Rung",
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
        "ungrouped": "Aucun groupe déclaré : on ne sait pas comment le score traite les groupes.",
        "sensitive": "Sujets sensibles",
        "clean": "Aucune des {checked} colonnes ne nomme un sujet sensible.",
        "left_out": "Écartées du modèle : {columns}.",
        "found": "Colonnes touchant un sujet sensible : {columns}. Ce modèle ne doit pas servir à contacter.",
        "drift": "Dérive",
        "ablation": "Ce que valent des familles de colonnes",
        "rung": "Barreau",
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
    left_out: Mapping[str, str] | None = None,
    drift: pd.DataFrame | None = None,
    ablation: pd.DataFrame | None = None,
    rung: Any = None,
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
        As given by `cdpkit.models.fairness`, by declared group. Without it the card says that it is not
        known: nothing is guessed.
    left_out : mapping of column to topic, optional
        Columns kept out of the model, as given by `without_sensitive`. What is in the model is checked
        against the list of sensitive topics in every card.
    drift : DataFrame, optional
        As given by `Drift.watch`, on the latest people.
    ablation : DataFrame, optional
        As given by `cdpkit.models.ablation`.
    rung : Rung, optional
        Where the use case stands on the ladder.

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
    card["fairness"] = [] if fairness is None else fairness
    columns = classifier.columns_ if classifier is not None else ()
    card["sensitive"] = {
        "checked": len(getattr(columns, "names", ())),
        "found": sensitive_columns(columns),
        "left_out": dict(left_out or {}),
    }
    for name, frame in (("drift", drift), ("ablation", ablation)):
        if frame is not None:
            card[name] = frame
    if rung is not None:
        card["rung"] = rung.to_dict()
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
    if "rung" in card:
        parts.append(f"## {words['rung']}\n\n{card['rung']['sentence'][language]}")
    groups = _table(card["fairness"], language) or [words["ungrouped"]]
    parts.append("\n".join([f"## {words['fairness']}", "", *groups]))
    parts.append("\n".join([f"## {words['sensitive']}", "", *_sensitive_lines(card["sensitive"], words)]))
    for key in ("drift", "ablation"):
        if card.get(key):
            parts.append("\n".join([f"## {words[key]}", "", *_table(card[key], language)]))
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


def _sensitive_lines(sensitive: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
    said = {key: ", ".join(sorted(sensitive[key])) for key in ("found", "left_out") if sensitive[key]}
    lines = [words[key].format(columns=columns) for key, columns in said.items()]
    return lines if sensitive["found"] else [words["clean"].format(**sensitive), *lines]


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
