"""The exports: what real systems would give, faults included."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cdpkit.world import World
from cdpkit.world.exports import FRENCH, NAMES, SOMETIMES, file_name

COLUMNS = {
    "crm_contacts": "contact_id first_name last_name gender birth_date email phone street postcode city country created_at acquisition_route",
    "crm_consents": "contact_id purpose channel status decided_at text_version",
    "shop_accounts": "account_id email first_name last_name phone created_at",
    "web_events": "event_id cookie_id account_id event_type ts received_at channel page product_id category brand query campaign_id referrer device quantity price currency dwell_ms scroll_share hover_ms mouse_moves idle_ms",
    "web_consents": "cookie_id purpose channel status decided_at text_version",
    "shop_orders": "order_id account_id ordered_at amount currency discount n_items campaign_id cancelled_at returned_at returned_amount loaded_at",
    "shop_order_lines": "order_id line_no account_id ordered_at product_id quantity unit_price currency",
    "store_cards": "loyalty_id first_name last_name email phone postcode issued_at",
    "store_tickets": "ticket_id line_no loyalty_id store_id sold_at product_id quantity unit_price",
    "email_log": "message_id recipient campaign_id variant propensity sent_at delivered_at bounced_at opened_at machine_open clicked_at unsubscribed_at complained_at",
    "direct_log": "message_id channel recipient campaign_id variant propensity sent_at delivered_at bounced_at opened_at clicked_at unsubscribed_at complained_at",
    "calls": "call_id phone called_at reason text resolved_at satisfaction",
    "crm_preferences": "contact_id preferred_channel preferred_period declared_at",
    "crm_updates": "contact_id field value updated_at",
    "crm_merges": "contact_id event into_contact_id decided_at",
    "assignments": "test_id contact_id assigned_at arm propensity",
    "inbound_emails": "inbound_id sender received_at reason text answered_at",
    "quotes": "quote_id email account_id asked_at channel product_id amount currency valid_until accepted_at declined_at need",
    "contracts": "contract_id policy_id contact_id signed_at channel product_id amount currency starts_at ends_at renewed_at cancelled_at cancel_reason",
    "bookings": "booking_id order_id account_id booked_at channel product_id amount currency starts_at ends_at cancelled_at",
    "watchlists": "account_id product_id kind added_at removed_at",
    "reviews": "review_id account_id written_at product_id rating text",
    "surveys": "response_id email answered_at survey question answer value",
    "social": "interaction_id handle email consent network kind topic text created_at",
    "ad_touches": "touch_id cookie_id partner_cookie_id partner channel campaign_id kind shown_at cost currency",
    "ad_spend": "day channel campaign_id impressions clicks cost currency",
    "cookie_matches": "cookie_id partner_cookie_id partner matched_at",
    "prices_stock": "product_id valid_from price currency stock",
    "weather": "day city rain_mm temperature_c",
    "holidays": "day name_fr name_en",
    "areas": "postcode city median_income upper_class_share population",
    "products": "product_id name category brand tags tier price currency updated_at",
}


def test_every_export_has_its_columns(retail: World) -> None:
    """Files and columns are those agreed with the loaders."""
    assert set(NAMES) - set(SOMETIMES) == set(COLUMNS)
    assert {name: " ".join(frame.columns) for name, frame in retail.raw.items()} == COLUMNS


@pytest.fixture(scope="module")
def files(retail: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    retail.write(folder / "raw", folder / "truth")
    return folder / "raw"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("web_events", *SOMETIMES)])
def test_files_read_back_as_written(retail: World, files: Path, name: str) -> None:
    """Each file holds the export, in its own dialect."""
    read = pd.read_csv(
        files / file_name(name), sep=";" if name in FRENCH else ",", dtype="str", keep_default_na=False
    )
    said = pd.DataFrame(
        {
            column: ["" if v is None else str(v) for v in retail.arrow[name][column].to_pylist()]
            for column in read
        }
    )
    pd.testing.assert_frame_equal(read, said, check_dtype=False)


def test_dates_have_the_dialect_of_their_system(retail: World) -> None:
    """French systems write local day-first dates, the others ISO in UTC."""
    raw = retail.raw
    assert raw["crm_contacts"].created_at.str.fullmatch(r"\d\d/\d\d/\d{4} \d\d:\d\d").all()
    assert raw["store_tickets"].unit_price.str.fullmatch(r"\d+,\d\d").all()
    assert raw["shop_orders"].ordered_at.str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()


def test_ids_are_unique_but_for_repeated_events(retail: World) -> None:
    """Keys are unique; a small share of the web events comes twice, under the same id."""
    keys = {
        "crm_contacts": "contact_id", "shop_accounts": "account_id", "store_cards": "loyalty_id",
        "shop_orders": "order_id", "email_log": "message_id", "calls": "call_id",
    }  # fmt: skip
    for name, key in keys.items():
        assert retail.raw[name][key].is_unique, name
    events = retail.raw["web_events"]
    repeats = events.event_id.duplicated().mean()
    assert 0.001 < repeats < 0.01
    once = events.drop(columns="received_at").drop_duplicates()
    assert once.event_id.is_unique


def test_events_arrive_after_they_happen_and_some_late(retail: World) -> None:
    """Every record is received after it happened, a few percent of them hours or days later."""
    events = retail.raw["web_events"]
    delay = events.received_at - events.ts
    assert (delay > pd.Timedelta(0)).all()
    assert 0.02 < (delay > pd.Timedelta(minutes=30)).mean() < 0.08
    assert (delay > pd.Timedelta(days=1)).any()


def test_the_funnel_narrows_and_keeps_its_order(retail: World) -> None:
    """Fewer add than view and fewer order than add; an order follows its checkout and its product."""
    events = retail.raw["web_events"].drop_duplicates("event_id")
    n = events.event_type.value_counts()
    assert n["Product Viewed"] > n["Product Added"] > n["Order Completed"] > 0
    bought = events[events.event_type == "Order Completed"]
    for step in ("Product Viewed", "Product Added", "Checkout Started", "Payment Info Entered"):
        before = pd.merge_asof(
            bought.sort_values("ts"),
            events.loc[events.event_type == step, ["cookie_id", "ts"]]
            .assign(at=lambda d: d.ts)
            .sort_values("ts"),
            on="ts",
            by="cookie_id",
        )
        assert ((before.ts - before["at"]) < pd.Timedelta(hours=2)).mean() > 0.99, step


def test_every_web_order_is_in_the_shop(retail: World) -> None:
    """Orders completed on the site and orders loaded agree, account by account."""
    events = retail.raw["web_events"].drop_duplicates("event_id")
    seen = events.loc[events.event_type == "Order Completed", "account_id"].value_counts()
    loaded = retail.raw["shop_orders"].account_id.value_counts()
    assert (seen.reindex(loaded.index).fillna(0) - loaded).abs().sum() <= 0.02 * loaded.sum()
    assert set(loaded.index) <= set(retail.raw["shop_accounts"].account_id)


def test_amounts_are_the_sum_of_the_lines(retail: World) -> None:
    """An order's amount is its lines less the discount."""
    orders, lines = retail.raw["shop_orders"].set_index("order_id"), retail.raw["shop_order_lines"]
    gross = (lines.unit_price.astype(float) * lines.quantity).groupby(lines.order_id).sum()
    paid = orders.amount.astype(float) + orders.discount.astype(float)
    assert (gross.reindex(paid.index) - paid).abs().max() < 0.005
    assert (orders.discount.astype(float) > 0).any()


