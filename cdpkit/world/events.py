"""Web events: each visit becomes a funnel of pages, with micro-behaviour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cdpkit.world import columns
from cdpkit.world.ads import CHANNELS as AD_CHANNELS
from cdpkit.world.ads import campaigns as ad_campaigns
from cdpkit.world.baskets import Baskets, Wishes
from cdpkit.world.behaviour import AD, CANCEL, COMPARING, DELIVERY, HELP, MAIL, PRICE, TIME
from cdpkit.world.catalogue import vocabulary
from cdpkit.world.draws import Draws, mix
from cdpkit.world.plan import Plan
from cdpkit.world.sending import campaign_names
from cdpkit.world.visits import APP, DEVICES, TABLET, Visits

#: Event types, in the order of the codes below.
TYPES = (
    "Page Viewed",
    "Signed Up",
    "Signed In",
    "Products Searched",
    "Product List Viewed",
    "Product Viewed",
    "Product Added",
    "Product Removed",
    "Cart Viewed",
    "Checkout Started",
    "Payment Info Entered",
    "Order Completed",
    "Page Viewed",
    "Page Viewed",
    "Page Viewed",
)
(LANDING, SIGN_UP, SIGN_IN, SEARCH, LIST, VIEW, ADD, REMOVE, CART, CHECKOUT, PAYMENT, ORDER,
 HELP_PAGE, CANCEL_PAGE, SHIPPING) = range(15)  # fmt: skip
PAGES = ("home", "account", "account", "search", "list", "product", "product", "cart", "cart", "checkout",
         "checkout", "confirmation", "help", "cancellation", "delivery")  # fmt: skip
#: Median seconds on each page, and where in a visit each type falls: from, width.
_SECONDS = np.array([9, 20, 8, 11, 17, 26, 3, 4, 12, 25, 35, 10.0, 40, 30, 15])
_FROM = np.array([0.0, 0.06, 0.02, 0.05, 0.08, 0.10, 0.72, 0.745, 0.76, 0.80, 0.85, 0.95, 0.3, 0.5, 0.79])
_WIDTH = np.array([0.0, 0.0, 0.0, 0.5, 0.55, 0.6, 0.02, 0.01, 0.02, 0.0, 0.0, 0.0, 0.4, 0.2, 0.0])
#: What the site notes of a visit brought by each advertising channel.
AD_REFERRERS = ("display", "social_paid", "video", "search_paid", "retargeting", "search_brand")


@dataclass
class Events:
    """Events in the order they happened within each visit; `visit` is the row in `Visits`."""

    visit: np.ndarray
    kind: np.ndarray
    product: np.ndarray
    quantity: np.ndarray
    key: np.ndarray
    ts: np.ndarray
    received: np.ndarray
    dwell: np.ndarray
    idle: np.ndarray
    signed: np.ndarray
    wanted: np.ndarray

    def __len__(self) -> int:
        return len(self.visit)


def shows(plan: Plan, visits: Visits) -> np.ndarray:
    """Return the cause that each visit's behaviour shows, -1 where none does."""
    return np.where(visits.draws.chance(plan.rules.carts.signal, "signal"), visits.cause, -1)


def compares(plan: Plan, visits: Visits) -> np.ndarray:
    """Return whether a visit compares products of the wanted group."""
    often = visits.episode & visits.draws.chance(0.45 * plan.rules.carts.signal, "compares")
    return (often & ~visits.ordered & ~visits.adds & ~visits.errand) | (shows(plan, visits) == COMPARING)


