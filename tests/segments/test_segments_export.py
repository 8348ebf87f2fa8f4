"""What leaves, to whom, and what never does: every destination against its golden file and its vectors."""

from __future__ import annotations

import hashlib
import io
import json
import random
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError, ConsentError, FaultsError
from cdpkit.identity.hashing import identifier_hash, text_hash
from cdpkit.lake.traces import Traces
from cdpkit.run import Run
from cdpkit.schema import CHANNELS
from cdpkit.scrub import holds_personal_values
from cdpkit.segments import Audience, Processor, build, export, plan
from cdpkit.segments.destinations import DESTINATIONS, Destination, processors
from cdpkit.segments.sheets import clear_addresses, neutral, render
from cdpkit.workspace import Workspace

T = pd.Timestamp("2026-06-01").as_unit("us")
BEFORE = T - pd.Timedelta(days=60)
GOLDEN = Path(__file__).parent / "golden"
ALL = ("email", "sms", "call", "post", "site", "app", "push", "kiosk")
ROUTER = Processor("router", tuple(DESTINATIONS), ("activation",))


def frames(n: int = 4, granted: dict[int, tuple[str, ...]] | None = None) -> dict[str, pd.DataFrame]:
    """Return `n` persons who have everything; whoever is in `granted` agreed to these channels only."""
    people = list(range(n))
    values = {
        "email": lambda i: f"Person.{i}@Example.org",
        "phone": lambda i: f"06 12 34 5{i // 1000} {i // 10 % 100:02d}"[:-1] + str(i % 10),
        "first_name": lambda i: "=cmd|' /C calc'!A0" if i == 1 else f"Ana{i}",
        "last_name": lambda i: "Ørsted",
        "street": lambda i: f"{i} rue des Lilas",
        "postcode": lambda i: "75011",
        "city": lambda i: "Paris",
        "country": lambda i: "FR",
        "account_id": lambda i: f"acc{i:04d}",
        "cookie_id": lambda i: f"ck-{i:04d}",
        "loyalty_id": lambda i: f"loy{i:04d}",
    }
    golden = pd.DataFrame(
        [
            {"person_id": f"p{i:04d}", "attribute": name, "value": value(i), "node_id": i}
            for i in people
            for name, value in values.items()
        ]
    ).assign(source="crm", known_at=BEFORE, rule="latest")
    said = [
        (i, channel)
        for i in people
        for channel in (ALL if granted is None or i not in granted else granted[i])
    ]
    return {
        "nodes": pd.DataFrame({"node_id": people, "source": "crm", "record_id": [f"r{i}" for i in people],
                               "node_type": "contact", "known_at": BEFORE}),
        "membership": pd.DataFrame({"node_id": people, "person_id": [f"p{i:04d}" for i in people],
                                    "known_from": BEFORE,
                                    "known_to": pd.Series([pd.NaT] * n, dtype="datetime64[us]")}),
        "golden": golden,
        "consents": pd.DataFrame(said, columns=["node_id", "channel"]).assign(
            source="crm", purpose="activation", status="granted", event_time=BEFORE, known_at=BEFORE),
        "scores": pd.DataFrame({"person_id": [f"p{i:04d}" for i in people], "as_of": T, "model": "appetence",
                                "version": "3", "score": [round(0.9 - i / (2 * n), 4) for i in people],
                                "percentile": 50.0, "decile": [1 + i % 10 for i in people], "tier": "hot",
                                "decided_by": "appetence:3", "reference_population": "all"}),
    }  # fmt: skip


def audience(made: DuckDBEngine, channel: str = "email", **options: object):
    asked = {"quiet_days": 0, "control_share": 0.0, "model": "appetence", **options}
    return build(made, Audience("hot", channel=channel, **asked), as_of=T)


def channel_of(place: Destination) -> str:
    """Return an audience's channel that suits a destination."""
    asked = [c.channel for c in place.columns if c.key]
    return asked[0] if asked[0] in ALL else "email"


def tried(name: str, made: DuckDBEngine):
    return plan(made, audience(made, channel_of(DESTINATIONS[name])), to=name, processor=ROUTER)


def as_text(content: bytes, form: str) -> str:
    """Return a file as its golden file holds it."""
    if form == "parquet":
        return pd.read_parquet(io.BytesIO(content)).to_csv(index=False, lineterminator="\n")
    if form == "xlsx":
        return pd.read_excel(io.BytesIO(content), dtype=str).to_csv(index=False, lineterminator="\n")
    return content.decode()


