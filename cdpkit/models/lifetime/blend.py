"""The geometric blend of a count model's forecast and of what own history taught, and its spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.evaluate import paired, value_losses
from cdpkit.models.frame import Columns
from cdpkit.models.lifetime.counts import CountModel
from cdpkit.models.lifetime.gammagamma import GammaGamma
from cdpkit.models.lifetime.history import HistoryTrees

Array = NDArray[np.float64]

#: Weights of the count model that are tried; the middle one is kept unless another is surely better.
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass
class Blended:
    """Both forecasts, fitted at one date.

    Parameters
    ----------
    counts, amounts : CountModel, GammaGamma
    columns : Columns
    orders, spend : HistoryTrees
        For a window of `window` days.
    window : int
    """

    counts: CountModel
    amounts: GammaGamma
    columns: Columns
    orders: HistoryTrees
    spend: HistoryTrees
    window: int

    @staticmethod
    def _buyers(X: pd.DataFrame) -> tuple[NDArray[np.bool_], pd.DataFrame]:
        buyer = X["frequency"].notna().to_numpy()
        return buyer, X.loc[buyer, ["frequency", "recency", "T", "monetary"]].astype(float)

    def _of_buyers(self, X: pd.DataFrame, what: object, rest: float) -> Array:
        buyer, told = self._buyers(X)
        out = np.full(len(X), rest)
        if buyer.any():
            out[buyer] = what(told)  # type: ignore[operator]
        return out

    def alive(self, X: pd.DataFrame) -> Array:
        """Return the chance that each buyer is still a customer; missing for the others."""
        return self._of_buyers(X, self.counts.alive, np.nan)

    def count(self, X: pd.DataFrame, horizon: float) -> Array:
        """Return the count model's expected purchases; zero for those who never bought."""
        return self._of_buyers(X, lambda told: self.counts.predict(told, float(horizon)), 0.0)

    def pace(self, X: pd.DataFrame, horizon: float) -> Array:
        """Return expected purchases were each a customer still; missing for those who never bought."""
        return self._of_buyers(X, lambda told: self.counts.if_alive(told, float(horizon)), np.nan)

    def amount(self, X: pd.DataFrame) -> Array:
        """Return the mean order expected of each; that of everybody for those who never bought."""
        nobody = float(self.amounts.predict(np.array([[0.0, 0.0]]))[0])
        return self._of_buyers(X, self.amounts.predict, nobody)

    def orders_mean(
        self, X: pd.DataFrame, horizon: float, weight: float, reach: float | None = None
    ) -> Array:
        """Return expected orders within the horizon, before any level."""
        return self._mean(self.count(X, horizon), self.orders, X, horizon, weight, reach)

    def spend_mean(self, X: pd.DataFrame, horizon: float, weight: float, reach: float | None = None) -> Array:
        """Return expected spend within the horizon, before any level."""
        told = self.count(X, horizon) * self.amount(X)
        return self._mean(told, self.spend, X, horizon, weight, reach)

    def _mean(
        self,
        counted: Array,
        trees: HistoryTrees,
        X: pd.DataFrame,
        horizon: float,
        weight: float,
        reach: float | None,
    ) -> Array:
        learned = trees.predict(X) * (horizon / self.window if reach is None else reach)
        buyer = X["frequency"].notna().to_numpy()
        tiny = 1e-12 * max(float(learned.mean()), 1e-300)
        mixed = np.exp(
            weight * np.log(np.maximum(counted, tiny)) + (1 - weight) * np.log(np.maximum(learned, tiny))
        )
        # Of somebody who never bought the count model knows nothing.
        return np.where(buyer, mixed, learned)

    def simulate(
        self,
        X: pd.DataFrame,
        horizon: float,
        weight: float,
        level: float | Array,
        reach: float | None = None,
        draws: int = 100,
        seed: int = 0,
    ) -> Array:
        """Draw spends within the horizon, whose means are those of the blend: (draws × rows)."""
        rng = np.random.default_rng(seed)
        buyer, told = self._buyers(X)
        mean = self.spend_mean(X, horizon, weight, reach) * level
        plain = np.maximum(self.count(X, horizon) * self.amount(X), 1e-12)
        amount = self.amount(X)
        shape = self.counts.parameters_["r"]
        newcomers = mean[~buyer] / np.maximum(amount[~buyer], 1e-12)
        nobody = np.zeros((int((~buyer).sum()), 2))
        out = np.zeros((draws, len(X)))
        for k in range(draws):
            if buyer.any():
                n = self.counts.sample(told, horizon, 1, int(rng.integers(2**31)))[0]
                out[k, buyer] = self.amounts.draw(rng, told, n) * (mean / plain)[buyer]
            if len(nobody):
                n = rng.poisson(newcomers * rng.gamma(shape, 1 / shape, len(nobody)))
                out[k, ~buyer] = self.amounts.draw(rng, nobody, n)
        return out

    def contributions(
        self, X: pd.DataFrame, horizon: float, weight: float, reach: float, exact: bool
    ) -> Array:
        """Return each column's part of the logarithm of the expected spend; the last is the base."""
        buyer = X["frequency"].notna().to_numpy()
        own = np.where(buyer, weight, 0.0)[:, None]
        parts = (1 - own) * self.spend.contributions(X, exact)
        parts[:, -1] += (1 - own[:, 0]) * np.log(reach)
        place = {name: j for j, name in enumerate(self.columns.names)}
        told = X[["frequency", "T"]].astype(float).fillna(0.0)
        found = self.counts.parameters_
        seen, age = told["frequency"].to_numpy(), told["T"].to_numpy()
        pace = np.log((found["r"] + seen) / (found["alpha"] + age))
        stay = np.log(np.maximum(self.count(X, horizon), 1e-12)) - pace
        for name, log in (("frequency", pace), ("recency", stay), ("monetary", np.log(self.amount(X)))):
            centre = float(log[buyer].mean()) if buyer.any() else 0.0
            parts[:, place[name]] += own[:, 0] * (log - centre)
            parts[:, -1] += own[:, 0] * centre
        return parts


