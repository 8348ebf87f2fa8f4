"""What each arm of a randomised test brought, beside its control: shares, differences, intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdpkit.errors import FaultsError
from cdpkit.evaluate.intervals import Z95

_NEEDED = ("test", "arm", "person_id", "weight", "outcome")


def arms(rows: pd.DataFrame, control: str = "control") -> pd.DataFrame:
    """Compare the arms of tests with their control, each person weighted by what drawing them was likely.

    Parameters
    ----------
    rows : DataFrame
        One row a person, test and arm: ``test, arm, person_id``, ``weight`` (sum over the person's draws of
        1 / probability of the arm) and ``outcome`` (the same sum over the draws that succeeded).
    control : str
        The arm that nothing was done to. Tests without it are left out: they have nothing to be set against.

    Returns
    -------
    DataFrame
        ``test, arm, people, rate, low, high`` and, but for the control, ``difference, difference_low,
        difference_high`` to it (95 %), with ``verdict``: `more`, `less`, or `unclear` where the interval
        holds no effect. The control of each test comes first.

    Raises
    ------
    FaultsError
        Naming the columns that are missing.

    Notes
    -----
    Weighted means (Hájek) with linearised variances, persons as the units of sampling: somebody drawn many
    times, in both arms even, counts once. With equal probabilities these are the plain shares and their
    difference.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> arm = np.where(rng.random(4000) < 0.5, "sent", "control")
    >>> bought = rng.random(4000) < np.where(arm == "sent", 0.15, 0.10)
    >>> rows = pd.DataFrame({"test": "spring", "arm": arm, "person_id": range(4000), "weight": 2.0,
    ...                      "outcome": 2.0 * bought})
    >>> found = arms(rows).set_index("arm")
    >>> found.loc["sent", "verdict"], bool(abs(found.loc["sent", "difference"] - 0.05) < 0.03)
    ('more', True)
    """
    missing = [f"column `{name}` must be present" for name in _NEEDED if name not in rows]
    if missing:
        raise FaultsError("the arms of tests", missing)
    found = []
    for test, mine in rows.groupby("test", sort=True):
        if not (mine["arm"] == control).any():
            continue
        base_rate, base = _influence(mine[mine["arm"] == control])
        for arm in [control, *sorted(set(mine["arm"]) - {control})]:
            rate, part = _influence(mine[mine["arm"] == arm])
            half = Z95 * float(np.sqrt(np.square(part).sum()))
            row = {"test": test, "arm": arm, "people": len(part), "rate": rate}
            row |= {"low": max(0.0, rate - half), "high": min(1.0, rate + half)}
            if arm != control:
                gap = rate - base_rate
                apart = part.sub(base, fill_value=0.0)
                wide = Z95 * float(np.sqrt(np.square(apart).sum()))
                row |= {"difference": gap, "difference_low": gap - wide, "difference_high": gap + wide}
                row["verdict"] = "more" if gap > wide else "less" if gap < -wide else "unclear"
            found.append(row)
    columns = [
        "test",
        "arm",
        "people",
        "rate",
        "low",
        "high",
        "difference",
        "difference_low",
        "difference_high",
    ]
    return pd.DataFrame(found, columns=[*columns, "verdict"])


def _influence(mine: pd.DataFrame) -> tuple[float, pd.Series]:
    """Return the weighted share of an arm, and how much each person moves it."""
    each = mine.groupby("person_id")[["weight", "outcome"]].sum()
    total = float(each["weight"].sum())
    rate = float(each["outcome"].sum()) / total
    return rate, (each["outcome"] - rate * each["weight"]) / total
