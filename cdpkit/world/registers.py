"""The registers of persons: the CRM, the web shop's accounts and the loyalty cards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cdpkit.world import columns, records
from cdpkit.world.draws import Draws, scramble
from cdpkit.world.persons import Persons
from cdpkit.world.plan import DAY, Plan
from cdpkit.world.records import ACCOUNT, ACCOUNT_AGAIN, CARD, CARD_AGAIN, CONTACT, CONTACT_AGAIN, Identity

_ROUTES = ["web form", "store", "call centre", "partner", "event"]
_NUMBERS = 100_000_007


@dataclass
class Exported:
    """One source's file, and which person is behind each record: arrays aligned on the rows."""

    table: pa.Table
    person: np.ndarray
    slot: np.ndarray
    created: np.ndarray


def number(plan: Plan, unit: np.ndarray, slot: int, kind: str) -> np.ndarray:
    """Return the public number of a person's record: unique within a source, unrelated to the person's."""
    return scramble(unit * 2 + slot % 2, plan.seed, kind, _NUMBERS)


def account_ids(plan: Plan, unit: np.ndarray, again: np.ndarray) -> pa.Array:
    """Return account numbers; `again` chooses the second account."""
    return columns.numbered(scramble(unit * 2 + again, plan.seed, "account", _NUMBERS), 9, "A")


def card_ids(plan: Plan, unit: np.ndarray, again: np.ndarray) -> pa.Array:
    """Return loyalty numbers."""
    return columns.numbered(scramble(unit * 2 + again, plan.seed, "card", _NUMBERS), 9, "2900")


def _moment(plan: Plan, me: Draws, day: np.ndarray, stream: str) -> np.ndarray:
    """Return an instant of opening hours on a day."""
    return plan.first + day * DAY + ((8 + 9 * me.uniform(stream)) * 60).astype(np.int64) * 60_000_000


def contacts(plan: Plan, persons: Persons, who: Identity) -> Exported:
    """Return the CRM's contacts, some persons twice."""
    parts = []
    for slot in (CONTACT, CONTACT_AGAIN):
        me = Draws(plan.seed, persons.unit)
        day = persons.contact_day.copy()
        has = persons.contact & (persons.gone > day)
        if slot == CONTACT_AGAIN:
            has &= me.chance(plan.rules.population.crm_duplicate, "second contact")
            day = day + me.exponential(200.0, "second contact day").astype(np.int64)
        index = np.flatnonzero(has & (day < plan.days) & (day < persons.gone))
        me = me.take(index)
        created = _moment(plan, me, day[index], f"created {slot}")
        text = records.write(plan, persons, who, index, slot)
        place = pa.array(index)
        no_birth = me.chance(plan.rules.quality.missing_birth, "no birth", slot)
        swap = who.birth[index] + np.where(me.chance(0.02, "birth slip", slot), 31, 0)
        bare = me.chance(0.2, "no street", slot)
        gender = np.where(who.female[index], 0, 2) + me.chance(0.3, "civility", slot)
        gender = np.where(me.chance(0.08, "no gender", slot), -1, gender)
        table = pa.table(
            {
                "contact_id": columns.numbered(number(plan, persons.unit[index], slot, "contact"), 9, "C"),
                "first_name": text.first,
                "last_name": text.last,
                "gender": columns.words(gender, ["F", "Mme", "M", "M."]),
                "birth_date": columns.blank(columns.french_date(swap), ~no_birth),
                "email": text.email,
                "phone": text.phone,
                "street": columns.blank(who.street.take(place), ~bare),
                "postcode": columns.blank(
                    columns.numbered(who.postcode[index], 5), ~me.chance(0.06, "no postcode", slot)
                ),
                "city": columns.blank(who.city.take(place), ~bare),
                "country": columns.words(
                    me.pick(np.array([85, 10, 5]), "country", slot), ["FR", "France", "fr"]
                ),
                "created_at": columns.paris(created),
                "acquisition_route": columns.words(
                    me.pick(np.array([45, 30, 8, 12, 5]), "route", slot), _ROUTES
                ),
            }
        )
        parts.append(Exported(table, index, np.full(len(index), slot), created))
    return _together(parts)


