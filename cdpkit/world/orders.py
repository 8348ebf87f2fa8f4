"""Orders on line with their returns and cancellations, and store tickets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cdpkit.world import columns
from cdpkit.world.baskets import Baskets, fill, store_product
from cdpkit.world.draws import Draws, mix
from cdpkit.world.events import ORDER, Events, visits_campaigns
from cdpkit.world.persons import Persons, rungs
from cdpkit.world.plan import DAY, Plan
from cdpkit.world.visits import Visits

_HOUR = 3_600_000_000
#: A store is open from 9 to 20, local time, and fuller towards the evening (1: as full all day).
_OPEN, _CLOSE, _LATE = 9, 20, 0.65


@dataclass
class Sold:
    """Orders on line, one row each, for what follows from them."""

    key: np.ndarray
    person: np.ndarray
    day: np.ndarray
    at: np.ndarray
    product: np.ndarray
    account: pa.Array
    trouble: np.ndarray
    loaded: np.ndarray


def online(
    plan: Plan, persons: Persons, visits: Visits, events: Events, carts: Baskets, account_ids: pa.Array
) -> dict[str, pa.Table]:
    """Return the tables of `place`: the web shop's orders and lines, and the truth about each order."""
    return place(plan, persons, visits, events, carts, account_ids)[0]


