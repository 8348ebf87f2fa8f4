"""Loading keeps each fact once, under numbers that never change, and says what it did."""

from __future__ import annotations

import random
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdpkit.errors import CdpkitError, ContractError, IntegrityError
from cdpkit.run import Run
from cdpkit.sources import Contract, adapter, available, load
from cdpkit.sources.report import DatasetReport
from cdpkit.workspace import Workspace

HEADER = "ticket;card;sold_at;total\n"
SALES = HEADER + "1;L1;01/07/2025 12:00;10,50\n2;;02/07/2025 09:30;3,00\n3;L1;03/07/2025 18:00;1,20\n"

EVENTS = """
source = "{source}"
zone = "Europe/Paris"
[datasets.events]
files = "events*"
format = ["csv", "parquet"]
columns = ["id", "who", "account", "what", "ts", "received", "channel"]
node = {{ type = "cookie", record_id = "who" }}
event_time = "iso_time(ts)"
known_at = "iso_time(received)"
identifiers = {{ cookie_id = "who", account_id = "account" }}
[[datasets.events.maps]]
table = "events"
[datasets.events.maps.set]
event_id = "id"
event_type = "what"
channel = "channel"
"""

LINES = """
source = "tickets"
currency = "EUR"
[datasets.lines]
files = "lines*"
columns = ["ticket", "line", "card", "at", "qty", "price"]
node = { type = "card", record_id = "card", anonymous = "'ticket:' || ticket" }
event_time = "iso_time(at)"
[[datasets.lines.maps]]
table = "orders"
group = ["ticket"]
[datasets.lines.maps.set]
order_id = "first(ticket)"
amount_minor = "minor(sum(integer(qty) * number(price)))"
n_items = "sum(integer(qty))"
[[datasets.lines.maps]]
table = "order_lines"
[datasets.lines.maps.set]
order_id = "ticket"
line_no = "integer(line)"
quantity = "integer(qty)"
"""


def events(*rows: tuple) -> bytes:
    """Write events as CSV."""
    head = ("id", "who", "account", "what", "ts", "received", "channel")
    return "\n".join(",".join(map(str, row)) for row in (head, *rows)).encode() + b"\n"


def content(rows) -> dict[str, list]:
    """Everything a load wrote, without the run's own name."""
    tables = ("nodes", "identifiers", "orders", "events")
    return {table: rows(f"SELECT * FROM {table} ORDER BY ALL").to_dict("records") for table in tables}


def test_each_record_becomes_its_facts(run, till, put, rows):
    """A sale with a card is its holder's; one without belongs to nobody else."""
    report = load(run, till, put(SALES))
    nodes = rows("SELECT node_id, source, record_id, node_type FROM nodes ORDER BY node_id").to_dict(
        "records"
    )
    assert nodes == [
        {"node_id": 1, "source": "till", "record_id": "L1", "node_type": "card"},
        {"node_id": 2, "source": "till", "record_id": "ticket:2", "node_type": "anonymous"},
    ]
    orders = rows(
        "SELECT order_id, node_id, amount_minor, local_hour, local_weekday FROM orders ORDER BY order_id"
    )
    assert orders.to_numpy().tolist() == [["1", 1, 1050, 12, 2], ["2", 2, 300, 9, 3], ["3", 1, 120, 18, 4]]
    seen = rows("SELECT id_type, value, event_time FROM identifiers").astype(str).to_numpy().tolist()
    assert seen == [["loyalty_id", "L1", "2025-07-01 10:00:00"]]
    frame = report.frame()
    assert frame.loc[0, ["records_in", "good", "quarantined", "status"]].tolist() == [3, 3, 0, "loaded"]
    assert report.rows == {"orders": 3, "identifiers": 1} and report.changed


