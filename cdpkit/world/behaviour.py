"""What persons do, a day at a time: appetence, projects, messages, sessions, orders, leaving.

One `step` serves the history, the forward simulations behind `p_convert`, and policies: the luck of a
person on a day is a function of the seed, so two policies meet the same luck.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from cdpkit.world import ads, sending
from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons, rungs
from cdpkit.world.plan import Plan
from cdpkit.world.sending import Policy, sigmoid
from cdpkit.world.state import (
    AD,
    CANCEL,
    CAUSES,
    COMPARING,
    DELIVERY,
    HELP,
    MAIL,
    NEVER,
    ORGANIC,
    PRICE,
    TIME,
    Facts,
    Reachable,
    State,
)

__all__ = [
    "AD", "CANCEL", "CAUSES", "COMPARING", "DELIVERY", "HELP", "MAIL", "ORGANIC", "PRICE", "TIME",
    "Behaviour", "Facts", "Reachable", "State",
]  # fmt: skip


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
            wanted=np.full(n, -1),
            cart=np.full(n, NEVER),
            cause=np.zeros(n, np.int64),
            boost=np.zeros(n),
            pressure=np.zeros(n),
            subscribed=np.isfinite(self.reachable.from_day),
            account=self.persons.account0.copy(),
            card=self.persons.card0.copy(),
            unhappy=np.zeros(n),
            seen=np.full(n, NEVER),
            leaving=np.zeros(n, np.int64),
            contract=self.persons.contract_day < 10**6,
            quoted=np.full(n, NEVER),
            ads=np.zeros((n, len(ads.CHANNELS))),
        )

    @cached_property
    def welcome(self) -> sending.Welcome:
        """The welcome series of new contacts."""
        return sending.Welcome(self)

    @cached_property
    def lifts(self) -> dict[str, np.ndarray]:
        """What a dated change adds to visits and to reactions."""
        size = self.plan.rules.change.size
        table = {"visits": np.array([size, -size, 0, 0, 0, 0]), "reacts": np.array([0, 0, 0, -size, 0, 0])}
        return {name: values[self.persons.change] for name, values in table.items()}

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
        self._renew(state, day, here, facts)
        touched = ads.expose(self, state, day, here, facts)
        clicked = sending.send(self, state, day, here, facts, policy)
        online, store = self._visit(state, day, here, clicked, touched, facts, buys)
        return 1 - (1 - online) * (1 - store)

    def drifted(self, day: int) -> bool:
        """Tell whether the world has drifted by a day."""
        at = self.plan.rules.drift.at
        return at < 1 and day >= at * self.plan.days

    def _move(self, state: State, day: int, here: np.ndarray, facts: Facts | None) -> None:
        """Move appetence, projects, dormancy and what decays."""
        me, who, rule, mail = self.draws, self.persons, self.plan.rules.behaviour, self.plan.rules.messages
        memory = rule.z_memory
        state.z *= memory
        state.z += np.sqrt(1 - memory**2) * me.normal("z", day)
        state.boost *= np.exp(-1 / mail.boost_days)
        state.pressure *= np.exp(-1 / mail.pressure_days)
        state.unhappy *= np.exp(-1 / rule.unhappy_days)
        state.cart += 1
        state.seen += 1
        state.quoted += 1
        u = me.uniform("episode", day)
        begins = (
            ~state.episode
            & here
            & state.alive
            & (u < who.episode_rate * np.exp(rule.episode_season * self.plan.season(day)))
        )
        ends = state.episode & (u < 1 / who.episode_days)
        state.episode_no += begins
        state.episode = (state.episode | begins) & ~ends
        started = np.flatnonzero(begins)
        state.wanted[started] = self._wish(started, state.episode_no[started], day)
        hazard = who.churn * np.exp(
            rule.churn_unhappy * state.unhappy
            + rule.churn_pressure * np.maximum(state.pressure - rule.pressure_cap, 0) / who.tolerance
        )
        u = me.uniform("life", day)
        decides = np.flatnonzero(state.alive & (state.leaving == 0) & (u < hazard))
        state.alive |= ~state.alive & (u < rule.return_rate)
        state.leaving -= state.leaving > 0
        self._leave(state, day, np.flatnonzero(state.leaving == 1), here, facts)
        self.decide(state, day, decides, here, facts)

    def _wish(self, index: np.ndarray, number: np.ndarray, day: int) -> np.ndarray:
        """Return the product the projects of some persons are about."""
        if not len(index):
            return np.zeros(0, np.int64)
        shop, who = self.plan.shop, self.persons
        return shop.choose(
            self.draws.take(index), shop.group_shares(who.taste[index]),
            rungs(self.plan, who, index, day), "project", number,
        )  # fmt: skip

    def decide(
        self, state: State, day: int, index: np.ndarray, here: np.ndarray, facts: Facts | None
    ) -> None:
        """Let persons decide to leave: some call or write, some visit the page, then they are gone."""
        rule, mine = self.plan.rules.behaviour, self.draws.take(index)
        state.leaving[index] = 2 + (mine.uniform("notice", day) * rule.leave_days).astype(np.int64)
        if facts is not None:
            called = mine.chance(rule.call_cancel, "cancel call", day) & here[index]
            facts.calls.append(_calls(index[called], day, "cancel"))

    def _leave(
        self, state: State, day: int, index: np.ndarray, here: np.ndarray, facts: Facts | None
    ) -> None:
        state.alive[index] = False
        state.leaving[index] = 0
        if facts is not None:
            facts.add("left", day, index[here[index]])

    def _renew(self, state: State, day: int, here: np.ndarray, facts: Facts | None) -> None:
        """Decide on contracts some weeks before each term ends."""
        rule, who = self.plan.rules.contracts, self.persons
        age = day - who.contract_day + rule.notice_days
        index = np.flatnonzero(state.contract & (age > rule.notice_days) & (age % rule.term_days == 0) & here)
        # What is decided before the first day leaves no trace: the contracts known then are in force.
        if not len(index) or day < 0:
            return
        mine = self.draws.take(index)
        rise = np.array(rule.rise)[mine.pick(np.ones(len(rule.rise)), "rise", day)]
        unhappy, dear = rule.cancel_unhappy * state.unhappy[index], rule.cancel_rise * rise * who.price[index]
        # A person no longer alive as a customer lets the contract go.
        p = sigmoid(rule.cancel_logit + unhappy + dear + rule.cancel_dormant * ~state.alive[index])
        ends = mine.chance(p, "cancel contract", day)
        state.contract[index[ends]] = False
        if rule.leaves:
            self.decide(state, day, index[ends & state.alive[index]], here, facts)
        if facts is not None:
            reason = np.where(
                ~state.alive[index],
                2,
                np.where(dear > np.maximum(unhappy, 0.15), 0, np.where(unhappy > 0.15, 1, 3)),
            )
            facts.add("terms", day, index, rise=rise, cancels=ends, p=p, reason=reason)

    def effort(self, day: int) -> np.ndarray:
        """Return what the long programme adds to the logit of buying, by person."""
        rule, t = self.plan.rules.programme, day - int(self.plan.rules.programme.at * self.plan.days)
        if t < 0:
            return np.zeros(1)
        later = 1 - np.exp(-t / rule.later_days)
        table = [
            0.0,
            rule.voucher_now * np.exp(-t / rule.now_days) + rule.voucher_later * later,
            rule.club * (1 - np.exp(-t / rule.club_days)),
        ]
        return np.array([*table, 0.0])[self.persons.arm]

    def offer(self, state: State, index: np.ndarray, day: int) -> np.ndarray:
        """Return what stock and price do to the logit of buying what projects are about."""
        shop, rule, wanted = self.plan.shop, self.plan.rules.market, state.wanted[index]
        dear = np.log(shop.price(wanted, np.full(len(index), day)) / shop.prices[wanted, 0])
        return rule.out_effect * shop.out(wanted, day) - rule.price_effect * self.persons.price[index] * dear

    def _visit(
        self, state: State, day: int, here: np.ndarray, clicked: np.ndarray, touched: np.ndarray,
        facts: Facts | None, buys: bool,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Draw the day's sessions, carts and orders; return the chances of an order on line and in store."""
        me, who, rules = self.draws, self.persons, self.plan.rules
        rule, market, promo = rules.behaviour, rules.market, rules.ads
        season, drift = self.plan.season(day), rules.drift if self.drifted(day) else None
        rain, off = self.plan.weather.rain_on(day)[who.city], self.plan.off(day)
        awake = here * np.where(state.alive, 1.0, rule.dormant_factor)
        cart = state.cart <= rule.cart_days
        pull = ads.effect(self, state)
        z = state.z * (drift.z if drift else 1.0)
        changed = self.lifts["visits"] * (who.change_day <= day)
        drive = rule.session_z * z + rule.session_episode * state.episode + rule.session_cart * cart
        drive += rule.session_boost * state.boost + promo.session * pull + changed
        drive += season + market.rain_site * rain + market.holiday_site * off
        intensity = awake * np.exp(who.session + drive + (drift.session if drift else 0.0))
        organic = me.poisson(intensity, 3, "sessions", day)
        origin, extra = self._origin(state, day, here, organic, clicked, touched)
        n = organic + extra
        errand = (origin == CANCEL) | (origin == HELP)
        wish = rule.buy_z * z + rule.buy_episode * state.episode + rule.buy_boost * state.boost
        wish += promo.buy * pull + self.effort(day) + (drift.buy if drift else 0.0)
        wish += rules.quotes.buy * (state.quoted <= rules.quotes.valid_days)
        busy = np.flatnonzero(state.episode)
        wish[busy] += self.offer(state, busy, day)
        worth = np.array(rules.carts.back)[state.cause] * cart
        each = sigmoid(who.buy + wish + rule.buy_cart * worth)
        online = 1 - (1 - each) ** (n - errand)
        shelf = (
            rule.store_z * z
            + rule.store_episode * state.episode
            + rule.store_boost * rule.buy_boost * state.boost
        )
        shelf += (
            rule.store_web * np.exp(-state.seen / rule.store_web_days) + promo.store * pull + self.effort(day)
        )
        shelf += season + market.rain_store * rain + market.holiday_store * off
        store = -np.expm1(-awake * np.exp(who.store + shelf))
        shown = store * np.where(state.card, rule.card_shown, rule.card_offer)
        ordered = buys & me.chance(online, "order", day)
        bought = buys & me.chance(store, "store order", day)
        adds = (n > errand) & me.chance(
            sigmoid(rule.cart_logit + rule.cart_z * z + rule.cart_episode * state.episode), "cart", day
        )
        signs_up = (n > errand) & ~state.account & me.chance(rule.signup, "sign up", day)
        left = np.flatnonzero(adds & ~ordered)
        state.cause[left] = self._cause(state, day, left)
        self._errands(state, day, n, ordered, facts)
        if facts is not None:
            self._record(state, day, n, origin, ordered, adds, signs_up, cart, bought, facts)
            row = np.flatnonzero(ordered | bought)
            logit = (who.buy + wish + rule.buy_cart * worth)[row]
            credit = ads.credit(self, state, row, logit, n[row], origin[row], extra[row])
            facts.add("credits", day, row, online=ordered[row], **credit)
        state.seen[n > 0] = 0
        state.cart[adds] = 0
        state.account |= signs_up | ordered
        done = ordered | bought
        state.cart[ordered] = NEVER
        state.z[done] += rule.after_order_z
        state.boost[done] = 0.0
        state.episode &= ~done
        state.quoted[done] = NEVER
        state.unhappy += done & me.chance(rule.problem, "problem", day)
        taken = bought & ~state.card & me.chance(rule.card_offer, "card", day)
        state.card |= taken
        return online, shown

    def _origin(
        self, state: State, day: int, here: np.ndarray, organic: np.ndarray, clicked: np.ndarray,
        touched: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return where the day's first visit comes from, and whether it comes on top of the others."""
        me, rule, promo = self.draws, self.plan.rules.behaviour, self.plan.rules.ads
        origin = ads.labels(self, state, day, organic, touched)
        extra = np.zeros(len(here), bool)
        for kind, chance, index in (
            (HELP, rule.help_visit, np.flatnonzero((state.unhappy > rule.unhappy_acts) & here)),
            (CANCEL, rule.leave_visit, np.flatnonzero((state.leaving > 1) & here)),
        ):
            some = index[me.take(index).chance(chance, "errand", kind, day)]
            origin[some], extra[some] = kind, True
        if promo.click_session:
            index = np.flatnonzero(touched >= 0)
            some = index[me.take(index).chance(np.array(promo.click)[touched[index]], "ad click", day)]
            origin[some], extra[some] = AD + touched[some], True
        if self.plan.rules.messages.click_session:
            origin[clicked], extra[clicked] = MAIL, True
        return origin, extra

    def _cause(self, state: State, day: int, index: np.ndarray) -> np.ndarray:
        """Return why carts are left behind."""
        rule, who = self.plan.rules.carts, self.persons
        weight = np.tile(np.array(rule.weights), (len(index), 1))
        if rule.signal:
            weight[:, COMPARING] *= np.where(who.considered[index] & state.episode[index], *rule.considered)
            weight[:, PRICE] *= who.price[index]
        cumulative = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)
        return self.draws.take(index).pick_row(cumulative, "cause", day)

    def _errands(
        self, state: State, day: int, n: np.ndarray, ordered: np.ndarray, facts: Facts | None
    ) -> None:
        """Ask for quotes and put products on watch-lists, within visits about a project."""
        rules, who = self.plan.rules, self.persons
        index = np.flatnonzero((n > 0) & state.episode & ~ordered)
        if not len(index):
            return
        mine = self.draws.take(index)
        asks = (
            who.considered[index] & (state.quoted[index] > 10) & mine.chance(rules.quotes.rate, "quote", day)
        )
        some = index[asks]
        state.quoted[some] = 0
        if facts is None:
            return
        facts.add("quotes", day, some, episode_no=state.episode_no[some], wanted=state.wanted[some])
        shop, wanted = self.plan.shop, state.wanted[index]
        out = shop.out(wanted, day)
        dear = (
            shop.price(wanted, np.full(len(index), day)) * who.price[index]
            > rules.voice.dear * shop.prices[wanted, 0]
        )
        u = mine.uniform("watch", day)
        kind = np.where(
            out & (u < rules.voice.alert),
            1,
            np.where(dear & (u < rules.voice.alert_dear), 2, np.where(u > 1 - rules.voice.wish, 0, -1)),
        )
        kept = kind >= 0
        facts.add("watches", day, index[kept], wanted=wanted[kept], kind=kind[kept])

    def _record(
        self, state: State, day: int, n: np.ndarray, origin: np.ndarray, ordered: np.ndarray,
        adds: np.ndarray, signs_up: np.ndarray, cart: np.ndarray, bought: np.ndarray, facts: Facts,
    ) -> None:  # fmt: skip
        me, rule = self.draws, self.plan.rules.behaviour
        busy = np.flatnonzero(n)
        person = np.repeat(busy, n[busy])
        rank = np.arange(len(person)) - np.repeat(np.cumsum(n[busy]) - n[busy], n[busy])
        # Nobody orders in a visit made to complain or to cancel.
        errand = ((origin == CANCEL) | (origin == HELP))[busy].astype(np.int64)
        chosen = errand + (me.take(busy).uniform("which session", day) * (n[busy] - errand)).astype(np.int64)
        acting = rank == np.repeat(chosen, n[busy])
        came = np.where(rank == 0, origin[person], ORGANIC)
        facts.add(
            "sessions", day, person, rank=rank, of=n[person], origin=came,
            ordered=ordered[person] & acting, adds=adds[person] & acting, signs_up=signs_up[person] & acting,
            account=state.account[person], cart=cart[person], episode=state.episode[person],
            episode_no=state.episode_no[person], wanted=state.wanted[person], z=state.z[person],
            cause=np.where(adds[person] & acting & ~ordered[person], state.cause[person], -1),
        )  # fmt: skip
        index = np.flatnonzero(bought)
        mine = me.take(index)
        taken = ~state.card[index] & mine.chance(rule.card_offer, "card", day)
        card = taken | (state.card[index] & mine.chance(rule.card_shown, "card shown", day))
        facts.add(
            "store", day, index, card=card, taken=taken, episode=state.episode[index],
            episode_no=state.episode_no[index], wanted=state.wanted[index],
        )  # fmt: skip
        unhappy = state.unhappy > rule.unhappy_acts
        rate = np.where(unhappy, rule.call_problem, rule.call_rate) * (n >= 0)
        alive = (self.persons.born <= day) & (day < self.persons.gone)
        u = me.uniform("call", day)
        calling = np.flatnonzero(alive & (u < rate))
        facts.calls.append(_calls(calling[unhappy[calling]], day, "problem"))
        facts.calls.append(_calls(calling[~unhappy[calling]], day, "question"))


def _calls(index: np.ndarray, day: int, about: str) -> dict[str, np.ndarray]:
    return {"person": index, "day": np.full(len(index), day), "about": np.full(len(index), about, dtype="U8")}
