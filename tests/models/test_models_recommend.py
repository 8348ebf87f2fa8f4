"""The next product: planted pairs, lists that win, stock, ladders, reasons, and the rule it must beat."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from cdpkit.errors import CdpkitError, FaultsError
from cdpkit.evaluate import list_gains, lists
from cdpkit.models import ChannelAffinity, served
from cdpkit.models.recommend import (
    Complements,
    Interactions,
    Recommender,
    association_rules,
    compare_rules,
    ladder,
    reason_words,
)

NOW = pd.Timestamp("2026-05-01")


def baskets(seed: int = 0, pair: float = 0.5, persons: int = 600) -> pd.DataFrame:
    """Baskets of people with tastes, where a tent brings a stove, and popularity drifts."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(persons):
        taste = person % 4
        for _ in range(rng.poisson(5) + 1):
            at = NOW - pd.Timedelta(minutes=int(rng.integers(1, 120 * 1440)))
            if rng.random() < 0.15:
                rows.append((person, "tent", at))
                if rng.random() < pair:
                    rows.append((person, "stove", at))
            for _ in range(1 + rng.poisson(0.5)):
                taste_of = taste if rng.random() < 0.8 else int(rng.integers(4))
                rows.append((person, f"item_{taste_of}{int(rng.integers(9))}", at))
    frame = pd.DataFrame(rows, columns=["person_id", "product_id", "ts"])
    return frame.assign(
        person_id=[f"p{p}" for p in frame["person_id"]], ts=frame["ts"].astype("datetime64[us]")
    )


@pytest.fixture(scope="module")
def bought() -> pd.DataFrame:
    """Purchases with a planted pair."""
    return baskets()


@pytest.fixture(scope="module")
def model(bought: pd.DataFrame) -> Recommender:
    """A recommender of the planted purchases."""
    return Recommender().fit(bought, as_of=NOW)


@pytest.mark.req("MOD-09")
def test_pairs_are_found_and_the_marketer_has_the_last_word(bought: pd.DataFrame, model: Recommender) -> None:
    """The planted pair is proposed; a list replaces what was learned; an unknown product is refused."""
    rules = model.rules_
    assert rules.loc[0, ["antecedent", "consequent"]].tolist() in (["tent", "stove"], ["stove", "tent"])
    row = rules[(rules["antecedent"] == "tent") & (rules["consequent"] == "stove")].iloc[0]
    assert abs(row["confidence"] - 0.5) < 0.07 and row["lift"] > 3
    own = Complements.parse('[lists]\ntent = ["item_00"]\n')
    assert own.table(rules)["tent"] == ["item_00"]
    assert "tent" not in set(own.proposals(rules)["antecedent"])
    last = bought.sort_values("ts").groupby("person_id")
    late = [p for p, rows in last if "tent" in set(rows.loc[rows["ts"] == rows["ts"].max(), "product_id"])]
    without = model.recommend(late, 3)
    with_list = model.recommend(late, 3, complements=own)
    first = with_list[with_list["rank"] == 1].set_index("person_id")
    owners = set(bought.loc[bought["product_id"] == "item_00", "person_id"])
    new = [p for p in late if p not in owners]
    assert len(new) > 5
    assert (first.loc[new, "product_id"] == "item_00").all() and (
        first.loc[new, "decided_by"] == "marketer"
    ).all()
    assert not (without["decided_by"] == "marketer").any()
    banned = model.recommend(late, 10, complements=Complements(never={"tent": ["stove"]}))
    assert "stove" not in set(banned["product_id"])
    for lists_ in (
        Complements({"tent": ["stov"]}),
        Complements({"tnt": ["stove"]}),
        Complements(never={"tent": ["x"]}),
    ):
        with pytest.raises(FaultsError, match="must be in the catalogue"):
            model.recommend(late, complements=lists_)


def test_lists_that_contradict_themselves_are_refused() -> None:
    """All the faults of the marketer's file are told at once."""
    with pytest.raises(FaultsError) as caught:
        Complements.parse('[lists]\na = ["a", "b", "b"]\nc = ["d"]\n[never]\nc = ["d"]\n')
    assert len(caught.value.faults) >= 2
    with pytest.raises(FaultsError, match="TOML"):
        Complements.parse("tent: stove")
    with pytest.raises(FaultsError, match="lists or never"):
        Complements.parse('[list]\na = ["b"]')


