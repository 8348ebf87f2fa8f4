"""Scenarios of budget: where the next euro would go if returns diminish as supposed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd

from cdpkit.errors import FaultsError


class ExtrapolationWarning(UserWarning):
    """A scenario spends what was never spent."""


def budget_scenario(
    spend: Mapping[str, float],
    added: Mapping[str, float],
    total: float,
    *,
    elasticity: float | Mapping[str, float] = 0.5,
    seen: Mapping[str, tuple[float, float]] | None = None,
    most_change: float = 0.5,
) -> pd.DataFrame:
    """Return a split of a budget that would bring the most on stated assumptions: a scenario.

    A channel that brought `a` conversions for `s` is taken to bring ``a * (x / s) ** elasticity`` for `x`:
    each further euro brings less. No channel moves by more than `most_change`.

    Parameters
    ----------
    spend : mapping of channel to money
        Spent over the period.
    added : mapping of channel to conversions
        Brought, best by the incremental credit.
    total : float
        Money to split over the same length of time.
    elasticity : float or mapping
        Between 0 and 1, an assumption: 0.5 means that doubling a budget brings 41 % more.
    seen : mapping of channel to (least, most), optional
        Money spent in comparable periods. Outside, the row says so, and a warning is given.
    most_change : float
        Share by which a channel's budget may move.

    Returns
    -------
    DataFrame
        ``channel, spend, budget, change`` (share), ``added, expected, marginal`` (conversions by further
        unit of money), ``extrapolates`` and ``label`` ("scenario"). Budgets sum to `total`.

    Raises
    ------
    FaultsError
        For channels without spend, a total out of reach, an elasticity out of range.

    Examples
    --------
    >>> plan = budget_scenario({"ad": 100.0, "mail": 100.0}, {"ad": 30.0, "mail": 10.0}, 200.0)
    >>> plan[["channel", "budget"]].round(1).values.tolist()
    [['ad', 150.0], ['mail', 50.0]]
    """
    channels = sorted(spend)
    now = np.array([float(spend[c]) for c in channels])
    brought = np.array([max(float(added.get(c, 0.0)), 0.0) for c in channels])
    curve = np.array(
        [elasticity[c] if isinstance(elasticity, Mapping) else float(elasticity) for c in channels]
    )
    faults = [f"`spend` of {c} must be > 0; got {s:g}" for c, s in zip(channels, now, strict=True) if s <= 0]
    faults += [
        f"`elasticity` of {c} must be between 0 and 1; got {e:g}"
        for c, e in zip(channels, curve, strict=True)
        if not 0 < e < 1
    ]
    low, high = now * (1 - most_change), now * (1 + most_change)
    if not faults and not low.sum() - 1e-9 <= total <= high.sum() + 1e-9:
        faults.append(
            f"`total` must be between {low.sum():g} and {high.sum():g}, given `most_change`; got {total:g}"
        )
    if faults:
        raise FaultsError("the scenario of budget", faults)

    def split(price: float) -> np.ndarray:
        # Where the next unit of money brings `price` conversions in every channel that may still move.
        with np.errstate(divide="ignore"):
            wanted = now * (brought * curve / now / price) ** (1 / (1 - curve))
        return np.clip(wanted, low, high)

    cheap, dear = 1e-15, max(float((brought * curve / low.clip(1e-12)).max()) * 1e3, 1e-9)
    for _ in range(200):
        price = np.sqrt(cheap * dear)
        cheap, dear = (price, dear) if split(price).sum() > total else (cheap, price)
    budget = split(dear)
    # What the last step leaves is laid where it still fits.
    room = np.where(total >= budget.sum(), high - budget, budget - low)
    gap = total - budget.sum()
    if abs(gap) > 0 and room.sum() > 0:
        budget = budget + gap * room / room.sum()
    expected = brought * (budget / now) ** curve
    known = seen or dict.fromkeys(channels, (0.0, np.inf))
    ranges = [known.get(c, (np.inf, -np.inf)) for c in channels]
    outside = np.array([not a - 1e-9 <= b <= z + 1e-9 for b, (a, z) in zip(budget, ranges, strict=True)])
    if outside.any():
        named = ", ".join(c for c, out in zip(channels, outside, strict=True) if out)
        warnings.warn(
            f"the scenario spends more or less than ever seen on: {named}", ExtrapolationWarning, stacklevel=2
        )
    return pd.DataFrame(
        {
            "channel": channels,
            "spend": now,
            "budget": budget,
            "change": budget / now - 1,
            "added": brought,
            "expected": expected,
            "marginal": expected * curve / budget,
            "extrapolates": outside,
            "label": "scenario",
        }
    )
