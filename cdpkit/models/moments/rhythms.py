"""Rhythms of the day: how often each kind of person reacts, a message sent, at each hour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Events of prior weight: of a kind of people at everybody's curve, and of everybody at the flat one.
KIND_EVENTS = 20.0
FLAT_EVENTS = 20.0

#: Rounds of expectation and maximisation.
ROUNDS = 30


@dataclass(frozen=True)
class Counts:
    """What was seen of each person in each slot, decayed with age: three arrays (people, slots).

    Parameters
    ----------
    sends, clicks, visits : ndarray of shape (people, slots)
        Messages sent in the slot, those of them that were reacted to, and visits made of one's own accord.
    """

    sends: Array
    clicks: Array
    visits: Array


@dataclass(frozen=True)
class Rhythms:
    """Kinds of people: their shares, their visits over the slots, their reactions a message sent.

    Parameters
    ----------
    shares : ndarray of shape (kinds,)
    visit : ndarray of shape (kinds, slots)
        Share of visits in each slot; rows sum to 1.
    click : ndarray of shape (kinds, slots)
        Reactions a message, relative to the person's own level.
    level, evenness : float
        Reactions a message on the whole; personal levels follow a gamma law of that shape around it.
    gamma : float
        How much of a shift of visits is a shift of reactions: 0 nothing, 1 all of it.
    """

    shares: Array
    visit: Array
    click: Array
    level: float
    evenness: float
    gamma: float


def cyclic_kernel(slots: int, width: float = 1.0) -> Array:
    """Return the weights that spread an event over the slots around it; the last neighbours the first.

    Examples
    --------
    >>> weights = cyclic_kernel(24)
    >>> bool(weights[23, 0] == weights[0, 1]), weights.sum(axis=1).round(9).max().item()
    (True, 1.0)
    """
    apart = np.abs(np.subtract.outer(np.arange(slots), np.arange(slots)))
    weights = np.exp(-0.5 * (np.minimum(apart, slots - apart) / width) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)


def learn(counts: Counts, kinds: int, gamma: float, kernel: Array) -> Rhythms:
    """Learn kinds of people by expectation and maximisation, from visits and reactions together.

    Reactions are counted against the messages sent in each slot, so that an hour at which nothing was sent
    is unknown rather than bad. Personal levels are integrated out.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> evening = rng.random(400) < 0.5
    >>> p = np.where(evening[:, None], [0.1, 0.4], [0.4, 0.1])
    >>> sends = np.full((400, 2), 20.0)
    >>> counts = Counts(sends, rng.binomial(20, p).astype(float), np.zeros((400, 2)))
    >>> learn(counts, 2, 0.0, np.eye(2)).shares.round(1)
    array([0.5, 0.5])
    """
    level, evenness = _levels(counts)
    visit_all, click_all = _everyone(counts, level, evenness, kernel)
    found = Rhythms(np.ones(1), visit_all[None], click_all[None], level, evenness, gamma)
    if kinds == 1:
        return found
    bumps = _starts(counts, kinds, kernel)
    visit = _rows(visit_all * bumps)
    found = Rhythms(np.full(kinds, 1 / kinds), visit, click_all * bumps, level, evenness, gamma)
    for _ in range(ROUNDS):
        found = _maximise(counts, found, belonging(counts, found), visit_all, click_all, kernel)
    return found


def belonging(counts: Counts, rhythms: Rhythms) -> Array:
    """Return the chance that each person is of each kind: (people, kinds)."""
    a, total = rhythms.evenness, counts.clicks.sum(axis=1, keepdims=True)
    log = np.log(rhythms.shares) + counts.visits @ np.log(rhythms.visit).T
    log = log + counts.clicks @ np.log(rhythms.click).T
    log = log - (a + total) * np.log(a + rhythms.level * counts.sends @ rhythms.click.T)
    log -= log.max(axis=1, keepdims=True)
    share = np.exp(log)
    return share / share.sum(axis=1, keepdims=True)


def own(counts: Counts, rhythms: Rhythms, concentration: float, kernel: Array) -> tuple[Array, Array, Array]:
    """Return each person's curve of reactions, share of visits, and level of reactions.

    Parameters
    ----------
    counts, rhythms, kernel
        What was seen, the kinds learned, and how an event spreads over its neighbours.
    concentration : float
        Events of the kind's curve that a person's own are weighed against; infinite: the kind's curve.

    Returns
    -------
    click : ndarray of shape (people, slots)
        Reactions a message, relative to the level.
    visit : ndarray of shape (people, slots)
    level : ndarray of shape (people,)
        Reactions a message, on the whole.
    """
    of_kind = belonging(counts, rhythms)
    click, visit = of_kind @ rhythms.click, of_kind @ rhythms.visit
    level = _personal_level(counts, click, rhythms)
    if not np.isfinite(concentration):
        return click, visit, level
    prior = concentration * visit
    expected = (level[:, None] * counts.sends * click) @ kernel
    by_click = (prior + counts.clicks @ kernel) / (prior + expected)
    by_visit = (prior + counts.visits @ kernel) / (prior + counts.visits.sum(axis=1, keepdims=True) * visit)
    click = click * by_click * by_visit**rhythms.gamma
    return click, _rows(visit * by_visit), _personal_level(counts, click, rhythms)


def of_visits(counts: Counts, rhythms: Rhythms, everyone: Rhythms) -> tuple[float, float]:
    """Return how much a shift of visits is a shift of reactions, and its standard error.

    One exponent of the person's own visits over everybody's, in a Poisson model of the reactions with
    personal levels and everybody's hours held. `rhythms` are of visits alone, so that no reaction is used
    twice.
    """
    silent = Counts(0 * counts.sends, 0 * counts.clicks, counts.visits)
    shift = np.log(own(silent, rhythms, np.inf, np.eye(counts.sends.shape[1]))[1] / everyone.visit)
    gamma, information = 0.0, 0.0
    for _ in range(15):
        weight = counts.sends * everyone.click * np.exp(np.clip(gamma * shift, -5, 5))
        total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
        centred = shift - (weight * shift).sum(axis=1, keepdims=True) / total
        # Given how often each person reacts, only when they do tells of hours.
        rate = counts.clicks.sum(axis=1, keepdims=True) * weight / total
        information = float((rate * centred**2).sum())
        if information < 1e-9:
            return 0.0, float("inf")
        step = float((counts.clicks * centred).sum()) / information
        gamma = float(np.clip(gamma + np.clip(step, -1, 1), -5, 5))
    return gamma, float(information**-0.5)


def losses(counts: Counts, click: Array, visit: Array, level: Array) -> tuple[Array, Array]:
    """Return each person's loss on messages and on visits, in nats, of what was seen later."""
    rate = np.clip(level[:, None] * click, 1e-9, None)
    of_sends = (counts.sends * rate - counts.clicks * np.log(rate)).sum(axis=1)
    return of_sends, -(counts.visits * np.log(np.clip(visit, 1e-9, None))).sum(axis=1)


