"""A file nobody described: what can be told from it is proposed, what cannot is said; a wrong mapping is told whole."""

from __future__ import annotations

import gzip
from pathlib import Path

import openpyxl
import pytest

from cdpkit import world
from cdpkit.cli import app
from cdpkit.errors import ContractError
from cdpkit.sources import adapter, check, explain, guess, load
from cdpkit.sources.contract import Contract
from cdpkit.world.exports import file_name

FRENCH = (
    "N° Commande;Client ID;Date d'achat;Montant TTC;Courriel;Remarque\n"
    + "".join(f"K{n};C{n % 7};{1 + n % 28:02d}/03/2026 10:{n % 60:02d};{n},90;z{n}@courriel.example;\n" for n in range(40))
)  # fmt: skip


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Path:
    """The exports of a small retailer."""
    folder = tmp_path_factory.mktemp("guess")
    world.generate(60, seed=2).write(folder / "raw", folder / "truth")
    return folder / "raw"


def test_proposals_agree_with_the_contracts_written_by_hand(exports):
    """Table, format, delimiter and record of the world's exports are told from the files alone, nine times in ten."""
    right = asked = 0
    for contract in adapter("world").contracts:
        for dataset in contract.datasets.values():
            file = exports / dataset.files
            fed = {mapping.table for mapping in dataset.maps}
            if not file.exists() or not fed & {
                "profiles", "orders", "order_lines", "events", "messages", "consents", "products", "prices_stock",
                "contacts", "quotes", "contracts", "touches", "spend", "reviews", "surveys", "social", "watchlists",
                "assignments",
            }:  # fmt: skip
                continue
            found = guess(file)
            proposed = found.contract.datasets["records"]
            same = (
                found.table in fed
                and proposed.formats[0] in dataset.formats
                and ("csv" not in proposed.formats or proposed.delimiter == dataset.delimiter)
                and (
                    dataset.node is None
                    or (proposed.node is not None and proposed.node.type == dataset.node.type)
                )
            )
            asked, right = asked + 1, right + same
    assert asked >= 20 and right / asked >= 0.85, (right, asked)


@pytest.mark.parametrize(
    "name", ["shop_orders", "store_tickets", "email_log", "crm_contacts", "calls", "reviews"]
)
def test_a_proposal_loads_its_file(name, exports, run):
    """Every record of the export is good under the contract proposed for it."""
    file = exports / file_name(name)
    report = load(run, guess(file).contract, file)
    assert report.good == report.records_in > 0 and sum(report.rows.values()) > 0


def test_a_french_file_is_told_from_its_bytes(put):
    """Encoding, delimiter, comma, order of the day, key and columns under French names."""
    found = guess(put(FRENCH.encode("cp1252"), name="commandes.csv"))
    dataset = found.contract.datasets["records"]
    assert (dataset.encoding, dataset.delimiter, dataset.decimal) == ("cp1252", ";", ",")
    assert found.table == "orders"
    assert found.mapped["amount_minor"] == "Montant TTC" and dataset.identifiers == {"email": "Courriel"}
    assert "%d/%m/%Y %H:%M" in dataset.event_time and dataset.node.record_id == '"Client ID"'
    assert found.left == ("Remarque",)
    assert any(told.startswith("encoding") for told in found.unsure)
    assert any(told.startswith("zone") for told in found.unsure)


def test_an_order_of_day_and_month_that_cannot_be_known_is_said(put):
    """Days up to the 12th fit both; one later day, in any column, settles it."""
    rows = "order_id,client_id,order_date,amount\n" + "".join(
        f"o{n},c,0{n}/0{n + 1}/2026,5.0\n" for n in range(1, 6)
    )
    assert any("day or month first" in told for told in guess(put(rows, name="a.csv")).unsure)
    months = guess(put(rows + "o9,c,03/25/2026,5.0\n", name="b.csv"))
    assert "%m/%d/%Y" in months.contract.datasets["records"].event_time
    assert not any("day or month" in told for told in months.unsure)


