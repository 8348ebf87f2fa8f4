"""After the fact: what stored scores promised beside what happened, and how steady the tiers are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from cdpkit.evaluate.intervals import sum_of_chances, wilson
from cdpkit.evaluate.targeting import TIERS


def hindsight(scores: pd.DataFrame, outcomes: pd.DataFrame, *, by: str = "decile") -> pd.DataFrame:
    """Return the actual rate of each decile (or tier) of stored scores, once outcomes are known.

    Parameters
    ----------
    scores : DataFrame
        ``person_id, as_of, score`` and the column `by`, as stored.
    outcomes : DataFrame
        ``person_id, as_of, y``: what those persons then did.
    by : str
        ``"decile"`` or ``"tier"``.

    Returns
    -------
    DataFrame
        ``as_of``, `by`, ``people, expected`` (conversions promised), ``observed``, ``rate`` with
        ``low, high`` (95 % Wilson) and ``kept``: whether what happened is within the 95 % range of what
        was promised. Persons without an outcome are left out and counted in ``unknown``.

    Examples
    --------
    >>> scores = pd.DataFrame({"person_id": ["a", "b"], "as_of": 0, "score": [0.9, 0.1], "decile": [1, 9]})
    >>> happened = pd.DataFrame({"person_id": ["a", "b"], "as_of": 0, "y": [1, 0]})
    >>> hindsight(scores, happened)[["decile", "observed", "kept"]].values.tolist()
    [[1, 1, True], [9, 0, True]]
    """
    both = scores.merge(outcomes[["person_id", "as_of", "y"]], on=["person_id", "as_of"], how="left")
    both = both.assign(variance=both["score"] * (1 - both["score"]), missing=both["y"].isna())
    known = both[~both["missing"]]
    frame = known.groupby(["as_of", by], observed=True).agg(
        people=("y", "size"),
        expected=("score", "sum"),
        observed=("y", "sum"),
        variance=("variance", "sum"),
    )
    frame["unknown"] = both.groupby(["as_of", by], observed=True)["missing"].sum()
    low, high = sum_of_chances(frame["expected"], frame["variance"], frame["people"])
    frame["rate"] = frame["observed"] / frame["people"]
    frame["low"], frame["high"] = wilson(frame["observed"], frame["people"])
    # Whole conversions: half a person either way is no broken promise.
    frame["kept"] = (frame["observed"] >= np.floor(low)) & (frame["observed"] <= np.ceil(high))
    frame["observed"] = frame["observed"].astype(int)
    return frame.drop(columns="variance").reset_index()


def tier_shares(dates: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the share of each tier at each date, and how many persons moved since the date before.

    Parameters
    ----------
    dates : iterable of DataFrame
        One frame a date: ``person_id, as_of, tier``.

    Returns
    -------
    DataFrame
        ``as_of, tier, people, share, change`` (of the share, in points since the date before) and
        ``moved``: the share of persons present at both dates who left this tier.

    Examples
    --------
    >>> one = pd.DataFrame({"person_id": ["a", "b"], "as_of": 1, "tier": ["hot", "cold"]})
    >>> two = pd.DataFrame({"person_id": ["a", "b"], "as_of": 2, "tier": ["cold", "cold"]})
    >>> frame = tier_shares([two, one])
    >>> frame.loc[frame.tier == "hot", ["as_of", "share", "moved"]].fillna(-1).values.tolist()
    [[1.0, 0.5, -1.0], [2.0, 0.0, 1.0]]
    """
    frames = sorted((frame for frame in dates if len(frame)), key=lambda frame: frame["as_of"].iloc[0])
    rows, before = [], None
    shares: dict[str, float] = {}
    for frame in frames:
        now = frame.set_index("person_id")["tier"]
        for tier in TIERS:
            share = float((now == tier).mean())
            moved = np.nan
            if before is not None:
                was = before[(before == tier) & before.index.isin(now.index)]
                moved = float((now.reindex(was.index) != tier).mean()) if len(was) else np.nan
            change = 100 * (share - shares[tier]) if tier in shares else np.nan
            rows.append((frame["as_of"].iloc[0], tier, int((now == tier).sum()), share, change, moved))
            shares[tier] = share
        before = now
    return pd.DataFrame(rows, columns=["as_of", "tier", "people", "share", "change", "moved"])
