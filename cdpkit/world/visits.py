"""Visits: who came when, on which device and cookie, for persons, anonymous visitors and bots."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from cdpkit.world import columns, messages
from cdpkit.world.behaviour import CANCEL, HELP, MAIL
from cdpkit.world.draws import Draws, mix
from cdpkit.world.persons import Persons, hour_density
from cdpkit.world.plan import DAY, FIRST_BOT, FIRST_VISITOR, Plan

#: Devices of a person, by slot.
DEVICES = ("mobile", "desktop", "tablet", "app")
MOBILE, DESKTOP, TABLET, APP = range(4)
_GENERATIONS = 10
_CLICK_TO_LANDING = 3_000_000


@dataclass
class Visits:
    """Sessions, one row each, with everything the events of a session depend on."""

    unit: np.ndarray
    person: np.ndarray
    day: np.ndarray
    start: np.ndarray
    slot: np.ndarray
    cookie: np.ndarray
    key: np.ndarray
    origin: np.ndarray
    ordered: np.ndarray
    adds: np.ndarray
    signs_up: np.ndarray
    account: np.ndarray
    cart: np.ndarray
    episode: np.ndarray
    episode_no: np.ndarray
    wanted: np.ndarray
    cause: np.ndarray
    letter: np.ndarray
    z: np.ndarray

    def __len__(self) -> int:
        return len(self.unit)

    def __add__(self, other: Visits) -> Visits:
        return Visits(
            **{f.name: np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)}
        )

    @property
    def draws(self) -> Draws:
        """The luck of each session."""
        return Draws.keyed(self.key)

    @property
    def bot(self) -> np.ndarray:
        """Whether the unit is a bot."""
        return self.unit >= FIRST_BOT

    @property
    def from_mail(self) -> np.ndarray:
        """Whether the session follows a click in a message."""
        return self.origin == MAIL

    @property
    def errand(self) -> np.ndarray:
        """Whether the visit is made to cancel or to find help, not to buy."""
        return (self.origin == CANCEL) | (self.origin == HELP)

    @property
    def known(self) -> np.ndarray:
        """Whether the session can be signed in: the person has an account, or opens one now."""
        return self.account | self.signs_up | self.ordered


def cookie(plan: Plan, owner: np.ndarray, slot: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Return the cookie word of devices at days: cookies die and are replaced, an app's does not."""
    device = Draws(plan.seed, owner + (1 << 44))
    mean = plan.rules.population.cookie_days
    end = -60.0 + device.uniform("cookie age", slot) * min(mean, 150.0)
    generation = np.zeros(len(owner), np.int64)
    for k in range(_GENERATIONS):
        end = end + 30.0 + device.exponential(mean, "cookie life", slot, k)
        generation += (end <= day) & (slot != APP)
    return device.bits("cookie", slot, generation)


