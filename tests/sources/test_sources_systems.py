"""Each system the package knows, from a small export of ours to the rows it must make, faults included."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from cdpkit import identity
from cdpkit.errors import ContractError
from cdpkit.schema import TABLES
from cdpkit.sources import adapter, available, load

FIXTURES = Path(__file__).parent / "fixtures"

# Source, files, records set aside, and what the lake must then answer: SQL and its rows.
SYSTEMS = {
    "segment": (["segment.jsonl"], {"calls": 1, "lines": 0}, {
        "SELECT event_type, channel, touchpoint, campaign_id FROM events WHERE product_id IS NULL ORDER BY event_id":
            [("Page Viewed", "site", "Accueil", "printemps"),
             ("Segment Consent Preference Updated", "site", None, None),
             ("Order Completed", "site", None, None), ("Screen Viewed", "app", "Panier", None)],
        "SELECT order_id, amount_minor, currency FROM orders": [("O1", 4480, "EUR")],
        "SELECT line_no, product_id, quantity, amount_minor FROM order_lines ORDER BY 1":
            [(1, "P1", 2, 3980), (2, "P2", 1, 500)],
        "SELECT first_name, CAST(birth_date AS VARCHAR), postcode, traits LIKE '%\"or\"%' FROM profiles":
            [("Zoé", "1990-02-03", "30000", True)],
        "SELECT id_type, value FROM identifiers WHERE id_type IN ('account_id', 'email') ORDER BY 1":
            [("account_id", "u7"), ("email", "zoe@courriel.example")],
        "SELECT purpose, channel, status FROM consents ORDER BY 1":
            [("activation", "site", "denied"), ("profiling", "*", "granted"), ("stitching", "*", "granted")],
        "SELECT CAST(known_at AS VARCHAR) FROM events WHERE event_id = 'm1'": [("2026-03-01 09:00:05",)],
    }),
    "ga4": (["ga4.jsonl"], {"events": 1, "items": 0}, {
        "SELECT event_type, channel, session_id, dwell_ms, CAST(event_time AS VARCHAR) FROM events ORDER BY event_time":
            [("Product Viewed", "site", "g1.77", 5200, "2026-03-01 09:00:00"),
             ("Order Completed", "site", "g1.77", None, "2026-03-01 09:05:00"),
             ("Screen Viewed", "app", None, None, "2026-03-02 09:00:00")],
        "SELECT order_id, amount_minor, currency FROM orders": [("T1", 4480, "EUR")],
        "SELECT line_no, product_id, quantity, amount_minor FROM order_lines ORDER BY 1":
            [(1, "P1", 2, 3980), (2, "P2", 1, 500)],
        "SELECT record_id, purpose, status FROM consents JOIN nodes USING (node_id) ORDER BY 1, 2":
            [("g1", "profiling", "granted"), ("g1", "stitching", "granted"),
             ("g2", "profiling", "denied"), ("g2", "stitching", "denied")],
    }),
    "snowplow": (["snowplow.jsonl"], {"events": 1}, {
        "SELECT event_id, event_type, channel, touchpoint FROM events ORDER BY 1":
            [("e1", "Page Viewed", "site", "/lampes"), ("e2", "Product Added", "site", None),
             ("e3", "Order Completed", "site", None), ("e4", "Page Viewed", "app", None)],
        "SELECT order_id, amount_minor FROM orders": [("O1", 4480)],
        "SELECT node_type FROM nodes JOIN events USING (node_id) WHERE event_id = 'e4'": [("anonymous",)],
        "SELECT CAST(event_time AS VARCHAR), CAST(known_at AS VARCHAR) FROM events WHERE event_id = 'e1'":
            [("2026-03-01 09:00:00", "2026-03-01 09:00:01.5")],
    }),
    "app_events": (["app_events.jsonl"], {"events": 1}, {
        "SELECT event_type, channel, device, amount_minor, CAST(event_time AS VARCHAR) FROM events":
            [("Product Added", "app", "ios", 3980, "2026-03-01 08:00:00")],
        "SELECT purpose, status FROM consents ORDER BY 1": [("profiling", "denied"), ("stitching", "denied")],
        "SELECT id_type, value FROM identifiers ORDER BY 1": [("account_id", "u7"), ("device_id", "ph1")],
    }),
    "email_events": (["email_events.csv"], {"log": 2}, {
        "SELECT message_id, opened_at = TIMESTAMP '2026-03-01 18:30:00', machine_open, clicked_at IS NOT NULL,"
        " bounced_at IS NOT NULL, delivered_at IS NOT NULL FROM messages ORDER BY 1":
            [("m1", True, False, True, False, True), ("m2", False, True, False, False, True),
             ("m3", None, None, False, True, False), ("m4", None, None, False, False, False)],
        "SELECT proof, channel, status FROM consents ORDER BY 1":
            [("m2", "email", "denied"), ("m4", "email", "denied")],
    }),
    "crm": (["crm_contacts.csv", "crm_consents.csv", "contracts.csv"], {"contacts": 1, "consents": 1, "contracts": 1}, {
        "SELECT first_name, gender, CAST(birth_date AS VARCHAR), acquisition_route FROM profiles":
            [("Zoé", "f", "1990-02-03", "loyalty_programme")],
        "SELECT purpose, channel, status, proof FROM consents": [("activation", "email", "granted", "v3")],
        "SELECT contract_id, policy_id, amount_minor, CAST(starts_at AS VARCHAR) FROM contracts":
            [("c1", "p1", 12000, "2026-04-01 00:00:00")],
    }),
    "store": (["store_tickets.csv", "store_cards.csv"], {"tickets": 1, "cards": 0}, {
        "SELECT order_id, amount_minor, n_items, node_type, record_id, CAST(event_time AS VARCHAR) FROM orders"
        " JOIN nodes USING (node_id) ORDER BY 1":
            [("K1", 4480, 3, "card", "L1", "2026-10-25 00:30:00"),
             ("K2", 1500, 3, "anonymous", "ticket:K2", "2026-03-01 10:00:00")],
    }),
    "calls": (["calls.csv", "inbound_emails.csv"], {"calls": 1, "inbound_emails": 0}, {
        "SELECT contact_id, channel, node_type, satisfaction, text FROM contacts JOIN nodes USING (node_id) ORDER BY 1":
            [("i1", "email", "address", None, "La lampe\nne s'allume pas"),
             ("k1", "call", "phone", 0.8, "Où est mon colis ?"), ("k2", "call", "anonymous", None, None)],
    }),
    "shop": (["quotes.csv", "bookings.csv", "reviews.csv"], {"quotes": 0, "bookings": 0, "reviews": 1}, {
        "SELECT quote_id, amount_minor, accepted_at IS NOT NULL, node_type FROM quotes JOIN nodes USING (node_id) ORDER BY 1":
            [("q1", 120000, True, "account"), ("q2", 900, False, "anonymous")],
        "SELECT booking_id, order_id, starts_at > event_time FROM bookings": [("b1", "O1", True)],
        "SELECT rating, text FROM reviews": [(1.0, 'Très "chaleureuse"')],
    }),
    "catalogue": (["products.csv", "prices_stock.csv"], {"products": 0, "prices_stock": 1}, {
        "SELECT product_id, tier, CAST(price AS DOUBLE), len(tags) FROM products": [("P1", "entry", 19.9, 2)],
        "SELECT CAST(price AS DOUBLE), stock FROM prices_stock": [(19.9, 12)],
    }),
    "ads": (["ad_touches.csv", "ad_spend.csv"], {"touches": 1, "spend": 0}, {
        "SELECT touch_id, channel, kind, cost_minor FROM touches": [("w1", "search", "click", 80)],
        "SELECT cost_minor, CAST(event_time AS VARCHAR), CAST(known_at AS VARCHAR) FROM spend":
            [(320, "2026-02-28 23:00:00", "2026-03-01 23:00:00")],
    }),
    "surveys": (["surveys.csv"], {"answers": 0}, {
        "SELECT survey, question, answer, value FROM surveys": [("after order", "would recommend 0-10", "9", 9.0)],
    }),
    "social": (["social.csv"], {"interactions": 1}, {
        "SELECT network, kind, topic FROM social ORDER BY interaction_id":
            [("instagram", "share", "Lampes"), ("instagram", "like", "Jardin")],
        "SELECT value FROM identifiers": [("zoe@courriel.example",)],
        "SELECT record_id, purpose, status FROM consents JOIN nodes USING (node_id) ORDER BY 1, 2":
            [("instagram:leo34", "profiling", "denied"), ("instagram:leo34", "stitching", "denied"),
             ("instagram:zoe30", "stitching", "granted")],
    }),
    "partner_visits": (["partner_visits.csv"], {"visits": 1}, {
        "SELECT event_id, touchpoint, category FROM events": [("v1", "maison.example", "Lampes")],
        "SELECT record_id FROM nodes": [("pc1",)],
        "SELECT value FROM identifiers": [("ck1",)],
        "SELECT reasons[1] FROM quarantine": [("it happened after the agreement ended",)],
        "SELECT purpose, allowed, partner, retention_days FROM source_terms ORDER BY 1":
            [("activation", False, "model partner", 180), ("profiling", True, "model partner", 180),
             ("stitching", True, "model partner", 180)],
    }),
    "signals": (["audience_signals.csv"], {"signals": 1}, {
        "SELECT subject, attribute, value FROM signals ORDER BY subject, event_time":
            [("city=Nîmes", "video: garden", 0.1), ("postcode=30000", "search: lamps", 0.42),
             ("postcode=30000", "search: lamps", 0.55)],
        "SELECT reasons[1] FROM quarantine": [("the aggregate counts eleven persons or more",)],
    }),
}  # fmt: skip


def plain(value: object) -> object:
    """A cell as Python says it: missing is None."""
    return None if value is None or (not isinstance(value, list) and pd.isna(value)) else value


@pytest.mark.parametrize("source", SYSTEMS)
def test_a_system_is_read_to_the_letter(source, run, rows, tmp_path):
    """Every record is good or set aside; the rows are those a reader of the export would write down."""
    names, aside, answers = SYSTEMS[source]
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in names:
        shutil.copy(FIXTURES / name, folder)
    report = load(run, source, folder)
    found = [entry for entry in report.datasets if entry.file is not None]
    assert {entry.dataset: entry.quarantined for entry in found} == aside
    for entry in found:
        assert entry.records_in == entry.good + entry.quarantined > 0
    for sql, expected in answers.items():
        answer = [tuple(plain(v) for v in row) for row in rows(sql).itertuples(index=False, name=None)]
        assert answer == expected, sql
    again = load(run, source, folder)
    assert all(entry.unchanged for entry in again.datasets if entry.file is not None)


def test_nested_parquet_reads_as_json_lines_do(run, rows, tmp_path):
    """The export of a warehouse in its own nested columns makes the rows of its JSON lines."""
    lines = pd.read_json(FIXTURES / "ga4.jsonl", lines=True, dtype=False)
    lines.iloc[:3].to_parquet(tmp_path / "ga4.parquet")
    load(run, "ga4", tmp_path)
    orders = rows("SELECT order_id, amount_minor FROM orders")
    assert orders.to_numpy().tolist() == [["T1", 4480]]
    assert rows("SELECT count(*) AS n FROM order_lines")["n"].item() == 2
    sessions = rows("SELECT DISTINCT session_id FROM events WHERE session_id IS NOT NULL")
    assert sessions["session_id"].tolist() == ["g1.77"]


def test_every_system_says_what_it_reads():
    """Each is asked for by name, and has a sentence."""
    assert set(SYSTEMS) <= set(available())
    assert all(adapter(name).about for name in available())


LOADERS = [
    ("crm", "crm_contacts.csv", "birth_date", [3], "profiles"),
    ("segment", "segment.jsonl", "timestamp", [7], "events"),
    ("store", "store_tickets.csv", "unit_price", [5], "orders"),
    ("email_events", "email_events.csv", "occurred_at", [15, 16], "messages"),
    ("calls", "calls.csv", "satisfaction", [4], "contacts"),
    ("catalogue", "prices_stock.csv", "stock", [3], "prices_stock"),
    ("ads", "ad_touches.csv", "cost", [3], "touches"),
]


@pytest.mark.req("DAT-01")
@pytest.mark.parametrize(("source", "name", "column", "lines", "table"), LOADERS)
def test_a_loader_refuses_a_wrong_column_and_sets_wrong_rows_aside_by_number(
    source, name, column, lines, table, run, rows, put
):
    """A missing column refuses the file by name; a wrong value its row, by line; every other row comes through typed."""
    text = (FIXTURES / name).read_text(encoding="utf-8")
    with pytest.raises(ContractError, match=f"`{column}`"):
        load(run, source, put(text.replace(column, "else"), name=name))
    assert rows("SELECT count(*) AS n FROM source_files")["n"].item() == 0, "nothing of a refused file stays"
    report = load(run, source, put(text, name=name).parent)
    (entry, *_) = [entry for entry in report.datasets if entry.file == name]
    aside = rows("SELECT line FROM quarantine ORDER BY line")["line"].tolist()
    assert aside == lines and entry.records_in == entry.good + len(lines)
    assert entry.rows[table] == rows(f"SELECT count(*) AS n FROM {table}")["n"].item() > 0
    found = run.lake.read(table).to_arrow().schema
    assert found.names == TABLES[table].arrow().names and found.types == TABLES[table].arrow().types


def test_tickets_of_a_card_reach_its_owner_and_others_stay_anonymous(run, rows, tmp_path):
    """A card's tickets are those of the contact of the same address; a ticket without card is counted, of nobody."""
    for name in ("store_tickets.csv", "store_cards.csv", "crm_contacts.csv"):
        shutil.copy(FIXTURES / name, tmp_path)
    load(run, [*adapter("store").contracts, *adapter("crm").contracts], tmp_path)
    with closing(run.engine()) as engine:
        now = identity.resolve(identity.records(engine), run_id=run.run_id).membership
    owner = now[now["known_to"].isna()].set_index("record_id")["person_id"]
    assert owner["L1"] == owner["C1"] != owner["ticket:K2"]
    orders = rows("SELECT order_id, record_id, node_type FROM orders JOIN nodes USING (node_id) ORDER BY 1")
    assert orders.to_numpy().tolist() == [["K1", "L1", "card"], ["K2", "ticket:K2", "anonymous"]]
