"""The four levels of understanding: one fixture a level, monotone, with what is missing for the next."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError
from cdpkit.identity.levels import EVIDENCE, LEVELS, identity_levels, level

DAY, NOW = pd.Timestamp("2025-01-01"), "2025-03-01"
OLD = pd.Timestamp("2024-01-01")


def stamped(at: pd.Timestamp = DAY, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({name: [value] for name, value in columns.items()}).assign(event_time=at, known_at=at)


def person(upto: int, leave_out: str = "") -> dict[str, pd.DataFrame]:
    """One person with the evidence of the levels up to one, less one kind."""
    has = {name for number in range(1, upto + 1) for name in LEVELS[number]} - {leave_out}
    when = DAY if "fresh" in has else OLD
    nodes = [(1, "crm", "c1", "contact")] + ([(2, "web", "k1", "cookie")] if "unified" in has else [])
    tables = {
        "nodes": pd.DataFrame(nodes, columns=["node_id", "source", "record_id", "node_type"]).assign(known_at=OLD),
        "membership": pd.DataFrame(
            {"node_id": [n[0] for n in nodes], "person_id": "p1", "known_from": OLD, "known_to": pd.NaT}
        ),
        "source_bases": pd.DataFrame(
            {"source": ["crm", "web"], "purpose": "profiling", "basis": "legitimate_interest"}
        ),
        "identifiers": stamped(OLD, node_id=1, source="crm", id_type="email", value="zoe@x.fr"),
    }  # fmt: skip
    if "exportable" in has:
        tables["consents"] = stamped(
            OLD, node_id=1, source="crm", purpose="activation", channel="email", status="granted"
        )
    elif "consent" in has:
        tables["consents"] = stamped(
            OLD, node_id=1, source="crm", purpose="activation", channel="push", status="granted"
        )
    if "demographics" in has:
        tables["profiles"] = stamped(OLD, node_id=1, source="crm", gender="f")
    if "transactions" in has:
        tables["orders"] = stamped(when, order_id="o1", node_id=1, source="crm")
    if "social" in has:
        tables["preferences"] = stamped(OLD, node_id=1, source="crm", kind="channel", value="email")
    if "behaviour" in has:
        tables["events"] = stamped(when, event_id="e1", node_id=1, source="web", event_type="Page Viewed")
    return tables


def told(tables: dict[str, pd.DataFrame]) -> tuple[int, list[str]]:
    levels = identity_levels(DuckDBEngine(frames=tables), NOW)
    row = levels.persons.iloc[0]
    assert levels.base == row["level"]
    return row["level"], row["missing"]


@pytest.mark.req("IDN-16", "IDN-17", "IDN-18", "IDN-19", "IDN-20")
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_each_fixture_lands_on_its_level_and_lacks_the_next(number: int) -> None:
    """An address in a silo; joined with demographics; with purchases and preferences; with all the rest."""
    assert told(person(number)) == (number, list(LEVELS.get(number + 1, ())))


@pytest.mark.req("IDN-18", "IDN-19", "IDN-20")
@pytest.mark.parametrize("name", [name for n in (2, 3, 4) for name in LEVELS[n]])
def test_without_one_kind_of_evidence_the_level_is_the_one_below(name: str) -> None:
    """Each kind counts, and is named as what is missing."""
    number = next(n for n, names in LEVELS.items() if name in names)
    tables = person(number, leave_out=name)
    if name == "consent":
        tables.pop("consents")
    reached, missing = told(tables)
    assert reached == number - 1 and name in missing


@pytest.mark.req("IDN-16")
@given(st.sets(st.sampled_from(sorted(EVIDENCE))), st.sets(st.sampled_from(sorted(EVIDENCE))))
def test_more_evidence_never_lowers_a_level(some: set[str], more: set[str]) -> None:
    """Monotone, and what is missing is what would lift it by one."""
    reached, missing = level(some)
    assert level(some | more)[0] >= reached
    if missing:
        assert level(some | set(missing))[0] > reached
    assert not set(missing) & some


@pytest.mark.req("IDN-16")
def test_the_base_is_where_most_of_its_persons_are_and_visitors_have_no_level() -> None:
    """Of three persons two are at least at level 2: so is the base; a lone cookie is counted apart."""
    parts = []
    for k, upto in enumerate((1, 2, 4)):
        tables = person(upto)
        for frame in tables.values():
            if "node_id" in frame:
                frame["node_id"] += 10 * k
            for own in ("order_id", "event_id", "record_id"):
                if own in frame:
                    frame[own] = frame[own] + str(k)
        tables["membership"]["person_id"] = f"p{k}"
        tables["identifiers"]["value"] = f"zoe{k}@x.fr"
        parts.append(tables)
    cookie = pd.DataFrame(
        {"node_id": [99], "source": "ads", "record_id": "pc", "node_type": "cookie", "known_at": OLD}
    )
    alone = pd.DataFrame({"node_id": [99], "person_id": "p9", "known_from": OLD, "known_to": pd.NaT})
    parts.append({"nodes": cookie, "membership": alone})
    names = {name for tables in parts for name in tables}
    whole = {name: pd.concat([t[name] for t in parts if name in t]).drop_duplicates() for name in names}
    levels = identity_levels(DuckDBEngine(frames=whole), NOW)
    assert levels.persons["level"].tolist() == [1, 2, 4] and levels.base == 2
    assert levels.n_anonymous == 1
    assert levels.summary()["at_least"].round(3).tolist() == [1.0, 0.667, 0.333, 0.333]
    lacking = levels.lacking()
    assert set(lacking["level"]) == {1, 2}
    assert lacking[["fr", "en"]].notna().all().all()


def test_a_placeholder_is_no_key_and_the_future_no_evidence() -> None:
    """`test@test.com` gives no level; what is known at or after the date is not seen."""
    tables = person(1)
    tables["identifiers"]["value"] = "test@test.com"
    assert identity_levels(DuckDBEngine(frames=tables), NOW).persons.empty
    late = person(4)
    late["orders"]["known_at"] = pd.Timestamp(NOW)
    assert told(late)[0] == 2
    with pytest.raises(CdpkitError, match="evidence"):
        level(["charm"])
