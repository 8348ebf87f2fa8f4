"""The truth tables: who is who and why things happened, in numbers, never in the lake."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit.world import columns
from cdpkit.world.baskets import Wishes
from cdpkit.world.behaviour import CANCEL, CAUSES, HELP, State
from cdpkit.world.draws import Draws
from cdpkit.world.events import Events, compares, shows
from cdpkit.world.history import PERIODS, true_period
from cdpkit.world.messages import Messages
from cdpkit.world.persons import CHANGES, Persons
from cdpkit.world.plan import DAY, FIRST_BOT, FIRST_VISITOR, Plan
from cdpkit.world.registers import Exported
from cdpkit.world.sending import CHANNELS, WELCOME
from cdpkit.world.visits import Visits
from cdpkit.world.voices import interests

_KINDS = ["person", "visitor", "bot"]


def _moment(us: np.ndarray, keep: np.ndarray | None = None) -> pa.Array:
    mask = None if keep is None else ~np.asarray(keep, bool)
    return pa.array(np.asarray(us, np.int64), pa.int64(), mask=mask).cast(pa.timestamp("us"))


def digests(values: pa.Array) -> pa.Array:
    """Return the SHA-256 of record ids that would spell out an address or a number."""
    unique = pc.unique(values)
    table = [None if v is None else sha256(v.encode()).hexdigest() for v in unique.to_pylist()]
    place = pc.index_in(values, unique)
    return pa.array(table, pa.string()).take(place)


def _letters(who: Persons) -> list[str]:
    """Return the order of each person's welcome messages, as letters."""
    table = np.array(WELCOME)
    return ["".join(row) for row in table[who.order].tolist()]


def persons(plan: Plan, who: Persons, seen: Visits) -> pa.Table:
    """Return one row a unit: persons with their latents, visitors and bots with their kind only."""
    strangers = np.unique(seen.unit[seen.person < 0])
    kind = np.where(strangers >= FIRST_BOT, 2, np.where(strangers >= FIRST_VISITOR, 1, 0))
    gone = who.gone < plan.days
    known = pa.table(
        {
            "person": pa.array(who.unit),
            "kind": columns.words(np.zeros(len(who), np.int64), _KINDS),
            "household": pa.array(who.household),
            "born_at": _moment(plan.first + who.born * DAY),
            "gone_at": _moment(plan.first + np.where(gone, who.gone, 0) * DAY, gone),
            "considered": pa.array(who.considered),
            "session_rate": pa.array(np.exp(who.session)),
            "buy_logit": pa.array(who.buy),
            "store_rate": pa.array(np.exp(who.store)),
            "project_rate": pa.array(who.episode_rate),
            "churn_rate": pa.array(who.churn),
            "message_effect": pa.array(who.effect),
            "tolerance": pa.array(who.tolerance),
            "machine_opens": pa.array(who.machine),
            "preferred_tier": pa.array(who.tier),
            "archetype": pa.array(who.archetype),
            "own_period": columns.words(true_period(who), list(PERIODS)),
            "own_channel": columns.words(who.channel, list(CHANNELS)),
            "wealth": pa.array(who.wealth),
            "price_sensitivity": pa.array(who.price),
            "interest": columns.words(interests(plan, who).argmax(axis=1), plan.shop.categories),
            "change": columns.words(np.where(who.change < len(CHANGES), who.change, -1), list(CHANGES)),
            "changed_at": _moment(
                plan.first + np.minimum(who.change_day, plan.days) * DAY, who.change_day < plan.days
            ),
            "upgraded_at": _moment(
                plan.first + np.minimum(who.upgrade_day, plan.days) * DAY, who.upgrade_day < plan.days
            ),
            "programme": columns.words(who.arm, ["control", "voucher", "club"]),
            "welcome_gap": pa.array(who.gap),
            "welcome_order": columns.words(np.arange(len(who)), _letters(who)),
            **{
                f"taste_{k}": pa.array(np.ascontiguousarray(who.taste[:, k]))
                for k in range(who.taste.shape[1])
            },
        }
    )
    others = pa.table({"person": pa.array(strangers), "kind": columns.words(kind, _KINDS)})
    return pa.concat_tables([known, others], promote_options="default")


def households(plan: Plan, who: Persons) -> pa.Table:
    """Return each person's household (a company, where households are companies) and its place in it."""
    return pa.table(
        {
            "person": pa.array(who.unit),
            "household": pa.array(who.household),
            "is_head": pa.array(who.head),
            "shares_device": pa.array(who.shared_device),
            "postcode_area": pa.array(who.postcode),
            "is_company": pa.array(np.full(len(who), bool(plan.rules.sector.companies))),
        }
    )


