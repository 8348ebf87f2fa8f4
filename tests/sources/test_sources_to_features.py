"""From an export to a feature on the right person: tills, social networks, reviews, quotes, surveys."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdpkit import governance, identity, models, quality, world
from cdpkit.features import FeatureSet, catalogue, favourites, interests
from cdpkit.run import Run
from cdpkit.sources import adapter, load
from cdpkit.workspace import Workspace

FIXTURES = Path(__file__).parent / "fixtures"
SAID = ("social", "crm_contacts", "crm_consents", "store_cards", "store_tickets", "surveys")


def known(run: Run, contracts: list, folder: Path) -> pd.DataFrame:
    """Load a folder, find who is who, and return today's membership."""
    load(run, contracts, folder)
    with closing(run.engine()) as engine:
        found = identity.resolve(identity.records(engine), run_id=run.run_id)
    identity.store(run, found)
    now = found.membership
    return now[now["known_to"].isna()]


def chosen(*names: str) -> FeatureSet:
    """Those of the ready features, by the beginnings of their names."""
    ready = catalogue.complete().features
    kept = [f for f in ready if any(o.name.startswith(names) for o in f.expand("complete"))]
    return FeatureSet("chosen", kept)


def built(run: Run, declared: FeatureSet, as_of: str, population: str = "all") -> pd.DataFrame:
    with closing(run.engine()) as engine:
        return declared.build(engine, as_of=[as_of], population=population).to_pandas().set_index("person_id")


@pytest.fixture(scope="module")
def talkative(tmp_path_factory):
    """A small retailer whose customers are on social networks, loaded and resolved."""
    exported = world.generate(300, seed=5, changes={"voice": {"social": 0.9, "social_rate": 0.06}})
    home = tmp_path_factory.mktemp("talkative")
    exported.write(home / "raw", home / "truth")
    for file in (home / "raw").iterdir():
        if file.stem not in SAID:
            file.unlink()
    run = Run.begin(Workspace(home), "load")
    contracts = [c for name in ("crm", "store", "social", "surveys") for c in adapter(name).contracts]
    yield exported, run, known(run, contracts, home / "raw")
    run.abandon()


@pytest.mark.req("DAT-03")
def test_interests_planted_in_social_talk_are_recovered_and_a_refusal_is_not_profiled(talkative):
    """Three persons in four or more are told by their first interest; who said no has no feature at all."""
    exported, run, members = talkative
    topics = sorted(exported.raw["social"]["topic"].unique())
    found = built(run, interests(topics), "2026-07-01")
    said = favourites(found, topics, least=3).dropna()
    handles = exported.raw["social"].assign(record_id=lambda s: s["network"] + ":" + s["handle"])
    truth = exported.truth["social"].merge(exported.truth["persons"][["person", "interest"]])
    owner = members[members["source"] == "social"].set_index("record_id")["person_id"]
    handles = handles.drop_duplicates("record_id").merge(truth, on="handle")
    handles["person_id"] = handles["record_id"].map(owner)
    refused = handles[handles["consent"] == "no"]
    agreed = handles[handles["consent"] == "yes"].set_index("person_id")["interest"]
    right = said == agreed.groupby(level=0).first().reindex(said.index)
    assert len(said) > 150
    assert right.mean() >= 0.75, f"precision at 1 is {right.mean():.2f}"
    common = agreed.value_counts(normalize=True).max()
    assert right.mean() > common + 0.3, "the most common interest, said of everybody"
    assert len(refused) > 20 and not set(refused["person_id"]) & set(said.index)


