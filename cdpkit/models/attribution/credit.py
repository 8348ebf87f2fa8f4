"""Credit by position, by removal and by Shapley's value: what each channel gets of the conversions."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix, identity
from scipy.sparse.linalg import splu

from cdpkit.models.attribution.paths import Paths

Array = NDArray[np.float64]

#: Ways to share a conversion along its path.
POSITIONAL = ("first", "last", "linear", "time_decay", "position")

#: What a U-shape gives to each end of a path.
END_SHARE = 0.4

#: States up to which the chain is solved as a dense matrix.
_DENSE = 400


def exact_total(credit: Array, total: float) -> Array:
    """Return the credit with its rounding mended: the parts sum to the total, to the last digit.

    Examples
    --------
    >>> parts = exact_total(np.array([0.1, 0.2, 0.7]) * 3, 3.0)
    >>> math.fsum(parts) == 3.0
    True
    """
    mended = credit.astype(float).copy()
    if not len(mended):
        return mended
    # The largest part takes what is left; what its own last digit cannot hold goes to smaller ones.
    for place in np.argsort(-np.abs(mended), kind="stable"):
        for _ in range(3):
            gap = total - math.fsum(mended)
            if gap == 0:
                return mended
            mended[place] += gap
    return mended


def positional(paths: Paths, way: str, worth: Array, *, half_life_days: float = 7.0) -> Array:
    """Return each channel's credit where a conversion is shared along its path by a fixed rule.

    Parameters
    ----------
    paths : Paths
    way : str
        One of `POSITIONAL`. ``time_decay`` halves with every `half_life_days` before the last touch, or
        with every touch where times are not known. ``position`` gives 40 % to each end, and the rest to
        what lies between.
    worth : ndarray
        Conversions, or value, of each path.
    half_life_days : float

    Examples
    --------
    >>> paths = Paths.of(pd.DataFrame({"path": ["a > b > c"], "conversions": [1]}))
    >>> positional(paths, "position", paths.conversions).round(2).tolist()
    [0.4, 0.2, 0.4]
    """
    k = len(paths.channels)
    if way == "first":
        return np.bincount(paths.channel[paths.start[:-1]], worth, k).astype(float)
    if way == "last":
        return np.bincount(paths.channel[paths.start[1:] - 1], worth, k).astype(float)
    length, path = paths.length, paths.of_touch
    weight: Array = np.ones(len(paths.channel))
    if way == "time_decay":
        age = paths.back.astype(float) if paths.age is None else paths.age / half_life_days
        weight = 0.5**age
    elif way == "position":
        n = np.repeat(length, length)
        end = (paths.back == 0) | (paths.back == n - 1)
        weight = np.where(n <= 2, 1.0, np.where(end, END_SHARE, (1 - 2 * END_SHARE) / np.maximum(n - 2, 1)))
    total = np.bincount(path, weight, len(paths))
    return np.bincount(paths.channel, weight / total[path] * worth[path], k).astype(float)


def shapley(paths: Paths, worth: Array) -> Array:
    """Return each channel's Shapley value, where channels are worth the conversions they suffice for.

    A group of channels is worth the conversions of the paths it covers: Shapley's value then shares each
    path's conversions evenly among its channels, whatever their number and order (Zhao and others, 2018).

    Examples
    --------
    >>> paths = Paths.of(pd.DataFrame({"path": ["a > a > b"], "conversions": [1]}))
    >>> shapley(paths, paths.conversions).tolist()
    [0.5, 0.5]
    """
    path, channel = paths.held()
    share = (worth / np.maximum(np.bincount(path, minlength=len(paths)), 1))[path]
    return np.bincount(channel, share, len(paths.channels)).astype(float)


def shapley_positions(paths: Paths, worth: Array, most: int = 10) -> pd.DataFrame:
    """Return Shapley's value by place in the path: the ordered value of Zhao and others (2018).

    A channel's part of a path is laid evenly on the places where it stands, so that over places it
    sums to `shapley`.

    Returns
    -------
    DataFrame
        ``channel, place`` (1 the first touch; `most` and beyond together), ``credit``.

    Examples
    --------
    >>> paths = Paths.of(pd.DataFrame({"path": ["a > a > b"], "conversions": [1]}))
    >>> shapley_positions(paths, paths.conversions).values.tolist()
    [['a', 1, 0.25], ['a', 2, 0.25], ['b', 3, 0.5]]
    """
    k, path = len(paths.channels), paths.of_touch
    pair = path * np.int64(k) + paths.channel
    unique, back, times = np.unique(pair, return_inverse=True, return_counts=True)
    distinct = np.bincount(unique // k, minlength=len(paths))
    credit = worth[path] / distinct[path] / times[back]
    place = np.minimum(np.arange(len(path)) - np.repeat(paths.start[:-1], paths.length) + 1, most)
    table = pd.DataFrame({"channel": paths.channels[paths.channel], "place": place, "credit": credit})
    return table.groupby(["channel", "place"])["credit"].sum().reset_index()


def removal_effects(paths: Paths, worth: Array, order: int = 1) -> Array:
    """Return what share of the conversions each channel's removal would take from the chain of paths.

    Paths are read as an absorbing Markov chain of order 1 to 3. A removed channel leads nowhere. The
    conversions that are left come from one linear solve: nothing is simulated, so nothing varies
    between runs (Anderl, Becker, von Wangenheim and Schumann, 2016, solved exactly).

    Parameters
    ----------
    paths : Paths
    worth : ndarray
        Conversions, or value, of each path.
    order : int
        Touches that the next step depends on.

    Returns
    -------
    ndarray of shape (channels,)

    Examples
    --------
    >>> paths = Paths.of(pd.DataFrame({"path": ["a", "a > b", "b"], "conversions": [1, 1, 0],
    ...                                 "nulls": [0, 0, 1]}))
    >>> removal_effects(paths, paths.conversions).round(3).tolist()
    [0.75, 0.5]
    """
    state, ends_in = _states(paths, order)
    n, first, last = len(ends_in), paths.start[:-1], paths.start[1:] - 1
    weight = paths.conversions + paths.nulls
    inner = np.ones(len(state), dtype=bool)
    inner[first] = False
    to = np.flatnonzero(inner)
    moves = coo_matrix(
        (np.repeat(weight, paths.length)[to], (state[to - 1], state[to])), shape=(n, n)
    ).tocsc()
    leaving = np.asarray(moves.sum(axis=1)).ravel() + np.bincount(state[last], weight, n)
    scale = 1 / np.where(leaving > 0, leaving, 1.0)
    begins = np.bincount(state[first], weight, n) / weight.sum()
    gain = np.bincount(state[last], worth, n) * scale
    # Scaled by column of the transpose: each row of `moves` is divided by what leaves its state.
    step = moves.multiply(scale[:, None]).tocsc()
    whole = _reached(step, begins, np.ones(n, dtype=bool)) @ gain
    left = [_reached(step, begins, ends_in != c) @ gain for c in range(len(paths.channels))]
    return 1 - np.array(left) / whole if whole > 0 else np.zeros(len(paths.channels))


def _states(paths: Paths, order: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the state at each touch (its last `order` channels), and the channel each state ends in."""
    base = len(paths.channels) + 1
    if order == 1:
        return paths.channel, np.arange(len(paths.channels))
    place = np.arange(len(paths.channel)) - np.repeat(paths.start[:-1], paths.length)
    code = paths.channel + 1
    for back in range(1, order):
        before = np.zeros(len(code), dtype=np.int64)
        before[back:] = paths.channel[:-back] + 1
        code = code + np.where(place >= back, before, 0) * base**back
    unique, state = np.unique(code, return_inverse=True)
    return state.astype(np.int64), unique % base - 1


def _reached(step: csc_matrix, begins: Array, kept: NDArray[np.bool_]) -> Array:
    """Return the expected visits of each state when only some may be visited."""
    rows = np.flatnonzero(kept)
    inner = step[rows][:, rows].T
    visits = np.zeros(len(kept))
    if len(rows) <= _DENSE:
        visits[rows] = np.linalg.solve(np.eye(len(rows)) - inner.toarray(), begins[rows])
    else:
        visits[rows] = splu((identity(len(rows), format="csc") - inner).tocsc()).solve(begins[rows])
    return visits


def markov(paths: Paths, worth: Array, order: int = 1) -> Array:
    """Return each channel's credit: the total, shared in proportion to `removal_effects`."""
    effect = np.maximum(removal_effects(paths, worth, order), 0.0)
    return effect / effect.sum() * worth.sum() if effect.sum() > 0 else np.zeros(len(paths.channels))
