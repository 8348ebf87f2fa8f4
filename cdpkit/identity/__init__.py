"""One customer reference: who is who, why, since when, and under which id."""

from cdpkit.identity.agreements import Agreement
from cdpkit.identity.claim import Previous
from cdpkit.identity.cookies import cookie_matches, match_decay, match_rate
from cdpkit.identity.decisions import decide, link_decisions, unmerge
from cdpkit.identity.explain import Explanation
from cdpkit.identity.graph import connected
from cdpkit.identity.hygiene import Hygiene, IdentifierType
from cdpkit.identity.inferred import infer
from cdpkit.identity.levels import IdentityLevels, identity_levels
from cdpkit.identity.lookup import Directory, Found, lookup
from cdpkit.identity.metrics import agreement
from cdpkit.identity.onboarding import onboard, side
from cdpkit.identity.people import partner_sources, per_cookie, populations, presence
from cdpkit.identity.profile import Profile, profile_360
from cdpkit.identity.profiles import profiles_360
from cdpkit.identity.report import audit
from cdpkit.identity.resolution import Resolution, resolve
from cdpkit.identity.rooms import clean_room, partner_keys, second_party
from cdpkit.identity.scoring import ScoringModel
from cdpkit.identity.spread import Spread, resolve_spread
from cdpkit.identity.stitching import back_filled
from cdpkit.identity.subject import subject_file
from cdpkit.identity.tables import previous, records, store
from cdpkit.identity.validity import expiring

__all__ = [
    "Agreement",
    "Directory",
    "Explanation",
    "Found",
    "Hygiene",
    "IdentifierType",
    "IdentityLevels",
    "Previous",
    "Profile",
    "Resolution",
    "ScoringModel",
    "Spread",
    "agreement",
    "audit",
    "back_filled",
    "clean_room",
    "connected",
    "cookie_matches",
    "decide",
    "expiring",
    "identity_levels",
    "infer",
    "link_decisions",
    "lookup",
    "match_decay",
    "match_rate",
    "onboard",
    "partner_keys",
    "partner_sources",
    "per_cookie",
    "populations",
    "presence",
    "previous",
    "profile_360",
    "profiles_360",
    "records",
    "resolve",
    "second_party",
    "side",
    "resolve_spread",
    "store",
    "subject_file",
    "unmerge",
]