@pytest.mark.req("DAT-07")
def test_tickets_of_a_card_are_features_of_its_owner_and_those_without_are_counted(talkative):
    """Each card's tickets are those of the person who holds it in truth; the others are nobody's, by the count."""
    exported, run, members = talkative
    sold = exported.raw["store_tickets"]
    tickets = sold[sold["quantity"].astype(int) > 0].drop_duplicates("ticket_id")  # a return is no visit
    owner = members[members["source"] == "store"].set_index("record_id")["person_id"]
    told = exported.truth["identities"].query("source == 'store'").set_index("record_id")["person"]
    carded = tickets[tickets["loyalty_id"].notna()].assign(person=tickets["loyalty_id"].map(told))
    carded["person_id"] = carded["loyalty_id"].map(owner)
    assert carded["person_id"].notna().all() and len(carded) > 100
    alike = carded.groupby("person_id")["person"].nunique()
    assert (alike == 1).mean() > 0.97, "a card's person is one person in truth"
    found = built(
        run, chosen("rfm__n_store_visits", "rfm__days_since_store_visit", "rfm__mean_gap_store"), "2026-07-01"
    )
    sold = pd.to_datetime(carded["sold_at"], format="%d/%m/%Y %H:%M").dt.tz_localize(
        "Europe/Paris", ambiguous=True
    )
    sold = sold.dt.tz_convert("UTC").dt.tz_localize(None)
    year = carded[(sold >= "2025-07-01") & (sold < "2026-07-01")]
    nobody = members[members["record_id"].str.startswith("ticket:")]
    found = found.drop(index=found.index.intersection(nobody["person_id"]))
    visits = year.groupby("person_id").size().reindex(found.index, fill_value=0)
    assert visits.gt(0).sum() > 20
    pd.testing.assert_series_equal(
        found["rfm__n_store_visits__365d"].fillna(0).astype("int64"), visits, check_names=False
    )
    with closing(run.engine()) as engine:
        counted = quality.recognised(engine).set_index("channel").loc["store"]
    without = int(tickets["loyalty_id"].isna().sum())
    assert (counted["anonymous"], counted["orders"]) == (without, len(tickets)) and without > 0
    assert len(nobody) == without == nobody["person_id"].nunique(), "a ticket without a card joins nobody"


@pytest.mark.req("DAT-02")
def test_every_person_is_traced_to_the_records_of_its_sources(talkative):
    """Each record named in a person's trace is in that source's export, and every exported row is someone's."""
    exported, run, members = talkative
    with closing(run.engine()) as engine:
        found = governance.trace(engine)
    assert set(found["person_id"]) == set(members["person_id"]) and found["files"].min() >= 1
    assert found["loaded_at"].notna().all()
    given = {
        "crm": exported.raw["crm_contacts"]["contact_id"],
        "store": pd.concat(
            [
                exported.raw["store_cards"]["loyalty_id"],
                "ticket:" + exported.raw["store_tickets"]["ticket_id"],
            ]
        ),
        "social": exported.raw["social"]["network"] + ":" + exported.raw["social"]["handle"],
        "surveys": pd.concat(
            [
                exported.raw["surveys"]["email"].str.strip().str.lower(),
                "answer:" + exported.raw["surveys"]["response_id"],
            ]
        ),
    }
    for source, records in found.groupby("source")["record_id"]:
        assert set(records) <= set(given[source]), source
    rows = found.dropna(subset="table").groupby("table")["rows"].sum()
    assert rows["social"] == len(exported.raw["social"]) and rows["surveys"] == len(exported.raw["surveys"])
    assert rows["profiles"] == len(exported.raw["crm_contacts"]) + len(exported.raw["store_cards"])


@pytest.mark.req("DAT-02")
@pytest.mark.parametrize("source", ["surveys", "social"])
def test_a_source_removed_from_the_exports_changes_only_the_features_that_list_it(
    talkative, source, tmp_path
):
    """The same exports loaded without one file: of the persons both know, only the features of its lineage move."""
    exported, run, members = talkative
    declared = chosen("rfm__", "voice__", "affinity__", "contact__", "profile__age")
    folder = tmp_path / "raw"
    exported.write(folder, tmp_path / "truth")
    for file in folder.iterdir():
        if file.stem not in SAID or file.stem == source:
            file.unlink()
    with Run.begin(Workspace(tmp_path), "load") as less:
        contracts = [c for name in ("crm", "store", "social", "surveys") for c in adapter(name).contracts]
        others = known(less, contracts, folder)
        after = built(less, declared, "2026-07-01")
    with closing(run.engine()) as engine:
        listed = governance.Lineage.read(engine, features=[declared], pages={}).downstream(
            f"source:{source}", "feature"
        )
    before = built(run, declared, "2026-07-01")
    # Persons have other numbers in another lake: they are compared by the contact of the customer file.
    first, second = (
        frame.reindex(who[who["source"] == "crm"].set_index("record_id")["person_id"]).set_axis(
            who.loc[who["source"] == "crm", "record_id"]
        )
        for frame, who in ((before, members), (after, others))
    )
    both = first.index.intersection(second.index)
    assert len(both) > 100
    first, second = first.loc[both].sort_index(), second.loc[both].sort_index()
    changed = {
        name for name in declared.names if not first[name].astype("str").equals(second[name].astype("str"))
    }
    assert changed and changed <= {name.partition(":")[2] for name in listed}


