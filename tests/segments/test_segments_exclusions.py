"""Exclusions one by one, overrides, offers, reach: each reason has who it takes and who it leaves."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit import decisions
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError, FaultsError
from cdpkit.segments import Audience, Offer, build, reach
from cdpkit.segments.audience import LIFTED, REASONS
from cdpkit.segments.contact import ADDRESSES, CONTACT, prepare
from cdpkit.segments.ledger import Cap, suspend
from cdpkit.segments.mastery import overridden, override, settled
from cdpkit.segments.offers import matrix
from cdpkit.workspace import Workspace

T = pd.Timestamp("2026-06-01").as_unit("us")
BEFORE = T - pd.Timedelta(days=60)
N = 8
PERSONS = [f"p{i}" for i in range(N)]


def engine(granted: list[int] | None = None, **frames: pd.DataFrame) -> DuckDBEngine:
    """Return eight persons of one record and one address each, who agreed unless told otherwise."""
    nodes = list(range(N))
    agreed = nodes if granted is None else granted
    base = {
        "nodes": pd.DataFrame({"node_id": nodes, "source": "crm", "record_id": PERSONS, "node_type": "contact",
                               "known_at": BEFORE}),
        "membership": pd.DataFrame({"node_id": nodes, "person_id": PERSONS, "known_from": BEFORE,
                                    "known_to": pd.Series([pd.NaT] * N, dtype="datetime64[us]")}),
        "golden": pd.DataFrame({"person_id": PERSONS, "attribute": "email", "node_id": nodes,
                                "source": ["crm"] * (N - 1) + ["partner"], "known_at": BEFORE, "rule": "latest",
                                "value": [f"{p}@x.example" for p in PERSONS]}),
        "consents": pd.DataFrame({"node_id": agreed, "source": "crm", "purpose": "activation", "channel": "email",
                                  "status": "granted", "event_time": BEFORE, "known_at": BEFORE}),
    }  # fmt: skip
    return DuckDBEngine(frames=base | frames)


def order(person: int, days: int, **more: object) -> dict:
    when = T - pd.Timedelta(days=days)
    return {
        "order_id": f"o{person}",
        "node_id": person,
        "source": "shop",
        "event_time": when,
        "known_at": when,
        **more,
    }


def line(person: int, days: int, product: str) -> dict:
    return {**order(person, days), "line_no": 1, "product_id": product, "quantity": 1}


def why(built: object) -> dict:
    rows = built.candidates.set_index("person_id")["excluded_by"]
    return rows.dropna().to_dict()


def all_of(**options: object) -> Audience:
    return Audience("all", **{"control_share": 0.0, "quiet_days": 0, **options})


@pytest.mark.req("SEG-09")
def test_each_automatic_exclusion_takes_who_it_names_and_leaves_the_others() -> None:
    """Already bought, not eligible, no consent, suspended, capped, rested, terms: each with both sides."""
    lines = pd.DataFrame([line(0, 100, "kettle"), line(1, 900, "kettle"), line(2, 5, "cup")])
    sent = pd.DataFrame([{**order(3, 2), "message_id": "m3", "channel": "sms"}, {**order(4, 20), "message_id": "m4", "channel": "sms"}])  # fmt: skip
    facts = {"order_lines": lines, "messages": sent.drop(columns="order_id")}
    kept = engine(granted=[0, 1, 2, 3, 4, 5, 7], **facts)
    offer = Offer("kettle", ("email",), products=("kettle",))
    blocked = {
        "suspended": pd.DataFrame({"person_id": ["p5"]}),
        "capped": pd.DataFrame({"person_id": ["p2", "p5"]}),
    }
    built = build(
        kept, all_of(offer=offer, rest_days=7, barred_sources=("partner",)), as_of=T, blocked=blocked
    )
    assert why(built) == {"p0": "already_bought", "p2": "capped", "p3": "too_recent", "p5": "suspended",
                          "p6": "no_consent", "p7": "source_terms"}  # fmt: skip
    assert built.members == ["p1", "p4"]
    young = pd.DataFrame({"person_id": PERSONS, "as_of": T, "profile__age": [10.0, 20.0] * 4})
    kept.register("features_standard", young)
    adults = build(kept, all_of(offer=Offer("card", ("email",), eligible="age >= 18")), as_of=T)
    assert set(adults.members) == {"p1", "p3", "p5", "p7"} and set(why(adults).values()) == {
        "not_eligible",
        "no_consent",
    }
    assert {"p0", "p2"} <= set(build(kept, all_of(exclude=("age >= 18",)), as_of=T).members)
    with pytest.raises(CdpkitError):
        build(kept, all_of(), as_of=T, blocked={"control": blocked["capped"]})


@pytest.mark.req("WHR-06")
def test_an_ineligible_pair_of_offer_and_channel_keeps_nobody() -> None:
    """The matrix says where an offer may be made; elsewhere nobody is kept, whoever was put in by hand."""
    offers = [Offer("card", ("email", "post")), Offer("app gift", ("app",))]
    pairs = matrix(offers, list(ADDRESSES)).set_index(["offer", "channel"])["eligible"]
    for offer in offers:
        built = build(engine(), all_of(offer=offer), as_of=T)
        assert bool(built.members) == pairs[offer.name, "email"]
    with pytest.raises(FaultsError):
        Offer("x", ("pigeon",))


def test_stored_audiences_bound_and_exclude_and_rules_need_no_model() -> None:
    """Candidates come from the audiences named, by one or by all, less those of others; the last date counts."""
    rows = [("vip", T, p) for p in ("p0", "p1", "p2")] + [("new", T, p) for p in ("p2", "p3")]
    rows += [("vip", T - pd.Timedelta(days=30), "p7"), ("gone", T, "p1")]
    stored = pd.DataFrame(rows, columns=["audience", "as_of", "person_id"]).assign(
        included=True, decided_by="rule"
    )
    made = engine(audiences=stored)
    assert build(made, all_of(among=("vip", "new"), without=("gone",)), as_of=T).members == ["p0", "p2", "p3"]
    assert build(made, all_of(among=("vip", "new"), match="all"), as_of=T).members == ["p2"]
    assert set(build(made, all_of(), as_of=T).candidates["decided_by"]) == {"rule"}
    with pytest.raises(FaultsError) as refused:
        Audience("x", channel="pigeon", control_share=2, rest_days=-1, match="some")
    assert len(refused.value.faults) == 4


def _decided(workspace: Workspace, **more: object) -> None:
    override(workspace, audience="all", author="ines", decided_at=datetime(2026, 6, 1), **more)


@pytest.mark.req("GOV-19")
def test_an_override_wins_and_is_in_the_log(tmp_path: Path) -> None:
    """By hand in beats the machine's reasons, by hand out beats the rule; consent stands; all is logged."""
    workspace = Workspace.open(tmp_path)
    _decided(workspace, person_id="p0", include=True, reason="asked us at the counter")
    _decided(workspace, person_id="p1", include=False, reason="complaint in progress")
    _decided(workspace, person_id="p6", include=True, reason="a friend")
    decisions.record(workspace, kind="threshold", subject="audiences", content={"quiet_days": 30}, author="ines",
                     reason="season", decided_at=datetime(2026, 6, 1))  # fmt: skip
    with pytest.raises(CdpkitError, match="reason"):
        _decided(workspace, person_id="p2", include=True, reason=" ")
    log = pd.DataFrame(
        [{"decision_id": d.id, "kind": d.kind, "subject": d.subject, "content": json.dumps(d.content), "author": d.author,
          "reason": d.reason, "event_time": pd.Timestamp(d.decided_at), "run_id": "r1"}
         for d in decisions.pending(workspace)]
    )  # fmt: skip
    orders = pd.DataFrame(
        [order(0, 20, amount_minor=1), order(2, 20, amount_minor=1), order(3, 40, amount_minor=1)]
    )
    held = engine(granted=[0, 1, 2, 3, 4], decisions=log, orders=orders)
    in_force = settled(held, "audiences", {"quiet_days": 7, "rest_days": 0})
    assert in_force.values == {"quiet_days": 30, "rest_days": 0}
    assert in_force.edited[["name", "default", "value", "author", "reason"]].values.tolist() == [["quiet_days", 7, 30, "ines", "season"]]  # fmt: skip
    built = build(held, Audience("all", control_share=0.0, quiet_days=in_force.values["quiet_days"]), as_of=T)
    out = why(built)
    assert set(built.members) == {"p0", "p3", "p4"}
    assert out["p1"] == "left_out" and out["p2"] == "bought_lately" and out["p6"] == "no_consent"
    put_in = build(held, all_of(without=("nothing",), among=("nothing",)), as_of=T)
    assert put_in.members == ["p0"] and put_in.candidates["decided_by"].tolist() == ["override", "override"]
    assert overridden(held, "all")["include"].tolist().count(True) == 2
    with pytest.raises(FaultsError):
        settled(held, "audiences", {"quiet_days": "seven"})


