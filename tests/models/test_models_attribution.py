"""Credit: hand results on toy paths, exact sums, and increments beside planted truth."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cdpkit.errors import FaultsError
from cdpkit.models.attribution import (
    BASELINE,
    DIRECT,
    Attribution,
    ExtrapolationWarning,
    Paths,
    budget_scenario,
    calibrate,
    markov,
    of_moments,
    removal_effects,
    scorecard,
    synergies,
    value_signals,
    why,
    with_conversions,
)

DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2026-01-01")


def distance(one: np.ndarray, two: np.ndarray) -> float:
    """Total-variation distance of two credits."""
    a, b = np.asarray(one, dtype=float), np.asarray(two, dtype=float)
    return float(0.5 * np.abs(a / a.sum() - b / b.sum()).sum())


def confounded(
    n: int = 20_000, seed: int = 0, effect: float = 1.0
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Touches where two channels act and two others only meet people about to buy; a noisy hint; the truth."""
    rng = np.random.default_rng(seed)
    beta = effect * np.array([0.9, 0.5, 0.05, 0.0])
    intent, length = rng.normal(size=n), 1 + rng.poisson(1.6, n)
    person = np.repeat(np.arange(n), length)
    pull = np.outer(intent[person], [0.0, -0.2, 0.9, 1.1]) + rng.gumbel(size=(len(person), 4))
    channel = pull.argmax(axis=1)
    place = np.arange(len(person)) - np.repeat(np.cumsum(length) - length, length)
    stock = np.zeros((n, 4))
    np.add.at(stock, (person, channel), 0.8 ** (length[person] - 1 - place))
    base = -3.2 + intent
    chance = 1 / (1 + np.exp(-(base + stock @ beta)))
    bought = rng.random(n) < chance
    true = np.zeros(4)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]):
        level = base.copy()
        for k in order:
            added = level + stock[:, k] * beta[k]
            true[k] += (1 / (1 + np.exp(-added)) - 1 / (1 + np.exp(-level))).sum() / 4
            level = added
    touches = pd.DataFrame(
        {
            "person_id": person,
            "ts": (START + pd.to_timedelta(place, "D")).astype("datetime64[us]"),
            "channel": np.array(["a_social", "b_search", "c_retargeting", "d_brand"])[channel],
            "converted": (place == length[person] - 1) & bought[person],
        }
    )
    hint = pd.DataFrame({"person_id": np.arange(n), "hint": intent + 0.7 * rng.normal(size=n)})
    return touches, hint, true


