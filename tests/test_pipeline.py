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

import pandas as pd
import pytest

from cdpkit import notebooks, tracking, world
from cdpkit.engine import DuckDBEngine
from cdpkit.lake.suppression import normal
from cdpkit.schema import TABLES
from cdpkit.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.notebook]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A small world through the night, once for this module."""
    home = tmp_path_factory.mktemp("Données clients")
    workspace = Workspace.open(home)
    world.generate(1500, seed=1).write(workspace.raw, workspace.truth)
    result = notebooks.nightly(workspace, source="world", path=workspace.raw)
    assert result.ok, result.reason
    return SimpleNamespace(workspace=workspace, result=result, engine=DuckDBEngine(workspace.lake()))


@pytest.mark.req("GOV-04")
def test_one_command_goes_from_raw_files_to_page_and_export(demo: SimpleNamespace) -> None:
    """Every step signs, one snapshot is published, with the page and the audience file it names."""
    assert [verdict.status for verdict in demo.result.verdicts] == ["ok"] * 5
    page = demo.workspace.lake().page("appetence")
    assert {tier["tier"] for tier in page["tiers"]} == {"hot", "warm", "cold"}
    folder = demo.workspace.exports / page["audiences"][0]["export"]
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    content = (folder / "audience.csv").read_bytes()
    assert hashlib.sha256(content).hexdigest() == manifest["sha256"]
    assert len(list(csv.DictReader(content.decode().splitlines()))) == manifest["counts"]["included"] > 0


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
    folder = demo.workspace.outputs / demo.result.run_id
    assert {path.stem for path in folder.glob("*.ipynb")} == {
        "00_load",
        "10_identity",
        "20_features",
        "30_appetence",
        "50_audiences",
    }
    assert (folder / "report.html").exists()


def test_the_waterfall_adds_up_and_only_the_consenting_are_kept(demo: SimpleNamespace) -> None:
    """Candidates = kept + left out; each kept person has a grant that no later denial takes back."""
    found = demo.engine.query("SELECT included, excluded_by, person_id FROM audiences").to_pandas()
    assert (found["included"] == found["excluded_by"].isna()).all()
    kept = set(found.loc[found["included"].astype(bool), "person_id"])
    last = demo.engine.query("""
        SELECT m.person_id, arg_max(c.status, c.event_time) AS status
        FROM consents c JOIN membership m ON m.node_id = c.node_id AND m.known_to IS NULL
        WHERE c.purpose = 'activation' AND c.channel IN ('email', '*') GROUP BY ALL
    """).to_pandas()
    assert kept and kept <= set(last.loc[last["status"] == "granted", "person_id"])


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
