"""Two parties: onboarding, salted keys, clean rooms, agreements, cookie matches and their decay."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from cdpkit import consent, identity
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import ConsentError, FaultsError
from cdpkit.identity.agreements import Agreement
from cdpkit.identity.cookies import cookie_matches, match_decay, match_rate, survival
from cdpkit.identity.hashing import identifier_hash, partner_key
from cdpkit.identity.onboarding import onboard, side
from cdpkit.identity.rooms import clean_room, partner_keys, second_party
from cdpkit.scrub import holds_personal_values

SALT, OTHER = b"a secret of sixteen bytes", b"another secret of theirs"
DEAL = Agreement("airline", frozenset({"profiling"}), pd.Timestamp("2026-01-01"))


def mails(numbers: range) -> list[str]:
    return [f"given.family{i}@mail.fr" for i in numbers]


@pytest.mark.req("IDN-08")
@pytest.mark.parametrize("overlap", [0, 120, 300])
def test_the_match_rate_of_onboarding_is_the_planted_overlap(overlap: int) -> None:
    """300 contacts, so many of whom the web knows by a hashed address; a planted share more by user id."""
    crm = pd.DataFrame(
        {"record": np.arange(300), "email": mails(range(300)), "user_id": [f"U{i}" for i in range(300)]}
    )
    crm["email"] = crm["email"].str.upper() + " "
    known = mails(range(300 - overlap, 600 - overlap))
    web = pd.DataFrame(
        {
            "web_id": [f"ck{i}" for i in range(300)],
            "email_hash": [identifier_hash("email", m, "google") for m in known],
        }
    )
    told = onboard(crm, web)
    rates = told.rates.set_index("key")
    assert rates.loc["email", "rate"] == rates.loc["any", "rate"] == overlap / 300
    assert len(told.matches) == overlap
    both = pd.concat([web, pd.DataFrame({"web_id": ["app1", "app2"], "user_id": ["u0", "u1"]})])
    more = onboard(crm, both).rates.set_index("key")
    assert more.loc["user_id", "matched"] == 2 and more.loc["any", "matched"] == min(overlap + 2, 300)


@pytest.mark.req("IDN-08")
def test_no_key_comes_out_of_onboarding_and_ids_that_spell_one_are_refused() -> None:
    """No address, number or hash in the result; the e-mail tool's own ids must come as record numbers."""
    crm = pd.DataFrame(
        {
            "record": ["c1", "c2", "c3"],
            "email": ["zoe@x.fr", "test@test.com", None],
            "phone": ["0612345678", None, None],
        }
    )
    web = pd.DataFrame(
        {"web_id": ["k1", "k2"], "email": ["Zoe@x.fr", "test@test.com"], "phone": ["+33 6 12 34 56 78", None]}
    )
    told = onboard(crm, web)
    assert told.matches.to_numpy().tolist() == [["c1", "k1", "email"]]
    text = told.matches.to_csv() + told.rates.to_csv()
    assert not holds_personal_values(text) and identifier_hash("email", "zoe@x.fr", "google") not in text
    with pytest.raises(FaultsError, match="record number"):
        onboard(crm.assign(record=["zoe@x.fr", "b@x.fr", "c@x.fr"]), web)
    with pytest.raises(FaultsError, match="must have one of"):
        onboard(crm[["record"]], web)


@pytest.mark.req("IDN-08")
def test_hashes_of_two_schemes_do_not_join_and_shared_keys_join_nobody() -> None:
    """Gmail dots differ by scheme; one shop address on thirty contacts is nobody's."""
    crm = pd.DataFrame({"record": [1], "email": ["a.b@gmail.com"]})
    web = pd.DataFrame({"web_id": ["k"], "email_hash": [identifier_hash("email", "a.b@gmail.com", "meta")]})
    assert onboard(crm, web, scheme="meta").rates["rate"].iloc[-1] == 1.0
    assert onboard(crm, web, scheme="google").rates["rate"].iloc[-1] == 0.0
    shop = pd.DataFrame({"record": range(30), "email": "caisse@magasin.fr"})
    one = pd.DataFrame({"web_id": ["k"], "email": ["caisse@magasin.fr"]})
    assert onboard(shop, one).matches.empty


