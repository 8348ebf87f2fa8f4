"""Nobody is used for a purpose they did not grant, at any time, in any order of facts."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.consent import nodes_sql, permitted_nodes, permitted_persons, persons_sql, rows_sql
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import ConsentError

DAY = pd.Timestamp("2025-01-01")
NODES = (1, 2, 3, 4)


def day(n: float) -> pd.Timestamp:
    return DAY + pd.Timedelta(days=n)


def base(decisions: list[tuple] = (), bases: dict[str, list[str]] | None = None) -> dict[str, pd.DataFrame]:
    """Nodes 1 and 2 are person A from day 2 on (2 was B before); 3 is C; 4 has no person yet."""
    nodes = pd.DataFrame(
        {"node_id": NODES, "source": ["crm", "web", "crm", "shop"], "record_id": [str(n) for n in NODES],
         "node_type": "contact", "known_at": day(0)}
    )  # fmt: skip
    membership = pd.DataFrame(
        {"node_id": [1, 2, 2, 3], "person_id": ["A", "B", "A", "C"], "known_from": [day(0), day(0), day(2), day(0)],
         "known_to": [None, day(2), None, None]}
    )  # fmt: skip
    consents = pd.DataFrame(
        list(decisions), columns=["node_id", "purpose", "channel", "status", "at", "known"]
    )
    consents = consents.assign(
        source="crm", event_time=consents.pop("at").map(day), known_at=consents.pop("known").map(day)
    )
    rows = [
        (source, purpose, "legitimate_interest")
        for source, purposes in (bases or {}).items()
        for purpose in purposes
    ]
    source_bases = pd.DataFrame(rows, columns=["source", "purpose", "basis"], dtype="str")
    return {"nodes": nodes, "membership": membership, "consents": consents, "source_bases": source_bases}


def persons(tables: dict, purpose: str, as_of: float | None = None, channel: str | None = None) -> set[str]:
    at = None if as_of is None else day(as_of)
    return set(permitted_persons(DuckDBEngine(frames=tables), purpose, at, channel)["person_id"])


def nodes(tables: dict, purpose: str, as_of: float | None = None, channel: str | None = None) -> set[int]:
    at = None if as_of is None else day(as_of)
    return set(permitted_nodes(DuckDBEngine(frames=tables), purpose, at, channel)["node_id"])


DECISIONS = st.lists(
    st.tuples(
        st.sampled_from(NODES),
        st.sampled_from(["stitching", "profiling", "activation"]),
        st.sampled_from(["email", "sms", "*"]),
        st.sampled_from(["granted", "denied"]),
        st.integers(0, 5),
        st.integers(0, 2),
    ).map(lambda r: (*r[:4], r[4], r[4] + r[5])),
    max_size=12,
    unique_by=lambda r: r[:5],
)


def rule(
    decisions: list[tuple], holder: set[int], purpose: str, channel: str | None, t: float
) -> bool | None:
    """Tell by the book: the latest decision known, denial first; None without any."""
    heard = [
        (at, status == "denied")
        for node, about, where, status, at, known in decisions
        if node in holder
        and about == purpose
        and at < t
        and known < t
        and (channel is None or where in (channel, "*"))
    ]
    return None if not heard else not max(heard)[1]


@settings(max_examples=20, deadline=None)
@given(DECISIONS, st.randoms(use_true_random=False))
def test_the_answers_are_the_rule_s_for_every_purpose_channel_and_time(
    decisions: list[tuple], random
) -> None:
    """Latest decision, denial on ties, person as known then, basis only where it may stand; in any row order."""
    shuffled = list(decisions)
    random.shuffle(shuffled)
    tables = base(shuffled, {"crm": ["stitching", "profiling", "activation"]})
    engine = DuckDBEngine(frames=tables)
    for t in (1, 2.5, 4, 9):
        people = [{"A": {1, 2}, "C": {3}} if t > 2 else {"A": {1}, "B": {2}, "C": {3}}][0]
        activated = {p for p, held in people.items() if rule(decisions, held, "activation", "email", t)}
        assert set(permitted_persons(engine, "activation", day(t), "email")["person_id"]) == activated
        profiled = {
            p for p, held in people.items()
            if (said := rule(decisions, held, "profiling", None, t)) or (said is None and held & {1, 3})
        }  # fmt: skip
        assert set(permitted_persons(engine, "profiling", day(t))["person_id"]) == profiled
        stitched = {
            n
            for n in NODES
            if (said := rule(decisions, {n}, "stitching", None, t)) or (said is None and n in (1, 3))
        }
        assert set(permitted_nodes(engine, "stitching", day(t))["node_id"]) == stitched


@settings(max_examples=8, deadline=None)
@given(DECISIONS, st.sampled_from(NODES[:3]), st.sampled_from(["email", "*"]))
def test_a_later_denial_removes_and_no_later_fact_changes_the_past(
    decisions, node: int, channel: str
) -> None:
    """A denial after everything takes the person out from then on, and only from then on."""
    after = [*decisions, (node, "activation", channel, "denied", 20, 20)]
    person = {1: "A", 2: "A", 3: "C"}[node]
    assert person not in persons(base(after), "activation", channel="email")
    assert persons(base(after), "activation", 20, "email") == persons(
        base(decisions), "activation", 20, "email"
    )


def test_without_a_grant_nobody_is_activated_whatever_the_bases() -> None:
    """A declared basis never opens activation."""
    everything = {source: ["stitching", "profiling", "activation"] for source in ("crm", "web", "shop")}
    for channel in ("email", "sms", "*", "smart_fridge"):
        assert persons(base(bases=everything), "activation", channel=channel) == set()


def test_without_a_basis_or_decision_nothing_is_permitted() -> None:
    """The default is no for every purpose."""
    assert nodes(base(), "stitching") == nodes(base(), "profiling") == set()


def test_a_grant_holds_for_its_channel_and_the_star_for_all() -> None:
    """An e-mail grant does not open SMS; a later exact denial overrides an older star."""
    grant = (3, "activation", "email", "granted", 1, 1)
    assert persons(base([grant]), "activation", channel="email") == {"C"}
    assert persons(base([grant]), "activation", channel="sms") == set()
    star = [(3, "activation", "*", "granted", 1, 1), (3, "activation", "sms", "denied", 2, 2)]
    assert persons(base(star), "activation", channel="email") == {"C"}
    assert persons(base(star), "activation", channel="sms") == set()


def test_a_merged_person_s_denial_on_one_record_closes_all_its_records() -> None:
    """Profiling asks the person: from the merge on, the other record's denial counts."""
    tables = base([(2, "profiling", "*", "denied", 1, 1)], {"crm": ["profiling"], "web": ["profiling"]})
    assert nodes(tables, "profiling", 1.5) == {1, 3}
    assert nodes(tables, "profiling", 2.5) == {3}