def test_a_suspension_holds_until_its_last_day_and_caps_count_what_was_sent(tmp_path: Path) -> None:
    """Suspended persons are in no audience of those days, whoever puts them in; they are back the day after."""
    workspace = Workspace.open(tmp_path)
    suspend(workspace, person_id="p0", first_day=date(2026, 5, 20), last_day=date(2026, 6, 1), reason="tired", author="ines",
            decided_at=datetime(2026, 5, 19))  # fmt: skip
    _decided(workspace, person_id="p0", include=True, reason="a friend")
    log = pd.DataFrame(
        [{"decision_id": d.id, "kind": d.kind, "subject": d.subject, "content": json.dumps(d.content), "author": d.author,
          "reason": d.reason, "event_time": pd.Timestamp(d.decided_at), "run_id": "r1"}
         for d in decisions.pending(workspace)]
    )  # fmt: skip
    sent = pd.DataFrame([{**order(3, 1), "message_id": "m3", "channel": "email"}]).drop(columns="order_id")
    held = engine(decisions=log, messages=sent)
    assert why(build(held, all_of(), as_of=T)) == {"p0": "suspended"}
    assert why(build(held, all_of(caps=(Cap(1, 48, "email"),)), as_of=T)) == {
        "p0": "suspended",
        "p3": "capped",
    }
    after = T + pd.Timedelta(days=1)
    assert why(build(held, all_of(), as_of=after)) == {}


