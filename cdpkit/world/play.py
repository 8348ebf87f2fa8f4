"""Playing a policy of sends: what each person would have done, with the luck the world drew.

Two policies meet the same luck, person by person and day by day, so a difference between them is the
difference the policy makes. Further replicates are other futures of the same persons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from cdpkit.errors import CdpkitError
from cdpkit.world import baskets, chunk, events, orders, visits
from cdpkit.world.behaviour import Behaviour, Facts, Reachable, State
from cdpkit.world.plan import Plan
from cdpkit.world.policies import COPY, MEMORY, Hand, Sends

if TYPE_CHECKING:
    from cdpkit.world.world import World

_MOST_COPIES = 1000
#: Persons times replicates simulated at once.
_BATCH = 200_000


@dataclass
class Stage:
    """Some persons at the midnight that opens a day, and what they were sent lately."""

    behaviour: Behaviour
    state: State
    before: dict[int, np.ndarray]

    @classmethod
    def open(cls, plan: Plan, low: int, high: int, day: int) -> Stage:
        """Return persons `low` to `high` - 1 at a day of the world's history."""
        behaviour = chunk.behaviour(plan, low, high)
        lately = max(day - MEMORY, -plan.rules.behaviour.warm_days)
        state, before = behaviour.at(lately), {}
        for at in range(lately, day):
            facts = Facts()
            behaviour.step(state, at, facts)
            before[at] = facts.table("sends").get("person", np.zeros(0, np.int64))
        return cls(behaviour, state, before)

    def futures(self, copies: range) -> Stage:
        """Return copies of everybody, copy after copy; copy 0 has the luck of the world."""
        now, n, size = self.behaviour, len(self.behaviour.persons), len(copies)
        tiled = now.persons.tile(size)
        units = now.persons.unit[None, :] + np.array(copies, dtype=np.int64)[:, None] * COPY
        mail = now.reachable
        behaviour = Behaviour(
            now.plan,
            replace(tiled, unit=units.ravel()),
            Reachable(np.tile(mail.from_day, size), np.tile(mail.bad_address, size)),
        )
        before = {
            day: (index[None, :] + np.arange(size)[:, None] * n).ravel() for day, index in self.before.items()
        }
        return Stage(behaviour, self.state.tile(size), before)


@dataclass
class Tally:
    """What happened to each person, as arrays; `chance` is that of an order that shows in the window."""

    messages: np.ndarray
    opens: np.ndarray
    clicks: np.ndarray
    unsubscribes: np.ndarray
    visits: np.ndarray
    carts_left: np.ndarray
    orders: np.ndarray
    orders_shown: np.ndarray
    departures: np.ndarray
    value_minor: np.ndarray
    value_shown_minor: np.ndarray
    expected_orders: np.ndarray
    chance: np.ndarray

    @classmethod
    def of(cls, n: int) -> Tally:
        """Return an empty tally."""
        return cls(**{f.name: np.zeros(n) for f in fields(cls)})

    def count(self, name: str, index: np.ndarray) -> None:
        """Add one to a column for each mention of a person."""
        column = getattr(self, name)
        column += np.bincount(index, minlength=len(column))

    def day(self, facts: Facts) -> None:
        """Count a day."""
        sends, seen, store = facts.table("sends"), facts.table("sessions"), facts.table("store")
        if sends:
            person = sends["person"]
            self.count("messages", person)
            for name, which in (
                ("opens", sends["opened"]),
                ("clicks", sends["clicked"]),
                ("unsubscribes", sends["stops"] | sends["complains"]),
            ):
                self.count(name, person[which])
        self.count("visits", seen["person"])
        self.count("carts_left", seen["person"][seen["adds"] & ~seen["ordered"]])
        for name in ("orders", "orders_shown"):
            self.count(name, seen["person"][seen["ordered"]])
        self.count("orders", store["person"])
        self.count("orders_shown", store["person"][store["card"]])
        self.count("departures", facts.table("left")["person"])


def run(
    stage: Stage, policy: Sends, first: int, last: int, *, buys: bool = True, value: bool = True
) -> Tally:
    """Play a policy from the stage's day `first` to the eve of day `last`; the stage is left as it was.

    With ``buys=False`` nobody orders, and `chance` is exact given the rest of the luck.
    """
    behaviour, state = stage.behaviour, stage.state.copy()
    hand, kept = Hand(policy, behaviour, stage.before), Facts()
    tally, missed = Tally.of(len(behaviour.persons)), np.ones(len(behaviour.persons))
    for day in range(first, last):
        facts = Facts()
        p = behaviour.step(state, day, facts, hand, buys=buys)
        tally.expected_orders += p
        missed *= 1 - p
        tally.day(facts)
        hand.note(day, facts.table("sends").get("person", np.zeros(0, np.int64)))
        if value and buys:
            _keep(kept, facts)
    tally.chance = 1 - missed
    if value and buys:
        _value(behaviour, kept, tally)
    return tally