def place(
    plan: Plan, persons: Persons, visits: Visits, events: Events, carts: Baskets, account_ids: pa.Array
) -> tuple[dict[str, pa.Table], Sold, pa.Table]:
    """Return the web shop's orders and lines, and the truth about each order.

    Returns
    -------
    dict
        Tables ``shop_orders``, ``shop_order_lines`` and ``orders`` (the truth).
    Sold
        The orders as arrays.
    Table
        All orders, those not loaded yet included.
    """
    done = np.flatnonzero(events.kind == ORDER)
    visit, ordered_at = events.visit[done], events.ts[done]
    n, luck = len(done), visits.draws.take(visit)
    rank = np.full(len(visits), -1)
    rank[visit] = np.arange(n)
    mine = rank[carts.visit] >= 0
    order, line = rank[carts.visit[mine]], carts.line[mine]
    product, quantity = carts.product[mine], carts.quantity[mine]
    price = plan.shop.price(product, visits.day[carts.visit[mine]])
    gross = np.bincount(order, price * quantity, n).astype(np.int64)
    items = np.bincount(order, quantity, n).astype(np.int64)
    rule, person = plan.rules.orders, visits.person[visit]
    coupon = visits.from_mail[visit] & luck.chance(rule.discount_share, "coupon")
    discount = np.where(coupon, gross // 10, 0)
    amount = gross - discount
    cancelled = luck.chance(rule.cancel, "cancel")
    cancelled_at = ordered_at + ((0.2 + 22 * luck.uniform("cancel hour")) * _HOUR).astype(np.int64)
    returned = ~cancelled & luck.chance(
        np.minimum(rule.return_share * persons.returns[person], 0.6), "return"
    )
    returned_at = ordered_at + ((4 + 22 * luck.uniform("return day")) * DAY).astype(np.int64)
    part = np.where(luck.chance(0.55, "whole"), 1.0, 0.2 + 0.6 * luck.uniform("part"))
    loaded_at = (ordered_at // DAY + 1) * DAY + 3 * _HOUR
    loaded_at += np.where(luck.chance(rule.late_load, "late"), 1 + luck.poisson(1.5, 6, "late days"), 0) * DAY
    cancelled &= cancelled_at < plan.last
    returned &= returned_at < plan.last
    key = mix(visits.key[visit] + np.uint64(0x6F72))
    order_id = columns.hexes(key, "o")
    account = account_ids.take(pa.array(visit))
    campaigns, code = visits_campaigns(plan, visits)
    orders = pa.table(
        {
            "order_id": order_id,
            "account_id": account,
            "ordered_at": columns.iso(ordered_at),
            "amount": columns.amounts(amount),
            "currency": columns.words(np.zeros(n, np.int64), ["EUR"]),
            "discount": columns.amounts(discount),
            "n_items": pa.array(items),
            "campaign_id": columns.words(code[visit], campaigns),
            "cancelled_at": columns.iso(cancelled_at, cancelled),
            "returned_at": columns.iso(returned_at, returned),
            "returned_amount": columns.blank(columns.amounts((amount * part).astype(np.int64)), returned),
            "loaded_at": columns.iso(loaded_at),
        }
    )
    rows = np.lexsort((line, order))
    order, line, product, quantity, price = (
        order[rows],
        line[rows],
        product[rows],
        quantity[rows],
        price[rows],
    )
    lines = pa.table(
        {
            "order_id": order_id.take(pa.array(order)),
            "line_no": pa.array(line + 1),
            "account_id": account.take(pa.array(order)),
            "ordered_at": columns.iso(ordered_at[order]),
            "product_id": columns.words(product, plan.shop.ids),
            "quantity": pa.array(quantity),
            "unit_price": columns.amounts(price),
            "currency": columns.words(np.zeros(len(order), np.int64), ["EUR"]),
        }
    )
    # An order the nightly load has not brought yet is not in the export.
    loaded = loaded_at < plan.last
    truth = _truth(plan, order_id, visits.unit[visit], ordered_at, "site", amount, np.ones(n, bool),
                   visits.episode[visit], loaded)  # fmt: skip
    lead = np.zeros(n, np.int64)
    lead[order[::-1]] = product[::-1]
    me = Draws(plan.seed, visits.unit[visit])
    day = visits.day[visit]
    trouble = me.chance(plan.rules.behaviour.problem, "problem", day)
    sold = Sold(key, person, day, ordered_at, lead, account, trouble, loaded)
    tables = {
        "shop_orders": orders.filter(pa.array(loaded)),
        "shop_order_lines": lines.filter(pa.array(loaded[order])),
        "orders": truth,
    }
    return tables, sold, orders


def _truth(
    plan: Plan, order_id: pa.Array, unit: np.ndarray, at: np.ndarray, channel: str, amount: np.ndarray,
    shows: np.ndarray, project: np.ndarray, exported: np.ndarray,
) -> pa.Table:  # fmt: skip
    return pa.table(
        {
            "order_id": order_id,
            "person": pa.array(unit),
            "ordered_at": pa.array(at, pa.int64()).cast(pa.timestamp("us")),
            "channel": columns.words(np.zeros(len(unit), np.int64), [channel]),
            "amount_minor": pa.array(amount),
            "attributable": pa.array(shows),
            "project": pa.array(project),
            "exported": pa.array(exported),
        }
    )


def store_instants(plan: Plan, persons: Persons, index: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Return when persons bought in a store on days, within opening hours."""
    me = Draws(plan.seed, persons.unit[index])
    hour = _OPEN + (_CLOSE - _OPEN) * me.uniform("store hour", day) ** _LATE
    midnight = plan.first + day * DAY
    return (
        midnight
        + ((hour - columns.paris_offset(midnight)) * _HOUR).astype(np.int64) // 60_000_000 * 60_000_000
    )


def tickets(
    plan: Plan, persons: Persons, bought: dict[str, np.ndarray], cards: pa.Array
) -> dict[str, pa.Table]:
    """Return the tills' tickets, one row a line, and the truth about each.

    `cards` gives the card shown at each purchase, null where none was.
    """
    index, day = bought["person"], bought["day"]
    me, n = Draws(plan.seed, persons.unit[index]), len(index)
    key = me.bits("ticket", day)
    sold_at = store_instants(plan, persons, index, day)
    shares = plan.shop.group_shares(persons.taste)
    wanted = store_product(plan, persons, shares, bought)
    basket = fill(plan, Draws.keyed(key), wanted, shares[index], rungs(plan, persons, index, day))
    rows = np.lexsort((basket.line, basket.visit))
    ticket, line, product, quantity = (
        getattr(basket, name)[rows] for name in ("visit", "line", "product", "quantity")
    )
    price = plan.shop.price(product, day[ticket])
    ticket_id = columns.hexes(key, "t")
    store = Draws(plan.seed, persons.household[index] + (1 << 43)).pick(np.ones(12), "store")
    table = pa.table(
        {
            "ticket_id": ticket_id.take(pa.array(ticket)),
            "line_no": pa.array(line + 1),
            "loyalty_id": cards.take(pa.array(ticket)),
            "store_id": columns.numbered(store[ticket] + 1, 3, "S"),
            "sold_at": columns.paris(sold_at[ticket]),
            "product_id": columns.words(product, plan.shop.ids),
            "quantity": pa.array(quantity),
            "unit_price": columns.amounts(price, ","),
        }
    )
    amount = np.bincount(ticket, price * quantity, n).astype(np.int64)
    truth = _truth(plan, ticket_id, persons.unit[index], sold_at, "store", amount, bought["card"],
                   bought["episode"], np.ones(n, bool))  # fmt: skip
    return {"store_tickets": table, "orders": truth}