@pytest.mark.req("GOV-14")
@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_each_destination_writes_its_golden_file(name: str) -> None:
    """The file of four known persons is byte for byte (or cell for cell) the one kept, with its schema."""
    handover = tried(name, DuckDBEngine(frames=frames()))
    form = DESTINATIONS[name].form
    suffix = "json" if form == "json" else "csv"
    assert as_text(handover.content, form) == (GOLDEN / f"{name}.{suffix}").read_text("utf-8")
    assert [column["name"] for column in handover.manifest["schema"]] == handover.manifest["columns"]
    assert handover.manifest["sha256"] == hashlib.sha256(handover.content).hexdigest()
    assert len(handover.persons) == handover.manifest["counts"]["included"] == 4


@pytest.mark.req("WHA-05")
def test_each_crm_channel_and_surface_has_a_file_of_its_own() -> None:
    """E-mail, SMS, push, post and kiosks are channels, each with a destination and a golden file."""
    for channel, name in {"email": "email_tool", "sms": "sms_tool", "push": "push_tool", "post": "post_house",
                          "kiosk": "cms_kiosk", "call": "call_list"}.items():  # fmt: skip
        assert channel in CHANNELS and channel in {c.channel for c in DESTINATIONS[name].columns if c.key}
        assert list(GOLDEN.glob(f"{name}.*"))
    assert "object" in CHANNELS
    for surface in ("site", "app", "kiosk"):
        told = json.loads(tried(f"cms_{surface}", DuckDBEngine(frames=frames())).content)
        assert told["surface"] == surface and told["rows"]


def test_published_vectors_are_met() -> None:
    """TikTok's customer file page, Meta's matching page and Google's sample, as printed there."""
    assert identifier_hash("email", " JaneDoe@gmail.com ", "tiktok") == (
        "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"
    )
    assert identifier_hash("email", "John_Smith@gmail.com", "meta") == (
        "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"
    )
    assert identifier_hash("phone", "+1 (650) 555-1212", "meta") == (
        "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"
    )
    assert identifier_hash("phone", "+1 800 555 0100", "google") == (
        "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30"
    )
    plus = hashlib.sha256(b"+33612345678").hexdigest()
    assert identifier_hash("phone", "06 12 34 56 78", "tiktok") == plus
    assert identifier_hash("phone", "06 12 34 56 78", "google") == plus
    assert identifier_hash("phone", "06 12 34 56 78", "meta") == hashlib.sha256(b"33612345678").hexdigest()


@pytest.mark.req("GOV-11")
@settings(max_examples=8, deadline=None)
@given(st.lists(st.sets(st.sampled_from(ALL)), min_size=5, max_size=5), st.randoms(use_true_random=False))
def test_nobody_without_consent_is_in_any_export(agreed: list[set[str]], draw: random.Random) -> None:
    """Whatever was agreed, before or since the audience was made, each key leaves under its own channel."""
    granted = {i: tuple(sorted(channels)) for i, channels in enumerate(agreed)}
    made = DuckDBEngine(frames=frames(5, granted))
    for name in draw.sample(sorted(DESTINATIONS), 3):
        result = audience(made, channel_of(DESTINATIONS[name]))
        handover = plan(made, result, to=name, processor=ROUTER)
        keys = {c.channel for c in DESTINATIONS[name].resolved(result.audience.channel) if c.key}
        left = {int(person[1:]) for person in handover.persons}
        assert left <= {i for i, channels in granted.items() if keys & set(channels)}
        steps = handover.manifest["waterfall"]
        assert steps[-1]["n_left"] == len(left) and sum(s["n_out"] for s in steps) == 5 - len(left)


def test_a_key_leaves_under_its_own_agreement_and_a_late_refusal_counts() -> None:
    """A phone without an SMS grant stays empty; who refuses after the audience was built is out."""
    held = frames(3, {0: ("email",), 1: ("email", "sms"), 2: ("email",)})
    made = DuckDBEngine(frames=held)
    result = audience(made)
    late = held["consents"].iloc[[0]].assign(node_id=2, channel="email", status="denied", event_time=T)
    made.register("consents", pd.concat([held["consents"], late]))
    handover = plan(made, result, to="google_customer_match")
    file = pd.read_csv(io.BytesIO(handover.content))
    assert len(result.members) == 3 and sorted(handover.persons) == ["p0000", "p0001"]
    assert file["Phone"].notna().sum() == 1 and file["Zip"].isna().all()
    assert handover.manifest["consent"]["email"] == {"asked": 3, "granted": 2}


def test_no_clear_address_leaves_but_to_a_processor() -> None:
    """Hashed files hold no address pattern; a clear one needs a processor declared for it and its purpose."""
    made = DuckDBEngine(frames=frames())
    for name, place in DESTINATIONS.items():
        result = audience(made, channel_of(place))
        if not place.clear:
            text = as_text(plan(made, result, to=name).content, place.form)
            assert not any(holds_personal_values(cell) for cell in text.replace("\n", ",").split(",")), name
            continue
        for nobody in (None, Processor("other", ("matching",), ("activation",)), Processor("p", (name,), ())):
            with pytest.raises(ConsentError, match="processor"):
                plan(made, result, to=name, processor=nobody)
    with pytest.raises(ConsentError, match="purpose"):
        plan(made, audience(made), to="google_customer_match", purpose="profiling")
    with pytest.raises(CdpkitError, match="declared"):
        plan(made, audience(made), to="carrier_pigeon")


