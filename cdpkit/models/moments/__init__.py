"""Moments: the hour at which each person reacts."""

from cdpkit.models.moments.rhythms import Rhythms
from cdpkit.models.moments.send_time import SendTime

__all__ = ["Rhythms", "SendTime"]
