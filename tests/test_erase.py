"""Erasure: after it, no byte of the person is below the workspace, and nobody else lost any."""

from __future__ import annotations

import gzip
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import stat
import threading
import time
import zipfile
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdpkit import decisions
from cdpkit.engine import DuckDBEngine
from cdpkit.lake import Lake
from cdpkit.lake.erase import node_columns, person_columns
from cdpkit.lake.scrub import Scrubbed, scrub, without
from cdpkit.lake.suppression import Suppression
from cdpkit.lake.traces import Traces
from cdpkit.run import Run
from cdpkit.schema import TABLES, Column, Table
from cdpkit.workspace import Workspace

DAY = pd.Timestamp("2026-01-01").as_unit("us")
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["pandas", "pyarrow.parquet", "duckdb", "deltalake", "cdpkit.engine", "cdpkit.run"]
)

# The person, in three records of three systems; node 3 is a stranger, node 4 shares the household's e-mail.
HERS, OTHERS = (101, 102, 103), (3, 4)
CANARY = {
    "first": "Zéphyrine", "last": "Quetzalis", "email": "z.quetzalis@example.fr", "phone": "06 98 76 54 32",
    "contact": "C777123", "account": "A424242", "cookie": "ck-77aa-4242", "street": "9 impasse du Colibri",
}  # fmt: skip
HOUSEHOLD = "foyer.partage@example.fr"
MARKS = [
    "zéphyrine", "quetzalis", "98 76 54 32", "98765432", "c777123", "a424242", "ck-77aa-4242", "colibri", "pr000001-9",
]  # fmt: skip
FEATURES = Table(
    "features_base",
    ("person_id", "as_of"),
    (
        Column("person_id", "string", "person", "personne", True, "pseudonym"),
        Column("as_of", "timestamp", "date", "date", True),
        Column("n", "int64", "number", "nombre"),
    ),
    "features", "variables", partition="as_of",
)  # fmt: skip


def value(table: Table, column: Column, node: int, row: int) -> Any:
    """Return a value for a column, the person's own where the column is personal."""
    hers = node in HERS
    if column.name == "person_id":
        return "pr000001-9" if hers else f"pr000001-{node}"
    if column.pii == "pseudonym":
        return node if column.type == "int64" else ("pr000001-9" if hers else f"pr000001-{node}")
    if column.pii in ("identifier", "personal", "text", "sensitive"):
        if column.type == "date":
            return datetime(1991, 4, 3).date()
        if column.type == "binary":
            return f"C777123;{CANARY['first']}".encode("latin-1") if hers else f"X{node};rien".encode()
        return f"{CANARY['first']} {CANARY['last']} {row}" if hers else f"autre {node} {row}"
    return {
        "string": f"{column.name}-{table.name}-{node}-{row}", "int64": node * 1000 + row, "float64": 0.5, "bool": True,
        "timestamp": DAY, "date": DAY.date(), "list<string>": ["a"],
    }.get(column.type)  # fmt: skip


def canonical(name: str) -> pd.DataFrame:
    """Return rows of a table for every node, as the schema describes it."""
    table = TABLES[name]
    rows = [
        {c.name: value(table, c, node, row) for c in table.columns if c.name != "source"}
        | ({"source": "crm"} if "source" in table else {})
        for row, node in enumerate((*HERS, *OTHERS))
    ]
    return pd.DataFrame(rows).drop_duplicates(list(table.key) or None)


