"""Churn: definitions in words, hazards of contracts, the cohort curve, early alerts, offers under a budget."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdpkit import evaluate, models
from cdpkit.definitions import Behaviour, ChurnDefinition, DefinitionError, contract_end
from cdpkit.errors import CdpkitError, NotEnoughDataError


def leavers(rows: int = 1500, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Customers whose chance to leave rises with calls about leaving and with silence."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "cancel_pages": rng.poisson(0.3, rows),
            "days_since_order": rng.integers(0, 300, rows).astype(float),
            "city": rng.choice(["Lyon", "Nice", "Lille"], rows),
        }
    )
    X.loc[rng.random(rows) < 0.1, "days_since_order"] = np.nan
    p = 1 / (1 + np.exp(2.2 - 1.1 * X.cancel_pages - X.days_since_order.fillna(150) / 150))
    return X, rng.random(rows) < p


def test_a_definition_reads_in_both_languages_and_comes_back() -> None:
    """Departures are said by what customers stop doing, or do; the definition survives JSON."""
    silent = ChurnDefinition(
        "silent", (Behaviour("orders"), Behaviour("events")), horizon_days=60, match="any"
    )
    assert silent.sentence("fr").startswith("Client perdu : un client qui ne passe aucune commande")
    assert "places no order" in silent.sentence("en") and "60 days" in silent.sentence("en")
    own = ChurnDefinition("own", (Behaviour("orders", at_least=2),))
    assert "does not do this" in own.sentence("en") and "ne fait pas ceci" in own.sentence("fr")
    for kind in (silent, own, contract_end(30)):
        assert ChurnDefinition.from_dict(kind.to_dict()) == kind
    with pytest.raises(DefinitionError, match="outcome time of contracts"):
        ChurnDefinition("wrong", (Behaviour("contracts", at="ends_at"),))


def test_a_churn_model_learns_stores_and_declines(tmp_path: Path) -> None:
    """It beats the silence rule, gives reasons, is read back alike, and counts departures when too few."""
    X, y = leavers(3000)
    learn, judge = slice(0, 2000), slice(2000, None)
    model = models.ChurnClassifier().fit(X[learn], y[learn])
    rule = models.RuleBaseline("days_since_order").fit(X[learn], y[learn])
    p = model.predict_proba(X[judge])[:, 1]
    assert models.served(y[judge], p, rule.predict_proba(X[judge])[:, 1]).decided_by == "model"
    worst = X[judge].assign(cancel_pages=4)
    told = models.top_reasons(model.contributions(worst), worst)
    assert sum(r[0].feature == "cancel_pages" and r[0].direction == "up" for r in told) > 0.9 * len(told)
    kept = models.ChurnClassifier.load(model.save(tmp_path / "m"))
    assert np.array_equal(kept.predict_proba(X), model.predict_proba(X)) and isinstance(
        kept, models.ChurnClassifier
    )
    with pytest.raises(NotEnoughDataError, match="100 departures needed, "):
        models.ChurnClassifier().fit(X[:100], y[:100])


def test_a_null_world_is_served_the_rule() -> None:
    """Where nothing announces departures, the rule decides in nearly every draw."""
    alarms = 0
    for seed in range(12):
        X, _ = leavers(900, seed)
        y = np.random.default_rng(100 + seed).random(900) < 0.4
        model = models.ChurnClassifier(max_trees=60).fit(X[:600], y[:600])
        rule = models.RuleBaseline("days_since_order").fit(X[:600], y[:600])
        later = X[600:]
        verdict = models.served(y[600:], model.predict_proba(later)[:, 1], rule.predict_proba(later)[:, 1])
        alarms += verdict.decided_by == "model"
    assert alarms <= 2


def test_periods_of_contracts_count_those_still_held() -> None:
    """One row a period begun; the end in its period; what is not over by the watermark is left out."""
    starts = pd.to_datetime(["2025-01-01", "2025-03-01", "2025-12-20"])
    ends = pd.to_datetime(["2025-03-15", None, None])
    held = pd.DataFrame({"contract_id": list("abc"), "starts_at": starts, "ended_at": ends})
    table = models.contract_periods(held, "2026-01-01")
    assert table.groupby("contract_id").y.sum().to_dict() == {"a": 1, "b": 0}
    assert table.groupby("contract_id").size().to_dict() == {"a": 3, "b": 10}
    late = models.contract_periods(held, "2026-01-01", since="2025-02-15")
    assert late[late.contract_id == "a"].period.tolist() == [2]


def test_the_hazard_of_contracts_is_recovered() -> None:
    """Planted monthly hazards, with a peak at the yearly renewal and censoring, come back unbiased."""
    rng = np.random.default_rng(0)
    n, rows = 1500, []
    start = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D")
    unhappy, ended = rng.random(n) < 0.3, np.full(n, np.datetime64("NaT"), dtype="datetime64[ns]")
    for k in range(n):
        for month in range(24):
            if rng.random() < 0.02 + 0.05 * unhappy[k] + 0.15 * (month % 12 == 11):
                ended[k] = (start[k] + pd.Timedelta(days=30 * month + 10)).to_datetime64()
                break
    held = pd.DataFrame({"contract_id": np.arange(n), "starts_at": start, "ended_at": ended})
    periods = models.contract_periods(held, "2025-11-01")
    periods["unhappy"] = unhappy[periods.contract_id]
    model = models.ContractHazard(term=12).fit(
        periods[["period", "unhappy"]], periods.y, groups=periods.contract_id, time=periods.as_of
    )
    for month, sad in product((3, 11, 15), (0, 1)):
        rows.append((month, sad, 0.02 + 0.05 * sad + 0.15 * (month == 11)))
    asked = pd.DataFrame(rows, columns=["period", "unhappy", "true"])
    found = model.hazard(asked[["period", "unhappy"]])
    assert np.abs(found - asked.true).max() < 0.05
    curve = model.survival(asked[["period", "unhappy"]], 12)
    assert (np.diff(curve, axis=1) <= 0).all() and (curve[1::2, -1] < curve[::2, -1]).all()


def test_the_cohort_curve_is_that_of_the_paper() -> None:
    """Both segments of Fader and Hardie, from seven renewals, and the five held out for them."""
    high = models.ShiftedBetaGeometric().fit([1000, 869, 743, 653, 593, 551, 517, 491])
    plain = models.ShiftedBetaGeometric().fit([1000, 631, 468, 382, 326, 289, 262, 241])
    assert np.allclose(list(high.parameters_.values()), (0.668, 3.806), atol=1e-3)
    assert np.allclose(list(plain.parameters_.values()), (0.704, 1.182), atol=1e-3)
    assert np.allclose(high.survival(range(8, 13)), [0.468, 0.445, 0.427, 0.409, 0.394], atol=0.02)
    assert 0 < plain.expected_periods(0, 12) < plain.expected_periods(5, 12) < 12
    young = [[1000, 869, 743], [500, 440, np.nan]]
    assert models.ShiftedBetaGeometric().fit(young).survival(1) < 1
    with pytest.raises(NotEnoughDataError, match="20 departures needed, 3 seen"):
        models.ShiftedBetaGeometric().fit([10, 9, 7])
    with pytest.raises(CdpkitError, match="must not increase"):
        models.ShiftedBetaGeometric().fit([10, 40])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.req("MOD-22")
def test_the_offers_are_the_best_knapsack(seed: int) -> None:
    """On small cases, found by trying every list: the plan nets as much, within the budget."""
    rng = np.random.default_rng(seed)
    people, kinds = 6, 2
    names = [f"p{k}" for k in range(people)]
    risk, value = pd.Series(rng.random(people), names), pd.Series(rng.gamma(2, 60, people), names)
    offers = pd.DataFrame(
        {"offer": list("xy"), "cost": rng.uniform(1, 9, kinds), "saves": rng.uniform(0, 0.4, kinds)}
    )
    budget = float(rng.uniform(3, 25))
    uplift = None
    if seed % 2:
        uplift = pd.DataFrame(rng.normal(0.05, 0.15, (people, kinds)), names, list("xy"))
    saved = (
        np.outer(risk * value, offers.saves)
        if uplift is None
        else uplift.to_numpy() * value.to_numpy()[:, None]
    )
    net, cost = saved - offers.cost.to_numpy(), offers.cost.to_numpy()
    best = 0.0
    for choice in product(range(-1, kinds), repeat=people):
        taken = [(k, c) for k, c in enumerate(choice) if c >= 0]
        if sum(cost[c] for _, c in taken) <= budget:
            best = max(best, sum(net[k, c] for k, c in taken))
    plan = models.retention_plan(risk, value, offers, budget, uplift=uplift)
    assert np.isclose(plan.net, best) and np.isclose(plan.bound, best)
    assert plan.cost <= budget + 1e-9 and plan.offers.index.is_unique and (plan.offers.net > 0).all()
    fast = models.retention_plan(risk, value, offers, budget, uplift=uplift, exact=False)
    assert fast.net <= best + 1e-9 <= fast.bound + 2e-9 and fast.cost <= budget + 1e-9


def test_a_long_list_is_within_one_offer_of_the_best() -> None:
    """For a base too large to solve exactly, the gap to the bound is under one customer's offer."""
    rng = np.random.default_rng(0)
    risk, value = pd.Series(rng.random(20_000)), pd.Series(rng.gamma(2, 60, 20_000))
    offers = pd.DataFrame({"offer": list("xyz"), "cost": [1.0, 5, 12], "saves": [0.05, 0.2, 0.3]})
    plan = models.retention_plan(risk, value, offers, 20_000.0)
    assert plan.cost <= 20_000 and plan.bound - plan.net <= plan.offers.net.max()
    with pytest.raises(CdpkitError, match="costs must be positive"):
        models.retention_plan(risk, value, offers.assign(cost=0.0), 10.0)


