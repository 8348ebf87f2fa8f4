"""The references of lists, likeness and credit: above the rule, below the oracle, and true where known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit import world
from cdpkit.evaluate import achieved
from cdpkit.models import Attribution, Recommender
from cdpkit.models.attribution import of_moments, with_conversions
from cdpkit.world.best import CAPABILITIES, best
from cdpkit.world.best_attribution import observed
from cdpkit.world.best_recommendation import discounts, seen

AS_OF = "2025-12-20"
DATES = {"start": "2025-07-01", "end": "2026-01-01"}


@pytest.fixture(scope="module")
def retail() -> world.World:
    """A small retail world."""
    return world.generate(1500, seed=4, **DATES)


def test_the_best_list_lies_between_popularity_and_the_oracle(retail: world.World) -> None:
    """The posterior of tastes beats what everybody buys, and knows less than the tastes themselves."""
    told = best(retail, "recommendation", AS_OF)
    options = told[[c for c in told if c.startswith("option ")]].to_numpy()
    assert np.allclose(options.sum(axis=1), 1)
    known = seen(retail, AS_OF)
    assert known["ts"].max() < pd.Timestamp(AS_OF)
    top = pd.Index(retail.plan.shop.ids).get_indexer(known["product_id"].value_counts().index[:10])
    rule = options[:, top] @ discounts()
    assert (told["best"] <= told["oracle"] + 1e-9).all()
    assert told["best"].mean() > rule.mean() + 4 * (told["best"] - rule).std() / np.sqrt(len(told))
    assert told["best_se"].mean() < 0.05 * told["best"].mean()


def test_the_recommender_achieves_most_of_what_can_be(retail: world.World) -> None:
    """Three fifths or more of the gain within reach over recent popularity."""
    told = best(retail, "recommendation", AS_OF).set_index("person")
    known = seen(retail, AS_OF).rename(columns={"person": "person_id"})
    model = Recommender(min_buyers=3).fit(known[["person_id", "product_id", "ts"]], as_of=pd.Timestamp(AS_OF))
    persons = [p for p in told.index if p in model.seen_.persons]
    options = told.loc[persons, [c for c in told if c.startswith("option ")]]
    place = pd.Index(retail.plan.shop.ids).get_indexer(model.products_)
    ranked = place[model.rank(persons, 10, new_only=False)]
    mine = np.take_along_axis(options.to_numpy(), ranked, 1) @ discounts()
    popular = pd.Index(retail.plan.shop.ids).get_indexer(model.popular(10)["product_id"])
    rule = options.to_numpy()[:, popular] @ discounts()
    share = achieved(mine, rule, told.loc[persons, "best"], higher_is_better=True, draws=200)
    assert share["share"].item() > 0.6


def test_the_credit_of_the_world_is_that_of_its_truth(retail: world.World) -> None:
    """Channels and baseline sum to the orders of the period; brand search brings nothing; null brings none."""
    told = best(retail, "attribution", "2025-09-01", horizon_days=90).set_index("channel")
    made = retail.truth["credits"]
    inside = made["bought_on"].between(pd.Timestamp("2025-09-01"), pd.Timestamp("2025-11-29"))
    assert told["best"].sum() == pytest.approx(inside.sum())
    assert told.loc["brand_search", "best"] == 0 and told.loc["social", "best"] > 0
    null = world.generate(300, seed=1, preset="null_effects", **DATES)
    silent = best(null, "attribution", "2025-09-01").set_index("channel")["best"]
    assert silent.drop("(baseline)").abs().max() < 1e-9


@pytest.mark.parametrize("preset", ["null", "null_effects"])
def test_nothing_is_credited_where_nothing_acts(preset: str) -> None:
    """Incremental attribution claims nothing in worlds where no treatment acts."""
    for seed in (1, 2):
        silent = world.generate(1000, seed=seed, preset=preset, **DATES)
        touches, orders, moments = observed(silent, "2025-09-01", "2026-01-01")
        units = {life: of_moments(touches, orders, moments, half_life=life) for life in (2.0, 7.0)}
        orders = orders[orders["ts"] >= pd.Timestamp("2025-09-01")]
        model = Attribution(orders=(1,), navigational=("brand_search",))
        model.fit(with_conversions(touches, orders), moments=units)
        assert model.verdict_.decided_by == "rule" and not model.incremental_.table["found"].any()


def test_a_lookalike_is_measured_against_the_chance_of_doing_alike(retail: world.World) -> None:
    """The likeness to buyers is at best their chance to buy."""
    assert CAPABILITIES["lookalike"].horizon_days == 60
    small = world.generate(200, seed=4, **DATES)
    one, two = (
        best(small, name, "2025-10-01", horizon_days=30, times=2, replicates=2)
        for name in ("lookalike", "appetence")
    )
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.req("WHE-14", "WHE-15")
def test_the_best_series_is_the_one_planted(retail: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Played on the same people and luck, the planted order and gap bring most; nothing acts in a null."""
    monkeypatch.setattr("cdpkit.world.best_sequence.PEOPLE", 80)
    told = best(retail, "sequence", "2025-09-01", replicates=2)
    assert len(told) == 120 * 5 and told["order"].nunique() == 120
    rule = retail.plan.rules.welcome
    top = told.loc[told["best"].idxmax()]
    assert top["order"] == " > ".join("ABCDE"[m] for m in rule.best_order)
    assert top["gap_days"] == rule.best_gap and top["best"] > 0
    still = world.generate(300, seed=4, preset="null_effects", **DATES)
    assert (best(still, "sequence", "2025-09-01", replicates=2)["best"] == 0).all()
