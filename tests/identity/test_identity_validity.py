"""What has expired links nobody, and who is about to be lost is named in time."""

from __future__ import annotations

import pandas as pd
import pytest

from cdpkit.identity import Hygiene, IdentifierType, expiring, resolve

TODAY = pd.Timestamp("2025-06-15")


def seen(*rows: tuple[str, str, str | None, str | None, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["record_id", "cookie_id", "email", "account_id", "known_at"])
    return frame.assign(source="web", known_at=pd.to_datetime(frame["known_at"]))


@pytest.mark.req("IDN-12")
@pytest.mark.parametrize(("last", "persons"), [("2024-05-14", 2), ("2024-05-16", 1), ("2025-06-01", 1)])
def test_a_cookie_past_its_validity_links_nobody(last: str, persons: int) -> None:
    """Thirteen months from the last time it was seen, on a given day: before it links, after it does not."""
    records = seen(("a", "ck-7", None, None, "2023-01-01"), ("b", "ck-7", None, None, "2024-01-01"))
    # Both records saw it again: an edge lives as long as the identifier is seen at both its ends.
    records = pd.concat([records, records.assign(known_at=pd.Timestamp(last))], ignore_index=True)
    assert len(resolve(records, run_id="r1", at=TODAY).persons) == persons
    assert len(resolve(records, run_id="r1").persons) == 1
    half = records.drop(index=2)
    assert len(resolve(half, run_id="r1", at=TODAY).persons) == 2


def test_validity_is_a_rule_of_the_type_and_leaves_the_others_alone() -> None:
    """An e-mail address holds for ever by default; a shorter life can be set."""
    records = seen(("a", "ck-1", "z@x.fr", None, "2020-01-01"), ("b", "ck-2", "z@x.fr", None, "2020-01-01"))
    assert len(resolve(records, run_id="r1", at=TODAY).persons) == 1
    short = Hygiene(types={"email": IdentifierType(12.0, 20, 6, valid_months=12)})
    assert len(resolve(records, run_id="r1", at=TODAY, hygiene=short).persons) == 2


@pytest.mark.req("IDN-23")
def test_people_about_to_be_lost_come_first_and_by_date() -> None:
    """The last identifier of a person before those of people who can still be reached; nothing else is listed."""
    records = seen(
        ("lost", "ck-1", None, None, "2024-06-20"),
        ("sooner", "ck-2", None, None, "2024-06-16"),
        ("mail", "ck-3", "m@x.fr", None, "2024-06-17"),
        ("two", "ck-4", None, "acc-9", "2024-06-18"),
        ("two", "ck-5", None, "acc-9", "2025-01-18"),
        ("pair", "ck-6", None, "acc-8", "2024-06-19"),
        ("pair", "ck-7", None, "acc-8", "2024-06-19"),
        ("gone", "ck-8", None, None, "2024-01-01"),
        ("fresh", "ck-9", None, None, "2025-06-01"),
        ("never", "na", None, None, "2024-06-20"),
        ("later", "ck-10", None, None, "2025-06-20"),
    )
    people = resolve(records, run_id="r1").as_of()
    out = expiring(records, people, at=TODAY, days=60)
    assert out["record_id"].tolist() == ["sooner", "pair", "pair", "lost", "mail", "two"]
    assert out["last_one"].tolist() == [True, True, True, True, False, False]
    assert out["others"].tolist() == [0, 0, 0, 0, 1, 1]
    assert (out["expires_at"] - out["last_seen"]).dt.days.between(395, 397).all()
    assert out.loc[0, "expires_at"] == pd.Timestamp("2025-07-16")
    assert out["last_one"].sum() == 4 and out.loc[out["last_one"], "person_id"].nunique() == 3
    assert not out.astype(str).apply(lambda column: column.str.contains("ck-|@")).to_numpy().any()
    assert expiring(records, people, at=TODAY, days=3).empty


def test_one_identifier_on_two_records_of_a_person_lives_as_long_as_either() -> None:
    """Seen on a second record yesterday, a cookie is not about to expire."""
    records = seen(("a", "ck-1", None, None, "2024-06-20"), ("b", "ck-1", None, None, "2025-06-14"))
    assert expiring(records, resolve(records, run_id="r1").as_of(), at=TODAY).empty
