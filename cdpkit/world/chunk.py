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
    events,
    messages,
    orders,
    persons,
    records,
    registers,
    truth,
    visits,
)
from cdpkit.world.behaviour import Behaviour, Facts, Reachable, State
from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons
from cdpkit.world.plan import DAY, Plan


@dataclass
class Chunk:
    """Exports and truth of some of a world's units."""

    raw: dict[str, pa.Table]
    truth: dict[str, pa.Table]


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
    mail, direct = messages.build(plan, someone, sends, _addresses(plan, someone, contact, account))
    stopped = mail.stops
    called, called_truth = calls.build(plan, someone, who, facts.table("calls"))
    shop = orders.online(plan, someone, seen, pages, carts, account_of_visit)
    store = orders.tickets(plan, someone, bought, card_shown)
    raw = {
        "crm_contacts": contact.table,
        "crm_consents": consents.contacts(
            plan, someone, contact.table["contact_id"].combine_chunks(), contact.person, contact.created,
            mail.person[stopped], mail.times.stopped[stopped],
        ),
        "shop_accounts": account.table,
        "web_events": web,
        "web_consents": consents.banner(plan, seen),
        "shop_orders": shop["shop_orders"],
        "shop_order_lines": shop["shop_order_lines"],
        "store_cards": card.table,
        "store_tickets": store["store_tickets"],
        "email_log": mail.log,
        "direct_log": direct.log,
        "calls": called,
    }  # fmt: skip
    facts_apart = {
        "persons": truth.persons(plan, someone, seen),
        "identities": truth.identities(someone, seen, contact, account, card, mail, called, called_truth),
        "events": truth.events(seen, pages, row),
        "sessions": truth.sessions(plan, seen, wishes),
        "orders": pa.concat_tables([shop["orders"], store["orders"]]),
        "messages": pa.concat_tables([truth.messages(someone, mail), truth.messages(someone, direct)]),
        "calls": called_truth,
        "states": states,
        "departures": truth.departures(plan, someone, facts.table("left")),
    }
    return Chunk(raw, facts_apart)


def _addresses(
    plan: Plan, someone: Persons, contact: registers.Exported, account: registers.Exported
) -> list[pa.Array]:
    """Return what messages are sent to: the first contact's e-mail and phone, the first account."""
    first = contact.slot == records.CONTACT
    place = np.full(len(someone), -1)
    place[contact.person[first]] = np.flatnonzero(first)
    email = pc.utf8_lower(pc.utf8_trim_whitespace(contact.table["email"]))
    at = pa.array(place, mask=place < 0)
    opened = np.full(len(someone), -1)
    one = np.flatnonzero(account.slot == records.ACCOUNT)
    opened[account.person[one]] = one
    phone, number = contact.table["phone"].combine_chunks(), account.table["account_id"].combine_chunks()
    return [email.combine_chunks().take(at), phone.take(at), number.take(pa.array(opened, mask=opened < 0))]
