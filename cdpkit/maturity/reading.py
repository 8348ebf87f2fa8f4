"""One reading of the organisation as small frames, ready for a report: no person, no author."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cdpkit.maturity.assessment import Assessment, assess, compared, declared_levels, measured_levels
from cdpkit.maturity.criteria import criteria, scales
from cdpkit.maturity.evidence import declared
from cdpkit.maturity.roadmap import next_actions, roadmap
from cdpkit.maturity.tools import data_loss

if TYPE_CHECKING:
    import pandas as pd


def reading(
    answers: Mapping[str, int | None],
    evidence: pd.DataFrame,
    *,
    first_year: int,
    target: int = 5,
    tools: Mapping[str, float] | None = None,
    effort_a_year: int = 12,
) -> dict[str, Any]:
    """Assess by answers and by evidence, and lay out what a page or a file shows.

    Parameters
    ----------
    answers, evidence
        As in `cdpkit.maturity.compared`.
    first_year : int
        The year the roadmap starts.
    target : int
        Stage the organisation aims at, 1 to 5.
    tools : mapping of str to float, optional
        Match rate of each exchange between tools.
    effort_a_year : int
        As in `cdpkit.maturity.roadmap`.

    Returns
    -------
    dict
        ``described`` (stages and sentences) and DataFrames ``criteria, factors, parts, essentials,
        technologies, axes, actions, roadmap``, in both languages.

    Examples
    --------
    >>> import pandas as pd
    >>> found = reading({}, pd.DataFrame(columns=["evidence", "value", "n", "level"]), first_year=2027)
    >>> found["described"]["stage"]
    {'declared': 1, 'measured': 1, 'possible': 5, 'target': 5}
    >>> len(found["criteria"]) == len(criteria())
    True
    """
    said, shown = assess(declared_levels(answers)), assess(measured_levels(answers, evidence))
    stages = {
        "declared": said.stage,
        "measured": shown.stage,
        "possible": shown.stage_if_unknown_were_best,
        "target": target,
    }
    described = {
        "stage": stages,
        "finding": {language: shown.sentence(language) for language in ("fr", "en")},
        "answered": sum(level is not None for level in declared_levels(answers).values()),
        "measured": int(compared(answers, evidence)["measured"].notna().sum()),
        "asked": len(criteria()),
        "tools": len(tools or {}),
        "loss": data_loss(tools) if tools else None,
    }
    plans = {
        language: roadmap(shown, language, first_year=first_year, effort_a_year=effort_a_year)
        for language in ("fr", "en")
    }
    translated = plans["en"][["objective", "workstream", "have", "missing", "owner"]].add_suffix("_en")
    shown_scales = ("factors", "parts", "essentials", "technologies", "axes")
    return {
        "described": described,
        "criteria": _criteria(answers, evidence),
        "actions": next_actions(shown),
        "roadmap": plans["fr"].join(translated),
        **{name: _scale(name, said, shown) for name in shown_scales},
    }


def _criteria(answers: Mapping[str, int | None], evidence: pd.DataFrame) -> pd.DataFrame:
    """Return each criterion with its words, what was said and what was measured."""
    table, units = compared(answers, evidence), declared()
    about = {criterion.id: criterion for criterion in criteria()}
    for language in ("fr", "en"):
        table[f"name_{language}"] = [about[name].workstream[language] for name in table["criterion"]]
        table[f"proof_{language}"] = [
            units[about[name].evidence]["meaning"][language] if about[name].evidence else ""
            for name in table["criterion"]
        ]
    table["unit"] = [
        units[about[c].evidence]["unit"] if about[c].evidence else "" for c in table["criterion"]
    ]
    table["factor"] = [about[name].factor for name in table["criterion"]]
    return table


def _scale(name: str, said: Assessment, shown: Assessment) -> pd.DataFrame:
    """Return one scale, declared beside measured, with its words."""
    import pandas as pd

    words = scales()[name]
    values = [getattr(one, name) for one in (said, shown)]
    rows = [(key, values[0][key], values[1][key], text["fr"], text["en"]) for key, text in words.items()]
    return pd.DataFrame(rows, columns=["id", "declared", "measured", "name_fr", "name_en"])
