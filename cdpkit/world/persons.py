"""True persons: households, the sources they appear in, and the latents that drive them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from cdpkit.world.catalogue import RANK
from cdpkit.world.draws import Draws
from cdpkit.world.plan import Plan

#: Household sizes of one block of twelve persons; a block draws one of these patterns.
_PATTERNS = (
    (1, 2, 4, 1, 3, 1),
    (2, 1, 5, 1, 2, 1),
    (1, 1, 2, 2, 4, 2),
    (3, 1, 1, 2, 1, 4),
    (2, 2, 1, 3, 1, 1, 2),
)
_BLOCK = 12

#: Local hour preferences: early, working hours, lunch, evening, night, week-end mornings.
_ARCHETYPES = ((7.5, 1.6), (10.5, 2.2), (12.8, 1.2), (20.2, 1.7), (22.6, 1.8), (17.0, 3.5))
_ARCHETYPE_SHARE = (0.10, 0.20, 0.15, 0.30, 0.12, 0.13)


@dataclass
class Persons:
    """Arrays aligned on persons; everything here is truth and never exported as such."""

    unit: np.ndarray
    household: np.ndarray
    head: np.ndarray
    born: np.ndarray
    gone: np.ndarray
    english: np.ndarray
    contact: np.ndarray
    contact_day: np.ndarray
    account0: np.ndarray
    card0: np.ndarray
    app: np.ndarray
    desktop: np.ndarray
    shared_device: np.ndarray
    session: np.ndarray
    buy: np.ndarray
    store: np.ndarray
    episode_rate: np.ndarray
    considered: np.ndarray
    episode_days: np.ndarray
    churn: np.ndarray
    effect: np.ndarray
    opens: np.ndarray
    clicks: np.ndarray
    tolerance: np.ndarray
    machine: np.ndarray
    tier: np.ndarray
    returns: np.ndarray
    archetype: np.ndarray
    privacy: np.ndarray
    taste: np.ndarray

    def __len__(self) -> int:
        return len(self.unit)

    def tile(self, n: int) -> Persons:
        """Return `n` copies of everybody, copy after copy."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return Persons(**{name: np.concatenate([column] * n) for name, column in columns.items()})


def households(seed: int, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the household of each person and whether the person is its first member.

    A person's household is found from the number alone, so chunks agree without talking.
    """
    block, place = unit // _BLOCK, unit % _BLOCK
    pattern = Draws(seed, block).pick(np.ones(len(_PATTERNS)), "household pattern")
    number = np.stack([np.repeat(np.arange(len(p)), p) for p in _PATTERNS])
    first = np.concatenate([np.ones((len(_PATTERNS), 1), bool), np.diff(number, axis=1) > 0], axis=1)
    return block * _BLOCK + number[pattern, place], first[pattern, place]


def hour_density(utc_offset: int) -> np.ndarray:
    """Return the cumulative share of each UTC hour for each archetype, at an offset from local time."""
    hours = np.arange(24) + 0.5
    rows = []
    for centre, width in _ARCHETYPES:
        gap = np.abs(hours - centre)
        gap = np.minimum(gap, 24 - gap)
        density = np.exp(-0.5 * (gap / width) ** 2) + 0.03 * ((hours > 7) & (hours < 23))
        rows.append(np.roll(density, -utc_offset))
    table = np.array(rows)
    return np.cumsum(table, axis=1) / table.sum(axis=1, keepdims=True)


def draw(plan: Plan, low: int, high: int) -> Persons:
    """Return persons `low` to `high` - 1 of a world."""
    population, rule, mail = plan.rules.population, plan.rules.behaviour, plan.rules.messages
    unit = np.arange(low, high)
    me = Draws(plan.seed, unit)
    household, head = households(plan.seed, unit)
    home = Draws(plan.seed, household + (1 << 42))
    existing = me.chance(population.existing, "existing")
    since = -1 - (me.uniform("since") * 1000).astype(np.int64)
    arrives = (me.uniform("arrival") * plan.days).astype(np.int64)
    born = np.where(existing, since, arrives)
    gone = (me.uniform("gone day") * plan.days).astype(np.int64)
    gone = np.where(me.chance(population.gone_share, "gone"), np.maximum(gone, born + 1), 10**6)
    considered = me.chance(rule.considered, "considered")
    kind = me.uniform("persuadable")
    effect = np.where(kind < mail.persuadable, mail.persuadable_effect, 0.0)
    loyal = rule.loyalty * me.normal("loyalty")
    effect = np.where(kind > 1 - mail.sleeping_dog, mail.sleeping_dog_effect, effect)
    contact_day = np.where(existing, born, born + me.exponential(25.0, "contact delay").astype(np.int64))
    return Persons(
        unit=unit,
        household=household,
        head=head,
        born=born,
        gone=gone,
        english=home.chance(population.english, "english"),
        contact=me.chance(population.crm_share, "contact"),
        contact_day=contact_day,
        account0=existing & me.chance(population.account_existing, "account"),
        card0=existing & me.chance(population.card_existing, "card"),
        app=me.chance(population.app_share, "app"),
        desktop=me.chance(population.desktop_share, "desktop"),
        shared_device=home.chance(population.shared_device, "tablet"),
        session=np.log(rule.session_rate)
        + rule.loyalty_session * loyal
        + rule.session_spread * me.normal("session"),
        buy=rule.buy_logit + rule.loyalty_buy * loyal + rule.buy_spread * me.normal("buy"),
        store=np.where(
            me.chance(rule.store_share, "store"),
            np.log(rule.store_rate)
            + rule.loyalty_store * loyal
            + rule.store_spread * me.normal("store rate"),
            -np.inf,
        ),
        episode_rate=rule.episode_rate
        * np.exp(rule.loyalty_episode * loyal + rule.episode_spread * me.normal("episode")),
        considered=considered,
        episode_days=np.where(considered, rule.episode_days_considered, rule.episode_days_impulsive),
        churn=rule.churn_rate * np.exp(rule.churn_spread * me.normal("churn")),
        effect=effect,
        opens=mail.open_logit + mail.open_spread * me.normal("opens"),
        clicks=mail.click_logit + mail.click_spread * me.normal("clicks"),
        tolerance=np.exp(0.5 * me.normal("tolerance")),
        machine=me.chance(mail.machine, "machine"),
        tier=np.clip(1.2 + 0.8 * me.normal("tier"), 0, 3),
        returns=np.exp(plan.rules.orders.return_spread * me.normal("returns")),
        archetype=me.pick(np.array(_ARCHETYPE_SHARE), "archetype"),
        privacy=me.uniform("privacy"),
        taste=np.stack([me.normal("taste", k) for k in range(RANK)], axis=1),
    )
