"""Governance: what is held, where it came from, for how long, and what depends on it."""

from cdpkit.governance.catalogue import catalogue, page, retention
from cdpkit.governance.expiry import due, expire, past_files
from cdpkit.governance.inputs import inputs, usage
from cdpkit.governance.lineage import Lineage
from cdpkit.governance.trace import trace

__all__ = [
    "Lineage", "catalogue", "due", "expire", "inputs", "page", "past_files", "retention", "trace", "usage",
]  # fmt: skip