@pytest.mark.parametrize("name", ["sales.csv", "sales-renamed.csv"])
def test_the_same_bytes_again_change_nothing(run, till, put, rows, name):
    """Under the same name or another, a second load writes nothing and says so."""
    load(run, till, put(SALES))
    before = {table: run.lake.read(table, "head").version for table in run.lake.stored()}
    report = load(run, till, put(SALES, name, "again"))
    assert report.datasets[0].unchanged and not report.changed
    assert (report.records_in, report.good) == (3, 3)
    assert {table: run.lake.read(table, "head").version for table in run.lake.stored()} == before


def test_two_copies_in_one_folder_count_once(run, till, put, rows):
    """The second copy is found to be the first."""
    put(SALES, "sales-2.csv")
    report = load(run, till, put(SALES, "sales-1.csv").parent)
    assert [entry.unchanged for entry in report.datasets] == [False, True]
    assert len(rows("SELECT * FROM orders")) == 3


def test_a_fact_told_twice_is_kept_once_and_counted(run, put, rows):
    """Within a file and across files; the earliest known holds, and a contradiction is counted apart."""
    contract = Contract.parse(EVENTS.format(source="web"))
    one = ("e1", "c1", "", "Page Viewed", "2025-01-01T10:00:00Z", "2025-01-01T10:00:05Z", "site")
    late = (*one[:5], "2025-01-01T10:00:09Z", "site")
    other = (*one[:6], "app")
    first = load(run, contract, put(events(late, one, ("e2", *one[1:])), "events1.csv"))
    assert (first.good, first.datasets[0].duplicates, first.datasets[0].conflicts) == (3, 1, 0)
    assert rows("SELECT known_at FROM events WHERE event_id = 'e1'").astype(str)["known_at"].tolist() == [
        "2025-01-01 10:00:05"
    ]
    again = load(run, contract, put(events(other, ("e3", *one[1:])), "events2.csv"))
    assert (again.good, again.datasets[0].duplicates, again.datasets[0].conflicts) == (2, 1, 1)
    assert rows("SELECT event_id, channel FROM events ORDER BY 1").to_numpy().tolist() == [
        ["e1", "site"],
        ["e2", "site"],
        ["e3", "site"],
    ]


def test_files_in_any_order_leave_the_same_facts(tmp_path: Path, till, put):
    """Late files included: only the numbers of nodes follow the order of arrival."""
    parts = [
        HEADER + "".join(f"{n};L{n % 3};0{n % 8 + 1}/07/2025 12:00;1,00\n" for n in range(k, 12, 3))
        for k in range(3)
    ]
    seen = []
    for attempt in range(3):
        random.Random(attempt).shuffle(parts)
        begun = Run.begin(Workspace(tmp_path / f"home{attempt}"), "load")
        for part in parts:
            load(begun, till, put(part))
        engine = begun.engine()
        seen.append(
            [
                engine.query(sql).to_pandas().astype(str).to_numpy().tolist()
                for sql in (
                    "SELECT n.record_id, o.* EXCLUDE node_id FROM orders o JOIN nodes n USING (node_id) ORDER BY ALL",
                    "SELECT source, record_id, node_type, known_at FROM nodes ORDER BY ALL",
                    "SELECT value, min(known_at) FROM identifiers GROUP BY 1 ORDER BY ALL",
                )
            ]
        )
        engine.close()
        begun.abandon()
    assert seen[0] == seen[1] == seen[2]


def test_node_numbers_never_change(run, till, put, rows):
    """A record keeps its number when it comes back; new ones follow."""
    load(run, till, put(SALES))
    load(
        run, till, put(HEADER + "9;A0;01/01/2025 12:00;1,0\n8;L1;01/01/2024 12:00;1,0\n", "more.csv", "more")
    )
    nodes = (
        rows("SELECT node_id, record_id, known_at FROM nodes ORDER BY node_id")
        .astype(str)
        .to_numpy()
        .tolist()
    )
    assert [row[:2] for row in nodes] == [["1", "L1"], ["2", "ticket:2"], ["3", "A0"]]
    assert nodes[0][2] == "2024-01-01 11:00:00", "known since its earliest fact"


