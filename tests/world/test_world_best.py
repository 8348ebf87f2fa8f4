"""The references models are measured against: above a rule, below the oracle, equal to closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit import world
from cdpkit.errors import CdpkitError
from cdpkit.world.best import CAPABILITIES, best
from cdpkit.world.observe import observe
from cdpkit.world.reduced import REDUCED, closed_form

AS_OF = "2025-11-01"
DATES = {"start": "2025-04-01", "end": "2026-02-15"}


def cross_entropy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Expected log-loss of a score where the true chance is `p`."""
    q = np.clip(q, 1e-9, 1 - 1e-9)
    return -(p * np.log(q) + (1 - p) * np.log1p(-q))


def gini(spend: np.ndarray, score: np.ndarray) -> float:
    """Gini of spend when persons are ranked by a score."""
    share = np.cumsum(spend[np.argsort(-score, kind="stable")]) / spend.sum()
    return float(2 * share.mean() - 1)


@pytest.fixture(scope="module")
def reduced() -> world.World:
    """A world whose only unknown is each person's rate of store orders."""
    return world.generate(1500, seed=2, preset="null", changes=REDUCED, **DATES)


@pytest.fixture(scope="module")
def retail() -> world.World:
    """A small retail world."""
    return world.generate(700, seed=2, **DATES)


def test_the_learner_reaches_the_closed_form(reduced: world.World) -> None:
    """In the reduced world the fitted score loses under a twentieth of what there is to gain."""
    exact = closed_form(reduced, AS_OF).set_index("person")
    found = best(reduced, "appetence", AS_OF, times=6, replicates=4).set_index("person")
    p = exact.appetence.reindex(found.index).to_numpy()
    floor = cross_entropy(p, p).mean()
    lost = cross_entropy(p, found.best.to_numpy()).mean() - floor
    base = cross_entropy(p, np.full(len(p), p.mean())).mean() - floor
    assert lost < 0.05 * base
    assert found.best_se.mean() < 0.02


def test_the_value_learned_ranks_like_the_closed_form(reduced: world.World) -> None:
    """Expected spend follows the expected orders of the closed form."""
    exact = closed_form(reduced, AS_OF).set_index("person")
    found = best(reduced, "value", AS_OF, horizon_days=60, times=4, replicates=6).set_index("person")
    expected = exact.expected.reindex(found.index).to_numpy()
    assert gini(expected, found.best.to_numpy()) > 0.96 * gini(expected, expected)
    assert gini(found.oracle.to_numpy(), found.oracle.to_numpy()) > gini(expected, expected)


def test_the_closed_form_is_calibrated(reduced: world.World) -> None:
    """Persons with so many orders order again as often as the closed form says."""
    exact = closed_form(reduced, AS_OF)
    orders = reduced.truth["orders"]
    start = pd.Timestamp(AS_OF)
    later = orders[(orders.ordered_at >= start) & (orders.ordered_at < start + pd.Timedelta(days=30))]
    y = exact.person.isin(later.person)
    group = exact.assign(y=y, g=exact.orders.clip(upper=4)).groupby("g")
    table = group.agg(p=("appetence", "mean"), y=("y", "mean"), n=("y", "size"))
    assert ((table.y - table.p).abs() < 4 * np.sqrt(table.p * (1 - table.p) / table.n)).all(), table


@pytest.mark.parametrize("capability", ["appetence", "churn"])
def test_scores_lie_between_rule_and_oracle(retail: world.World, capability: str) -> None:
    """Expected log-loss: the rule by recency, at its best, loses to `best`, and `best` to the oracle."""
    found = best(retail, capability, AS_OF, times=3, replicates=6)
    seen = observe(retail.plan, 0, retail.plan.n_persons, retail.plan.day_of(AS_OF))
    recency = pd.Series(seen.table[:, seen.names.index("visits last")]).reindex(found.person).to_numpy()
    p = found.oracle.to_numpy()
    rule = found.groupby(pd.qcut(recency, 6, duplicates="drop", labels=False)).oracle.transform("mean")
    losses = [cross_entropy(p, q).mean() for q in (rule.to_numpy(), found.best.to_numpy(), p)]
    assert losses[0] > losses[1] > losses[2], losses


def test_value_lies_between_rule_and_oracle(retail: world.World) -> None:
    """Gini of true spend: past orders rank worse than `best`, and `best` worse than the oracle."""
    found = best(retail, "value", AS_OF, times=3, replicates=6)
    seen = observe(retail.plan, 0, retail.plan.n_persons, retail.plan.day_of(AS_OF))
    past = seen.table[:, [seen.names.index(n) for n in ("orders 300", "store 300")]].sum(axis=1)
    spend = found.oracle.to_numpy()
    rule = gini(spend, past[found.person])
    assert rule < gini(spend, found.best.to_numpy()) < gini(spend, spend)