@pytest.mark.req("MEA-02")
def test_every_credit_stands_side_by_side_and_agrees_with_the_hand() -> None:
    """Toy paths give the results computed by hand; credits sum to conversions; removal beats the last click."""
    toy = pd.DataFrame(
        {
            "path": ["a > b > c > d", "a > b", "b"],
            "conversions": [1, 2, 0],
            "nulls": [0, 1, 4],
            "value": [10, 30, 0],
        }
    )
    model = Attribution().fit(toy)
    table = model.table().fillna(0.0)
    u = 0.4 + 2 * 0.5
    hand = {
        "first": [3, 0, 0, 0],
        "last": [0, 2, 0, 1],
        "linear": [0.25 + 1, 0.25 + 1, 0.25, 0.25],
        "position": [u, 0.1 + 2 * 0.5, 0.1, 0.4],
        "shapley": [1.25, 1.25, 0.25, 0.25],
        # One touch of half-life later each: 1, 2, 4, 8 of 15; and 1, 2 of 3.
        "time_decay": [1 / 15 + 2 / 3, 2 / 15 + 4 / 3, 4 / 15, 8 / 15],
    }
    for method in table:
        assert math.fsum(table[method]) == 3.0, method
    for method, credit in hand.items():
        assert np.allclose(table[method].drop(BASELINE), credit), method
    # a always leads to b; from b: 2 of 8 convert, 5 end, 1 goes on to c, d and converts: 3/8 of all convert.
    # Without a, half of the paths start at b; without b or... nothing converts; without c or d, 2/8 do.
    assert np.allclose(removal_effects(Paths.of(toy), Paths.of(toy).conversions), [0.5, 1, 1 / 3, 1 / 3])
    # An honest world: one channel opens the paths that convert, another is merely last in all of them.
    rng = np.random.default_rng(0)
    n = 6000
    opened = rng.random(n) < 0.5
    bought = rng.random(n) < np.where(opened, 0.30, 0.02)
    paths = pd.DataFrame(
        {
            "path": np.where(opened, "opener > closer", "closer"),
            "conversions": bought * 1,
            "nulls": ~bought * 1,
        }
    )
    found = Attribution(orders=(1,)).fit(paths.groupby("path", as_index=False).sum()).table("share")
    true = np.array([0.02 / 0.32, 0.28 / 0.32])
    credit = found.loc[["closer", "opener"]]
    for method in ("markov_1", "shapley"):
        assert distance(credit[method], true) < distance(credit["last"], true) - 0.2, method


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 60))
@example(99, 2, 2)  # Both paths are alike.
def test_credits_sum_to_the_conversions_to_the_last_digit(seed: int, channels: int, paths: int) -> None:
    """For every method, whatever the paths, and for their value too."""
    rng = np.random.default_rng(seed)
    names = [f"c{k}" for k in range(channels)]
    frame = pd.DataFrame(
        {
            "path": [" > ".join(rng.choice(names, rng.integers(1, 6))) for _ in range(paths)],
            "conversions": rng.integers(0, 9, paths),
            "nulls": rng.integers(1, 30, paths),
            "value": rng.integers(0, 10_000, paths) / 7,
        }
    )
    frame.loc[0, "conversions"] = 3
    model = Attribution().fit(frame)
    for method, rows in model.credits_.groupby("method"):
        assert math.fsum(rows["conversions"]) == frame["conversions"].sum(), method
        assert math.fsum(rows["value"]) == pytest.approx(frame["value"].sum(), rel=1e-12), method
        assert (rows["conversions"] >= -1e-9).all()


def test_the_chain_is_solved_exactly_and_repeats_bit_for_bit() -> None:
    """The linear solve agrees with a simulation of the chain, for orders 1 to 3, and never varies."""
    rng = np.random.default_rng(1)
    rows = [" > ".join(rng.choice(list("abcd"), rng.integers(1, 5))) for _ in range(400)]
    frame = pd.DataFrame(
        {"path": rows, "conversions": rng.integers(0, 3, 400), "nulls": rng.integers(0, 5, 400)}
    )
    frame.loc[0, "conversions"] = 1
    for order in (1, 2, 3):
        one, two = Paths.of(frame), Paths.of(frame.sample(frac=1, random_state=0))
        exact = removal_effects(one, one.conversions, order)
        assert np.array_equal(exact, removal_effects(two, two.conversions, order))
        assert np.array_equal(markov(one, one.conversions, order), markov(two, two.conversions, order))
    simulated = _simulate(frame, 60_000)
    one = Paths.of(frame)
    assert np.allclose(removal_effects(one, one.conversions), simulated, atol=0.03)


def _simulate(frame: pd.DataFrame, walks: int) -> np.ndarray:
    """Walk the first-order chain many times, and count what each removal loses."""
    counts: dict[str, dict[str, float]] = {}
    for row in frame.itertuples():
        steps = ["(start)", *row.path.split(" > ")]
        for a, b in pairwise(steps):
            counts.setdefault(a, {})[b] = counts.get(a, {}).get(b, 0) + row.conversions + row.nulls
        ends = counts.setdefault(steps[-1], {})
        ends["(yes)"] = ends.get("(yes)", 0) + row.conversions
        ends["(no)"] = ends.get("(no)", 0) + row.nulls
    rng = np.random.default_rng(0)
    names = list("abcd")
    moves = {a: (list(to), np.cumsum(list(to.values())) / sum(to.values())) for a, to in counts.items()}
    lost, won = np.zeros(4), 0
    for _ in range(walks):
        at, seen = "(start)", set()
        while at not in ("(yes)", "(no)"):
            to, cut = moves[at]
            at = to[int(np.searchsorted(cut, rng.random()))]
            seen.add(at)
        if at == "(yes)":
            won += 1
            lost += [name in seen for name in names]
    return lost / won