def _keep(kept: Facts, facts: Facts) -> None:
    """Keep of a day what the value of its orders depends on."""
    for name, which in (("sessions", "ordered"), ("sends", "clicked"), ("store", "")):
        rows = facts.table(name)
        if rows:
            mask = rows[which] if which else slice(None)
            getattr(kept, name).append({column: values[mask] for column, values in rows.items()})


def _value(behaviour: Behaviour, kept: Facts, tally: Tally) -> None:
    """Add what the orders are worth: the world's own baskets, in minor units."""
    plan, someone, n = behaviour.plan, behaviour.persons, len(behaviour.persons)
    seen = visits.of_persons(plan, someone, kept.table("sessions"), kept.table("sends"))
    if len(seen):
        wishes = baskets.wishes(plan, someone, seen)
        carts = baskets.carts(plan, seen, wishes)
        pages = events.build(plan, seen, wishes, carts)
        nobody = pa.nulls(len(seen), pa.string())
        # One order a visit, in the order of the visits: nothing but visits with an order was kept.
        made = orders.online(plan, someone, seen, pages, carts, nobody)["orders"]
        amount = np.bincount(seen.person, made["amount_minor"].to_numpy(), n)
        tally.value_minor += amount
        tally.value_shown_minor += amount
    store = kept.table("store")
    if store and len(store["person"]):
        nobody = pa.nulls(len(store["person"]), pa.string())
        amount = orders.tickets(plan, someone, store, nobody)["orders"]["amount_minor"].to_numpy()
        tally.value_minor += np.bincount(store["person"], amount, n)
        tally.value_shown_minor += np.bincount(store["person"], amount * store["card"], n)


def _window(
    plan: Plan, start: str | np.datetime64 | None, end: str | np.datetime64 | None
) -> tuple[int, int]:
    first = 0 if start is None else plan.day_of(start)
    last = plan.days if end is None else plan.day_of(end)
    if not 0 <= first < last <= plan.days:
        raise CdpkitError(
            "`start` and `end` must be days of the world, one after the other",
            got=f"{start} to {end}",
            do="Generate a world that goes on for longer",
        )
    return first, last


def stages(world: World, day: int) -> Iterator[Stage]:
    """Yield the persons of a world at a day, chunk by chunk."""
    for low in range(0, world.plan.n_persons, world.chunk_size):
        yield Stage.open(world.plan, low, min(low + world.chunk_size, world.plan.n_persons), day)


