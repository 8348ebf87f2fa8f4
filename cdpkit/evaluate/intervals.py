"""Intervals: Wilson for a share, a normal law for a sum of chances, a bootstrap of units for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: Two-sided 95 % point of the normal law.
Z95 = 1.959963984540054

#: Bootstrap draws, and the number of units above which a random subset carries the interval.
DRAWS = 2000
MOST_UNITS = 20_000


def wilson(hits: ArrayLike, people: ArrayLike) -> tuple[Array, Array]:
    """Return the 95 % Wilson interval of a share; NaN where nobody was seen.

    Parameters
    ----------
    hits, people : array-like
        Successes and trials, of one shape.

    Returns
    -------
    tuple of ndarray
        Lower and upper ends, shares between 0 and 1.

    Notes
    -----
    E. B. Wilson (1927), *Probable inference, the law of succession, and statistical inference*.

    Examples
    --------
    >>> low, high = wilson([6], [10])
    >>> f"{low[0]:.3f} {high[0]:.3f}"
    '0.313 0.832'
    """
    k, n = np.asarray(hits, dtype=float), np.asarray(people, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        share, z2 = k / n, Z95**2
        centre = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = Z95 * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
        low = np.where(k == 0, 0.0, centre - half)
        high = np.where(k == n, 1.0, centre + half)
    nobody = n == 0
    return np.where(nobody, np.nan, low), np.where(nobody, np.nan, high)


def sum_of_chances(total: ArrayLike, variance: ArrayLike, people: ArrayLike) -> tuple[Array, Array]:
    """Return the 95 % range of a number of conversions, given the sum of chances and its variance.

    Examples
    --------
    >>> low, high = sum_of_chances([20.0], [16.0], [100])
    >>> f"{low[0]:.1f} {high[0]:.1f}"
    '12.2 27.8'
    """
    centre = np.asarray(total, dtype=float)
    half = Z95 * np.sqrt(np.asarray(variance, dtype=float))
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, np.asarray(people, dtype=float))


def unit_codes(n: int, groups: ArrayLike | None) -> tuple[NDArray[np.int64], int]:
    """Return the unit of each row, numbered from 0, and the number of units.

    Examples
    --------
    >>> unit_codes(3, ["b", "a", "b"])
    (array([1, 0, 1]), 2)
    """
    if groups is None:
        return np.arange(n), n
    labels, codes = np.unique(np.asarray(groups), return_inverse=True)
    return codes.astype(np.int64), len(labels)


def draw_weights(
    codes: NDArray[np.int64], units: int, draws: int, seed: int, block: int = 64
) -> Iterator[Array]:
    """Yield blocks of bootstrap weights of the rows: units drawn with replacement.

    Yields
    ------
    ndarray of shape (at most block, rows)
        How many times each row's unit was drawn.

    Examples
    --------
    >>> [w.sum(axis=1) for w in draw_weights(np.arange(4), 4, draws=3, seed=0)]
    [array([4., 4., 4.])]
    """
    rng = np.random.default_rng(seed)
    for first in range(0, draws, block):
        size = min(block, draws - first)
        picks = rng.integers(units, size=(size, units)) + units * np.arange(size)[:, None]
        counts = np.bincount(picks.ravel(), minlength=size * units).reshape(size, units)
        yield counts[:, codes].astype(float)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], Callable[[Array], Array]],
    n: int,
    *,
    groups: ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Return a statistic on all rows, and its bootstrap draws centred there.

    Parameters
    ----------
    statistic : callable
        Given the numbers of the rows to use, returns a function from weights (draws × rows) to
        values (draws × figures).
    n : int
        Number of rows.
    groups : array-like, optional
        The unit of each row (a person, a session); rows by default.
    draws, seed : int
        Number of draws, and their seed.

    Returns
    -------
    value : ndarray of shape (figures,)
    draws : ndarray of shape (draws, figures)

    Notes
    -----
    Above 20,000 units the draws come from a random subset of m units, and their distance to the
    subset's value is shrunk by sqrt(m / n): the usual scaling of an m-out-of-n bootstrap.

    Examples
    --------
    >>> x = np.arange(10.0)
    >>> mean = lambda rows: lambda w: (w @ x[rows] / w.sum(axis=1))[:, None]
    >>> value, drawn = bootstrap(mean, 10, draws=500)
    >>> float(value[0]), drawn.shape
    (4.5, (500, 1))
    """
    codes, units = unit_codes(n, groups)
    value = statistic(np.arange(n))(np.ones((1, n)))[0]
    rows, scale, centre = np.arange(n), 1.0, value
    if units > MOST_UNITS:
        kept = np.random.default_rng(seed).permutation(units)[:MOST_UNITS]
        new_code = np.full(units, -1)
        new_code[kept] = np.arange(MOST_UNITS)
        rows = np.flatnonzero(new_code[codes] >= 0)
        codes, scale, units = new_code[codes][rows], np.sqrt(MOST_UNITS / units), MOST_UNITS
        centre = statistic(rows)(np.ones((1, len(rows))))[0]
    on_rows = statistic(rows)
    drawn = np.concatenate([on_rows(w) for w in draw_weights(codes, units, draws, seed)])
    return value, value + scale * (drawn - centre)


def quantile_range(drawn: Array) -> tuple[Array, Array]:
    """Return the 2.5 % and 97.5 % points of each column of bootstrap draws.

    Examples
    --------
    >>> quantile_range(np.arange(101.0)[:, None])
    (array([2.5]), array([97.5]))
    """
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    return low, high