def test_value_at_risk_is_chance_times_value() -> None:
    """The money a departure would cost, weighted by its chance."""
    X, y = leavers()
    model = models.ChurnClassifier(learner="logistic", calibration="identity").fit(X, y)
    assert np.allclose(model.at_risk(X, np.full(len(X), 80.0)), 80 * model.predict_proba(X)[:, 1])


def test_lead_time_counts_the_first_alert_within_the_budget() -> None:
    """Recall and lead days of departures seen by a fixed budget; alerts after the departure do not count."""
    dates = pd.to_datetime(["2026-01-01", "2026-02-01", "2026-03-01"])
    rows = [(p, d, s) for d, scores in zip(dates, [(9, 1, 2), (8, 9, 1), (1, 2, 9)], strict=True)
            for p, s in zip("abc", scores, strict=True)]  # fmt: skip
    alerts = pd.DataFrame(rows, columns=["person_id", "as_of", "score"])
    left = pd.Series(pd.to_datetime(["2026-02-11", "2026-02-21", "2026-02-25"]), index=list("abc"))
    table = evaluate.lead_times(alerts, left, 0.34)
    assert table.lead_days.to_dict()["a"] == 41 and table.lead_days.to_dict()["b"] == 20
    assert np.isnan(table.lead_days["c"])
    report = evaluate.lead_report(alerts, left, [0.34, 1.0])
    assert report.recall.tolist() == [2 / 3, 1.0] and report.lead_50.iloc[1] == 51 - 0


def test_scikit_learn_accepts_the_churn_classifier() -> None:
    """The estimator checks that hold of the appetence classifier hold of this one: same machinery, same state."""
    from sklearn.base import clone
    from sklearn.utils.estimator_checks import check_estimator

    model = models.ChurnClassifier(min_conversions=1, max_trees=10)
    assert clone(model).get_params() == model.get_params()
    results = check_estimator(model, on_fail=None)
    assert len(results) > 40 and not [r["check_name"] for r in results if r["status"] == "failed"]