def test_other_formats_are_recognised(put, tmp_path):
    """Packed text, JSON lines with paths, Excel; and what says nothing gets no mapping."""
    assert (
        guess(put(gzip.compress(FRENCH.encode()), name="c.csv.gz")).contract.datasets["records"].files
        == "c.csv"
    )
    lines = '{"event_id":"1","device_id":"d","ts":"2026-03-01T10:00:00Z","event_type":"x","properties":{"product_id":"P"}}\n'
    found = guess(put(lines, name="app.jsonl"))
    assert found.table == "events" and found.mapped["product_id"] == "properties.product_id"
    book = openpyxl.Workbook()
    book.active.append(["product_id", "name", "category", "brand", "price", "updated_at"])
    book.active.append(["P1", "Lampe", "Lampes", "Lueur", 12.5, "2026-01-01T00:00:00Z"])
    book.save(tmp_path / "p.xlsx")
    assert guess(tmp_path / "p.xlsx").table == "products"
    nothing = guess(put("a,b\n1,2\n", name="n.csv"))
    assert nothing.table is None and any("no mapping" in told for told in nothing.unsure)
    with pytest.raises(ContractError, match="header"):
        guess(put("z@courriel.example,12\nz@courriel.example,13\n", name="h.csv"))


WRONG = """
source = "till"
zone = "Europe/Paris"
currency = "EUR"
dates = ["%Y/%m/%d"]
[datasets.sales]
files = "commandes.csv"
delimiter = ";"
min_quarantined = 3
columns = ["N° Commande", "Client_ID", "Date d'achat", "Montant TTC"]
node = { type = "account", record_id = "Client_ID", anonymous = "'x'" }
event_time = '''local_time("Date d'achat")'''
[[datasets.sales.maps]]
table = "orders"
set = { order_id = '"N° Commande"', amount_minor = 'minor("Montant TTC")' }
"""


def test_a_wrong_mapping_gets_one_message_that_lists_every_fault(put):
    """A misspelt column with its likely name, a wrong date and a wrong decimal sign, in one pass."""
    path = put(FRENCH, name="commandes.csv")
    with pytest.raises(ContractError) as wrong:
        check(Contract.parse(WRONG), path)
    text = str(wrong.value)
    assert "header must name column `Client_ID`; did you mean `Client ID`?" in text
    assert "is not a time in %Y/%m/%d: 40 of 40 records" in text
    assert "is not a number with decimal sign `.`: 40 of 40 records" in text
    assert "courriel.example" not in text and "12/03/2026" not in text, "no value of a person"


def test_a_check_writes_nothing_and_tells_what_would_happen(put):
    """Records, reasons and the meaning of every column, without a workspace."""
    mended = WRONG.replace("%Y/%m/%d", "%d/%m/%Y %H:%M").replace("Client_ID", "Client ID").replace(
        'record_id = "Client ID"', "record_id = '\"Client ID\"'"
    ).replace("currency =", 'decimal = ","\ncurrency =')  # fmt: skip
    contract = Contract.parse(mended)
    path = put(FRENCH + "K99;C1;31/02/2026 10:00;1,00;;\n", name="commandes.csv")
    (tried,) = check(contract, path)
    assert (tried.records_in, tried.good, len(tried.reasons)) == (41, 40, 1)
    said = "\n".join(explain(contract))
    assert "rows of orders" in said and 'amount_minor <- minor("Montant TTC")' in said


def test_the_command_line_proposes_and_checks(put, tmp_path, cli):
    """`source guess` proposes a contract that `source check` accepts on the same file."""
    path, out = put(FRENCH, name="commandes.csv"), tmp_path / "commandes.toml"
    told = cli.invoke(app, ["source", "guess", str(path)])
    assert told.exit_code == 0 and "# Unsure of zone" in told.output
    out.write_text(told.output, encoding="utf-8")
    tried = cli.invoke(app, ["source", "check", str(out), str(path)])
    assert tried.exit_code == 0 and "40 of 40 records good" in tried.output


@pytest.fixture
def cli():
    from typer.testing import CliRunner

    return CliRunner()


@pytest.mark.parametrize(
    ("path", "records"),
    [
        ("online_shoppers/online_shoppers_intention.csv.gz", 12_330),
        ("bank_marketing/bank-additional-full.csv.gz", 41_188),
        ("telco_churn/Telco-Customer-Churn.csv.gz", 7_043),
        ("hillstrom/hillstrom.csv.gz", 64_000),
        ("customer_personality/marketing_campaign.csv.gz", 2_240),
        ("email_campaign/data_email_campaign_dev.csv.gz", 47_810),
    ],
)
def test_real_sets_are_read_whole_by_their_proposal(shared_data, run, path, records):
    """Nobody wrote a contract for them: the proposed one counts the records of their description, none lost."""
    file = shared_data(path)
    report = load(run, guess(file).contract, file)
    assert (report.records_in, report.good, report.quarantined) == (records, records, 0)
