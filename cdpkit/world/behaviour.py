"""What persons do, a day at a time: appetence, projects, messages, sessions, orders, leaving.

One `step` serves the history, the forward simulations behind `p_convert`, and policies: the luck of a
person on a day is a function of the seed, so two policies meet the same luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields

import numpy as np

from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons
from cdpkit.world.plan import Campaign, Plan

#: A policy gives the probability that each person is sent a campaign.
Policy = Callable[["State", Campaign], np.ndarray]

_NEVER = 10_000


@dataclass
class State:
    """The latent state of persons at one midnight (UTC)."""

    alive: np.ndarray
    z: np.ndarray
    episode: np.ndarray
    episode_no: np.ndarray
    cart: np.ndarray
    boost: np.ndarray
    pressure: np.ndarray
    subscribed: np.ndarray
    account: np.ndarray
    card: np.ndarray
    unhappy: np.ndarray
    seen: np.ndarray

    def tile(self, n: int) -> State:
        """Return `n` copies of everybody, copy after copy."""
        return State(**{f.name: np.concatenate([getattr(self, f.name)] * n) for f in fields(self)})

    def copy(self) -> State:
        """Return an independent copy."""
        return self.tile(1)


@dataclass
class Facts:
    """What happened, table by table, as lists of one frame of arrays a day."""

    sessions: list[dict] = field(default_factory=list)
    sends: list[dict] = field(default_factory=list)
    store: list[dict] = field(default_factory=list)
    calls: list[dict] = field(default_factory=list)
    left: list[dict] = field(default_factory=list)

    def table(self, name: str) -> dict[str, np.ndarray]:
        """Return one table with its days put together."""
        days = getattr(self, name)
        return {column: np.concatenate([day[column] for day in days]) for column in days[0]} if days else {}


@dataclass(frozen=True)
class Reachable:
    """Who can be sent an e-mail: from a day, with an address that works or not."""

    from_day: np.ndarray
    bad_address: np.ndarray


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the logistic function."""
    return 1.0 / (1.0 + np.exp(-x))