def counts(plan: Plan, visits: Visits) -> dict[int, np.ndarray]:
    """Return how many events of each type but additions to the cart each visit has."""
    rule, me = plan.rules.behaviour, visits.draws
    why, compare, errand = shows(plan, visits), compares(plan, visits), visits.errand
    purposeful = visits.ordered | visits.adds | compare | errand
    bounce = ~purposeful & ~visits.bot & me.chance(0.2, "bounce")
    depth = rule.views * np.exp(
        rule.views_z * np.clip(visits.z, -3, 3) + rule.views_episode * visits.episode + 0.9 * visits.bot
    )
    depth = np.where(compare, depth + 3.0, np.where(why == TIME, 0.3 * depth, depth))
    views = np.where(errand, 0, 1 + me.poisson(np.minimum(depth, 12.0), 30, "views"))
    stay = (~bounce & ~errand).astype(np.int64)
    signs = visits.known & (
        visits.ordered
        | me.chance(
            np.where(errand, 0.9, np.where(visits.slot == APP, rule.signin_app, rule.signin)), "sign in"
        )
    )
    left = visits.adds & ~visits.ordered
    looks = (visits.adds & me.chance(0.6, "cart")) | (
        visits.cart & ~bounce & ~errand & me.chance(0.35, "cart")
    )
    tries = visits.adds & visits.known & me.chance(0.28, "checkout")
    unsure = why == PRICE
    number = {
        LANDING: np.ones(len(visits), np.int64),
        SIGN_UP: visits.signs_up | (visits.ordered & ~visits.account),
        SIGN_IN: signs & visits.account,
        SEARCH: stay * me.poisson(0.45 + 0.6 * unsure, 4, "searches"),
        LIST: stay * me.poisson(0.7 + 1.2 * compare, 5, "lists"),
        VIEW: stay * views,
        REMOVE: left & me.chance(np.where(unsure, 0.6, 0.18), "remove"),
        CART: (visits.ordered | looks | unsure) + (unsure & me.chance(0.7, "cart again")),
        CHECKOUT: visits.ordered | tries | (why == DELIVERY),
        PAYMENT: visits.ordered,
        ORDER: visits.ordered,
        HELP_PAGE: np.where(
            visits.origin == HELP, 1 + me.poisson(0.8, 4, "help"), ~errand & me.chance(0.004, "help")
        ),
        CANCEL_PAGE: (visits.origin == CANCEL) | me.chance(0.0006 * ~visits.bot, "cancel page"),
        SHIPPING: (why == DELIVERY) | (visits.ordered & me.chance(0.15, "shipping")),
    }
    return {code: n.astype(np.int64) for code, n in number.items()}