sets = st.sets(st.integers(0, N - 1))


@settings(max_examples=4, deadline=None, derandomize=True)
@given(sets, sets, sets, sets, sets, st.sampled_from([0.0, 0.5]))
def test_nobody_excluded_suspended_or_in_control_is_kept_whatever_the_hand_says(
    agreed: set, suspended: set, capped: set, inside: set, outside: set, control: float
) -> None:
    """Kept persons agreed, are suspended nowhere, left out by nobody, and capped only where put in by hand."""
    rows = [(f"d{i}{y}", p, y) for y, who in (("a", inside), ("b", outside)) for i, p in enumerate(who)]
    log = pd.DataFrame(
        [{"decision_id": d, "kind": "override", "subject": "all", "author": "x", "reason": "y", "run_id": "r",
          "content": json.dumps({"person_id": f"p{p}", "include": y == "a"}), "event_time": T + pd.Timedelta(days=int(y == "b"))} for d, p, y in rows],
        columns=["decision_id", "kind", "subject", "content", "author", "reason", "event_time", "run_id"],
    )  # fmt: skip
    held = engine(granted=sorted(agreed), decisions=log)
    blocked = {name: pd.DataFrame({"person_id": [f"p{i}" for i in who]}, dtype="str") for name, who in (("suspended", suspended), ("capped", capped))}  # fmt: skip
    built = build(held, all_of(control_share=control), as_of=T, blocked=blocked)
    kept = {int(p[1:]) for p in built.members}
    drawn = {int(p[1:]) for p, reason in why(built).items() if reason == "control"}
    allowed = agreed - suspended - outside - (capped - (inside - outside))
    assert kept | drawn == allowed and not kept & drawn and (control or not drawn)
    assert built.waterfall["n_out"].sum() + len(kept) == N and set(LIFTED) < set(REASONS)
    again = build(held, all_of(control_share=control), as_of=T, blocked=blocked)
    assert again.candidates.equals(built.candidates)


ADDRESS = st.sampled_from(["Ann.B@Gmail.com", "annb@gmail.com", " annb@gmail.com", "A@x.fr", "a@X.fr", "a@x", "no", "é@x.fr", "É@X.fr", "ann@@x.fr", "ａ@x.fr"])  # fmt: skip


@settings(max_examples=8, deadline=None)
@given(st.lists(ADDRESS, min_size=N, max_size=N))
def test_addresses_compare_as_their_hashes_do(values: list[str]) -> None:
    """What the engine computes for plain addresses is what the destination's hash says of any."""
    from cdpkit.identity.hashing import identifier_hash

    golden = engine().query("SELECT * FROM golden").to_pandas().assign(value=values)
    made = engine(golden=golden)
    prepare(made, "email")
    found = made.query(f"SELECT person_id, address FROM {CONTACT} ORDER BY person_id").to_pandas()["address"]
    assert [None if pd.isna(a) else a for a in found] == [
        identifier_hash("email", v, "google") for v in values
    ]


@pytest.mark.req("SEG-02")
def test_reach_counts_who_can_be_written_to_by_channel_and_once_in_all() -> None:
    """An audience is planned by its size, its overlap and the share each channel reaches."""
    made = engine(granted=[0, 1, 2])
    golden = made.query("SELECT * FROM golden").to_pandas()
    phones = golden.assign(attribute="phone", value=[f"06 00 00 00 0{i}" for i in range(N)]).iloc[2:4]
    consents = made.query("SELECT * FROM consents").to_pandas()
    made.register("golden", pd.concat([golden.iloc[1:], phones]))
    made.register("consents", pd.concat([consents, consents.iloc[:1].assign(channel="sms", node_id=3)]))
    found = reach(made, "SELECT person_id FROM membership", ("email", "sms")).set_index("channel")
    assert found["reachable"].to_dict() == {"email": 2, "sms": 1, "any": 3}
    assert found["with_address"].to_dict() == {"email": 7, "sms": 2, "any": 7}
    assert found.loc["any", "share"] == 3 / N and found["n"].eq(N).all()
