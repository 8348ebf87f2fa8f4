"""The same sales, however they are written, make the same rows; a format's own traps are set aside by name."""

from __future__ import annotations

import getpass
import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
import zstandard

from cdpkit.errors import ContractError
from cdpkit.sources import Contract, load

COLUMNS = ["ticket", "card", "sold_at", "total", "shop"]
SALES = [
    ("t1", "c1", datetime(2026, 3, 1, 9, 30), 12.5, "Nîmes"),
    ("t2", None, datetime(2026, 3, 1, 18, 0), 1240.0, "Sète ☀"),
    ("t3", "c1", datetime(2026, 7, 2, 12, 5), 0.35, "a;b\n\"c\""),
]  # fmt: skip
MAPS = """
zone = "Europe/Paris"
currency = "EUR"
decimal = ","
dates = ["%d/%m/%Y %H:%M"]
[datasets.sales]
{place}
columns = ["ticket", "card", "sold_at", "total", "shop"]
min_quarantined = 5
node = {{ type = "card", record_id = "card", anonymous = "'ticket:' || ticket" }}
event_time = "local_time(sold_at)"
[[datasets.sales.maps]]
table = "orders"
[datasets.sales.maps.set]
order_id = "ticket"
store_id = "shop"
amount_minor = "minor(total)"
"""


def contract(place: str) -> Contract:
    return Contract.parse('source = "till"\n' + MAPS.format(place=place))


