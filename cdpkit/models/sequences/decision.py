"""When to send what, under a cap: a decision process small enough to be solved exactly.

A person's state is what has been sent (a set) and on which of the last days (a mask of bits): pressure, the
days since the last message and the cap are all read from it, so a plan cannot break its cap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdpkit.errors import FaultsError

Array = NDArray[np.float64]
WAIT = -1


@dataclass(frozen=True)
class Sending:
    """What is known, or true, of messages: what each brings and what it risks.

    Parameters
    ----------
    gain : ndarray of shape (messages, places, window + 1)
        Worth of a message sent as the so-manieth of the series, so many days after the one before; the last
        column is "longer ago, or never". With ``repeat`` there is one place.
    stop : ndarray of shape (2**window,)
        Chance that a message ends everything, by the days on which messages were sent before it (bit 0:
        yesterday).
    loss : float
        Loss of an ending, besides all that would have followed.
    days, cap, window : int
        Days planned; messages at most in any so many days.
    repeat : bool
        Whether messages may be sent again (a newsletter) or once (a series).
    """

    gain: Array
    stop: Array
    loss: float = 0.0
    days: int = 28
    cap: int = 3
    window: int = 7
    repeat: bool = False

    def __post_init__(self) -> None:
        faults = []
        if not 1 <= self.window <= 14:
            faults.append(f"`window` must be from 1 to 14 days; got {self.window}")
        if self.days < 1 or self.cap < 0:
            faults.append("`days` must be at least 1 and `cap` at least 0")
        m = len(self.gain)
        if self.gain.shape != (m, 1 if self.repeat else m, self.window + 1) or m > 8:
            faults.append("`gain` must be of shape (messages, places, window + 1), eight messages at most")
        if self.stop.shape != (2**self.window,) or not ((self.stop >= 0) & (self.stop <= 1)).all():
            faults.append("`stop` must hold a chance for each of the 2**window histories")
        if not np.isfinite(self.gain).all():
            faults.append("`gain` must be finite")
        if faults:
            raise FaultsError("a plan of messages", faults)


@dataclass(frozen=True)
class Plan:
    """What to do on each day in each state, and what that is worth.

    Parameters
    ----------
    action : ndarray of int, shape (days, sets, histories)
        The message to send, or `WAIT`.
    value : float
        Worth of the whole, from a fresh start.
    """

    action: NDArray[np.int64]
    value: float


def histories(window: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for each history, the messages in it and the days since the last one.

    Examples
    --------
    >>> count, since = histories(2)
    >>> count.tolist(), since.tolist()
    ([0, 1, 1, 2], [3, 1, 2, 1])
    """
    code = np.arange(2**window)
    bits = (code[:, None] >> np.arange(window)) & 1
    since = np.where(bits.any(axis=1), bits.argmax(axis=1) + 1, window + 1)
    return bits.sum(axis=1), since


def stocks(window: int, days: float) -> Array:
    """Return the pressure of each history: messages, each worn by e in so many days."""
    bits = (np.arange(2**window)[:, None] >> np.arange(window)) & 1
    weight: Array = np.exp(-(np.arange(window) + 1) / days)
    return bits @ weight


def solve(problem: Sending) -> Plan:
    """Return the best plan there is, by dynamic programming.

    Examples
    --------
    >>> gain = np.zeros((2, 2, 8))
    >>> gain[0, 0], gain[1, 1] = 1.0, 2.0
    >>> plan = solve(Sending(gain, np.zeros(128), days=10))
    >>> plan.value, int(plan.action[8, 0, 0])
    (3.0, 0)
    """
    return _walk(problem, None)


def evaluate(problem: Sending, action: NDArray[np.int64]) -> float:
    """Return what a plan is worth where `problem` is the truth.

    Raises
    ------
    FaultsError
        Where the plan sends a message twice, or beyond the cap, in a state that can be reached.
    """
    return _walk(problem, action).value


def even(problem: Sending, messages: int) -> NDArray[np.int64]:
    """Return the plan of a repeated message sent at even gaps, so many over the days, within the cap."""
    count, _ = histories(problem.window)
    action = np.full((problem.days, 1, len(count)), WAIT)
    if messages > 0:
        on = np.unique((np.arange(messages) * problem.days / messages).astype(np.int64))
        action[on] = np.where(_room(problem), 0, WAIT)
    return action


def _room(problem: Sending) -> NDArray[np.bool_]:
    """Tell in which histories one more message today keeps the cap: the window's days, today included."""
    count, _ = histories(problem.window)
    oldest = (np.arange(len(count)) >> (problem.window - 1)) & 1
    return np.asarray(count - oldest + 1 <= problem.cap)


def _walk(problem: Sending, action: NDArray[np.int64] | None) -> Plan:
    """Go back from the last day, choosing what is best or following a plan."""
    m, h = len(problem.gain), 2**problem.window
    sets = 1 if problem.repeat else 2**m
    _, since = histories(problem.window)
    code, room = np.arange(h), _room(problem)
    quiet, sent = (code << 1) & (h - 1), ((code << 1) | 1) & (h - 1)
    done = (np.arange(sets)[:, None] >> np.arange(m)) & 1
    place = np.zeros(sets, np.int64) if problem.repeat else np.minimum(done.sum(axis=1), m - 1)
    after = np.zeros((sets, h))
    chosen = np.full((problem.days, sets, h), WAIT)
    allowed = np.ones((sets, m), dtype=bool) if problem.repeat else done == 0
    for day in reversed(range(problem.days)):
        worth = np.full((m + 1, sets, h), -np.inf)
        worth[m] = after[:, quiet]
        for k in range(m):
            target = np.arange(sets) if problem.repeat else np.arange(sets) | (1 << k)
            now = problem.gain[k][place][:, since - 1]
            kept = now + (1 - problem.stop) * after[target][:, sent] - problem.stop * problem.loss
            worth[k] = np.where(allowed[:, k][:, None] & room[None, :], kept, -np.inf)
        if action is None:
            # Waiting wins a tie: nobody is written to for nothing.
            best = worth[[m, *range(m)]].argmax(axis=0)
            chosen[day] = best - 1
        else:
            chosen[day] = action[day]
        pick = np.where(chosen[day] == WAIT, m, chosen[day])
        after = np.take_along_axis(worth, pick[None], axis=0)[0]
    value = float(after[0, 0])
    if not np.isfinite(value):
        raise FaultsError("a plan of messages", ["a message must be sent once, within the cap"])
    return Plan(chosen, value)
