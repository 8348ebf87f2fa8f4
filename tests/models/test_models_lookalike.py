"""People like a list of people: chosen by held-out seeds, never a seed, with reach, twins and offers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit.errors import CdpkitError, NotEnoughDataError
from cdpkit.models.lookalike import (
    Lookalike,
    Neighbours,
    check_minimum,
    prior_bound,
    reach_curve,
    seed_products,
    twin_offers,
)


def planted(n: int = 4000, seed: int = 0, share: float = 0.25) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """People, who is sought, and the few of them who are known; six columns tell nothing."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 6)), columns=[f"noise_{k}" for k in range(6)])
    X["visits"], X["spend"] = rng.normal(size=n), rng.exponential(size=n)
    X["city"] = rng.choice(["Lyon", "Nice", "Lille", "Brest"], n)
    odds = -3.4 + 1.3 * X["visits"] + 1.2 * X["spend"] + 1.5 * (X["city"] == "Nice")
    sought = rng.random(n) < 1 / (1 + np.exp(-odds.to_numpy()))
    X.index = [f"p{i}" for i in range(n)]
    return X, sought, sought & (rng.random(n) < share)


@pytest.fixture(scope="module")
def world() -> tuple[pd.DataFrame, np.ndarray, np.ndarray, Lookalike]:
    """A fitted lookalike beside its truth."""
    X, sought, is_seed = planted()
    return X, sought, is_seed, Lookalike().fit(X, is_seed)


def test_hidden_people_rank_above_others(world: tuple) -> None:
    """Most of the people sought who were not on the list come early."""
    X, sought, is_seed, model = world
    score = model.decision_function(X)[~is_seed]
    hidden = sought[~is_seed]
    best = np.argsort(-score)[: hidden.sum()]
    assert hidden[best].mean() > 2.2 * hidden.mean()


def test_seeds_are_never_returned(world: tuple) -> None:
    """Neither in an audience, whatever its size, nor as anybody's twin; nor is who is excluded."""
    X, _, is_seed, model = world
    seeds, left_out = set(X.index[is_seed]), list(X.index[~is_seed][:50])
    everybody = model.audience(X, len(X), exclude=left_out)
    assert not seeds & set(everybody.index) and not set(left_out) & set(everybody.index)
    assert len(everybody) == len(X) - is_seed.sum() - 50
    found = model.twins([*list(seeds)[:5], "p0"], 20, exclude=left_out)
    assert not seeds & set(found["twin"]) and not set(left_out) & set(found["twin"])
    assert (found["person"] != found["twin"]).all() and (found.groupby("person").size() == 20).all()


@pytest.mark.req("MOD-14")
def test_planted_twins_are_found_and_convert_more() -> None:
    """Twins are found among people alike only in what does not matter; those of seeds convert more."""
    X, _, is_seed = planted(seed=5)
    rng = np.random.default_rng(1)
    chosen = X.index[~is_seed][rng.choice((~is_seed).sum(), 60, replace=False)]
    copies = X.loc[chosen].copy()
    noise = [c for c in X if c.startswith("noise")]
    copies[noise] = rng.normal(size=(60, len(noise)))
    copies["visits"] += 0.02 * rng.normal(size=60)
    copies.index = [f"twin of {p}" for p in chosen]
    everybody = pd.concat([X, copies])
    model = Lookalike().fit(everybody, np.append(is_seed, np.zeros(60, bool)))
    found = model.twins(list(chosen), 10)
    recall = (
        (found["twin"] == "twin of " + found["person"].astype("str")).groupby(found["person"]).any().mean()
    )
    plain = everybody.drop(columns="city").to_numpy(dtype=float)
    _, near = Neighbours(plain).search(plain[everybody.index.get_indexer(chosen)], 11)
    unsupervised = np.mean(
        [f"twin of {p}" in everybody.index[row] for p, row in zip(chosen, near, strict=True)]
    )
    assert recall > 0.6 and recall > unsupervised + 0.3
    later = np.random.default_rng(2).random(len(X)) < 1 / (
        1 + np.exp(3.4 - 1.3 * X["visits"] - 1.2 * X["spend"] - 1.5 * (X["city"] == "Nice"))
    )
    twins = model.twins(list(X.index[is_seed]), 5)["twin"]
    converted = pd.Series(later, index=X.index).reindex(twins).dropna()
    assert converted.mean() > 1.5 * later[~is_seed].mean()
    assert not set(X.index[is_seed]) & (set(twins) | set(found["twin"]))


def test_the_rule_is_served_where_no_learner_beats_it() -> None:
    """Seeds drawn at random have nothing in common: the quality says so, the direction stays."""
    X, _, _ = planted(2500, seed=3)
    verdicts, qualities = [], []
    for seed in range(4):
        luck = np.random.default_rng(seed).random(len(X)) < 0.06
        model = Lookalike(bags=5, random_state=seed).fit(X, luck)
        verdicts.append(model.verdict_.decided_by)
        qualities.append(model.quality_["verdict"].item())
    assert verdicts.count("rule") >= 3 and qualities.count("none") >= 3