def identity_tables() -> dict[str, pd.DataFrame]:
    """Return the tables that say who is who, with the person's own values."""
    keys = {101: ("crm", "C777123"), 102: ("shop", "A424242"), 103: ("web", "ck-77aa-4242")}
    keys |= {3: ("crm", "C000003"), 4: ("crm", "C000004")}
    nodes = pd.DataFrame(
        [
            {"node_id": n, "source": s, "record_id": r, "node_type": "contact", "known_at": DAY}
            for n, (s, r) in keys.items()
        ]
    )
    values = [
        (101, "email", CANARY["email"]), (101, "phone", CANARY["phone"]), (101, "email", HOUSEHOLD),
        (102, "account_id", "A424242"), (103, "cookie_id", "ck-77aa-4242"), (103, "account_id", "A424242"),
        (4, "email", HOUSEHOLD.upper()), (3, "email", "autre@example.fr"),
    ]  # fmt: skip
    identifiers = pd.DataFrame(
        [
            {"node_id": n, "source": "crm", "id_type": k, "value": v, "event_time": DAY, "known_at": DAY}
            for n, k, v in values
        ]
    )
    people = {101: (CANARY["first"], CANARY["last"], CANARY["street"]), 3: ("Paul", "Durand", "1 rue A"),
              4: ("Rose", "Durand", "1 rue A")}  # fmt: skip
    profiles = pd.DataFrame(
        [
            {
                "node_id": n,
                "source": "crm",
                "event_time": DAY,
                "known_at": DAY,
                "first_name": f,
                "last_name": name,
                "street": s,
            }
            for n, (f, name, s) in people.items()
        ]
    )
    return {"nodes": nodes, "identifiers": identifiers, "profiles": profiles}


CSV = (
    "contact_id;first_name;email;phone;note\n"
    "C000003;Paul;autre@example.fr;0600000003;\"deux\nlignes\"\n"
    f"C777123;{CANARY['first']};{CANARY['email']};+33 6 98.76.54.32;\"a\nb\"\n"
    f"C000004;Rose;{HOUSEHOLD};0600000004;ok\n"
)  # fmt: skip


