"""Advertising: who is exposed to what, what it truly adds, and what only looks as if it did.

Display, social, video and search act, with a carry-over. Retargeting follows visits and brand search
follows projects: both are seen before many orders, and cause few or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdpkit.world.draws import Draws
from cdpkit.world.plan import Plan

if TYPE_CHECKING:
    from cdpkit.world.behaviour import Behaviour, Facts, State

CHANNELS = ("display", "social", "video", "search", "retargeting", "brand_search")
DISPLAY, SOCIAL, VIDEO, SEARCH, RETARGETING, BRAND = range(6)
#: First code of an advertising visit, as in `behaviour.AD`.
_AD = 4


def campaigns(plan: Plan) -> tuple[list[str], np.ndarray]:
    """Return the advertising campaigns, one a quarter and channel, and the quarter of each day."""
    dates = np.datetime64(plan.start, "D") + np.arange(plan.days)
    quarter = dates.astype("datetime64[M]").astype(int) // 3
    first = quarter[0]
    names = [
        f"AD-{channel.upper()}-{1970 + q // 4}Q{q % 4 + 1}"
        for q in range(first, quarter[-1] + 1)
        for channel in CHANNELS
    ]
    return names, quarter - first


def flights(plan: Plan, week: int) -> np.ndarray:
    """Return how hard each channel is advertised in a week: off, half, full or more."""
    channels = Draws(plan.seed, np.arange(len(CHANNELS)) + (1 << 45))
    level = channels.pick(np.array(plan.rules.ads.flight_weights), "flight", week + 1000)
    return np.array(plan.rules.ads.flights)[level]


def expose(behaviour: Behaviour, state: State, day: int, here: np.ndarray, facts: Facts | None) -> np.ndarray:
    """Show at most one ad a day to each person; return the channel's place, -1 where none."""
    plan, rule = behaviour.plan, behaviour.plan.rules.ads
    state.ads *= np.exp2(-1.0 / np.array(rule.half_life))
    reach = flights(plan, day // 7) * np.array(rule.reach)
    media = behaviour.persons.media
    steady = media[:, :RETARGETING] @ reach[:RETARGETING]
    # What follows the visit: without intent, the same chance for all.
    recent = np.exp(-np.minimum(state.seen, 60) / rule.follow_days) if rule.intent else rule.follow_flat
    follows = reach[RETARGETING] * media[:, RETARGETING] * recent
    u = behaviour.draws.uniform("ad", day)
    index = np.flatnonzero((u < -np.expm1(-steady - follows)) & here)
    mine = behaviour.draws.take(index)
    weight = media[index][:, :RETARGETING] * reach[None, :RETARGETING]
    weight = np.concatenate([weight, np.broadcast_to(follows, len(here))[index][:, None]], axis=1)
    cumulative = np.cumsum(weight, axis=1)
    channel = mine.pick_row(cumulative / cumulative[:, -1:], "ad channel", day)
    state.ads[index, channel] += 1.0
    touched = np.full(len(here), -1)
    touched[index] = channel
    if facts is not None:
        facts.add("touches", day, index, channel=channel)
    return touched


def labels(
    behaviour: Behaviour, state: State, day: int, organic: np.ndarray, touched: np.ndarray
) -> np.ndarray:
    """Return which visits, made anyway, come through an ad: the brand's own, or the retargeting seen."""
    rule = behaviour.plan.rules.ads
    origin = np.zeros(len(organic), np.int64)
    index = np.flatnonzero(organic > 0)
    u = behaviour.draws.take(index).uniform("ad label", day)
    seen = touched[index] == RETARGETING
    eager = np.where(state.episode[index], *rule.brand_eager) if rule.intent else rule.brand_flat
    brand = ~seen & (u < rule.brand_share * eager)
    origin[index[brand]] = _AD + BRAND
    origin[index[seen & (u < rule.label_share)]] = _AD + RETARGETING
    return origin


def _parts(behaviour: Behaviour, state: State, index: np.ndarray | slice) -> np.ndarray:
    """Return the effect of each channel's stock: (persons, channels); synergy is halved between the two."""
    rule = behaviour.plan.rules.ads
    stock = np.minimum(state.ads[index], rule.stock_cap)
    parts = stock * np.array(rule.effect)
    if rule.synergy:
        both = 0.5 * rule.synergy * np.minimum(stock[:, SOCIAL], 1) * np.minimum(stock[:, SEARCH], 1)
        parts[:, SOCIAL] += both
        parts[:, SEARCH] += both
    return parts


def effect(behaviour: Behaviour, state: State) -> np.ndarray:
    """Return what advertising adds to each person's drive."""
    return _parts(behaviour, state, slice(None)).sum(axis=1)


def credit(
    behaviour: Behaviour, state: State, index: np.ndarray, logit: np.ndarray, n: np.ndarray,
    origin: np.ndarray, extra: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the share of each order of a day that would not have been without each channel, and e-mail.

    The share is one less the ratio of the day's chance without the channel to the chance with it.
    """
    rules = behaviour.plan.rules
    parts = _parts(behaviour, state, index)
    boost = state.boost[index]
    visit = np.column_stack([rules.ads.session * parts, rules.behaviour.session_boost * boost])
    buy = np.column_stack([rules.ads.buy * parts, rules.behaviour.buy_boost * boost])
    shelf = np.column_stack(
        [rules.ads.store * parts, rules.behaviour.store_boost * rules.behaviour.buy_boost * boost]
    )
    each = 1 / (1 + np.exp(-logit))
    with_all = 1 - (1 - each) ** np.maximum(n, 1)
    brought = np.zeros_like(visit)
    column = np.where(origin >= _AD, origin - _AD, len(CHANNELS))
    by_visit = extra & ((origin >= _AD) | (origin == 1))
    brought[np.flatnonzero(by_visit), column[by_visit]] = 1.0
    fewer = np.maximum((n[:, None] - brought) * np.exp(-visit), 0.0)
    without = 1 - (1 - 1 / (1 + np.exp(-(logit[:, None] - buy)))) ** fewer
    online, store = 1 - without / with_all[:, None], 1 - np.exp(-shelf)
    names = [*CHANNELS, "message"]
    return {f"online_{name}": online[:, k] for k, name in enumerate(names)} | {
        f"store_{name}": store[:, k] for k, name in enumerate(names)
    }