def test_a_signed_in_event_is_an_identifier_of_the_cookie_at_its_time(run, put, rows):
    """The first sight of each account on each cookie, known when the event was."""
    moment = "2025-01-0{}T10:00:00Z".format
    told = [
        ("e1", "c1", "", "Page Viewed", moment(1), moment(1), "site"),
        ("e3", "c1", "A7", "Page Viewed", moment(3), moment(4), "site"),
        ("e2", "c1", "A7", "Signed In", moment(2), moment(2), "site"),
        ("e4", "c2", "A7", "Page Viewed", moment(5), moment(5), "app"),
    ]
    load(run, Contract.parse(EVENTS.format(source="web")), put(events(*told), "events.csv"))
    found = rows(
        "SELECT record_id, value, i.known_at FROM identifiers i JOIN nodes USING (node_id)"
        " WHERE id_type = 'account_id' ORDER BY ALL"
    )
    assert found.astype(str).to_numpy().tolist() == [
        ["c1", "A7", "2025-01-02 10:00:00"],
        ["c2", "A7", "2025-01-05 10:00:00"],
    ]


@pytest.mark.req("WHR-15")
def test_an_unknown_channel_is_kept_flagged_and_counted(run, put, rows):
    """A conversation and a connected object are channels like others; so is one nobody foresaw."""
    at = "2025-01-01T10:00:00Z"
    told = [
        ("e1", "bot-user", "", "Chat Message", at, at, "chat"),
        ("e2", "lamp-7", "", "Object Signal", at, at, "object"),
        ("e3", "fridge-3", "", "Object Signal", at, at, "smart_fridge"),
        ("e4", "c1", "", "Page Viewed", at, at, ""),
    ]
    report = load(run, Contract.parse(EVENTS.format(source="things")), put(events(*told), "events.csv"))
    found = rows("SELECT event_id, channel, channel_known FROM events ORDER BY event_id")
    assert found["channel"].fillna("").tolist() == ["chat", "object", "smart_fridge", ""]
    assert found["channel_known"].tolist()[:3] == [True, True, False]
    assert report.unknown_channels == {"smart_fridge": 1} and report.quarantined == 0


def test_a_group_is_whole_or_set_aside_whole(run, put, rows):
    """A ticket with an unreadable line makes no order with a short total."""
    contract = Contract.parse(LINES)
    text = (
        "ticket,line,card,at,qty,price\n"
        "T1,1,L1,2025-01-01T10:00:00Z,2,1.50\nT1,2,L1,2025-01-01T10:00:00Z,1,0.25\n"
        "T2,1,L1,2025-01-02T10:00:00Z,1,9.00\nT2,2,L1,2025-01-02T10:00:00Z,x,1.00\n"
        "T3,1,,2025-01-03T10:00:00Z,3,1.00\n"
    )
    report = load(run, contract, put(text, "lines.csv"))
    assert (report.records_in, report.good, report.quarantined) == (5, 3, 2)
    orders = rows(
        "SELECT order_id, amount_minor, n_items, record_id FROM orders JOIN nodes USING (node_id) ORDER BY 1"
    )
    assert orders.to_numpy().tolist() == [["T1", 325, 3, "L1"], ["T3", 300, 3, "ticket:T3"]]
    assert set(report.datasets[0].reasons) == {
        "`qty` is not a whole number",
        "another record of its orders row was set aside",
    }


def test_a_mended_contract_takes_in_what_was_set_aside(run, till, put, rows):
    """The same file is read anew, nothing is doubled and the quarantine empties."""
    path = put(SALES.replace("01/07/2025 12:00", "2025-07-01 12:00"))
    assert load(run, till, path).quarantined == 1
    dates = [*till.datasets["sales"].dates, "%Y-%m-%d %H:%M"]
    sales = till.datasets["sales"].model_copy(update={"dates": dates})
    again = load(run, till.model_copy(update={"datasets": {"sales": sales}}), path)
    assert (again.good, again.datasets[0].duplicates, again.rows["orders"]) == (3, 2, 1)
    assert rows("SELECT sum(amount_minor) AS n FROM orders")["n"].item() == 1470
    assert rows("SELECT * FROM quarantine").empty
    assert rows("SELECT good, quarantined FROM source_files").to_numpy().tolist() == [[3, 0]]