def fill_files(workspace: Workspace) -> dict[Path, str]:
    """Put the person in a file of every kind; return the texts that must be left, by path."""
    kept = CSV.split("C777123")[0] + CSV.split('a\nb"\n')[1]
    expected: dict[Path, str] = {}

    def put(path: Path, content: bytes | str, left: str | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if left is not None:
            expected[path] = left

    put(workspace.raw / "crm_contacts.csv", CSV, kept)
    put(workspace.raw / "old" / "crm.csv.gz", gzip.compress(CSV.encode()))
    put(workspace.raw / "latin.csv", CSV.encode("latin-1"))
    events = [{"cookie_id": "ck-77aa-4242", "n": 1}, {"cookie_id": "ck-1", "n": 2}]
    put(
        workspace.raw / "web.jsonl",
        "".join(json.dumps(e) + "\n" for e in events),
        json.dumps(events[1]) + "\n",
    )
    put(workspace.raw / "web.json", json.dumps(events))
    pq.write_table(
        pa.table(
            {"account_id": ["A424242", None, "A1"], "tags": [["x"], ["ck-77aa-4242"], None], "n": [1, 2, 3]}
        ),
        workspace.raw / "web_events.parquet",
    )
    put(
        workspace.truth / "owners.csv",
        "record_id,person\nC777123,9\nC000003,3\n",
        "record_id,person\nC000003,3\n",
    )
    put(workspace.exports / "email.csv", "person_id,email_sha256\npr000001-9,"
        f"{hashlib.sha256(CANARY['email'].encode()).hexdigest()}\npr000001-99,abc\n", "person_id,email_sha256\npr000001-99,abc\n")  # fmt: skip
    notebook = {
        "cells": [{"outputs": [{"text": f"{CANARY['last']}, {CANARY['first']} ({CANARY['email']}) : 12"}]}]
    }
    put(workspace.outputs / "r000001" / "30.ipynb", json.dumps(notebook))
    page = {"top": [{"id": "pr000001-9", "p": 1}, {"id": "pr000001-99", "p": 2}], "by": {"pr000001-9": 1}}
    put(workspace.outputs / "r000001" / "pages" / "home.json", json.dumps(page))
    put(workspace.outputs / "r000001" / ".log.4194305.tmp", f"half of {CANARY['email']}")
    put(workspace.mlruns / "artifacts" / "1" / "reasons.csv", "person_id,why\npr000001-9,x\npr000001-99,y\n",
        "person_id,why\npr000001-99,y\n")  # fmt: skip
    put(workspace.mlruns / "artifacts" / "1" / "MLmodel", f"said: {CANARY['email']}\n", "said: [erased]\n")
    with closing(sqlite3.connect(workspace.mlruns / "mlflow.db")) as database:
        database.execute("CREATE TABLE tags (key TEXT, value TEXT)")
        rows = [("note", f"tried on {CANARY['first']} {CANARY['last']}"), ("hot", "0.1")]
        database.executemany("INSERT INTO tags VALUES (?, ?)", rows)
        database.commit()
    put(workspace.outputs / "r000001" / "run.log", f"bad row for {CANARY['phone']} and c777123 today\n",
        "bad row for [erased] and [erased] today\n")  # fmt: skip
    put(workspace.data / "loose.txt", f"see {CANARY['street']}.")
    put(workspace.raw / "scan.png", b"\x89PNG")
    return expected


def fill(workspace: Workspace) -> dict[Path, str]:
    """Put the person everywhere a workspace can hold one."""
    for subject, content in (("audience", {"members": ["pr000001-9"]}), ("threshold", {"hot": 0.1})):
        decisions.record(
            workspace,
            kind="k",
            subject=subject,
            content=content,
            author="ines",
            decided_at=datetime(2026, 1, 1),
        )
    expected = fill_files(workspace)
    raw = hashlib.sha256((workspace.raw / "crm_contacts.csv").read_bytes()).hexdigest()
    with Run.begin(workspace, "load") as run:
        for name in TABLES:
            if name not in ("nodes", "identifiers", "profiles", "decisions", "source_files", "membership"):
                run.lake.write(name, canonical(name))
        for name, frame in identity_tables().items():
            run.lake.write(name, frame)
        people = [(n, f"pr000001-{9 if n in HERS else n}") for n in (*HERS, *OTHERS)]
        run.lake.write(
            "membership", pd.DataFrame(people, columns=["node_id", "person_id"]).assign(known_from=DAY)
        )
        run.lake.write(
            FEATURES, pd.DataFrame({"person_id": ["pr000001-9", "pr000001-99"], "as_of": DAY, "n": [1, 2]})
        )
        decisions.absorb(run)
        run.lake.write("source_files", pd.DataFrame([{
            "content_hash": raw, "source": "crm", "dataset": "contacts", "file_name": "crm_contacts.csv",
            "contract_hash": "c", "records_in": 3, "good": 3, "quarantined": 0, "run_id": run.run_id}]))  # fmt: skip
        run.page("home", {"top": [{"id": "pr000001-9", "p": 0.9}, {"id": "pr000001-99", "p": 0.8}], "n": 4,
                          "said": f"de {CANARY['first']} {CANARY['last']}"})  # fmt: skip
        run.finish()
    decisions.record(
        workspace, kind="link", subject="note", content={}, author="ines", reason=CANARY["email"],
        decided_at=datetime(2026, 1, 2),
    )  # fmt: skip
    return expected


def found(home: Path) -> list[str]:
    """Return where a mark of the person is, in bytes of any encoding or in decoded values."""
    hits = []
    for path in home.rglob("*"):
        if not path.is_file():
            continue
        raw = path.read_bytes()
        contents = [raw.decode("utf-8", "replace"), raw.decode("latin-1"), raw.decode("utf-16-le", "replace")]
        if path.suffix == ".gz":
            contents.append(gzip.decompress(raw).decode())
        if path.suffix == ".parquet":
            contents += [
                str(set(map(str, column.to_pylist()))) for column in pq.ParquetFile(path).read().columns
            ]
        if b"\\u" in raw:
            contents.append(raw.decode("utf-8", "replace").encode().decode("unicode_escape", "replace"))
        text = "\n".join(contents).lower()
        hits += [f"{mark}: {path.relative_to(home)}" for mark in MARKS if mark_in(mark, text)]
    return hits


def mark_in(mark: str, text: str) -> bool:
    """Tell whether a mark is in a text; person 99 is not person 9."""
    at = text.find(mark)
    while at >= 0 and mark.startswith("pr0") and text[at + len(mark) : at + len(mark) + 1].isdigit():
        at = text.find(mark, at + 1)
    return at >= 0


def _die_in_append(home: str) -> None:
    """Append rows of the person and be killed: heads moved, files without an owner."""
    run = Run.begin(Workspace.open(home), "load")
    late = identity_tables()["profiles"].assign(known_at=DAY + pd.Timedelta("1D"))
    run.lake.write("profiles", late)
    run.page("home", {"said": CANARY["last"]})
    folder = run.lake.path / "tables" / "events"
    before = len(list(folder.rglob("*.parquet")))

    def watch() -> None:
        while len([path for path in folder.rglob("*.parquet") if path.stat().st_size]) == before:
            time.sleep(0.0005)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch).start()
    hers = canonical("events").head(1)
    many = pd.concat([hers] * 9_600, ignore_index=True)
    many["event_id"] = [f"late-{i}" for i in range(len(many))]
    many["event_time"] = (DAY + pd.to_timedelta(many.index % 48 * 31, unit="D")).as_unit("us")
    run.lake.write("events", many)
    time.sleep(30)