def test_a_learner_is_served_where_the_profile_bends() -> None:
    """When the people sought stand on both sides of the average, no direction finds them; trees do."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=3000), "y": rng.normal(size=3000)})
    model = Lookalike().fit(X, (np.abs(X["x"]) > 1.4) & (rng.random(3000) < 0.5))
    assert model.verdict_.decided_by == "model" and model.choice_ != "direction"
    assert "rule" not in model.verdict_.sentence("en") or "beats" in model.verdict_.sentence("en")


def test_the_reach_curve_tells_the_recall(world: tuple) -> None:
    """What held-out seeds predict of each size of audience is what happens, within its interval."""
    X, sought, is_seed, model = world
    curve = model.reach(sizes=[333])
    order = np.argsort(-model.decision_function(X)[~is_seed], kind="stable")
    hidden = sought[~is_seed][order]
    true = np.array([hidden[:n].sum() / hidden.sum() for n in curve["people"]])
    inside = (curve["recall_low"] - 0.02 <= true) & (true <= curve["recall_high"] + 0.02)
    assert inside.mean() >= 0.8 and 333 in set(curve["people"])
    assert np.allclose(curve["lift"], curve["recall"] / curve["share"])
    assert curve["recall"].is_monotonic_increasing and curve["recall"].iloc[-1] == 1


def test_the_prior_bounds_the_share_sought(world: tuple) -> None:
    """The bound is above the true share, and not idle; a known prior makes precision exact."""
    _, sought, is_seed, model = world
    true = sought[~is_seed].mean()
    assert true <= model.prior_ < 2.5 * true
    known = reach_curve(model.above_, model.others_, true)
    assert known["precision"].iloc[-1] == pytest.approx(true)
    assert prior_bound(np.random.default_rng(0).random(300)) > 0.9


@pytest.mark.req("MOD-15")
def test_twins_are_offered_the_same_and_what_goes_with_it() -> None:
    """Offers are the products that set the seeds apart, then their complements, each once."""
    bought = pd.DataFrame(
        [("s", f"s{i}", "tent") for i in range(20)]
        + [("s", f"s{i}", "stove") for i in range(8)]
        + [("s", f"s{i}", "milk") for i in range(20)]
        + [("o", f"o{i}", "milk") for i in range(80)],
        columns=["kind", "person_id", "product_id"],
    )
    products = seed_products(bought, [f"s{i}" for i in range(20)])
    assert products["product_id"].tolist() == ["tent", "stove"]
    offers = twin_offers(products, {"tent": ["stove", "mat"], "stove": ["gas", "mat"], "milk": ["bread"]})
    assert offers.values.tolist() == [
        ["tent", "same", ""],
        ["stove", "same", ""],
        ["mat", "complement", "tent"],
        ["gas", "complement", "stove"],
    ]


def test_a_seed_list_under_the_minimum_is_refused_with_the_number() -> None:
    """The refusal names the destination, its minimum and what there is; `fit` has its own."""
    with pytest.raises(NotEnoughDataError, match=r"adnet .*1000.*got 640"):
        check_minimum(640, 1000, "adnet")
    check_minimum(1000, 1000, "adnet")
    X, _, is_seed = planted(600)
    with pytest.raises(NotEnoughDataError, match="got 3"):
        Lookalike().fit(X, np.arange(600) < 3)
    assert is_seed.any()


def test_traits_are_told_in_both_languages(world: tuple) -> None:
    """The planted columns are told, the others are not."""
    _, _, _, model = world
    told = {language: model.trait_words(language) for language in ("fr", "en")}
    assert len(told["fr"]) == len(told["en"]) == 3
    for column in ("visits", "spend", "Nice"):
        assert any(column in sentence for sentence in told["fr"]), column
    assert not any("noise" in sentence for sentence in told["en"])
    assert "d'entre eux" in " ".join(told["fr"]) and "of them" in " ".join(told["en"])


def test_contributions_sum_to_the_likeness(world: tuple) -> None:
    """Each person's parts add up to the score."""
    X, _, _, model = world
    some = X.head(300)
    assert np.allclose(model.contributions(some).sum(axis=1), model.decision_function(some), atol=1e-4)
    alone = [model.decision_function(some.iloc[[k]])[0] for k in range(20)]
    assert np.allclose(alone, model.decision_function(some)[:20])


def test_the_search_above_the_limit_finds_nearly_all() -> None:
    """The inverted file finds what the exact search does, up to a few in a hundred."""
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 16))
    table = centres[rng.integers(40, size=20_000)] + 0.5 * rng.normal(size=(20_000, 16))
    exact, quick = Neighbours(table), Neighbours(table, exact_up_to=1000)
    assert exact.exact and not quick.exact
    queries = table[:200] + 0.05 * rng.normal(size=(200, 16))
    one, two = exact.search(queries, 20)[1], quick.search(queries, 20)[1]
    overlap = np.mean([len(set(a) & set(b)) / 20 for a, b in zip(one, two, strict=True)])
    assert overlap > 0.93


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table too large for the exact search names what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CdpkitError, match=r"cdpkit\[twins\]"):
        Neighbours(np.zeros((100, 2)), exact_up_to=10)
