"""Policies of sends: to whom campaigns go, when, how, and how many at most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdpkit.errors import CdpkitError
from cdpkit.world import sending
from cdpkit.world.behaviour import Behaviour, State
from cdpkit.world.plan import Campaign

#: Days of sends a policy may look back on.
MEMORY = 28
#: A replicate's units are the persons' own plus its number times this, so that it meets other luck.
COPY = 1 << 30


@dataclass(frozen=True)
class Moment:
    """What a policy may look at on the day of a campaign, one value a person.

    Attributes
    ----------
    person : array of int
        Numbers of the persons.
    day : int
        Day of the world.
    campaign : Campaign
        What is sent.
    since_visit : array of int
        Days since the last visit; large if never.
    sent : array of int
        Messages sent within the `MEMORY` days before.
    truth : Behaviour, State
        The latents: for oracles only.
    """

    person: np.ndarray
    day: int
    campaign: Campaign
    since_visit: np.ndarray
    sent: np.ndarray
    truth: tuple[Behaviour, State]


#: One value for all, one a person (a Series indexed by person), or a function of the moment.
Choice = float | pd.Series | Callable[[Moment], np.ndarray] | None


@dataclass(frozen=True)
class Sends:
    """A policy of campaign sends: to whom, when, how, and how many at most.

    What is left out follows the retailer's own practice, so ``Sends()`` is what happened. The welcome
    series of new contacts is outside: it is sent under every policy.

    Parameters
    ----------
    who : number, Series or callable, optional
        Chance of being sent a campaign.
    hour : number, Series or callable, optional
        UTC hour; see `cdpkit.world.sending.SLOTS`.
    channel, variant : number, Series or callable, optional
        Place in `cdpkit.world.sending.CHANNELS`; 0 (A) or 1 (B).
    cap : number, Series or callable, optional
        Messages within `days`, beyond which nothing is sent; the welcome series counts.
    days : int
        Days the cap counts, the day of the campaign included; at most `MEMORY`.
    campaigns : int, optional
        Campaigns governed; afterwards the practice as usual. By default all.

    Raises
    ------
    CdpkitError
        If `days` is not between 1 and `MEMORY`.

    Examples
    --------
    >>> Sends(who=1.0, cap=2, days=7).cap
    2
    """

    who: Choice = None
    hour: Choice = None
    channel: Choice = None
    variant: Choice = None
    cap: Choice = None
    days: int = 7
    campaigns: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.days <= MEMORY:
            raise CdpkitError(f"`days` must lie between 1 and {MEMORY}", got=str(self.days))


PRACTICE, EVERYBODY, NOBODY = Sends(), Sends(who=1.0), Sends(who=0.0)


class Hand:
    """A policy at play with some persons: it knows what it sent."""

    def __init__(self, policy: Sends, behaviour: Behaviour, before: dict[int, np.ndarray]) -> None:
        self.policy, self.behaviour, self.past, self.played = policy, behaviour, dict(before), 0
        self.person = behaviour.persons.unit % COPY

    def _sent(self, day: int, days: int) -> np.ndarray:
        """Return the messages each person was sent within so many days, the day itself included."""
        rows = [index for at, index in self.past.items() if day - days < at < day]
        return np.bincount(np.concatenate([*rows, np.zeros(0, np.int64)]), minlength=len(self.person))

    def __call__(self, state: State, campaign: Campaign) -> sending.Action:
        """Return what is done with each person on the day of a campaign."""
        rule, behaviour, day = self.policy, self.behaviour, campaign.day
        arm = behaviour.draws.chance(behaviour.plan.rules.messages.random_share, "arm", day)
        send = sending.propensity(behaviour, state, arm)
        self.played += 1
        if rule.campaigns is not None and self.played > rule.campaigns:
            return sending.Action(send)
        now = Moment(self.person, day, campaign, state.seen, self._sent(day, MEMORY), (behaviour, state))
        usual = sending.default_action(behaviour, day, campaign, self._value(rule.who, now, send))
        send = usual.send
        if rule.cap is not None:
            cap = self._value(rule.cap, now, np.full(len(send), np.inf))
            send = np.where(self._sent(day, rule.days) < cap, send, 0.0)
        parts = (
            self._value(choice, now, default).astype(np.int64)
            for choice, default in (
                (rule.hour, usual.hour),
                (rule.channel, usual.channel),
                (rule.variant, usual.variant),
            )
        )
        return sending.Action(send, *parts)

    def _value(self, choice: Choice, now: Moment, usual: np.ndarray) -> np.ndarray:
        """Return a choice for each person; where it has none, the usual."""
        if choice is None:
            return usual
        if isinstance(choice, pd.Series):
            given = choice.reindex(self.person).to_numpy(dtype=float)
        else:
            given = np.asarray(choice(now) if callable(choice) else choice, dtype=float)
        return np.where(np.isnan(given), usual, given)

    def note(self, day: int, index: np.ndarray) -> None:
        """Remember who was sent something on a day."""
        self.past[day] = index
        self.past.pop(day - MEMORY, None)
