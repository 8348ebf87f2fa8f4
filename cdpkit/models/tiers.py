"""Hot, warm, cold: cut lines on a score, and a person's place in a declared reference population."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cdpkit.errors import CdpkitError
from cdpkit.evaluate import TIERS

Array = NDArray[np.float64]

#: Quantiles of the reference population that are kept.
KEPT_QUANTILES = 1001

METHODS = ("quantile", "capacity", "cost")


class Tiers:
    """Cut scores into hot, warm and cold against a reference population.

    Parameters
    ----------
    method : {"quantile", "capacity", "cost"}
        ``"quantile"``: `hot` and `warm` are shares of the reference population, best first.
        ``"capacity"``: they are numbers of people. ``"cost"``: a contact costs `cost`, a conversion
        brings `value`; warm starts where a contact pays for itself (score = cost / value), hot where it
        brings `hot_return` times its cost.
    hot, warm : float
        Share or number of people in each tier. Under a capacity, ties never overfill a tier.
    cost, value : float
        In one unit of money.
    hot_return : float
        For ``"cost"``: expected value of a hot contact over its cost, at least.
    hysteresis : float
        How far below the line of their tier, as a share of it, somebody already there stays: 0.1 keeps
        in *hot* whoever scores above nine tenths of the line. Nobody enters below the line; a tier may
        then hold a few more than its share or capacity.
    messages : mapping of tier to mapping of language to str, optional
        What is said to each tier, in the marketer's words; kept with the tiers.

    Attributes
    ----------
    thresholds_ : dict
        Lowest score of ``hot`` and of ``warm``.
    reference_population_ : str
        Who the reference is, in the words of whoever fitted.
    quantiles_ : ndarray
        1,001 quantiles of the reference scores.

    Examples
    --------
    >>> tiers = Tiers("capacity", hot=1, warm=2).fit([0.9, 0.5, 0.4, 0.1], "active, last 365 days")
    >>> tiers.assign([0.95, 0.45, 0.2]).tolist(), tiers.thresholds_["hot"]
    (['hot', 'warm', 'cold'], 0.9)
    """

    def __init__(
        self,
        method: str = "quantile",
        *,
        hot: float = 0.1,
        warm: float = 0.3,
        cost: float | None = None,
        value: float | None = None,
        hot_return: float = 3.0,
        hysteresis: float = 0.0,
        messages: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.method, self.hot, self.warm = method, hot, warm
        self.cost, self.value, self.hot_return = cost, value, hot_return
        self.hysteresis, self.messages = hysteresis, messages

    def fit(self, scores: ArrayLike, reference_population: str) -> Tiers:
        """Learn the cut lines and the distribution of the reference population.

        Parameters
        ----------
        scores : array-like
            Scores of everybody in the reference population.
        reference_population : str
            Who they are: it is written beside every percentile.

        Raises
        ------
        CdpkitError
            For an unknown method, shares or capacities that make no sense, or a missing cost or value.
        """
        reference = np.sort(np.asarray(scores, dtype=float))
        self._check(reference)
        if self.method == "cost":
            even = float(self.cost) / float(self.value)  # type: ignore[arg-type]
            cuts = {"hot": even * self.hot_return, "warm": even}
        else:
            size = 1 if self.method == "capacity" else len(reference)
            hot, both = round(self.hot * size), round((self.hot + self.warm) * size)
            cuts = {"hot": _lowest_of_best(reference, hot), "warm": _lowest_of_best(reference, both)}
        self.thresholds_ = cuts
        self.reference_population_ = reference_population
        self.reference_size_ = len(reference)
        self.quantiles_ = np.quantile(reference, np.linspace(0, 1, KEPT_QUANTILES))
        return self

    def _check(self, reference: Array) -> None:
        if self.method not in METHODS:
            raise CdpkitError(f"`method` must be one of {METHODS}", got=repr(self.method))
        if not len(reference) or not np.isfinite(reference).all():
            raise CdpkitError("a reference population must have people with finite scores")
        if not 0 <= self.hysteresis < 1:
            raise CdpkitError("`hysteresis` must be a share below 1", got=str(self.hysteresis))
        if unknown := sorted(set(self.messages or {}) - set(TIERS)):
            raise CdpkitError(f"`messages` must be for {', '.join(TIERS)}", got=", ".join(unknown))
        if self.method == "cost":
            if not (self.cost and self.value and min(self.cost, self.value) > 0):
                raise CdpkitError("`cost` and `value` must be positive", got=f"{self.cost} and {self.value}")
            if self.hot_return < 1:
                raise CdpkitError("`hot_return` must be >= 1", got=str(self.hot_return))
        elif self.hot < 0 or self.warm < 0 or (self.method == "quantile" and self.hot + self.warm > 1):
            raise CdpkitError("`hot` and `warm` must be >= 0, and shares must not exceed 1 together",
                              got=f"{self.hot} and {self.warm}")  # fmt: skip

    def assign(self, scores: ArrayLike, before: ArrayLike | None = None) -> NDArray[Any]:
        """Return the tier code of each score: ``hot``, ``warm`` or ``cold``.

        Parameters
        ----------
        scores : array-like
        before : array-like of str, optional
            The tier each person was in; missing for newcomers. With `hysteresis`, somebody just under the
            line of their tier stays, so that a wobble of the score does not change the message.

        Returns
        -------
        ndarray of str

        Examples
        --------
        >>> tiers = Tiers("cost", cost=1, value=10, hot_return=5, hysteresis=0.1).fit([0.1, 0.6], "two")
        >>> tiers.assign([0.47, 0.47, 0.51], ["hot", "warm", "cold"]).tolist()
        ['hot', 'warm', 'hot']
        """
        score = np.asarray(scores, dtype=float)
        hot, warm = (np.full(len(score), self.thresholds_[tier]) for tier in TIERS[:2])
        if before is not None:
            was = np.asarray(before, dtype=object)
            hot = np.where(was == "hot", hot * (1 - self.hysteresis), hot)
            warm = np.where(was != "cold", np.where(pd.isna(was), warm, warm * (1 - self.hysteresis)), warm)
        return np.select([score >= hot, score >= warm], list(TIERS[:2]), TIERS[2]).astype(object)

    def message(self, tier: str, language: str) -> str | None:
        """Return what the marketer says to a tier, or None where nothing is set.

        Examples
        --------
        >>> Tiers(messages={"hot": {"fr": "Votre panier vous attend"}}).message("hot", "fr")
        'Votre panier vous attend'
        """
        return (self.messages or {}).get(tier, {}).get(language)

    def percentile(self, scores: ArrayLike) -> Array:
        """Return 0 to 100: the share of the reference population below each score, ties counting half.

        Examples
        --------
        >>> Tiers().fit(np.arange(101) / 100, "everybody").percentile([0.0, 0.25, 2.0]).round(1).tolist()
        [0.0, 25.0, 100.0]
        """
        score = np.asarray(scores, dtype=float)
        left = np.searchsorted(self.quantiles_, score, "left")
        right = np.searchsorted(self.quantiles_, score, "right")
        knots, first = np.unique(self.quantiles_, return_index=True)
        last = np.append(first[1:], len(self.quantiles_)) - 1
        between = np.interp(score, knots, (first + last) / 2)
        rank = np.where(right > left, (left + right - 1) / 2, between)
        rank = np.where(score < knots[0], 0.0, np.where(score > knots[-1], KEPT_QUANTILES - 1, rank))
        return rank / (KEPT_QUANTILES - 1) * 100

    def decile(self, scores: ArrayLike) -> NDArray[np.int64]:
        """Return the decile of each score in the reference population, 1 the best.

        Examples
        --------
        >>> Tiers().fit(np.arange(101) / 100, "everybody").decile([0.99, 0.5, 0.01]).tolist()
        [1, 5, 10]
        """
        return np.clip(10 - np.floor(self.percentile(scores) / 10), 1, 10).astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state, ready for JSON."""
        return {
            "format": "tiers",
            "method": self.method,
            "parameters": {
                "hot": self.hot,
                "warm": self.warm,
                "cost": self.cost,
                "value": self.value,
                "hot_return": self.hot_return,
                "hysteresis": self.hysteresis,
                "messages": self.messages,
            },
            "thresholds": {k: v if np.isfinite(v) else None for k, v in self.thresholds_.items()},
            "reference_population": self.reference_population_,
            "reference_size": self.reference_size_,
            "quantiles": self.quantiles_.tolist(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Tiers:
        """Return the tiers a state stands for.

        Examples
        --------
        >>> tiers = Tiers().fit([0.1, 0.2], "two people")
        >>> Tiers.from_dict(tiers.to_dict()).to_dict() == tiers.to_dict()
        True
        """
        tiers = cls(content["method"], **content["parameters"])
        tiers.thresholds_ = {k: np.inf if v is None else v for k, v in content["thresholds"].items()}
        tiers.reference_population_ = content["reference_population"]
        tiers.reference_size_ = content["reference_size"]
        tiers.quantiles_ = np.asarray(content["quantiles"], dtype=float)
        return tiers


def _lowest_of_best(ordered: Array, people: int) -> float:
    """Return the lowest score such that at most `people` of the reference reach it; inf for nobody."""
    if people >= len(ordered):
        return float(ordered[0])
    last_out = ordered[len(ordered) - people - 1]
    above = ordered[np.searchsorted(ordered, last_out, "right") :]
    return float(above[0]) if len(above) else float("inf")
