"""The raw files: their names and dialects."""

from __future__ import annotations

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
