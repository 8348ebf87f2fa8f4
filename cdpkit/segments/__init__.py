"""Who to act on: rules, audiences, why each candidate was left out, segments, and the file that leaves."""

from cdpkit.segments import asked
from cdpkit.segments.audience import Audience, AudienceResult, build
from cdpkit.segments.contact import reach
from cdpkit.segments.destinations import Destination, Processor
from cdpkit.segments.export import export, plan
from cdpkit.segments.offers import Offer
from cdpkit.segments.people import count, explain, members
from cdpkit.segments.rule import Rule
from cdpkit.segments.selection import Selection, combine, overlap

__all__ = [
    "Audience",
    "AudienceResult",
    "Destination",
    "Offer",
    "Processor",
    "Rule",
    "Selection",
    "asked",
    "build",
    "combine",
    "count",
    "explain",
    "export",
    "members",
    "overlap",
    "plan",
    "reach",
]
