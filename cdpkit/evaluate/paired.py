"""Compare two scores on the same units: per-unit losses, their mean difference and its standard error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdpkit.evaluate.intervals import Z95, unit_codes

#: Probabilities are kept this far from 0 and 1 before a logarithm is taken.
CLIP = 1e-6


@dataclass(frozen=True)
class Difference:
    """A mean paired difference of losses: negative when the first is the better one.

    Parameters
    ----------
    mean : float
        Mean loss of the first minus mean loss of the second.
    se : float
        Standard error over units.
    units : int
        Number of units.
    """

    mean: float
    se: float
    units: int

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.mean - Z95 * self.se

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.mean + Z95 * self.se

    def better(self, times: float = 2.0) -> bool:
        """Tell whether the first beats the second by more than `times` standard errors."""
        return self.mean < 0 and self.mean < -times * self.se

    def worse(self, times: float = 2.0) -> bool:
        """Tell whether the first loses to the second by more than `times` standard errors."""
        return self.mean > 0 and self.mean > times * self.se


def log_losses(y: ArrayLike, p: ArrayLike) -> NDArray[np.float64]:
    """Return the log-loss of each row, in nats.

    Examples
    --------
    >>> log_losses([1, 0], [0.5, 0.5]).round(3)
    array([0.693, 0.693])
    """
    chance = np.clip(np.asarray(p, dtype=float), CLIP, 1 - CLIP)
    return -np.where(np.asarray(y).astype(bool), np.log(chance), np.log1p(-chance))


def paired(first: ArrayLike, second: ArrayLike, *, groups: ArrayLike | None = None) -> Difference:
    """Compare two vectors of per-row losses on the same rows.

    Parameters
    ----------
    first, second : array-like
        Loss of each row under each score; lower is better.
    groups : array-like, optional
        The unit of each row (a person seen at several dates). The standard error is over units.

    Returns
    -------
    Difference

    Raises
    ------
    ValueError
        Where the two do not have the same length.

    Examples
    --------
    >>> d = paired([1.0, 2.0, 3.0, 3.0], [1.0, 2.5, 3.5, 3.0])
    >>> d.mean, d.better()
    (-0.25, False)
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"`first` and `second` must have one length; got {a.shape} and {b.shape}")
    gaps = a - b
    codes, units = unit_codes(len(gaps), groups)
    mean = float(gaps.mean())
    # A unit's influence on the mean is the sum of its rows' deviations (a ratio estimator over units).
    influence = np.bincount(codes, weights=gaps - mean, minlength=units) / len(gaps)
    spread = np.sqrt(units / (units - 1) * np.sum(influence**2)) if units > 1 else np.inf
    return Difference(mean, float(spread), units)
