"""The day a file leaves: who is left alone then, in how many parts it goes, and what it changed."""

from __future__ import annotations

import hashlib
import io
import json
import runpy
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest

from cdpkit import identity, world
from cdpkit.engine import DuckDBEngine
from cdpkit.run import Run
from cdpkit.segments import Audience, build, destinations, export, plan, reach
from cdpkit.segments.export import stored
from cdpkit.segments.ledger import Cap, suspend
from cdpkit.segments.results import BY, results
from cdpkit.sources import adapter, load
from cdpkit.ui.exports import reason_words
from cdpkit.ui.navigation import GROUPS, entry
from cdpkit.workspace import Workspace

told = runpy.run_path(str(Path(__file__).with_name("test_segments_export.py")))
frames, channel_of, ROUTER, T = told["frames"], told["channel_of"], told["ROUTER"], told["T"]
ROOT = Path(__file__).resolve().parents[2]
ASKED = {"quiet_days": 0, "control_share": 0.0, "model": "appetence"}


def days(*numbers: int) -> list[pd.Timestamp]:
    return [T + pd.Timedelta(days=n) for n in numbers]


@pytest.fixture
def held(tmp_path: Path):
    """A run over 120 persons, one of whom is suspended from the third to the fifth day after the scores."""
    workspace = Workspace(tmp_path)
    suspend(
        workspace, person_id="p0003", first_day=date(2026, 6, 4), last_day=date(2026, 6, 6), author="ines",
        reason="asked for a pause", decided_at=datetime(2026, 5, 20),
    )  # fmt: skip
    with Run.begin(workspace, "test") as begun:
        for name, frame in frames(120).items():
            begun.lake.write(name, frame)
        begun.finish()
    with Run.begin(workspace, "test") as begun:
        yield begun


@pytest.mark.req("MOD-24")
def test_the_suspended_are_in_no_export_during_the_period_and_back_the_day_after(held: Run) -> None:
    """Every destination, every day around the suspension, for an audience built before it began."""
    engine = held.engine()
    for name, place in destinations.DESTINATIONS.items():
        built = build(engine, Audience("hot", channel=channel_of(place), **ASKED), as_of=T)
        assert "p0003" in built.members
        for day in days(2, 3, 4, 5, 6):
            left = plan(engine, built, to=name, processor=ROUTER, value_model="appetence", sent_on=day)
            resting = date(2026, 6, 4) <= day.date() <= date(2026, 6, 6)
            assert ("p0003" not in set(left.persons)) == resting, (name, day)
            assert left.manifest["waterfall"][-1]["n_left"] == len(left.persons)
            steps = {step["reason"]: step["n_out"] for step in left.manifest["waterfall"]}
            assert steps.get("suspended_that_day", 0) == resting
        within = build(
            engine, Audience("hot", channel=channel_of(place), **ASKED), as_of=T, sent_on=days(4)[0]
        )
        assert "p0003" not in within.members
    written = export(held, built, to="cms_kiosk", sent_on=days(5)[0])
    log = held.engine().query("SELECT * FROM activation_log").to_pandas()
    assert written["sent_on"].startswith("2026-06-06") and "p0003" not in set(log["person_id"])


@pytest.mark.req("MOD-24")
def test_a_suspension_lowers_churn_where_pressure_wears_and_changes_nothing_where_it_does_not() -> None:
    """A simulated pause: fewer leave for good where being written to wears people out; else nobody more nor less."""
    weary = {"behaviour": {"churn_pressure": 1.0, "pressure_cap": 0.2}}
    for preset, changes in (("retail", weary), ("null_effects", None)):
        made = world.generate(250, 3, preset, "2026-01-01", "2026-06-01", changes=changes)
        found = world.pause(made, range(250), "2026-02-01", "2026-04-01", "2026-06-01", replicates=6)
        found = found.set_index("outcome")
        assert found.loc["messages", "high"] < 0, "they are left alone"
        if changes:
            assert found.loc["departures", "high"] < 0 and found.loc["departures", "effect"] < 0
        else:
            assert found.loc["departures", "effect"] == 0 == found.loc["expected_orders", "effect"]


def test_caps_are_those_of_the_day_of_sending(held: Run) -> None:
    """Somebody written to the day before is capped on the day, though not when the audience was built."""
    sent = pd.DataFrame({"message_id": ["m1"], "node_id": [5], "source": "crm", "known_at": T, "channel": "email",
                         "event_time": days(2)})  # fmt: skip
    held.lake.write("messages", sent)
    engine = held.engine()
    built = build(engine, Audience("hot", caps=(Cap(1, 48, "email"),), **ASKED), as_of=T)
    assert "p0005" in built.members
    for day, capped in zip(days(1, 3, 5), (False, True, False), strict=True):
        left = plan(engine, built, to="matching", sent_on=day)
        assert ("p0005" not in set(left.persons)) == capped
    held.lake.write("audiences", built.candidates)
    manifest = plan(engine, built, to="matching", sent_on=days(1)[0]).manifest
    content = pd.DataFrame({"content": [json.dumps(manifest)]}).to_json(orient="records")
    row = {"model": "audiences", "version": "", "as_of": T, "name": "hot", "content": content}
    held.lake.write("reports", pd.DataFrame([row]))
    again = plan(held.engine(), stored(held.engine(), "hot"), to="matching", sent_on=days(3)[0])
    assert "p0005" not in set(again.persons), "a stored audience keeps its caps"


