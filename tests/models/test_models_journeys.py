"""Journeys on planted visits, habits and searches: what they are for, where they go, what is missing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdpkit.errors import FaultsError, NotEnoughDataError
from cdpkit.models.journeys import (
    INTENTS,
    NextTouchpoint,
    SessionIntent,
    cut,
    finds,
    intent_rule,
    macro_f1,
    search_needs,
    term,
    visits,
)

START = pd.Timestamp("2026-01-01")


def planted_visits(n: int = 1500, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Draw the events of visits whose purpose is known; one page in twenty is a stray."""
    luck = np.random.default_rng(seed)
    intent = luck.choice(INTENTS, n, p=[0.5, 0.2, 0.2, 0.04, 0.06])
    pages = {"buy": "cart", "cancel": "cancellation", "support": "help"}
    rows: list[tuple[int, int, str, str, str, str]] = []
    for visit, why in enumerate(intent):
        looks = 2 + luck.poisson({"compare": 5, "buy": 2, "browse": 3}.get(why, 0.3))
        shop = luck.integers(0, 5)
        for look in range(looks):
            near = luck.random() < (0.85 if why == "compare" else 0.3)
            category = f"c{shop if near else luck.integers(0, 5)}"
            product = f"{category}-{luck.integers(0, 12)}"
            rows.append((visit, look, "Product Viewed", "product", product, category))
        if why in pages and luck.random() < 0.93:
            kind = "Product Added" if why == "buy" else "Page Viewed"
            rows.append((visit, looks, kind, pages[why], "", ""))
        if luck.random() < 0.05:
            stray = str(luck.choice(["help", "cart", "cancellation"]))
            rows.append(
                (visit, looks + 1, "Product Added" if stray == "cart" else "Page Viewed", stray, "", "")
            )
    table = pd.DataFrame(
        rows, columns=["visit", "place", "event_type", "touchpoint", "product_id", "category"]
    )
    table["ts"] = START + pd.to_timedelta(table["visit"] * 3600 + table["place"] * 60, "s")
    table["person_id"] = table["visit"] % 500
    return table, pd.Series(intent)


def test_visits_are_cut_by_silence_and_do_not_depend_on_the_order_of_rows() -> None:
    events, _ = planted_visits(60)
    shuffled = events.sample(frac=1, random_state=0)
    assert visits(events).equals(visits(shuffled))
    assert visits(events)["events"].sum() == len(events) and len(visits(events)) == 60
    assert cut(events).nunique() == 60
    assert (visits(events, first=3)["events"] <= 3).all()
    with pytest.raises(FaultsError, match="event_type"):
        visits(events.drop(columns="event_type"))