def accounts(plan: Plan, persons: Persons, who: Identity, opened: np.ndarray, again: np.ndarray) -> Exported:
    """Return the web shop's accounts.

    Parameters
    ----------
    plan, persons, who
        The world and its persons.
    opened, again : array of int
        When each person opened the first and the second account, in UTC microseconds; -1 if never.
    """
    parts = []
    for slot, moment in ((ACCOUNT, opened), (ACCOUNT_AGAIN, again)):
        index = np.flatnonzero(moment >= 0)
        text = records.write(plan, persons, who, index, slot)
        table = pa.table(
            {
                "account_id": account_ids(plan, persons.unit[index], np.full(len(index), slot % 2)),
                "email": text.email,
                "first_name": text.first,
                "last_name": text.last,
                "phone": text.phone,
                "created_at": columns.iso(moment[index]),
            }
        )
        parts.append(Exported(table, index, np.full(len(index), slot), moment[index]))
    return _together(parts)


def cards(plan: Plan, persons: Persons, who: Identity, issued: np.ndarray, again: np.ndarray) -> Exported:
    """Return the loyalty cards, typed at the till; arguments as for `accounts`."""
    parts = []
    for slot, moment in ((CARD, issued), (CARD_AGAIN, again)):
        index = np.flatnonzero(moment >= 0)
        me = Draws(plan.seed, persons.unit[index])
        text = records.write(plan, persons, who, index, slot)
        table = pa.table(
            {
                "loyalty_id": card_ids(plan, persons.unit[index], np.full(len(index), slot % 2)),
                "first_name": text.first,
                "last_name": text.last,
                "email": text.email,
                "phone": text.phone,
                "postcode": columns.blank(
                    columns.numbered(who.postcode[index], 5), ~me.chance(0.08, "no postcode", slot)
                ),
                "issued_at": columns.paris(moment[index]),
            }
        )
        parts.append(Exported(table, index, np.full(len(index), slot), moment[index]))
    return _together(parts)


def _together(parts: list[Exported]) -> Exported:
    return Exported(
        pa.concat_tables([part.table for part in parts]),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("person", "slot", "created")),
    )


def products(plan: Plan) -> pa.Table:
    """Return the catalogue's file: one row a product and price."""
    shop, text = plan.shop, records.words()
    n = len(shop.ids)
    rows, moments, prices = [np.arange(n)], [np.full(n, plan.first - 400 * DAY)], [shop.prices[:, 0]]
    for k in range(shop.change_days.shape[1]):
        changed = np.flatnonzero(shop.change_days[:, k] < plan.days)
        rows.append(changed)
        moments.append(plan.first + shop.change_days[changed, k] * DAY)
        prices.append(shop.prices[changed, k + 1])
    row, moment, price = np.concatenate(rows), np.concatenate(moments), np.concatenate(prices)
    tags = [f"{shop.groups[g]}|{text['tiers'][t]}" for g, t in zip(shop.group, shop.tier, strict=True)]
    # Two changes of one product on one day: the later one holds.
    last = {(int(r), int(m)): place for place, (r, m) in enumerate(zip(row, moment, strict=True))}
    kept = np.array(sorted(last.values()))
    row, moment, price = row[kept], moment[kept], price[kept]
    return pa.table(
        {
            "product_id": columns.words(row, shop.ids),
            "name": columns.words(row, shop.names),
            "category": columns.words(shop.category_of[shop.group[row]], shop.categories),
            "brand": columns.words(shop.brand[row], text["brands"]),
            "tags": columns.words(row, tags),
            "tier": columns.words(shop.tier[row], text["tiers"]),
            "price": columns.amounts(price),
            "currency": columns.words(np.zeros(len(row), np.int64), ["EUR"]),
            "updated_at": columns.iso(moment),
        }
    )
