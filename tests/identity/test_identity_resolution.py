"""Who is joined, who is kept apart, and since when."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.errors import FaultsError, SchemaError
from cdpkit.identity import resolve

DAY = pd.Timestamp("2025-01-01")


def day(n: float) -> pd.Timestamp:
    return DAY + pd.Timedelta(days=n)


def partition(frame: pd.DataFrame) -> set[frozenset[str]]:
    keyed = frame.assign(key=frame["source"] + "/" + frame["record_id"])
    return {frozenset(keys) for _, keys in keyed.groupby("person_id")["key"]}


def components(nodes: set[str], pairs: list[tuple[str, str]]) -> set[frozenset[str]]:
    group = {node: {node} for node in nodes}
    for a, b in pairs:
        if a in nodes and b in nodes and group[a] is not group[b]:
            group[a] |= group[b]
            for node in group[b]:
                group[node] = group[a]
    return {frozenset(members) for members in group.values()}


ROWS = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["crm", "web"]),
        "record_id": st.sampled_from("abcdefgh"),
        "first_name": st.sampled_from([None, None, "Marie", "Paul", "Mraie", "M"]),
        "last_name": st.sampled_from([None, "Petit", "Durand"]),
        "birth_date": st.sampled_from([None, "1980-03-04", "1980-04-03", "1981-03-04"]),
        "email": st.sampled_from([None, None, "e1@x.fr", "e2@x.fr", "e3@x.fr", "na"]),
        "phone": st.sampled_from([None, None, "0612345678", "0698765432"]),
        "loyalty_id": st.sampled_from([None, None, "l4821", "l4822"]),
        "postcode": st.sampled_from([None, "75001"]),
        "known_at": st.sampled_from([None, *(day(n) for n in range(6))]),
    }
)
RECORDS = st.lists(ROWS, min_size=1, max_size=14).map(pd.DataFrame)


@settings(max_examples=15, deadline=None)
@given(RECORDS, st.randoms(use_true_random=False))
@pytest.mark.req("IDN-01")
def test_the_order_of_rows_changes_nothing(records: pd.DataFrame, random) -> None:
    """Shuffled rows give the same persons under the same ids, the same links and golden record."""
    order = list(range(len(records)))
    random.shuffle(order)
    one, other = resolve(records, run_id="r1"), resolve(records.iloc[order], run_id="r1")
    for name in ("membership", "links", "persons", "golden", "person_events", "identifier_status"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))


@settings(max_examples=15, deadline=None)
@given(RECORDS, st.integers(0, 14))
def test_chunks_give_the_partition_of_the_whole(records: pd.DataFrame, cut: int) -> None:
    """Persons do not depend on what was resolved before; only their ids do."""
    first = resolve(records.iloc[: min(cut, len(records))], run_id="r1")
    grown, whole = resolve(records, first, run_id="r2"), resolve(records, run_id="r1")
    assert partition(grown.as_of()) == partition(whole.as_of())


def linked(links: pd.DataFrame) -> list[tuple[str, str]]:
    left = links["left_source"] + "/" + links["left_record_id"]
    return list(zip(left, links["right_source"] + "/" + links["right_record_id"], strict=True))


@settings(max_examples=25, deadline=None)
@given(RECORDS)
def test_persons_follow_from_the_links_now_and_on_any_past_day(records: pd.DataFrame) -> None:
    """Membership is the components of the accepted links known by then; stays leave no gap."""
    out = resolve(records, run_id="r1")
    rows = out.membership.sort_values(["source", "record_id", "known_from"])
    for _, stays in rows.groupby(["source", "record_id"]):
        assert stays["known_to"].isna().tolist() == [False] * (len(stays) - 1) + [True]
        assert (stays["known_to"].iloc[:-1].to_numpy() == stays["known_from"].iloc[1:].to_numpy()).all()
        assert (stays["known_from"].iloc[:-1].to_numpy() < stays["known_to"].iloc[:-1].to_numpy()).all()
    since = rows.assign(key=rows["source"] + "/" + rows["record_id"]).groupby("key")["known_from"].min()
    accepted = out.links[out.links["state"] != "refused"]
    for t in [day(n + 0.5) for n in range(-1, 7)] + [day(n) for n in range(6)]:
        expected = components(set(since.index[since < t]), linked(accepted[accepted["known_at"] < t]))
        assert partition(out.as_of(t)) == expected
    used = out.links[out.links["state"] == "used"]
    assert components(set(since.index), linked(used)) == partition(out.as_of())
    assert len(used) == len(out.nodes) - len(out.persons)


SIGN_INS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz"), st.integers(2, 7)), max_size=10
)


@settings(max_examples=20, deadline=None)
@given(SIGN_INS, st.integers(1, 9))
def test_a_later_sign_in_does_not_change_the_past(sign_ins: list[tuple[str, str, int]], t: int) -> None:
    """Cutting the future of shared devices and resolving again gives the persons of that day."""
    rows = [{"source": "shop", "record_id": a, "account_id": f"acc-{a}", "known_at": day(0)} for a in "xyz"]
    rows += [{"source": "web", "record_id": c, "cookie_id": f"ck-{c}", "known_at": day(1)} for c in "abcd"]
    rows += [
        {"source": "web", "record_id": c, "account_id": f"acc-{a}", "known_at": day(n)}
        for c, a, n in sign_ins
    ]
    records = pd.DataFrame(rows)
    whole, past = resolve(records, run_id="r1"), resolve(records[records["known_at"] < day(t)], run_id="r1")
    assert partition(whole.as_of(day(t))) == partition(past.as_of())


def test_a_cookie_belongs_to_itself_before_the_login_and_to_the_account_after() -> None:
    """The login moves the cookie, not its past; nothing is counted twice."""
    records = pd.DataFrame(
        {
            "source": ["shop", "web", "web"],
            "record_id": ["a1", "k1", "k1"],
            "account_id": ["acc-1", None, "acc-1"],
            "email": ["zoe@shop.fr", None, None],
            "cookie_id": [None, "k1", None],
            "known_at": [day(5), day(1), day(9)],
        }
    )
    out = resolve(records, run_id="r1")
    account = out.as_of().iloc[0]["person_id"]
    assert out.as_of()["person_id"].tolist() == [account, account]
    before = out.as_of(day(9)).set_index("record_id")["person_id"]
    assert before["a1"] == account != before["k1"]
    assert out.aliases[["old_id", "person_id"]].to_numpy().tolist() == [[before["k1"], account]]
    link = out.links.iloc[0]
    assert (link["state"], link["known_at"]) == ("used", day(9))


def test_a_shared_device_follows_its_last_sign_in_and_joins_no_accounts() -> None:
    """Two accounts on one cookie stay two persons; the cookie goes from one to the other."""
    rows = [("shop", a, f"acc-{a}", day(0)) for a in "xy"]
    rows += [("web", "k", None, day(1)), ("web", "k", "acc-x", day(3)), ("web", "k", "acc-y", day(6))]
    out = resolve(pd.DataFrame(rows, columns=["source", "record_id", "account_id", "known_at"]), run_id="r1")
    assert partition(out.as_of(day(2))) == {
        frozenset({"shop/x"}),
        frozenset({"shop/y"}),
        frozenset({"web/k"}),
    }
    assert partition(out.as_of(day(4))) == {frozenset({"shop/x", "web/k"}), frozenset({"shop/y"})}
    assert partition(out.as_of()) == {frozenset({"shop/x"}), frozenset({"shop/y", "web/k"})}
    refused = out.links[out.links["state"] == "refused"]
    assert refused["refused_by"].tolist() == ["later sign-in"]


@pytest.mark.parametrize(
    ("first", "birth", "persons"),
    [
        (["Marie", "Michel"], [None, None], 2),
        (["Louis", "Louise"], [None, None], 2),
        (["Marie", "Mraie"], [None, None], 1),
        (["Marie", "M"], [None, None], 1),
        (["Marie", None], [None, None], 1),
        (["Marie", "Marie"], ["1980-03-04", "1981-03-04"], 2),
        (["Marie", "Marie"], ["1980-03-04", "1980-04-03"], 1),
        (["Marie", "Marie"], ["1980-03-04", "1980-01-01"], 1),
    ],
)
def test_a_household_address_does_not_join_two_people(first: list, birth: list, persons: int) -> None:
    """One e-mail joins records whose names and birth dates can be one person's, and no others."""
    records = pd.DataFrame(
        {"source": "s", "record_id": ["a", "b"], "email": "famille@orange.fr", "first_name": first,
         "last_name": "Petit", "birth_date": birth}
    )  # fmt: skip
    out = resolve(records, run_id="r1")
    assert len(out.persons) == persons
    refused = out.links[out.links["state"] == "refused"]
    assert refused["refused_by"].notna().all() and len(refused) == persons - 1


