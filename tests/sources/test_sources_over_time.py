"""What time does to what was loaded: a term that ends, a second run without news, a source gone silent."""

from __future__ import annotations

import json
import os
from contextlib import closing
from datetime import datetime
from itertools import pairwise

import pandas as pd
import pytest
from typer.testing import CliRunner

from cdpkit import governance, maturity, notebooks, quality
from cdpkit.cli import app
from cdpkit.engine import DuckDBEngine
from cdpkit.run import Run
from cdpkit.sources import Contract, load
from cdpkit.ui.digest import FORMAT
from cdpkit.ui.pages.data.view import finding
from cdpkit.workspace import Workspace

VISITS = """visit_id,partner_cookie_id,site,page_topic,visited_at,ad_consent,cookie_id
v1,pc1,maison.example,Lampes,2026-01-05T09:00:00Z,1,ck1
v2,pc2,maison.example,Jardin,2026-05-05T09:00:00Z,1,ck2
v3,pc1,maison.example,Jardin,2026-01-06T09:00:00Z,1,ck1
v4,pc3,maison.example,Jardin,2027-05-05T09:00:00Z,1,ck3
"""


def test_what_is_past_its_sources_term_is_deleted_and_the_rest_stays(till, put, tmp_path):
    """180 days for a partner's visits: old ones, their record and its bytes go; other sources and younger rows stay."""
    put("ticket;card;sold_at;total\nT1;C1;01/01/2020 10:00;12,00\n")
    put(VISITS, name="partner_visits.csv")
    workspace = Workspace(tmp_path / "home")
    with Run.begin(workspace, "load") as run:
        load(run, till, tmp_path / "exports")
        load(run, "partner_visits", tmp_path / "exports")
        run.finish()
    now = datetime(2026, 8, 1)
    with DuckDBEngine(workspace.lake()) as engine:
        assert governance.due(engine, datetime(2026, 6, 1)).empty, "nothing is due before its day"
        told = governance.due(engine, now).set_index("table")["rows"]
    assert told["events"] == 2 and set(told.index) >= {"events", "consents", "identifiers"}
    with Run.begin(workspace, "expire") as run:
        gone = governance.expire(run, now).set_index("table")["rows"]
        run.lake.forget({run.finish(release=False).id})
    assert gone["events"] == 2 and gone["nodes"] == 1
    with DuckDBEngine(workspace.lake()) as engine:
        left = {
            table: engine.query(f"SELECT * FROM {table}").to_pandas()
            for table in ("events", "nodes", "identifiers", "orders", "quarantine", "consents")
        }
        assert governance.due(engine, now).empty
    assert left["events"]["event_id"].tolist() == ["v2"] and left["orders"]["order_id"].tolist() == ["T1"]
    assert set(left["nodes"]["record_id"]) == {"pc2", "C1"} and "ck1" not in set(left["identifiers"]["value"])
    assert len(left["quarantine"]) == 1 and set(left["consents"]["source"]) == {"partner_visits"}
    stored = [file for file in workspace.lake().path.rglob("*") if file.is_file()]
    assert not [file for file in stored if b"pc1" in file.read_bytes()], (
        "the bytes are gone with the old snapshots"
    )
    with Run.begin(workspace, "load") as run:
        assert not load(run, "partner_visits", tmp_path / "exports").changed, (
            "the same file brings nothing back"
        )
        later = governance.expire(run, datetime(2027, 8, 1))
    assert later.set_index("table")["rows"][["events", "nodes", "quarantine"]].tolist() == [1, 1, 1]


def test_a_raw_file_written_before_its_sources_term_goes_too(till, put, tmp_path):
    """It can hold nothing younger; a younger file, one never taken in and one of a source without term stay."""
    workspace = Workspace.open(tmp_path / "home")
    put("ticket;card;sold_at;total\nT1;C1;01/01/2020 10:00;12,00\n", folder="home/data/raw")
    for name in ("partner_visits.csv", "old/partner_visits.csv", "partner_other.txt"):
        put(VISITS if "/" not in name else VISITS.replace("\nv", "\nw"), name=name, folder="home/data/raw")
    with Run.begin(workspace, "load") as run:
        load(run, till, workspace.raw)
        load(run, "partner_visits", workspace.raw)
        load(run, "partner_visits", workspace.raw / "old")
        run.finish()
    written = datetime(2026, 6, 1).timestamp()
    for path in workspace.raw.rglob("*"):
        if path.is_file() and "old" not in path.parts:
            os.utime(path, (written, written))
    (workspace.raw / "partner_other.txt").write_text("never taken in")
    told = CliRunner().invoke(
        app, ["expire", "--home", str(workspace.home), "--at", "2027-01-15", "--dry-run"]
    )
    assert "partner_visits: partner_visits.csv would go" in told.output and "till" not in told.output
    assert (workspace.raw / "partner_visits.csv").exists()
    told = CliRunner().invoke(app, ["expire", "--home", str(workspace.home), "--at", "2027-01-15"])
    assert told.exit_code == 0, told.output
    left = {str(path.relative_to(workspace.raw)) for path in workspace.raw.rglob("*") if path.is_file()}
    assert left == {"sales.csv", "old/partner_visits.csv", "partner_other.txt"}


