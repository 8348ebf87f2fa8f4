"""Give no offence: topics no score may rest on, and how a score treats declared groups."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cdpkit.errors import CdpkitError
from cdpkit.evaluate import TIERS
from cdpkit.evaluate.intervals import sum_of_chances, wilson
from cdpkit.models.frame import Columns

#: Groups under this many people are not shown: they would be a small crowd to recognise somebody in.
LEAST_PEOPLE = 20
#: A group whose best tier is reached under four fifths as often as the best served group is pointed out
#: (the four-fifths rule of the Uniform Guidelines on Employee Selection Procedures, 1978).
FOUR_FIFTHS = 0.8


@cache
def _topics() -> dict[str, dict[str, Any]]:
    text = files("cdpkit.models").joinpath("sensitive.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _plain(text: str) -> str:
    """Return lower-case words joined by one underscore, without accents."""
    bare = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", bare).strip("_")


def sensitive_topic(text: str, excluded: Mapping[str, Iterable[str]] | None = None) -> str | None:
    """Return the sensitive topic a word is about, or None.

    Parameters
    ----------
    text : str
        Name of a column, a category of products, a word of a message.
    excluded : mapping of topic to stems, optional
        Topics the brand adds to the list, in its own words.

    Examples
    --------
    >>> sensitive_topic("affinity__share_Santé & grossesse"), sensitive_topic("garden_fertiliser")
    ('health', None)
    """
    said = _plain(text)
    given = {topic: {"words": [_plain(w) for w in words]} for topic, words in (excluded or {}).items()}
    for topic, entry in (_topics() | given).items():
        kept = said
        for look_alike in entry.get("but", ()):
            kept = kept.replace(look_alike, "")
        # A stem starts a word: "race" is not in "embrace".
        if any(re.search(rf"(?:^|_){re.escape(stem)}", kept) for stem in entry["words"]):
            return topic
    return None


def sensitive_columns(
    columns: Columns | Iterable[str], excluded: Mapping[str, Iterable[str]] | None = None
) -> dict[str, str]:
    """Return the columns that name a sensitive topic, or hold categories that do, with their topic.

    Examples
    --------
    >>> sensitive_columns(Columns(("visits", "favourite"), {"favourite": ("Garden", "Grossesse")}))
    {'favourite': 'health'}
    """
    named = columns if isinstance(columns, Columns) else Columns(tuple(columns), {})
    found = {}
    for name in named.names:
        for text in (name, *named.categories.get(name, ())):
            topic = sensitive_topic(text, excluded)
            if topic is not None:
                found[name] = topic
                break
    return found


def without_sensitive(
    X: pd.DataFrame, excluded: Mapping[str, Iterable[str]] | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return the columns a model may use, and those left out with their topic.

    Examples
    --------
    >>> without_sensitive(pd.DataFrame({"visits": [1], "religion": ["x"]}))
    (['visits'], {'religion': 'belief'})
    """
    found = sensitive_columns(Columns.learn(X), excluded)
    return [str(name) for name in X.columns if name not in found], found


def fairness(
    groups: pd.DataFrame,
    p: ArrayLike,
    tier: ArrayLike,
    y: ArrayLike | None = None,
    *,
    least: int = LEAST_PEOPLE,
) -> pd.DataFrame:
    """Show how a score treats declared groups.

    Parameters
    ----------
    groups : DataFrame
        One column a declared trait (gender, age band, country), a row a person. The traits need not be
        among the model's columns: leaving a trait out does not make a score blind to it.
    p : array-like
        Served probabilities.
    tier : array-like of str
        Tiers of the same people.
    y : array-like of 0 and 1, optional
        What happened; without it the last columns are missing.
    least : int
        Smaller groups are not shown.

    Returns
    -------
    DataFrame
        ``trait, group, people, mean_score, hot_share, ratio`` (of the hot share to that of the best
        served group of the trait), ``observed`` with ``low, high`` (95 % Wilson), ``calibrated`` (what
        happened is within the 95 % range of what was promised to this group), ``recall`` (share of those
        who did it that were hot) and ``flag``: ``fewer hot`` under four fifths of the best served group
        where the group's own behaviour does not explain it, ``miscalibrated``, both or empty.

    Raises
    ------
    CdpkitError
        Where lengths differ.

    Notes
    -----
    Groups that buy at different rates cannot have both equal shares of hot and chances that come true
    (Kleinberg, Mullainathan and Raghavan 2016): the card shows each, and flags a lower share only where
    observed rates do not explain it.

    Examples
    --------
    >>> told = fairness(pd.DataFrame({"sex": ["f", "m"] * 50}), np.full(100, 0.2), ["hot"] * 100)
    >>> told[["group", "hot_share", "ratio", "flag"]].values.tolist()
    [['f', 1.0, 1.0, ''], ['m', 1.0, 1.0, '']]
    """
    score, hot = np.asarray(p, dtype=float), np.asarray(tier, dtype=object) == TIERS[0]
    if not len(groups) == len(score) == len(hot):
        raise CdpkitError("`groups`, `p` and `tier` must have one length")
    truth = np.full(len(score), np.nan) if y is None else np.asarray(y, dtype=float)
    rows = []
    for trait in groups.columns:
        values = groups[trait].astype("str").where(groups[trait].notna(), "unknown").to_numpy()
        for group in sorted(set(values)):
            members = values == group
            if members.sum() >= least:
                rows.append({"trait": str(trait), "group": group} | _figures(score, hot, truth, members))
    names = ["trait", "group", "people", "mean_score", "hot_share", "ratio", "observed", "low", "high",
             "calibrated", "recall", "flag"]  # fmt: skip
    if not rows:
        return pd.DataFrame(columns=names)
    frame = pd.DataFrame(rows)
    best = frame.groupby("trait")["hot_share"].transform("max")
    frame["ratio"] = (frame["hot_share"] / best.where(best > 0)).fillna(1.0)
    top = frame.loc[frame.groupby("trait")["hot_share"].idxmax()].set_index("trait")["observed"]
    # With a lower rate of its own, a lower share of hot is what calibrated chances give.
    owed = (frame["observed"] / frame["trait"].map(top)).fillna(1.0).clip(upper=1.0)
    fewer = frame["ratio"] < FOUR_FIFTHS * owed
    wrong = ~frame["calibrated"] if y is not None else pd.Series(False, index=frame.index)
    frame["flag"] = np.select(
        [fewer & wrong, fewer, wrong], ["fewer hot, miscalibrated", "fewer hot", "miscalibrated"], ""
    )
    return frame[names]


def _figures(score: Any, hot: Any, truth: Any, members: Any) -> dict[str, Any]:
    n, p, y = int(members.sum()), score[members], truth[members]
    low, high = sum_of_chances(p.sum(), (p * (1 - p)).sum(), n)
    seen = bool(np.isfinite(y).all())
    least, most = wilson(y.sum(), n) if seen else (np.nan, np.nan)
    did = y == 1
    return {
        "people": n,
        "mean_score": float(p.mean()),
        "hot_share": float(hot[members].mean()),
        "observed": float(y.mean()) if seen else np.nan,
        "low": float(least),
        "high": float(most),
        "calibrated": bool(np.floor(low) <= y.sum() <= np.ceil(high)) if seen else True,
        "recall": float(hot[members][did].mean()) if did.any() else np.nan,
    }