def _browsing(visits: Visits, counts: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return visit, kind and rank among its kind of every event that is not an addition to the cart."""
    visit, kind, rank = [], [], []
    for code, n in counts.items():
        row = np.repeat(np.arange(len(visits)), n)
        visit.append(row)
        kind.append(np.full(len(row), code))
        rank.append(np.arange(len(row)) - np.repeat(np.cumsum(n) - n, n))
    return np.concatenate(visit), np.concatenate(kind), np.concatenate(rank)


def build(plan: Plan, visits: Visits, wishes: Wishes, baskets: Baskets) -> Events:
    """Return the events of visits."""
    number = counts(plan, visits)
    visit, kind, rank = _browsing(visits, number)
    visit = np.concatenate([visit, baskets.visit])
    kind = np.concatenate([kind, np.full(len(baskets.visit), ADD)])
    rank = np.concatenate([rank, baskets.line])
    key = mix(visits.key[visit] + (kind * 64 + rank + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    luck = Draws.keyed(key)
    # The first view and the first event of a kind come first, so that a product is seen before it is added.
    place = _FROM[kind] + _WIDTH[kind] * luck.uniform("place") * (rank > 0)
    product, wanted = _products(plan, visits, wishes, baskets, visit, kind, rank, luck)
    quantity = np.zeros(len(visit), np.int64)
    quantity[len(visit) - len(baskets.visit) :] = baskets.quantity
    order = np.lexsort((key, place, visit))
    visit, kind, product, wanted = visit[order], kind[order], product[order], wanted[order]
    quantity, key, luck = quantity[order], key[order], luck.take(order)
    ts, dwell, idle = _clock(plan, visits, visit, kind, wanted, luck)
    late = plan.rules.quality.late * np.where(visits.slot[visit] == APP, 2.0, 1.0)
    delay = np.where(
        luck.chance(late, "late"),
        luck.exponential(plan.rules.quality.late_hours * 3600, "lateness") + 1800,
        0.2 + 4 * luck.uniform("transport"),
    )
    signing = (kind == SIGN_IN) | (kind == SIGN_UP)
    first = np.full(len(visits), np.iinfo(np.int64).max)
    np.minimum.at(first, visit[signing], ts[signing])
    return Events(
        visit=visit,
        kind=kind,
        product=product,
        quantity=quantity,
        key=key,
        ts=ts,
        received=ts + (delay * 1e6).astype(np.int64),
        dwell=dwell,
        idle=idle,
        signed=ts >= first[visit],
        wanted=wanted,
    )


def _products(
    plan: Plan, visits: Visits, wishes: Wishes, baskets: Baskets, visit: np.ndarray, kind: np.ndarray,
    rank: np.ndarray, luck: Draws,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the product of each event (-1: none) and whether it is the one wanted."""
    product = np.full(len(visit), -1)
    views = np.flatnonzero(kind == VIEW)
    row = visit[views]
    sure = (rank[views] == 0) & (visits.ordered[row] | visits.adds[row])
    focused = sure | luck.take(views).chance(wishes.focus[row], "focus")
    near = compares(plan, visits)[row] & luck.take(views).chance(0.75, "near")
    free = wishes.free(row, luck.take(views), near)
    product[views] = np.where(focused, wishes.product[row], free)
    lists = np.flatnonzero((kind == LIST) | (kind == SEARCH))
    product[lists] = wishes.product[visit[lists]]
    product[len(visit) - len(baskets.visit) :] = baskets.product
    removed = kind == REMOVE
    product[removed] = wishes.product[visit[removed]]
    return product, (product == wishes.product[visit]) & (product >= 0)


def _clock(
    plan: Plan, visits: Visits, visit: np.ndarray, kind: np.ndarray, wanted: np.ndarray, luck: Draws
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return when each event happened, and how long it held the person, in ms."""
    bot = visits.bot[visit]
    pull = 0.35 * (wanted & (kind == VIEW)) + 0.15 * np.clip(visits.z[visit], -2, 2) * (kind == VIEW)
    seconds = _SECONDS[kind] * np.exp(0.7 * luck.normal("dwell") + pull)
    seconds = seconds * np.where(shows(plan, visits) == TIME, 0.45, 1.0)[visit]
    seconds = np.where(bot, 1.2 + 0.3 * luck.uniform("dwell"), np.minimum(seconds, 200.0))
    idle = np.where(
        ~bot & luck.chance(0.07, "idle"), np.minimum(luck.exponential(25.0, "idle time"), 90.0), 0.0
    )
    dwell, idle = (seconds * 1000).astype(np.int64), (idle * 1000).astype(np.int64)
    spent = dwell + idle
    passed = np.cumsum(spent) - spent
    opens = np.flatnonzero(np.diff(visit, prepend=-1))
    passed -= np.repeat(passed[opens], np.diff(np.append(opens, len(visit))))
    return visits.start[visit] + passed * 1000, dwell, idle


def table(plan: Plan, visits: Visits, events: Events, account_ids: pa.Array) -> tuple[pa.Table, np.ndarray]:
    """Return the web export, with repeats and late records, and the row of `events` behind each row.

    `account_ids` gives each visit's account, null where the person has none.
    """
    luck, quality = Draws.keyed(events.key), plan.rules.quality
    again = np.flatnonzero(luck.chance(quality.duplicate, "again"))
    row = np.concatenate([np.arange(len(events)), again])
    received = events.received[row]
    received[len(events) :] += 1_000_000 * (1 + (60 * luck.take(again).uniform("again at")).astype(np.int64))
    keep = received < plan.last
    row, received = row[keep], received[keep]
    order = np.argsort(events.ts[row], kind="stable")
    row, received = row[order], received[order]
    return _export(plan, visits, events, row, received, account_ids), row


def visits_campaigns(plan: Plan, visits: Visits) -> tuple[list[str], np.ndarray]:
    """Return the campaigns that bring visits, and the place of each visit's, -1 if none does."""
    mails, of_day = campaign_names(plan)
    letter = len(of_day[of_day >= 0]) + np.maximum(visits.letter, 0)
    mailed = np.where(visits.letter >= 0, letter, of_day[np.minimum(visits.day, plan.days - 1)])
    quarters, of_quarter = ad_campaigns(plan)
    advertised = len(mails) + of_quarter[visits.day] * len(AD_CHANNELS) + visits.origin - AD
    code = np.where(visits.origin == MAIL, mailed, np.where(visits.origin >= AD, advertised, -1))
    return [*mails, *quarters], code


def _export(
    plan: Plan, visits: Visits, events: Events, row: np.ndarray, received: np.ndarray, account_ids: pa.Array
) -> pa.Table:
    text, shop = vocabulary(plan.rules.sector.words), plan.shop
    visit, kind, product = events.visit[row], events.kind[row], events.product[row]
    luck, slot = Draws.keyed(events.key[row]), visits.slot[visit]
    landing, shown = kind == LANDING, product >= 0
    item = shown & (kind >= VIEW)
    listed = np.where(shown, product, 0)
    group = shop.group[listed]
    price = np.where(item, shop.price(listed, visits.day[visit]), 0)
    bot, page = visits.bot[visit], np.isin(kind, (LANDING, LIST, VIEW))
    scroll = np.clip(
        0.35 + 0.16 * luck.normal("scroll") + 0.08 * np.log1p(events.dwell[row] / 2e4), 0.02, 1.0
    )
    hover = (events.dwell[row] * luck.uniform("hover") * 0.4).astype(np.int64)
    moves = (events.dwell[row] / 450 * np.exp(0.4 * luck.normal("moves"))).astype(np.int64)
    mouse = (slot == 1) & ~bot
    brought, sources = visits.origin[visit], [*text["referrers"], "email", *AD_REFERRERS]
    came = Draws.keyed(visits.key[visit]).pick(np.array([42, 30, 12, 11, 5]), "referrer")
    came = np.where(brought == MAIL, len(text["referrers"]), came)
    came = np.where(brought >= AD, len(text["referrers"]) + 1 + brought - AD, came)
    campaigns, code_of_visit = visits_campaigns(plan, visits)
    queries = [*shop.groups, *text["queries_common"]]
    unsure = shows(plan, visits)[visit] == PRICE
    vague = len(shop.groups) + np.where(
        unsure, 0, luck.pick(np.ones(len(text["queries_common"])), "vague query")
    )
    query = np.where(luck.chance(np.where(unsure, 0.3, 0.8), "query"), group, vague)
    category = np.where(shown, shop.category_of[group], -1)
    return pa.table(
        {
            "event_id": columns.hexes(events.key[row]),
            "cookie_id": columns.hexes(visits.cookie[visit], "ck"),
            "account_id": columns.blank(account_ids.take(pa.array(visit)), events.signed[row]),
            "event_type": columns.words(kind, list(TYPES)),
            "ts": pa.array(events.ts[row], pa.int64()).cast(pa.timestamp("us")),
            "received_at": pa.array(received, pa.int64()).cast(pa.timestamp("us")),
            "channel": columns.words((slot == APP).astype(np.int64), ["site", "app"]),
            "page": columns.words(kind, list(PAGES)),
            "product_id": columns.words(np.where(item, product, -1), shop.ids),
            "category": columns.words(np.where(kind == SEARCH, -1, category), shop.categories),
            "brand": columns.words(np.where(item, shop.brand[listed], -1), text["brands"]),
            "query": columns.words(np.where(kind == SEARCH, query, -1), queries),
            "campaign_id": columns.words(code_of_visit[visit], campaigns),
            "referrer": columns.words(np.where(landing, came, -1), sources),
            "device": columns.words(np.where(slot == APP, 0, slot), list(DEVICES[: TABLET + 1])),
            "quantity": pa.array(events.quantity[row], mask=events.quantity[row] == 0),
            "price": pa.array(price / 100, mask=~item),
            "currency": columns.words(np.where(item, 0, -1), ["EUR"]),
            "dwell_ms": pa.array(events.dwell[row]),
            "scroll_share": pa.array(np.round(scroll, 3), mask=~page | bot),
            "hover_ms": pa.array(hover, mask=~mouse),
            "mouse_moves": pa.array(moves, mask=~mouse & ~bot),
            "idle_ms": pa.array(events.idle[row], mask=events.idle[row] == 0),
        }
    )