def test_a_file_longer_than_one_delivery_leaves_in_parts(held: Run, monkeypatch) -> None:
    """So many rows a part, none twice, none lost; each part has its digest in the manifest."""
    meta = destinations.DESTINATIONS["meta_custom_audience"]
    monkeypatch.setitem(destinations.DESTINATIONS, meta.name, replace(meta, batch=50))
    built = build(held.engine(), Audience("hot", **ASKED), as_of=T)
    manifest = export(held, built, to=meta.name)
    folder = held.workspace.exports / manifest["activation_id"]
    parts = [(folder / part["file"]).read_bytes() for part in manifest["batches"]]
    assert [part["rows"] for part in manifest["batches"]] == [50, 50, 20]
    assert [hashlib.sha256(part).hexdigest() for part in parts] == [p["sha256"] for p in manifest["batches"]]
    together = pd.concat([pd.read_csv(io.BytesIO(part), dtype=str) for part in parts], ignore_index=True)
    whole = pd.read_csv(folder / manifest["file"], dtype=str)
    pd.testing.assert_frame_equal(together, whole)
    assert not together.duplicated().any() and len(together) == 120
    kept = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert kept["batches"] == manifest["batches"]


@pytest.mark.parametrize(
    "reason", ["no_key", "same_key", "no_value", "suspended_that_day", "capped_that_day", "no_consent"]
)
def test_every_step_of_a_file_has_words_in_both_languages(reason: str) -> None:
    """A marketer never reads a code."""
    words = reason_words(reason)
    assert words["fr"] != words["en"] and "_" not in words["fr"] + words["en"]


def test_a_worlds_own_customers_are_reached_by_notification_and_in_stores(tmp_path: Path) -> None:
    """Accounts and cards loaded from exports, with their recorded agreements: no toy address."""
    made = world.generate(150, seed=5)
    made.write(tmp_path / "raw", tmp_path / "truth")
    for file in (tmp_path / "raw").iterdir():
        if file.stem not in ("crm_contacts", "crm_consents", "shop_accounts", "store_cards"):
            file.unlink()
    with Run.begin(Workspace(tmp_path), "load") as run:
        contracts = [c for name in ("crm", "shop", "store") for c in adapter(name).contracts]
        load(run, contracts, tmp_path / "raw")
        with closing(run.engine()) as engine:
            identity.store(run, identity.resolve(identity.records(engine), run_id=run.run_id))
        engine = run.engine()
        found = reach(engine, "SELECT DISTINCT person_id FROM membership", ("push", "app", "kiosk"))
        reachable = found.set_index("channel")["reachable"]
        assert (reachable[["push", "app", "kiosk"]] > 5).all()
        for channel, to in (("kiosk", "cms_kiosk"), ("push", "push_tool")):
            asked = Audience("all", channel=channel, quiet_days=0, control_share=0.0)
            built = build(engine, asked, as_of=pd.Timestamp("2026-07-01"))
            left = plan(engine, built, to=to, processor=ROUTER)
            assert 5 < left.manifest["counts"]["included"] == len(built.members) <= reachable[channel]


@pytest.fixture
def campaigns() -> dict[str, pd.DataFrame]:
    """Two audiences by two channels; the first one's contacted buy, its control does not."""
    people = [f"p{i}" for i in range(40)]
    log = pd.DataFrame(
        [
            {"activation_id": f"{a}-{c}", "person_id": p, "audience": a, "as_of": T, "purpose": "activation",
             "channel": c, "destination": "tool", "decided_by": "rule", "is_control": int(p[1:]) % 4 == 0, "run_id": "r1"}
            for a, who in (("hot", people[:20]), ("warm", people[20:]))
            for c in ("email", "sms")
            for p in who
        ]
    )  # fmt: skip
    buys = [i for i in range(20) if i % 4] + [21]
    return {
        "activation_log": log,
        "membership": pd.DataFrame({"node_id": range(40), "person_id": people, "known_from": T,
                                    "known_to": pd.Series([pd.NaT] * 40, dtype="datetime64[us]")}),
        "orders": pd.DataFrame({"order_id": [f"o{i}" for i in buys], "node_id": buys, "source": "shop", "known_at": T,
                                "event_time": T + pd.Timedelta(days=3)}),
    }  # fmt: skip


@pytest.mark.req("SEG-01")
def test_results_are_told_by_audience_before_channel_and_pages_ask_who_before_where(campaigns) -> None:
    """The default grouping is the audience, then its channels; the navigation asks who first and by which way last."""
    engine = DuckDBEngine(frames=campaigns)
    found = results(engine, T + pd.Timedelta(days=31))
    assert BY == ("audience", "channel") and found.columns.tolist()[:2] == ["audience", "channel"]
    assert found[["audience", "channel"]].apply(tuple, axis=1).tolist() == [
        ("hot", "email"), ("hot", "sms"), ("warm", "email"), ("warm", "sms")]  # fmt: skip
    first = found.iloc[0]
    assert first[["contacted", "control", "bought", "bought_control"]].tolist() == [15, 5, 15, 0]
    assert first["effect"] == 1 and 0 < first["low"] < 1 and found.iloc[2]["low"] < 0 < found.iloc[2]["high"]
    once = results(engine, T + pd.Timedelta(days=31), by=["audience"])
    assert once["contacted"].tolist() == [15, 15], (
        "a person reached by two channels counts once in the audience"
    )
    assert results(engine, T + pd.Timedelta(days=10)).empty, "its days are not over"
    pages = [entry(path) for path in (ROOT / "dashboards").glob("*.ipynb")]
    order = [p.name for p in sorted(pages, key=lambda p: (GROUPS.index(p.group), p.order))]
    assert GROUPS[0] == "qui" and GROUPS[-1] == "ou" and order[0] == "segments" and order[-1] == "channels"
