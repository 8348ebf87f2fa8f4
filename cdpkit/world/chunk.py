"""One chunk of a world: from persons to their exports and their truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit.world import (
    baskets,
    calls,
    columns,
    consents,
    deals,
    events,
    faults,
    history,
    messages,
    orders,
    persons,
    records,
    registers,
    sending,
    touches,
    truth,
    visits,
    voices,
)
from cdpkit.world import whole as whole_world
from cdpkit.world.behaviour import Behaviour, Facts, Reachable, State
from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons
from cdpkit.world.plan import DAY, Plan


@dataclass
class Chunk:
    """Exports and truth of some of a world's units."""

    raw: dict[str, pa.Table]
    truth: dict[str, pa.Table]
    spend: pa.Table | None = None


def reachable(plan: Plan, someone: Persons) -> Reachable:
    """Return who can be mailed: contacts who agreed and whose record carries an address of their own."""
    me = Draws(plan.seed, someone.unit)
    state = records.address_state(plan, me, records.CONTACT)
    usable = (state == records.FINE) | (state == records.TYPO)
    agreed = someone.contact & usable & consents.granted_email(plan, someone)
    agreed &= someone.contact_day < np.minimum(plan.days, someone.gone)
    return Reachable(np.where(agreed, someone.contact_day + 1.0, np.inf), state == records.TYPO)


def behaviour(plan: Plan, low: int, high: int) -> Behaviour:
    """Return the dynamics of persons `low` to `high` - 1."""
    someone = persons.draw(plan, low, high)
    return Behaviour(plan, someone, reachable(plan, someone))


def _history(plan: Plan, dynamics: Behaviour) -> tuple[Facts, State, pa.Table]:
    """Return what happened, the state at the first midnight, and the states at each month's first day."""
    facts, states = Facts(), []
    state = dynamics.at(0)
    opening = state.copy()
    first = np.datetime64(plan.start, "D")
    for day in range(plan.days):
        if day == 0 or (first + day).astype("datetime64[M]").astype("datetime64[D]") == first + day:
            states.append(truth.state(plan, dynamics.persons, state, day))
        dynamics.step(state, day, facts)
    return facts, opening, pa.concat_tables(states)


def _spread(plan: Plan, low: int, high: int, share: float) -> tuple[int, int]:
    """Return the strangers that come with persons `low` to `high` - 1, whatever the chunks."""
    return int(low * share + 0.5), int(high * share + 0.5)


