"""How records change: preferences declared, new addresses, merges and splits, assignments to tests."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit.world import columns, records
from cdpkit.world.catalogue import vocabulary, words
from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons
from cdpkit.world.plan import DAY, Plan
from cdpkit.world.records import CONTACT, CONTACT_AGAIN, Identity
from cdpkit.world.registers import Exported
from cdpkit.world.sending import CHANNELS, SLOTS

#: Local periods of the day a person may ask for, and the one each rhythm truly prefers.
PERIODS = ("morning", "noon", "afternoon", "evening", "night")
_TRUE_PERIOD = np.array([0, 0, 1, 3, 4, 2])
_ARMS = ["control", "voucher", "club"]


def true_period(persons: Persons) -> np.ndarray:
    """Return the place in `PERIODS` of each person's own period."""
    return _TRUE_PERIOD[persons.archetype]


def preferences(plan: Plan, persons: Persons, contact: Exported) -> pa.Table:
    """Return the channel and the period of the day that some contacts declared, not always the true ones."""
    rule, mine = plan.rules.slots, np.flatnonzero(contact.slot == CONTACT)
    me = Draws(plan.seed, persons.unit[contact.person[mine]])
    at = contact.created[mine] + (me.exponential(60.0, "declared when") * DAY).astype(np.int64)
    rows = np.flatnonzero(me.chance(rule.declared, "declares") & (at < plan.last))
    me, mine, at = me.take(rows), mine[rows], at[rows]
    index = contact.person[mine]
    channel = np.where(
        me.chance(rule.truthful, "true channel"),
        persons.channel[index],
        (me.uniform("said channel") * len(CHANNELS)).astype(np.int64),
    )
    period = np.where(
        me.chance(rule.truthful, "true period"),
        true_period(persons)[index],
        (me.uniform("said period") * len(PERIODS)).astype(np.int64),
    )
    return pa.table(
        {
            "contact_id": contact.table["contact_id"].take(pa.array(mine)),
            "preferred_channel": columns.words(channel, list(CHANNELS)),
            "preferred_period": columns.words(period, list(PERIODS)),
            "declared_at": columns.paris(at),
        }
    )