def test_an_address_in_the_wrong_place_stops_a_file() -> None:
    """Account ids that are e-mail addresses leave hashed; an address in a plain column stops the file."""
    held = frames()
    ids = held["golden"]["attribute"] == "account_id"
    held["golden"].loc[ids, "value"] = [f"someone{i}@shop.example" for i in range(ids.sum())]
    assert not tried("recommender", DuckDBEngine(frames=held)).faults
    names = held["golden"]["attribute"] == "country"
    held["golden"].loc[names, "value"] = "someone@shop.example"
    faults = tried("google_customer_match", DuckDBEngine(frames=held)).faults
    assert any("Country" in fault for fault in faults)
    assert clear_addresses(pd.DataFrame({"a": ["tel 06 12 34 56 78"], "b": ["ok"]})) == ["a"]


def test_a_spreadsheet_runs_nothing() -> None:
    """Formulas become texts in CSV and XLSX; numbers and phone numbers stay as they are."""
    import openpyxl

    nasty = ["=1+1", "@SUM(A1)", "-2+3", "\t=1", "+cmd|' /C calc'!A0", " =2"]
    assert all(str(neutral(text)).startswith("'") for text in nasty)
    assert [neutral(text) for text in ("+33612345678", "-4.5", "Jean", None, 3)] == ["+33612345678", "-4.5", "Jean", None, 3]  # fmt: skip
    frame = pd.DataFrame({"a": nasty})
    sheet = openpyxl.load_workbook(io.BytesIO(render(frame, "xlsx", {}))).active
    assert all(cell.data_type == "s" for row in sheet.iter_rows() for cell in row)
    assert "\n=" not in render(frame, "csv", {}).decode()
    with pytest.raises(CdpkitError, match="form"):
        render(frame, "fax", {})


@pytest.fixture
def run(tmp_path: Path):
    """Return a run over a lake that holds the persons."""
    workspace = Workspace(tmp_path)
    with Run.begin(workspace, "test") as begun:
        for name, frame in frames(120).items():
            begun.lake.write(name, frame)
        yield begun


