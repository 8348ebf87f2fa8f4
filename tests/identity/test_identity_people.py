"""Persons counted honestly: by what is known of them, where they are seen, per cookie beside per person."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit import identity
from cdpkit.engine import DuckDBEngine
from cdpkit.identity.tables import frames

DAY = pd.Timestamp("2025-01-01")
UNTIL = pd.Timestamp("2025-03-01")


def day(n: float) -> pd.Timestamp:
    return DAY + pd.Timedelta(days=n)


def base(devices: list[int], signs_in: int = 10) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """An account a person and its cookies, each with two pages before its sign-in and one after; the events."""
    nodes, ids, events = [], [], []
    for person, n in enumerate(devices):
        nodes.append((1000 * person, "shop", f"acc-{person}", "account", 0))
        ids.append((1000 * person, "shop", "account_id", f"acc-{person}", 0))
        for k in range(1, n + 1):
            node, cookie = 1000 * person + k, f"ck-{person}-{k}"
            nodes.append((node, "web", cookie, "cookie", 1))
            ids += [
                (node, "web", "cookie_id", cookie, 1),
                (node, "web", "account_id", f"acc-{person}", signs_in),
            ]
            events += [
                (f"{cookie}/{j}", node, "Page Viewed", at) for j, at in enumerate((1, 2, signs_in + 5))
            ]
        if n and person % 2:
            events.append((f"order-{person}", 1000 * person + 1, "Order Completed", signs_in + 6))
    made = pd.DataFrame(nodes, columns=["node_id", "source", "record_id", "node_type", "n"])
    made["known_at"] = made.pop("n").map(day)
    seen = pd.DataFrame(ids, columns=["node_id", "source", "id_type", "value", "n"])
    seen["event_time"] = seen["known_at"] = seen.pop("n").map(day)
    told = pd.DataFrame(events, columns=["event_id", "node_id", "event_type", "n"]).assign(source="web")
    told["event_time"] = told["known_at"] = told.pop("n").map(day)
    both = [(s, p, "legitimate_interest") for s in ("shop", "web") for p in ("stitching", "profiling")]
    bases = pd.DataFrame(both, columns=["source", "purpose", "basis"])
    return {"nodes": made, "identifiers": seen, "source_bases": bases, "events": told}, told


def resolved(tables: dict[str, pd.DataFrame]) -> DuckDBEngine:
    out = identity.resolve(identity.records(DuckDBEngine(frames=tables)), run_id="r1", scoring=False)
    written = frames(out, b"key")
    kept = {name: written[name] for name in ("membership", "aliases", "persons", "golden")}
    return DuckDBEngine(frames=tables | kept)


@pytest.mark.req("IDN-14")
@pytest.mark.parametrize("seed", [0, 1])
def test_the_inflation_of_cookies_is_the_planted_rate_of_devices(seed: int) -> None:
    """As many visitors more per cookie than per person as persons have devices; conversion looks that lower."""
    devices = np.random.default_rng(seed).integers(1, 5, 40).tolist()
    tables, events = base(devices)
    table = identity.per_cookie(resolved(tables), DAY, UNTIL).set_index("metric")
    rate = sum(devices) / len(devices)
    assert table.loc["visitors", "inflation"] == pytest.approx(rate)
    assert table.loc["visitors", ["per_cookie", "per_person"]].tolist() == [sum(devices), 40]
    assert table.loc["buyers", ["per_cookie", "per_person"]].tolist() == [20, 20]
    assert table.loc["conversion", "inflation"] == pytest.approx(1 / rate)
    assert table.loc["pages", "per_person"] == pytest.approx(len(events) / 40)


@pytest.mark.req("IDN-14")
def test_in_a_retailer_cookies_per_person_are_those_of_the_truth(retailer) -> None:
    """Among persons whose cookies all came back to them, the ratio is the truth's."""
    engine = retailer.engine
    table = identity.per_cookie(engine, "2025-01-01", retailer.end).set_index("metric")
    ids = retailer.truth["identities"]
    web = ids[ids["source"] == "web"].drop_duplicates("record_id", keep=False)
    held = engine.query(
        "SELECT n.record_id, m.person_id FROM nodes AS n JOIN membership AS m USING (node_id)"
        " WHERE n.source = 'web' AND m.known_to IS NULL AND m.person_id IN (SELECT m.person_id FROM membership"
        " AS m JOIN nodes AS n USING (node_id) WHERE m.known_to IS NULL AND n.node_type NOT IN ('cookie', 'anonymous'))"
    ).to_pandas()
    both = held.merge(web, on="record_id")
    true = len(both) / both["person"].nunique()
    assert table.loc["visitors", "inflation"] == pytest.approx(true, rel=0.1)
    assert table.loc["visitors", "inflation"] > 1.2


