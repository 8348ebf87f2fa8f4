"""Why a score is what it is: three contributions a person, as message ids with values, then as words."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cdpkit.models.appetence import BASE

#: From a feature, its value and a language to words; the feature catalogue provides one.
Describe = Callable[[str, Any, str], str]

#: The only link that a model of past behaviour may claim.
WORDS = {
    "en": {
        "up": "associated with a higher score",
        "down": "associated with a lower score",
        "none": "not known",
    },
    "fr": {
        "up": "associé à un score plus élevé",
        "down": "associé à un score plus bas",
        "none": "non connu",
    },
}


@dataclass(frozen=True)
class Reason:
    """One reason: a column, the person's value, and which way it is associated with the score.

    Parameters
    ----------
    feature : str
    value : float, str or None
        The person's value; None when missing.
    direction : {"up", "down"}
    strength : float
        Log-odds.
    """

    feature: str
    value: Any
    direction: str
    strength: float = 0.0

    def encode(self) -> str:
        """Return the reason as stored in a score: a message id with its value.

        Examples
        --------
        >>> Reason("visits_30d", 3.0, "up", 0.4).encode()
        '{"id":"visits_30d","value":3.0,"direction":"up"}'
        """
        content = {"id": self.feature, "value": self.value, "direction": self.direction}
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Reason:
        """Read back a stored reason.

        Examples
        --------
        >>> Reason.decode('{"id":"visits_30d","value":3.0,"direction":"up"}').value
        3.0
        """
        content = json.loads(text)
        return cls(content["id"], content["value"], content["direction"])

    def words(self, describe: Describe | None = None, language: str = "en") -> str:
        """Say the reason, as an association and never as a cause.

        Examples
        --------
        >>> Reason("visits_30d", 3.0, "up").words()
        'visits_30d: 3 (associated with a higher score)'
        """
        said = (describe or plain_words)(self.feature, self.value, language)
        return f"{said} ({WORDS[language][self.direction]})"


def plain_words(feature: str, value: Any, language: str) -> str:
    """Name a feature and its value without a catalogue."""
    if value is None:
        value = WORDS[language]["none"]
    elif isinstance(value, float):
        value = f"{value:.4g}".replace(".", "," if language == "fr" else ".")
    return f"{feature} : {value}" if language == "fr" else f"{feature}: {value}"


def family(feature: str) -> str:
    """Return what a feature measures, whatever its window: names that differ by a number are one family.

    Examples
    --------
    >>> family("visits_30d") == family("visits_365d"), family("visits_30d") == family("carts_30d")
    (True, False)
    """
    return re.sub(r"\d+", "#", feature)


def top_reasons(
    contributions: pd.DataFrame,
    X: pd.DataFrame,
    *,
    tiers: ArrayLike | None = None,
    most: int = 3,
    family: Callable[[str], str] = family,
) -> list[list[Reason]]:
    """Return each person's strongest reasons, at most one a family of features.

    Parameters
    ----------
    contributions : DataFrame
        As given by `AppetenceClassifier.contributions`.
    X : DataFrame
        The same people's features: their values go into the reasons.
    tiers : array-like of str, optional
        The hot are told only what pushes up; the others what pushes either way.
    most : int
        Reasons a person.
    family : callable
        From a feature to its family, so that three windows of one behaviour are one reason.

    Returns
    -------
    list of list of Reason
        Strongest first; fewer than `most` where fewer columns contribute.

    Examples
    --------
    >>> parts = pd.DataFrame({"visits_7d": [0.5], "visits_30d": [0.4], "age": [-0.6], "(base)": [0.1]})
    >>> X = pd.DataFrame({"visits_7d": [2], "visits_30d": [5], "age": [40]})
    >>> [r.feature for r in top_reasons(parts, X)[0]]
    ['age', 'visits_7d']
    >>> [r.feature for r in top_reasons(parts, X, tiers=["hot"])[0]]
    ['visits_7d']
    """
    names, order, signed = _strongest(contributions, tiers, most, family)
    values = {int(j): _told(X[names[j]]) for j in np.unique(order[signed != 0])}
    return [
        [
            Reason(str(names[j]), values[j][i], "up" if s > 0 else "down", float(s))
            for j, s in zip(order[i], signed[i], strict=True)
            if s != 0
        ]
        for i in range(len(order))
    ]


def encoded_reasons(
    contributions: pd.DataFrame,
    X: pd.DataFrame,
    *,
    tiers: ArrayLike | None = None,
    most: int = 3,
    family: Callable[[str], str] = family,
) -> list[list[str]]:
    """Return what `top_reasons` returns, encoded as scores store it; a column at a time, for whole bases.

    Examples
    --------
    >>> parts = pd.DataFrame({"visits_7d": [0.5], "age": [-0.6], "(base)": [0.1]})
    >>> encoded_reasons(parts, pd.DataFrame({"visits_7d": [2], "age": [40]}), most=1)
    [['{"id":"age","value":40.0,"direction":"down"}']]
    """
    names, order, signed = _strongest(contributions, tiers, most, family)
    said = np.full(order.shape, None, dtype=object)
    for j in np.unique(order[signed != 0]):
        rows, places = np.nonzero((order == j) & (signed != 0))
        head = json.dumps({"id": str(names[j])}, ensure_ascii=False, separators=(",", ":"))[:-1]
        tails = np.where(signed[rows, places] > 0, ',"direction":"up"}', ',"direction":"down"}').tolist()
        told = _told(X[names[j]].iloc[rows])
        values = [json.dumps(v, ensure_ascii=False) if isinstance(v, str) else _number(v) for v in told]
        said[rows, places] = [f'{head},"value":{v}{tail}' for v, tail in zip(values, tails, strict=True)]
    if (signed != 0).all():
        return said.tolist()
    return [[text for text in person if text is not None] for person in said.tolist()]


def _number(value: float | None) -> str:
    return "null" if value is None else repr(value)


def _strongest(
    contributions: pd.DataFrame, tiers: ArrayLike | None, most: int, family: Callable[[str], str]
) -> tuple[list[Any], NDArray[np.int64], NDArray[np.float64]]:
    """Return the columns' names, and each person's strongest with their log-odds; zero where none is left."""
    names = [name for name in contributions.columns if name != BASE]
    strength = contributions[names].to_numpy(dtype=float)
    families = pd.factorize(np.array([family(str(name)) for name in names], dtype=object))[0]
    # Ranked by what may be told; what may not be told ranks last.
    rank = np.abs(strength)
    if tiers is not None:
        hot = np.flatnonzero(np.asarray(tiers, dtype=object) == "hot")
        rank[hot] = np.maximum(strength[hot], 0.0)
    shown, everyone = min(most, len(names)), np.arange(len(rank))
    order = np.zeros((len(rank), shown), dtype=np.int64)
    picked = np.zeros((len(rank), shown))
    related = families[:, None] == families[None, :]
    alone = not (related.sum(axis=1) > 1).any()
    for place in range(shown):
        best = rank.argmax(axis=1)
        order[:, place], picked[:, place] = best, rank[everyone, best]
        # A family speaks through its strongest member.
        if alone:
            rank[everyone, best] = 0.0
        else:
            rank[related[best]] = 0.0
    signed = np.where(picked > 0, np.take_along_axis(strength, order, 1), 0.0)
    return names, order, signed


def _told(column: pd.Series) -> list[Any]:
    """Return values ready for JSON: numbers, strings, or None where missing."""
    missing = column.isna().to_numpy()
    if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object:
        said: Sequence[Any] = column.astype("str").tolist()
    elif pd.api.types.is_string_dtype(column):
        said = column.tolist()
    else:
        # Four significant figures are what a person reads; they keep stored reasons small.
        numbers = column.to_numpy(dtype=float, na_value=np.nan)
        said = [float(f"{v:.4g}") for v in numbers]
    return [None if gap else value for gap, value in zip(missing, said, strict=True)]


def importance(
    contributions: pd.DataFrame, tiers: ArrayLike | None = None, *, most: int = 10
) -> pd.DataFrame:
    """Return the columns that matter most, over everybody and by tier.

    Parameters
    ----------
    contributions : DataFrame
        As given by `AppetenceClassifier.contributions`.
    tiers : array-like of str, optional
        Tier of each row.
    most : int
        Columns reported, the strongest over everybody.

    Returns
    -------
    DataFrame
        ``tier`` (``"all"`` first), ``rank, feature, strength`` (mean absolute log-odds) and ``push`` (mean
        log-odds, signed), ``people``.

    Examples
    --------
    >>> parts = pd.DataFrame({"a": [1.0, -1.0], "b": [0.1, 0.1], "(base)": [0.0, 0.0]})
    >>> importance(parts)[["feature", "strength", "push"]].values.tolist()
    [['a', 1.0, 0.0], ['b', 0.1, 0.1]]
    """
    parts = contributions.drop(columns=BASE, errors="ignore")
    strongest = parts.abs().mean().sort_values(ascending=False, kind="stable").index[:most]
    codes = np.full(len(parts), "all", dtype=object) if tiers is None else np.asarray(tiers, dtype=object)
    frames = []
    for name in ["all", *[t for t in ("hot", "warm", "cold") if tiers is not None]]:
        rows = parts.loc[(codes == name) if name != "all" else np.ones(len(parts), dtype=bool), strongest]
        if not len(rows):
            continue
        frames.append(
            pd.DataFrame(
                {
                    "tier": name,
                    "rank": np.arange(1, len(strongest) + 1),
                    "feature": [str(f) for f in strongest],
                    "strength": rows.abs().mean().to_numpy(),
                    "push": rows.mean().to_numpy(),
                    "people": len(rows),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def common_reasons(scores: pd.DataFrame, *, most: int = 5) -> pd.DataFrame:
    """Count which reasons the people of each tier share.

    Parameters
    ----------
    scores : DataFrame
        ``tier`` and ``reasons`` (lists of encoded reasons), as given by `Scorer.score`.
    most : int
        Reasons a tier.

    Returns
    -------
    DataFrame
        ``tier, feature, direction, value`` (the median of those told so, or the most frequent word),
        ``people`` and ``others`` (share of the other tiers' people told the same), most shared first.

    Examples
    --------
    >>> told = [Reason("visits", float(n), "up").encode() for n in (2, 4, 9)]
    >>> scores = pd.DataFrame({"tier": ["hot", "hot", "cold"], "reasons": [[t] for t in told]})
    >>> common_reasons(scores)[["tier", "feature", "value", "people", "others"]].values.tolist()
    [['cold', 'visits', 9.0, 1, 1.0], ['hot', 'visits', 3.0, 2, 1.0]]
    """
    told = scores[["tier", "reasons"]].explode("reasons").dropna(subset="reasons")
    decoded = [Reason.decode(text) for text in told["reasons"]]
    told = told.assign(
        feature=[r.feature for r in decoded],
        direction=[r.direction for r in decoded],
        value=pd.Series([r.value for r in decoded], index=told.index, dtype=object),
    )
    counts = scores["tier"].value_counts()
    rows = []
    for (feature, direction), group in told.groupby(["feature", "direction"], sort=True):
        by_tier = group["tier"].value_counts()
        for tier, people in by_tier.items():
            elsewhere = len(scores) - int(counts.loc[str(tier)])
            others = (len(group) - people) / elsewhere if elsewhere else np.nan
            value = _typical(group.loc[group["tier"] == tier, "value"])
            rows.append((tier, feature, direction, value, int(people), others))
    frame = pd.DataFrame(rows, columns=["tier", "feature", "direction", "value", "people", "others"])
    frame = frame.sort_values(["tier", "people", "feature"], ascending=[True, False, True])
    return frame.groupby("tier").head(most).reset_index(drop=True)


def _typical(values: pd.Series) -> Any:
    known = [value for value in values if value is not None and value == value]
    if not known:
        return None
    if all(isinstance(value, int | float) for value in known):
        return float(np.median(known))
    return Counter(known).most_common(1)[0][0]