def starts(plan: Plan, day: np.ndarray, archetype: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return instants from a share of the day's visits passed, in the person's rhythm."""
    midnight = plan.first + day * DAY
    summer = columns.paris_offset(midnight) == 2
    hours = np.empty(len(day))
    for offset in (1, 2):
        table, rows = hour_density(offset), summer == (offset == 2)
        cut = table[archetype[rows]]
        hour = np.minimum((cut <= share[rows, None]).sum(axis=1), 23)
        at = np.arange(len(hour))
        low = np.where(hour > 0, cut[at, hour - 1], 0.0)
        hours[rows] = hour + (share[rows] - low) / (cut[at, hour] - low)
    # Nobody starts in the last three quarters of an hour, so that a session ends on its own day.
    return midnight + (hours * (23.25 / 24) * 3.6e9).astype(np.int64)


def of_persons(
    plan: Plan, persons: Persons, facts: dict[str, np.ndarray], sends: dict[str, np.ndarray]
) -> Visits:
    """Return the visits of persons from the sessions and the messages the behaviour drew."""
    index, day = facts["person"], facts["day"]
    unit = persons.unit[index]
    me = Draws(plan.seed, unit)
    share = (facts["rank"] + me.uniform("session time", day, facts["rank"])) / facts["of"]
    start = starts(plan, day, persons.archetype[index], share)
    mailed = np.flatnonzero(facts["origin"] == MAIL)
    row = messages.rows_of(sends, index[mailed], day[mailed])
    hour, number = sends["hour"][row], sends["number"][row]
    letter = np.full(len(index), -1)
    letter[mailed] = np.where(number >= 0, persons.order[index[mailed], np.maximum(number, 0)], -1)
    start[mailed] = (
        messages.reaction_times(plan, me.take(mailed), day[mailed], hour).clicked + _CLICK_TO_LANDING
    )
    weight = np.stack(
        [
            np.full(len(index), 0.55),
            0.40 * persons.desktop[index],
            0.25 * persons.shared_device[index],
            0.60 * persons.app[index],
        ],
        axis=1,
    )
    slot = me.pick_row(
        np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True), "device", day, facts["rank"]
    )
    slot = np.where((facts["origin"] == MAIL) & (slot == APP), MOBILE, slot)
    owner = np.where(slot == TABLET, persons.household[index] + (1 << 42), unit)
    copied = (
        "origin", "ordered", "adds", "signs_up", "account", "cart", "episode", "episode_no", "wanted",
        "cause", "z",
    )  # fmt: skip
    return Visits(
        unit=unit,
        person=index,
        day=day,
        start=start,
        slot=slot,
        cookie=cookie(plan, owner, slot, day),
        key=me.bits("session", day, facts["rank"]),
        letter=letter,
        **{name: facts[name] for name in copied},
    )


def _unknown(plan: Plan, unit: np.ndarray, day: np.ndarray, rank: np.ndarray, bot: bool) -> Visits:
    me, n = Draws(plan.seed, unit), len(unit)
    slot = np.where(me.chance(0.3, "device"), DESKTOP, MOBILE) if not bot else np.full(n, DESKTOP)
    share = me.uniform("session time", day, rank)
    start = plan.first + day * DAY + (share * 23.25 * 3.6e9).astype(np.int64)
    if not bot:
        start = starts(plan, day, (me.uniform("archetype") * 6).astype(np.int64), share)
    no = np.zeros(n, bool)
    return Visits(
        unit=unit,
        person=np.full(n, -1),
        day=day,
        start=start,
        slot=slot,
        cookie=cookie(plan, unit, slot, day) if not bot else me.bits("cookie"),
        key=mix(me.bits("session", day, rank)),
        origin=np.zeros(n, np.int64),
        ordered=no,
        adds=no if bot else me.chance(0.04, "cart", day),
        signs_up=no,
        account=no,
        cart=no,
        episode=no,
        episode_no=np.zeros(n, np.int64),
        wanted=np.full(n, -1),
        cause=np.full(n, -1),
        letter=np.full(n, -1),
        z=np.zeros(n),
    )


def of_visitors(plan: Plan, low: int, high: int) -> Visits:
    """Return the visits of anonymous visitors `low` to `high` - 1: a few sessions within a month."""
    unit = FIRST_VISITOR + np.arange(low, high)
    me = Draws(plan.seed, unit)
    n = 1 + me.poisson(0.8, 5, "visits")
    first = (me.uniform("first visit") * plan.days).astype(np.int64)
    rank = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    unit, day = np.repeat(unit, n), np.repeat(first, n)
    wait = Draws(plan.seed, unit).exponential(9.0, "next visit", rank).astype(np.int64)
    day = day + np.where(rank > 0, 1 + wait, 0)
    keep = day < plan.days
    return _unknown(plan, unit[keep], day[keep], rank[keep], bot=False)


def of_bots(plan: Plan, low: int, high: int) -> Visits:
    """Return the visits of bots `low` to `high` - 1: several a day for some weeks, never an order."""
    unit = FIRST_BOT + np.arange(low, high)
    me = Draws(plan.seed, unit)
    length = (15 + 45 * me.uniform("length")).astype(np.int64)
    first = (me.uniform("first visit") * plan.days).astype(np.int64)
    n = length * 3
    rank = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    day = np.repeat(first, n) + rank // 3
    keep = day < plan.days
    return _unknown(plan, np.repeat(unit, n)[keep], day[keep], rank[keep], bot=True)
