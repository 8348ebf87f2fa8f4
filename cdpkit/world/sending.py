"""Messages: whom a policy sends to, by which channel and when, and how people react."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cdpkit.world.persons import hour_density
from cdpkit.world.plan import Campaign, Plan

if TYPE_CHECKING:
    from cdpkit.world.behaviour import Behaviour, Facts, State

#: Channels of a message, and the UTC hours at which one may leave.
CHANNELS = ("email", "sms", "push")
EMAIL, SMS, PUSH = range(3)
SLOTS = (6, 8, 10, 12, 15, 17, 19, 20)

#: Messages of the welcome series.
WELCOME = ("A", "B", "C", "D", "E")


@dataclass
class Action:
    """What a policy does with each person on a campaign day.

    Attributes
    ----------
    send : array of float
        Chance of being sent.
    hour : array of int, optional
        UTC hour; by default the campaign's, or for some an hour drawn among `SLOTS`.
    channel : array of int, optional
        Place in `CHANNELS`; by default drawn among those allowed.
    variant : array of int, optional
        0 (A) or 1 (B); by default a fair coin.
    """

    send: np.ndarray
    hour: np.ndarray | None = None
    channel: np.ndarray | None = None
    variant: np.ndarray | None = None


#: A policy gives, for each person, the chance of being sent a campaign, or a whole action.
Policy = Callable[["State", Campaign], "np.ndarray | Action"]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the logistic function."""
    return 1.0 / (1.0 + np.exp(-x))


@lru_cache(maxsize=2)
def hour_fit(utc_offset: int) -> np.ndarray:
    """Return how well each UTC hour suits each archetype: 0 on average over the slots."""
    density = np.diff(hour_density(utc_offset), axis=1, prepend=0.0)
    fit = density / density.max(axis=1, keepdims=True)
    return fit - fit[:, list(SLOTS)].mean(axis=1, keepdims=True)


@dataclass
class _Chosen:
    """An action with nothing left open."""

    send: np.ndarray
    hour: np.ndarray
    channel: np.ndarray
    variant: np.ndarray


def default_action(
    behaviour: Behaviour, day: int, campaign: Campaign, chosen: np.ndarray | Action
) -> _Chosen:
    """Complete a policy's action by the retailer's practice: its hour and channels, partly random."""
    me, rule = behaviour.draws, behaviour.plan.rules.slots
    action = chosen if isinstance(chosen, Action) else Action(chosen)
    hour = np.full(len(me.base), campaign.hour)
    drawn = np.flatnonzero(me.chance(rule.random_hour, "slot arm", day))
    hour[drawn] = np.array(SLOTS)[me.take(drawn).pick(np.ones(len(SLOTS)), "slot", day)]
    channel = me.pick(np.array(rule.channels), "channel", day)
    variant = me.chance(0.5, "variant", day).astype(np.int64)
    return _Chosen(
        action.send,
        hour if action.hour is None else action.hour,
        channel if action.channel is None else action.channel,
        variant if action.variant is None else action.variant,
    )


def allowed(behaviour: Behaviour, state: State, day: int, index: np.ndarray) -> np.ndarray:
    """Return the channels each person may be sent a message by: (persons, channels)."""
    who = behaviour.persons
    return np.stack(
        [np.ones(len(index), bool), who.sms_until[index] > day, who.app[index] & state.account[index]], axis=1
    )