def written(value: object) -> str:
    """A value as the French till writes it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%d/%m/%Y %H:%M")
    return str(value).replace(".", ",") if isinstance(value, float) else str(value)


def delimited(delimiter: str = ";", drop: str = "") -> str:
    rows = [[written(value).replace(drop, "") if drop else written(value) for value in row] for row in SALES]
    quoted = [[f'"{v.replace(chr(34), chr(34) * 2)}"' for v in row] for row in rows]
    return "\n".join([delimiter.join(COLUMNS), *(delimiter.join(row) for row in quoted)]) + "\n"


def lines() -> str:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in SALES]
    return "".join(json.dumps(row, ensure_ascii=False, default=written) + "\n" for row in rows)


def found(run, rows) -> list[tuple]:
    frame = rows("SELECT order_id, store_id, amount_minor, event_time FROM orders ORDER BY 1")
    return list(frame.itertuples(index=False, name=None))


EXPECTED = [
    ("t1", "Nîmes", 1250, pd.Timestamp("2026-03-01 08:30")),
    ("t2", "Sète ☀", 124000, pd.Timestamp("2026-03-01 17:00")),
    ("t3", 'a;b\n"c"', 35, pd.Timestamp("2026-07-02 10:05")),
]


def workbook(path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "ventes"
    book.active.append(COLUMNS)
    for row in SALES:
        book.active.append(row)
    book.save(path)


def parquet(path: Path) -> None:
    frame = pd.DataFrame([[written(v) or None for v in row] for row in SALES], columns=COLUMNS)
    frame.to_parquet(path)


SEMICOLON, TAB = 'files = "s*.csv"\ndelimiter = ";"', 'files = "s*.tsv"\ndelimiter = "\\t"'
FORMS = {
    "csv": ("s.csv", SEMICOLON, lambda: delimited().encode()),
    "tsv": ("s.tsv", TAB, lambda: delimited("\t").encode()),
    "bom": ("s.csv", SEMICOLON, lambda: b"\xef\xbb\xbf" + delimited().encode()),
    "utf-16": ("s.csv", SEMICOLON + '\nencoding = "utf-16"', lambda: delimited().encode("utf-16")),
    "gb18030": ("s.csv", SEMICOLON + '\nencoding = "gb18030"', lambda: delimited().encode("gb18030")),
    "gzip": ("s.csv.gz", SEMICOLON, lambda: gzip.compress(delimited().encode())),
    "zstd": ("s.csv.zst", SEMICOLON, lambda: zstandard.compress(delimited().encode())),
    "jsonl": ("s.jsonl", 'files = "s.jsonl"\nformat = "jsonl"', lambda: lines().encode()),
    "jsonl.zst": ("s.jsonl.zst", 'files = "s.jsonl"\nformat = "jsonl"', lambda: zstandard.compress(lines().encode())),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_same_sales_make_the_same_rows(form, run, rows, put):
    """Delimited text in any declared encoding, packed or not, and JSON lines."""
    name, place, content = FORMS[form]
    path = put(content(), name=name)
    report = load(run, contract(place), path.parent)
    assert (report.records_in, report.good, report.quarantined) == (3, 3, 0)
    assert found(run, rows) == EXPECTED
    assert load(run, contract(place), path.parent).datasets[0].unchanged


@pytest.mark.parametrize("form", ["excel", "parquet"])
def test_binary_formats_make_the_same_rows(form, run, rows, tmp_path):
    """Typed cells are written in the declared dialect: one contract, one meaning."""
    path = tmp_path / {"excel": "s.xlsx", "parquet": "s.parquet"}[form]
    (workbook if form == "excel" else parquet)(path)
    said = contract(f'files = "{path.name}"\nformat = "{form}"')
    report = load(run, said, path)
    assert (report.records_in, report.good) == (3, 3) and found(run, rows) == EXPECTED
    assert load(run, said, path).datasets[0].unchanged


def test_western_encodings_keep_their_letters(run, rows, put):
    """The euro and the ligature of cp1252, and the accents of latin-1 declared as such."""
    for n, (encoding, word) in enumerate([("cp1252", "cœur à 5 €"), ("latin-1", "Nîmes"), ("cp437", "Sète")]):
        text = f'ticket;card;sold_at;total;shop\n"e{n}";;"01/03/2026 10:00";"1,00";"{word}"\n'
        path = put(text.encode(encoding), name=f"{encoding}.csv")
        load(run, contract(f'files = "{encoding}.csv"\ndelimiter = ";"\nencoding = "{encoding}"'), path)
    shops = rows("SELECT store_id FROM orders ORDER BY order_id")["store_id"].tolist()
    assert shops == ["cœur à 5 €", "Nîmes", "Sète"]


def test_a_glob_takes_every_file_in_it(run, rows, put):
    """Twelve months are one dataset; a file of another name is told, not read."""
    for month in range(1, 13):
        line = f'"m{month}";;"01/{month:02d}/2026 10:00";"1,00";""\n'
        put("ticket;card;sold_at;total;shop\n" + line, name=f"s-2026-{month:02d}.csv")
    folder = put("x", name="notes.txt").parent
    report = load(run, contract(SEMICOLON), folder)
    assert len(report.datasets) == 12 and report.good == 12 and report.unread == ("notes.txt",)


def test_packed_files_cut_or_altered_are_refused_whole(run, put):
    """Whatever the packing, a file is read to its end before a row is used."""
    content = delimited().encode()
    for name, packed in (("s.csv.gz", gzip.compress(content)), ("s.csv.zst", zstandard.compress(content))):
        for broken in (packed[:-6], packed[:12] + bytes([packed[12] ^ 255]) + packed[13:]):
            path = put(broken, name=name)
            with pytest.raises(ContractError, match=r"must be a whole|must begin|header"):
                load(run, contract(SEMICOLON), path)


def test_bad_lines_of_json_are_set_aside_with_their_bytes(run, rows, put):
    """Each line is an object or has a reason: cut, repeated key, wrong bytes, control character, a bare value."""
    good = lines().splitlines()[0]
    bad = [
        b'{"ticket": "x1", "card": ',
        b'{"ticket": "x2", "ticket": "x3"}',
        b'{"ticket": "x4", "shop": "N\xeemes"}',
        b'{"ticket": "x5\\u0000", "sold_at": "01/03/2026 10:00"}',
        b"[1, 2]",
        b'{"ticket": "x6", "total": NaN}',
    ]
    path = put(b"\n".join([good.encode(), *bad, b""]), name="s.jsonl")
    report = load(run, contract('files = "s.jsonl"\nformat = "jsonl"\nmin_quarantined = 9'.replace("min_quarantined = 9", "")
                                + "\nmax_quarantined = 1.0"), path)  # fmt: skip
    assert (report.records_in, report.good, report.quarantined) == (7, 1, 6)
    kept = rows("SELECT line, reasons, original FROM quarantine ORDER BY line")
    assert kept["line"].tolist() == [2, 3, 4, 5, 6, 7]
    assert [bytes(b) for b in kept["original"]] == bad
    assert [str(r[0]) for r in kept["reasons"]] == [
        "not a JSON object", "a key given twice in one object", "bytes that are not in the declared encoding",
        "a control character", "not a JSON object", "not a JSON object",
    ]  # fmt: skip


def test_money_of_json_does_not_pass_through_binary(run, rows, put):
    """A number is read as it was written: 0.285 is half a cent above 0.28, not a hair below."""
    path = put(
        '{"ticket":"a","card":null,"sold_at":"01/03/2026 10:00","total":0.285,"shop":null}\n', name="s.jsonl"
    )
    load(run, contract('files = "s.jsonl"\nformat = "jsonl"'), path)
    assert rows("SELECT amount_minor FROM orders")["amount_minor"].tolist() == [29]


def test_formulas_and_errors_of_a_sheet_are_set_aside(run, rows, tmp_path):
    """What was never computed, or is in error, is no value; rows keep the numbers the sheet shows."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append([])
    sheet.append(COLUMNS)
    sheet.append(["t1", "c1", datetime(2026, 3, 1, 9, 30), 12.5, "Nîmes"])
    sheet.append(["t2", "c1", datetime(2026, 3, 1, 9, 30), "=1+1", "Nîmes"])
    sheet.append([])
    sheet.append(["t3", "c1", datetime(2026, 3, 1, 9, 30), "#REF!", "Nîmes"])
    sheet.append(["t4", "c1", datetime(2026, 3, 1, 9, 30), 1.0, "Nîmes", "beyond"])
    path = tmp_path / "s.xlsx"
    book.save(path)
    report = load(run, contract('files = "s.xlsx"\nformat = "excel"'), path)
    assert (report.records_in, report.good, report.quarantined) == (4, 1, 3)
    aside = rows("SELECT line, reasons[1] AS why FROM quarantine ORDER BY line")
    assert list(aside.itertuples(index=False, name=None)) == [
        (4, "a formula whose result was not stored"), (6, "a cell in error"), (7, "too many fields")
    ]  # fmt: skip


