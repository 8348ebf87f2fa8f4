"""Lifetime value: the papers' parameters, exact slopes, finite everywhere, better than past spend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime
from scipy.special import beta as beta_function
from scipy.special import hyp2f1

from cdpkit import evaluate, models
from cdpkit.errors import NotEnoughDataError
from cdpkit.models.frame import FrameError
from cdpkit.models.lifetime.counts import CountModel
from cdpkit.models.lifetime.history import features
from cdpkit.models.lifetime.summary import order_days

KINDS = [models.BetaGeoNBD, models.ModifiedBetaGeoNBD, models.ParetoNBD]


def planted(people: int = 2500, seed: int = 0, days: int = 400) -> pd.DataFrame:
    """Orders of customers who buy at rates of their own, at prices of their own, and leave."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, days // 2, people)
    rate, leave = rng.gamma(0.8, 1 / 40, people), rng.exponential(1 / rng.gamma(1.5, 1 / 300, people))
    n = rng.poisson(rate * np.minimum(leave, days - start))
    person = np.repeat(np.arange(people), n + 1)
    offset = rng.random(len(person)) * np.minimum(leave, days - start)[person]
    first = np.append(True, np.diff(person) > 0)
    ts = pd.Timestamp("2025-01-01") + pd.to_timedelta(start[person] + np.where(first, 0.0, offset), unit="D")
    price = 60 / rng.gamma(4.0, size=people)
    amount = rng.gamma(3.0, price[person] / 3) * 100
    return pd.DataFrame(
        {"person_id": person.astype(str), "ts": ts.astype("datetime64[us]"), "amount": amount}
    )


@pytest.fixture(scope="module")
def orders() -> pd.DataFrame:
    """One planted history."""
    return planted()


@pytest.fixture(scope="module")
def fitted(orders: pd.DataFrame) -> tuple[models.CustomerLifetimeValue, pd.DataFrame, pd.Series]:
    """A model fitted on the first 300 days, its table and the spend of the 100 days after."""
    end = pd.Timestamp("2025-01-01") + pd.Timedelta(days=300)
    model = models.CustomerLifetimeValue(100, discount_rate=0.0, random_state=1).fit(orders, end)
    table = model.table(orders)
    later = orders[(orders.ts >= end) & (orders.ts < end + pd.Timedelta(days=100))]
    return model, table, later.groupby("person_id").amount.sum().reindex(table.index).fillna(0.0)