@pytest.mark.req("IDN-08")
def test_a_retailers_contacts_meet_their_accounts_as_the_truth_says(retailer) -> None:
    """Offline contacts and online accounts joined by hashed keys: pairs are of one person, the rate is the files'."""
    crm = side(retailer.engine, ["crm"], retailer.end)
    shop = side(retailer.engine, ["shop"], retailer.end, name="web_id")
    told = onboard(crm, shop)
    names = retailer.engine.query("SELECT node_id, source, record_id FROM nodes").to_pandas()
    true = names.merge(retailer.truth["identities"], on=["source", "record_id"])
    person = true.drop_duplicates("node_id").set_index("node_id")["person"]
    one = (told.matches["record"].map(person) == told.matches["web_id"].map(person)).to_numpy()
    assert one.mean() > 0.9, "a household may share an address or a line"
    spelt = {
        name: retailer.raw[file]["email"].dropna().str.strip().str.lower().str.replace(" ", "")
        for name, file in (("crm", "crm_contacts"), ("shop", "shop_accounts"))
    }
    planted = spelt["crm"].isin(set(spelt["shop"])).mean()
    assert told.rates.set_index("key").loc["email", "rate"] == pytest.approx(planted, abs=0.05)
    accounts = set(shop["web_id"].map(person).dropna())
    most = crm["record"].drop_duplicates().map(person).isin(accounts).mean()
    assert 0.2 < told.rates.set_index("key").loc["any", "rate"] < most, "others use another address there"


@pytest.mark.req("IDN-09")
def test_partner_keys_are_the_published_normalisation_under_a_secret() -> None:
    """Google's rule then an HMAC; the plain hashes equal Google's and Meta's published ones, letter for letter."""
    plain = {
        ("email", " Jane.Doe@GoogleMail.com ", "google"): "janedoe@googlemail.com",
        ("email", " Jane.Doe@GoogleMail.com ", "meta"): "jane.doe@googlemail.com",
        ("phone", "06 12 34 56 78", "google"): "+33612345678",
        ("phone", "06 12 34 56 78", "meta"): "33612345678",
    }
    for (kind, value, scheme), text in plain.items():
        assert identifier_hash(kind, value, scheme) == hashlib.sha256(text.encode()).hexdigest()
    assert partner_key("email", "Jane.Doe@gmail.com", SALT) == partner_key(
        "email", " janedoe@GMAIL.com", SALT
    )
    made = partner_keys(pd.Series(["a@b.fr", "inconnu", None]), "email", SALT)
    assert made[0] == partner_key("email", "a@b.fr", SALT) and made[1:].isna().all()


@pytest.mark.req("IDN-09")
def test_keys_salted_for_two_partners_do_not_join() -> None:
    """The same three hundred persons, no key in common; with one secret, all."""
    values = pd.Series(mails(range(300)))
    one, two = partner_keys(values, "email", SALT), partner_keys(values, "email", OTHER)
    assert one.notna().all() and not set(one) & set(two)
    assert set(one) == set(partner_keys(values.str.upper(), "email", SALT))
    with pytest.raises(Exception, match="at least 16 bytes"):
        partner_keys(values, "email", b"short")


