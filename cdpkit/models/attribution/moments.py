"""Units that are moments of persons, touched or not: what a path never shows, those who were left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.errors import FaultsError
from cdpkit.models.attribution.incremental import Units

#: Half-lives after which a touch is forgotten.
_FORGOTTEN = 8.0
_DAY_US = 86_400_000_000


def of_moments(
    touches: pd.DataFrame,
    conversions: pd.DataFrame,
    moments: pd.DataFrame,
    *,
    half_life: float,
    days: float = 1.0,
) -> Units:
    """Return persons at moments: their exposure then, and whether they convert in the days that follow.

    Parameters
    ----------
    touches : DataFrame
        ``person_id, ts, channel``.
    conversions : DataFrame
        ``person_id, ts``: on line or in a store.
    moments : DataFrame
        ``person_id, ts[, weight]`` and numeric covariates of intent, known before `ts`. All moments, or
        those with a conversion and a sample of the others, with what each stands for as `weight`.
    half_life : float
        Days in which a touch loses half of its effect.
    days : float
        Length of a moment. Its own touches, where they come before the conversion, are `Units.fresh`.

    Returns
    -------
    Units

    Raises
    ------
    FaultsError
        With every fault of the three frames.

    Examples
    --------
    >>> day = pd.Timestamp("2026-01-05")
    >>> touches = pd.DataFrame({"person_id": ["a"], "ts": [day - pd.Timedelta("2D")], "channel": ["ad"]})
    >>> moments = pd.DataFrame({"person_id": ["a"], "ts": [day]})
    >>> units = of_moments(touches, touches.iloc[:0], moments, half_life=2.0)
    >>> units.exposure.tolist(), units.converted.tolist()
    ([[0.5]], [0.0])
    """
    _check({"the touches": touches, "the conversions": conversions, "the moments": moments})
    persons = pd.Index(pd.unique(moments["person_id"])).sort_values()
    moments = moments.sort_values(["person_id", "ts"], kind="stable")
    who, at = persons.get_indexer(pd.Index(moments["person_id"])).astype(np.int64), _us(moments)
    end = at + int(days * _DAY_US)
    ours = conversions[conversions["person_id"].isin(persons)]
    bought_by, bought_at = persons.get_indexer(pd.Index(ours["person_id"])).astype(np.int64), _us(ours)
    order = np.lexsort((bought_at, bought_by))
    when, place = _next(who, at, bought_by[order], bought_at[order])
    converted = place & (when < end)
    until = np.where(converted, when, end)
    seen = touches[touches["person_id"].isin(persons)]
    channel, channels = pd.factorize(seen["channel"], sort=True)
    by, shown = persons.get_indexer(pd.Index(seen["person_id"])).astype(np.int64), _us(seen)
    order = np.lexsort((shown, by))
    channel, by, shown = channel[order], by[order], shown[order]
    reach = int(_FORGOTTEN * half_life * _DAY_US)
    low, high = _place(by, shown, who, at - reach), _place(by, shown, who, until)
    n, k = len(moments), len(channels)
    row = np.repeat(np.arange(n), high - low)
    touch = (
        np.arange(len(row))
        - np.repeat(np.cumsum(high - low) - (high - low), high - low)
        + np.repeat(low, high - low)
    )
    age = np.maximum(at[row] - shown[touch], 0) / _DAY_US
    pair, before = row * np.int64(k) + channel[touch], shown[touch] < at[row]
    stock = 0.5 ** (age / half_life)
    covariates = moments.drop(columns=["person_id", "ts", "weight"], errors="ignore").to_numpy(dtype=float)
    weight = moments["weight"].to_numpy(dtype=float) if "weight" in moments else np.ones(n)
    return Units(
        pd.Index(channels),
        np.bincount(pair, stock * before, n * k).reshape(n, k).astype(float),
        converted.astype(float),
        weight,
        covariates,
        who,
        np.bincount(pair, minlength=n * k).reshape(n, k).astype(float),
        np.bincount(pair, stock * ~before, n * k).reshape(n, k).astype(float),
        at // (7 * _DAY_US),
    )


def _us(frame: pd.DataFrame) -> NDArray[np.int64]:
    return frame["ts"].to_numpy().astype("datetime64[us]").astype(np.int64)


def _place(
    by: NDArray[np.int64], at: NDArray[np.int64], who: NDArray[np.int64], before: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return how many sorted rows (person, instant) come before each (person, instant)."""
    # One number orders both: instants are counted from the earliest and fit 52 bits of microseconds.
    first = min(int(at.min(initial=0)), int(before.min(initial=0)))
    span = max(int(at.max(initial=0)), int(before.max(initial=0))) - first + 1
    if (int(who.max(initial=0)) + 1) * span < 2**62:
        return np.searchsorted(by * span + (at - first), who * span + (before - first), "left")
    seconds = span // 1_000_000 + 1
    return np.searchsorted(
        by * seconds + (at - first) // 1_000_000, who * seconds + (before - first) // 1_000_000
    )


def _next(
    who: NDArray[np.int64], at: NDArray[np.int64], by: NDArray[np.int64], when: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the person's next conversion at or after each moment, and whether there is one."""
    place = _place(by, when, who, at)
    inside = place < len(by)
    safe = np.minimum(place, max(len(by) - 1, 0))
    if not len(by):
        return at, np.zeros(len(at), dtype=bool)
    return when[safe], inside & (by[safe] == who)


def _check(frames: dict[str, Any]) -> None:
    faults = []
    for name, frame in frames.items():
        needed = ("person_id", "ts", "channel") if name == "the touches" else ("person_id", "ts")
        faults += [f"{name}: column `{c}` must be present" for c in needed if c not in frame]
        if "ts" in frame and not pd.api.types.is_datetime64_dtype(frame["ts"]):
            faults.append(f"{name}: `ts` must be a timestamp without a zone (UTC); got {frame['ts'].dtype}")
    moments = frames["the moments"]
    for column in moments.columns.difference(["person_id", "ts"]):
        if not pd.api.types.is_numeric_dtype(moments[column]) or moments[column].isna().any():
            faults.append(f"the moments: `{column}` must be a known number")
    if faults:
        raise FaultsError("what incremental attribution was given", faults)
