"""A French retailer's systems and what partners report, as the synthetic world exports them."""

from __future__ import annotations

from cdpkit.sources.contract import Contract, shipped

#: Catalogue and customer files first: a node is then numbered where it is described.
SYSTEMS = (
    "crm", "shop", "store", "web", "email", "calls", "catalogue",
    "direct", "surveys", "social", "ads", "open_data",
)  # fmt: skip


def contracts() -> list[Contract]:
    """Return one contract a system."""
    return [shipped(system) for system in SYSTEMS]
