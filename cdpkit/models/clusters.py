"""Behavioural clusters: as many as the data carry, stable under resampling, or none at all.

Two conditions, both needed. A number of clusters must be *stable*: fits on bootstrap samples put the same
persons together (mean adjusted Rand index; Hennig 2007, Fang and Wang 2012). And it must be *there*: the
spread within clusters is compared with that of data without clusters, drawn with the same marginal
distributions and the same rank correlations (the gap of Tibshirani, Walther and Hastie 2001, with a Gaussian
copula as the reference, so that a skewed or bounded measure is not taken for a group of people).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import CdpkitError

Array = NDArray[np.float64]


class BehaviourClusters(ClusterMixin, BaseEstimator):
    """Group rows by behaviour, choosing how many groups the data carry.

    Parameters
    ----------
    k_max : int
        Most clusters tried.
    stability : float
        Mean adjusted Rand index over bootstrap fits that a number of clusters must reach.
    z : float
        Standard deviations by which the spread must lie below that of data without clusters.
    n_boot, n_reference : int
        Bootstrap fits, and draws of the reference, for each number of clusters.
    sample : int
        Rows used to choose, drawn at random; the chosen clusters are fitted on all rows.
    min_share : float
        A number of clusters is set aside when one of them would hold less than this share of rows.
    random_state : int

    Attributes
    ----------
    n_clusters_ : int
        1 means that no cluster is claimed.
    choice_ : DataFrame
        ``k, explained, stability, gap_z, smallest_share, kept``: the granularity curve, a row a number of
        clusters; ``explained`` is the share of the spread that telling the clusters apart takes away.
    cluster_centers_ : ndarray of shape (n_clusters_, n_features)
        In standardised units.
    labels_ : ndarray of shape (n_rows,)
    stability_ : float
        Of the chosen number; NaN for one cluster.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(m, 0.3, (80, 3)) for m in ([0, 0, 4], [4, 0, 0], [0, 4, 0])])
    >>> BehaviourClusters(k_max=4, n_boot=5, n_reference=5).fit(X).n_clusters_
    3
    """

    def __init__(
        self,
        k_max: int = 8,
        *,
        stability: float = 0.9,
        z: float = 4.0,
        n_boot: int = 10,
        n_reference: int = 10,
        sample: int = 1500,
        min_share: float = 0.02,
        random_state: int = 0,
    ) -> None:
        self.k_max, self.stability, self.z = k_max, stability, z
        self.n_boot, self.n_reference, self.sample = n_boot, n_reference, sample
        self.min_share, self.random_state = min_share, random_state

    def fit(self, X: ArrayLike, y: object = None) -> BehaviourClusters:
        """Choose the number of clusters and fit them.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Numbers; a missing value is taken as the median of its column.

        Raises
        ------
        CdpkitError
            With fewer than 50 rows, or nothing that varies.
        """
        values = np.asarray(X, dtype=float)
        if values.ndim != 2 or len(values) < 50:
            raise CdpkitError("clusters need at least 50 rows", got=str(values.shape))
        self.medians_ = np.nan_to_num(np.nanmedian(values, axis=0))
        filled = np.where(np.isnan(values), self.medians_, values)
        self.means_, self.scales_ = filled.mean(axis=0), filled.std(axis=0)
        if not (self.scales_ > 0).any():
            raise CdpkitError("clusters need a column that varies", got="constants only")
        self.n_features_in_ = values.shape[1]
        Z = self._scaled(values)
        rng = np.random.default_rng(self.random_state)
        part = Z[rng.permutation(len(Z))[: self.sample]]
        # A measure that does not vary carries no group, and no correlation either.
        self.choice_ = self._choose(part[:, self.scales_ > 0], rng)
        kept = self.choice_.loc[self.choice_["kept"]]
        self.n_clusters_ = int(kept["k"].max()) if len(kept) else 1
        self.stability_ = float(kept["stability"].iloc[-1]) if len(kept) else float("nan")
        final = _means(Z, self.n_clusters_, self.random_state, n_init=5)
        self.cluster_centers_, self.labels_ = final.cluster_centers_, self._nearest(Z, final.cluster_centers_)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return the nearest cluster of each row."""
        check_is_fitted(self)
        return self._nearest(self._scaled(np.asarray(X, dtype=float)), self.cluster_centers_)

    def differences(self, X: ArrayLike, names: Sequence[str]) -> pd.DataFrame:
        """Say what sets each cluster apart.

        Parameters
        ----------
        X : array-like
            The rows to describe.
        names : sequence of str
            Of the columns.

        Returns
        -------
        DataFrame
            ``cluster, n, share, feature, effect, median_in, median_out``: the standardised difference of
            means between the cluster and the others, largest first within a cluster.
        """
        values, labels = np.asarray(X, dtype=float), self.predict(X)
        Z, rows = self._scaled(values), []
        for cluster in range(self.n_clusters_ if self.n_clusters_ > 1 else 0):
            inside = labels == cluster
            if inside.sum() < 2 or (~inside).sum() < 2:
                continue
            spread = np.sqrt((Z[inside].var(axis=0, ddof=1) + Z[~inside].var(axis=0, ddof=1)) / 2)
            effect = (Z[inside].mean(axis=0) - Z[~inside].mean(axis=0)) / np.where(spread > 0, spread, np.inf)
            for j in np.argsort(-np.abs(effect)):
                medians = [np.median(column[~np.isnan(column)]) if (~np.isnan(column)).any() else np.nan
                           for column in (values[inside, j], values[~inside, j])]  # fmt: skip
                rows.append((cluster, int(inside.sum()), float(inside.mean()), names[j], effect[j], *medians))
        columns = ["cluster", "n", "share", "feature", "effect", "median_in", "median_out"]
        return pd.DataFrame(rows, columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Return parameters and state as plain values."""
        check_is_fitted(self)
        state = {
            name: getattr(self, name).tolist()
            for name in ("medians_", "means_", "scales_", "cluster_centers_")
        }
        return {"params": self.get_params(), **state}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BehaviourClusters:
        """Rebuild what `to_dict` gave."""
        model = cls(**values["params"])
        for name in ("medians_", "means_", "scales_", "cluster_centers_"):
            setattr(model, name, np.asarray(values[name], dtype=float))
        model.n_clusters_, model.n_features_in_ = model.cluster_centers_.shape
        return model

    def _scaled(self, values: Array) -> Array:
        """Fill, standardise and clip: one enormous basket must not be a cluster."""
        filled = np.where(np.isnan(values), self.medians_, values)
        scaled = (filled - self.means_) / np.where(self.scales_ > 0, self.scales_, 1.0)
        return np.clip(scaled, -4, 4)

    @staticmethod
    def _nearest(Z: Array, centers: Array) -> NDArray[np.int64]:
        distances = ((Z[:, None, :] - centers[None, :, :]) ** 2).sum(axis=2)
        return distances.argmin(axis=1)

    def _choose(self, Z: Array, rng: np.random.Generator) -> pd.DataFrame:
        """Judge each number of clusters."""
        references = [_without_clusters(Z, rng) for _ in range(self.n_reference)]
        draws = [rng.integers(0, len(Z), len(Z)) for _ in range(self.n_boot)]
        rows = []
        for k in range(2, self.k_max + 1):
            base = _means(Z, k, self.random_state)
            spreads = [np.log(_means(ref, k, self.random_state, n_init=1).inertia_) for ref in references]
            # The reference's own deviation is floored: few draws may agree by chance.
            gap = (np.mean(spreads) - np.log(base.inertia_)) / max(float(np.std(spreads, ddof=1)), 0.01)
            again = [
                self._nearest(Z, _means(Z[d], k, self.random_state, n_init=2).cluster_centers_) for d in draws
            ]
            stable = float(np.mean([adjusted_rand_score(base.labels_, labels) for labels in again]))
            smallest = float(np.bincount(base.labels_, minlength=k).min() / len(Z))
            kept = stable >= self.stability and gap >= self.z and smallest >= self.min_share
            explained = 1 - base.inertia_ / float(((Z - Z.mean(axis=0)) ** 2).sum())
            rows.append((k, explained, stable, float(gap), smallest, kept))
        return pd.DataFrame(rows, columns=["k", "explained", "stability", "gap_z", "smallest_share", "kept"])


def _means(Z: Array, k: int, seed: int, n_init: int = 3) -> KMeans:
    return KMeans(k, n_init=n_init, random_state=seed).fit(Z)


def _without_clusters(Z: Array, rng: np.random.Generator) -> Array:
    """Draw rows with the same marginal distributions and rank correlations, joined by a Gaussian copula."""
    ranks = stats.rankdata(Z, axis=0, method="average") / (len(Z) + 1)
    correlation = np.corrcoef(stats.norm.ppf(ranks), rowvar=False).reshape(Z.shape[1], Z.shape[1])
    drawn = rng.multivariate_normal(np.zeros(Z.shape[1]), correlation, len(Z), method="eigh")
    order = np.sort(Z, axis=0)
    place = (stats.rankdata(drawn, axis=0, method="ordinal") - 1).astype(int)
    return np.take_along_axis(order, place, axis=0)
