"""Offers: what is proposed, on which channels it may be, to whom, and who has it already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from cdpkit.errors import FaultsError
from cdpkit.schema import CHANNELS
from cdpkit.segments.rule import Rule


@dataclass(frozen=True)
class Offer:
    """One offer, and where and to whom it may be made.

    Parameters
    ----------
    name : str
    channels : tuple of str
        Channels on which it may be made; on any other it is never sent.
    products : tuple of str
        Products it proposes: whoever bought one within `bought_days` is left out.
    eligible : str, optional
        A rule over the fields; whoever does not meet it is left out.
    bought_days : int
        How long a purchase counts, in days.

    Raises
    ------
    FaultsError
        With every fault.

    Examples
    --------
    >>> card = Offer("premium card", channels=("email", "post"), eligible="age >= 18")
    >>> matrix([card], ["email", "sms"])["eligible"].tolist()
    [True, False]
    """

    name: str
    channels: tuple[str, ...]
    products: tuple[str, ...] = ()
    eligible: str | None = None
    bought_days: int = 365

    def __post_init__(self) -> None:
        unknown = sorted(set(self.channels) - set(CHANNELS))
        faults = [f"`channels` must be known channels; got {', '.join(unknown)}"] if unknown else []
        if not self.channels:
            faults.append("`channels` must name at least one channel")
        if self.bought_days < 1:
            faults.append(f"`bought_days` must be >= 1; got {self.bought_days}")
        if faults:
            raise FaultsError(f"offer {self.name!r}", faults)
        if self.eligible is not None:
            Rule.parse(self.eligible)


def matrix(offers: Sequence[Offer], channels: Sequence[str] = CHANNELS) -> pd.DataFrame:
    """Return which offer may be made on which channel.

    Returns
    -------
    DataFrame
        ``offer, channel, eligible``, a row a pair.
    """
    rows = [(offer.name, channel, channel in offer.channels) for offer in offers for channel in channels]
    return pd.DataFrame(rows, columns=["offer", "channel", "eligible"])