def deviance(y: Array, p: Array) -> Array:
    """Return the Poisson deviance of each row, once totals agree, in units of the mean outcome.

    Examples
    --------
    >>> deviance(np.array([0.0, 2.0]), np.array([1.0, 3.0])).round(3)
    array([1.   , 0.151])
    """
    return value_losses(y, p * (y.sum() / max(float(p.sum()), 1e-300)))


def best_weight(blend: Blended, X: pd.DataFrame, y: Array, horizon: int) -> tuple[float, pd.DataFrame]:
    """Choose the weight of the count model on spend neither forecast learned from.

    Returns
    -------
    weight : float
        The middle one, unless another beats it by more than one paired standard error.
    table : DataFrame
        ``weight, deviance, difference, se``.
    """
    losses = {w: deviance(y, blend.spend_mean(X, horizon, w)) for w in WEIGHTS}
    gaps = {w: paired(losses[w], losses[0.5]) for w in WEIGHTS}
    sure = [w for w in WEIGHTS if gaps[w].better(1.0)]
    rows = [(w, float(losses[w].mean()), gaps[w].mean, gaps[w].se) for w in WEIGHTS]
    table = pd.DataFrame(rows, columns=["weight", "deviance", "difference", "se"])
    return min(sure, key=lambda w: gaps[w].mean, default=0.5), table


def calibrated_levels(drawn: Array, y: Array, nominal: tuple[float, float]) -> tuple[float, float]:
    """Return the levels of the simulated quantiles that held, on the past, as often as they should.

    Examples
    --------
    >>> drawn = np.linspace(0, 1, 101)[:, None] * np.ones(2000)
    >>> y = np.linspace(0, 0.5, 2000)
    >>> [round(float(level), 2) for level in calibrated_levels(drawn, y, (0.1, 0.9))]
    [0.06, 0.45]
    """
    # Where each outcome stands among its simulations; a mass at zero counts half.
    place = ((drawn < y).mean(axis=0) + (drawn <= y).mean(axis=0)) / 2
    found = []
    for level in nominal:
        found.append(float(np.clip(np.quantile(place, level), 0.005, 0.995)))
    return found[0], found[1]
