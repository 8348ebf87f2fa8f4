"""UCI Online Retail: the lines of a British gift retailer, 2010-12 to 2011-12 (CC BY 4.0)."""

from __future__ import annotations

from cdpkit.sources.contract import Contract, shipped


def contracts() -> list[Contract]:
    """Return the contract of the public file, as CSV or Parquet."""
    return [shipped("online_retail")]