def test_one_refused_file_refuses_the_load(run, till, put):
    """Every refused file is named with its reason, and nothing of the others is written."""
    put(SALES, "sales1.csv")
    put("", "sales2.csv")
    path = put("ticket;card\n", "sales3.csv")
    with pytest.raises(ContractError) as refused:
        load(run, till, path.parent)
    assert len(refused.value.faults) == 3 and "sales2.csv" in str(refused.value)
    assert not run.lake.stored()


def test_errors_and_reasons_hold_no_personal_value(run, till, put, rows):
    """Names and numbers of a bad record are in its bytes only."""
    secret = "jean.dupont@example.fr"
    report = load(run, till, put(SALES + f"7;L7;{secret};1,0\n8;L8;01/07/2025 10:00;{secret}\n"))
    assert secret not in report.frame().to_string()
    assert secret not in str(rows("SELECT reasons FROM quarantine")["reasons"].tolist())
    with pytest.raises(ContractError) as refused:
        load(run, till, put(f"1;{secret};01/07/2025 10:00;1,0\n" * 9, "sales-headless.csv"))
    assert secret not in str(refused.value)


def test_parquet_reads_as_the_csv_does(run, tmp_path, put, rows):
    """Types of the file change nothing; a bad row is kept as JSON with its row number."""
    at = "2025-01-01 10:00:00"
    frame = pd.DataFrame(
        {
            "id": ["e1", "e2", None], "who": ["c1", "c1", "c2"], "account": [None, "A1", None],
            "what": ["Page Viewed"] * 3, "ts": pd.to_datetime([at] * 3), "received": [at, at, "later"],
            "channel": ["site"] * 3,
        }
    )  # fmt: skip
    path = put(b"", "events.parquet")
    pq.write_table(pa.Table.from_pandas(frame), path)
    report = load(run, Contract.parse(EVENTS.format(source="web")), path)
    assert (report.records_in, report.good, report.quarantined) == (3, 2, 1)
    aside = rows("SELECT line, reasons, original FROM quarantine")
    assert aside["line"].tolist() == [3] and b'"received":"later"' in aside["original"][0]
    told = [
        ("e1", "c1", "", "Page Viewed", at, at, "site"),
        ("e2", "c1", "A1", "Page Viewed", at, at, "site"),
    ]
    again = load(run, Contract.parse(EVENTS.format(source="web")), put(events(*told), "events.csv"))
    assert (again.datasets[0].duplicates, again.datasets[0].conflicts) == (2, 0)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ContractError, match="whole Parquet file"):
        load(run, Contract.parse(EVENTS.format(source="web")), path)


def test_two_sources_may_not_share_a_key(run, put):
    """Otherwise the second source's fact would vanish as a duplicate of the first's."""
    at = "2025-01-01T10:00:00Z"
    path = put(events(("e1", "c1", "", "Page Viewed", at, at, "site")), "events.csv")
    load(run, Contract.parse(EVENTS.format(source="web")), path)
    with pytest.raises(ContractError, match="prefix the key"):
        load(run, Contract.parse(EVENTS.format(source="partner")), path)


