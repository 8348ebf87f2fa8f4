"""True persons: households, the sources they appear in, and the latents that drive them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from cdpkit.world import places
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
#: Persons of a block: households do not reach beyond.
BLOCK = 12

#: Local hour preferences: early, working hours, lunch, evening, night, week-end mornings.
_ARCHETYPES = ((7.5, 1.6), (10.5, 2.2), (12.8, 1.2), (20.2, 1.7), (22.6, 1.8), (17.0, 3.5))
#: Dated changes of behaviour, and the control group in which nothing changes.
CHANGES = ("visits up", "visits down", "spends less", "reacts less", "control")
SPENDS_LESS = CHANGES.index("spends less")
#: Days between two welcome messages, drawn once a person.
GAPS = (1, 2, 3, 5, 8)
_ARCHETYPE_SHARE = (0.10, 0.16, 0.13, 0.36, 0.13, 0.12)


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
    city: np.ndarray
    postcode: np.ndarray
    wealth: np.ndarray
    price: np.ndarray
    channel: np.ndarray
    sms_until: np.ndarray
    change: np.ndarray
    change_day: np.ndarray
    upgrade_day: np.ndarray
    arm: np.ndarray
    media: np.ndarray
    order: np.ndarray
    gap: np.ndarray
    contract_day: np.ndarray

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
    block, place = unit // BLOCK, unit % BLOCK
    pattern = Draws(seed, block).pick(np.ones(len(_PATTERNS)), "household pattern")
    number = np.stack([np.repeat(np.arange(len(p)), p) for p in _PATTERNS])
    first = np.concatenate([np.ones((len(_PATTERNS), 1), bool), np.diff(number, axis=1) > 0], axis=1)
    return block * BLOCK + number[pattern, place], first[pattern, place]


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
    market = plan.rules.market
    unit = np.arange(low, high)
    me, n = Draws(plan.seed, unit), high - low
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
    together = population.shared_need
    loyal = rule.loyalty * (
        np.sqrt(1 - together) * me.normal("loyalty") + np.sqrt(together) * home.normal("loyalty")
    )
    effect = np.where(kind > 1 - mail.sleeping_dog, mail.sleeping_dog_effect, effect)
    contact_day = np.where(existing, born, born + me.exponential(25.0, "contact delay").astype(np.int64))
    city, postcode = places.home(plan.seed, household)
    wealth = market.area * places.wealth(plan.seed, postcode) + np.sqrt(1 - market.area**2) * home.normal(
        "wealth"
    )
    tier = market.tier + market.tier_spread * (
        market.rich * wealth + (1 - market.rich**2) ** 0.5 * me.normal("tier")
    )
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
        tolerance=np.exp(mail.tolerance_spread * me.normal("tolerance")),
        machine=me.chance(mail.machine, "machine"),
        tier=np.clip(tier, 0, 3),
        returns=np.exp(plan.rules.orders.return_spread * me.normal("returns")),
        archetype=me.pick(np.array(_ARCHETYPE_SHARE), "archetype") if rule.rhythms else np.zeros(n, np.int64),
        privacy=me.uniform("privacy"),
        taste=market.taste * np.stack([me.normal("taste", k) for k in range(RANK)], axis=1),
        city=city,
        postcode=postcode,
        wealth=wealth,
        price=np.exp(-market.price_wealth * wealth + market.price_spread * me.normal("price")),
        channel=me.pick(np.array(plan.rules.slots.preferred), "preferred channel"),
        sms_until=_sms_until(plan, me, contact_day),
        **_dated(plan, me, existing, born, loyal),
        media=np.exp(plan.rules.ads.spread * np.stack([me.normal("media", k) for k in range(6)], axis=1)),
        order=np.argsort(np.stack([me.uniform("welcome order", k) for k in range(5)], axis=1), axis=1),
        gap=np.where(
            me.chance(plan.rules.welcome.share, "welcomed"),
            np.array(GAPS)[me.pick(np.ones(len(GAPS)), "welcome gap")],
            0,
        ),
        contract_day=_contract_day(plan, me, contact_day),
    )


def rungs(
    plan: Plan, persons: Persons, index: np.ndarray, day: int | np.ndarray, ahead: int = 0
) -> np.ndarray:
    """Return the rung of the range that persons prefer on days, or will `ahead` days later."""
    rule = plan.rules
    up = rule.upgrade.rungs * (persons.upgrade_day[index] <= np.asarray(day) + ahead)
    less = (persons.change[index] == SPENDS_LESS) & (persons.change_day[index] <= day)
    return np.clip(persons.tier[index] + up - 1.5 * rule.change.size * less, 0, 3)


def _sms_until(plan: Plan, me: Draws, contact_day: np.ndarray) -> np.ndarray:
    """Return the day until which persons may be sent text messages; long ago if never."""
    rule = plan.rules.consents
    yes = me.chance(rule.sms, "consent", 1) & ~me.chance(plan.rules.quality.missing_phone, "no phone", 0)
    change = contact_day + (me.uniform("change day", 1) * 500).astype(np.int64)
    until = np.where(me.chance(rule.changed, "consent changes", 1), change, 10**6)
    return np.where(yes, until, -(10**6))


def _dated(plan: Plan, me: Draws, existing: np.ndarray, born: np.ndarray, loyal: np.ndarray) -> dict:
    """Return what happens to persons at a date of their own: a change, an upgrade, a programme's arm."""
    change, upgrade, test = plan.rules.change, plan.rules.upgrade, plan.rules.programme
    u = me.uniform("change")
    cut = np.cumsum([*change.shares, change.control])
    kind = np.searchsorted(cut, u, side="right")
    kind = np.where(existing, kind, len(CHANGES))
    day = (plan.days * (0.35 + 0.4 * me.uniform("change day"))).astype(np.int64)
    rate = np.maximum(upgrade.rate * np.exp(upgrade.loyalty * loyal), 1e-12)
    wait = np.minimum(me.exponential(1.0, "upgrade") / rate, 10**6).astype(np.int64)
    arm = me.pick(np.array(test.shares), "programme arm")
    enrolled = existing & me.chance(test.enrolled, "enrolled")
    return {
        "change": kind,
        "change_day": np.where(kind < len(CHANGES), day, 10**6),
        "upgrade_day": np.maximum(born, 0) + wait,
        "arm": np.where(enrolled, arm, -1),
    }


def _contract_day(plan: Plan, me: Draws, contact_day: np.ndarray) -> np.ndarray:
    """Return the day a contact signs a contract; far away if never."""
    rule = plan.rules.contracts
    # A contract in force at the start began on any day of its term.
    day = -(me.uniform("contract day") * rule.term_days).astype(np.int64) - 1
    day = np.where(contact_day < 0, np.maximum(day, contact_day + 1), contact_day + 7)
    holds = me.chance(plan.rules.population.crm_share, "contact") & me.chance(rule.share, "contract")
    return np.where(holds, day, 10**6)