def orphans(workspace: Workspace) -> list[Path]:
    """Return the data files that no commit names."""
    tables = workspace.lake_path / "tables"
    logs = "".join(path.read_text() for path in tables.rglob("_delta_log/*.json"))
    return [path for path in tables.rglob("*.parquet") if path.name not in logs]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, str]]:
    """Return a filled workspace, and the texts that must be left, by path below it."""
    home = tmp_path_factory.mktemp("template")
    expected = fill(Workspace.open(home))
    return home, {path.relative_to(home): text for path, text in expected.items()}


@pytest.fixture
def filled(template: tuple[Path, dict[Path, str]], tmp_path: Path) -> tuple[Workspace, dict[Path, str]]:
    """Return a copy of it: a workspace works wherever it is moved."""
    workspace = Workspace.open(tmp_path / "Données clients")
    shutil.copytree(template[0], workspace.home)
    return workspace, {workspace.home / path: text for path, text in template[1].items()}


@pytest.mark.req("GOV-09")
def test_no_byte_is_left_after_a_crash_and_an_erasure(filled: tuple[Workspace, dict[Path, str]]) -> None:
    """Killed in mid-append, then erased: tables, logs, orphans, raw, outputs, exports, pages are clean."""
    workspace, expected = filled
    killed = PROCESSES.Process(target=_die_in_append, args=(str(workspace.home),))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    assert orphans(workspace)
    assert len({hit.split(": ")[1] for hit in found(workspace.home)}) > 30
    report = workspace.lake().erase(HERS)
    assert found(workspace.home) == []
    assert {path: path.read_text() for path in expected} == expected
    assert report.persons == 1 and report.shared == 1 and report.unsearched == ["data/raw/scan.png"]
    assert set(report.rows) >= {
        "profiles",
        "golden",
        "links",
        "scores",
        "quarantine",
        "decisions",
        "features_base",
    }
    assert workspace.lake().status()["erasing"] is False
    with closing(sqlite3.connect(workspace.mlruns / "mlflow.db")) as database:
        tags = database.execute("SELECT value FROM tags ORDER BY key").fetchall()
    assert tags == [("0.1",), ("tried on [erased]",)]


@pytest.mark.req("GOV-09")
def test_nobody_else_loses_a_row(filled: tuple[Workspace, dict[Path, str]]) -> None:
    """Every table keeps exactly the rows of the others, in files and in the lake."""
    workspace, _ = filled
    before = {name: workspace.lake().read(name).to_arrow().to_pylist() for name in TABLES}
    workspace.lake().erase(HERS)
    for name, table in TABLES.items():
        after = workspace.lake().read(name).to_arrow().to_pylist()
        if name in ("source_files", "quarantine", "decisions", "signals"):
            continue
        kept = [
            row for row in before[name]
            if not {row[c] for c in node_columns(table)} & set(HERS)
            and not {row[c] for c in person_columns(table)} & {"pr000001-9"}
        ]  # fmt: skip
        assert sorted(map(str, after)) == sorted(map(str, kept)), name
        assert not (node_columns(table) or person_columns(table)) or len(after) < len(before[name]), name
    assert len(workspace.lake().read("quarantine").to_arrow()) == 2
    assert len(workspace.lake().read("signals").to_arrow()) == len(OTHERS), (
        "no column but the subject tells whose"
    )
    assert [d["subject"] for d in workspace.lake().read("decisions").to_arrow().to_pylist()] == ["threshold"]
    page = workspace.lake().page("home")
    assert page == {"top": [{"id": "pr000001-99", "p": 0.8}], "n": 4, "said": "de [erased]"}
    web = pq.ParquetFile(workspace.raw / "web_events.parquet").read().to_pylist()
    assert [row["n"] for row in web] == [3]
    assert HOUSEHOLD in (workspace.raw / "crm_contacts.csv").read_text()


