"""Who to act on: audiences, why each candidate was left out, and the file that leaves."""

from cdpkit.segments.audience import Audience, AudienceResult, build
from cdpkit.segments.export import export

__all__ = ["Audience", "AudienceResult", "build", "export"]
