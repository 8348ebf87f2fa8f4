"""Messages: when each was sent, delivered, opened, clicked, and who gave up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit.world import columns
from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons
from cdpkit.world.plan import DAY, Plan
from cdpkit.world.sending import CHANNELS, EMAIL, PUSH, SMS, WELCOME, campaign_names

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


def rows_of(sends: dict[str, np.ndarray], person: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Return the row of the message each person was sent on each day."""
    key = sends["person"] * 100_000 + sends["day"]
    order = np.argsort(key)
    return order[np.searchsorted(key[order], person * 100_000 + day)]


def reaction_times(plan: Plan, me: Draws, day: np.ndarray, hour: np.ndarray) -> Times:
    """Return when the day's message, sent at an hour, would be reacted to."""
    midnight = plan.first + day * DAY
    sent = hour * 3600 * _SECOND + (me.uniform("send minute", day) * 25 * _MINUTE).astype(np.int64)
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


def build(
    plan: Plan, persons: Persons, sends: dict[str, np.ndarray], recipients: list[pa.Array]
) -> tuple[Messages, Messages]:
    """Return the log of the e-mails sent, and that of the text messages and notifications.

    Parameters
    ----------
    plan : Plan
        The world.
    persons : Persons
        Their latents.
    sends : dict
        The sends the behaviour drew.
    recipients : list of Array
        Address of each person, channel by channel.
    """
    mailed = sends["channel"] == EMAIL
    parts = [{name: values[rows] for name, values in sends.items()} for rows in (mailed, ~mailed)]
    return (
        _log(plan, persons, parts[0], recipients, direct=False),
        _log(plan, persons, parts[1], recipients, direct=True),
    )


def _log(
    plan: Plan, persons: Persons, sends: dict[str, np.ndarray], recipients: list[pa.Array], direct: bool
) -> Messages:
    index, day, channel = sends["person"], sends["day"], sends["channel"]
    me = Draws(plan.seed, persons.unit[index])
    times = reaction_times(plan, me, day, sends["hour"])
    proxy = persons.machine[index] & ~sends["bounced"] & (not direct)
    seen = (sends["opened"] | proxy) & (channel != SMS)
    opened_at = np.where(proxy, times.machine, times.opened)
    key = me.bits("message", day)
    names, of_day = campaign_names(plan)
    letter = persons.order[index, np.maximum(sends["number"], 0)]
    codes = np.where(sends["number"] >= 0, len(names) - len(WELCOME) + letter, of_day[day])
    place = pa.array(index)
    if direct:
        recipient = pc.if_else(
            pa.array(channel == SMS), recipients[SMS].take(place), recipients[PUSH].take(place)
        )
    else:
        recipient = recipients[EMAIL].take(place)
    reactions = {
        "sent_at": columns.iso(times.sent),
        "delivered_at": columns.iso(times.delivered, ~sends["bounced"]),
        "bounced_at": columns.iso(times.bounced, sends["bounced"]),
        "opened_at": columns.iso(opened_at, seen),
        "machine_open": pa.array(np.where(seen, proxy, False).astype(np.int64), mask=~seen),
        "clicked_at": columns.iso(times.clicked, sends["clicked"]),
        "unsubscribed_at": columns.iso(times.stopped, sends["stops"]),
        "complained_at": columns.iso(times.complained, sends["complains"]),
    }
    if direct:
        reactions = {name: values for name, values in reactions.items() if name != "machine_open"}
    log = pa.table(
        {
            "message_id": columns.hexes(key, "m"),
            **({"channel": columns.words(channel, list(CHANNELS))} if direct else {}),
            "recipient": recipient,
            "campaign_id": columns.words(codes, names),
            "variant": columns.words(sends["variant"], ["A", "B"]),
            # A welcome message is not chosen: everybody new gets it.
            "propensity": pa.array(np.round(sends["propensity"], 4), mask=sends["number"] >= 0),
            **reactions,
        }
    )
    return Messages(key, index, sends, times, log)
