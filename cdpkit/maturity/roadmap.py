"""What to do next: an action for each unmet criterion, in a stated order, over the years."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdpkit.maturity.assessment import Assessment
from cdpkit.maturity.criteria import LEVELS, criteria, scales
from cdpkit.maturity.formula import HELD_BACK

if TYPE_CHECKING:
    import pandas as pd


def gaps(assessment: Assessment) -> pd.DataFrame:
    """Return the work each unmet criterion calls for, most useful first.

    Priority is ``impact × (4 - level) / 4 ÷ effort``, and half as much again in the weakest factor;
    ties go to the lesser effort, then to the order of the form.

    Returns
    -------
    DataFrame
        ``criterion, factor, level, effort, impact, owner, priority``: one row a criterion under level 4.

    Examples
    --------
    >>> from cdpkit.maturity.assessment import assess
    >>> top = gaps(assess({c.id: 4 for c in criteria() if c.id != "roadmap"}))
    >>> top[["criterion", "priority"]].to_numpy().tolist()
    [['roadmap', 4.5]]
    """
    import pandas as pd

    top = LEVELS[-1]
    rows = []
    for place, criterion in enumerate(criteria()):
        level = assessment.levels.get(criterion.id, 0)
        if level == top:
            continue
        priority = criterion.impact * (top - level) / top / criterion.effort
        priority *= HELD_BACK if criterion.factor == assessment.weakest else 1.0
        rows.append(
            (
                criterion.id, criterion.factor, level, criterion.effort, criterion.impact,
                criterion.owner, priority, place,
            )
        )  # fmt: skip
    names = ["criterion", "factor", "level", "effort", "impact", "owner", "priority", "place"]
    frame = pd.DataFrame(rows, columns=names)
    order = frame.sort_values(["priority", "effort", "place"], ascending=[False, True, True])
    return order.drop(columns="place").reset_index(drop=True)


def next_actions(assessment: Assessment, n: int = 3) -> pd.DataFrame:
    """Return the first `n` of `gaps`, with what to do in each language (``action_fr, action_en``)."""
    first = gaps(assessment).head(n)
    about = {criterion.id: criterion for criterion in criteria()}
    for language in ("fr", "en"):
        first[f"action_{language}"] = [about[name].action[language] for name in first["criterion"]]
    return first


def roadmap(
    assessment: Assessment, language: str, *, first_year: int, effort_a_year: int = 12
) -> pd.DataFrame:
    """Return the workstreams in order, placed in the years their effort fits in.

    Parameters
    ----------
    assessment : Assessment
        Where the organisation stands.
    language : {"fr", "en"}
        Of the words.
    first_year : int
        The year the work starts.
    effort_a_year : int
        Points of effort that one year holds.

    Returns
    -------
    DataFrame
        ``objective, workstream, have, missing, effort, impact, owner, priority, year``: `have` is the
        fact observed today, `missing` the next one to reach.

    Examples
    --------
    >>> from cdpkit.maturity.assessment import assess
    >>> plan = roadmap(assess({}), "en", first_year=2027)
    >>> int(plan["year"].min()), bool(plan["priority"].is_monotonic_decreasing)
    (2027, True)
    """
    about, words = {criterion.id: criterion for criterion in criteria()}, scales()
    plan = gaps(assessment)
    plan["objective"] = [words["factors"][factor][language] for factor in plan["factor"]]
    plan["workstream"] = [about[name].workstream[language] for name in plan["criterion"]]
    steps = list(zip(plan["criterion"], plan["level"], strict=True))
    plan["have"] = [about[name].answers[level][language] for name, level in steps]
    plan["missing"] = [about[name].answers[level + 1][language] for name, level in steps]
    plan["owner"] = [words["owners"][owner][language] for owner in plan["owner"]]
    plan["year"] = first_year + (plan["effort"].cumsum() - 1) // effort_a_year
    names = ["objective", "workstream", "have", "missing", "effort", "impact", "owner", "priority", "year"]
    return plan[names]
