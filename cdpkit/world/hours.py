"""The best hour to write to each person, given what was seen: an exact posterior over rhythms.

A person's visits and openings follow one of a few rhythms. Given the hours of the visits seen and the
reactions to messages sent at known hours, the posterior over rhythms, and over how readily the person
opens and clicks, is a finite sum: Gauss-Hermite nodes stand for the two normal traits. What the posterior
leaves out (appetence, fatigue) moves all hours alike.
"""

from __future__ import annotations

import numpy as np

from cdpkit.world import sending
from cdpkit.world.columns import paris_offset
from cdpkit.world.observe import Observed, hours_of_day
from cdpkit.world.persons import _ARCHETYPE_SHARE, hour_density
from cdpkit.world.plan import DAY, Plan
from cdpkit.world.sending import EMAIL, SLOTS, SMS, hour_fit, sigmoid

_NODES = 7
#: Least share of an hour: rounding leaves none to some hours of the night.
_RARE = 1e-7
#: Offsets of local time, winter and summer; an hour of either is one cell of 48.
_OFFSETS = (1, 2)


def _cells(plan: Plan, at: np.ndarray, hour: np.ndarray) -> np.ndarray:
    """Return the cell of instants: their UTC hour, and 24 more in summer."""
    return hour + 24 * (paris_offset(at) == 2)


def _per_cell(n: int, person: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Count rows by person and cell."""
    return np.bincount(person * 48 + cell, minlength=n * 48).reshape(n, 48).astype(float)


def _grid(plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return chances of opening (cell, rhythm, node) and of clicking (node), and the weights of nodes."""
    mail, slots = plan.rules.messages, plan.rules.slots
    node, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    fit = np.concatenate([hour_fit(offset) for offset in _OFFSETS], axis=1).T
    opens = mail.open_logit + mail.open_spread * node
    share = np.array(slots.preferred) @ np.array(slots.channels) / np.sum(slots.channels)
    likes = slots.channel_click * share / np.sum(slots.preferred)
    clicks = mail.click_logit + likes + mail.click_spread * node
    return (
        sigmoid(opens[None, None, :] + slots.hour_open * fit[:, :, None]),
        sigmoid(clicks),
        weight / weight.sum(),
    )


def posterior(plan: Plan, seen: Observed) -> np.ndarray:
    """Return each person's posterior: (persons, rhythms, nodes of opening, nodes of clicking)."""
    n = len(seen.here)
    open_, click, weight = _grid(plan)
    prior = np.array(_ARCHETYPE_SHARE) if plan.rules.behaviour.rhythms else np.eye(len(_ARCHETYPE_SHARE))[0]
    with np.errstate(divide="ignore"):
        known = np.log(prior)[None, :, None, None] + np.log(weight)[:, None] + np.log(weight)[None, :]
    density = np.concatenate(
        [np.diff(hour_density(offset), axis=1, prepend=0.0) for offset in _OFFSETS], axis=1
    ).T
    came = _per_cell(n, seen.visit_person, _cells(plan, seen.visit_at, hours_of_day(plan, seen.visit_at)))
    log = known + (came @ np.log(np.maximum(density, _RARE)))[:, :, None, None]
    sends = seen.sends
    person = sends["person"]
    cell = _cells(plan, plan.first + sends["day"] * DAY + DAY // 2, sends["hour"])
    came_through, channel = ~sends["bounced"], sends["channel"]
    hidden = (seen.machine[person] & (channel == EMAIL)) | (channel == SMS)

    def count(rows: np.ndarray) -> np.ndarray:
        return _per_cell(n, person[rows], cell[rows])

    shown = came_through & ~hidden
    opened, clicked = sends["opened"], sends["clicked"]
    flat = open_.reshape(48, -1)
    log_open = count(shown & opened) @ np.log(flat) + count(shown & ~opened) @ np.log1p(-flat)
    log = log + log_open.reshape(n, -1, _NODES)[:, :, :, None]
    times = np.bincount(person[shown & clicked], minlength=n)[:, None]
    not_times = np.bincount(person[shown & opened & ~clicked], minlength=n)[:, None]
    log = log + (times * np.log(click) + not_times * np.log1p(-click))[:, None, None, :]
    both = (open_[..., None] * click).reshape(48, -1)
    log_both = count(came_through & hidden & clicked) @ np.log(both)
    log_both += count(came_through & hidden & ~clicked) @ np.log1p(-both)
    log = log + log_both.reshape(n, -1, _NODES, _NODES)
    log -= log.max(axis=(1, 2, 3), keepdims=True)
    share = np.exp(log)
    return share / share.sum(axis=(1, 2, 3), keepdims=True)


def expected_clicks(plan: Plan, belief: np.ndarray, day: int) -> np.ndarray:
    """Return the chance of a click a message has at each of `SLOTS`, under a posterior."""
    open_, click, _ = _grid(plan)
    cell = np.array(SLOTS) + 24 * (plan.offset(day) == 2)
    return np.einsum("nrab,sra,b->ns", belief, open_[cell], click)


def true_clicks(seen: Observed, day: int) -> np.ndarray:
    """Return the chance of a click an e-mail sent on a day truly has at each of `SLOTS`; 0 out of reach."""
    behaviour, state = seen.stage.behaviour, seen.stage.state
    index = np.arange(len(behaviour.persons))
    zero = np.zeros(len(index), np.int64)
    columns = []
    for slot in SLOTS:
        bounce, opens, clicks = sending.chances(behaviour, state, day, index, zero + slot, zero + EMAIL, zero)
        columns.append((1 - bounce) * opens * clicks)
    return np.column_stack(columns) * seen.reachable[:, None]