def test_rules_of_chance_are_few() -> None:
    """In baskets without a pair or a taste, hardly a rule is found."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "person_id": np.repeat(np.arange(4000), 3),
            "product_id": [f"i{k}" for k in rng.integers(40, size=12_000)],
            "ts": NOW,
        }
    )
    assert len(association_rules(Interactions.of(frame))) <= 4


@pytest.mark.req("MOD-10")
def test_the_difference_with_the_last_time_tells_new_and_lost_rules() -> None:
    """A pair that appears is new, one that ceases is lost, one that stays is kept."""
    before = association_rules(Interactions.of(baskets(1, pair=0.5)))
    swapped = baskets(2, pair=0.5).replace({"product_id": {"stove": "lamp"}})
    after = association_rules(Interactions.of(swapped))
    told = compare_rules(before, after).set_index(["antecedent", "consequent"])["status"]
    assert told[("tent", "lamp")] == "new" and told[("tent", "stove")] == "lost"
    again = compare_rules(before, before)
    assert set(again["status"]) == {"kept"} and len(again) == len(before)


@pytest.mark.req("MOD-35")
def test_lists_beat_popularity_on_later_purchases() -> None:
    """Recall and NDCG on the days after, which the model did not see, are above recent popularity."""
    frame = baskets(3, persons=900)
    cut = NOW - pd.Timedelta(days=25)
    model = Recommender().fit(frame, as_of=cut)
    later = frame[(frame["ts"] >= cut) & frame["person_id"].isin(model.seen_.persons)]
    later = later[later["product_id"].isin(model.products_)]
    persons = pd.Index(sorted(later["person_id"].unique()))
    truth = np.zeros((len(persons), len(model.products_)), dtype=bool)
    truth[persons.get_indexer(later["person_id"]), model.products_.get_indexer(later["product_id"])] = True
    mine = list_gains(model.rank(list(persons), 10, new_only=False), truth)
    popular = model.products_.get_indexer(model.popular(10)["product_id"])
    rule = list_gains(np.tile(popular, (len(persons), 1)), truth)
    table = lists(mine, rule).set_index("metric")
    for metric in ("ndcg", "recall"):
        assert table.loc[metric, "difference_low"] > 0, metric
    assert model.verdicts_["new"].decided_by == "model"


def test_the_future_does_not_count(bought: pd.DataFrame) -> None:
    """Purchases after `as_of` change nothing."""
    cut = NOW - pd.Timedelta(days=20)
    one = Recommender().fit(bought, as_of=cut).recommend(["p1", "p2"], 3)
    two = Recommender().fit(bought[bought["ts"] < cut], as_of=cut).recommend(["p1", "p2"], 3)
    pd.testing.assert_frame_equal(one, two)


def test_without_tastes_the_rule_is_served() -> None:
    """When everybody draws from one urn, popularity is not beaten, and every row says so."""
    rng = np.random.default_rng(4)
    served = []
    for _ in range(4):
        frame = pd.DataFrame(
            {
                "person_id": rng.integers(400, size=5000),
                "product_id": [f"i{k}" for k in rng.integers(60, size=5000)],
                "ts": (NOW - pd.to_timedelta(rng.integers(1, 100 * 1440, size=5000), "min")).astype(
                    "datetime64[us]"
                ),
            }
        )
        model = Recommender().fit(frame, as_of=NOW)
        told = model.recommend(k=2)
        served.append(model.verdicts_["new"].decided_by)
        assert set(told["decided_by"]) == {served[-1]}
    assert served.count("rule") >= 3


def test_stock_eligibility_and_refusals_are_kept(model: Recommender) -> None:
    """What is out of stock, not eligible, refused or owned is never recommended."""
    usual = model.recommend(["p1", "p2", "p3"], 4)
    gone = {usual["product_id"].iloc[0]: 0}
    assert not set(model.recommend(["p1", "p2", "p3"], 4, stock=gone)["product_id"]) & set(gone)
    few = ["stove", "item_00", "item_11"]
    assert set(model.recommend(["p1", "p2", "p3"], 9, eligible=few)["product_id"]) <= set(few)
    refuse = usual[["person_id", "product_id"]]
    again = model.recommend(["p1", "p2", "p3"], 4, refuse=refuse)
    assert not len(again.merge(refuse, on=["person_id", "product_id"]))
    with pytest.raises(FaultsError, match="nowhere"):
        model.recommend(["p1"], eligible=["nowhere"])
    with pytest.raises(CdpkitError, match="1 without"):
        model.recommend(["p1", "somebody"])


def test_each_recommendation_says_why_in_both_languages(model: Recommender, bought: pd.DataFrame) -> None:
    """Every reason reads in French and in English, and its figures are those of the data."""
    told = model.recommend([f"p{i}" for i in range(60)], 4, new_only=False)
    assert told["reason"].map(lambda r: json.loads(r)["id"]).nunique() >= 2
    for reason in told["reason"].unique():
        words = [reason_words(reason, language) for language in ("fr", "en")]
        assert all(words) and words[0] != words[1] and "{" not in "".join(words)
    own = told[told["reason"].str.contains('"own"')].iloc[0]
    mine = bought[(bought["person_id"] == own["person_id"]) & (bought["product_id"] == own["product_id"])]
    assert json.loads(own["reason"])["value"] == mine["ts"].dt.date.nunique()


def test_up_sell_climbs_one_step_of_the_same_category(model: Recommender) -> None:
    """What is offered is dearer, of a category the person buys in, and not owned."""
    shop = pd.DataFrame({"product_id": model.products_})
    shop["category"] = shop["product_id"].str[:6]
    shop["price"] = 100 + 20 * shop.groupby("category").cumcount()
    steps = ladder(shop)
    price, category = (shop.set_index("product_id")[c] for c in ("price", "category"))
    told = model.upsell(steps, ["p1", "p2", "p3"], k=3)
    assert len(told) == 9 and (told.groupby("person_id")["score"].diff().dropna() <= 0).all()
    owned = model.seen_.matrix().toarray() > 0
    for row in told.itertuples():
        below = json.loads(row.reason)["because"]
        assert price[row.product_id] > price[below] and category[row.product_id] == category[below]
        person = model.seen_.persons.get_loc(row.person_id)
        assert owned[person, model.products_.get_loc(below)]
        assert not owned[person, model.products_.get_loc(row.product_id)]
    with pytest.raises(FaultsError):
        ladder(shop.assign(price=0))


def test_large_catalogues_use_neighbours(bought: pd.DataFrame) -> None:
    """Above the limit the nearest products stand in for EASE, and still beat popularity."""
    model = Recommender(ease_up_to=5).fit(bought, as_of=NOW)
    assert hasattr(model.parts_.weight, "indptr")
    assert model.verdicts_["new"].decided_by == "model"


@pytest.mark.req("MOD-27")
def test_items_channel_and_prediction_each_serve_their_rule_when_switched_off(bought: pd.DataFrame) -> None:
    """On, each model serves where it is better; off, its rule does, and every answer says so."""
    off = Recommender(serve="rule").fit(bought, as_of=NOW)
    assert {verdict.decided_by for verdict in off.verdicts_.values()} == {"rule"}
    assert [name for name, weight in off.weights_["new"].items() if weight > 0] == ["popular"]
    assert set(off.recommend(["p1", "p2"], 3)["decided_by"]) <= {"rule", "list"}
    with pytest.raises(FaultsError, match="serve"):
        Recommender(serve="perhaps").fit(bought)
    rng = np.random.default_rng(0)
    sent = pd.DataFrame({"person_id": np.repeat(np.arange(300), 30)})
    sent["channel"] = rng.choice(["email", "sms"], 9000)
    sent["sent_at"] = NOW - pd.to_timedelta(np.tile(np.arange(30), 300), "D")
    liked = np.where(sent["person_id"] % 2, "email", "sms") == sent["channel"]
    clicked = rng.random(9000) < np.where(liked, 0.4, 0.1)
    sent["reacted_at"] = (sent["sent_at"] + pd.Timedelta("1h")).where(clicked)
    assert ChannelAffinity().fit(sent).verdict_.decided_by == "model"
    same = ChannelAffinity(serve="rule").fit(sent)
    assert same.verdict_.decided_by == "rule" and same.best([1, 2])["channel"].nunique() == 1
    chance = rng.random(800)
    happened = rng.random(800) < chance
    assert served(happened, chance, np.full(800, 0.5)).decided_by == "model"
    assert served(happened, chance, np.full(800, 0.5), times=np.inf).decided_by == "rule"