@pytest.mark.req("GOV-09")
@pytest.mark.parametrize("stage", ["suppressed", "files", "tables", "published", "vacuumed"])
def test_a_cut_short_erasure_is_completed_by_the_next_run(
    filled: tuple[Workspace, dict[Path, str]], stage: str
) -> None:
    """Killed anywhere inside, an erasure is finished by the first act of the next run."""
    workspace, expected = filled
    killed = PROCESSES.Process(target=_die_in_erasure, args=(str(workspace.home), stage))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    assert workspace.lake().status()["erasing"] is True
    with Run.begin(workspace, "next") as run:
        run.finish()
    assert found(workspace.home) == []
    assert {path: path.read_text() for path in expected} == expected
    assert workspace.lake().status()["erasing"] is False
    digest = hashlib.sha256((workspace.raw / "crm_contacts.csv").read_bytes()).hexdigest()
    files = workspace.lake().read("source_files").to_pandas()
    assert files["content_hash"].tolist() == [digest]
    assert files[["records_in", "good", "quarantined"]].to_numpy().tolist() == [[2, 2, 0]]


def _die_in_erasure(home: str, stage: str) -> None:
    from cdpkit.lake import erase

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def after(act: Any) -> Any:
        return lambda *args, **kwargs: (act(*args, **kwargs), die())

    if stage == "suppressed":
        Suppression.add = after(Suppression.add)
    elif stage == "files":
        erase.scrub = after(erase.scrub)
    elif stage == "tables":
        erase._clean_pages = die
    elif stage == "published":
        Lake.publish = after(Lake.publish)
    else:
        Lake.forget = after(Lake.forget)
    Workspace.open(home).lake().erase(HERS)


@pytest.mark.req("GOV-09")
def test_a_reloaded_file_brings_nobody_back(
    filled: tuple[Workspace, dict[Path, str]], tmp_path: Path
) -> None:
    """Records and identifiers are recognised however they are written; the list itself says nothing."""
    workspace, _ = filled
    workspace.lake().erase(HERS)
    lake = workspace.lake()
    assert lake.suppressed([("crm", "C777123"), ("shop", "C777123"), ("crm", "C000003")]) == [
        True,
        False,
        False,
    ]
    asked = [
        ("email", " Z.Quetzalis@example.fr"),
        ("phone", "+33698765432"),
        ("email", HOUSEHOLD),
        ("phone", "0600000003"),
    ]
    assert lake.suppressed(asked, of="identifiers") == [True, True, False, False]
    key = workspace.keys / "suppression.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and not key.is_relative_to(lake.path)
    listed = (lake.path / "suppressed.txt").read_text().split()
    assert listed == sorted(listed) and all(len(line) == 64 for line in listed)
    plain = hashlib.sha256(CANARY["email"].encode()).hexdigest()
    assert plain not in listed
    assert Workspace.open(tmp_path / "new").lake().suppressed([("crm", "C777123")]) == [False]


@pytest.mark.req("GOV-09")
def test_erasure_inside_a_run_undoes_what_it_had_not_published(
    filled: tuple[Workspace, dict[Path, str]],
) -> None:
    """Under a run's lock the erasure starts from the published tables, and the run goes on."""
    workspace, _ = filled
    with Run.begin(workspace, "privacy") as run:
        run.lake.write("nodes", identity_tables()["nodes"].head(1).assign(node_id=500))
        run.lake.erase(HERS)
        assert run.lake.read("nodes", "head").to_pandas()["node_id"].tolist() == [3, 4]
        run.finish()
    assert found(workspace.home) == []


def test_erasing_twice_or_nobody_changes_nothing_more(filled: tuple[Workspace, dict[Path, str]]) -> None:
    """An erasure can be repeated, and unknown nodes are no error."""
    workspace, _ = filled
    workspace.lake().erase(HERS)
    with DuckDBEngine(workspace.lake()) as engine:
        before = engine.query("SELECT * FROM nodes ORDER BY node_id").to_arrow()
    report = workspace.lake().erase([*HERS, 9999])
    assert report.rows == {} and report.files == {}
    with DuckDBEngine(workspace.lake()) as engine:
        assert engine.query("SELECT * FROM nodes ORDER BY node_id").to_arrow() == before


