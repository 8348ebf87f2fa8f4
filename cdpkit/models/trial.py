"""A learner tried on rows it did not see, at each of its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """Losses of one learner on held-out rows, a setting each, and its log-odds at a setting.

    Parameters
    ----------
    losses : ndarray
        Total log-loss of the held-out rows at each setting.
    margin : callable
        From the number of a setting to the held-out rows' log-odds.
    """

    losses: Array
    margin: Callable[[int], Array]

    @classmethod
    def of_margins(cls, margins: Sequence[Array], y: NDArray[np.bool_]) -> Trial:
        """Build a trial from the log-odds at every setting.

        Examples
        --------
        >>> Trial.of_margins([np.zeros(2), np.array([2.0, -2.0])], np.array([True, False])).losses.round(2)
        array([1.39, 0.25])
        """
        return cls(np.array([loss_of_margin(m, y).sum() for m in margins]), lambda k: margins[k])


def loss_of_margin(margin: Array, y: NDArray[np.bool_]) -> Array:
    """Return the log-loss of each row from its log-odds.

    Examples
    --------
    >>> loss_of_margin(np.array([0.0]), np.array([True])).round(3)
    array([0.693])
    """
    return np.logaddexp(0.0, np.where(y, -margin, margin))


def best_setting(trials: Sequence[Trial]) -> int:
    """Return the setting with the least loss over all trials; the first (most cautious) among equals.

    Examples
    --------
    >>> one = Trial(np.array([3.0, 2.0, 2.5]), lambda k: np.zeros(1))
    >>> best_setting([one, Trial(np.array([3.0, 2.5]), lambda k: np.zeros(1))])
    1
    """
    # A learner that stopped early keeps its last loss at the settings it did not reach.
    longest = max(len(trial.losses) for trial in trials)
    total = np.sum([np.pad(t.losses, (0, longest - len(t.losses)), mode="edge") for t in trials], axis=0)
    return int(np.argmin(total))
