"""Resemblance: how like those who met a definition a person is, when the others are only unlabelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdpkit.models.frame import Columns
from cdpkit.models.logistic import QuantileLogistic

Array = NDArray[np.float64]
Matrix = NDArray[np.float32]
Flags = NDArray[np.bool_]

#: Rows of the population that its shape is learned from, rows scored at a time, and how far the shape is
#: drawn towards columns that know nothing of each other.
MOST_ROWS = 20_000
ROWS_AT_ONCE = 100_000
SHRINKAGE = 0.2

#: Points between the two scales from which they are said to disagree.
DISAGREE = 40.0
VERDICTS = ("likely but unlike", "alike but unlikely", "")


class Profile:
    """The shape of those who met a definition, against the shape of everybody.

    Parameters
    ----------
    columns : Columns
        The encoded columns.

    Attributes
    ----------
    weights_, centre_ : ndarray
        The direction from the average person to the average definer, in columns freed of what they say
        twice, and where it starts.
    definers_ : ndarray
        Quantiles, along it, of those who met the definition.

    Notes
    -----
    Those who did not meet the definition yet are not its opposite: some will (positive and unlabelled
    data; Elkan and Noto 2008). The definers are therefore set against the whole population, themselves
    included. Definers hidden among the others shorten the distance between the two averages and leave
    its direction as it is, so that the order of the people does not depend on how many were seen.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 2)).astype(np.float32)
    >>> profile = Profile(Columns(("a", "b"), {})).fit(X, X[:, 0] > 1)
    >>> like = profile.score(np.array([[2, 0], [-2, 0]], dtype=np.float32))
    >>> bool(like[0] > 80), bool(like[1] < 1)
    (True, True)
    """

    def __init__(self, columns: Columns) -> None:
        self.terms = QuantileLogistic(columns)

    def fit(self, matrix: Matrix, definers: Flags, seed: int = 0) -> Profile:
        """Learn both shapes.

        Parameters
        ----------
        matrix : ndarray
            Encoded rows of the population.
        definers : ndarray of bool
            Who is known to have met the definition.
        seed : int
            Randomness of the rows drawn from a large population.
        """
        rng, everybody = np.random.default_rng(seed), np.arange(len(matrix))
        drawn = [
            rows if len(rows) <= MOST_ROWS else np.sort(rng.choice(rows, MOST_ROWS, replace=False))
            for rows in (everybody, everybody[definers])
        ]
        self.terms._learn_terms(matrix[drawn[0]])
        population, known = (self.terms.design(matrix[rows]) for rows in drawn)
        self.centre_ = population.mean(axis=0)
        spread = population.std(axis=0)
        scale = np.where(spread > 0, np.maximum(spread, 0.1), np.inf)
        whitened = (population - self.centre_) / scale
        shape = whitened.T @ whitened / len(whitened)
        shape = (1 - SHRINKAGE) * shape + SHRINKAGE * np.eye(len(shape))
        distance = (known.mean(axis=0) - self.centre_) / scale
        self.weights_ = np.linalg.solve(shape, distance) / scale
        self.definers_ = np.quantile(self._along(matrix[drawn[1]]), np.linspace(0, 1, 201))
        return self

    def _along(self, matrix: Matrix) -> Array:
        return self.terms.weighted(matrix, self.weights_, self.centre_)

    def score(self, matrix: Matrix) -> Array:
        """Return 0 to 100: the share of the definers whom each row reaches."""
        out = np.empty(len(matrix))
        for first in range(0, len(matrix), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            out[rows] = share_reached(self._along(matrix[rows]), self.definers_)
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state, ready for JSON."""
        return {
            "terms": self.terms.terms,
            "weights": self.weights_.tolist(),
            "centre": self.centre_.tolist(),
            "definers": self.definers_.tolist(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], columns: Columns) -> Profile:
        """Return the profile a state stands for."""
        profile = cls(columns)
        profile.terms.terms = content["terms"]
        profile.weights_, profile.centre_, profile.definers_ = (
            np.asarray(content[key], dtype=float) for key in ("weights", "centre", "definers")
        )
        return profile


def share_reached(score: Array, definers: Array) -> Array:
    """Return the share (0 to 100) of the definers, given as sorted quantiles, at or below each score.

    Examples
    --------
    >>> share_reached(np.array([0.0, 0.5, 2.0]), np.array([0.0, 1.0]))
    array([  0.,  50., 100.])
    """
    below = np.interp(score, definers, np.linspace(0, 100, len(definers)))
    return np.where(score < definers[0], 0.0, below)


def disagreement(standing: Array, resemblance: Array, points: float = DISAGREE) -> NDArray[Any]:
    """Say where likelihood and likeness part, on the one scale they share.

    Parameters
    ----------
    standing : ndarray
        0 to 100: the share of the definers whose chance each person reaches.
    resemblance : ndarray
        0 to 100: the share of the definers whose likeness each person reaches.
    points : float
        Distance from which they disagree.

    Returns
    -------
    ndarray of str
        ``"likely but unlike"`` (the model expects it of somebody unusual: look at the reasons),
        ``"alike but unlikely"`` (a hot prospect in all but the chance: worth nurturing) or empty.

    Examples
    --------
    >>> disagreement(np.array([90.0, 10.0, 50.0]), np.array([20.0, 80.0, 40.0])).tolist()
    ['likely but unlike', 'alike but unlikely', '']
    """
    gap = standing - resemblance
    return np.select([gap >= points, gap <= -points], list(VERDICTS[:2]), VERDICTS[2]).astype(object)