def test_many_nodes_are_erased_by_rewriting(tmp_path: Path) -> None:
    """Beyond what a predicate can list, the tables are rewritten in a stream."""
    workspace, n = Workspace.open(tmp_path), 6_000
    with Run.begin(workspace, "load") as run:
        frame = pd.DataFrame({"node_id": range(n), "source": "web", "known_at": DAY})
        names = "e" + frame["node_id"].astype(str)
        run.lake.write("nodes", frame.assign(record_id=names, node_type="cookie"))
        run.lake.write("events", frame.assign(event_id=names, event_time=DAY, event_type="Page Viewed"))
        run.finish()
    report = workspace.lake().erase(range(5_000))
    assert report.rows == {"nodes": 5_000, "events": 5_000}
    left = workspace.lake().read("events").to_pandas()
    assert sorted(left["node_id"]) == list(range(5_000, n)) and left["event_time"].eq(DAY).all()


def test_short_ids_count_only_where_ids_are(tmp_path: Path) -> None:
    """Customer 42 leaves; quantities, order numbers and another source's 42 stay."""
    workspace = Workspace.open(tmp_path)
    lines = "InvoiceNo,CustomerID,Quantity\n42,17,1\n7,42,1\n8,17,42\n9,420,1\n"
    (workspace.raw / "a").mkdir(parents=True)
    (workspace.raw / "a" / "lines.csv").write_text(lines)
    (workspace.raw / "other.csv").write_text("numcli;n\n42;1\n43;1\n")
    digest = hashlib.sha256(b"client_id,n\n42,1\n").hexdigest()
    (workspace.raw / "shop.csv").write_text("client_id,n\n42,1\n")
    with Run.begin(workspace, "load") as run:
        run.lake.write("nodes", pd.DataFrame({"node_id": [1], "source": "crm", "record_id": "42",
                                              "node_type": "account", "known_at": DAY}))  # fmt: skip
        run.lake.write("source_files", pd.DataFrame([{
            "content_hash": digest, "source": "shop", "dataset": "d", "file_name": "shop.csv", "contract_hash": "c",
            "records_in": 1, "good": 1, "quarantined": 0, "run_id": run.run_id}]))  # fmt: skip
        run.finish()
    workspace.lake().erase([1], id_columns=["numcli"])
    assert (workspace.raw / "a" / "lines.csv").read_text() == lines.replace("7,42,1\n", "")
    assert (workspace.raw / "other.csv").read_text() == "numcli;n\n43;1\n"
    assert (workspace.raw / "shop.csv").read_text() == "client_id,n\n42,1\n"


@pytest.mark.parametrize(
    "written",
    [
        "06 98 76 54 32",
        "0698765432",
        "+33698765432",
        "+33 6.98.76.54.32",
        "0033 698 765 432",
        "+33 (0)6 98 76 54 32",
    ],
)
def test_a_phone_is_found_however_it_is_written(written: str) -> None:
    """Spaces, dots and prefixes do not hide a number; a longer number is another one."""
    her = Traces(frozenset({1}), identifiers=frozenset({("phone", "0698765432")}))
    assert her.in_row(f"x;{written};y")
    assert not her.in_row("x;06 98 76 54 321;y")


HER = Traces(
    frozenset({1}), frozenset({"pr000001-9"}), frozenset({("crm", "17850"), ("crm", "C777123")}),
    frozenset({("email", "z@example.fr")}), frozenset({("Zéphyrine", "Quetzalis")}),
    frozenset({"Zéphyrine", "Hot", "Quetzalis"}),
)  # fmt: skip


def scrubbed(path: Path, content: bytes) -> tuple[Scrubbed, bytes]:
    """Scrub a file of this content; return what was done and what is left."""
    path.write_bytes(content)
    return scrub(path, HER, None, lambda aside, found: None), path.read_bytes()