def test_a_record_that_may_not_be_stitched_stays_alone_and_lends_no_evidence() -> None:
    """Two such records are not linked even to each other, nor do they bridge or count for others."""
    records = pd.DataFrame(
        {
            "source": "s",
            "record_id": list("abcd"),
            "email": ["e@x.fr"] * 4,
            "may_link": [True, False, False, True],
        }
    )
    out = resolve(records, run_id="r1")
    assert partition(out.as_of()) == {frozenset({"s/a", "s/d"}), frozenset({"s/b"}), frozenset({"s/c"})}
    assert out.identifier_status["n_records"].tolist() == [2]


def _decision(kind: str, left: str, right: str, at: pd.Timestamp) -> dict:
    return {"kind": kind, "left_source": "s", "left_record_id": left, "right_source": "s", "right_record_id": right,
            "decided_at": at}  # fmt: skip


def test_a_decision_joins_what_evidence_does_not_and_from_its_day_on() -> None:
    """A must-link overrides the guards and is known when it was decided."""
    records = pd.DataFrame(
        {
            "source": "s",
            "record_id": ["a", "b"],
            "first_name": ["Marie", "Paul"],
            "known_at": [day(0), day(0)],
        }
    )
    out = resolve(records, decisions=pd.DataFrame([_decision("must_link", "b", "a", day(3))]), run_id="r1")
    assert len(out.persons) == 1
    assert len(set(out.as_of(day(3))["person_id"])) == 2
    assert len(set(out.as_of(day(3.1))["person_id"])) == 1