class Behaviour:
    """The daily dynamics of a set of persons.

    Parameters
    ----------
    plan : Plan
        The world.
    persons : Persons
        Their latents.
    reachable : Reachable
        Who can be sent an e-mail.
    draws : Draws, optional
        Their luck; by default that of the world.
    """

    def __init__(
        self, plan: Plan, persons: Persons, reachable: Reachable, draws: Draws | None = None
    ) -> None:
        self.plan, self.persons, self.reachable = plan, persons, reachable
        self.draws = Draws(plan.seed, persons.unit) if draws is None else draws

    def initial(self) -> State:
        """Return the state before the warm-up."""
        me, n, rule = self.draws, len(self.persons), self.plan.rules.behaviour
        return State(
            alive=~me.chance(rule.dormant_share, "dormant at start"),
            z=me.normal("z at start"),
            episode=np.zeros(n, bool),
            episode_no=np.zeros(n, np.int64),
            cart=np.full(n, _NEVER),
            boost=np.zeros(n),
            pressure=np.zeros(n),
            subscribed=np.isfinite(self.reachable.from_day),
            account=self.persons.account0.copy(),
            card=self.persons.card0.copy(),
            unhappy=np.zeros(n),
            seen=np.full(n, _NEVER),
        )

    def run(
        self, state: State, days: Iterable[int], facts: Facts | None = None, policy: Policy | None = None
    ) -> State:
        """Advance `state` through `days`, recording into `facts`."""
        for day in days:
            self.step(state, day, facts, policy)
        return state

    def at(self, day: int) -> State:
        """Return the state at the midnight that opens a day, replayed from the warm-up."""
        return self.run(self.initial(), range(-self.plan.rules.behaviour.warm_days, day))

    def step(
        self,
        state: State,
        day: int,
        facts: Facts | None = None,
        policy: Policy | None = None,
        *,
        buys: bool = True,
    ) -> np.ndarray:
        """Advance one day in place; return each person's chance of an order that shows, given the day.

        With ``buys=False`` nobody orders and the chance is returned all the same: forward simulations
        average it instead of counting orders, which has less noise.
        """
        here = (self.persons.born <= day) & (day < self.persons.gone)
        self._move(state, day, here, facts)
        clicked = self._send(state, day, here, facts, policy)
        online, store = self._visit(state, day, here, clicked, facts, buys)
        return 1 - (1 - online) * (1 - store)

    def _move(self, state: State, day: int, here: np.ndarray, facts: Facts | None) -> None:
        """Move appetence, projects, dormancy and what decays."""
        me, who, rule, mail = self.draws, self.persons, self.plan.rules.behaviour, self.plan.rules.messages
        memory = rule.z_memory
        state.z *= memory
        state.z += np.sqrt(1 - memory**2) * me.normal("z", day)
        state.boost *= np.exp(-1 / mail.boost_days)
        state.pressure *= np.exp(-1 / mail.pressure_days)
        state.unhappy *= np.exp(-1 / 25.0)
        state.cart += 1
        state.seen += 1
        u = me.uniform("episode", day)
        begins = (
            ~state.episode & here & state.alive & (u < who.episode_rate * np.exp(0.5 * self.plan.season(day)))
        )
        ends = state.episode & (u < 1 / who.episode_days)
        state.episode_no += begins
        state.episode = (state.episode | begins) & ~ends
        hazard = who.churn * np.exp(
            rule.churn_unhappy * state.unhappy
            + rule.churn_pressure * np.maximum(state.pressure - 2, 0) / who.tolerance
        )
        u = me.uniform("life", day)
        leaves = state.alive & (u < hazard)
        state.alive ^= leaves | (~state.alive & (u < rule.return_rate))
        if facts is not None:
            index = np.flatnonzero(leaves & here)
            facts.left.append({"person": index, "day": np.full(len(index), day)})
            called = index[me.take(index).chance(rule.call_cancel, "cancel call", day)]
            facts.calls.append(_calls(called, day, "cancel"))

    def propensity(self, state: State, random_arm: np.ndarray) -> np.ndarray:
        """Return the chance of being sent: a fair coin in the random arm, else by recent visits."""
        mail = self.plan.rules.messages
        recent = np.exp(-np.minimum(state.seen, 400) / 30.0)
        biased = sigmoid(mail.biased_logit + mail.biased_recent * recent)
        return np.where(random_arm, mail.random_propensity, biased)

    def _send(
        self, state: State, day: int, here: np.ndarray, facts: Facts | None, policy: Policy | None
    ) -> np.ndarray:
        """Send the day's campaign, if any; return who clicked."""
        campaign = self.plan.campaigns.get(day)
        clicked = np.zeros(len(here), bool)
        if campaign is None:
            return clicked
        me, who, mail = self.draws, self.persons, self.plan.rules.messages
        arm = me.chance(mail.random_share, "arm", day)
        p = self.propensity(state, arm) if policy is None else policy(state, campaign)
        eligible = here & state.subscribed & (self.reachable.from_day <= day)
        index = np.flatnonzero(eligible & me.chance(p, "sent", day))
        mine = me.take(index)
        bad = self.reachable.bad_address[index]
        bounced = mine.chance(np.where(bad, mail.bounce_typo, mail.bounce), "bounce", day)
        strain = np.maximum(state.pressure[index] - 1, 0) / who.tolerance[index]
        alive = np.where(state.alive[index], 0.0, -1.5)
        z = state.z[index]
        opened = ~bounced & mine.chance(
            sigmoid(who.opens[index] + mail.open_z * z + mail.open_pressure * strain + alive), "open", day
        )
        click = opened & mine.chance(sigmoid(who.clicks[index] + mail.click_z * z), "click", day)
        tired = np.exp(np.minimum(mail.unsubscribe_pressure * strain, 4))
        stops = ~bounced & mine.chance(mail.unsubscribe * tired, "unsubscribe", day)
        complains = ~bounced & ~stops & mine.chance(mail.complaint * tired, "complaint", day)
        state.pressure[index] += ~bounced
        state.boost[index] += opened * who.effect[index]
        state.subscribed[index[stops | complains]] = False
        clicked[index[click]] = True
        if facts is not None:
            facts.sends.append(
                {
                    "person": index, "day": np.full(len(index), day), "propensity": p[index],
                    "random_arm": arm[index], "bounced": bounced, "opened": opened, "clicked": click,
                    "stops": stops, "complains": complains, "pressure": state.pressure[index] - ~bounced,
                }
            )  # fmt: skip
        return clicked

    def _visit(
        self, state: State, day: int, here: np.ndarray, clicked: np.ndarray, facts: Facts | None, buys: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the day's sessions, carts and orders; return the chances of an order on line and in store."""
        me, who, rule = self.draws, self.persons, self.plan.rules.behaviour
        season = self.plan.season(day)
        awake = here * np.where(state.alive, 1.0, rule.dormant_factor)
        cart = state.cart <= rule.cart_days
        drive = rule.session_z * state.z + rule.session_episode * state.episode + rule.session_cart * cart
        intensity = awake * np.exp(who.session + drive + rule.session_boost * state.boost + season)
        organic = me.poisson(intensity, 3, "sessions", day)
        extra = clicked & (self.plan.rules.messages.click_session)
        n = organic + extra
        wish = rule.buy_z * state.z + rule.buy_episode * state.episode + rule.buy_boost * state.boost
        each = sigmoid(who.buy + wish + rule.buy_cart * cart)
        online = 1 - (1 - each) ** n
        shelf = (
            rule.store_z * state.z + rule.store_episode * state.episode + 0.5 * rule.buy_boost * state.boost
        )
        store = -np.expm1(-awake * np.exp(who.store + shelf + season))
        shown = store * np.where(state.card, rule.card_shown, rule.card_offer)
        ordered = buys & me.chance(online, "order", day)
        bought = buys & me.chance(store, "store order", day)
        adds = (n > 0) & me.chance(
            sigmoid(rule.cart_logit + rule.cart_z * state.z + rule.cart_episode * state.episode), "cart", day
        )
        signs_up = (n > 0) & ~state.account & me.chance(rule.signup, "sign up", day)
        if facts is not None:
            self._record(state, day, n, extra, ordered, adds, signs_up, cart, bought, facts)
        state.seen[n > 0] = 0
        state.cart[adds] = 0
        state.account |= signs_up | ordered
        done = ordered | bought
        state.cart[ordered] = _NEVER
        state.z[done] += rule.after_order_z
        state.boost[done] = 0.0
        state.episode &= ~done
        state.unhappy += done & me.chance(rule.problem, "problem", day)
        taken = bought & ~state.card & me.chance(rule.card_offer, "card", day)
        state.card |= taken
        return online, shown

    def _record(
        self, state: State, day: int, n: np.ndarray, extra: np.ndarray, ordered: np.ndarray, adds: np.ndarray,
        signs_up: np.ndarray, cart: np.ndarray, bought: np.ndarray, facts: Facts,
    ) -> None:  # fmt: skip
        me, rule = self.draws, self.plan.rules.behaviour
        busy = np.flatnonzero(n)
        person = np.repeat(busy, n[busy])
        rank = np.arange(len(person)) - np.repeat(np.cumsum(n[busy]) - n[busy], n[busy])
        chosen = (me.take(busy).uniform("which session", day) * n[busy]).astype(np.int64)
        acting = rank == np.repeat(chosen, n[busy])
        facts.sessions.append(
            {
                "person": person, "day": np.full(len(person), day), "rank": rank, "of": n[person],
                "from_mail": extra[person] & (rank == 0), "ordered": ordered[person] & acting,
                "adds": adds[person] & acting, "signs_up": signs_up[person] & acting,
                "account": state.account[person], "cart": cart[person], "episode": state.episode[person],
                "episode_no": state.episode_no[person], "z": state.z[person],
            }
        )  # fmt: skip
        index = np.flatnonzero(bought)
        mine = me.take(index)
        taken = ~state.card[index] & mine.chance(rule.card_offer, "card", day)
        card = taken | (state.card[index] & mine.chance(rule.card_shown, "card shown", day))
        facts.store.append(
            {
                "person": index, "day": np.full(len(index), day), "card": card, "taken": taken,
                "episode": state.episode[index], "episode_no": state.episode_no[index],
            }
        )  # fmt: skip
        unhappy = state.unhappy > 0.6
        rate = np.where(unhappy, rule.call_problem, rule.call_rate) * (n >= 0)
        alive = (self.persons.born <= day) & (day < self.persons.gone)
        u = me.uniform("call", day)
        calling = np.flatnonzero(alive & (u < rate))
        facts.calls.append(_calls(calling[unhappy[calling]], day, "problem"))
        facts.calls.append(_calls(calling[~unhappy[calling]], day, "question"))


def _calls(index: np.ndarray, day: int, about: str) -> dict[str, np.ndarray]:
    return {"person": index, "day": np.full(len(index), day), "about": np.full(len(index), about, dtype="U8")}
