"""Clusters: planted ones are found and stay, none is claimed where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from cdpkit.errors import CdpkitError
from cdpkit.models.clusters import BehaviourClusters


def planted(k: int, seed: int, n: int = 900) -> tuple[np.ndarray, np.ndarray]:
    """Return rows around `k` corners at least three deviations apart in two measures, and their cluster."""
    rng = np.random.default_rng(seed)
    corners = rng.permutation(np.array(np.meshgrid(*[[-1.5, 1.5]] * 5)).reshape(5, -1).T)
    chosen = [corners[0]]
    for corner in corners[1:]:
        if len(chosen) < k and all((corner != other).sum() >= 2 for other in chosen):
            chosen.append(corner)
    labels = rng.integers(0, k, n)
    return np.array(chosen)[labels] + rng.normal(0, 0.55, (n, 5)), labels


@pytest.mark.req("SEG-06")
@pytest.mark.parametrize("k", [3, 4, 6])
def test_planted_clusters_are_found(k: int) -> None:
    """The number is within one of the truth, and persons are grouped as planted (ARI of .9)."""
    X, truth = planted(k, seed=k)
    model = BehaviourClusters().fit(X)
    assert abs(model.n_clusters_ - k) <= 1
    assert model.choice_["explained"].is_monotonic_increasing and model.choice_["k"].tolist() == list(
        range(2, 9)
    )
    assert adjusted_rand_score(truth, model.labels_) >= 0.9 and model.stability_ >= 0.9


@pytest.mark.parametrize("seed", range(4))
def test_no_cluster_is_claimed_in_correlated_and_skewed_data_without_any(seed: int) -> None:
    """Skewed, counted and correlated measures make no group of people."""
    rng = np.random.default_rng(seed)
    g = rng.normal(size=(900, 5)) @ rng.normal(size=(5, 5))
    X = np.c_[np.exp(g[:, :2] / 3), rng.poisson(np.exp(g[:, 2] / 3)), g[:, 3:]]
    model = BehaviourClusters().fit(X)
    assert model.n_clusters_ == 1 and set(model.labels_) == {0} and model.differences(X, list("abcde")).empty


def test_what_sets_a_cluster_apart_is_said_and_the_state_is_plain() -> None:
    """The measure that was moved leads, missing values are taken, and the model comes back from JSON."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    X[:200, [0, 3]] += 6
    X[200:400, [1, 3]] -= 6
    X[5, 2] = np.nan
    model = BehaviourClusters(k_max=4, n_boot=5, n_reference=5).fit(X)
    told = model.differences(X, ["visits", "orders", "age", "clicks"])
    lead = told[told["cluster"] == model.labels_[0]].iloc[:2]
    assert {"visits"} <= set(lead["feature"]) and lead["effect"].iloc[0] > 3
    again = BehaviourClusters.from_dict(json.loads(json.dumps(model.to_dict())))
    assert (again.predict(X) == model.labels_).all()
    with pytest.raises(CdpkitError):
        BehaviourClusters().fit(X[:10])
