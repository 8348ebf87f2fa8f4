"""The whole way, as its user takes it: raw exports in, dashboards and an audience file out."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from cdpkit import consent, metrics, notebooks, tracking
from cdpkit.definitions import HotProspectDefinition
from cdpkit.engine import DuckDBEngine
from cdpkit.lake.suppression import normal
from cdpkit.notebooks import report
from cdpkit.schema import TABLES
from cdpkit.tracking.store import open_store
from cdpkit.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.notebook]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The demo's own command on a small world, once for this module."""
    home = tmp_path_factory.mktemp("Données clients")
    command = [sys.executable, "-m", "cdpkit.cli", "demo", "--persons", "1500", "--seed", "1", "--no-serve"]
    done = subprocess.run([*command, "--home", str(home)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    workspace = Workspace.open(home)
    night = report.read(workspace.outputs / "r000001")
    assert night is not None and "Published s000001" in done.stdout
    return SimpleNamespace(workspace=workspace, night=night, engine=DuckDBEngine(workspace.lake()))


@pytest.mark.req("GOV-04", "IDN-06")
def test_one_command_goes_from_raw_files_to_page_and_export(demo: SimpleNamespace) -> None:
    """Every step signs, one snapshot is published, with the page and the audience file it names."""
    assert [step["status"] for step in demo.night["steps"]] == ["ok"] * 7
    store = open_store(demo.workspace)
    (nights,) = store.client().search_runs([store.experiment("nightly")])
    assert nights.data.metrics["event_to_segment_p90_s"] > nights.data.metrics["event_to_profile_p50_s"] > 0
    page = demo.workspace.lake().page("appetence")
    assert {tier["tier"] for tier in page["tiers"]} == {"hot", "warm", "cold"}
    folder = demo.workspace.exports / page["audiences"][0]["export"]
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    content = (folder / "audience.csv").read_bytes()
    assert hashlib.sha256(content).hexdigest() == manifest["sha256"]
    assert len(list(csv.DictReader(content.decode().splitlines()))) == manifest["counts"]["included"] > 0


@pytest.mark.req("GOV-02", "MEA-01")
def test_a_figure_is_the_same_in_notebook_table_and_page(demo: SimpleNamespace) -> None:
    """What the dictionary computes today is what the notebook of maturity reported and both pages hold."""
    lake = demo.workspace.lake()
    home, maturity = lake.page("home"), lake.page("maturity")
    end = pd.Timestamp(home["data_up_to"]) + pd.Timedelta(days=1)
    now = metrics.compute(demo.engine, end).set_index("metric")["value"].to_dict()
    assert {"click_rate", "repeat_rate", "revenue"} <= set(now)
    for figures in (home["figures"], maturity["metrics"]):
        assert {row["metric"]: row["value"] for row in figures} == pytest.approx(now, rel=1e-5)


@pytest.mark.parametrize("name", ["00_tour", "11_person"])
def test_a_notebook_aside_shows_what_the_night_left(demo: SimpleNamespace, tmp_path: Path, name: str) -> None:
    """Its every cell runs on a published workspace, takes no lock and changes nothing; no night runs it."""
    before = demo.workspace.lake().status()
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    notebook.cells[1].source += f'\nhome, language = {str(demo.workspace.home)!r}, "fr"'
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert demo.workspace.lake().status() == before
    assert name[3:] not in [path.stem[3:] for path in notebooks.steps(all=True)]


@pytest.mark.req("SEG-15")
def test_scores_are_keyed_and_their_version_is_in_the_registry(demo: SimpleNamespace) -> None:
    """One score a person, model and date; the version named is the champion of the registry."""
    scores = demo.engine.query("SELECT * FROM scores").to_pandas()
    assert not scores.duplicated(list(TABLES["scores"].key)).any()
    assert scores[["version", "percentile", "decile", "tier"]].notna().all().all()
    champion = tracking.load("appetence", workspace=demo.workspace)
    assert set(scores["version"]) == {champion.version}


@pytest.mark.req("MEA-10")
def test_every_decision_says_rule_or_model(demo: SimpleNamespace) -> None:
    """Scores, audiences and the activation log name who decided, always."""
    for table in ("scores", "audiences", "activation_log"):
        decided = demo.engine.query(f"SELECT DISTINCT decided_by FROM {table}").to_pandas()["decided_by"]
        assert len(decided) >= 1
        assert decided.map(lambda text: text == "rule" or text.startswith("appetence:")).all(), table


@pytest.mark.req("MEA-13")
def test_each_model_has_its_card_and_each_step_its_executed_notebook(demo: SimpleNamespace) -> None:
    """The card is stored with the model; executed notebooks and the report lie in the run's folder."""
    champion = tracking.load("appetence", workspace=demo.workspace).model
    assert champion.card["verdict"]["sentence"]["fr"] and champion.card["metrics"]
    folder = demo.workspace.outputs / demo.night["run_id"]
    assert {path.stem for path in folder.glob("*.ipynb")} == {
        "00_load",
        "10_identity",
        "20_features",
        "30_appetence",
        "50_audiences",
        "70_maturity",
        "80_pages",
    }
    assert (folder / "report.html").exists()


@pytest.mark.req("MOD-02")
def test_the_definition_is_stored_with_the_model(demo: SimpleNamespace) -> None:
    """What the champion calls hot can be read back from the registry, and is what the page says."""
    champion = tracking.load("appetence", workspace=demo.workspace).model
    hot = HotProspectDefinition.from_dict(champion.definition)
    assert hot.to_dict() == champion.definition and hot.horizon_days == 30
    assert demo.workspace.lake().page("appetence")["definition"]["fr"] == hot.sentence("fr")


def test_the_waterfall_adds_up_and_only_the_consenting_are_kept(demo: SimpleNamespace) -> None:
    """The manifest's steps, the file and the lake tell one story; whoever is kept has a grant today."""
    exported = demo.workspace.lake().page("appetence")["audiences"][0]["export"]
    manifest = json.loads((demo.workspace.exports / exported / "manifest.json").read_text(encoding="utf-8"))
    found = demo.engine.query("SELECT included, excluded_by, person_id FROM audiences").to_pandas()
    hot = demo.engine.query("SELECT person_id FROM scores WHERE tier = 'hot'").to_pandas()["person_id"]
    assert set(found["person_id"]) == set(hot) and manifest["counts"]["candidates"] == len(hot)
    left = len(hot)
    for step in manifest["waterfall"][1:]:
        assert step["n_out"] == (found["excluded_by"] == step["reason"]).sum()
        left -= step["n_out"]
        assert step["n_left"] == left
    kept = set(found.loc[found["included"].astype(bool), "person_id"])
    assert len(kept) == left == manifest["counts"]["included"] > 0
    granted = consent.permitted_persons(demo.engine, "activation", channel="email")
    assert kept <= set(granted["person_id"])


def test_no_personal_data_in_outputs_pages_or_registry(demo: SimpleNamespace) -> None:
    """No address, phone or full name of the base is in an executed notebook, a page, a log or MLflow."""
    known = demo.engine.query("""
        SELECT id_type AS kind, lower(value) AS value FROM identifiers
        WHERE id_type IN ('email', 'phone') AND length(value) > 8
        UNION SELECT 'name', lower(first_name || ' ' || last_name) FROM profiles
        WHERE length(first_name) >= 4 AND length(last_name) >= 4
    """).to_pandas()
    canaries = {kind: set(values) for kind, values in known.groupby("kind")["value"]}
    assert all(len(canaries[kind]) > 500 for kind in ("email", "phone", "name"))
    phones = {normal("phone", value) for value in canaries["phone"]}
    written = {*canaries["email"], *canaries["phone"], *canaries["name"]}
    written |= {json.dumps(value)[1:-1] for value in written}  # as files without accents spell them
    texts = [
        path.read_text(encoding="utf-8", errors="ignore").lower()
        for folder in (demo.workspace.outputs, demo.workspace.published, demo.workspace.mlruns)
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert texts
    for text in texts:
        assert not [value for value in written if value in text]
        # Whatever the spelling: +33 6…, 0033 6… and 06.12… are one number.
        digits = re.findall(r"(?<![\d.,])\+?\d(?:[ .-]?\d){8,13}(?!\d)", text)
        assert not phones & {normal("phone", run) for run in digits}


@pytest.mark.browser
def test_the_dashboard_of_this_run_opens_in_a_browser(demo: SimpleNamespace) -> None:
    """The page shows the lake's numbers in both languages, and the audience leaves once."""
    out = Path(os.environ.get("CDPKIT_SCREENSHOTS") or ROOT / "screenshots")
    command = [sys.executable, str(ROOT / "tests" / "pictures.py")]
    done = subprocess.run(
        [*command, "--home", str(demo.workspace.home), "--out", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout)
    people = demo.engine.query("SELECT count(*) AS n FROM scores").to_pandas()["n"].item()
    assert f"{people:,}" in seen["en"] and f"{people:,}".replace(",", "\u202f") in seen["fr"]
    kept = demo.engine.query("SELECT count(*) AS n FROM audiences WHERE included").to_pandas()["n"].item()
    assert seen["download"]["lines"] == kept + 1 and seen["download"]["again"] == 410
    assert (out / "appetence-fr.png").stat().st_size > 20_000


def test_running_again_changes_nothing_that_did_not_change(demo: SimpleNamespace) -> None:
    """A second night on the same exports loads nothing, renames nobody and keeps the champion."""
    before = demo.engine.query("SELECT node_id, person_id FROM membership ORDER BY ALL").to_pandas()
    scores = demo.engine.query("SELECT person_id, score FROM scores ORDER BY ALL").to_pandas()
    again = notebooks.nightly(demo.workspace, source="world", path=demo.workspace.raw)
    assert again.ok, again.reason
    engine = DuckDBEngine(demo.workspace.lake())
    after = engine.query("SELECT node_id, person_id FROM membership ORDER BY ALL").to_pandas()
    pd.testing.assert_frame_equal(before, after)
    events = engine.query(f"SELECT count(*) AS n FROM person_events WHERE run_id = '{again.run_id}'")
    assert events.to_pandas()["n"].item() == 0
    rescored = engine.query("SELECT person_id, score FROM scores ORDER BY ALL").to_pandas()
    pd.testing.assert_frame_equal(scores, rescored)


@pytest.mark.req("MEA-13")
def test_the_template_runs_and_plain_papermill_does_too(demo: SimpleNamespace) -> None:
    """The notebook new ones start from runs under the runner, and by papermill alone."""
    verdict = notebooks.run("template", {}, demo.workspace)
    assert verdict.status == "skipped" and "template" in verdict.reason
    output = demo.workspace.home / "template.ipynb"
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "99_template.ipynb"), str(output)]
    done = subprocess.run(
        [*command, "-p", "home", str(demo.workspace.home), "-k", "python3"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "output_type" in output.read_text(encoding="utf-8")


@pytest.mark.req("SEG-10")
def test_behaviour_and_socio_demographics_are_compared_with_the_lift_of_each(demo: SimpleNamespace) -> None:
    """The notebook prints both lifts with intervals; in the world, where intent shows in visits, behaviour wins."""
    verdict = notebooks.run("targeting", {"snapshots": 2}, demo.workspace)
    assert verdict.status == "ok", verdict.reason
    with DuckDBEngine(demo.workspace.lake()) as engine:
        told = engine.query("SELECT content FROM reports WHERE model = 'targeting' AND name = 'targeting'")
        lifts = pd.DataFrame(json.loads(told.to_pandas()["content"].item())).query("metric == 'lift_10'")
    both = lifts.set_index("by")
    assert (both["low"] < both["value"]).all() and (both["value"] < both["high"]).all()
    assert both.loc["behavioural", "difference_low"] > 0 and both.loc["socio-demographic", "difference"] == 0
    executed = json.loads(verdict.output.read_text("utf-8"))
    printed = "".join(t for c in executed["cells"] for o in c.get("outputs", []) for t in o.get("text", []))
    assert all(word in printed for word in ("socio-demographic lift_10", "behavioural lift_10", "high"))