def test_a_workbook_of_several_sheets_must_be_told_which(run, tmp_path):
    """No sheet is guessed."""
    path = tmp_path / "s.xlsx"
    workbook(path)
    book = openpyxl.load_workbook(path)
    book.create_sheet("notes")
    book.save(path)
    with pytest.raises(ContractError, match="one of its 2 sheets"):
        load(run, contract('files = "s.xlsx"\nformat = "excel"'), path)
    assert load(run, contract('files = "s.xlsx"\nformat = "excel"\nsheet = "ventes"'), path).good == 3


QUERY = """
format = "sql"
connection = "CDPKIT_TEST_DATABASE"
query = "SELECT ticket, card, sold_at, total, shop FROM sales ORDER BY ticket"
"""


def test_a_database_makes_the_same_rows(run, rows, tmp_path, monkeypatch):
    """SQLite, through the same layer as the others; a second load of the same rows changes nothing."""
    with sqlite3.connect(tmp_path / "till.db") as database:
        database.execute(
            "CREATE TABLE sales (ticket TEXT, card TEXT, sold_at TEXT, total NUMERIC, shop TEXT)"
        )
        said = [(t, c, written(at), total, shop) for t, c, at, total, shop in SALES]
        database.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?)", said)
    database.close()
    monkeypatch.setenv("CDPKIT_TEST_DATABASE", f"sqlite:///{tmp_path / 'till.db'}")
    report = load(run, contract(QUERY), tmp_path)
    assert (report.records_in, report.good) == (3, 3) and found(run, rows) == EXPECTED
    assert load(run, contract(QUERY), tmp_path).datasets[0].unchanged


def test_a_database_that_cannot_be_reached_says_so_without_its_address(run, tmp_path, monkeypatch):
    """The address may hold a password: no message repeats it."""
    with pytest.raises(ContractError, match="CDPKIT_TEST_DATABASE must hold its address"):
        load(run, contract(QUERY), tmp_path)
    monkeypatch.setenv("CDPKIT_TEST_DATABASE", "postgresql+psycopg://me:s3cret@127.0.0.1:1/none")
    with pytest.raises(ContractError) as refused:
        load(run, contract(QUERY), tmp_path)
    assert "s3cret" not in str(refused.value) and "OperationalError" in str(refused.value)


def test_a_query_only_reads_and_in_order():
    """The contract is refused before anything is asked of the database."""
    for query, why in [
        ("DELETE FROM sales", "one SELECT"),
        ("SELECT 1; DROP TABLE sales", "one SELECT"),
        ("SELECT * INTO copy FROM sales ORDER BY 1", "only read"),
        ("SELECT ticket FROM sales ORDER BY 1 FOR UPDATE", "only read"),
        ("SELECT ticket FROM sales ORDER BY 1 INTO OUTFILE 'copy'", "parsed"),
        ("SELECT ticket, card, sold_at, total, shop FROM sales", "ORDER BY"),
        ("SELECT `ticket` FROM `sales`", "ORDER BY"),
    ]:
        with pytest.raises(ContractError, match=why):
            contract(f'format = "sql"\nconnection = "X"\nquery = "{query}"')