def identities(
    who: Persons, seen: Visits, contact: Exported, account: Exported, card: Exported, mail: Messages,
    called: pa.Table, called_truth: pa.Table,
) -> pa.Table:  # fmt: skip
    """Return the person behind each record; a shared record has a row a person.

    Addresses and phone numbers, which are record ids of the e-mail tool and of the call centre, appear
    as the SHA-256 of the value in the file.
    """
    parts = []
    for source, exported, key in (
        ("crm", contact, "contact_id"),
        ("shop", account, "account_id"),
        ("store", card, "loyalty_id"),
    ):
        parts.append((source, exported.table[key].combine_chunks(), who.unit[exported.person]))
    order = np.lexsort((seen.unit, seen.cookie))
    new = np.diff(seen.cookie[order], prepend=np.uint64(0)) != 0
    order = order[new | (np.diff(seen.unit[order], prepend=-1) != 0)]
    parts.append(("web", columns.hexes(seen.cookie[order], "ck"), seen.unit[order]))
    parts.append(("email", digests(mail.log["recipient"].combine_chunks()), who.unit[mail.person]))
    phone = digests(called["phone"].combine_chunks())
    rang = called_truth["person"].to_numpy()[~called_truth["wrote"].to_numpy(zero_copy_only=False)]
    parts.append(("calls", phone, rang))
    tables = [
        pa.table(
            {
                "source": columns.words(np.zeros(len(unit), np.int64), [source]),
                "record_id": record,
                "person": pa.array(unit),
            }
        )
        for source, record, unit in parts
    ]
    joined = pa.concat_tables(tables)
    return joined.group_by(joined.column_names).aggregate([])


def events(seen: Visits, pages: Events, row: np.ndarray) -> pa.Table:
    """Return who was behind each exported event, once an event."""
    there = np.zeros(len(pages), bool)
    there[row] = True
    unique = np.flatnonzero(there)
    return pa.table(
        {"event_id": columns.hexes(pages.key[unique]), "person": pa.array(seen.unit[pages.visit[unique]])}
    )


#: What a visit is for.
INTENTS = ("browse", "compare", "buy", "cancel", "support")


def intents(plan: Plan, seen: Visits) -> np.ndarray:
    """Return the place in `INTENTS` of each visit's intent."""
    return np.select(
        [seen.ordered, seen.origin == CANCEL, seen.origin == HELP, compares(plan, seen), seen.adds],
        [2, 3, 4, 1, 2],
        0,
    )


def sessions(plan: Plan, seen: Visits, wishes: Wishes) -> pa.Table:
    """Return each visit: who, on which cookie, in what state of mind, with what result."""
    wanted = wishes.product
    return pa.table(
        {
            "session": columns.hexes(seen.key, "s"),
            "person": pa.array(seen.unit),
            "cookie_id": columns.hexes(seen.cookie, "ck"),
            "started_at": _moment(seen.start),
            "z": pa.array(seen.z),
            "project": pa.array(seen.episode),
            "project_no": pa.array(seen.episode_no, mask=~seen.episode),
            "wanted": columns.words(wanted, plan.shop.ids),
            "adds": pa.array(seen.adds | seen.ordered),
            "ordered": pa.array(seen.ordered),
            "from_message": pa.array(seen.from_mail),
            "intent": columns.words(intents(plan, seen), list(INTENTS)),
            "cart_cause": columns.words(seen.cause, list(CAUSES)),
            "cause_shows": pa.array(shows(plan, seen) >= 0),
        }
    )


def messages(who: Persons, mail: Messages) -> pa.Table:
    """Return the truth of each message: who, by which arm, opened by a human or not."""
    facts = mail.facts
    return pa.table(
        {
            "message_id": columns.hexes(mail.key, "m"),
            "person": pa.array(who.unit[mail.person]),
            "sent_by": columns.words(facts["channel"], list(CHANNELS)),
            "fits_channel": pa.array(facts["channel"] == who.channel[mail.person]),
            "welcome_place": pa.array(facts["number"] + 1, mask=facts["number"] < 0),
            "random_arm": pa.array(facts["random_arm"]),
            "human_open": pa.array(facts["opened"]),
            "pressure": pa.array(facts["pressure"]),
            "effect": pa.array(facts["gain"]),
        }
    )


def state(plan: Plan, who: Persons, now: State, day: int) -> pa.Table:
    """Return the latent state of the persons who are there at a midnight."""
    here = np.flatnonzero((who.born <= day) & (day < who.gone))
    return pa.table(
        {
            "person": pa.array(who.unit[here]),
            "as_of": _moment(np.full(len(here), plan.first + day * DAY)),
            "alive": pa.array(now.alive[here]),
            "z": pa.array(now.z[here]),
            "project": pa.array(now.episode[here]),
            "boost": pa.array(now.boost[here]),
            "pressure": pa.array(now.pressure[here]),
            "subscribed": pa.array(now.subscribed[here]),
            "unhappy": pa.array(now.unhappy[here]),
        }
    )


def departures(plan: Plan, who: Persons, left: dict[str, np.ndarray]) -> pa.Table:
    """Return when persons stopped being customers; some came back later."""
    me = Draws(plan.seed, who.unit[left["person"]])
    moment = plan.first + left["day"] * DAY + (me.uniform("left", left["day"]) * DAY).astype(np.int64)
    return pa.table({"person": pa.array(who.unit[left["person"]]), "left_at": _moment(moment)})