@pytest.mark.req("MEA-03")
def test_the_shift_from_the_last_click_sums_to_zero() -> None:
    """What some channels gain the others lose, for each data-driven credit."""
    touches, hint, _ = confounded(3000)
    model = Attribution().fit(touches, intent=hint)
    for method in ("markov_1", "markov_3", "shapley", "incremental"):
        shift = model.shift(method)
        assert math.fsum(shift["shift"]) == 0.0
        assert np.allclose(shift["from"] + shift["shift"], shift["to"], atol=1e-9)
    assert BASELINE in set(model.shift("incremental")["channel"])
    assert model.shift()["shift"].abs().max() > 1


def test_the_incremental_credit_is_near_the_truth_where_paths_are_not() -> None:
    """With a noisy hint of intent the distance to the truth falls far below that of paths and last click."""
    touches, hint, true = confounded()
    model = Attribution(orders=(1,)).fit(touches, intent=hint)
    table = model.table().drop(BASELINE)
    mended = distance(table["incremental"], true)
    plain = Attribution(orders=(1,), intent_noise=None).fit(touches, intent=hint).table().drop(BASELINE)
    assert mended < 0.12 < distance(table["last"], true)
    assert mended < distance(plain["incremental"], true) < distance(table["markov_1"], true)
    assert 0.2 < model.incremental_.noise < 0.5
    assert model.verdict_.decided_by == "model"
    assert model.served()["decided_by"].eq("model").all()
    assert model.incremental_.table.set_index("channel")["found"].loc["a_social"]


def test_without_effect_or_without_intent_nothing_is_claimed() -> None:
    """Channels that only meet people about to buy are credited with nothing; neither is anyone blind to intent."""
    alarms = 0
    for seed in range(12):
        touches, hint, _ = confounded(4000, seed, effect=0.0)
        alarms += Attribution(orders=()).fit(touches, intent=hint).verdict_.decided_by == "model"
    assert alarms <= 1
    touches, _, _ = confounded(4000)
    blind = Attribution(orders=()).fit(touches)
    assert blind.verdict_.decided_by == "rule" and not blind.incremental_.with_intent
    assert np.allclose(blind.served()["conversions"], blind.table()["last"].drop(BASELINE))


def test_channels_people_come_by_themselves_are_intent() -> None:
    """Declared navigational, a channel gets no credit, and its touches are held against the others'."""
    touches, hint, _ = confounded(6000)
    model = Attribution(orders=(), navigational=("d_brand",)).fit(touches, intent=hint)
    credit = model.table()["incremental"]
    assert credit["d_brand"] == 0 and "d_brand" not in set(model.incremental_.table["channel"])
    assert credit["a_social"] > 0


def test_moments_see_those_left_alone() -> None:
    """With people no ad reached among the units, a planted effect is found and an idle channel is not."""
    rng = np.random.default_rng(0)
    n, days = 1500, 60
    shown = {c: rng.random((n, days)) < p for c, p in (("social", 0.05), ("idle", 0.05))}
    stock = np.zeros((n, days))
    for d in range(1, days):
        stock[:, d] = (stock[:, d - 1] + shown["social"][:, d - 1]) * 0.5 ** (1 / 3)
    bought = rng.random((n, days)) < 1 / (1 + np.exp(4.6 - 1.2 * stock))
    rows = [
        (i, START + d * DAY + pd.Timedelta(hours=8), c)
        for c, table in shown.items()
        for i, d in zip(*np.nonzero(table), strict=True)
    ]
    touches = pd.DataFrame(rows, columns=["person_id", "ts", "channel"]).astype({"ts": "datetime64[us]"})
    orders = pd.DataFrame(
        [(i, START + d * DAY + pd.Timedelta(hours=6)) for i, d in zip(*np.nonzero(bought), strict=True)],
        columns=["person_id", "ts"],
    ).astype({"ts": "datetime64[us]"})
    moments = pd.DataFrame(
        {"person_id": np.repeat(np.arange(n), days), "ts": np.tile([START + d * DAY for d in range(days)], n)}
    )
    moments = moments.assign(hint=rng.normal(size=len(moments)), ts=moments["ts"].astype("datetime64[us]"))
    units = {life: of_moments(touches, orders, moments, half_life=life) for life in (1.0, 3.0)}
    model = Attribution(orders=()).fit(with_conversions(touches, orders), moments=units)
    effects = model.incremental_.table.set_index("channel")
    assert effects.loc["social", "found"] and not effects.loc["idle", "found"]
    assert effects.loc["social", "half_life"] == 3.0
    assert effects.loc["social", "effect"] == pytest.approx(1.2, abs=0.3)
    alone = 1 / (1 + np.exp(4.6))
    true = bought.sum() - alone * n * days
    assert effects.loc["social", "added"] == pytest.approx(true, rel=0.35)


