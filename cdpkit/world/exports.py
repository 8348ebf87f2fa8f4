"""The raw files: their names, dialects and columns, and how they are written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

#: Files of the systems set up in French: semicolon, decimal comma, local time.
FRENCH = (
    "crm_contacts",
    "crm_consents",
    "crm_preferences",
    "crm_updates",
    "crm_merges",
    "crm_fields",
    "crm_companies",
    "crm_positions",
    "store_cards",
    "store_tickets",
)

#: Exports of some presets only: a sector's, or what a fault left.
SOMETIMES = ("crm_fields", "crm_companies", "crm_positions", "web_events_v2")

#: Every export, in the order of writing.
NAMES = (
    *FRENCH,
    "shop_accounts",
    "web_events",
    "web_events_v2",
    "web_consents",
    "shop_orders",
    "shop_order_lines",
    "email_log",
    "direct_log",
    "assignments",
    "calls",
    "inbound_emails",
    "quotes",
    "contracts",
    "bookings",
    "watchlists",
    "reviews",
    "surveys",
    "social",
    "ad_touches",
    "ad_spend",
    "cookie_matches",
    "products",
    "prices_stock",
    "weather",
    "holidays",
    "areas",
)


def file_name(name: str) -> str:
    """Return the file of an export.

    Examples
    --------
    >>> file_name("web_events"), file_name("calls")
    ('web_events.parquet', 'calls.csv')
    """
    return name + (".parquet" if name.startswith("web_events") else ".csv")


def write_raw(tables: dict[str, pa.Table], folder: Path) -> list[Path]:
    """Write exports as their systems do; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in NAMES:
        if name not in tables:
            continue
        path = folder / file_name(name)
        if path.suffix == ".parquet":
            pyarrow.parquet.write_table(tables[name], path, compression="zstd", row_group_size=500_000)
        else:
            mark = ";" if name in FRENCH else ","
            options = pyarrow.csv.WriteOptions(delimiter=mark, quoting_style="needed", quoting_header="none")
            pyarrow.csv.write_csv(tables[name], path, options)
        written.append(path)
    return written


def write_truth(tables: dict[str, pa.Table], folder: Path) -> list[Path]:
    """Write truth tables as Parquet; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, table in tables.items():
        path = folder / f"{name}.parquet"
        pyarrow.parquet.write_table(table, path, compression="zstd")
        written.append(path)
    return written
