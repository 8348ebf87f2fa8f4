"""CDNOW: the purchases of one cohort of customers, 1997-01 to 1998-06 (Fader and Hardie)."""

from __future__ import annotations

from cdpkit.sources.contract import Contract, shipped


def contracts() -> list[Contract]:
    """Return the contract of the master file, packed or not."""
    return [shipped("cdnow")]