@pytest.fixture
def shop(run, tmp_path):
    """A shop's forms: reviews, quotes, surveys and letters, written here."""
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.mark.req("DAT-23")
def test_reviews_become_ratings_and_topics(run, shop):
    """Stars and what is spoken of, counted for the account that wrote; an anonymous review is of nobody known."""
    (shop / "reviews.csv").write_text(
        "review_id,account_id,written_at,product_id,rating,text\n"
        'r1,u1,2026-03-01T09:00:00Z,P1,1,"Livraison en retard, colis abîmé"\n'
        'r2,u1,2026-03-05T09:00:00Z,P2,5,"Great quality and the price is right"\n'
        'r3,u2,2026-03-06T09:00:00Z,P1,4,"Taille un peu juste"\n'
        'r4,,2026-03-06T09:00:00Z,P1,2,"service client injoignable"\n'
    )
    members = known(run, list(adapter("shop").contracts), shop)
    names = ("affinity__mean_rating", "voice__last_rating", "voice__n_low_ratings", "voice__n_reviews")
    found = built(run, chosen(*names), "2026-03-10")
    person = members.set_index("record_id")["person_id"]
    one, two, nobody = (found.loc[person[name]] for name in ("u1", "u2", "review:r4"))
    assert one["affinity__mean_rating__365d"] == pytest.approx(0.5) and one["voice__last_rating"] == 1.0
    assert (one["voice__n_low_ratings__365d"], two["voice__n_low_ratings__365d"]) == (1, 0)
    topics = [
        f"voice__n_reviews_on_{word}__365d" for word in ("delivery", "quality", "cost", "size", "service")
    ]
    assert one[topics].tolist() == [1, 2, 1, 0, 0] and two[topics].tolist() == [0, 0, 0, 1, 0]
    assert nobody[topics].tolist() == [0, 0, 0, 0, 1] and person["review:r4"] not in (
        person["u1"],
        person["u2"],
    )


@pytest.mark.req("DAT-25")
def test_what_a_quote_asks_for_reaches_features_beside_contracts_and_bookings(run, shop):
    """The need declared in the form, when it is open, urgent, accepted; contract and booking of the same person."""
    (shop / "quotes.csv").write_text(
        "quote_id,email,account_id,asked_at,channel,product_id,amount,currency,valid_until,accepted_at,declined_at,"
        "need,wanted_by,message\n"
        "q1,zoe@courriel.example,u7,2026-03-01T09:00:00Z,site,P9,1200.00,EUR,2026-03-31T09:00:00Z,"
        "2026-03-10T09:00:00Z,,Kitchen,2026-06-01T00:00:00Z,\n"
        'q2,zoe@courriel.example,u7,2026-03-12T09:00:00Z,site,P8,300.00,EUR,,,,Garden,,"Urgent, au plus vite"\n'
        "q3,leo@courriel.example,u8,2026-03-12T09:00:00Z,store,P8,300.00,EUR,,,,Garden,,\n"
    )
    for name in ("bookings.csv", "contracts.csv", "crm_contacts.csv"):
        shutil.copy(FIXTURES / name, shop)
    members = known(run, [*adapter("shop").contracts, *adapter("crm").contracts], shop)
    names = ("contact__n_quotes", "contact__n_open_quotes", "contact__n_needs", "contact__n_urgent_quotes",
             "contact__quote_accept_rate", "rfm__n_contracts", "rfm__n_bookings")  # fmt: skip
    declared = chosen(*names) + interests(["Lamps"], needs=["kitchen", "garden"])
    person = members.set_index("record_id")["person_id"]
    assert person["u7"] == person["C1"], "the form's address joins the contact of the customer file"
    early, late = (built(run, declared, day) for day in ("2026-03-05", "2026-04-01"))
    before, zoe, leo = early.loc[person["u7"]], late.loc[person["u7"]], late.loc[person["u8"]]
    assert (before["interest__last_need"], zoe["interest__last_need"]) == ("kitchen", "garden")
    assert before["contact__quote_accept_rate__365d"] == 0, "accepted only later"
    assert zoe[
        ["contact__n_quotes__365d", "contact__n_open_quotes__90d", "contact__n_needs__365d"]
    ].tolist() == [2, 1, 2]
    assert zoe["contact__n_urgent_quotes__90d"] == 1 and zoe["contact__quote_accept_rate__365d"] == 0.5
    assert zoe[["rfm__n_contracts", "rfm__n_bookings__365d"]].tolist() == [1, 1]
    assert leo["interest__n_quotes_garden__365d"] == 1 and not leo["rfm__n_contracts"] > 0