def test_an_erased_person_does_not_come_back(tmp_path, till, put):
    """Neither by record nor by identifier: the reloaded records are counted as left out."""
    ws = Workspace(tmp_path / "home")
    begun = Run.begin(ws, "load")
    load(begun, till, put(SALES))
    begun.finish()
    ws.lake().erase([1])
    begun = Run.begin(ws, "load")
    more = HEADER + "11;L1;01/08/2025 12:00;1,0\n12;L2;01/08/2025 12:00;1,0\n"
    report = load(begun, till, put(more, "sales-august.csv"))
    assert (report.good, report.datasets[0].suppressed) == (2, 1)
    at = "2025-09-01T10:00:00Z"
    cards = Contract.parse(EVENTS.format(source="app").replace("cookie_id =", "loyalty_id ="))
    seen = load(begun, cards, put(events(("e1", "L1", "", "Page Viewed", at, at, "app")), "events.csv"))
    assert seen.datasets[0].suppressed == 1
    with begun.engine() as engine:
        records = engine.query("SELECT record_id FROM nodes ORDER BY 1").to_pandas()["record_id"].tolist()
        assert engine.query("SELECT count(*) AS n FROM events").to_pandas()["n"].item() == 0
    begun.abandon()
    assert records == ["L2", "ticket:2"]


@pytest.mark.req("GOV-09")
def test_an_erased_person_does_not_come_back_through_quarantine(tmp_path, till, put):
    """A bad record of theirs is counted and not kept, whichever cell names them; a stranger's is kept."""
    ws = Workspace(tmp_path / "home")
    begun = Run.begin(ws, "load")
    load(begun, till, put(SALES))
    begun.finish()
    ws.lake().erase([1])
    begun = Run.begin(ws, "load")
    bad = "21;L1;never;1,0\n22;L9;never;1,0\n23;L9;L1;1,0\n"
    report = load(begun, till, put(HEADER + bad + "24;L8;01/08/2025 12:00;1,0\n", "sales-old.csv"))
    found = report.datasets[0]
    assert (found.records_in, found.good, found.quarantined, found.suppressed) == (4, 1, 3, 2)
    aside = begun.lake.read("quarantine", "head").to_pandas()
    begun.abandon()
    assert aside["original"].tolist() == [b"22;L9;never;1,0"]


def test_bases_are_those_of_the_contract(run, till, put, rows):
    """Declared bases are stored with their reasons, and leave with the declaration."""
    basis = '[bases.profiling]\nbasis = "legitimate_interest"\nreason = "Members expect it."\n'
    text = EVENTS.format(source="web")
    at = "2025-01-01T10:00:00Z"
    path = put(events(("e1", "c1", "", "Page Viewed", at, at, "site")), "events.csv")
    load(run, Contract.parse(text.replace("[datasets.events]", basis + "[datasets.events]", 1)), path)
    assert rows("SELECT source, purpose, basis, reason FROM source_bases").to_numpy().tolist() == [
        ["web", "profiling", "legitimate_interest", "Members expect it."]
    ]
    load(run, Contract.parse(text), path)
    assert rows("SELECT * FROM source_bases").empty


def test_a_report_that_does_not_reconcile_raises():
    """A record that is neither good nor quarantined is an alarm."""
    with pytest.raises(IntegrityError, match="records in = good"):
        DatasetReport("till", "sales", "f.csv", records_in=3, good=2).reconcile()


def test_missing_files_and_sources_are_told_plainly(run, till, tmp_path, put):
    """A wrong folder, a wrong name and a dataset that sent nothing."""
    with pytest.raises(ContractError, match="must exist"):
        load(run, till, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ContractError, match=r"none like sales\*\.csv"):
        load(run, till, tmp_path / "empty")
    with pytest.raises(CdpkitError, match="must be one of those available"):
        adapter("nobody")
    assert set(available()) >= {"world", "online_retail", "cdnow", "complete_journey"}


def test_a_contract_of_the_user_is_read_from_its_file(run, tmp_path, put):
    """A path to a TOML file is a source like others."""
    own = tmp_path / "own.toml"
    own.write_text(EVENTS.format(source="own"))
    at = "2025-01-01T10:00:00Z"
    path = put(events(("e1", "c1", "", "Page Viewed", at, at, "site")), "events.csv")
    assert load(run, own, path).rows["events"] == 1
    assert load(run, str(own), path).datasets[0].unchanged