def _phone_moves(plan: Plan, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whether and when persons give up their mobile number."""
    me = Draws(plan.seed, unit)
    day = (plan.days * (0.1 + 0.85 * me.uniform("phone day"))).astype(np.int64)
    return me.chance(plan.rules.history.phone_moves, "phone moves"), day


def updates(plan: Plan, persons: Persons, who: Identity, contact: Exported) -> tuple[pa.Table, pa.Table]:
    """Return the new addresses and numbers of contacts, and the life of every address in the truth.

    A number given up may serve somebody else some months later.
    """
    rule, mine = plan.rules.history, np.flatnonzero(contact.slot == CONTACT)
    index = contact.person[mine]
    me, since = Draws(plan.seed, persons.unit[index]), (contact.created[mine] - plan.first) // DAY
    mail_day = (plan.days * (0.1 + 0.85 * me.uniform("mail day"))).astype(np.int64)
    moves = me.chance(rule.moves, "moves") & (mail_day > since)
    drops, phone_day = _phone_moves(plan, persons.unit[index])
    drops &= phone_day > since
    # The new number of some is the one their neighbour in the numbering gave up months before.
    other = persons.unit[index] ^ 1
    other_drops, other_day = _phone_moves(plan, other)
    other_drops &= other_day + 60 < phone_day
    recycled = drops & other_drops & (other < plan.n_persons) & me.chance(rule.recycled, "recycled")
    fresh = records.mobiles(plan, persons.unit[index], again=True)
    number = np.where(recycled, records.mobiles(plan, other), fresh)
    parts, lives = [], []
    for field, rows, day, value in (
        ("email", np.flatnonzero(moves), mail_day, who.email_again.take(pa.array(index))),
        ("phone", np.flatnonzero(drops), phone_day, records.phones(number, np.zeros(len(number), np.int64))),
    ):
        at = (
            plan.first
            + day[rows] * DAY
            + ((8 + 9 * me.take(rows).uniform("update " + field)) * 3600).astype(np.int64) * 1_000_000
        )
        parts.append(
            pa.table(
                {
                    "contact_id": contact.table["contact_id"].take(pa.array(mine[rows])),
                    "field": columns.words(np.zeros(len(rows), np.int64), [field]),
                    "value": value.take(pa.array(rows)),
                    "updated_at": columns.paris(at),
                }
            )
        )
        lives.append(
            pa.table(
                {
                    "person": pa.array(persons.unit[index[rows]]),
                    "kind_of_address": columns.words(np.zeros(len(rows), np.int64), [field]),
                    "old_dies_at": pa.array(at, pa.int64()).cast(pa.timestamp("us")),
                    "new_was_another's": pa.array(
                        recycled[rows] if field == "phone" else np.zeros(len(rows), bool)
                    ),
                }
            )
        )
    return pa.concat_tables(parts), pa.concat_tables(lives)


def merges(plan: Plan, persons: Persons, contact: Exported) -> tuple[pa.Table, pa.Table]:
    """Return the CRM's dated merges of duplicate contacts and splits of shared ones, and their truth.

    A merge is right but for a few; a split says that a contact of a shared address stands for one person.
    """
    rule, luck = plan.rules.history, Draws(plan.seed, persons.unit[contact.person])
    again = contact.slot == CONTACT_AGAIN
    first = np.full(len(persons), -1)
    first[contact.person[~again]] = np.flatnonzero(~again)
    seconds = np.flatnonzero(again & luck.chance(rule.merge, "merged"))
    into = first[contact.person[seconds]]
    at = np.maximum(contact.created[seconds], contact.created[into])
    at = at + ((20 + luck.take(seconds).exponential(90.0, "merged when")) * DAY).astype(np.int64)
    keep = at < plan.last
    seconds, into, at = seconds[keep], into[keep], at[keep]
    parting = np.flatnonzero(~again & ~persons.head[contact.person] & luck.chance(rule.split, "split"))
    apart = np.maximum(contact.created[parting], plan.first) + (
        luck.take(parting).uniform("split when") * plan.days * DAY
    ).astype(np.int64)
    keep = apart < plan.last
    parting, apart = parting[keep], apart[keep]
    row = np.concatenate([seconds, parting])
    what = np.repeat([0, 1], [len(seconds), len(parting)])
    target = pa.array(np.concatenate([into, parting]), mask=what == 1)
    when = np.concatenate([at, apart])
    ids = contact.table["contact_id"].combine_chunks()
    table = pa.table(
        {
            "contact_id": ids.take(pa.array(row)),
            "event": columns.words(what, ["merged", "split"]),
            "into_contact_id": ids.take(target),
            "decided_at": columns.paris(when),
        }
    )
    truth = pa.table(
        {
            "contact_id": table["contact_id"],
            "person": pa.array(persons.unit[contact.person[row]]),
            "what": table["event"],
            "happened_at": pa.array(when, pa.int64()).cast(pa.timestamp("us")),
        }
    )
    return table, truth


def assignments(
    plan: Plan, persons: Persons, contact: Exported, sends: dict[str, np.ndarray],
    held: dict[str, np.ndarray], names: list[str], of_day: np.ndarray,
) -> pa.Table:  # fmt: skip
    """Return who was assigned to what: campaigns' contacts sent and held back, hours, the programme.

    The propensity is that of the arm received.
    """
    rule, ids = plan.rules.slots, contact.table["contact_id"].combine_chunks()
    own = np.full(len(persons), -1)
    firsts = np.flatnonzero(contact.slot == CONTACT)
    own[contact.person[firsts]] = firsts
    sent = {name: values[sends["number"] < 0] for name, values in sends.items()}
    person = np.concatenate([sent["person"], held["person"]])
    day = np.concatenate([sent["day"], held["day"]])
    p = np.concatenate([sent["propensity"], 1 - held["propensity"]])
    arm = np.repeat([0, 1], [len(sent["person"]), len(held["person"])])
    me = Draws(plan.seed, persons.unit)
    slots = np.flatnonzero(me.take(sent["person"]).chance(rule.random_hour, "slot arm", sent["day"]))
    enrolled = np.flatnonzero((persons.arm >= 0) & (own >= 0))
    start = int(plan.rules.programme.at * plan.days)
    enrolled = enrolled[(persons.contact_day[enrolled] < start) & (persons.gone[enrolled] > start)]
    shares = np.array(plan.rules.programme.shares)
    tests = [*names, *(f"{name}:hour" for name in names), "PROGRAMME"]
    test = np.concatenate(
        [of_day[day], len(names) + of_day[sent["day"][slots]], np.full(len(enrolled), len(tests) - 1)]
    )
    hours = [f"{hour:02d}h" for hour in SLOTS]
    arms = ["sent", "held", *hours, *_ARMS]
    slot_of = np.full(24, 0)
    slot_of[list(SLOTS)] = np.arange(len(SLOTS))
    arm = np.concatenate([arm, 2 + slot_of[sent["hour"][slots]], 2 + len(hours) + persons.arm[enrolled]])
    who = np.concatenate([person, sent["person"][slots], enrolled])
    hour = np.array([plan.campaigns[d].hour if d in plan.campaigns else 6 for d in range(plan.days)])
    when = np.concatenate([day, sent["day"][slots], np.full(len(enrolled), start)])
    hour = np.where(test == len(tests) - 1, 6, hour[when])
    at = plan.first + when * DAY + (hour * 3600 - 600) * 1_000_000
    chance = np.concatenate([p, np.full(len(slots), 1 / len(SLOTS)), shares[persons.arm[enrolled]]])
    return pa.table(
        {
            "test_id": columns.words(test, tests),
            "contact_id": ids.take(pa.array(own[who], mask=own[who] < 0)),
            "assigned_at": columns.iso(at),
            "arm": columns.words(arm, arms),
            "propensity": pa.array(np.round(chance, 4)),
        }
    )


def companies(plan: Plan, persons: Persons, who: Identity, contact: Exported) -> dict[str, pa.Table]:
    """Return the companies of a business world, and the position each contact holds in one."""
    heads = np.flatnonzero(persons.head)
    home = Draws(plan.seed, persons.household[heads] + (1 << 42))
    text = vocabulary(plan.rules.sector.words)
    trade = home.pick(np.ones(len(text["trades"])), "trade")
    forms = columns.words(home.pick(np.array([5, 4, 2]), "legal form"), ["SARL", "SAS", "SA"])
    name = pc.binary_join_element_wise(
        columns.words(trade, text["trades"]), who.last.take(pa.array(heads)), forms, " "
    )
    size = (3 * np.exp(2.0 * np.abs(home.normal("size")))).astype(np.int64) + 1
    mine = persons.household[contact.person]
    role = Draws(plan.seed, persons.unit[contact.person]).pick(np.array([2, 4, 3, 3]), "role")
    return {
        "crm_companies": pa.table(
            {
                "company_id": columns.numbered(company_number(plan, persons.household[heads]), 8, "E"),
                "name": name,
                "trade": columns.words(trade, text["trades"]),
                "employees": pa.array(size),
                "postcode": columns.numbered(persons.postcode[heads], 5),
                "city": columns.words(persons.city[heads], [city for city, *_ in words()["cities"]]),
            }
        ),
        "crm_positions": pa.table(
            {
                "contact_id": contact.table["contact_id"],
                "company_id": columns.numbered(company_number(plan, mine), 8, "E"),
                "role": columns.words(role, ["director", "buyer", "user", "accountant"]),
                "since": columns.paris(contact.created),
            }
        ),
    }


def company_number(plan: Plan, household: np.ndarray) -> np.ndarray:
    """Return the public number of a company."""
    return records.scramble(household, plan.seed, "company", 10_000_019)


def sector_fields(plan: Plan, persons: Persons, contact: Exported) -> pa.Table:
    """Return the CRM's contacts with the further fields of the sector."""
    table, me = contact.table, Draws(plan.seed, persons.unit[contact.person])
    fields = vocabulary(plan.rules.sector.words).get("fields", {})
    for name in plan.rules.sector.crm_fields:
        values = fields[name]["values"]
        code = np.where(me.chance(0.3, "blank " + name), -1, me.pick(np.array(fields[name]["weights"]), name))
        table = table.append_column(name, columns.words(code, values))
    return table


def fields_table(plan: Plan) -> pa.Table:
    """Return the CRM's own description of its further fields, with their class of personal data."""
    fields, names = vocabulary(plan.rules.sector.words).get("fields", {}), list(plan.rules.sector.crm_fields)
    return pa.table(
        {
            "field": pa.array(names, pa.string()),
            "class": pa.array([fields[name]["class"] for name in names], pa.string()),
            "label_fr": pa.array([fields[name]["fr"] for name in names], pa.string()),
            "label_en": pa.array([fields[name]["en"] for name in names], pa.string()),
        }
    )
