"""Presets: other sectors are the same world under other parameters and words."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import pytest

from cdpkit import world
from cdpkit.world import World
from cdpkit.world.exports import NAMES

SECTORS = ("travel", "insurance", "bank", "health", "b2b")


@pytest.fixture(scope="module")
def sectors() -> dict[str, World]:
    """A small world of each sector."""
    return {
        name: world.generate(400, seed=7, preset=name, start="2025-06-01", end="2026-04-01")
        for name in SECTORS
    }


@pytest.mark.parametrize("name", SECTORS)
def test_a_sector_has_its_own_catalogue_and_all_exports(sectors: dict[str, World], name: str) -> None:
    """Every sector fills the exports of the others, with categories of its own."""
    made, retail = sectors[name], world.generate(5, start="2025-06-01", end="2025-07-01")
    assert set(made.raw) <= set(NAMES) and set(retail.raw) <= set(made.raw)
    assert not set(made.raw["products"].category) & set(retail.raw["products"].category)
    for export in ("crm_contacts", "web_events", "shop_orders", "email_log", "quotes", "contracts"):
        assert len(made.raw[export]) > 0, export


def test_the_health_crm_marks_its_sensitive_fields(sectors: dict[str, World]) -> None:
    """Sensitive fields are in the contacts and described as such; the retailer's contacts have none."""
    fields = sectors["health"].raw["crm_fields"]
    assert (fields["class"] == "sensitive").all() and len(fields) == 3
    assert set(fields.field) <= set(sectors["health"].raw["crm_contacts"].columns)
    assert sectors["health"].raw["crm_contacts"][list(fields.field)].notna().any().all()
    bank = sectors["bank"].raw["crm_fields"].set_index("field")["class"]
    assert bank["payment_incident"] == "sensitive" and bank["income_band"] == "personal"
    assert "crm_fields" not in sectors["travel"].raw


def test_each_sector_has_what_makes_it_one(sectors: dict[str, World]) -> None:
    """Departures to come in travel, contracts that end in insurance and banking, companies in b2b."""
    booked = sectors["travel"].raw["bookings"]
    assert len(booked) == len(sectors["travel"].raw["shop_orders"])
    assert (booked.starts_at > booked.booked_at).all() and (booked.starts_at > "2026-04-01").any()
    for name in ("insurance", "bank"):
        held = sectors[name].raw["contracts"]
        assert held.policy_id.nunique() > 150 and held.cancelled_at.notna().any()
    firms, roles = sectors["b2b"].raw["crm_companies"], sectors["b2b"].raw["crm_positions"]
    assert firms.company_id.is_unique and set(roles.company_id) <= set(firms.company_id)
    assert roles.groupby("company_id").size().max() > 2
    assert set(roles.contact_id) == set(sectors["b2b"].raw["crm_contacts"].contact_id)


def test_presets_list_only_what_they_change() -> None:
    """No preset repeats a value of retail, and each has its place in the list."""
    table = tomllib.loads(files("cdpkit.world").joinpath("presets.toml").read_text(encoding="utf-8"))
    assert set(world.presets()) == set(table) == {*SECTORS, "retail", "drift", "null", "null_effects"}
    for name, sections in table.items():
        for section, values in sections.items():
            for parameter, value in values.items():
                assert name == "retail" or value != table["retail"][section][parameter], (
                    name,
                    section,
                    parameter,
                )