def test_hours_lie_between_the_best_single_hour_and_the_oracle() -> None:
    """Expected clicks: one hour for all, the posterior, the latents; with many visits the last two meet."""
    usual = world.generate(2000, seed=2, **DATES)
    often = world.generate(400, seed=2, changes={"behaviour": {"session_rate": 0.6}}, **DATES)
    shares = []
    for made in (usual, often):
        found = best(made, "send_time", AS_OF)
        options = found.filter(like="option ")
        rule, reached, top = options.mean().max(), found.best.mean(), found.oracle.mean()
        assert rule < reached < top
        shares.append((reached - rule) / (top - rule))
    assert shares[0] > 0.2 and shares[1] > max(0.8, shares[0])


@pytest.mark.parametrize("capability", ["uplift", "pressure"])
def test_decisions_lie_between_one_choice_for_all_and_the_oracle(capability: str) -> None:
    """True outcome of the choices: `best` is at least the best single one, within its error; the oracle gains."""
    strong = {"messages": {"persuadable_effect": 2.5, "sleeping_dog_effect": -2.5, "sleeping_dog": 0.35}}
    made = world.generate(500, seed=2, changes=strong, **DATES)
    found = best(made, capability, AS_OF, times=4, replicates=10, horizon_days=30)
    options = found.filter(like="option ")
    names = [f"option {name}" for name in CAPABILITIES[capability].options]
    assert list(options) == names
    rule = options[options.mean().idxmax()]
    gap = found.best - rule
    assert gap.mean() >= -2 * gap.std() / np.sqrt(len(gap))
    chosen = options.to_numpy()[
        np.arange(len(found)), [names.index(f"option {c}") for c in found.best_choice]
    ]
    np.testing.assert_allclose(found.best, chosen)
    assert found.oracle.mean() > max(rule.mean(), 0.0)
    assert found.best.mean() < options.max(axis=1).mean()


@pytest.mark.parametrize("capability", ["uplift", "pressure"])
def test_nothing_is_sent_where_nothing_acts(capability: str) -> None:
    """In a null world a message only costs: `best` sends none, and the oracle neither."""
    made = world.generate(200, seed=2, preset="null_effects", **DATES)
    found = best(made, capability, AS_OF, times=2, replicates=2, horizon_days=30)
    nothing = CAPABILITIES[capability].options[0]
    assert len(found) > 40 and (found.oracle_choice == nothing).all()
    assert (found.best_choice == nothing).mean() > 0.9


def test_best_depends_on_its_arguments_only(retail: world.World) -> None:
    """The same call gives the same scores, whatever the chunks."""
    made = world.generate(60, seed=2, **DATES)
    parts = world.generate(60, seed=2, chunk_size=36, **DATES)
    one, two = (best(w, "appetence", AS_OF, times=2, replicates=2) for w in (made, parts))
    pd.testing.assert_frame_equal(one[["person", "oracle"]], two[["person", "oracle"]])
    pd.testing.assert_frame_equal(one, best(made, "appetence", AS_OF, times=2, replicates=2))


def test_observations_do_not_see_the_future(retail: world.World) -> None:
    """What is known at a date does not change when the world goes on, and no latent is among it."""
    day = retail.plan.day_of(AS_OF)
    short = world.generate(700, seed=2, **DATES | {"end": "2025-12-01"})
    one, two = (observe(w.plan, 0, 300, day) for w in (retail, short))
    shared = np.isfinite(one.table) & (one.stage.behaviour.persons.born < 0)[:, None]
    assert one.names == two.names and shared.any()
    z = one.stage.state.z
    for k, name in enumerate(one.names):
        column = one.table[:, k]
        if column.std() > 0:
            assert abs(np.corrcoef(column, z)[0, 1]) < 0.9, name


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"capability": "telepathy"}, "send_time"),
        ({"capability": "appetence", "as_of": "2025-04-03"}, "as_of"),
        ({"capability": "value", "as_of": "2026-01-15"}, "horizon"),
        ({"capability": "churn", "times": 1}, "times"),
        ({"capability": "churn", "replicates": 1}, "replicates"),
    ],
)
def test_what_has_no_reference_is_refused(retail: world.World, arguments: dict, word: str) -> None:
    """An unknown capability names those that exist; dates and sizes are checked before any work."""
    capability = arguments.pop("capability")
    as_of = arguments.pop("as_of", AS_OF)
    with pytest.raises(CdpkitError, match=word):
        best(retail, capability, as_of, **arguments)
    with pytest.raises(CdpkitError, match="reduced"):
        closed_form(retail, AS_OF)
