"""One customer reference: who is who, why, since when, and under which id."""

from cdpkit.identity.claim import Previous
from cdpkit.identity.hygiene import Hygiene, IdentifierType
from cdpkit.identity.metrics import agreement
from cdpkit.identity.report import audit
from cdpkit.identity.resolution import Resolution, resolve
from cdpkit.identity.tables import previous, records, store

__all__ = [
    "Hygiene",
    "IdentifierType",
    "Previous",
    "Resolution",
    "agreement",
    "audit",
    "previous",
    "records",
    "resolve",
    "store",
]