@pytest.mark.req("GOV-09")
@pytest.mark.parametrize(
    ("name", "codec", "rows"),
    [
        ("a.csv", "utf-16", ["customer_id;nom", "17850;x", "17851;y"]),
        ("a.csv", "utf-16", ["id;first;last", "7;Zéphyrine;Quetzalis", "17851;č;Ģ"]),
        ("a.csv", "utf-8-sig", ["customer_id;nom", "17850;x", "17851;y"]),
        ("a.csv", "cp1252", ["id;first;last", "7;Zéphyrine;Quetzalis", "17851;é;€"]),
        ("a.csv", "utf-8", ["Customer ID,n", "17850.0,1", "17851.0,17850"]),
        ("a.txt", "utf-8", ["customer_id n date", "17850 1 2026", "17851 17850 2026"]),
        ("a.txt", "utf-8", ["customer_id~n", "17850~1", "17851~2"]),
        ("a.csv", "utf-8", ["17851,a@b.fr", "C777123,z@example.fr", "17852,c"]),
        ("a.jsonl", "utf-8", ['{"n": 1}', '{"of": {"customer_id": 17850.0}}', '{"customer_id": 17851.0}']),
    ],
)  # fmt: skip
def test_a_raw_file_of_any_origin_is_searched(tmp_path: Path, name: str, codec: str, rows: list[str]) -> None:
    """Whatever the encoding, delimiter or form of numbers, their row leaves and no other byte changes."""
    done, left = scrubbed(tmp_path / name, "\r\n".join([*rows, ""]).encode(codec))
    assert done == Scrubbed(1)
    assert left == "\r\n".join([rows[0], rows[2], ""]).encode(codec)