def send(
    behaviour: Behaviour, state: State, day: int, here: np.ndarray, facts: Facts | None, policy: Policy | None
) -> np.ndarray:
    """Send the day's campaign, if any, and the welcome messages due; return who clicked."""
    clicked = np.zeros(len(here), bool)
    reachable = here & state.subscribed & (behaviour.reachable.from_day <= day)
    due, place = behaviour.welcome.due(day)
    keep = reachable[due]
    due, place = due[keep], place[keep]
    campaign = behaviour.plan.campaigns.get(day)
    if campaign is None and not len(due):
        return clicked
    me, n = behaviour.draws, len(here)
    p, arm, index = np.ones(n), np.zeros(n, bool), due
    hour, channel = np.full(n, 9), np.zeros(n, np.int64)
    variant = np.zeros(n, np.int64)
    number = np.full(n, -1)
    number[due] = place
    if campaign is not None:
        arm = me.chance(behaviour.plan.rules.messages.random_share, "arm", day) & (number < 0)
        chosen = propensity(behaviour, state, arm) if policy is None else policy(state, campaign)
        mine = default_action(behaviour, day, campaign, chosen)
        eligible = reachable & (number < 0)
        sent = eligible & me.chance(mine.send, "sent", day)
        p = np.where(number < 0, mine.send, 1.0)
        hour = np.where(number < 0, mine.hour, hour)
        channel = np.where(number < 0, mine.channel, EMAIL)
        variant = np.where(number < 0, mine.variant, 0)
        if facts is not None:
            held = np.flatnonzero(eligible & ~sent)
            facts.add("held", day, held, propensity=p[held], random_arm=arm[held])
        index = np.flatnonzero(sent | (number >= 0))
    channel = np.where(
        allowed(behaviour, state, day, index)[np.arange(len(index)), channel[index]], channel[index], EMAIL
    )
    _react(behaviour, state, day, index, campaign, number[index], hour[index], channel, variant[index],
           p[index], arm[index], clicked, facts)  # fmt: skip
    return clicked


def propensity(behaviour: Behaviour, state: State, random_arm: np.ndarray) -> np.ndarray:
    """Return the chance of being sent: a fair coin in the random arm, else by recent visits."""
    mail = behaviour.plan.rules.messages
    recent = np.exp(-np.minimum(state.seen, 400) / mail.biased_days)
    biased = sigmoid(mail.biased_logit + mail.biased_recent * recent)
    return np.where(random_arm, mail.random_propensity, biased)


def gain(
    behaviour: Behaviour, state: State, index: np.ndarray, campaign: Campaign | None, number: np.ndarray
) -> np.ndarray:
    """Return what an opened message adds to the wish to buy."""
    who, rules = behaviour.persons, behaviour.plan.rules
    mail, effect = rules.messages, who.effect[index]
    if campaign is not None and campaign.kind != "newsletter":
        open_cart = state.cart[index] <= rules.behaviour.cart_days
        hurts = 2 if campaign.kind == "promotion" else 3
        fits = open_cart & (state.cause[index] == hurts) * (np.abs(effect) > 0)
        weight = (
            mail.promotion[0] + mail.promotion[1] * who.price[index]
            if campaign.kind == "promotion"
            else mail.service
        )
        effect = effect * weight + rules.carts.offer * fits
    return np.where(number < 0, effect, behaviour.welcome.gain(index, number))


