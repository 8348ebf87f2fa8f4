"""Campaign e-mails: when each was sent, delivered, opened, clicked, and who gave up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cdpkit.world import columns
from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons
from cdpkit.world.plan import DAY, Plan

_SECOND, _MINUTE = 1_000_000, 60_000_000
#: Reactions stay within the day they were drawn for.
_LATEST = DAY - 45 * _MINUTE


@dataclass
class Times:
    """Instants of one message, whether or not each happened, in UTC microseconds."""

    sent: np.ndarray
    delivered: np.ndarray
    bounced: np.ndarray
    machine: np.ndarray
    opened: np.ndarray
    clicked: np.ndarray
    stopped: np.ndarray
    complained: np.ndarray


def reaction_times(plan: Plan, me: Draws, day: np.ndarray) -> Times:
    """Return when the day's message would be sent and reacted to; a day without campaign uses noon."""
    hours = np.full(int(day.max(initial=0)) + 1, 12)
    for at, campaign in plan.campaigns.items():
        if 0 <= at < len(hours):
            hours[at] = campaign.hour
    midnight = plan.first + day * DAY
    sent = hours[day] * 3600 * _SECOND + (me.uniform("send minute", day) * 25 * _MINUTE).astype(np.int64)
    delivered = sent + (1 + 20 * me.uniform("delivery", day)).astype(np.int64) * _SECOND
    wait = np.exp(np.log(70.0) + 1.3 * me.normal("open delay", day)) * _MINUTE
    opened = np.minimum(delivered + wait.astype(np.int64), _LATEST - 5 * _MINUTE)
    click = opened + (5 + 90 * me.uniform("click delay", day)).astype(np.int64) * _SECOND
    regret = (me.uniform("stop delay", day) * 3 * _MINUTE).astype(np.int64)
    return Times(
        sent=midnight + sent,
        delivered=midnight + delivered,
        bounced=midnight + delivered + 2 * _SECOND,
        machine=midnight + delivered + (30 + 600 * me.uniform("proxy", day)).astype(np.int64) * _SECOND,
        opened=midnight + opened,
        clicked=midnight + click,
        stopped=midnight + opened + regret,
        complained=midnight + opened + regret + 10 * _SECOND,
    )


@dataclass
class Messages:
    """Messages sent, with the truth beside."""

    key: np.ndarray
    person: np.ndarray
    facts: dict[str, np.ndarray]
    times: Times
    log: pa.Table

    @property
    def stops(self) -> np.ndarray:
        """Whether the message ended the subscription."""
        return self.facts["stops"] | self.facts["complains"]


def build(plan: Plan, persons: Persons, sends: dict[str, np.ndarray], recipient: pa.Array) -> Messages:
    """Return the log of the messages sent.

    Parameters
    ----------
    plan : Plan
        The world.
    persons : Persons
        Their latents.
    sends : dict
        The sends the behaviour drew.
    recipient : Array
        Address used for each person.
    """
    index, day = sends["person"], sends["day"]
    me = Draws(plan.seed, persons.unit[index])
    times = reaction_times(plan, me, day)
    proxy = persons.machine[index] & ~sends["bounced"]
    seen = sends["opened"] | proxy
    opened_at = np.where(proxy, times.machine, times.opened)
    key = me.bits("message", day)
    names = {at: campaign.campaign_id for at, campaign in plan.campaigns.items() if 0 <= at < plan.days}
    place = {at: k for k, at in enumerate(names)}
    codes = np.array([place.get(at, -1) for at in range(plan.days)])[day]
    log = pa.table(
        {
            "message_id": columns.hexes(key, "m"),
            "recipient": recipient.take(pa.array(index)),
            "campaign_id": columns.words(codes, list(names.values())),
            "variant": columns.words(me.chance(0.5, "variant", day).astype(np.int64), ["A", "B"]),
            "propensity": pa.array(np.round(sends["propensity"], 4)),
            "sent_at": columns.iso(times.sent),
            "delivered_at": columns.iso(times.delivered, ~sends["bounced"]),
            "bounced_at": columns.iso(times.bounced, sends["bounced"]),
            "opened_at": columns.iso(opened_at, seen),
            "machine_open": pa.array(np.where(seen, proxy, False).astype(np.int64), mask=~seen),
            "clicked_at": columns.iso(times.clicked, sends["clicked"]),
            "unsubscribed_at": columns.iso(times.stopped, sends["stops"]),
            "complained_at": columns.iso(times.complained, sends["complains"]),
        }
    )
    return Messages(key, index, sends, times, log)
