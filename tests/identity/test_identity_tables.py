"""Records come out of the lake under consent; persons go in without clear values."""

from __future__ import annotations

import pandas as pd
import pytest

from cdpkit import identity
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError
from cdpkit.identity.tables import digest, frames
from cdpkit.run import Run
from cdpkit.schema import TABLES
from cdpkit.workspace import Workspace

DAY = pd.Timestamp("2025-01-01")


def day(n: float) -> pd.Timestamp:
    return DAY + pd.Timedelta(days=n)


def lake(bases: tuple[str, ...] = ("crm", "web"), denied: tuple[int, ...] = ()) -> dict[str, pd.DataFrame]:
    nodes = pd.DataFrame(
        {"node_id": [1, 2, 3, 4], "source": ["crm", "web", "crm", "web"], "record_id": ["c1", "k1", "c2", "k2"],
         "node_type": ["contact", "cookie", "contact", "cookie"], "known_at": [day(0), day(1), day(0), day(1)]}
    )  # fmt: skip
    profiles = pd.DataFrame(
        {"node_id": [1, 1, 3], "source": "crm", "event_time": [day(0), day(5), day(0)], "known_at": [day(0), day(5), day(0)],
         "first_name": ["Zoé", "Zoé", "Zoe"], "birth_date": [pd.Timestamp("1980-03-04").date()] * 3}
    )  # fmt: skip
    rows = [(1, "crm", "email", "z@x.fr", 0), (1, "crm", "account_id", "acc-1", 0), (2, "web", "cookie_id", "k1", 1),
            (2, "web", "account_id", "acc-1", 7), (2, "web", "account_id", "acc-1", 8), (3, "crm", "email", "z@x.fr", 0),
            (3, "crm", "email", "y@y.fr", 0), (4, "web", "cookie_id", "k2", 1), (4, "web", "email", "test@test.com", 2)]  # fmt: skip
    identifiers = pd.DataFrame(rows, columns=["node_id", "source", "id_type", "value", "n"])
    identifiers["event_time"] = identifiers["known_at"] = identifiers.pop("n").map(day)
    consents = pd.DataFrame(
        {"node_id": list(denied), "source": "crm", "purpose": "stitching", "channel": "*", "status": "denied",
         "event_time": day(3), "known_at": day(3)}
    )  # fmt: skip
    source_bases = pd.DataFrame(
        {"source": list(bases), "purpose": "stitching", "basis": "legitimate_interest"}
    )
    return {
        "nodes": nodes,
        "profiles": profiles,
        "identifiers": identifiers,
        "consents": consents,
        "source_bases": source_bases,
    }


def resolution(tables: dict[str, pd.DataFrame]) -> identity.Resolution:
    return identity.resolve(identity.records(DuckDBEngine(frames=tables)), run_id="r1")


def test_records_hold_every_node_with_what_it_said_and_when() -> None:
    """Profiles and identifiers of one instant make one row; a repeated sign-in makes none."""
    frame = identity.records(DuckDBEngine(frames=lake()))
    assert set(frame["node_id"]) == {1, 2, 3, 4}
    assert frame["may_link"].all()
    account = frame[frame["account_id"].notna()]
    assert account[["node_id", "known_at"]].to_numpy().tolist() == [[1, day(0)], [2, day(7)]]
    assert sorted(frame.loc[frame["node_id"] == 3, "email"]) == ["y@y.fr", "z@x.fr"]
    assert frame.groupby("node_id")["known_at"].min().tolist() == [day(0), day(1), day(0), day(1)]


def test_records_as_of_a_day_hold_nothing_later() -> None:
    """A record or a word known at or after the day is not read."""
    frame = identity.records(DuckDBEngine(frames=lake()), as_of=day(1))
    assert set(frame["node_id"]) == {1, 3}
    later = identity.records(DuckDBEngine(frames=lake()), as_of=day(7))
    assert later.loc[later["node_id"] == 2, "account_id"].isna().all()
    assert (later["known_at"] < day(7)).all()


@pytest.mark.parametrize(
    ("bases", "denied", "persons"),
    [(("crm", "web"), (), [{1, 2, 3}, {4}]), (("crm",), (), [{1, 3}, {2}, {4}]), ((), (), [{1}, {2}, {3}, {4}]),
     (("crm", "web"), (3,), [{1, 2}, {3}, {4}]), (("crm", "web"), (1, 3), [{1}, {2}, {3}, {4}])],
)  # fmt: skip
def test_only_permitted_records_are_linked_and_all_are_persons(bases, denied, persons) -> None:
    """Without a basis, or after a denial, a record is a person by itself."""
    membership = frames(resolution(lake(bases, denied)), b"key")["membership"]
    now = membership[membership["known_to"].isna()]
    assert sorted(sorted(group) for _, group in now.groupby("person_id")["node_id"]) == [
        sorted(p) for p in persons
    ]


def test_tables_meet_their_schema_and_spell_no_identifier() -> None:
    """Every frame conforms; set-aside identifiers are digests that depend on the key."""
    out = resolution(lake())
    written = frames(out, b"key")
    for name, frame in written.items():
        TABLES[name].validate(frame)
    status = written["identifier_status"]
    assert status["status"].tolist() == ["blocked"]
    assert "test" not in status.to_csv()
    assert status["value_key"].tolist() != frames(out, b"other")["identifier_status"]["value_key"].tolist()


def test_the_stored_state_gives_the_same_ids_back() -> None:
    """Resolving again from the tables makes no event."""
    tables = lake()
    out = resolution(tables)
    written = frames(out, b"key")
    engine = DuckDBEngine(frames=tables | {name: written[name] for name in ("membership", "aliases")})
    again = identity.resolve(identity.records(engine), identity.previous(engine), run_id="r2")
    assert again.person_events.empty
    pd.testing.assert_frame_equal(again.membership, out.membership)
    assert identity.previous(DuckDBEngine(frames=tables)) is None


def test_a_resolution_goes_through_a_published_lake(tmp_path) -> None:
    """Stored, published and read back: the same ids, no clear filler under the workspace, a secret of its own."""
    workspace = Workspace(tmp_path / "Données")
    run = Run.begin(workspace, "identity", run_id="r000001")
    for name, frame in lake().items():
        run.lake.write(name, frame, mode="overwrite")
    engine = run.engine()
    first = identity.resolve(identity.records(engine), identity.previous(engine), run_id=run.run_id)
    written = identity.store(run, first)
    assert written["membership"] == len(first.membership)
    run.finish()
    run = Run.begin(workspace, "identity", run_id="r000002")
    engine = run.engine()
    again = identity.resolve(identity.records(engine), identity.previous(engine), run_id=run.run_id)
    assert again.person_events.empty
    pd.testing.assert_frame_equal(again.membership, first.membership)
    identity.store(run, again)
    run.finish()
    with DuckDBEngine(workspace.lake()) as engine:
        log = engine.query("SELECT event, count(*) AS n FROM person_events GROUP BY event").to_pandas()
        status = engine.query("SELECT value_key FROM identifier_status").to_pandas()
    assert log["n"].sum() == len(first.person_events)
    key = workspace.keys / "identifiers.key"
    assert status["value_key"].tolist() == [digest(key.read_bytes(), "email", "test@test.com")]
    assert key.stat().st_mode & 0o077 == 0


def test_records_without_numbers_are_not_stored() -> None:
    """A resolution of a bare frame has no node numbers to write."""
    bare = identity.resolve(pd.DataFrame({"source": ["s"], "record_id": ["a"]}), run_id="r1")
    with pytest.raises(CdpkitError, match="node_id"):
        frames(bare, b"key")