def test_a_source_without_a_term_is_never_expired(till, put, tmp_path, run):
    """No declared limit, no deletion: how long then is for the brand to say."""
    put("ticket;card;sold_at;total\nT1;C1;01/01/1999 10:00;12,00\n")
    load(run, till, tmp_path / "exports")
    assert governance.expire(run, datetime(2030, 1, 1)).empty


@pytest.mark.slow
@pytest.mark.notebook
@pytest.mark.req("DAT-21")
def test_a_second_run_without_news_writes_nothing_and_late_data_warn(put, tmp_path, monkeypatch):
    """Loading again the same files moves no table; a month later the source is called late, in words."""
    contract = put(
        'source = "till"\ndelimiter = ";"\ndecimal = ","\nzone = "Europe/Paris"\ndates = ["%d/%m/%Y %H:%M"]\n'
        '[datasets.sales]\nfiles = "sales*.csv"\ncolumns = ["ticket", "card", "sold_at", "total"]\n'
        'node = { type = "card", record_id = "card" }\nevent_time = "local_time(sold_at)"\n'
        '[[datasets.sales.maps]]\ntable = "orders"\n[datasets.sales.maps.set]\norder_id = "ticket"\n'
        "amount_minor = \"minor(number(total), 'EUR')\"\ncurrency = \"'EUR'\"\n",
        name="till.toml", folder="contract",
    )  # fmt: skip
    days = pd.date_range("2026-03-01 10:00", periods=20)
    put(
        "ticket;card;sold_at;total\n"
        + "".join(f"T{k};C{k % 3};{d:%d/%m/%Y %H:%M};12,00\n" for k, d in enumerate(days))
    )
    workspace = Workspace(tmp_path / "home")
    asked = {"source": str(contract), "path": str(tmp_path / "exports")}
    versions = []
    for _ in range(2):
        verdict = notebooks.run("load", asked, workspace)
        assert verdict.status == "ok", verdict
        current = workspace.lake().current()
        versions.append({name: (pin.version, pin.rows) for name, pin in current.tables.items()})
    assert versions[0] == versions[1] and {"orders", "source_files", "reports"} <= set(versions[0])
    with DuckDBEngine(workspace.lake()) as engine:
        told = engine.query("SELECT content FROM reports WHERE name = 'files'").to_pandas()["content"].item()
        assert [file["status"] for file in json.loads(told)] == ["loaded"]
        for day, late in (("2026-03-21", False), ("2026-04-21", True)):
            fresh = quality.freshness(engine, day)
            assert fresh["stale"].tolist() == [late]
            frames = {"freshness": json.loads(fresh.to_json(orient="records", date_format="iso"))}
            page = {"format": FORMAT, "models": {"data": {"frames": frames}}}
            said = finding(page)
            assert (said is not None) and (("till" in str(said)) == late)


CUSTOMERS = """
source = "clients"
[datasets.people]
files = "people.csv"
columns = ["id", "mail", "postcode", "seen"]
node = { type = "contact", record_id = "id" }
event_time = "iso_time(seen)"
identifiers = { email = "mail" }
[[datasets.people.maps]]
table = "profiles"
[datasets.people.maps.set]
postcode = "postcode"
"""


@pytest.mark.req("DAT-16")
def test_quality_feeds_the_data_factor_and_falls_with_every_corruption(put, tmp_path):
    """The more of a column is blanked or spoilt, the lower its score, the source's, and the evidence of the factor."""
    found = []
    for k, spoilt in enumerate((0, 20, 40, 60, 80, 100)):
        lines = [
            f"c{n},p{n}@courriel.example,{'' if n % 5 < spoilt // 20 and n % 2 else '!' if n % 5 < spoilt // 20 else 30000 + n},"
            f"2026-03-{1 + n % 28:02d}T09:00:00Z"
            for n in range(100)
        ]
        put("id,mail,postcode,seen\n" + "\n".join(lines) + "\n", name="people.csv", folder=f"raw{k}")
        with Run.begin(Workspace(tmp_path / f"home{k}"), "load") as run:
            load(run, Contract.parse(CUSTOMERS), tmp_path / f"raw{k}")
            with closing(run.engine()) as engine:
                expected = {("clients", "profiles"): ["postcode"]}
                by_column = quality.columns(engine, "2026-04-01", expected=expected).set_index("column")
                source = quality.scores(engine, "2026-04-01")["score"].item()
                evidence = maturity.measure(engine, "2026-04-01").set_index("evidence").loc["quality_score"]
        post = by_column.loc["postcode"]
        found.append((post["completeness"] * post["validity"], source, evidence["value"], evidence["level"]))
    assert evidence["n"] > 0
    for score in list(zip(*found, strict=True))[:3]:
        assert all(after < before for before, after in pairwise(score)), score
    levels = [level for *_, level in found]
    assert levels == sorted(levels, reverse=True) and levels[0] > levels[-1]
    (criterion,) = [c for c in maturity.criteria() if c.evidence == "quality_score"]
    assert criterion.factor == "data"
    clean, spoilt = (
        maturity.assess(
            maturity.measured_levels({}, pd.DataFrame({"evidence": ["quality_score"], "level": [level]}))
        )
        for level in (levels[0], levels[-1])
    )
    assert clean.factors["data"] > spoilt.factors["data"]
