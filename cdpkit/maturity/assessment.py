"""Where the organisation stands: answers and evidence into factors, a stage, and what holds it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdpkit.errors import FaultsError
from cdpkit.maturity.criteria import LEVELS, Criterion, criteria, scales

if TYPE_CHECKING:
    import pandas as pd

#: Points of a factor at which the next stage begins: halfway between two levels of answers.
CUTS = (12.5, 37.5, 62.5, 87.5)

#: How far the overall score is that of the weakest factor, the rest being their mean.
WEAKEST = 0.5


@dataclass(frozen=True)
class Assessment:
    """One reading of the organisation.

    Attributes
    ----------
    levels : dict of str to int
        Level of each criterion that has one; the others count as 0 in the scores.
    factors, parts, essentials, technologies : dict of str to float
        Points from 0 to 100.
    axes : dict of str to int
        Stage reached on who, what, when and where.
    overall : float
        Half the mean of the factors, half the weakest of them.
    stage, stage_if_unknown_were_best : int
        From 1 to 5; the second is what the stage would be if everything not known were at its best.
    weakest : str
        The factor that holds the others back.
    """

    levels: dict[str, int]
    factors: dict[str, float]
    parts: dict[str, float]
    essentials: dict[str, float]
    technologies: dict[str, float]
    axes: dict[str, int]
    overall: float
    stage: int
    stage_if_unknown_were_best: int
    weakest: str

    def sentence(self, language: str) -> str:
        """Say the stage and what holds it back.

        Examples
        --------
        >>> assess({}).sentence("en")
        'Stage 1 of 5, Everybody. What holds you back most: Data (0 of 100).'
        """
        words = scales()
        stage = words["stage"][self.stage - 1]["name"][language]
        factor, points = words["factors"][self.weakest][language], round(self.factors[self.weakest])
        if language == "fr":
            held = f"Votre frein principal\u00a0: {factor} ({points} sur 100)."
            return f"Stade {self.stage} sur 5, {stage}. {held}"
        return f"Stage {self.stage} of 5, {stage}. What holds you back most: {factor} ({points} of 100)."


def assess(levels: Mapping[str, int | None]) -> Assessment:
    """Score the organisation from the level of each criterion.

    A factor is the weighted mean of its criteria, 25 points a level. What is not known counts as level 0.
    The stage follows from the overall score, and is at most one above what the weakest factor allows alone:
    strong tools do not make up for missing data. Raising a level never lowers a score or the stage.

    Parameters
    ----------
    levels : mapping of str to int
        Level 0 to 4 by criterion; None, or absent, for "I do not know".

    Raises
    ------
    FaultsError
        Naming criteria that do not exist and levels out of range.

    Examples
    --------
    >>> middle = assess({criterion.id: 2 for criterion in criteria()})
    >>> middle.stage, middle.overall
    (3, 50.0)
    >>> assess({c.id: 0 if c.factor == "data" else 4 for c in criteria()}).stage
    2
    """
    known = _checked(levels)
    factors = _points(known, "factor", scales()["factors"])
    best = {c.id: known.get(c.id, LEVELS[-1]) for c in criteria()}
    overall, stage = _stage(factors)
    return Assessment(
        levels=known,
        factors=factors,
        parts=_points(known, "part", scales()["parts"]),
        essentials=_points(known, "essential", scales()["essentials"]),
        technologies=_points(known, "technology", scales()["technologies"]),
        axes={axis: stage_of(p) for axis, p in _points(known, "axis", scales()["axes"]).items()},
        overall=overall,
        stage=stage,
        stage_if_unknown_were_best=_stage(_points(best, "factor", scales()["factors"]))[1],
        weakest=min(factors, key=lambda name: factors[name]),
    )


def declared_levels(answers: Mapping[str, int | None]) -> dict[str, int | None]:
    """Return the levels of answers alone, one for each criterion."""
    known = _checked(answers)
    return {criterion.id: known.get(criterion.id) for criterion in criteria()}


def measured_levels(answers: Mapping[str, int | None], evidence: pd.DataFrame) -> dict[str, int | None]:
    """Return the level of each criterion from evidence where the lake can say, else from the answer.

    Parameters
    ----------
    answers : mapping of str to int
        As in `assess`.
    evidence : DataFrame
        ``evidence, level``: see `cdpkit.maturity.evidence.measure`.
    """
    found = dict(zip(evidence["evidence"], evidence["level"], strict=True))
    said = declared_levels(answers)
    return {c.id: int(found[c.evidence]) if c.evidence in found else said[c.id] for c in criteria()}


def compared(answers: Mapping[str, int | None], evidence: pd.DataFrame) -> pd.DataFrame:
    """Set what is declared beside what is measured, criterion by criterion.

    Returns
    -------
    DataFrame
        ``criterion, declared, measured, value, n, gap``: levels 0 to 4; `measured`, `value` and `n` are
        missing where the lake cannot say; `gap` is declared - measured, positive where one flatters oneself.

    Examples
    --------
    >>> import pandas as pd
    >>> evidence = pd.DataFrame({"evidence": ["identified_share"], "value": [.2], "n": [100], "level": [1]})
    >>> compared({"unified_profile": 3}, evidence).loc[0, ["declared", "measured", "gap"]].tolist()
    [3.0, 1.0, 2.0]
    """
    import pandas as pd

    found = evidence.set_index("evidence")[["level", "value", "n"]]
    rows = pd.DataFrame(
        [(c.id, declared_levels(answers)[c.id], c.evidence) for c in criteria()],
        columns=["criterion", "declared", "evidence"],
    )
    rows = rows.join(found, on="evidence").rename(columns={"level": "measured"})
    rows[["declared", "measured"]] = rows[["declared", "measured"]].astype("float64")
    rows["gap"] = rows["declared"] - rows["measured"]
    return rows[["criterion", "declared", "measured", "value", "n", "gap"]]


def stage_of(points: float) -> int:
    """Return the stage that points from 0 to 100 allow."""
    return 1 + sum(points >= cut for cut in CUTS)


def _stage(factors: Mapping[str, float]) -> tuple[float, int]:
    """Return the overall score and the stage, held back by the weakest factor."""
    lowest = min(factors.values())
    overall = WEAKEST * lowest + (1 - WEAKEST) * sum(factors.values()) / len(factors)
    return overall, min(stage_of(overall), stage_of(lowest) + 1)


def _points(levels: Mapping[str, int], by: str, names: Iterable[str]) -> dict[str, float]:
    """Return the weighted mean of the criteria under each name, in points."""
    out: dict[str, float] = {}
    for name in names:
        group: list[Criterion] = [c for c in criteria() if getattr(c, by) == name]
        total = sum(c.weight for c in group)
        out[name] = sum(c.weight * 25.0 * levels.get(c.id, 0) for c in group) / total
    return out


def _checked(levels: Mapping[str, Any]) -> dict[str, int]:
    """Return the levels that are known, or say everything that is wrong with them."""
    ids = {criterion.id for criterion in criteria()}
    faults = [f"`{name}` is no criterion" for name in levels if name not in ids]
    faults += [
        f"`{name}` must be a level from 0 to 4, or None for not known; got {value!r}"
        for name, value in levels.items()
        if name in ids and value is not None and (isinstance(value, bool) or value not in LEVELS)
    ]
    if faults:
        raise FaultsError("the answers", faults)
    return {name: int(value) for name, value in levels.items() if value is not None}
