"""A client is recognised at any entry point, as known at a time, under the id that holds today."""

from __future__ import annotations

import pandas as pd
import pytest

from cdpkit import identity
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError
from cdpkit.identity.tables import frames

DAY = pd.Timestamp("2025-01-01")
SOURCES = ("crm", "web", "store")


def day(n: float) -> pd.Timestamp:
    return DAY + pd.Timedelta(days=n)


def tables() -> dict[str, pd.DataFrame]:
    """Zoe (contact, cookie that signs in on day 7, card), a family phone, a placeholder, a lone cookie."""
    nodes = pd.DataFrame(
        [(1, "crm", "c1", "contact", 0), (2, "web", "k1", "cookie", 1), (3, "crm", "c2", "contact", 0),
         (4, "store", "L-9", "card", 2), (5, "web", "k2", "cookie", 3), (6, "crm", "c3", "contact", 0)],
        columns=["node_id", "source", "record_id", "node_type", "n"],
    )  # fmt: skip
    rows = [(1, "email", "Zoe@X.fr", 0), (1, "account_id", "acc-1", 0), (1, "phone", "01 45 67 89 12", 0),
            (2, "cookie_id", "k1", 1), (2, "account_id", "acc-1", 7), (3, "email", "ana@x.fr", 0),
            (3, "phone", "+33 1 45 67 89 12", 0), (4, "loyalty_id", "L-9", 2), (4, "email", "zoe@x.fr", 2),
            (5, "cookie_id", "k2", 3), (6, "email", "test@test.com", 0)]  # fmt: skip
    seen = pd.DataFrame(rows, columns=["node_id", "id_type", "value", "n"])
    seen["source"] = seen["node_id"].map(nodes.set_index("node_id")["source"])
    seen["event_time"] = seen["known_at"] = seen.pop("n").map(day)
    nodes["known_at"] = nodes.pop("n").map(day)
    names = pd.DataFrame(
        [(1, "Zoe", "1980-03-04"), (3, "Ana", "1975-01-09"), (6, "Test", None)],
        columns=["node_id", "first_name", "birth_date"],
    )
    profiles = names.assign(
        source="crm",
        event_time=day(0),
        known_at=day(0),
        birth_date=pd.to_datetime(names["birth_date"]).dt.date,
    )
    bases = pd.DataFrame({"source": SOURCES, "purpose": "stitching", "basis": "legitimate_interest"})
    return {"nodes": nodes, "identifiers": seen, "profiles": profiles, "source_bases": bases}


def resolved(previous: identity.Resolution | None = None, as_of: object = None) -> DuckDBEngine:
    """Resolve the tables and show them with their persons."""
    read = tables()
    out = identity.resolve(identity.records(DuckDBEngine(frames=read), as_of), previous, run_id="r1")
    written = frames(out, b"key")
    return DuckDBEngine(frames=read | {name: written[name] for name in ("membership", "aliases")})


@pytest.mark.req("IDN-02")
@pytest.mark.parametrize(
    "entry", ["zoe@x.fr", " ZOE@x.fr ", "mailto:Zoe@X.fr", "acc-1", "ACC-1", "k1", "l-9", "L-9 "]
)
def test_any_identifier_however_spelt_leads_to_the_same_person(entry: str) -> None:
    """Contact, account, cookie and card of one person, in the spelling of each counter."""
    engine = resolved()
    found = identity.lookup(engine, entry)
    assert found.status == "found" and found.person_id == identity.lookup(engine, "acc-1").person_id
    assert identity.lookup(engine, found.person_id).person_id == found.person_id


def test_what_cannot_tell_is_said() -> None:
    """A shared line names all its persons, a placeholder and an unreadable value nobody."""
    book = identity.Directory.read(resolved())
    shared = book.find("0145678912")
    assert shared.status == "several" and shared.person_id is None and len(shared.persons) == 2
    assert book.find("test@test.com").status == "blocked"
    assert book.find("eva@x.fr").status == "unknown"
    assert book.find("", "email").status == "invalid"
    with pytest.raises(CdpkitError, match="identifier type"):
        book.find("x", "shoe_size")


def test_a_cookie_is_its_own_persons_even_where_others_were_seen_with_it() -> None:
    """A record kept apart that carries somebody's cookie does not hide who that cookie is."""
    read = tables()
    ad = pd.DataFrame({"node_id": [9], "source": ["ads"], "record_id": ["pc"], "node_type": ["cookie"], "known_at": [day(2)]})  # fmt: skip
    seen = pd.DataFrame({"node_id": [9], "source": ["ads"], "id_type": ["cookie_id"], "value": ["k1"], "event_time": [day(9)], "known_at": [day(9)]})  # fmt: skip
    read["nodes"], read["identifiers"] = (
        pd.concat([read["nodes"], ad]),
        pd.concat([read["identifiers"], seen]),
    )
    out = frames(identity.resolve(identity.records(DuckDBEngine(frames=read)), run_id="r1"), b"key")
    engine = DuckDBEngine(frames=read | {"membership": out["membership"], "aliases": out["aliases"]})
    found = identity.lookup(engine, "k1")
    assert found.status == "found" and len(found.persons) == 2
    assert found.person_id == identity.lookup(engine, "acc-1").person_id


@pytest.mark.req("IDN-02")
def test_a_lookup_sees_what_was_known_then() -> None:
    """Before its sign-in the cookie is a visitor, before it was seen nobody; retired ids lead on."""
    book = identity.Directory.read(resolved())
    before, after = book.find("k1", at=day(5)), book.find("k1")
    assert before.person_id != after.person_id
    assert before.now == after.person_id
    assert book.find("k1", at=day(1)).status == "unknown"
    assert book.find(before.person_id).person_id == after.person_id
    assert book.find(before.person_id, at=day(5)).person_id == before.person_id


@pytest.mark.req("IDN-02")
@pytest.mark.parametrize("cut", [1.5, 4.0, 7.5])
def test_records_that_come_in_two_loads_are_found_as_in_one(cut: float) -> None:
    """Every identifier groups with the same others, whether records came at once or by increments."""
    first = identity.resolve(identity.records(DuckDBEngine(frames=tables()), day(cut)), run_id="r0")
    values = tables()["identifiers"]["value"].unique()

    def groups(engine: DuckDBEngine) -> set[frozenset[str]]:
        book = identity.Directory.read(engine)
        persons: dict[tuple[str, ...], set[str]] = {}
        for value in values:
            persons.setdefault(tuple(sorted(book.find(value).persons)), set()).add(value)
        return {frozenset(group) for group in persons.values()}

    assert groups(resolved(first)) == groups(resolved())