@pytest.mark.req("DAT-26")
def test_dissatisfaction_raises_the_risk_of_leaving_and_an_ablation_says_by_how_much(run, shop):
    """Answers and complaints planted in the exports; the model's risk is higher for the unhappy, on later persons."""
    rng = np.random.default_rng(7)
    n = 1600
    unhappy = rng.random(n) < 0.3
    mail = [f"p{k}@courriel.example" for k in range(n)]
    day = pd.Timestamp("2026-03-01") + pd.to_timedelta(rng.integers(0, 25 * 24, n), "h")
    nps = np.where(unhappy, rng.integers(0, 7, n), rng.integers(7, 11, n))
    pd.DataFrame(
        {"response_id": [f"s{k}" for k in range(n)], "email": mail, "answered_at": day.strftime("%Y-%m-%dT%H:00:00Z"),
         "survey": "recommendation", "question": "would recommend 0-10", "answer": nps.astype(str), "value": nps}
    ).to_csv(shop / "surveys.csv", index=False)  # fmt: skip
    letters = rng.random(n) < np.where(unhappy, 0.5, 0.1)
    pd.DataFrame(
        {"inbound_id": [f"i{k}" for k in range(n)], "sender": mail, "received_at": day.strftime("%Y-%m-%dT%H:00:00Z"),
         "reason": "commande", "answered_at": "", "text": np.where(letters, "Je suis très déçu, produit défectueux", "Bonjour, une question")}
    ).to_csv(shop / "inbound_emails.csv", index=False)  # fmt: skip
    members = known(run, [*adapter("surveys").contracts, *adapter("calls").contracts], shop)
    names = ("voice__mean_survey", "voice__last_recommendation", "voice__n_poor_answers", "contact__n_says_complaint",
             "contact__n_contacts", "contact__days_since_contact", "voice__days_since_survey")  # fmt: skip
    found = built(run, chosen(*names), "2026-04-01")
    person = members.drop_duplicates("record_id").set_index("record_id")["person_id"]
    owner = pd.Series(unhappy, index=person[mail].to_numpy()).reindex(found.index)
    assert owner.notna().all() and len(found) == n
    poor = found["voice__n_poor_answers__365d"] > 0
    assert (poor == owner.astype(bool)).all(), "who is unhappy is told by the answer, on the right person"
    y = (rng.random(n) < np.where(owner.astype(bool), 0.55, 0.12)).astype(int)
    X = found.select_dtypes("number").astype("float64")
    half = np.arange(n) < n // 2
    model = models.ChurnClassifier(random_state=0).fit(X[half], pd.Series(y[half], X.index[half]))
    risk = pd.Series(model.predict_proba(X[~half])[:, 1], X.index[~half])
    assert risk[poor[~half]].mean() > 2 * risk[~poor[~half]].mean()
    told = [c for c in X if "survey" in c or "recommend" in c or "poor" in c or "complaint" in c]
    report = models.ablation(
        models.ChurnClassifier(random_state=0),
        {"satisfaction": told},
        (X[half], y[half]),
        (X[~half], y[~half]),
    ).iloc[0]
    assert report["worth_it"] and report["low"] > 0, "what is lost without it is more than chance"