@pytest.mark.req("WHR-14")
def test_store_orders_are_credited_to_the_touches_before_them() -> None:
    """A planted effect on store orders is attributed to its channel; every order counts once."""
    rng = np.random.default_rng(0)
    n = 4000
    seen = rng.random(n) < 0.5
    store = rng.random(n) < np.where(seen, 0.12, 0.04)
    online = rng.random(n) < 0.05
    touches = pd.concat(
        [
            pd.DataFrame({"person_id": np.flatnonzero(seen), "ts": START, "channel": "social"}),
            pd.DataFrame(
                {"person_id": np.flatnonzero(rng.random(n) < 0.5), "ts": START + DAY, "channel": "display"}
            ),
        ]
    ).astype({"ts": "datetime64[us]"})
    orders = pd.concat(
        [
            pd.DataFrame({"person_id": np.flatnonzero(store), "ts": START + 5 * DAY, "value": 30.0}),
            pd.DataFrame({"person_id": np.flatnonzero(online), "ts": START + 9 * DAY, "value": 50.0}),
        ]
    ).astype({"ts": "datetime64[us]"})
    joined = with_conversions(touches, orders)
    assert joined["converted"].sum() == len(orders)
    assert joined["value"].sum() == orders["value"].sum()
    assert len(joined) == len(touches) + (joined["channel"] == DIRECT).sum()
    in_store = with_conversions(touches, orders[orders["value"] == 30.0])
    intent = pd.DataFrame({"person_id": np.arange(n), "hint": rng.normal(size=n)})
    model = Attribution(orders=(1,)).fit(in_store[in_store["channel"] != DIRECT], intent=intent)
    effects = model.incremental_.table.set_index("channel")
    assert effects.loc["social", "found"] and not effects.loc["display", "found"]
    credit = Attribution(orders=(1,)).fit(in_store).table()
    assert credit.loc["social", "shapley"] > 1.5 * credit.loc["display", "shapley"]
    late = with_conversions(touches, orders.assign(ts=START + 60 * DAY), lookback_days=30)
    assert (late.loc[late["converted"], "channel"] == DIRECT).all()


@pytest.mark.req("WHR-02")
def test_a_planted_synergy_is_detected() -> None:
    """The pair that does more together is found, the pairs that only add up are not."""
    rng = np.random.default_rng(0)
    n = 30_000
    held = rng.random((n, 4)) < 0.4
    odds = -3 + held @ np.array([0.4, 0.3, 0.3, 0.2]) + 0.8 * (held[:, 0] & held[:, 1])
    bought = rng.random(n) < 1 / (1 + np.exp(-odds))
    held, bought = held[held.any(axis=1)], bought[held.any(axis=1)]
    frame = pd.DataFrame(
        {
            "path": [" > ".join(np.array(list("abcd"))[row]) for row in held],
            "conversions": bought * 1,
            "nulls": ~bought * 1,
        }
    )
    found = synergies(Paths.of(frame.groupby("path", as_index=False).sum()))
    assert found.loc[0, ["first", "second"]].tolist() == ["a", "b"] and found.loc[0, "found"] == 1
    assert found.loc[0, "interaction"] == pytest.approx(0.8, abs=0.3)
    assert (found["found"].iloc[1:] != 1).all()