def test_a_decision_separates_through_every_path_and_survives_later_runs() -> None:
    """A cannot-link holds when a third record would join the two, and in the next resolution."""
    records = pd.DataFrame(
        {
            "source": "s",
            "record_id": ["a", "b", "c"],
            "email": ["e@x.fr"] * 3,
            "phone": [None, "0612345678", "0612345678"],
        }
    )
    apart = pd.DataFrame([_decision("cannot_link", "a", "b", day(3))])
    out = resolve(records, decisions=apart, run_id="r1")
    for again in (out, resolve(records, out, apart, run_id="r2")):
        person = again.as_of().set_index("record_id")["person_id"]
        assert person["a"] != person["b"]
        assert "decision" in set(again.links["refused_by"].dropna())


def test_the_latest_decision_on_a_pair_holds_and_separation_wins_ties() -> None:
    """Minds change; at one instant the careful answer holds."""
    records = pd.DataFrame({"source": "s", "record_id": ["a", "b"], "email": "e@x.fr"})
    rows = [_decision("cannot_link", "a", "b", day(1)), _decision("must_link", "b", "a", day(2))]
    assert len(resolve(records, decisions=pd.DataFrame(rows), run_id="r1").persons) == 1
    rows.append(_decision("cannot_link", "b", "a", day(2)))
    assert len(resolve(records, decisions=pd.DataFrame(rows), run_id="r1").persons) == 2


def test_a_base_without_duplicates_gives_no_merge() -> None:
    """Records that share no identity stay apart, though they share postcodes, cities and first names."""
    records = pd.DataFrame(
        {"source": "s", "record_id": [str(i) for i in range(200)], "email": [f"p{i}@x.fr" for i in range(200)],
         "first_name": ["Marie", "Paul"] * 100, "last_name": [f"Nom{i:03}" for i in range(200)],
         "birth_date": [f"19{50 + i % 40}-0{1 + i % 9}-1{i % 9}" for i in range(200)], "postcode": "75001", "city": "Paris"}
    )  # fmt: skip
    assert len(resolve(records, run_id="r1").persons) == 200


def test_no_records_give_no_persons_and_a_frame_without_keys_says_so() -> None:
    """An empty base is a base; records without a key are refused with every fault."""
    assert resolve(pd.DataFrame({"source": [], "record_id": []}), run_id="r1").persons.empty
    with pytest.raises(SchemaError, match="2 faults"):
        resolve(pd.DataFrame({"email": ["a@b.fr"]}), run_id="r1")
    with pytest.raises(FaultsError, match="decided_at"):
        resolve(
            pd.DataFrame({"source": ["s"], "record_id": ["a"]}),
            decisions=pd.DataFrame({"kind": ["must_link"]}),
            run_id="r1",
        )