@pytest.mark.req("IDN-07")
def test_a_login_brings_back_the_history_and_nothing_counts_twice() -> None:
    """Before: visitors of their own. After: one history, its first pages told as back-filled, as many events."""
    tables, events = base([1, 2, 3])
    engine = resolved(tables)
    before = identity.back_filled(engine, until=day(9))
    assert len(before) == 6 and (before["back_filled"] == 0).all()
    after = identity.back_filled(engine)
    assert len(after) == 3
    assert after["events"].sum() == len(events) and after["events"].max() == 9
    assert after["back_filled"].tolist() == [2, 4, 6]
    assert (after["first_login_at"] == day(10)).all()


@pytest.mark.req("IDN-07")
def test_in_a_retailer_every_event_is_told_once(retailer) -> None:
    """The reported histories sum to the events table, whatever was stitched; some came back by a login."""
    told = identity.back_filled(retailer.engine)
    n = retailer.engine.query("SELECT COUNT(*) AS n FROM events").to_pandas()["n"][0]
    assert told["events"].sum() == n and not told["person_id"].duplicated().any()
    assert (told["as_known"] + told["back_filled"] == told["events"]).all()
    assert 0 < told["back_filled"].sum() < n
    assert told.loc[told["back_filled"] > 0, "first_login_at"].notna().all()


@pytest.mark.req("WHR-11")
def test_everybody_is_in_the_crm_on_the_web_or_in_both() -> None:
    """Sets as planted: accounts without a cookie, cookies that never signed in, and those that did."""
    tables, _ = base([0, 0, 2, 1])
    lone = pd.DataFrame({"node_id": [9001, 9002], "source": "web", "record_id": ["x", "y"],
                         "node_type": "cookie", "known_at": day(1)})  # fmt: skip
    tables["nodes"] = pd.concat([tables["nodes"], lone], ignore_index=True)
    engine = resolved(tables)
    found = identity.presence(engine)
    node = engine.query("SELECT node_id, person_id FROM membership WHERE known_to IS NULL").to_pandas()
    groups = node.merge(found, on="person_id").groupby("present")["node_id"].agg(set)
    assert groups.to_dict() == {"crm": {0, 1000}, "web": {9001, 9002}, "both": {2000, 2001, 2002, 3000, 3001}}
    assert len(found) == len(engine.query("SELECT * FROM persons").to_pandas())
    early = identity.presence(engine, as_of=day(5))["present"].value_counts().to_dict()
    assert early == {"web": 5, "crm": 4}


@pytest.mark.req("WHR-11")
def test_one_profile_holds_what_the_crm_and_the_web_know(retailer) -> None:
    """A person of both has contacts of both kinds in one view; the sets are those of the records."""
    found = identity.presence(retailer.engine)
    kinds = retailer.engine.query(
        "SELECT m.person_id, MAX(CASE WHEN n.node_type IN ('cookie', 'anonymous') THEN 1 ELSE 0 END) AS web,"
        " MAX(CASE WHEN n.node_type IN ('cookie', 'anonymous') THEN 0 ELSE 1 END) AS crm"
        " FROM membership AS m JOIN nodes AS n USING (node_id)"
        " WHERE m.known_to IS NULL AND n.source <> 'ads' GROUP BY m.person_id"
    ).to_pandas()
    expected = np.select(
        [(kinds["web"] == 1) & (kinds["crm"] == 1), kinds["web"] == 1], ["both", "web"], "crm"
    )
    want = dict(zip(kinds["person_id"], expected, strict=True))
    assert dict(zip(found["person_id"], found["present"], strict=True)) == want
    both = found.loc[found["present"] == "both", "person_id"].iloc[0]
    view = identity.profile_360(retailer.engine, both, subject_request=True)
    assert {"cookie"} < set(view.records["node_type"])


def test_partners_cookies_do_not_count_as_people(retailer) -> None:
    """Kinds add up to the resolved persons; those to show are the persons of the truth, not their cookies."""
    told = identity.populations(retailer.engine)
    n = retailer.engine.query("SELECT COUNT(*) AS n FROM persons").to_pandas()["n"][0]
    assert told["persons"].sum() == n
    partner = told.set_index("kind")["persons"]["partner"]
    ads = retailer.engine.query(
        "SELECT COUNT(*) AS n FROM (SELECT m.person_id FROM membership AS m JOIN nodes AS nd USING (node_id)"
        " WHERE m.known_to IS NULL GROUP BY 1 HAVING MIN(nd.source) = 'ads' AND MAX(nd.source) = 'ads') AS alone"
    ).to_pandas()["n"][0]
    assert partner == ads > 0.3 * n
    assert told.set_index("kind")["counted"].to_dict() == {
        "known": True, "visitor": True, "silent": False, "partner": False
    }  # fmt: skip
    assert told[["fr", "en"]].notna().all().all()