def test_reactions_follow_the_sending(retail: World) -> None:
    """Each reaction comes after the one it needs; bounced mail is never opened by a human."""
    log = retail.raw["email_log"]
    assert log.bounced_at.notna().sum() and log.clicked_at.notna().sum()
    assert (log.bounced_at.notna() ^ log.delivered_at.notna()).all()
    assert (
        log.loc[log.bounced_at.notna(), ["opened_at", "clicked_at", "unsubscribed_at"]].isna().all(axis=None)
    )
    assert (log.clicked_at.isna() | (log.clicked_at > log.sent_at)).all()
    assert log.loc[log.clicked_at.notna(), "opened_at"].notna().all()
    # Welcome messages go to everybody new: no chance was drawn.
    drawn = ~log.campaign_id.str.startswith("WELCOME")
    assert (
        log.propensity[drawn].between(0, 1, inclusive="neither").all() and log.propensity[~drawn].isna().all()
    )


def test_records_carry_the_faults_of_real_ones(retail: World) -> None:
    """There are missing, placeholder, shared and hub addresses, capitals and several phone styles."""
    contacts = retail.raw["crm_contacts"]
    assert 0.05 < contacts.email.isna().mean() < 0.3
    assert contacts.email.isin(["test@test.com", "na", "-"]).any()
    shared = contacts.email.str.strip().str.lower().value_counts()
    assert shared["boutique.lyon@enseigne.example"] >= 5
    assert shared.index.str.startswith("famille.").any()
    assert contacts.last_name.str.isupper().any() and contacts.phone.str.contains(" ").any()
    assert contacts.phone.str.startswith("+33").any()


def test_a_contact_who_unsubscribed_is_no_longer_mailed(retail: World) -> None:
    """After an unsubscription the address receives nothing, and the CRM has the refusal."""
    log = retail.raw["email_log"]
    first = log.dropna(subset="unsubscribed_at").groupby("recipient").unsubscribed_at.min()
    mine = log[log.recipient.isin(first.index) & ~log.recipient.str.startswith("famille.")]
    assert (mine.sent_at <= mine.recipient.map(first)).all()
    refusals = retail.raw["crm_consents"].query("channel == 'email' and status == 'denied'")
    assert len(refusals) >= len(first)