@pytest.mark.req("MOD-29")
def test_intent_is_told_on_planted_visits_better_than_by_the_pages(tmp_path: Path) -> None:
    events, intent = planted_visits()
    table = visits(events)
    # Visits are numbered in time: their persons come in another order.
    truth = intent[((table["started_at"] - START) // pd.Timedelta("1h")).astype(int)].to_numpy()
    known = (table["person_id"] < 350).to_numpy()
    model = SessionIntent(trees=60).fit(table[known], truth[known])
    told = model.predict(table[~known])
    mine, rule = macro_f1(truth[~known], told), macro_f1(truth[~known], intent_rule(table[~known]))
    assert model.verdict_.decided_by == "model" and mine > rule + 0.03 and mine > 0.75
    assert set(model.validation_["intent"]) == {*INTENTS, "all"}
    back = SessionIntent.load(model.save(tmp_path))
    assert (back.predict(table[~known]) == told).all()


def test_the_rule_is_served_where_pages_tell_everything_or_nothing() -> None:
    events, _ = planted_visits(900, seed=1)
    table = visits(events)
    by_rule = intent_rule(table)
    assert SessionIntent(trees=20).fit(table, by_rule).verdict_.decided_by == "rule"
    luck = np.random.default_rng(0)
    at_random = luck.permutation(by_rule)
    assert SessionIntent(trees=20).fit(table, at_random).verdict_.decided_by == "rule"
    with pytest.raises(NotEnoughDataError, match="200"):
        SessionIntent().fit(table[:50], by_rule[:50])
    with pytest.raises(FaultsError, match="dance"):
        SessionIntent().fit(table, np.full(len(table), "dance"))


def planted_walk(people: int = 300, steps: int = 24, seed: int = 0, habit: bool = True) -> pd.DataFrame:
    """Draw contacts: after an e-mail the site, after two site visits the store, and a favourite place."""
    luck, names = np.random.default_rng(seed), np.array(["site", "email", "store", "app", "phone"])
    usual = np.array([0.45, 0.25, 0.15, 0.1, 0.05])
    rows = []
    for person in range(people):
        own = luck.dirichlet(2 * usual)
        last, before = -1, -1
        for step in range(steps):
            chance = own
            if habit and last == 1:
                chance = 0.8 * np.eye(5)[0] + 0.2 * own
            elif habit and (before, last) == (0, 0):
                chance = 0.8 * np.eye(5)[2] + 0.2 * own
            code = luck.choice(5, p=chance if habit else usual)
            rows.append((person, START + pd.Timedelta(hours=17 * step + person % 7), names[code]))
            before, last = last, code
    return pd.DataFrame(rows, columns=["person_id", "ts", "touchpoint"])


@pytest.mark.req("MOD-30")
def test_the_next_touchpoint_is_named_more_often_than_the_most_frequent(tmp_path: Path) -> None:
    contacts = planted_walk()
    model = NextTouchpoint().fit(contacts)
    table = model.validation_.set_index("who")
    assert model.verdict_.decided_by == "model"
    assert table.loc["model", "top_1"] > table.loc["most frequent", "top_1"] + 0.15
    assert (
        table.loc["model", "top_1"] > table.loc[["own most frequent", "the last again"], "top_1"].max() + 0.05
    )
    assert table.loc["model", "top_3"] > table.loc["most frequent", "top_3"]
    assert table.loc["model", "log_loss"] < table.loc["most frequent", "log_loss"]
    assert sum(model.weights_.values()) == pytest.approx(1)
    # A chain of order two was planted: it weighs most of the chains.
    assert model.weights_["after the last two"] > model.weights_["after the last"]
    told = model.predict(contacts)
    ends = contacts.sort_values("ts").groupby("person_id")["touchpoint"].last()
    mailed = told["person_id"].map(ends) == "email"
    assert (told.loc[mailed, "first"] == "site").all() and told["person_id"].is_unique
    back = NextTouchpoint.load(model.save(tmp_path))
    assert back.predict(contacts).equals(told)
    assert model.predict(contacts.sample(frac=1, random_state=1)).equals(told)


def test_without_habits_the_most_frequent_touchpoint_is_served() -> None:
    served = [NextTouchpoint().fit(planted_walk(80, 12, seed, habit=False)) for seed in range(6)]
    assert sum(model.verdict_.decided_by == "model" for model in served) <= 1
    told = next(m for m in served if m.verdict_.decided_by == "rule").predict(planted_walk(20, 6))
    assert (told["first"] == "site").all() and (told["decided_by"] == "rule").all()


def planted_searches() -> pd.DataFrame:
    luck, end = np.random.default_rng(0), pd.Timestamp("2026-03-01")
    rows = []
    for day in range(56):
        now = day < 28
        asked = {
            "dress": 40,
            "shoes": 30,
            "tent": 3 if not now else 12,
            "vegan boots": 6,
            "jane@shop.example": 2,
        }
        for query, n in asked.items():
            for _ in range(luck.poisson(n)):
                person = int(luck.integers(0, 800))
                rows.append((person, end - pd.Timedelta(days=day, hours=12), query, person % 4 == 0))
    table = pd.DataFrame(rows, columns=["person_id", "ts", "query", "young"])
    table.loc[luck.random(len(table)) < 0.3, "query"] = table["query"].str.upper() + "  "
    # Only a handful of the young look for boots.
    boots = table["query"].str.lower().str.strip() == "vegan boots"
    table = table[~(boots & table["young"] & (table["person_id"] > 150))]
    return table.assign(segment=np.where(table["young"], "young", "other")).drop(columns="young")


@pytest.mark.req("MOD-32")
def test_terms_that_find_nothing_and_terms_that_rise_are_told_by_segment_and_name_nobody() -> None:
    searches = planted_searches()
    catalogue = ["Dress Anna", "Running shoes", "Tent for two", "Leather boots"]
    found = finds({term(query) for query in searches["query"]}, catalogue)
    searches["found"] = searches["query"].map(lambda query: found[term(query)])
    told = search_needs(searches, as_of="2026-03-01")
    whole = told[told["segment"] == "all"].set_index("term")
    assert whole["need"].to_dict() == {
        "dress": "",
        "shoes": "",
        "tent": "rising",
        "vegan boots": "nothing found",
    }
    assert whole.loc["tent", "growth"] == pytest.approx(4, rel=0.4)
    # Nobody's address, no cell under k, and none that follows by subtraction.
    assert not told["term"].str.contains("@|jane").any()
    assert (told["people"].dropna() >= 20).all()
    boots = searches[searches["query"].map(term) == "vegan boots"].query("segment == 'young'")
    assert 0 < boots["person_id"].nunique() < 20
    assert "vegan boots" not in set(told.loc[told["segment"] != "all", "term"])
    assert {"young", "other"} == set(told.loc[told["term"] == "tent", "segment"]) - {"all"}


def test_steady_terms_are_found_rising_no_more_often_than_chance() -> None:
    luck, alarms = np.random.default_rng(5), 0
    end = pd.Timestamp("2026-03-01")
    for _ in range(60):
        n = 3000
        asked = luck.choice([f"t{k}" for k in range(15)], n)
        back = luck.integers(0, 56, n)
        table = pd.DataFrame({"person_id": luck.integers(0, 1500, n), "query": asked})
        table["ts"] = end - pd.to_timedelta(back * 24 + 1, "h")
        alarms += int(search_needs(table, as_of=end)["rising"].any())
    assert alarms <= 8  # 5 % of the reports at most: 3 expected, over 8 is one chance in a hundred