@pytest.fixture(scope="module")
def postgres(tmp_path_factory) -> Iterator[str]:
    """A PostgreSQL of our own, gone at the end."""
    if not (shutil.which("initdb") and shutil.which("pg_ctl")):
        pytest.skip("no PostgreSQL server is installed")
    folder = tmp_path_factory.mktemp("pg")
    as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    if as_user:
        if not shutil.which("setpriv"):
            pytest.skip("PostgreSQL refuses to run as root, and setpriv is absent")
        for place in [folder, *folder.parents]:
            if "pytest" in str(place):
                place.chmod(0o755)
        shutil.chown(folder, "nobody")

    def call(*command: str) -> None:
        done = subprocess.run([*as_user, *command], capture_output=True, text=True, timeout=120, cwd=folder)
        if done.returncode:
            pytest.skip(f"PostgreSQL does not start here: {(done.stderr or done.stdout).strip()[-200:]}")

    data = folder / "data"
    call("initdb", "-D", str(data), "-U", "till", "-A", "trust", "--no-sync", "-E", "UTF8")
    options = f"-c listen_addresses='' -k {folder} -c fsync=off"
    call("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    yield f"postgresql+psycopg://till@/postgres?host={folder}"
    call("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")


def test_postgresql_makes_the_same_rows(postgres, run, rows, tmp_path, monkeypatch):
    """Typed columns of a real server: numeric, timestamps and text."""
    from sqlalchemy import create_engine, text

    engine = create_engine(postgres)
    with engine.begin() as database:
        database.execute(text(
            "CREATE TABLE sales (ticket TEXT, card TEXT, sold_at TIMESTAMP, total NUMERIC(10, 2), shop TEXT)"
        ))  # fmt: skip
        for row in SALES:
            database.execute(
                text("INSERT INTO sales VALUES (:a, :b, :c, :d, :e)"), dict(zip("abcde", row, strict=True))
            )
    engine.dispose()
    monkeypatch.setenv("CDPKIT_TEST_DATABASE", postgres)
    report = load(run, contract(QUERY), tmp_path)
    assert (report.records_in, report.good) == (3, 3) and found(run, rows) == EXPECTED


@pytest.fixture(scope="module")
def mysql(tmp_path_factory) -> Iterator[str]:
    """A MariaDB of our own, gone at the end; it speaks MySQL's protocol."""
    pytest.importorskip("pymysql", reason="PyMySQL is not installed: cdpkit[databases]")
    server = shutil.which("mariadbd") or shutil.which("mysqld")
    if not (server and shutil.which("mariadb-install-db")):
        pytest.skip("no MariaDB server is installed (Debian: mariadb-server)")
    # The path of a socket holds a hundred characters at most.
    with tempfile.TemporaryDirectory(prefix="my") as short:
        folder, data = Path(short), tmp_path_factory.mktemp("mysql") / "data"
        socket, user = folder / "s", f"--user={getpass.getuser()}"
        place = [f"--datadir={data}", "--no-defaults"]
        done = subprocess.run(
            ["mariadb-install-db", place[1], place[0], user, "--skip-test-db",
             "--auth-root-authentication-method=normal"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"MariaDB does not start here: {(done.stderr or done.stdout).strip()[-200:]}")
        serving = subprocess.Popen(
            [server, place[1], place[0], user, f"--socket={socket}", "--skip-networking"]
        )
        try:
            for _ in range(300):
                if socket.exists():
                    break
                time.sleep(0.1)
            else:
                pytest.skip("MariaDB does not start here: no socket after 30 s")
            yield f"mysql+pymysql://root@localhost/test?unix_socket={socket}"
        finally:
            serving.terminate()
            serving.wait(timeout=30)


def test_mysql_makes_the_same_rows(mysql, run, rows, tmp_path, monkeypatch):
    """Typed columns of a real server: decimal, datetime and text."""
    from sqlalchemy import create_engine, text

    engine = create_engine(mysql.replace("/test?", "/?"))
    with engine.begin() as database:
        database.execute(text("CREATE DATABASE test CHARACTER SET utf8mb4"))
        database.execute(text(
            "CREATE TABLE test.sales (ticket TEXT, card TEXT, sold_at DATETIME, total DECIMAL(10, 2), shop TEXT)"
        ))  # fmt: skip
        for row in SALES:
            database.execute(
                text("INSERT INTO test.sales VALUES (:a, :b, :c, :d, :e)"),
                dict(zip("abcde", row, strict=True)),
            )
    engine.dispose()
    monkeypatch.setenv("CDPKIT_TEST_DATABASE", mysql)
    quoted = QUERY.replace("ticket, card", "`ticket`, `card`").replace("FROM sales", "FROM `sales`")
    report = load(run, contract(quoted), tmp_path)
    assert (report.records_in, report.good) == (3, 3) and found(run, rows) == EXPECTED