def _rows(weights: Array) -> Array:
    return weights / weights.sum(axis=1, keepdims=True)


def _levels(counts: Counts) -> tuple[float, float]:
    """Reactions a message, and the shape of the law of personal levels, by moments."""
    sent, clicked = counts.sends.sum(axis=1), counts.clicks.sum(axis=1)
    level = (clicked.sum() + 0.5) / (sent.sum() + 1.0)
    expected = level * sent
    spread = ((clicked - expected) ** 2 - clicked).sum() / max((expected**2).sum(), 1e-12)
    return float(level), float(np.clip(1 / max(spread, 1e-6), 0.3, 50.0))


def _personal_level(counts: Counts, click: Array, rhythms: Rhythms) -> Array:
    a, expected = rhythms.evenness, rhythms.level * (counts.sends * click).sum(axis=1)
    return np.asarray(rhythms.level * (a + counts.clicks.sum(axis=1)) / (a + expected), dtype=np.float64)


def _everyone(counts: Counts, level: float, evenness: float, kernel: Array) -> tuple[Array, Array]:
    """Return everybody's share of visits and curve of reactions, allowing for who was sent what when."""
    slots = counts.sends.shape[1]
    seen = counts.visits.sum(axis=0) @ kernel
    visit = (seen + FLAT_EVENTS / slots) / (seen.sum() + FLAT_EVENTS)
    click = np.ones(slots)
    clicked = counts.clicks.sum(axis=0) @ kernel
    flat = Rhythms(np.ones(1), visit[None], click[None], level, evenness, 0.0)
    for _ in range(3):
        readiness = _personal_level(counts, np.broadcast_to(click, counts.sends.shape), flat)
        expected = (readiness @ counts.sends) @ kernel
        click = (clicked + FLAT_EVENTS / slots) / (expected + FLAT_EVENTS / slots)
        click = click / np.average(click, weights=counts.sends.sum(axis=0) + 1e-9)
    return visit, click


def _starts(counts: Counts, kinds: int, kernel: Array) -> Array:
    """Return where kinds begin: a bump each, spread over the hours at which things happen."""
    slots = len(kernel)
    seen = (counts.visits + counts.clicks).sum(axis=0) + 1e-9
    centre = np.searchsorted(np.cumsum(seen) / seen.sum(), (np.arange(kinds) + 0.5) / kinds)
    apart = np.abs(np.subtract.outer(centre, np.arange(slots)))
    wide = np.exp(-0.5 * (np.minimum(apart, slots - apart) / (slots / 8)) ** 2)
    return np.asarray(0.5 + wide, dtype=np.float64)


def _maximise(
    counts: Counts, at: Rhythms, of_kind: Array, visit_all: Array, click_all: Array, kernel: Array
) -> Rhythms:
    """Return the kinds that people, as they now belong, make likeliest."""
    visit = _rows((of_kind.T @ counts.visits) @ kernel + KIND_EVENTS * visit_all)
    prior = click_all * (visit / visit_all) ** at.gamma
    level = _personal_level(counts, of_kind @ at.click, at)
    expected = (of_kind.T @ (level[:, None] * counts.sends)) @ kernel
    weight = KIND_EVENTS / len(kernel)
    click = prior * (of_kind.T @ counts.clicks @ kernel + weight) / (expected * prior + weight)
    shares = (of_kind.sum(axis=0) + 1.0) / (len(of_kind) + len(at.shares))
    return Rhythms(shares, visit, click, at.level, at.evenness, at.gamma)
