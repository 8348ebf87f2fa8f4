"""Consent histories: what contacts decided per channel, what visitors answered to the banner."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from cdpkit.world import columns
from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons
from cdpkit.world.plan import DAY, Plan
from cdpkit.world.visits import Visits

PURPOSES = ["stitching", "profiling", "activation"]
CHANNELS = ["email", "sms", "call", "post", "*", "push", "app", "kiosk"]
_STATUS = ["denied", "granted"]
_TEXTS = ["CRM-2023", "CRM-2025"]
_BANNERS = ["web-v3", "web-v4"]


def granted_email(plan: Plan, persons: Persons) -> np.ndarray:
    """Return whether persons agree to e-mails when they become contacts."""
    return Draws(plan.seed, persons.unit).chance(plan.rules.consents.email, "consent", 0)


def contacts(
    plan: Plan, persons: Persons, contact_ids: pa.Array, person: np.ndarray, created: np.ndarray,
    stop_person: np.ndarray, stop_at: np.ndarray,
) -> pa.Table:  # fmt: skip
    """Return the CRM's decisions.

    Parameters
    ----------
    plan, persons
        The world and its persons.
    contact_ids, person, created
        The contacts: their ids, the person behind each, when each was created.
    stop_person, stop_at
        Who unsubscribed from a message, and when.
    """
    rule, me = plan.rules.consents, Draws(plan.seed, persons.unit[person])
    rows: list[tuple[np.ndarray, int, int, np.ndarray, np.ndarray]] = []
    shares = {
        0: rule.email,
        1: rule.sms,
        2: rule.call,
        3: rule.post,
        5: rule.push,
        6: rule.app,
        7: rule.kiosk,
    }
    for channel, share in shares.items():
        yes = me.chance(share, "consent", channel)
        recorded = yes | me.chance(0.7, "refusal recorded", channel)
        rows.append((np.flatnonzero(recorded), 2, channel, yes, created))
        later = created + (me.uniform("change day", channel) * 500 * DAY).astype(np.int64)
        # The choice about e-mail changes through the messages themselves.
        changes = me.chance(rule.changed, "consent changes", channel) & (later < plan.last) & (channel > 0)
        rows.append((np.flatnonzero(changes & recorded), 2, channel, ~yes, later))
    asked = me.chance(rule.asked, "asked")
    for purpose, denied in ((0, rule.stitching_denied), (1, rule.profiling_denied)):
        no = me.chance(denied, "objection", purpose)
        rows.append((np.flatnonzero(asked | no), purpose, 4, ~no, created))
    first = {int(p): k for k, p in reversed(list(enumerate(person.tolist())))}
    keep = stop_at < plan.last
    stopped = np.array([first[int(p)] for p in stop_person[keep]], dtype=np.int64)
    index = np.concatenate([row for row, *_ in rows] + [stopped])
    sizes = [len(row) for row, *_ in rows] + [len(stopped)]
    purposes = np.repeat([p for _, p, *_ in rows] + [2], sizes)
    channels = np.repeat([c for _, _, c, *_ in rows] + [0], sizes)
    status = np.concatenate([yes[row] for row, _, _, yes, _ in rows] + [np.zeros(len(stopped), bool)])
    when = np.concatenate([at[row] for row, _, _, _, at in rows] + [stop_at[keep] + 60_000_000])
    return pa.table(
        {
            "contact_id": contact_ids.take(pa.array(index)),
            "purpose": columns.words(purposes, PURPOSES),
            "channel": columns.words(channels, CHANNELS),
            "status": columns.words(status.astype(np.int64), _STATUS),
            "decided_at": columns.paris(when),
            "text_version": columns.words((when >= plan.first).astype(np.int64), _TEXTS),
        }
    )


def _answers(plan: Plan, visits: Visits, opens: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the answers of cookies at their first visits: which, when, whether withdrawn later, when."""
    rule = plan.rules.consents
    cookie = Draws.keyed(visits.cookie[opens])
    attitude = np.where(
        cookie.chance(0.15, "mood"),
        cookie.uniform("attitude"),
        Draws(plan.seed, visits.unit[opens]).uniform("privacy"),
    )
    cut = np.cumsum([rule.banner_all, rule.banner_none, rule.banner_silent])
    answer = np.searchsorted(cut, attitude, side="right")
    decided = visits.start[opens] + 1_000_000 * (1 + (20 * cookie.uniform("answer delay")).astype(np.int64))
    later = decided + (cookie.uniform("withdrawal") * 200 * DAY).astype(np.int64)
    withdraws = (
        (answer == 0) & cookie.chance(0.012, "withdraws") & (later < plan.last) & (rule.banner_all < 1)
    )
    return answer, decided, withdraws, later


def _first_visits(visits: Visits) -> tuple[np.ndarray, np.ndarray]:
    """Return each cookie's first visit, and the place of every visit's cookie among them."""
    order = np.lexsort((visits.start, visits.cookie))
    new = np.diff(visits.cookie[order], prepend=np.uint64(0)) != 0
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(new) - 1
    return order[new], place


def advertising(plan: Plan, visits: Visits) -> np.ndarray:
    """Return the visits during which advertising was allowed by the cookie's answer."""
    opens, place = _first_visits(visits)
    answer, _, withdraws, later = _answers(plan, visits, opens)
    until = np.where(withdraws, later, np.iinfo(np.int64).max)
    return ((answer == 0) & ~visits.bot[opens])[place] & (visits.start < until[place] - 60_000_000)


def banner(plan: Plan, visits: Visits) -> pa.Table:
    """Return the answers to the cookie banner: at a cookie's first visit, by the person's attitude."""
    opens, _ = _first_visits(visits)
    opens = opens[~visits.bot[opens]]
    n = len(opens)
    answer, decided, withdraws, later = _answers(plan, visits, opens)
    # Answers: all, none, silent, or audience measurement and stitching without advertising.
    given = np.array([[1, 1, 1], [0, 0, 0], [-1, -1, -1], [1, 1, 0]])[np.minimum(answer, 3)]
    row = np.concatenate([np.tile(np.arange(n), 3), np.tile(np.flatnonzero(withdraws), 3)])
    gone = int(withdraws.sum())
    purpose = np.concatenate([np.repeat(np.arange(3), n), np.repeat(np.arange(3), gone)])
    status = np.concatenate([given.T.ravel(), np.zeros(3 * gone, np.int64)])
    when = np.concatenate([np.tile(decided, 3), np.tile(later[withdraws], 3)])
    keep = status >= 0
    row, purpose, status, when = row[keep], purpose[keep], status[keep], when[keep]
    return pa.table(
        {
            "cookie_id": columns.hexes(visits.cookie[opens][row], "ck"),
            "purpose": columns.words(purpose, PURPOSES),
            "channel": columns.words((purpose == 2).astype(np.int64), ["*", "site"]),
            "status": columns.words(status, _STATUS),
            "decided_at": columns.iso(when),
            "text_version": columns.words((when >= plan.first + 270 * DAY).astype(np.int64), _BANNERS),
        }
    )
