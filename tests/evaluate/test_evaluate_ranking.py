"""Ranking figures, their intervals and paired comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from cdpkit.evaluate import achieved, bootstrap, log_losses, paired, quantile_range, ranking, wilson


def _people(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw outcomes from their own probabilities."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 6, n)
    return (rng.random(n) < p).astype(int), p


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.05, 0.1, 0.3, 0.35, 0.9])), min_size=8, max_size=60)
)
def test_figures_equal_scikit_learn_with_ties(rows: list[tuple[bool, float]]) -> None:
    """AUC, average precision, log-loss and Brier score are scikit-learn's, ties included."""
    y, p = np.array([r[0] for r in rows], dtype=int), np.array([r[1] for r in rows])
    if y.min() == y.max():
        return
    value = ranking(y, p, draws=2).set_index("metric")["value"]
    assert value["roc_auc"] == pytest.approx(roc_auc_score(y, p))
    assert value["pr_auc"] == pytest.approx(average_precision_score(y, p))
    assert value["log_loss"] == pytest.approx(log_loss(y, p, labels=[0, 1]))
    assert value["brier"] == pytest.approx(brier_score_loss(y, p))


def test_lift_counts_the_best_tenth() -> None:
    """Without ties the lift is the rate of the best tenth over the overall rate."""
    y, p = _people(1000)
    best = np.argsort(-p)[:100]
    lift = ranking(y, p, draws=2).set_index("metric").loc["lift_10", "value"]
    assert lift == pytest.approx(y[best].mean() / y.mean())


def test_lift_shares_out_ties() -> None:
    """A score equal for everybody has no lift, whatever the order of the rows."""
    y = np.array([1] * 10 + [0] * 90)
    assert ranking(y, np.full(100, 0.1), draws=2).set_index("metric").loc[
        "lift_10", "value"
    ] == pytest.approx(1)


def test_every_figure_lies_in_its_interval_and_has_its_baseline() -> None:
    """The table carries intervals around values, the rule beside, and a floor for the error only."""
    y, p = _people(800)
    table = ranking(y, p, baseline=np.full(800, y.mean()), draws=300)
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
    assert table["baseline"].notna().all()
    assert table["floor"].notna().tolist() == (table["metric"] == "ece").tolist()
    assert np.allclose(table["difference"], table["value"] - table["baseline"])


def test_same_seed_same_table() -> None:
    """The bootstrap is a function of its seed."""
    y, p = _people(200)
    assert ranking(y, p, draws=50, seed=3).equals(ranking(y, p, draws=50, seed=3))


def test_one_outcome_is_refused() -> None:
    """A ranking of people who all did the same is refused in words."""
    with pytest.raises(ValueError, match="both outcomes"):
        ranking([0, 0, 0], [0.1, 0.2, 0.3])


def test_bootstrap_of_a_mean_has_the_textbook_error() -> None:
    """The spread of bootstrapped means is s / sqrt(n), on all units and on a subset of many."""
    rng = np.random.default_rng(0)
    for n in (2_000, 60_000):
        x = rng.exponential(size=n)
        value, drawn = bootstrap(
            lambda rows, x=x: lambda w: (w @ x[rows] / w.sum(axis=1))[:, None], n, draws=400
        )
        assert value[0] == pytest.approx(x.mean())
        assert drawn.std() == pytest.approx(x.std() / np.sqrt(n), rel=0.15)


def test_the_unit_is_the_person_not_the_row() -> None:
    """Showing each person ten times, as one unit, changes neither mean nor standard error."""
    y, p = _people(300)
    once = paired(log_losses(y, p), log_losses(y, np.full(300, y.mean())))
    again = np.repeat(np.arange(300), 10)
    many = paired(log_losses(y[again], p[again]), log_losses(y[again], np.full(3000, y.mean())), groups=again)
    assert many.mean == pytest.approx(once.mean)
    assert many.se == pytest.approx(once.se)
    assert many.units == 300


def test_paired_says_better_only_beyond_two_errors() -> None:
    """A clear gain is better, the same loss is neither better nor worse."""
    y, p = _people(2000)
    losses, flat = log_losses(y, p), log_losses(y, np.full(2000, y.mean()))
    assert paired(losses, flat).better() and paired(flat, losses).worse()
    assert not paired(losses, losses).better() and not paired(losses, losses).worse()


def test_paired_refuses_two_lengths() -> None:
    """Losses of different rows cannot be paired."""
    with pytest.raises(ValueError, match="one length"):
        paired([1.0, 2.0], [1.0])


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 50))
def test_wilson_holds_the_share(hits: int, extra: int) -> None:
    """The interval holds the observed share and stays within 0 and 1."""
    people = hits + extra
    low, high = wilson(hits, people)
    assert 0 <= low <= hits / people <= high <= 1


def test_wilson_of_nobody_is_unknown() -> None:
    """Nobody seen, nothing known."""
    low, high = wilson(0, 0)
    assert np.isnan(low) and np.isnan(high)


def test_achieved_is_zero_at_the_rule_and_one_at_the_best() -> None:
    """The share is on its scale, with an interval around it."""
    y, p = _people(3000)
    rule, best = log_losses(y, np.full(3000, y.mean())), log_losses(y, p)
    half = (rule + best) / 2
    shares = [achieved(m, rule, best, draws=200)["share"].item() for m in (rule, half, best)]
    assert shares == pytest.approx([0, 0.5, 1])
    row = achieved(half + 0.1 * (best - rule) * y, rule, best, draws=200).iloc[0]
    assert row["low"] < row["share"] < row["high"]


def test_achieved_declines_where_there_is_nothing_to_achieve() -> None:
    """A best score that does not beat the rule gives no share, and the reason."""
    rng = np.random.default_rng(0)
    rule = rng.random(500)
    row = achieved(rule, rule, rule + 0.01 * rng.standard_normal(500), draws=10).iloc[0]
    assert np.isnan(row["share"]) and "two standard errors" in row["reason"]


def test_achieved_reads_gains_as_well_as_losses() -> None:
    """The same figures, as gains, give the same share."""
    y, p = _people(1000)
    rule, best = log_losses(y, np.full(1000, y.mean())), log_losses(y, p)
    model = 0.3 * rule + 0.7 * best
    losses = achieved(model, rule, best, draws=20)["share"].item()
    assert achieved(-model, -rule, -best, higher_is_better=True, draws=20)["share"].item() == pytest.approx(
        losses
    )


def test_quantile_range_ignores_undefined_draws() -> None:
    """A draw without one of the outcomes has no figure and does not spoil the interval."""
    low, high = quantile_range(np.array([[np.nan], [1.0], [2.0]]))
    assert 1 <= low[0] <= high[0] <= 2
