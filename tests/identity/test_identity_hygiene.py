"""Values that say nothing about a person link nobody."""

from __future__ import annotations

import pandas as pd
import pytest

from cdpkit.identity import Hygiene, IdentifierType, audit, resolve

FILLERS = {
    "email": ["na", "n/a", "-", "0", "none", "NULL", "inconnu", "aucun", "test@test.com", "noemail@noemail.fr",
              "pas-de-mail@orange.fr", "sansemail@free.fr", "noreply@shop.fr", "anonymous@gmail.com", "xxx@gmail.com",
              "anonyme@orange.fr", "no\u200breply@shop.fr", "ＴＥＳＴ@test.com", "not an address", "a@b"],
    "phone": ["0000000000", "+33600000000", "0123456789", "0", "06 66 66 66 66", "1111111111", "na", "inconnu",
              "non renseigné", "+33 1 23 45 67 89", "12"],
    "loyalty_id": ["0", "-1", "null", "000000", "aucune", "99999999", "12345", "N/A", "néant"],
    "account_id": ["guest", "anonymous", "undefined", "00000000-0000-0000-0000-000000000000", "-1"],
    "national_id": ["0000000000000", "inconnu", "1111111111111"],
    "cookie_id": ["00000000-0000-0000-0000-000000000000", "undefined", "null"],
    "device_id": ["00000000-0000-0000-0000-000000000000", "unknown"],
}  # fmt: skip


@pytest.mark.parametrize("kind", FILLERS)
def test_no_merge_goes_through_a_blocked_or_invalid_value(kind: str) -> None:
    """Records that share nothing but filler stay apart, and each value has a status and a reason."""
    values = [value for value in FILLERS[kind] for _ in "ab"]
    records = pd.DataFrame({"source": "s", "record_id": [str(i) for i in range(len(values))], kind: values})
    out = resolve(records, run_id="r1")
    assert len(out.persons) == len(values)
    assert set(out.identifier_status["status"]) <= {"blocked", "invalid"}
    assert out.identifier_status["reason"].notna().all()


@pytest.mark.parametrize(
    ("first", "last"), [("NA", "NA"), ("inconnu", "client"), ("xxx", "xxx"), ("Test", "Test"), ("-", "?")]
)
def test_no_merge_goes_through_a_filler_name(first: str, last: str) -> None:
    """A filler name with an equal birth date and postcode is no evidence."""
    records = pd.DataFrame(
        {"source": "s", "record_id": ["a", "b"], "first_name": first, "last_name": last, "birth_date": "1980-05-06",
         "postcode": "75001"}
    )  # fmt: skip
    assert len(resolve(records, run_id="r1").persons) == 2


@pytest.mark.parametrize(
    "kind", ["email", "phone", "loyalty_id", "account_id", "national_id", "cookie_id", "device_id"]
)
def test_real_values_link(kind: str) -> None:
    """An ordinary value of each type makes one person of two records."""
    value = {"email": "zoe@shop.fr", "phone": "0612345678"}.get(kind, "ab-4821-xy")
    out = resolve(pd.DataFrame({"source": "s", "record_id": ["a", "b"], kind: value}), run_id="r1")
    assert len(out.persons) == 1


def _hub(n: int, names: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {"source": "s", "record_id": [f"{i:03}" for i in range(n)], "email": "magasin.lyon@enseigne.fr",
         "first_name": names or [None] * n}
    )  # fmt: skip


def test_a_value_on_too_many_records_is_shared_and_links_nobody() -> None:
    """Up to the cap an address links; one record more and it is a hub, named with its reason."""
    cap = Hygiene().types["email"].max_records
    assert len(resolve(_hub(cap), run_id="r1").persons) == 1
    over = resolve(_hub(cap + 1), run_id="r1")
    assert len(over.persons) == cap + 1
    assert over.identifier_status[["status", "reason"]].to_numpy().tolist() == [
        ["shared", f"more than {cap} records"]
    ]


def test_a_value_seen_with_a_new_name_each_time_is_shared_below_the_cap() -> None:
    """A shop's address is recognised without a list and without a high count."""
    names = ["Anne", "Bruno", "Chloe", "David", "Emma"]
    out = resolve(_hub(5, names), run_id="r1")
    assert len(out.persons) == 5
    assert out.identifier_status["status"].tolist() == ["shared"]


def test_a_shared_value_stays_an_attribute_and_a_blocked_one_does_not() -> None:
    """The golden record keeps the hub's address, never the filler."""
    names = ["Anne", "Bruno", "Chloe", "David", "Emma"]
    shared = resolve(_hub(5, names), run_id="r1").golden
    assert (shared["attribute"] == "email").sum() == 5
    blocked = resolve(_hub(5, names).assign(email="test@test.com"), run_id="r1").golden
    assert "email" not in set(blocked["attribute"])


def test_lists_and_caps_can_be_extended_and_lifted() -> None:
    """A user's list blocks or allows a value, and a user's cap replaces ours."""
    two = pd.DataFrame({"source": "s", "record_id": ["a", "b"], "email": "accueil@enseigne.fr"})
    assert (
        len(resolve(two, run_id="r1", hygiene=Hygiene(blocked={"email": ["accueil@enseigne.fr"]})).persons)
        == 2
    )
    allowed = Hygiene(allowed={"email": ["magasin.lyon@enseigne.fr"]})
    assert len(resolve(_hub(50), run_id="r1", hygiene=allowed).persons) == 1
    strict = Hygiene(types=Hygiene().types | {"email": IdentifierType(12.0, 1, 1)})
    assert len(resolve(two, run_id="r1", hygiene=strict).persons) == 2


def test_the_audit_counts_and_never_spells_a_value() -> None:
    """Hubs, fillers and refusals are reported by type and reason, without any clear value."""
    records = pd.concat(
        [_hub(30), _hub(2, ["Marie", "Paul"]).assign(record_id=["x", "y"], email="famille@orange.fr")]
    )
    report = audit(resolve(records, run_id="r1"))
    hub = report["set_aside"].iloc[0]
    assert (hub["id_type"], hub["status"], hub["most_records"]) == ("email", "shared", 30)
    assert report["refused"][["rule", "refused_by", "n"]].to_numpy().tolist() == [
        ["email", "first names disagree", 1]
    ]
    text = " ".join(frame.to_csv() for frame in report.values())
    assert "@" not in text and "enseigne" not in text