def test_the_parameters_are_those_of_the_papers(shared_data: Callable[[str], Path]) -> None:
    """On the CDNOW sample the three count models and Gamma-Gamma find the published maxima."""
    file = shared_data("cdnow/CDNOW_sample.txt.gz")
    bought = pd.read_csv(file, sep=r"\s+", header=None, names=["master", "person_id", "ts", "n", "amount"])
    bought["ts"] = pd.to_datetime(bought["ts"].astype(str))
    # The papers count weeks from the first purchase to the last day observed.
    told = models.summary(bought, "1997-09-30 23:59:59").assign(T=lambda t: np.floor(t["T"]))
    weeks = told[["frequency", "recency", "T"]] / [1, 7, 7]
    published = {
        "BetaGeoNBD": (0.243, 4.414, 0.793, 2.426),
        "ModifiedBetaGeoNBD": (0.525, 6.183, 0.891, 1.614),
        "ParetoNBD": (0.553, 10.578, 0.606, 11.669),
    }
    for kind in KINDS:
        model = kind().fit(weeks)
        assert np.allclose(list(model.parameters_.values()), published[kind.__name__], atol=2e-3)
        assert model.identified_, model.note_
    days = order_days(bought, "1997-10-01")
    repeats = days[days.groupby("person_id").cumcount() > 0].groupby("person_id").amount.agg(["size", "mean"])
    found = models.GammaGamma().fit(repeats.to_numpy()).parameters_
    assert np.allclose(list(found.values()), (6.25, 3.74, 15.44), atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_are_exact(kind: type[CountModel]) -> None:
    """The slope of the log-likelihood equals its differences, wherever the parameters are."""
    rng = np.random.default_rng(0)
    T = rng.uniform(1, 60, 40)
    x = rng.poisson(2, 40).astype(float)
    t = np.where(x > 0, T * rng.random(40), 0.0)
    for _ in range(5):
        theta = rng.normal(0, 1.2, 4)
        value = kind()._likelihood(theta, x, t, T)[1].sum(axis=1)
        near = approx_fprime(theta, lambda q: kind()._likelihood(q, x, t, T)[0].sum(), 1e-6)
        assert np.allclose(value, near, rtol=2e-3, atol=1e-3 * np.abs(near).max())


def test_the_integral_equals_the_hypergeometric_form() -> None:
    """Pareto/NBD's chance to have left is the closed form where that one can be computed."""
    x, t, T = np.array([0.0, 2, 9]), np.array([0.0, 14, 30]), np.array([39.0, 39, 39])
    for r, alpha, s, beta in ((0.55, 10.6, 0.61, 11.7), (1.2, 5.0, 0.3, 20.0), (0.8, 30.0, 2.0, 3.0)):
        value = models.ParetoNBD._left(np.array([r, alpha, s, beta]), x, t, T)[0]
        k, high = r + s + x, max(alpha, beta)
        second = s + 1 if alpha >= beta else r + x
        one, two = (
            hyp2f1(k, second, k + 1, abs(alpha - beta) / (high + y)) / (high + y) ** k for y in (t, T)
        )
        assert np.allclose(value, np.log(s / k * (one - two)), atol=1e-4)


def test_expected_purchases_equal_the_closed_form_of_the_paper() -> None:
    """BG/NBD's conditional expectation is equation 10 of Fader, Hardie and Lee."""
    model = models.BetaGeoNBD.from_dict(
        {
            "min_repeaters": 50,
            "errors_": {},
            "parameters_": {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426},
        }
    )
    r, alpha, a, b = model.parameters_.values()
    x, t, T, horizon = 2.0, 30.43, 38.86, 39.0
    z = horizon / (alpha + T + horizon)
    above = (a + b + x - 1) / (a - 1)
    above *= 1 - ((alpha + T) / (alpha + T + horizon)) ** (r + x) * hyp2f1(r + x, b + x, a + b + x - 1, z)
    below = 1 + a / (b + x - 1) * ((alpha + T) / (alpha + t)) ** (r + x)
    assert np.isclose(model.predict([[x, t, T]], horizon)[0], above / below, rtol=1e-6)
    assert np.isclose(model.predict([[x, t, T]], horizon)[0], 1.226, atol=1e-3)
    assert beta_function(a, b) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_ever_infinite(kind: type[CountModel]) -> None:
    """Wholesalers, one-time buyers, the day of the first order and no departures: finite, and said."""
    rng = np.random.default_rng(3)
    steady = rng.poisson(5, 300).astype(float)
    T = np.full(300, 365.0)
    X = np.column_stack([steady, np.where(steady > 0, T - 1, 0.0), T])
    model = kind().fit(X)
    assert not model.identified_ and model.note_
    odd = np.array([[0, 0, 0.0], [5000, 364.9, 365], [1, 0.001, 365], [3000, 2.0, 365], [0, 0, 4000]])
    for horizon in (0.0, 1.0, 365.0, 1e5):
        expected = model.predict(odd, horizon)
        assert np.isfinite(expected).all() and (expected >= 0).all()
    assert ((model.alive(odd) >= 0) & (model.alive(odd) <= 1)).all()
    assert (model.sample(odd, 90.0, 5) >= 0).all()


def test_a_small_base_is_declined_with_what_is_missing(orders: pd.DataFrame) -> None:
    """Too few repeat buyers, too short a history, orders that are none: said, not guessed."""
    few = orders[orders.person_id.astype(int) < 40]
    with pytest.raises(NotEnoughDataError, match=r"50 customers with a repeat purchase needed, \d+ seen"):
        models.CustomerLifetimeValue(90).fit(few)
    with pytest.raises(NotEnoughDataError, match="14 days"):
        models.CustomerLifetimeValue(90).fit(orders[orders.ts < "2025-01-05"])
    with pytest.raises(FrameError, match="amount"):
        models.CustomerLifetimeValue(90).fit(orders.drop(columns="amount"))
    with pytest.raises(ValueError, match="horizon_days"):
        models.CustomerLifetimeValue(0).fit(orders)


@pytest.mark.req("MOD-07")
def test_value_beats_past_spend_on_later_orders(
    fitted: tuple[models.CustomerLifetimeValue, pd.DataFrame, pd.Series],
) -> None:
    """Historic, predicted and total; ranking, error and tenths on later orders beat the naive rules."""
    model, table, spent = fitted
    values = model.values(table)
    history = (table.monetary * (table.frequency + 1)).to_numpy()
    assert np.allclose(values.total, values.historic + values.predicted) and np.allclose(
        values.historic, history
    )
    average = np.full(len(spent), spent.mean())
    report = evaluate.value(spent, values.predicted, baseline=average, draws=300).set_index("metric")
    assert report.loc["gini", "difference_low"] > 0 and report.loc["mae", "difference_high"] < 0
    # A constant has no tenths to be wrong about: decile calibration is judged by itself.
    assert report.loc["decile_error", "value"] < 0.25 and report.loc["spearman", "low"] > 0.2
    assert abs(report.loc["aggregate_error", "value"]) < 0.15
    past = models.PastValue("amount_sum").fit(table, spent)
    assert models.served_value(spent, values.predicted, past.predict(table)).decided_by == "model"
    assert models.served_value(spent, past.predict(table), past.predict(table)).decided_by == "rule"


def test_intervals_hold_what_was_spent(
    fitted: tuple[models.CustomerLifetimeValue, pd.DataFrame, pd.Series],
) -> None:
    """The 80 % interval holds at least 75 % of later spends; its upper end is passed by few."""
    model, table, spent = fitted
    values = model.values(table)
    assert ((spent >= values.low) & (spent <= values.high)).mean() > 0.75
    assert 0.03 < (spent > values.high).mean() < 0.2
    assert (values.low <= values.high).all()


def test_the_future_changes_nothing() -> None:
    """Orders on the day of the score and after are not looked at, in fitting or in describing."""
    orders, end = planted(700), pd.Timestamp("2025-10-01")
    changed = pd.concat([orders, orders.assign(ts=orders.ts + pd.Timedelta(days=400), amount=1e6)])
    a, b = (models.CustomerLifetimeValue(60).fit(o, end) for o in (orders, changed))
    assert np.array_equal(a.predict(a.table(orders)), b.predict(b.table(changed)))
    days = order_days(orders)
    assert features(days, end, 60).equals(features(days[days.day < end], end, 60))


def test_a_later_unit_is_worth_less(
    fitted: tuple[models.CustomerLifetimeValue, pd.DataFrame, pd.Series],
) -> None:
    """A discount lowers each value by no more than a horizon's worth, and reasons add up to it."""
    model, table, _ = fitted
    plain = model.predict(table)
    model.set_params(discount_rate=0.5)
    dear = model.predict(table)
    model.set_params(discount_rate=0.0)
    assert ((dear < plain) & (dear > plain * 1.5 ** (-100 / 365) * 0.999)).all()
    added = np.exp(model.contributions(table.head(200)).sum(axis=1)) * model.level_["amount"]
    assert np.allclose(added, plain[:200], rtol=1e-4)


def test_the_stored_model_is_the_judged_one(
    fitted: tuple[models.CustomerLifetimeValue, pd.DataFrame, pd.Series], tmp_path: Path
) -> None:
    """A scorer read back gives the same scores, bit for bit, and says who decides."""
    model, table, spent = fitted
    rule = models.PastValue("amount_sum").fit(table, spent)
    for verdict in (models.served_value(spent, model.predict(table), rule.predict(table)),
                    models.Verdict("rule", 0.0, 1.0, 10, "gini")):  # fmt: skip
        scorer = models.ValueScorer("lifetime_value", model, rule, verdict).fit_tiers(table, "buyers")
        kept = models.ValueScorer.load(scorer.save(tmp_path / verdict.decided_by))
        one, two = (s.score(table.head(50), "2025-10-28", "1") for s in (scorer, kept))
        pd.testing.assert_frame_equal(one, two)
        assert one.decided_by.iloc[0] == ("rule" if verdict.decided_by == "rule" else "lifetime_value:1")
        assert "Gini" in verdict.sentence("en") and "Gini" in verdict.sentence("fr")


@pytest.mark.req("MOD-08")
def test_cohorts_and_sources_add_up_to_the_customers(
    orders: pd.DataFrame, fitted: tuple[models.CustomerLifetimeValue, pd.DataFrame, pd.Series]
) -> None:
    """Sums by cohort and source are those over customers; levers find the planted gaps."""
    model, table, _ = fitted
    values = model.values(table)
    told = models.summary(orders, model.observed_until_)
    source = pd.Series(np.where(told.index.astype(int) % 3, "search", None), index=told.index)
    for group in (models.cohorts(told), source):
        found = models.by_group(values, group).set_index("group")
        assert found.customers.sum() == len(values) and np.isclose(found.total.sum(), values.total.sum())
        for name, part in values.groupby(group.fillna("(unknown)")):
            assert np.isclose(found.loc[name, "total"], part.total.sum())
    levers = models.opportunities(values, models.cohorts(told))
    assert set(levers.lever) == set(models.LEVERS) and (levers.opportunity > 0).all()
    gone = levers[levers.lever == "retention"].opportunity.groupby(level=0).sum()
    assert (gone <= (values.pace * values.mean_order).reindex(gone.index) + 1e-6).all()


def test_context_reaches_those_who_never_bought() -> None:
    """What else is known at past dates is learned from, and people without an order get a value."""
    orders = planted(1200, seed=5)
    rng = np.random.default_rng(0)
    dates = pd.to_datetime(["2025-06-01", "2025-09-01", "2025-11-01"])
    people = [str(k) for k in range(1600)]
    frames = []
    for date in dates:
        soon = orders[(orders.ts >= date) & (orders.ts < date + pd.Timedelta(days=60))].person_id
        visits = np.isin(people, soon) * rng.poisson(3, len(people)) + rng.poisson(0.5, len(people))
        kind = np.where(visits > 1, "app", "site")
        frames.append(pd.DataFrame({"person_id": people, "as_of": date, "visits": visits, "device": kind}))
    context = pd.concat(frames)
    model = models.CustomerLifetimeValue(60).fit(orders, dates[2], context)
    table = model.table(orders, dates[2], context)
    assert len(table) == len(people) and table.frequency.isna().any()
    values = model.values(table, draws=20)
    new = table.frequency.isna()
    assert np.isfinite(values.drop(columns=["p_alive", "pace"])).all(axis=None)
    assert (
        values.predicted[new & (table.visits > 2)].mean() > values.predicted[new & (table.visits == 0)].mean()
    )
    with pytest.raises(NotEnoughDataError, match="past date"):
        models.CustomerLifetimeValue(60).fit(orders, dates[2], context[context.as_of == dates[2]])
