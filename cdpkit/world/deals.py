"""What persons commit to: quotes, contracts with their terms, bookings, watched products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit.world import columns
from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons
from cdpkit.world.plan import DAY, Plan

_HOUR = 3_600_000_000
_KINDS = ["wish list", "stock alert", "price alert"]
_REASONS = ["price", "dissatisfaction", "no longer needed", "other"]
_SAID = ["price", "service", "moved", ""]


@dataclass
class Reach:
    """What a person is known by: e-mail address, contact, account; null where none."""

    email: pa.Array
    phone: pa.Array
    account: pa.Array
    contact: pa.Array


def instants(plan: Plan, me: Draws, day: np.ndarray, stream: str) -> np.ndarray:
    """Return instants of the waking hours of days."""
    return plan.first + day * DAY + ((6 + 15 * me.uniform(stream, day)) * _HOUR).astype(np.int64)


def euros(n: int) -> pa.Array:
    """Return the currency of `n` amounts."""
    return columns.words(np.zeros(n, np.int64), ["EUR"])


def quotes(
    plan: Plan, persons: Persons, facts: dict[str, np.ndarray], bought: dict[str, np.ndarray], reach: Reach
) -> tuple[pa.Table, pa.Table]:
    """Return the quotes asked for and the truth behind each.

    A quote is accepted when its project ends in an order while it is valid. `bought` gives person, project
    number and day of the orders placed within projects.
    """
    index, day, number = facts["person"], facts["day"], facts["episode_no"]
    me, rule = Draws(plan.seed, persons.unit[index]), plan.rules.quotes
    asked = instants(plan, me, day, "quote time")
    key = me.bits("quote", day)
    place = {
        (int(p), int(k)): int(d)
        for p, k, d in zip(*(bought[c] for c in ("person", "number", "day")), strict=True)
    }
    ended = np.array(
        [place.get((int(p), int(k)), 10**6) for p, k in zip(index, number, strict=True)], dtype=np.int64
    )
    valid = asked + rule.valid_days * DAY
    accepted = (ended >= day) & (ended <= day + rule.valid_days) & (ended < plan.days)
    accepted_at = np.maximum(plan.first + ended * DAY + 22 * _HOUR, asked + _HOUR)
    # Of the others, some say no in time: those who find it dear, mostly.
    dear = sigmoid_price(persons.price[index])
    refuses = ~accepted & me.chance(0.25 + 0.4 * dear, "quote refused", day)
    refused_at = asked + ((1 + (rule.valid_days - 2) * me.uniform("refusal", day)) * DAY).astype(np.int64)
    refuses &= refused_at < plan.last
    accepted &= accepted_at < plan.last
    amount = plan.shop.price(facts["wanted"], day) * (1 + me.poisson(0.6, 4, "quote size", day))
    quote_id = columns.hexes(key, "q")
    table = pa.table(
        {
            "quote_id": quote_id,
            "email": reach.email.take(pa.array(index)),
            "account_id": reach.account.take(pa.array(index)),
            "asked_at": columns.iso(asked),
            "channel": columns.words(
                me.pick(np.array([7, 2, 1]), "quote channel", day), ["site", "store", "call"]
            ),
            "product_id": columns.words(facts["wanted"], plan.shop.ids),
            "amount": columns.amounts(amount),
            "currency": euros(len(index)),
            "valid_until": columns.iso(valid),
            "accepted_at": columns.iso(accepted_at, accepted),
            "declined_at": columns.iso(refused_at, refuses),
            "need": columns.words(
                plan.shop.category_of[plan.shop.group[facts["wanted"]]], plan.shop.categories
            ),
        }
    )
    truth = pa.table(
        {
            "quote_id": quote_id,
            "person": pa.array(persons.unit[index]),
            "leads_to_order": pa.array(accepted),
            "finds_it_dear": pa.array(dear),
        }
    )
    return table, truth


def sigmoid_price(price: np.ndarray) -> np.ndarray:
    """Return price sensitivity as a share between 0 and 1."""
    return price / (1 + price)


def contracts(
    plan: Plan, persons: Persons, facts: dict[str, np.ndarray], reach: Reach
) -> tuple[pa.Table, pa.Table]:
    """Return contracts, one row a term, and the truth about each decision to renew or to cancel."""
    rule = plan.rules.contracts
    holders = np.flatnonzero((persons.contract_day < plan.days) & (persons.gone > persons.contract_day))
    rows = zip(facts["person"].tolist(), facts["day"].tolist(), range(len(facts["day"])), strict=True)
    decided = {(person, day): place for person, day, place in rows}
    person, term, decision = [], [], []
    for holder in holders.tolist():
        start = int(persons.contract_day[holder])
        for k in range(1 + (plan.days - start) // rule.term_days):
            begins = start + k * rule.term_days
            place = decided.get((holder, begins + rule.term_days - rule.notice_days), -1)
            person.append(holder)
            term.append(k)
            decision.append(place)
            if (place >= 0 and facts["cancels"][place]) or begins + rule.term_days > persons.gone[holder]:
                break
    index, number, at = (np.array(values, dtype=np.int64) for values in (person, term, decision))
    me = Draws(plan.seed, persons.unit[index])
    known = at >= 0
    # The last row stands for no decision.
    said = {name: np.append(values, np.zeros(1, values.dtype))[at] for name, values in facts.items()}
    cancels, reason = known & said["cancels"], said["reason"]
    begins = persons.contract_day[index] + number * rule.term_days
    signed = instants(plan, me, persons.contract_day[index] + (number > 0) * 0, "signed")
    starts, ends = plan.first + begins * DAY, plan.first + (begins + rule.term_days) * DAY
    chosen = instants(plan, me, begins + rule.term_days - rule.notice_days, "decided")
    renewed = known & ~cancels & (ends < plan.last)
    policy = me.bits("contract")
    key = me.bits("contract term", number)
    level = np.exp(0.25 * persons.tier[index]) * (1.04**number)
    contract_id = columns.hexes(key, "k")
    table = pa.table(
        {
            "contract_id": contract_id,
            "policy_id": columns.hexes(policy, "n"),
            "contact_id": reach.contact.take(pa.array(index)),
            "signed_at": columns.iso(np.where(number > 0, starts, signed)),
            "channel": columns.words(
                me.pick(np.array([4, 4, 2]), "contract channel"), ["site", "store", "call"]
            ),
            "product_id": columns.words(
                me.bits("contract product").astype(np.int64) % len(plan.shop.ids), plan.shop.ids
            ),
            "amount": columns.amounts((rule.price * level).astype(np.int64)),
            "currency": euros(len(index)),
            "starts_at": columns.iso(starts),
            "ends_at": columns.iso(ends),
            "renewed_at": columns.iso(ends, renewed),
            "cancelled_at": columns.iso(chosen, cancels & (chosen < plan.last)),
            "cancel_reason": columns.words(
                np.where(
                    cancels & me.chance(0.7, "reason given", number), np.where(reason < 3, reason, -1), -1
                ),
                _SAID,
            ),
        }
    )
    truth = pa.table(
        {
            "contract_id": contract_id,
            "person": pa.array(persons.unit[index]),
            "decided": pa.array(known),
            "rise": pa.array(said["rise"], mask=~known),
            "p_cancel": pa.array(said["p"], mask=~known),
            "cancels": pa.array(cancels),
            "because": columns.words(np.where(cancels, reason, -1), _REASONS),
        }
    )
    return table, truth


def watchlists(plan: Plan, persons: Persons, facts: dict[str, np.ndarray], reach: Reach) -> pa.Table:
    """Return watched products, of those who have an account; a watch ends with an order or by hand."""
    has = reach.account.is_valid().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(has[facts["person"]])
    index, day, kind, wanted = (facts[name][rows] for name in ("person", "day", "kind", "wanted"))
    # One watch a person, product and kind: the first.
    code = (index * 10_000 + wanted) * 3 + kind
    _, first = np.unique(code, return_index=True)
    index, day, kind, wanted = index[first], day[first], kind[first], wanted[first]
    me = Draws(plan.seed, persons.unit[index])
    added = instants(plan, me, day, "watched")
    removed = added + (me.exponential(60.0, "unwatched", day) * DAY).astype(np.int64)
    return pa.table(
        {
            "account_id": reach.account.take(pa.array(index)),
            "product_id": columns.words(wanted, plan.shop.ids),
            "kind": columns.words(kind, _KINDS),
            "added_at": columns.iso(added),
            "removed_at": columns.iso(removed, (removed < plan.last) & me.chance(0.5, "unwatches", day)),
        }
    )


def bookings(
    plan: Plan, orders: pa.Table, product: pa.Array, key: np.ndarray, at: np.ndarray, loaded: np.ndarray
) -> pa.Table:
    """Return the bookings that orders made: what takes place later, some cancelled before."""
    rule, luck = plan.rules.sector, Draws.keyed(key)
    booked = np.flatnonzero(luck.chance(rule.bookings, "booking") & loaded)
    luck, at = luck.take(booked), at[booked]
    starts = (at // DAY + 2 + luck.exponential(rule.lead_days, "lead").astype(np.int64)) * DAY + 8 * _HOUR
    ends = starts + (1 + luck.poisson(rule.stay_days, 30, "stay")) * DAY
    cancelled = at + (luck.uniform("cancelled when") * (starts - at)).astype(np.int64)
    gives_up = luck.chance(rule.booking_cancel, "cancelled") & (cancelled < plan.last)
    row = pa.array(booked)
    return pa.table(
        {
            "booking_id": columns.hexes(luck.bits("booking id"), "b"),
            "order_id": orders["order_id"].take(row),
            "account_id": orders["account_id"].take(row),
            "booked_at": columns.iso(at),
            "channel": columns.words(np.zeros(len(at), np.int64), ["site"]),
            "product_id": product.take(row),
            "amount": orders["amount"].take(row),
            "currency": euros(len(at)),
            "starts_at": columns.iso(starts),
            "ends_at": columns.iso(ends),
            "cancelled_at": columns.iso(cancelled, gives_up),
        }
    )


def first_of(values: pa.Array, persons: np.ndarray, keep: np.ndarray, n: int) -> pa.Array:
    """Return one value a person, from the rows kept; null where a person has none."""
    place, rows = np.full(n, -1), np.flatnonzero(keep)
    place[persons[rows]] = rows
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return pc.take(values, pa.array(place, mask=place < 0))
