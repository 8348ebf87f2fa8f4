"""Moments: the hour at which each person reacts, and the channel by which."""

from cdpkit.models.moments.affinity import ChannelAffinity
from cdpkit.models.moments.rhythms import Rhythms
from cdpkit.models.moments.send_time import SendTime

__all__ = ["ChannelAffinity", "Rhythms", "SendTime"]
