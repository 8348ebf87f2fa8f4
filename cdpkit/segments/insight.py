"""What segments are worth and what sets them apart: ranked, told in words, compared two by two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cdpkit.errors import FaultsError
from cdpkit.phrases import check_language
from cdpkit.segments.fields import Field

_SAID = {
    "fr": ("plus élevé", "plus bas", "rien ne distingue ce segment des autres"),
    "en": ("higher", "lower", "nothing sets this segment apart"),
}
#: Words of an effect by its size (Cohen 1988, turned into Cliff's delta by Romano and others, 2006).
_SIZES = ((0.474, "nettement", "much"), (0.33, "assez", "rather"), (0.147, "un peu", "a little"))


def ranked(
    persons: pd.DataFrame, *, segment: str = "segment", value: str = "value", uplift: str = "uplift"
) -> pd.DataFrame:
    """Rank segments by lifetime value x size x uplift: the most valuable first.

    Parameters
    ----------
    persons : DataFrame
        A row a person: `segment`, and where they are known `value` and `uplift`. A factor whose column is
        absent counts 1, and `missing` says so.

    Returns
    -------
    DataFrame
        ``rank, segment, n, value, uplift, worth, missing``: `value` and `uplift` are means over the
        persons of whom they are known, and `worth` is their product with `n`.

    Examples
    --------
    >>> rows = pd.DataFrame({"segment": ["a", "a", "b"], "value": [10.0, 30.0, 50.0]})
    >>> ranked(rows)[["segment", "worth", "missing"]].values.tolist()
    [['b', 50.0, 'uplift'], ['a', 40.0, 'uplift']]
    """
    groups = persons.groupby(segment, sort=True)
    out = groups.size().rename("n").to_frame()
    for name, column in (("value", value), ("uplift", uplift)):
        out[name] = groups[column].mean() if column in persons else np.nan
    absent = [name for name in ("value", "uplift") if out[name].isna().all()]
    out["worth"] = out["n"].astype(float)
    for name in ("value", "uplift"):
        out["worth"] *= 1.0 if name in absent else out[name]
    out["missing"] = ", ".join(absent)
    out = out.rename_axis("segment").reset_index()
    out = out.sort_values(
        ["worth", "segment"], ascending=[False, True], na_position="last", ignore_index=True
    )
    out.insert(0, "rank", range(1, len(out) + 1))
    return out


def trend(before: Mapping[str, int], now: Mapping[str, int]) -> pd.DataFrame:
    """Return how the size of each segment moved between two dates.

    Returns
    -------
    DataFrame
        ``segment, before, now, change``: `change` is a share of before, missing where nobody was in it.

    Examples
    --------
    >>> trend({"a": 10}, {"a": 12, "b": 3}).values.tolist()
    [['a', 10, 12, 0.2], ['b', 0, 3, nan]]
    """
    rows = []
    for name in sorted({*before, *now}):
        old, new = int(before.get(name, 0)), int(now.get(name, 0))
        rows.append((name, old, new, new / old - 1 if old else np.nan))
    frame = pd.DataFrame(rows, columns=["segment", "before", "now", "change"])
    return frame.assign(change=frame["change"].round(12))


def diff(
    first: pd.DataFrame, second: pd.DataFrame, measures: Sequence[str], *, level: float = 0.05
) -> pd.DataFrame:
    """Say what distinguishes two groups of persons, measure by measure.

    Mann and Whitney's test of each measure, ties counted, controlled together by Benjamini and Hochberg
    (1995): among the measures told apart, a share `level` at most is expected to be chance. The effect is
    Cliff's delta: the chance that a person of the first has more than one of the second, less the
    chance of the contrary.

    Parameters
    ----------
    first, second : DataFrame
        A row a person; numbers or flags. A missing value is left out of its measure.
    measures : sequence of str
        Columns compared.
    level : float
        Share of false findings accepted.

    Returns
    -------
    DataFrame
        ``measure, n_first, n_second, median_first, median_second, effect, p, q, found``, largest effect
        first.

    Raises
    ------
    FaultsError
        When a measure is absent from one of them.

    Examples
    --------
    >>> old, young = pd.DataFrame({"age": range(60, 80)}), pd.DataFrame({"age": range(20, 40)})
    >>> diff(old, young, ["age"])[["effect", "found"]].values.tolist()
    [[1.0, True]]
    """
    from scipy.stats import false_discovery_control, mannwhitneyu

    absent = sorted({m for m in measures for frame in (first, second) if m not in frame})
    if absent:
        raise FaultsError("a comparison of two segments", [f"measure {name!r} is absent" for name in absent])
    rows = []
    for name in measures:
        a, b = (frame[name].dropna().to_numpy(float) for frame in (first, second))
        effect, p = 0.0, 1.0
        if len(a) and len(b) and len(np.unique(np.concatenate([a, b]))) > 1:
            test = mannwhitneyu(a, b, method="asymptotic")
            effect, p = 2 * float(test.statistic) / (len(a) * len(b)) - 1, float(test.pvalue)
        medians = [float(np.median(x)) if len(x) else np.nan for x in (a, b)]
        rows.append((name, len(a), len(b), *medians, effect, p))
    columns = ["measure", "n_first", "n_second", "median_first", "median_second", "effect", "p"]
    out = pd.DataFrame(rows, columns=columns)
    out["q"] = false_discovery_control(out["p"]) if len(out) else out["p"]
    out["found"] = out["q"] <= level
    order = out["effect"].abs().sort_values(ascending=False, kind="stable").index
    return out.loc[order].reset_index(drop=True)


def distinguished(
    persons: pd.DataFrame, measures: Sequence[str], *, segment: str = "segment", level: float = 0.05
) -> pd.DataFrame:
    """Say what distinguishes each segment from everybody else, all the questions controlled together.

    Returns
    -------
    DataFrame
        The columns of `diff` after ``segment``; `q` and `found` are over every segment and measure.

    Examples
    --------
    >>> rows = pd.DataFrame({"segment": ["a"] * 20 + ["b"] * 20, "n": [*range(20), *range(30, 50)]})
    >>> distinguished(rows, ["n"])[["segment", "effect", "found"]].values.tolist()
    [['a', -1.0, True], ['b', 1.0, True]]
    """
    from scipy.stats import false_discovery_control

    parts = []
    for name, part in persons.groupby(segment, sort=True):
        told = diff(part, persons.drop(part.index), measures, level=level)
        told.insert(0, "segment", name)
        parts.append(told)
    out = pd.concat(parts, ignore_index=True)
    out["q"] = false_discovery_control(out["p"])
    out["found"] = out["q"] <= level
    return out


def words(differences: pd.DataFrame, fields: Mapping[str, Field], language: str, *, n: int = 3) -> str:
    """Tell the differences found, the largest first, in one sentence.

    Parameters
    ----------
    differences : DataFrame
        As `diff` returns it, or the part of one segment of `distinguished`.
    fields : mapping of str to Field
        Whose labels are used; a measure without a field keeps its own name.
    language : str
        ``fr`` or ``en``.
    n : int
        How many are told, at most. A difference smaller than little is not.

    Examples
    --------
    >>> told = pd.DataFrame({"measure": ["visits"], "effect": [0.6], "found": [True]})
    >>> words(told, {}, "en"), words(told.assign(found=False), {}, "fr")
    ('visits much higher', 'rien ne distingue ce segment des autres')
    """
    higher, lower, nothing = _SAID[check_language(language)]
    told = []
    found = differences[differences["found"]]
    for measure, effect in zip(found["measure"].tolist(), found["effect"].tolist(), strict=True):
        size = next((s for s in _SIZES if abs(effect) >= s[0]), None)
        if size is not None:
            label = fields[measure].label(language) if measure in fields else measure
            way = higher if effect > 0 else lower
            told.append(f"{label} {size[1] if language == 'fr' else size[2]} {way}")
    return (" ; " if language == "fr" else "; ").join(told[:n]) or nothing


def beside(persons: pd.DataFrame, *, decision: str, segment: str = "segment") -> pd.DataFrame:
    """Set each person's own decision beside the average of their segment.

    Parameters
    ----------
    persons : DataFrame
        ``person_id``, `segment` and a number decided for each: a score, an amount.

    Returns
    -------
    DataFrame
        ``person_id, segment, own, average, gap, within``: `within` is the variance inside the segment,
        which a decision for the whole segment would ignore.

    Examples
    --------
    >>> rows = pd.DataFrame({"person_id": ["p", "q"], "segment": "a", "score": [0.25, 0.75]})
    >>> beside(rows, decision="score")[["own", "average", "gap"]].values.tolist()
    [[0.25, 0.5, -0.25], [0.75, 0.5, 0.25]]
    """
    own = persons[decision].astype(float)
    groups = own.groupby(persons[segment])
    out = pd.DataFrame({"person_id": persons["person_id"], "segment": persons[segment], "own": own})
    out["average"] = groups.transform("mean")
    out["gap"] = out["own"] - out["average"]
    out["within"] = groups.transform("var", ddof=0)
    return out