@pytest.mark.req("WHR-02")
@pytest.mark.parametrize(("pair", "found"), [(500, 1), (190, 0), (60, -1)])
def test_a_pair_is_judged_where_no_path_tells_the_rate_without_a_channel(pair: int, found: int) -> None:
    """Every path holds a channel: the rate of paths with neither stands for the rate without any."""
    table = pd.DataFrame(
        {"path": ["a", "b", "a > b", "c", "direct"], "conversions": [100, 100, pair, 50, 50]}
    )
    told = synergies(Paths.of(table.assign(nulls=1000 - table["conversions"])))
    assert told[["first", "second", "found", "against"]].values.tolist() == [
        ["a", "b", found, "paths with neither"]
    ]
    # By hand: odds of 1 to 9 for each alone and 1 to 19 for neither make 19 to 81 for the two together.
    by_hand = np.log(pair / (1000 - pair)) - np.log(19 / 81)
    assert told["interaction"].iloc[0] == pytest.approx(by_hand, abs=0.02)
    assert told["se"].iloc[0] < 0.3


@pytest.mark.parametrize("rates", [(0.1, 0.1), (0.02, 0.2)])
def test_pairs_without_synergy_are_found_no_more_often_than_chance(rates: tuple[float, float]) -> None:
    rng, odds = np.random.default_rng(3), np.log(np.array(rates) / (1 - np.array(rates)))
    neither, alarms = np.log(0.05 / 0.95), 0
    chance = 1 / (1 + np.exp(-np.array([*odds, odds.sum() - neither, neither, neither])))
    for _ in range(200):
        won = rng.binomial(800, chance)
        table = pd.DataFrame(
            {"path": ["a", "b", "a > b", "c", "direct"], "conversions": won, "nulls": 800 - won}
        )
        alarms += int(synergies(Paths.of(table))["found"].ne(0).any())
    # Nominal 5 %, two-sided: 10 of 200 expected, over 19 is one chance in two hundred.
    assert alarms <= 19


@pytest.mark.req("WHR-04")
def test_the_scorecard_sums_to_the_conversions_and_says_why() -> None:
    """Each credit's column sums to the conversions; the words follow the figures, in both languages."""
    touches, hint, _ = confounded(12_000)
    model = Attribution(orders=(1,)).fit(touches, intent=hint)
    spend = pd.Series({"a_social": 1000.0, "b_search": 500.0, "c_retargeting": 800.0, "d_brand": 200.0})
    card = scorecard(model.paths_, model.credits_, model.incremental_.table, spend)
    total = touches["converted"].sum()
    for column in card.columns[card.columns.str.startswith("credit_")]:
        rest = 0.0 if column != "credit_incremental" else model.table()["incremental"][BASELINE]
        assert math.fsum(card[column]) + rest == pytest.approx(total, abs=1e-6), column
    row = card.set_index("channel").loc["a_social"]
    assert row["cost_per_added"] == pytest.approx(1000 / row["added"])
    for channel in card["channel"]:
        told = {language: why(card, channel, language) for language in ("fr", "en")}
        assert len(told["fr"]) == len(told["en"]) >= 1 and told["fr"] != told["en"]
    assert "would not have come" in why(card, "a_social", "en")[0]
    assert "nothing shows" in why(card, "d_brand", "en")[0]


