"""Ids stay: what changed is an event, and every lost id leads somewhere."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.identity import resolve

DAY = pd.Timestamp("2025-01-01")


def base(**emails: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"source": "s", "record_id": list(emails), "email": [f"{e}@x.fr" for e in emails.values()]}
    )


def events(resolution) -> list[tuple]:
    frame = resolution.person_events[["event", "person_id", "into_person_id"]]
    return [tuple(None if pd.isna(v) else v for v in row) for row in frame.to_numpy()]


def person(resolution, record: str) -> str:
    return resolution.as_of().set_index("record_id")["person_id"][record]


BASES = st.lists(
    st.tuples(st.sampled_from("abcdefghij"), st.sampled_from("uvwxyz"), st.integers(0, 4)), min_size=1, max_size=16
).map(
    lambda rows: pd.DataFrame(
        {"source": "s", "record_id": [r for r, _, _ in rows], "email": [f"{e}{e}@x.fr" for _, e, _ in rows],
         "known_at": [DAY + pd.Timedelta(days=d) for _, _, d in rows]}
    )
)  # fmt: skip


@settings(max_examples=10, deadline=None)
@given(BASES)
def test_an_identical_run_changes_no_id_and_makes_no_event(records: pd.DataFrame) -> None:
    """From a resolution or from its membership alone, ids past and present are the same."""
    first = resolve(records, run_id="r1")
    for previous in (first, first.membership):
        again = resolve(records, previous, run_id="r2")
        pd.testing.assert_frame_equal(again.membership, first.membership)
        assert again.person_events.empty
    again = resolve(records, first, run_id="r2")
    assert again.aliases[["old_id", "person_id"]].equals(first.aliases[["old_id", "person_id"]])


@settings(max_examples=12, deadline=None)
@given(st.lists(BASES, min_size=2, max_size=4))
def test_ids_add_up_over_any_course_of_bases(bases: list[pd.DataFrame]) -> None:
    """Created and restored less merged and retired ids are the present ones; aliases lead to those."""
    previous, created, gone, ever = None, set(), set(), set()
    for i, records in enumerate(bases):
        previous = resolve(records, previous, run_id=f"r{i}")
        log = previous.person_events
        new = set(log.loc[log["event"] == "created", "person_id"])
        assert not new & ever
        ever |= new
        created |= new | set(log.loc[log["event"] == "restored", "person_id"])
        gone -= set(log.loc[log["event"] == "restored", "person_id"])
        gone |= set(log.loc[log["event"].isin(["merged", "retired"]), "person_id"])
        present = set(previous.persons["person_id"])
        assert present == created - gone
        assert set(previous.membership["person_id"]) <= ever
        assert set(previous.aliases["person_id"]) <= present
        assert not set(previous.aliases["old_id"]) & present
        assert previous.aliases["old_id"].is_unique


@pytest.mark.req("IDN-01")
def test_a_bridge_merges_two_persons_and_the_larger_keeps_its_id() -> None:
    """The smaller person's id becomes an alias of the larger's."""
    first = resolve(base(a="e1", b="e1", c="e2"), run_id="r1")
    bridge = pd.concat([base(a="e1", b="e1", c="e2"), base(c="e1")])
    second = resolve(bridge, first, run_id="r2")
    kept, lost = person(first, "a"), person(first, "c")
    assert set(second.persons["person_id"]) == {kept}
    assert ("merged", lost, kept) in events(second)
    assert second.aliases[["old_id", "person_id"]].to_numpy().tolist() == [[lost, kept]]


def test_a_split_leaves_the_id_to_the_larger_part() -> None:
    """The part that goes gets a new id, and the split is on record."""
    first = resolve(base(a="e1", b="e1", c="e1"), run_id="r1")
    apart = pd.DataFrame(
        [{"kind": "cannot_link", "left_source": "s", "left_record_id": x, "right_source": "s", "right_record_id": "c",
          "decided_at": DAY} for x in "ab"]
    )  # fmt: skip
    second = resolve(base(a="e1", b="e1", c="e1"), first, apart, run_id="r2")
    assert person(second, "a") == person(second, "b") == person(first, "a")
    new = person(second, "c")
    assert sorted(events(second)) == sorted([("created", new, None), ("split", person(first, "c"), new)])
    assert new.startswith("pr2-")


def test_a_person_whose_records_are_gone_is_retired() -> None:
    """A retired id leads nowhere and is not given again."""
    first = resolve(base(a="e1", b="e2"), run_id="r1")
    second = resolve(base(a="e1"), first, run_id="r2")
    assert events(second) == [("retired", person(first, "b"), None)]
    third = resolve(base(a="e1", b="e2"), second, run_id="r3")
    assert person(third, "b") not in set(first.membership["person_id"])


def test_chains_of_aliases_lead_to_the_present_person_in_one_step() -> None:
    """An id lost two runs ago still resolves."""
    records = [base(a="e1", b="e2", c="e3", d="e3", f="e3")]
    first = resolve(records[0], run_id="r1")
    records.append(base(a="e2"))
    second = resolve(pd.concat(records), first, run_id="r2")
    records.append(base(a="e3"))
    third = resolve(pd.concat(records), second, run_id="r3")
    (only,) = third.persons["person_id"]
    lost = {person(first, "a"), person(first, "b")} - {only}
    assert dict(zip(third.aliases["old_id"], third.aliases["person_id"], strict=True)) == dict.fromkeys(
        lost, only
    )


def test_ids_are_opaque_counters_of_the_run() -> None:
    """Nothing of a record is in its person's id."""
    out = resolve(base(secret="e1"), run_id="r000007")
    assert out.persons["person_id"].tolist() == ["pr000007-1"]
