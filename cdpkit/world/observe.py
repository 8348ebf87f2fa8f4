"""What a retailer can know of each person at a date: the observations the best scores are given.

The same facts as in the exports, put together without a mistake of identity: every record is laid to the
right person, but a visit only once its cookie was signed in on, and a store order only with a card.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdpkit.errors import CdpkitError
from cdpkit.world import baskets, chunk, events, visits
from cdpkit.world.behaviour import MAIL, Facts
from cdpkit.world.persons import Persons
from cdpkit.world.plan import DAY, Plan
from cdpkit.world.play import Stage
from cdpkit.world.policies import MEMORY

#: Days by which older facts lose weight: two thirds after so many.
DECAYS = (3.0, 10.0, 30.0, 90.0, 300.0)
#: Days whose product pages are looked at one by one.
LOOKED = 40
_LONG_AGO = 1000.0
_CALLS = ("cancel", "problem", "question")


@dataclass
class Observed:
    """Persons at a date: where they stand (truth), and what can be known of them.

    Attributes
    ----------
    stage : Stage
        The persons and their latent state: to be played from, never to be learned from.
    here : array of bool
        Whether each person is there at the date.
    names, table : list of str, array
        What can be known, one row a person.
    visit_person, visit_at : arrays
        Visits seen, for their hours: those that followed a message left out.
    sends : dict of arrays
        Messages of campaigns, and reactions as the log shows them.
    machine : array of bool
        Whether the log shows that a person's messages are opened by a machine.
    """

    stage: Stage
    here: np.ndarray
    names: list[str]
    table: np.ndarray
    visit_person: np.ndarray
    visit_at: np.ndarray
    sends: dict[str, np.ndarray]
    machine: np.ndarray

    @property
    def reachable(self) -> np.ndarray:
        """Whether each person is there and can be sent an e-mail."""
        known = self.names.index("mailable")
        return self.here & (self.table[:, known] > 0)


class _Columns:
    """Columns of a table of observations, gathered name by name."""

    def __init__(self, n: int, day: int) -> None:
        self.n, self.day, self.columns = n, day, dict[str, np.ndarray]()

    def dated(self, name: str, person: np.ndarray, day: np.ndarray, weight: np.ndarray | None = None) -> None:
        """Add decayed sums of dated facts, and the days since the last one."""
        one = np.ones(len(person)) if weight is None else weight.astype(float)
        age = self.day - day
        for decay in DECAYS:
            self.columns[f"{name} {decay:g}"] = np.bincount(person, one * np.exp(-age / decay), self.n)
        last = np.full(self.n, _LONG_AGO)
        some = one > 0
        np.minimum.at(last, person[some], age[some])
        self.columns[f"{name} last"] = last

    def first(self, name: str, person: np.ndarray, day: np.ndarray) -> None:
        """Add the days since the first fact of its kind."""
        since = np.full(self.n, -1.0)
        np.maximum.at(since, person, self.day - day)
        self.columns[name] = since


def observe(plan: Plan, low: int, high: int, day: int) -> Observed:
    """Return persons `low` to `high` - 1 at the midnight that opens a day, and what can be known of them.

    Raises
    ------
    CdpkitError
        If the day comes too early for a history.
    """
    if not MEMORY <= day <= plan.days:
        raise CdpkitError(f"`as_of` must lie {MEMORY} days or more after the start", got=f"day {day}")
    dynamics = chunk.behaviour(plan, low, high)
    someone, n = dynamics.persons, high - low
    facts = Facts()
    state = dynamics.run(dynamics.at(0), range(day), facts)
    before = {int(rows["day"][0]): rows["person"] for rows in facts.sends if len(rows["day"])}
    before = {at: index for at, index in before.items() if at >= day - MEMORY}
    sends = facts.table("sends")
    seen = visits.of_persons(plan, someone, facts.table("sessions"), sends)
    known = _Columns(n, day)
    shown = _visits(plan, known, seen)
    _pages(plan, known, someone, seen, shown)
    store = facts.table("store")
    carded = store["card"]
    known.dated("store", store["person"][carded], store["day"][carded])
    calls = facts.table("calls")
    for about in _CALLS:
        rows = calls["about"] == about
        known.dated(f"call {about}", calls["person"][rows], calls["day"][rows])
    machine = _messages(plan, known, someone, sends)
    mail = dynamics.reachable
    known.columns["mailable since"] = np.clip(day - np.minimum(mail.from_day, day + 1), -1, None)
    known.columns["mailable"] = (state.subscribed & (mail.from_day <= day)).astype(float)
    known.columns["account"] = state.account.astype(float)
    known.columns["card"] = state.card.astype(float)
    asked = np.flatnonzero(shown & (seen.origin != MAIL))
    return Observed(
        stage=Stage(dynamics, state, before),
        here=(someone.born <= day) & (day < someone.gone),
        names=list(known.columns),
        table=np.column_stack(list(known.columns.values())).astype(np.float32),
        visit_person=seen.person[asked],
        visit_at=seen.start[asked],
        sends=sends,
        machine=machine,
    )


def _visits(plan: Plan, known: _Columns, seen: visits.Visits) -> np.ndarray:
    """Add what visits show; return which of them can be told whose they are."""
    counts = events.counts(plan, seen)
    signed = (counts[events.SIGN_IN] + counts[events.SIGN_UP]) > 0
    _, cookie = np.unique(seen.cookie, return_inverse=True)
    linked = np.zeros(cookie.max(initial=-1) + 1, bool)
    linked[cookie[signed]] = True
    shown = linked[cookie]
    person, day = seen.person[shown], seen.day[shown]
    known.first("first visit", person, day)
    for name, n in {
        "visits": np.ones(len(seen)),
        "mail visits": seen.origin == MAIL,
        "orders": seen.ordered,
        "carts left": seen.adds & ~seen.ordered,
        "views": counts[events.VIEW],
        "searches": counts[events.SEARCH],
        "lists": counts[events.LIST],
        "cart pages": counts[events.CART],
        "checkouts": counts[events.CHECKOUT],
        "errands": seen.errand,
    }.items():
        known.dated(name, person, day, np.asarray(n)[shown])
    return shown


def _pages(plan: Plan, known: _Columns, someone: Persons, seen: visits.Visits, shown: np.ndarray) -> None:
    """Add how much the latest product pages keep coming back to one product: a project shows there."""
    rows = np.flatnonzero(shown & (seen.day >= known.day - LOOKED))
    late = visits.Visits(**{name: values[rows] for name, values in vars(seen).items()})
    columns: dict[str, np.ndarray] = {
        f"pages on one product {days}": np.zeros(known.n) for days in (10, LOOKED)
    }
    columns["pages' seconds"] = np.zeros(known.n)
    if len(late):
        wished = baskets.wishes(plan, someone, late)
        pages = events.build(plan, late, wished, baskets.carts(plan, late, wished))
        view = np.flatnonzero(pages.kind == events.VIEW)
        person, product = late.person[pages.visit[view]], pages.product[view]
        age = known.day - late.day[pages.visit[view]]
        for days in (10, LOOKED):
            recent = age <= days
            pair, times = np.unique(person[recent] * 1_000_000 + product[recent], return_counts=True)
            np.maximum.at(columns[f"pages on one product {days}"], pair // 1_000_000, times)
        columns["pages' seconds"] = np.bincount(person, np.exp(-age / 10) * pages.dwell[view] / 1e3, known.n)
    known.columns |= columns


def _messages(plan: Plan, known: _Columns, someone: Persons, sends: dict[str, np.ndarray]) -> np.ndarray:
    """Add what messages show; return whose messages a machine is seen to open."""
    machine = np.zeros(known.n, bool)
    person, day = sends["person"], sends["day"]
    proxy = someone.machine[person] & ~sends["bounced"] & (sends["channel"] == 0)
    machine[person[proxy]] = True
    known.dated("messages", person, day)
    known.dated("opens", person, day, sends["opened"] & ~proxy)
    known.dated("clicks", person, day, sends["clicked"])
    known.dated("bounces", person, day, sends["bounced"])
    known.columns["machine opens"] = machine.astype(float)
    known.dated("stops", person, day, sends["stops"] | sends["complains"])
    return machine


def hours_of_day(plan: Plan, at: np.ndarray) -> np.ndarray:
    """Return the UTC hour by which instants of visits were drawn: the day of a visit is a little short."""
    return np.minimum(((at - plan.first) % DAY / 3.6e9 * (24 / 23.25)).astype(np.int64), 23)
