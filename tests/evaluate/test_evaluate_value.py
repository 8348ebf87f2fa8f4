"""Figures of value: the Gini's known cases, intervals that hold, the share of a ranking's gain."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit import evaluate


def slow_gini(y: np.ndarray, p: np.ndarray) -> float:
    """Area between the gains curve and the diagonal, over that of the perfect order, by its definition."""

    def area(score: np.ndarray) -> float:
        share = np.append(0, np.cumsum(y[np.argsort(-score, kind="stable")])) / y.sum()
        return float(((share[1:] + share[:-1]) / 2).mean() - 0.5)

    return area(p) / area(y)


def test_the_gini_is_its_definition() -> None:
    """Equal to the slow formula without ties; opposite for the opposite order; indifferent to scale."""
    rng = np.random.default_rng(0)
    y, p = rng.gamma(0.3, 50, 400) * (rng.random(400) < 0.4), rng.random(400)
    assert np.isclose(evaluate.gini(y, p), slow_gini(y, p))
    assert np.isclose(evaluate.gini(y, -p), -evaluate.gini(y, p))
    assert np.isclose(evaluate.gini(y, np.exp(3 * p)), evaluate.gini(7 * y, p))
    coarse = np.round(p, 1)
    orders = [slow_gini(y, coarse + 1e-9 * rng.random(400)) for _ in range(400)]
    assert np.isclose(evaluate.gini(y, coarse), np.mean(orders), atol=0.005)
    with pytest.raises(ValueError, match="different outcomes"):
        evaluate.gini(np.ones(5), p[:5])


def test_intervals_of_value_hold_what_repeats() -> None:
    """The 95 % interval of a paired difference holds the truth of large samples in most draws."""
    rng = np.random.default_rng(1)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        level = rng.gamma(0.7, 20, n)
        return (
            rng.poisson(level).astype(float),
            level * rng.lognormal(0, 0.3, n),
            level * rng.lognormal(0, 0.9, n),
        )

    y, good, poor = draw(100_000)
    true = evaluate.gini(y, good) - evaluate.gini(y, poor)
    inside = 0
    for _ in range(40):
        y, good, poor = draw(400)
        table = evaluate.value(y, good, baseline=poor, draws=200).set_index("metric")
        inside += table.loc["gini", "difference_low"] <= true <= table.loc["gini", "difference_high"]
    assert inside >= 34


def test_the_share_of_a_ranking_lies_between_rule_and_best() -> None:
    """A score halfway in noise achieves a share with an interval; without anything to gain, NaN and why."""
    rng = np.random.default_rng(2)
    level = rng.gamma(0.5, 30, 3000)
    y = rng.poisson(level).astype(float)
    model, rule = level * rng.lognormal(0, 0.5, 3000), level * rng.lognormal(0, 1.5, 3000)
    row = evaluate.achieved(model, rule, level, outcome=y, draws=300).iloc[0]
    assert 0.5 < row["low"] < row["share"] < row["high"] < 1
    gain = evaluate.gini(y, model) - evaluate.gini(y, rule)
    assert np.isclose(row["gain"], gain) and np.isclose(row["share"], gain / row["possible"])
    none = evaluate.achieved(model, rule, rule, outcome=y, draws=100).iloc[0]
    assert np.isnan(none["share"]) and "two standard errors" in none["reason"]
    empty = evaluate.achieved([], [], []).iloc[0]
    assert np.isnan(empty["share"]) and empty["people"] == 0 and empty["reason"]


def test_worlds_are_gathered_with_their_spread() -> None:
    """The share over worlds is total over total; its interval narrows as worlds agree."""
    apart = pd.DataFrame({"gain": [0.05, 0.1, 0.09], "possible": [0.1, 0.11, 0.1]})
    close = pd.DataFrame({"gain": [0.08, 0.088, 0.08], "possible": [0.1, 0.11, 0.1]})
    a, b = evaluate.over_worlds(apart).iloc[0], evaluate.over_worlds(close).iloc[0]
    assert np.isclose(a["share"], 0.24 / 0.31) and np.isclose(b["share"], 0.8)
    assert a["high"] - a["low"] > 10 * (b["high"] - b["low"])
    assert np.isnan(evaluate.over_worlds(apart.head(1)).iloc[0]["low"])
