"""The appetence page out of the lake: scores, their report, their audiences, their reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from cdpkit.ui.pages.appetence.payload import payload
from cdpkit.ui.reports import latest

if TYPE_CHECKING:
    from cdpkit.engine import Engine

MODEL = "appetence"


def build(
    engine: Engine, *, currency: str = "EUR", cost_per_contact_minor: float = 5.0, **_: Any
) -> dict[str, Any] | None:
    """Return the page's payload, or None before anyone was scored.

    Parameters
    ----------
    engine : Engine
        Sees ``scores``, ``reports`` and ``features_standard``.
    currency : str
        ISO 4217 code of the amounts shown.
    cost_per_contact_minor : float
        Assumed cost of one contact, in minor units.
    """
    report = latest(engine, MODEL)
    if not report:
        return None
    moment = f"TIMESTAMP '{report.as_of}'"
    scores = engine.query(f"SELECT * FROM scores WHERE model = '{MODEL}' AND as_of = {moment}").to_pandas()
    described = report.content("described")
    manifests = latest(engine, "audiences")
    made = [manifests.content(name) for name in manifests.frames if manifests.as_of == report.as_of]
    return payload(
        scores,
        **described,
        as_of=described["data_up_to"],
        version=report.version,
        decided_by="rule" if scores["decided_by"].eq("rule").all() else "model",
        evaluation={name: frame for name, frame in report.frames.items() if name != "described"},
        audiences=[one for one in made if (one.get("rule") or {}).get("model") == MODEL],
        reasons=_reasons(scores, currency),
        values_minor=_values(engine, moment),
        cost_per_contact_minor=cost_per_contact_minor,
        currency=currency,
    )


def _values(engine: Engine, moment: str) -> dict[str, int]:
    """Return what each tier's people spent in the year, where features of the same date were kept."""
    if "features_standard" not in engine.tables():
        return {}
    values = engine.query(
        "SELECT s.tier, sum(f.rfm__amount__365d) AS spent FROM scores s "
        f"JOIN features_standard f USING (person_id, as_of) WHERE s.model = '{MODEL}' AND s.as_of = {moment} "
        "GROUP BY s.tier"
    ).to_pandas()
    values = values.dropna()
    return {str(tier): int(spent) for tier, spent in zip(values["tier"], values["spent"], strict=True)}


def _reasons(scores: pd.DataFrame, currency: str) -> pd.DataFrame:
    """Return the common reasons of each tier, in words."""
    from cdpkit.features import catalogue
    from cdpkit.models import common_reasons

    reasons = common_reasons(scores).dropna(subset="value").reset_index(drop=True)
    lower = {"fr": " (score plus bas)", "en": " (lower score)"}
    for language, mark in lower.items():
        said = [
            catalogue.describe(feature, value, language, currency=currency)
            for feature, value in zip(reasons["feature"], reasons["value"], strict=True)
        ]
        down = (reasons["direction"] == "down") & (reasons["tier"] != "cold")
        reasons[language] = [text + mark * low for text, low in zip(said, down, strict=True)]
    return reasons
