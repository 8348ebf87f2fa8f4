"""The Complete Journey: one year of an American grocer's households, campaigns and coupons (CC0)."""

from __future__ import annotations

from cdpkit.sources.contract import Contract, shipped


def contracts() -> list[Contract]:
    """Return the contract of the public Parquet files."""
    return [shipped("complete_journey")]