def _openings(
    plan: Plan, someone: Persons, before: np.ndarray, row: np.ndarray, at: np.ndarray, kind: str, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return when each person opened an account (or took a card), and a second one; -1: never.

    Parameters
    ----------
    plan, someone
        The world and the persons.
    before : array of bool
        Had one at the start.
    row, at : arrays
        Openings during the period: person and instant.
    kind, share
        Stream of the draws, and share of those who open a second one.
    """
    me = Draws(plan.seed, someone.unit)
    age = np.maximum(-someone.born, 1)
    day = someone.born + (age * me.uniform(kind + " day")).astype(np.int64)
    earlier = (
        plan.first + day * DAY + ((8 + 9 * me.uniform(kind + " hour")) * 60).astype(np.int64) * 60_000_000
    )
    opened = np.full(len(someone), np.iinfo(np.int64).max)
    np.minimum.at(opened, row, at)
    opened = np.where(before, earlier, np.where(opened < plan.last, opened, -1))
    again = opened + ((10 + me.exponential(150.0, kind + " again")) * 86_400).astype(np.int64) * 1_000_000
    gone = plan.first + someone.gone * DAY
    second = (opened >= 0) & me.chance(share, kind + " second") & (again < np.minimum(plan.last, gone))
    return opened, np.where(second, again, -1)


def build(plan: Plan, low: int, high: int) -> Chunk:
    """Return the exports and the truth of persons `low` to `high` - 1, and of their share of strangers."""
    population = plan.rules.population
    dynamics = behaviour(plan, low, high)
    someone = dynamics.persons
    who = records.identity(plan, someone)
    facts, opening, states = _history(plan, dynamics)
    sends = facts.table("sends")
    seen = visits.of_persons(plan, someone, facts.table("sessions"), sends)
    seen = seen + visits.of_visitors(plan, *_spread(plan, low, high, population.visitors))
    seen = seen + visits.of_bots(plan, *_spread(plan, low, high, population.bots))
    wishes = baskets.wishes(plan, someone, seen)
    carts = baskets.carts(plan, seen, wishes)
    pages = events.build(plan, seen, wishes, carts)

    signing = np.flatnonzero(pages.kind == events.SIGN_UP)
    accounts = _openings(
        plan, someone, opening.account, seen.person[pages.visit[signing]], pages.ts[signing], "account",
        population.account_duplicate,
    )  # fmt: skip
    second = (accounts[1][seen.person] >= 0) & (seen.start >= accounts[1][seen.person]) & (seen.person >= 0)
    account_of_visit = registers.account_ids(plan, np.maximum(seen.unit, 0), second.astype(np.int64))
    web, row = events.table(plan, seen, pages, account_of_visit)

    bought = facts.table("store")
    sold_at = orders.store_instants(plan, someone, bought["person"], bought["day"])
    taken = bought["taken"]
    cards = _openings(
        plan,
        someone,
        opening.card,
        bought["person"][taken],
        sold_at[taken],
        "card",
        population.card_duplicate,
    )
    renewed = (cards[1][bought["person"]] >= 0) & (sold_at >= cards[1][bought["person"]])
    card_shown = columns.blank(
        registers.card_ids(plan, someone.unit[bought["person"]], renewed.astype(np.int64)), bought["card"]
    )
    contact = registers.contacts(plan, someone, who)
    account = registers.accounts(plan, someone, who, *accounts)
    card = registers.cards(plan, someone, who, *cards)
    reach = _reach(someone, who, contact, account)
    mail, direct = messages.build(
        plan, someone, sends, [_mailed(someone, contact), reach.phone, reach.account]
    )
    stopped = mail.stops
    called, wrote, called_truth = calls.build(plan, someone, who, facts.table("calls"), reach)
    shop, sold, ordered = orders.place(plan, someone, seen, pages, carts, account_of_visit)
    store = orders.tickets(plan, someone, bought, card_shown)
    told = touches.build(plan, someone, facts.table("touches"), seen)
    quoted, quoted_truth = deals.quotes(plan, someone, facts.table("quotes"), _ended(seen, bought), reach)
    signed, signed_truth = deals.contracts(plan, someone, facts.table("terms"), reach)
    lead = columns.words(sold.product, plan.shop.ids)
    booked = deals.bookings(plan, ordered, lead, sold.key, sold.at, sold.loaded)
    reviewed, reviewed_truth = voices.reviews(plan, someone, sold)
    asked, asked_truth = voices.surveys(plan, someone, sold, reach, states)
    heard, heard_truth = voices.social(plan, someone, reach)
    updated, lives = history.updates(plan, someone, who, contact)
    merged, merged_truth = history.merges(plan, someone, contact)
    names, of_day = sending.campaign_names(plan)
    raw = {
        "crm_contacts": history.sector_fields(plan, someone, contact),
        "crm_consents": consents.contacts(
            plan, someone, contact.table["contact_id"].combine_chunks(), contact.person, contact.created,
            mail.person[stopped], mail.times.stopped[stopped],
        ),
        "crm_preferences": history.preferences(plan, someone, contact),
        "crm_updates": updated,
        "crm_merges": merged,
        "shop_accounts": account.table,
        **faults.web(plan, web),
        "web_consents": consents.banner(plan, seen),
        "shop_orders": shop["shop_orders"],
        "shop_order_lines": shop["shop_order_lines"],
        "store_cards": card.table,
        "store_tickets": store["store_tickets"],
        "email_log": mail.log,
        "direct_log": direct.log,
        "assignments": history.assignments(plan, someone, contact, sends, facts.table("held"), names, of_day),
        "calls": called,
        "inbound_emails": wrote,
        "quotes": quoted,
        "contracts": signed,
        "bookings": booked,
        "watchlists": deals.watchlists(plan, someone, facts.table("watches"), reach),
        "reviews": reviewed,
        "surveys": asked,
        "social": heard,
        "ad_touches": told.touches,
        "cookie_matches": told.matches,
    }  # fmt: skip
    if plan.rules.sector.companies:
        raw |= history.companies(plan, someone, who, contact)
    apart = {
        "persons": truth.persons(plan, someone, seen),
        "identities": truth.identities(someone, seen, contact, account, card, mail, called, called_truth),
        "households": truth.households(plan, someone),
        "addresses": lives,
        "merges": merged_truth,
        "events": truth.events(seen, pages, row),
        "sessions": truth.sessions(plan, seen, wishes),
        "orders": pa.concat_tables([shop["orders"], store["orders"]]),
        "credits": touches.credits(plan, someone, facts.table("credits")),
        "messages": pa.concat_tables([truth.messages(someone, mail), truth.messages(someone, direct)]),
        "touches": told.truth,
        "partner_cookies": told.cookies,
        "calls": called_truth,
        "quotes": quoted_truth,
        "contracts": signed_truth,
        "reviews": reviewed_truth,
        "surveys": asked_truth,
        "social": heard_truth,
        "states": states,
        "departures": truth.departures(plan, someone, facts.table("left")),
    }
    return Chunk(raw, apart, told.spend)


def whole(plan: Plan, spend: list[pa.Table]) -> Chunk:
    """Return what a world has once; `spend` is the advertising spend of each of its chunks."""
    raw = whole_world.raw(plan) | {"ad_spend": touches.total(plan, pa.concat_tables(spend))}
    return Chunk(raw, whole_world.truth(plan))


def _ended(seen: visits.Visits, bought: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the projects that ended in an order, on line or in a store."""
    online = np.flatnonzero(seen.ordered & seen.episode)
    store = np.flatnonzero(bought["episode"])
    return {
        "person": np.concatenate([seen.person[online], bought["person"][store]]),
        "number": np.concatenate([seen.episode_no[online], bought["episode_no"][store]]),
        "day": np.concatenate([seen.day[online], bought["day"][store]]),
    }


def _mailed(someone: Persons, contact: registers.Exported) -> pa.Array:
    """Return the address the e-mail tool uses for each person: the first contact's, cleaned of spaces."""
    email = pc.utf8_lower(pc.utf8_trim_whitespace(contact.table["email"]))
    return deals.first_of(email, contact.person, contact.slot == records.CONTACT, len(someone))


def _reach(
    someone: Persons, who: records.Identity, contact: registers.Exported, account: registers.Exported
) -> deals.Reach:
    """Return what persons are known by: the addresses they give themselves, the first contact and account."""
    n = len(someone)
    first, opened = contact.slot == records.CONTACT, account.slot == records.ACCOUNT
    known = np.zeros(n, bool)
    known[contact.person] = known[account.person] = True
    return deals.Reach(
        email=columns.blank(who.email, known),
        phone=deals.first_of(contact.table["phone"], contact.person, first, n),
        account=deals.first_of(account.table["account_id"], account.person, opened, n),
        contact=deals.first_of(contact.table["contact_id"], contact.person, first, n),
    )