@pytest.mark.req("GOV-09")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "customer_id;n\n17850;1\n".encode("utf-16-le")),
        ("a.txt", b" 17850 19970101 1\n 17851 19970102 2\n"),
        ("a.csv", b"numcli;n\n17850;1\n"),
        ("a.csv", b"customer_id;n\r17850;1\r17851;2\r"),
        ("a.csv", b"customer_id;n\n1;\x81\n"),
        ("a.log", b"\x81 and \x8d\n"),
        ("a.csv.gz", b"no gzip"),
        ("a.parquet", b"PAR1 no parquet PAR1"),
        ("a.db", b"no database"),
        ("a.xlsx", b"PK\x03\x04\xff\x00"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_searched_is_told(tmp_path: Path, name: str, content: bytes) -> None:
    """It is left as it was, and never counted among those searched."""
    assert scrubbed(tmp_path / name, content) == (Scrubbed(0, searched=False), content)


@pytest.mark.req("GOV-09")
def test_ids_that_became_numbers_are_found_in_parquet(tmp_path: Path) -> None:
    """A column with gaps is stored as floats: 17850.0 is customer 17850; a quantity is not."""
    path = tmp_path / "a.parquet"
    ids = pa.array([17850.0, 17851.0, None, float("nan"), float("inf"), 17850.5])
    texts = pa.array(["1", "17850.0", "2", "3", "4", "5"])
    pq.write_table(pa.table({"CustomerID": ids, "client_id": texts, "n": [17850.0] * 6}), path)
    assert scrub(path, HER, None, lambda aside, found: None) == Scrubbed(2)
    assert pq.read_table(path)["client_id"].to_pylist() == ["2", "3", "4", "5"]


@pytest.mark.req("GOV-09")
def test_their_rows_leave_every_sheet_of_a_workbook(tmp_path: Path) -> None:
    """By name or by id, a number included, in a hidden sheet too; what is drawn beside the cells is told."""
    path = tmp_path / "suivi.xlsx"
    book = openpyxl.Workbook()
    first, second = book.active, book.create_sheet("Autres")
    second.sheet_state = "hidden"
    for row in (["customer_id", "n", "nom"], [17850, 3, "x"], [17851, 17850, "y"]):
        first.append(row)
    for row in (["note"], ["vu avec Zéphyrine Quetzalis"], ["rien"]):
        second.append(row)
    book.save(path)
    done = scrub(path, HER, None, lambda aside, found: None)
    assert done == Scrubbed(2)
    left = openpyxl.load_workbook(path)
    assert [list(row) for row in left["Sheet"].values] == [["customer_id", "n", "nom"], [17851, 17850, "y"]]
    assert [row[0] for row in left["Autres"].values] == ["note", "rien"]
    with zipfile.ZipFile(path) as parts:
        assert not any(b"Quetzalis" in parts.read(name) for name in parts.namelist())
    before = path.read_bytes()
    assert scrub(path, HER, None, lambda aside, found: None) == Scrubbed(0) and path.read_bytes() == before
    with zipfile.ZipFile(path, "a") as parts:
        parts.writestr("xl/media/image1.png", b"a picture")
    assert scrub(path, HER, None, lambda aside, found: None) == Scrubbed(0, searched=False)


def test_a_page_keeps_its_keys_and_codes() -> None:
    """A first name that is also a code changes no page; ids, identifiers and full names leave."""
    page = {
        "hot": {"tier": "hot", "color": "Hot"},
        "tiers": [{"name": "hot", "n": 3}, {"name": "cold", "n": 4}],
    }
    assert without(page, HER) == page
    named = {
        "said": "de Zéphyrine Quetzalis",
        "by": {"pr000001-9": 1, "p2": 2},
        "rows": [{"customer_id": 17850}],
    }
    assert without(named, HER) == {"said": "de [erased]", "by": {"p2": 2}, "rows": []}
    notebook = {"cells": [{"cell_type": "hot", "outputs": [{"name": "hot", "text": ["hot and Zéphyrine"]}]}]}
    kept = {"cells": [{"cell_type": "hot", "outputs": [{"name": "hot", "text": ["[erased] and [erased]"]}]}]}
    assert without(notebook, HER, notebook=True) == kept


@pytest.mark.req("GOV-09")
def test_an_employee_who_shares_a_first_name_keeps_their_trace(tmp_path: Path) -> None:
    """Decisions signed by a namesake stay, taken in or waiting; those about the person leave."""
    workspace = Workspace.open(tmp_path)
    said = [("threshold", ""), ("appel de Zéphyrine", ""), ("note", "vu avec Zéphyrine Quetzalis")]

    def decide(day: int) -> None:
        for subject, reason in said:
            decisions.record(
                workspace, kind="k", subject=subject, content={"hot": day}, author="Zéphyrine", reason=reason,
                decided_at=datetime(2026, 1, day),
            )  # fmt: skip

    decide(1)
    people = identity_tables()
    with Run.begin(workspace, "load") as run:
        for name, frame in people.items():
            run.lake.write(name, frame)
        run.finish()
    decide(2)
    workspace.lake().erase([101])
    stored = workspace.lake().read("decisions").to_pandas()
    assert sorted(stored["subject"]) == ["appel de Zéphyrine", "threshold"]
    assert sorted(d.subject for d in decisions.pending(workspace)) == ["appel de Zéphyrine", "threshold"]


def test_an_id_spelt_in_the_row_of_another_or_of_nobody_goes_too(tmp_path: Path) -> None:
    """A merge into her record and a signal by the hash of her address leave; those of others stay."""
    workspace = Workspace(tmp_path)
    fill(workspace)
    mine, others = (
        hashlib.sha256(CANARY["email"].encode()).hexdigest(),
        hashlib.sha256(b"autre@x.fr").hexdigest(),
    )
    merges = {"node_id": [3, 3, 4], "event": "merged", "into_record": ["C777123", "C000004", None]}
    signals = {"scope": ["hashed_key", "hashed_key", "segment"], "subject": [mine, others, "postcode=30000"]}
    with Run.begin(workspace, "load") as run:
        days = [DAY, DAY + pd.Timedelta(days=1), DAY]
        times = {"source": "crm", "event_time": days, "known_at": days}
        run.lake.write("merges", pd.DataFrame(merges | times), mode="overwrite")
        told = {"attribute": "search", "value": 0.5, **times}
        run.lake.write("signals", pd.DataFrame(signals | told), mode="overwrite")
        run.finish({})
    workspace.lake().erase_records([("crm", "C777123")])
    left = workspace.lake().read("merges").to_arrow()["into_record"].to_pylist()
    subjects = workspace.lake().read("signals").to_arrow()["subject"].to_pylist()
    assert sorted(left, key=str) == ["C000004", None] and sorted(subjects) == sorted(
        [others, "postcode=30000"]
    )