@pytest.mark.req("MEA-04")
def test_a_budget_scenario_spends_what_it_may_and_says_when_it_guesses() -> None:
    """The total is met, returns diminish, marginal returns are level where free, extrapolation warns."""
    spend = {"a": 100.0, "b": 300.0, "c": 50.0}
    added = {"a": 40.0, "b": 45.0, "c": 10.0}
    for total in (300.0, 450.0, 600.0):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plan = budget_scenario(spend, added, total)
        assert plan["budget"].sum() == pytest.approx(total) and (plan["label"] == "scenario").all()
        assert (plan["change"].abs() <= 0.5 + 1e-9).all()
        free = plan["change"].abs() < 0.5 - 1e-6
        assert np.ptp(plan.loc[free, "marginal"]) < 1e-3 * plan["marginal"].max() if free.sum() > 1 else True
    grid = [
        sum(added[c] * (x / spend[c]) ** 0.5 for c, x in zip("abc", (a, b, 450 - a - b), strict=True))
        for a in np.linspace(50, 150, 41)
        for b in np.linspace(150, 450, 61)
        if 25 <= 450 - a - b <= 75
    ]
    assert budget_scenario(spend, added, 450.0)["expected"].sum() >= max(grid) - 1e-6
    with pytest.warns(ExtrapolationWarning, match="a"):
        plan = budget_scenario(spend, added, 450.0, seen={"a": (90, 110), "b": (100, 400), "c": (10, 90)})
    assert plan.set_index("channel")["extrapolates"].to_dict() == {"a": True, "b": False, "c": False}
    with pytest.raises(FaultsError, match="total"):
        budget_scenario(spend, added, 5000.0)


def test_tests_have_the_last_word() -> None:
    """A sure test moves its channel to what it found, an unsure one hardly; the others follow the ratio."""
    effects = pd.DataFrame(
        {"channel": ["a", "b", "c"], "added": [100.0, 80.0, 60.0], "low": [80.0] * 3, "high": [120.0] * 3}
    )
    sure = calibrate(effects, pd.DataFrame({"channel": ["a"], "added": [20.0], "se": [1.0]})).set_index(
        "channel"
    )
    assert sure.loc["a", "added"] == pytest.approx(20, abs=2) and sure.loc["b", "added"] == pytest.approx(
        16, abs=0.5
    )
    vague = calibrate(effects, pd.DataFrame({"channel": ["a"], "added": [20.0], "se": [500.0]})).set_index(
        "channel"
    )
    assert vague.loc["a", "added"] > 95
    with pytest.raises(FaultsError, match="`z`"):
        calibrate(effects, pd.DataFrame({"channel": ["z"], "added": [1.0], "se": [1.0]}))


@pytest.mark.req("MOD-34")
def test_value_signals_hold_to_their_schema() -> None:
    """Tenths share one value and sum to the whole; every fault is told."""
    rng = np.random.default_rng(0)
    people = pd.DataFrame(
        {"person_id": [f"p{i}" for i in range(1000)], "value_minor": rng.exponential(5000, 1000)}
    )
    told = value_signals(people, currency="EUR")
    assert told.columns.tolist() == ["person_id", "decile", "value_minor", "currency"]
    assert (told.groupby("decile")["value_minor"].nunique() == 1).all() and (
        told.groupby("decile").size() == 100
    ).all()
    assert told["value_minor"].sum() == pytest.approx(people["value_minor"].sum(), rel=1e-3)
    with pytest.raises(FaultsError) as caught:
        value_signals(people.assign(value_minor=-1.0, person_id="p"), currency="euro")
    assert len(caught.value.faults) == 3


def test_paths_are_cut_at_conversions_and_read_alike() -> None:
    """Touches and the paths they make give the same credit."""
    touches, _, _ = confounded(3000)
    paths = Paths.of(touches)
    joined = pd.Series(paths.channels[paths.channel]).groupby(paths.of_touch).agg(" > ".join)
    frame = pd.DataFrame({"path": joined, "conversions": paths.conversions, "nulls": paths.nulls})
    one = Attribution().fit(touches).table()
    two = Attribution().fit(frame.groupby("path", as_index=False).sum()).table()
    for method in ("first", "last", "linear", "position", "markov_1", "markov_3", "shapley"):
        assert np.allclose(one[method].dropna(), two[method].dropna()), method
    positions = Attribution().fit(touches).positions()
    assert np.allclose(positions.groupby("channel")["credit"].sum(), one["shapley"].dropna())
