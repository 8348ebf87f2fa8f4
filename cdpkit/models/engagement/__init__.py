"""Deliverability: what a message meets, by whose mailbox, what to mend in it, whom to leave alone."""

from cdpkit.models.engagement.history import OUTCOMES, history
from cdpkit.models.engagement.message import check_message, message_score
from cdpkit.models.engagement.providers import (
    COMPLAINTS_GOOD,
    COMPLAINTS_MOST,
    control_chart,
    provider,
    providers,
    reputation,
)
from cdpkit.models.engagement.score import EngagementScore, saved
from cdpkit.models.engagement.sunset import SUNSET, sunset

__all__ = [
    "COMPLAINTS_GOOD",
    "COMPLAINTS_MOST",
    "OUTCOMES",
    "SUNSET",
    "EngagementScore",
    "check_message",
    "control_chart",
    "history",
    "message_score",
    "provider",
    "providers",
    "reputation",
    "saved",
    "sunset",
]