def batches(stage: Stage, copies: range) -> Iterator[Stage]:
    """Yield the copies of a stage's persons, as many at a time as memory should hold."""
    size = max(1, _BATCH // len(stage.behaviour.persons))
    for low in range(copies.start, copies.stop, size):
        yield stage.futures(range(low, min(low + size, copies.stop)))


def check_copies(replicates: int, least: int = 1) -> None:
    """Refuse a number of replicates that cannot be simulated."""
    if not least <= replicates <= _MOST_COPIES:
        raise CdpkitError(f"`replicates` must lie between {least} and {_MOST_COPIES}", got=str(replicates))


def play(
    world: World,
    policy: Sends | Mapping[str, Sends],
    start: str | np.datetime64 | None = None,
    end: str | np.datetime64 | None = None,
    *,
    replicates: int = 1,
) -> pd.DataFrame:
    """Return what each person does when campaigns are sent by a policy from `start` on.

    Until `start` the world is the one of its history. The first replicate (0) meets the luck the world
    drew, so the retailer's own practice gives back what happened; the others are other futures.

    Parameters
    ----------
    world : World
        The world.
    policy : Sends, or mapping of str to Sends
        What is played; several policies meet the same luck.
    start, end : str or datetime64, optional
        First day, and first day after the last; by default the whole world.
    replicates : int
        Futures a person.

    Returns
    -------
    DataFrame
        ``policy, person, replicate`` (all persons there by `end`), ``messages, opens`` (by humans),
        ``clicks, unsubscribes`` (complaints included), ``visits, carts_left, orders, orders_shown`` (those
        that can be told whose they are), ``departures, value_minor, value_shown_minor`` (before returns),
        ``expected_orders`` (the sum of each day's chance of an order that shows: the same mean as their
        number, with less noise) and ``chance`` (of at least one, given each day's past).

    Raises
    ------
    CdpkitError
        If the dates are not in the world.

    Examples
    --------
    >>> from cdpkit.world import generate
    >>> from cdpkit.world.policies import EVERYBODY, NOBODY
    >>> world = generate(30, seed=1, start="2026-01-01", end="2026-03-01")
    >>> played = world.play({"all": EVERYBODY, "none": NOBODY}, "2026-02-01")
    >>> sent = played.groupby("policy").messages.sum()
    >>> bool(sent["all"] > sent["none"])
    True
    """
    check_copies(replicates)
    first, last = _window(world.plan, start, end)
    named = {"policy": policy} if isinstance(policy, Sends) else dict(policy)
    parts = []
    for opened in stages(world, first):
        n, born = len(opened.behaviour.persons), opened.behaviour.persons.born
        for batch in batches(opened, range(replicates)):
            unit = batch.behaviour.persons.unit
            for name, each in named.items():
                tally = run(batch, each, first, last)
                frame = pd.DataFrame(
                    {"policy": name, "person": unit % COPY, "replicate": unit // COPY} | vars(tally)
                )
                parts.append(frame[np.tile(born < last, len(unit) // n)])
    frame = pd.concat(parts, ignore_index=True)
    counts = [f.name for f in fields(Tally) if f.name not in ("expected_orders", "chance")]
    return frame.astype(dict.fromkeys(counts, "int64"))


#: What an effect can be on, and the column it is read from.
OUTCOMES = ("chance", "expected_orders", "clicks", "unsubscribes", "visits", "value_shown_minor")


def effects(
    world: World,
    as_of: str | np.datetime64,
    horizon_days: int = 30,
    *,
    outcome: str = "chance",
    treated: Sends | None = None,
    control: Sends | None = None,
    replicates: int = 32,
) -> pd.DataFrame:
    """Return each person's true effect of a treatment: τ given the whole latent state at `as_of`.

    Parameters
    ----------
    world : World
        The world.
    as_of : str or datetime64
        The midnight (UTC) from which the two policies part.
    horizon_days : int
        Days played.
    outcome : str
        One of `OUTCOMES`.
    treated, control : Sends, optional
        By default: the next campaign is sent to everybody, or to nobody; the practice as usual after.
    replicates : int
        Paired futures a person, none of them with the luck of the world.

    Returns
    -------
    DataFrame
        ``person, as_of, control, treated, effect, se, reachable``: `se` is the error of the simulation;
        `reachable` tells who can be sent an e-mail at `as_of`.

    Raises
    ------
    CdpkitError
        If the dates are not in the world or the outcome does not exist.

    Examples
    --------
    >>> from cdpkit.world import generate
    >>> world = generate(30, preset="null_effects", start="2026-01-01", end="2026-03-01")
    >>> bool((effects(world, "2026-02-01", 14, replicates=2).effect == 0).all())
    True
    """
    if outcome not in OUTCOMES:
        raise CdpkitError(f"`outcome` must be one of {', '.join(OUTCOMES)}", got=repr(outcome))
    check_copies(replicates, 2)
    first = world.plan.day_of(as_of)
    _window(world.plan, as_of, np.datetime64(str(as_of)[:10], "D") + horizon_days)
    arms = (treated or Sends(1.0, campaigns=1), control or Sends(0.0, campaigns=1))
    buys = outcome != "chance"
    parts = []
    for opened in stages(world, first):
        who, n = opened.behaviour.persons, len(opened.behaviour.persons)
        sums = np.zeros((4, n))
        for batch in batches(opened, range(1, replicates + 1)):
            yes, no = (
                getattr(
                    run(batch, arm, first, first + horizon_days, buys=buys, value="value" in outcome), outcome
                )
                for arm in arms
            )
            gap = (yes - no).reshape(-1, n)
            sums += np.stack(
                [no.reshape(-1, n).sum(0), yes.reshape(-1, n).sum(0), gap.sum(0), (gap**2).sum(0)]
            )
        low, high, mean, square = sums / replicates
        spread = np.sqrt(np.maximum(square - mean**2, 0) / (replicates - 1))
        mailable = opened.state.subscribed & (opened.behaviour.reachable.from_day <= first)
        frame = pd.DataFrame(
            {"person": who.unit, "control": low, "treated": high, "effect": mean, "se": spread,
             "reachable": mailable}
        )  # fmt: skip
        parts.append(frame[(who.born <= first) & (first < who.gone)])
    frame = pd.concat(parts, ignore_index=True)
    frame.insert(1, "as_of", np.datetime64(str(as_of)[:10], "us"))
    return frame