def test_a_basis_covers_only_the_records_of_its_source() -> None:
    """A profiled person's records of other sources stay closed."""
    tables = base(bases={"crm": ["profiling"]})
    assert persons(tables, "profiling") == {"A", "C"}
    assert nodes(tables, "profiling") == {1, 3}


def test_a_decision_learned_later_does_not_count_before() -> None:
    """A back-dated file changes no earlier answer."""
    tables = base([(3, "activation", "email", "granted", 1, 5)])
    assert persons(tables, "activation", 4, "email") == set()
    assert persons(tables, "activation", 6, "email") == {"C"}


def test_several_times_and_rows_give_what_each_time_gives() -> None:
    """The relations for many dates equal the one-date answers."""
    tables = base([(2, "profiling", "*", "denied", 1, 1)], {"crm": ["profiling"], "web": ["profiling"]})
    times = [day(0.5), day(1.5), day(2.5)]
    exposures = pd.DataFrame([(p, t) for p in ("A", "B", "C") for t in times], columns=["person_id", "as_of"])
    engine = DuckDBEngine(frames=tables | {"exposures": exposures})
    expected = {(n, t) for t in times for n in permitted_nodes(engine, "profiling", t)["node_id"]} - {
        (4, t) for t in times
    }
    for query in (nodes_sql("profiling", times), rows_sql("profiling", "exposures")):
        got = engine.query(query).to_pandas()
        assert set(got.itertuples(index=False, name=None)) == expected
    by_person = engine.query(persons_sql("profiling", times)).to_pandas()
    assert set(by_person.loc[by_person["as_of"] == times[2], "person_id"]) == persons(
        tables, "profiling", 2.5
    )


def test_the_query_renders_for_spark_and_never_carries_a_raw_string() -> None:
    """Values enter as literals of the tree, quotes and all."""
    text = nodes_sql("activation", "2025-01-01", "e'mail").sql(dialect="spark")
    assert "'e\\'mail'" in text or "'e''mail'" in text
    assert "TIMESTAMP_NTZ" in text


@pytest.mark.parametrize(
    ("purpose", "channel"), [("selling", None), ("activation", None), ("profiling", "email")]
)
def test_an_unclear_question_is_refused(purpose: str, channel: str | None) -> None:
    """An unknown purpose, a missing channel and a channel out of place are errors, not answers."""
    with pytest.raises(ConsentError):
        nodes_sql(purpose, None, channel)
    with pytest.raises(ConsentError):
        persons_sql(purpose, None, channel)


def test_terms_of_a_source_win_over_consent_and_basis():
    """What the terms do not allow, or no longer, is refused though a basis stands; other sources keep theirs."""
    day = pd.Timestamp("2026-01-01")
    nodes = pd.DataFrame({"node_id": [1, 2], "source": ["crm", "partner"], "record_id": ["a", "b"],
                          "node_type": ["contact", "cookie"], "known_at": [day, day]})  # fmt: skip
    bases = pd.DataFrame(
        {"source": ["crm", "partner"], "purpose": ["stitching"] * 2, "basis": ["legitimate_interest"] * 2}
    )
    for allowed, until, as_of, kept in [
        (True, None, None, [1, 2]),
        (False, None, None, [1]),
        (True, "2026-06-01", "2026-05-31", [1, 2]),
        (True, "2026-06-01", "2026-06-01", [1]),
    ]:
        terms = pd.DataFrame({"source": ["partner"], "purpose": ["stitching"], "allowed": [allowed], "terms": ["Of 2026."],
                              "until": pd.Series([until], dtype="datetime64[us]")})  # fmt: skip
        frames = {"nodes": nodes, "source_bases": bases, "source_terms": terms}
        with DuckDBEngine(frames=frames) as engine:
            found = permitted_nodes(engine, "stitching", as_of)["node_id"].tolist()
        assert found == kept, (allowed, until, as_of)
