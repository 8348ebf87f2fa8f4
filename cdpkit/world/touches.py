"""What advertising partners report: exposures, clicks, cookie matches and spend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cdpkit.world import ads, columns, consents
from cdpkit.world.behaviour import AD
from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons
from cdpkit.world.plan import DAY, Plan
from cdpkit.world.visits import Visits, starts

#: The partner that reports each advertising channel.
PARTNERS = ("adnet", "sociable", "adnet", "finder", "retarget", "finder")
_NAMES = ("adnet", "sociable", "finder", "retarget")
_PARTNER = np.array([_NAMES.index(name) for name in PARTNERS])
_SECOND = 1_000_000


@dataclass
class Reported:
    """The partners' files and the truth behind them."""

    touches: pa.Table
    matches: pa.Table
    spend: pa.Table
    truth: pa.Table
    cookies: pa.Table


def partner_cookie(
    plan: Plan, unit: np.ndarray, partner: np.ndarray, day: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the partner's cookie of persons on days, and the days it is born and dies (exponential life)."""
    owner, mean = Draws(plan.seed, unit + (1 << 48)), plan.rules.population.partner_cookie_days
    generation, begins = np.zeros(len(unit), np.int64), np.full(len(unit), -60.0)
    ends = begins + owner.exponential(mean, "partner life", partner, 0)
    for k in range(1, 1 + int(6 + 3 * (plan.days + 60) / max(mean, 1.0))):
        over = ends <= day
        if not over.any():
            break
        begins = np.where(over, ends, begins)
        generation += over
        ends = np.where(over, ends + owner.exponential(mean, "partner life", partner, k), ends)
    return owner.bits("partner cookie", partner, generation), begins, ends


def build(plan: Plan, persons: Persons, facts: dict[str, np.ndarray], seen: Visits) -> Reported:
    """Return what partners report of the exposures and of the visits they brought."""
    clicks = np.flatnonzero(seen.origin >= AD)
    shown_to, shown_on, shown = facts["person"], facts["day"], facts["channel"]
    me = Draws(plan.seed, persons.unit[shown_to])
    shown_at = starts(plan, shown_on, persons.archetype[shown_to], me.uniform("ad hour", shown_on))
    # An impression that is clicked the same day comes just before the visit.
    at_click = {(int(p), int(d)): int(s) for p, d, s in zip(
        seen.person[clicks], seen.day[clicks], seen.start[clicks], strict=True)}  # fmt: skip
    rows = [at_click.get(pair, 0) for pair in zip(shown_to.tolist(), shown_on.tolist(), strict=True)]
    before = np.array(rows, dtype=np.int64) - 30 * _SECOND
    shown_at = np.where(before > 0, np.minimum(shown_at, before), shown_at)
    person = np.concatenate([shown_to, seen.person[clicks]])
    channel = np.concatenate([shown, seen.origin[clicks] - AD])
    day = np.concatenate([shown_on, seen.day[clicks]])
    clicked = np.repeat([False, True], [len(shown_to), len(clicks)])
    at = np.concatenate([shown_at, seen.start[clicks] - 3 * _SECOND])
    rule = plan.rules.ads
    cost = np.where(clicked, np.array(rule.click_cost)[channel], np.array(rule.cost)[channel])
    unit = persons.unit[person]
    key = Draws(plan.seed, unit).bits("touch", day, channel * 2 + clicked)
    partner = _PARTNER[channel]
    cookie, begins, ends = partner_cookie(plan, unit, partner, day)
    own = np.concatenate([np.zeros(len(shown_to), np.uint64), seen.cookie[clicks]])
    names, quarter = ads.campaigns(plan)
    campaign = quarter[day] * len(ads.CHANNELS) + channel
    touches = pa.table(
        {
            "touch_id": columns.hexes(key, "w"),
            "cookie_id": columns.blank(columns.hexes(own, "ck"), clicked),
            "partner_cookie_id": columns.hexes(cookie, "pc"),
            "partner": columns.words(partner, list(_NAMES)),
            "channel": columns.words(channel, list(ads.CHANNELS)),
            "campaign_id": columns.words(campaign, names),
            "kind": columns.words(clicked.astype(np.int64), ["impression", "click"]),
            "shown_at": columns.iso(at),
            "cost": columns.amounts(cost),
            "currency": columns.words(np.zeros(len(key), np.int64), ["EUR"]),
        }
    )
    truth = pa.table({"touch_id": touches["touch_id"], "person": pa.array(unit), "follows_intent": pa.array(
        channel >= ads.RETARGETING)})  # fmt: skip
    matches, met = _matches(plan, persons, seen)
    live = [np.concatenate(pair) for pair in zip((cookie, begins, ends, unit, partner), met, strict=True)]
    return Reported(
        touches, matches, _spend(plan, day, campaign, clicked, cost, names), truth, _cookies(*live)
    )


def _matches(plan: Plan, persons: Persons, seen: Visits) -> tuple[pa.Table, tuple[np.ndarray, ...]]:
    """Return the pairs of own and partner cookies met at visits where advertising is allowed."""
    allowed = consents.advertising(plan, seen) & (seen.person >= 0)
    rows, partner = [], []
    for place, name in enumerate(_NAMES):
        met = allowed & seen.draws.chance(plan.rules.population.partner_match, "match " + name)
        rows.append(np.flatnonzero(met))
        partner.append(np.full(len(rows[-1]), place))
    row, of = np.concatenate(rows), np.concatenate(partner)
    cookie, begins, ends = partner_cookie(plan, seen.unit[row], of, seen.day[row])
    own, at = seen.cookie[row], seen.start[row] + 25 * _SECOND
    # A pair is told once a month at most: the first time.
    month = seen.day[row] // 30
    order = np.lexsort((at, month, cookie, own))
    new = np.zeros(len(order), bool)
    new[:1] = True
    for values in (own[order], cookie[order], month[order]):
        new[1:] |= values[1:] != values[:-1]
    keep = order[new]
    table = pa.table(
        {
            "cookie_id": columns.hexes(own[keep], "ck"),
            "partner_cookie_id": columns.hexes(cookie[keep], "pc"),
            "partner": columns.words(of[keep], list(_NAMES)),
            "matched_at": columns.iso(at[keep]),
        }
    )
    return table, (cookie[keep], begins[keep], ends[keep], seen.unit[row][keep], of[keep])


def _cookies(
    cookie: np.ndarray, begins: np.ndarray, ends: np.ndarray, unit: np.ndarray, partner: np.ndarray
) -> pa.Table:
    _, first = np.unique(cookie, return_index=True)
    return pa.table(
        {
            "partner_cookie_id": columns.hexes(cookie[first], "pc"),
            "person": pa.array(unit[first]),
            "of_partner": columns.words(partner[first], list(_NAMES)),
            "life_days": pa.array(ends[first] - begins[first]),
            "born_day": pa.array(begins[first]),
        }
    )


def _spend(
    plan: Plan, day: np.ndarray, campaign: np.ndarray, clicked: np.ndarray, cost: np.ndarray, names: list[str]
) -> pa.Table:
    """Return spend a day and campaign, in numbers: chunks are summed by `total`."""
    key = day * 10_000 + campaign
    unique, back = np.unique(key, return_inverse=True)
    return pa.table(
        {
            "key": pa.array(unique),
            "impressions": pa.array(np.bincount(back, ~clicked, len(unique)).astype(np.int64)),
            "clicks": pa.array(np.bincount(back, clicked, len(unique)).astype(np.int64)),
            "cost": pa.array(np.bincount(back, cost, len(unique)).astype(np.int64)),
        }
    )


def total(plan: Plan, parts: pa.Table) -> pa.Table:
    """Return the spend export from the chunks' sums, one row a day and campaign."""
    summed = parts.group_by("key").aggregate([("impressions", "sum"), ("clicks", "sum"), ("cost", "sum")])
    summed = summed.sort_by("key")
    names, _ = ads.campaigns(plan)
    key = summed["key"].to_numpy()
    day, campaign = key // 10_000, key % 10_000
    return pa.table(
        {
            "day": columns.iso_date(plan.first // DAY + day),
            "channel": columns.words(campaign % len(ads.CHANNELS), list(ads.CHANNELS)),
            "campaign_id": columns.words(campaign, names),
            "impressions": summed["impressions_sum"],
            "clicks": summed["clicks_sum"],
            "cost": columns.amounts(summed["cost_sum"].to_numpy()),
            "currency": columns.words(np.zeros(len(key), np.int64), ["EUR"]),
        }
    )


def credits(plan: Plan, persons: Persons, facts: dict[str, np.ndarray]) -> pa.Table:
    """Return, for each day with an order, the share of it that each channel brought.

    Summed over orders, the shares are the orders that would not have been placed on that day without the
    channel, all else equal: the incremental credit to first order.
    """
    online = facts["online"]
    names = [*ads.CHANNELS, "message"]
    return pa.table(
        {
            "person": pa.array(persons.unit[facts["person"]]),
            "bought_on": pa.array(plan.first + facts["day"] * DAY, pa.int64()).cast(pa.timestamp("us")),
            "at_site": pa.array(online),
            **{
                f"credit_{name}": pa.array(np.where(online, facts[f"online_{name}"], facts[f"store_{name}"]))
                for name in names
            },
        }
    )
