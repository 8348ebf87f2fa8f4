"""Governance: what is held, where it came from, for how long, and what depends on it."""

from cdpkit.governance.catalogue import catalogue, page, retention
from cdpkit.governance.inputs import inputs, usage
from cdpkit.governance.lineage import Lineage

__all__ = ["Lineage", "catalogue", "inputs", "page", "retention", "usage"]
