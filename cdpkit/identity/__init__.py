"""One customer reference: who is who, why, since when, and under which id."""

from cdpkit.identity.claim import Previous
from cdpkit.identity.decisions import decide, link_decisions, unmerge
from cdpkit.identity.explain import Explanation
from cdpkit.identity.graph import connected
from cdpkit.identity.hygiene import Hygiene, IdentifierType
from cdpkit.identity.metrics import agreement
from cdpkit.identity.report import audit
from cdpkit.identity.resolution import Resolution, resolve
from cdpkit.identity.scoring import ScoringModel
from cdpkit.identity.spread import Spread, resolve_spread
from cdpkit.identity.tables import previous, records, store
from cdpkit.identity.validity import expiring

__all__ = [
    "Explanation",
    "Hygiene",
    "IdentifierType",
    "Previous",
    "Resolution",
    "ScoringModel",
    "Spread",
    "agreement",
    "audit",
    "connected",
    "decide",
    "expiring",
    "link_decisions",
    "previous",
    "records",
    "resolve",
    "resolve_spread",
    "store",
    "unmerge",
]