def room(n_big: int = 200, n_small: int = 30) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ours: a big and a medium segment and a small one; theirs know the first 150 and ten of the small one."""
    ours = pd.DataFrame(
        {"key": list(partner_keys(pd.Series(mails(range(n_big + 100 + n_small))), "email", SALT))}
    )
    ours["segment"] = ["big"] * n_big + ["medium"] * 100 + ["small"] * n_small
    known = [*range(150), *range(200, 260), *range(300, 310)]
    theirs = pd.DataFrame(
        {"key": list(partner_keys(pd.Series(mails(range(1000)))[known], "email", SALT)), "segment": "flies"}
    )
    return ours, theirs


@pytest.mark.req("IDN-09")
def test_a_clean_room_returns_counts_only_and_none_that_gives_a_few_persons_away() -> None:
    """Totals exact, small overlaps hidden with one more so that no subtraction tells, no key in what comes out."""
    ours, theirs = room()
    out = clean_room(ours, theirs, DEAL, at="2025-06-01")
    assert out.totals.set_index("name")["persons"].to_dict() == {"ours": 330, "theirs": 220, "both": 220}
    mine = out.segments[out.segments["side"] == "ours"].set_index("segment")
    assert mine["persons"].tolist() == [200, 100, 30]
    assert mine["both"].isna().to_dict() == {"big": False, "medium": True, "small": True}
    assert mine.loc["big", "both"] == 150 and mine.loc["big", "share"] == pytest.approx(0.75)
    text = out.totals.to_csv() + out.segments.to_csv()
    assert not any(key in text for key in ours["key"])
    other = clean_room(
        ours,
        theirs.assign(key=list(partner_keys(pd.Series(mails(range(220))), "email", OTHER))),
        DEAL,
        at="2025-06-01",
    )
    assert other.totals["persons"].tolist()[-1] == 0
    with pytest.raises(FaultsError, match="keyed hashes"):
        clean_room(ours.assign(key="zoe@x.fr"), theirs, DEAL, at="2025-06-01")


def lake(until: str | None = "2026-01-01") -> DuckDBEngine:
    """Terms of a partner's source, as a contract declares them."""
    terms = pd.DataFrame({"source": "airline_file", "purpose": ["stitching", "profiling", "activation"], "allowed": [True, True, False],
                          "terms": "model", "partner": "airline", "until": pd.Timestamp(until), "retention_days": 90})  # fmt: skip
    return DuckDBEngine(frames={"source_terms": terms})


@pytest.mark.req("IDN-11")
def test_a_join_is_refused_once_its_agreement_is_over_or_for_another_purpose() -> None:
    """The record of partner, purpose and end decides: the day before, the day itself, another purpose."""
    deal = Agreement.read(lake(), "airline_file")
    assert (deal.partner, deal.purposes, deal.until) == (
        "airline",
        {"stitching", "profiling"},
        pd.Timestamp("2026-01-01"),
    )
    persons = pd.DataFrame({"person_id": ["p1", "p2", "p3"], "email": ["zoe@x.fr", "ana@x.fr", "leo@x.fr"]})
    theirs = pd.DataFrame({"key": partner_keys(persons["email"], "email", SALT), "flights": [3, 1, 0]})
    join = {"salt": SALT, "permitted": {"p1", "p2"}, "attributes": ["flights"]}
    told = second_party(persons, theirs, deal, at="2025-12-31", **join)
    assert told.frame[["person_id", "airline__flights"]].to_numpy().tolist() == [["p1", 3], ["p2", 1]]
    assert told.match == {"persons": 3, "permitted": 2, "matched": 2, "rate": 1.0}
    assert "email" not in told.frame and not holds_personal_values(told.frame.to_csv())
    with pytest.raises(ConsentError, match="ended on 2026-01-01"):
        second_party(persons, theirs, deal, at="2026-01-01", **join)
    with pytest.raises(ConsentError, match="must cover activation"):
        second_party(persons, theirs, deal, at="2025-12-31", purpose="activation", **join)
    with pytest.raises(ConsentError, match="ended"):
        clean_room(*room(), deal, at="2026-02-01")
    with pytest.raises(ConsentError, match="under an agreement"):
        Agreement.read(lake(None), "airline_file")
    assert (
        second_party(
            persons,
            theirs.assign(key=partner_keys(persons["email"], "email", OTHER)),
            deal,
            at="2025-12-31",
            **join,
        ).match["matched"]
        == 0
    )


@pytest.mark.req("IDN-10")
def test_a_cookie_without_advertising_consent_is_never_matched(retailer) -> None:
    """Every pair's own cookie has a grant at the date; the day it is withdrawn, its pairs are gone."""
    engine = retailer.engine
    pairs = cookie_matches(engine, retailer.end)
    allowed = set(consent.permitted_nodes(engine, "activation", retailer.end, channel="site")["node_id"])
    assert len(pairs) > 100 and set(pairs["own_node"]) <= allowed
    assert not pairs.duplicated(["own_node", "partner_node"]).any()
    told = engine.query("SELECT COUNT(*) AS n FROM cookie_matches").to_pandas()["n"][0]
    gone = allowed & set(pairs["own_node"]) ^ set(pairs["own_node"])
    assert not gone and told > len(pairs)
    one = int(pairs["own_node"].iloc[0])
    denied = engine.query("SELECT * FROM consents").to_pandas()
    last = pd.DataFrame({"node_id": [one], "source": "web", "purpose": "activation", "channel": "site", "status": "denied",
                         "event_time": retailer.end - pd.Timedelta(hours=1), "known_at": retailer.end - pd.Timedelta(hours=1)})  # fmt: skip
    frames = {
        name: engine.query(f"SELECT * FROM {name}").to_pandas()
        for name in ("nodes", "identifiers", "membership", "cookie_matches", "source_bases", "source_terms")
    }
    again = cookie_matches(
        DuckDBEngine(frames=frames | {"consents": pd.concat([denied, last])}), retailer.end
    )
    assert one not in set(again["own_node"]) and len(again) < len(pairs)