def chances(
    behaviour: Behaviour, state: State, day: int, index: np.ndarray, hour: np.ndarray, channel: np.ndarray,
    variant: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Return the chances that a message bounces, is opened if it arrives, and is clicked if opened."""
    plan, who = behaviour.plan, behaviour.persons
    mail, slots = plan.rules.messages, plan.rules.slots
    bad = behaviour.reachable.bad_address[index] & (channel == EMAIL)
    bounce = np.where(bad, mail.bounce_typo, mail.bounce)
    strain = np.maximum(state.pressure[index] - 1, 0) / who.tolerance[index]
    drift = plan.rules.drift.react if behaviour.drifted(day) else 0.0
    fit = hour_fit(plan.offset(day))[who.archetype[index], hour]
    alive = np.where(state.alive[index], 0.0, mail.open_dormant)
    changed = behaviour.lifts["reacts"][index] * (who.change_day[index] <= day)
    z = state.z[index]
    logit = who.opens[index] + mail.open_z * z + mail.open_pressure * strain + alive + changed + drift
    likes = np.where(who.considered[index], slots.variant_considered, 1.0) * slots.variant * variant
    likes = likes + slots.channel_click * (channel == who.channel[index])
    click = sigmoid(who.clicks[index] + mail.click_z * z + likes + changed)
    return bounce, sigmoid(logit + slots.hour_open * fit), click


def _react(
    behaviour: Behaviour, state: State, day: int, index: np.ndarray, campaign: Campaign | None,
    number: np.ndarray, hour: np.ndarray, channel: np.ndarray, variant: np.ndarray, p: np.ndarray,
    arm: np.ndarray, clicked: np.ndarray, facts: Facts | None,
) -> None:  # fmt: skip
    """Let the persons at `index` react: bounce, open, click, unsubscribe, complain."""
    who, mail = behaviour.persons, behaviour.plan.rules.messages
    mine = behaviour.draws.take(index)
    bounce, opens, clicks = chances(behaviour, state, day, index, hour, channel, variant)
    pressure = state.pressure[index].copy()
    strain = np.maximum(pressure - 1, 0) / who.tolerance[index]
    bounced = mine.chance(bounce, "bounce", day)
    opened = ~bounced & mine.chance(opens, "open", day)
    click = opened & mine.chance(clicks, "click", day)
    tired = np.exp(np.minimum(mail.unsubscribe_pressure * strain, 4))
    stops = ~bounced & mine.chance(mail.unsubscribe * tired, "unsubscribe", day)
    complains = ~bounced & ~stops & mine.chance(mail.complaint * tired, "complaint", day)
    added = gain(behaviour, state, index, campaign, number)
    state.pressure[index] += ~bounced
    state.boost[index] += opened * added
    state.subscribed[index[stops | complains]] = False
    clicked[index[click]] = True
    if facts is not None:
        facts.add(
            "sends", day, index, propensity=p, random_arm=arm, bounced=bounced, opened=opened, clicked=click,
            stops=stops, complains=complains, pressure=pressure, hour=hour, channel=channel, variant=variant,
            number=number, gain=added,
        )  # fmt: skip


class Welcome:
    """The welcome series: who is due which message on which day, and what each adds."""

    def __init__(self, behaviour: Behaviour) -> None:
        plan, who = behaviour.plan, behaviour.persons
        self.rule, self.who = plan.rules.welcome, who
        n = len(WELCOME)
        on = np.isfinite(behaviour.reachable.from_day) & (who.contact_day >= 0) & (who.gap > 0)
        index = np.flatnonzero(on)
        first = behaviour.reachable.from_day[index].astype(np.int64)
        days = first[:, None] + np.arange(n) * who.gap[index][:, None]
        order = np.argsort(days.ravel(), kind="stable")
        self.days, self.rows = days.ravel()[order], np.repeat(index, n)[order]
        self.places = np.tile(np.arange(n), len(index))[order]
        # A message is worth most at its best place, and the series at its best gap.
        best = np.argsort(np.array(self.rule.best_order))
        away = np.abs(np.arange(n)[None, :] - best[:, None])
        self.value = self.rule.effect * (1.0 - self.rule.away * away)

    def due(self, day: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the persons due a message on a day, and its place in their series."""
        low, high = np.searchsorted(self.days, [day, day + 1])
        return self.rows[low:high], self.places[low:high]

    def gain(self, index: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Return what the message at a place of a person's series adds to the wish to buy."""
        away = np.log(np.maximum(self.who.gap[index], 1) / self.rule.best_gap) / self.rule.gap_width
        gap = np.exp(-(away**2))
        return self.value[self.who.order[index, np.maximum(place, 0)], np.maximum(place, 0)] * gap


def campaign_names(plan: Plan) -> tuple[list[str], np.ndarray]:
    """Return the names of campaigns and welcome messages, and the place of each day's campaign."""
    names = {at: campaign.campaign_id for at, campaign in plan.campaigns.items() if 0 <= at < plan.days}
    place = {at: k for k, at in enumerate(names)}
    codes = np.array([place.get(at, -1) for at in range(plan.days)])
    return [*names.values(), *(f"WELCOME-{letter}" for letter in WELCOME)], codes