@pytest.mark.req("IDN-15")
def test_an_export_is_written_and_logged_and_too_short_a_file_is_not(run: Run) -> None:
    """Bytes, manifest and log tell one story; the control is logged and absent; 1,000 are 1,000."""
    engine = run.engine()
    result = audience(engine, control_share=0.1)
    manifest = export(run, result, to="google_customer_match")
    folder = run.workspace.exports / manifest["activation_id"]
    content = (folder / manifest["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == manifest["sha256"]
    file = pd.read_csv(io.BytesIO(content), dtype=str)
    hashes = file[["Email", "Phone", "First Name", "Last Name"]].stack()
    assert hashes.str.fullmatch("[0-9a-f]{64}").all()
    assert not any(holds_personal_values(cell) for cell in file.stack())
    log = run.engine().query("SELECT * FROM activation_log").to_pandas()
    sent = log[~log["is_control"].astype(bool)]
    assert set(sent["person_id"]) == set(result.members) and len(file) == len(sent)
    assert log["is_control"].sum() == manifest["counts"]["control"] > 0
    assert set(log["decided_by"]) == {"appetence:3"} and manifest["inputs"]["scores"] == "appetence"
    assert "value_model" in plan(engine, result, to="value_bidding").faults[0]
    assert not plan(engine, result, to="value_bidding", value_model="appetence").faults
    with pytest.raises(FaultsError, match="1000"):
        export(run, result, to="tiktok_custom_audience")
    assert len(list(run.workspace.exports.iterdir())) == 1
    (run.workspace.data / "processors.toml").write_text(
        '[router]\ndestinations = ["email_tool"]\npurposes = ["activation"]\n'
    )
    named = processors(run.workspace)["router"]
    clear = export(run, result, to="email_tool", processor=named)
    assert clear["processor"] == "router" and clear["clear"]


def test_the_command_tries_first_and_writes_only_when_told(tmp_path: Path) -> None:
    """A stored audience is tried, then written for real; a clear file without processor is refused."""
    from typer.testing import CliRunner

    from cdpkit import cli

    workspace = Workspace(tmp_path)
    with Run.begin(workspace, "test") as begun:
        for name, frame in frames(120).items():
            begun.lake.write(name, frame)
        result = audience(begun.engine())
        begun.lake.write("audiences", result.candidates)
        said = json.dumps({"rule": {"model": "appetence", "where": ""}, "channel": "email"})
        row = {"model": "audiences", "version": "", "as_of": T, "name": "hot"}
        content = pd.DataFrame({"content": [said]}).to_json(orient="records")
        begun.lake.write("reports", pd.DataFrame([row | {"content": content}]))
        begun.finish()
    asked = ["export", "hot", "--home", str(tmp_path), "--to"]
    tried = CliRunner().invoke(cli.app, [*asked, "google_customer_match"])
    assert tried.exit_code == 0 and '"included": 120' in tried.stdout and not workspace.exports.exists()
    assert not holds_personal_values(tried.stdout)
    short = CliRunner().invoke(cli.app, [*asked, "tiktok_custom_audience"])
    assert short.exit_code == 1 and "1000 rows" in short.stdout
    clear = CliRunner().invoke(cli.app, [*asked, "email_tool", "--for-real"])
    assert isinstance(clear.exception, ConsentError) and not workspace.exports.exists()
    done = CliRunner().invoke(cli.app, [*asked, "google_customer_match", "--for-real"])
    assert done.exit_code == 0 and "120 rows" in done.stdout
    assert len(list(workspace.exports.glob("*-hot-google_customer_match/audience.csv"))) == 1


@pytest.mark.req("MOD-16")
@pytest.mark.parametrize("name", ["google_customer_match", "meta_custom_audience", "tiktok_custom_audience"])
def test_a_seed_list_under_the_platform_s_minimum_is_refused_with_the_number(run: Run, name: str) -> None:
    """Seeds leave hashed; those who may not leave do not count towards what the platform asks for."""
    engine, least = run.engine(), DESTINATIONS[name].minimum
    seeds = build(
        engine,
        Audience("seed_for_twins", channel="email", quiet_days=0, control_share=0.0, model="appetence",
                 where="score >= 0.55"),
        as_of=T,
    )  # fmt: skip
    here = len(seeds.members)
    assert 0 < here < 100 <= least
    handover = plan(engine, seeds, to=name)
    assert handover.faults == [f"{name} needs {least} rows or more; got {here}"]
    with pytest.raises(FaultsError, match=f"{least} rows or more; got {here}"):
        export(run, seeds, to=name)
    assert not run.workspace.exports.exists() or not list(run.workspace.exports.iterdir())
    everyone = build(
        engine, Audience("seed_for_twins", channel="email", quiet_days=0, control_share=0.0), as_of=T
    )
    enough = plan(engine, everyone, to=name)
    assert bool(enough.faults) == (len(everyone.members) < least)
    cells = pd.read_csv(io.BytesIO(enough.content), dtype=str).filter(regex="(?i)mail|phone")
    assert cells.stack().str.fullmatch("[0-9a-f]{64}").all()


@pytest.mark.req("MOD-34")
def test_a_value_leaves_in_whole_units_and_not_without_one() -> None:
    """A score of 1,234 cents is worth 12.34; who has no predicted value is out, and counted."""
    held = frames(3)
    worth = held["scores"].assign(model="lifetime_value", score=[1234.0, 50.0, 99.0]).iloc[:2]
    made = DuckDBEngine(frames=held | {"scores": pd.concat([held["scores"], worth])})
    handover = plan(made, audience(made), to="value_bidding", value_model="lifetime_value")
    file = pd.read_csv(io.BytesIO(handover.content))
    assert sorted(file["Conversion Value"]) == [0.5, 12.34] and set(file["Currency"]) == {"EUR"}
    assert handover.manifest["waterfall"][-1] == {"reason": "no_value", "n_out": 1, "n_left": 2}
    assert sorted(handover.persons) == ["p0000", "p0001"]
    # What the platform reads: a hash, a number that is not negative, a currency; nobody twice.
    assert file.columns.tolist() == [column.name for column in DESTINATIONS["value_bidding"].columns]
    assert file["Email"].str.fullmatch("[0-9a-f]{64}").all() and file["Email"].is_unique
    assert file["Conversion Value"].dtype == float and (file["Conversion Value"] >= 0).all()


def test_an_erasure_finds_a_person_in_every_hashed_file() -> None:
    """Each destination's keys of a person are traces of theirs; those of another person are not."""
    theirs = {("email", "Ana.Li@gmail.com"), ("phone", "06 12 34 56 78"), ("account_id", "Acc-9")}
    traces, other = Traces(frozenset({1}), identifiers=frozenset(theirs)), ("email", "bob@gmail.com")
    for scheme in ("google", "meta", "tiktok"):
        for kind in ("email", "phone"):
            value = dict(theirs)[kind]
            assert traces.in_row(f"x,{identifier_hash(kind, value, scheme)},hot")
        assert not traces.in_row(f"x,{identifier_hash(*other, scheme)},hot")
    assert traces.in_row(text_hash("Acc-9", fold=False))