@pytest.mark.req("IDN-10", "IDN-11")
def test_a_networks_matches_need_its_agreement() -> None:
    """Over, or not for activation: refused before anything is read."""
    over = Agreement("adnet", frozenset({"activation"}), pd.Timestamp("2025-01-01"))
    with pytest.raises(ConsentError, match="ended"):
        cookie_matches(DuckDBEngine(), "2025-06-01", agreement=over)
    with pytest.raises(ConsentError, match="cover activation"):
        cookie_matches(
            DuckDBEngine(),
            "2025-06-01",
            agreement=Agreement("adnet", frozenset({"profiling"}), pd.Timestamp("2027-01-01")),
        )


@pytest.mark.req("IDN-10")
def test_the_match_rate_is_the_planted_one(retailer) -> None:
    """A visit is matched with one partner in four chances: a cookie of n visits, 1 - .75^n."""
    since = pd.Timestamp("2025-07-01")
    rates = match_rate(retailer.engine, since, retailer.end).set_index("partner")
    visits = retailer.truth["sessions"].query("started_at >= @since").groupby("cookie_id").size()
    names = retailer.engine.query("SELECT node_id, record_id FROM nodes WHERE source = 'web'").to_pandas()
    allowed = consent.permitted_nodes(retailer.engine, "activation", retailer.end, channel="site")
    mine = names.merge(allowed, on="node_id")["record_id"]
    planted = float((1 - 0.75 ** visits[visits.index.isin(mine)]).mean())
    for partner in rates.index.drop("any"):
        assert rates.loc[partner, "rate"] == pytest.approx(planted, abs=0.12)
    assert rates.drop("any")["rate"].mean() == pytest.approx(planted, abs=0.06)


@pytest.mark.req("IDN-10")
def test_the_decay_of_matches_is_the_planted_lifetime(retailer) -> None:
    """A partner's cookie lives 45 days on average: the share that holds falls as exp(-t / 45)."""
    curve = match_decay(retailer.engine, retailer.end)
    whole = curve[curve["partner"] == "any"]
    assert whole["holding"].is_monotonic_decreasing and whole["matches"].iloc[0] > 300
    gap = whole["holding"].to_numpy() - np.exp(-whole["days"].to_numpy() / 45.0)
    assert np.abs(gap).max() < 0.1 and abs(gap.mean()) < 0.05


def test_survival_recovers_a_lifetime_seen_only_at_visits() -> None:
    """Lives of 20 days looked at on random days, the end known between two looks: the curve is the planted one."""
    rng = np.random.default_rng(0)
    low, high = [], []
    for life in rng.exponential(20, 3000):
        looks = np.cumsum(rng.exponential(12, 12))
        alive = looks[looks < life]
        after = looks[looks >= life]
        low.append(alive.max(initial=0))
        high.append(after.min() if len(after) else np.inf)
    ages = [5, 10, 20, 40]
    assert np.abs(survival(np.array(low), np.array(high), ages) - np.exp(-np.array(ages) / 20)).max() < 0.03
    assert np.isnan(survival(np.array([]), np.array([]), [1])).all()


def test_partners_are_in_no_first_party_view(retailer) -> None:
    """The identity room knows partners' cookies, and counts none of them as a person of the CRM or the web."""
    names = retailer.engine.query(
        "SELECT m.person_id FROM membership AS m JOIN nodes AS n USING (node_id) WHERE m.known_to IS NULL"
        " GROUP BY m.person_id HAVING MIN(n.source) = 'ads' AND MAX(n.source) = 'ads'"
    ).to_pandas()["person_id"]
    assert not set(names) & set(identity.presence(retailer.engine)["person_id"])
