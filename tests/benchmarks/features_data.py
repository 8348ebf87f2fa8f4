"""Two years of events, orders and messages for the feature benchmark, written to a real lake.

Visits cluster in sessions, persons are log-normally active, hours follow a working day. The same rows
carry two keys: in the layout ``person`` each person is one record; in ``node`` a person has three records
on average, one person in ten has eight or more, and records join their person at a known time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from cdpkit.run import Run
from cdpkit.workspace import Workspace

MONTHS = [pd.Timestamp("2024-01-01") + pd.DateOffset(months=m) for m in range(25)]
TYPES = [
    "Page Viewed",
    "Product Viewed",
    "Products Searched",
    "Product Added",
    "Order Completed",
    "Signed In",
    "Chat Message",
]
TYPE_SHARES = [0.38, 0.30, 0.12, 0.07, 0.03, 0.07, 0.03]
CHANNELS = ["site", "app", "store", "call"]
CATEGORIES = [f"category {i}" for i in range(8)]
HOURS = np.array([1, 1, 1, 1, 1, 2, 4, 6, 7, 7, 7, 8, 9, 8, 7, 7, 8, 9, 11, 12, 11, 8, 5, 2], float)
DAY, HOUR = 86_400_000_000, 3_600_000_000
PRODUCTS = 500


class Draw:
    """Columns of one month, a chunk at a time, so that memory stays that of a month."""

    def __init__(self, persons: int, seed: int = 7) -> None:
        self.rng = np.random.default_rng(seed)
        weight = np.cumsum(self.rng.lognormal(0, 1.2, persons))
        self.weight, self.persons = weight / weight[-1], persons
        self.counts = dict.fromkeys(("event", "session", "order", "message"), 0)

    def who(self, n: int) -> np.ndarray:
        """Draw persons, the active ones more often."""
        return np.searchsorted(self.weight, self.rng.random(n)).astype(np.int64) + 1

    def when(self, n: int, month: int) -> np.ndarray:
        """Draw microseconds of a month, at waking hours."""
        start, end = (MONTHS[m].value // 1000 for m in (month, month + 1))
        day = self.rng.integers(0, (end - start) // DAY, n) * DAY
        hour = self.rng.choice(24, n, p=HOURS / HOURS.sum()) * HOUR
        return start + day + hour + self.rng.integers(0, HOUR, n)

    def ids(self, kind: str, n: int) -> pa.Array:
        """Number rows as text, as sources do."""
        first = self.counts[kind]
        self.counts[kind] += n
        return pa.array(np.arange(first, first + n)).cast(pa.string())

    def words(self, codes: np.ndarray, values: list[str], missing: np.ndarray | None = None) -> pa.Array:
        """Spell codes."""
        return pa.array(values, pa.string()).take(pa.array(codes, pa.int64(), mask=missing))

    def events(self, month: int, n: int) -> dict[str, pa.Array]:
        """Sessions of five events on average."""
        rng = self.rng
        sizes = rng.geometric(0.2, n // 5)
        n, visit = int(sizes.sum()), np.repeat(np.arange(len(sizes)), sizes)
        begin, channel = self.when(len(sizes), month), rng.choice(4, len(sizes), p=[0.55, 0.35, 0.08, 0.02])
        steps = np.cumsum(rng.exponential(45e6, n).astype(np.int64))
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        time = np.minimum(begin[visit] + steps - steps[first][visit], MONTHS[month + 1].value // 1000 - 1)
        kind, share = rng.choice(7, n, p=TYPE_SHARES), 1 / np.arange(1, 9)
        category = rng.choice(8, n, p=share / share.sum())
        product = category * PRODUCTS + (rng.beta(0.6, 2.5, n) * PRODUCTS).astype(np.int64)
        bare, place = ~np.isin(kind, [1, 3, 4]), np.isin(kind, [5, 6])
        hour, weekday = time % DAY // HOUR, (time // DAY + 3) % 7 + 1
        session = np.arange(self.counts["session"], self.counts["session"] + len(sizes))
        self.counts["session"] += len(sizes)
        return {
            "event_id": self.ids("event", n), "person": pa.array(self.who(len(sizes))[visit]),
            "event_time": pa.array(time), "event_type": self.words(kind, TYPES),
            "channel": self.words(channel[visit], CHANNELS), "category": self.words(category, CATEGORIES, place),
            "product_id": self.words(product, [f"p{i}" for i in range(8 * PRODUCTS)], bare),
            "session_id": pa.array(session).cast(pa.string()).take(pa.array(visit)),
            "amount_minor": pa.array((rng.lognormal(3, 0.8, n) * 100).astype(np.int64), mask=bare),
            "currency": self.words(np.zeros(n, np.int64), ["EUR"]),
            "local_hour": pa.array(hour), "local_weekday": pa.array(weekday),
        }  # fmt: skip

    def orders(self, month: int, n: int) -> dict[str, pa.Array]:
        """Orders of a month."""
        return {
            "order_id": self.ids("order", n), "person": pa.array(self.who(n)),
            "event_time": pa.array(self.when(n, month)),
            "channel": self.words(self.rng.integers(0, 3, n), CHANNELS),
            "amount_minor": pa.array((self.rng.lognormal(3.6, 0.9, n) * 100).astype(np.int64)),
            "currency": self.words(np.zeros(n, np.int64), ["EUR"]),
        }  # fmt: skip

    def messages(self, month: int, n: int) -> dict[str, pa.Array]:
        """Messages of a month, with what became of them later."""
        rng, time = self.rng, self.when(n, month)
        opened = rng.random(n) < 0.25
        clicked, left = opened & (rng.random(n) < 0.2), rng.random(n) < 0.003
        open_time = time + rng.exponential(12 * 3600e6, n).astype(np.int64)
        click_time = open_time + rng.exponential(600e6, n).astype(np.int64)

        def moment(values: np.ndarray, seen: np.ndarray) -> pa.Array:
            return pa.array(values, mask=~seen).cast(pa.timestamp("us"))

        return {
            "message_id": self.ids("message", n), "person": pa.array(rng.integers(1, self.persons + 1, n)),
            "event_time": pa.array(time),
            "channel": self.words(rng.choice(3, n, p=[0.7, 0.1, 0.2]), ["email", "sms", "push"]),
            "opened_at": moment(open_time, opened), "clicked_at": moment(click_time, clicked),
            "unsubscribed_at": moment(click_time, left),
        }  # fmt: skip


class Records:
    """Which record of a person a fact comes through, and since when each is known to be theirs."""

    def __init__(self, persons: int, layout: str, seed: int = 8) -> None:
        rng = self.rng = np.random.default_rng(seed)
        self.sizes = np.ones(persons, np.int64)
        if layout == "node":
            # 10 % with 8 to 12 records, the others 1 to 4: three on average.
            many = rng.random(persons) < 0.1
            self.sizes = np.where(
                many,
                rng.integers(8, 13, persons),
                rng.choice([1, 2, 3, 4], persons, p=[0.35, 0.25, 0.2, 0.2]),
            )
        self.first = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    def of(self, person: np.ndarray) -> np.ndarray:
        """Return a record of each person."""
        index = person - 1
        return self.first[index] + (self.rng.random(len(person)) * self.sizes[index]).astype(np.int64) + 1

    def membership(self) -> pa.Table:
        """Return since when each record is known to be its person's, a third of them joined later."""
        person = np.repeat(np.arange(1, len(self.sizes) + 1), self.sizes)
        node = np.arange(1, len(person) + 1)
        begin = MONTHS[0].value // 1000 - DAY
        later = (self.rng.random(len(node)) < 1 / 3) & (node - 1 != self.first[person - 1])
        joined = begin + self.rng.integers(1, 700, len(node)) * DAY
        names = pa.array(person).cast(pa.string())
        alone = pa.compute.binary_join_element_wise("n", pa.array(node).cast(pa.string()), "")
        since = pa.array(np.where(later, joined, begin)).cast(pa.timestamp("us"))
        before = pa.table(
            {
                "node_id": node,
                "person_id": alone,
                "known_from": pa.array(np.full(len(node), begin)).cast(pa.timestamp("us")),
                "known_to": since,
            }
        ).filter(pa.array(later))
        after = pa.table(
            {
                "node_id": node,
                "person_id": names,
                "known_from": since,
                "known_to": pa.nulls(len(node), pa.timestamp("us")),
            }
        )
        return pa.concat_tables([after, before])


def write(
    home: Path, events: int, persons: int, layouts: tuple[str, ...] = ("person", "node")
) -> dict[str, Path]:
    """Write the data once for each key layout, and return their homes.

    Parameters
    ----------
    home : Path
    events, persons : int
    layouts : tuple of str
    """
    homes = {layout: home / layout for layout in layouts}
    if all((path / "ready").exists() for path in homes.values()):
        return homes
    runs = {layout: Run.begin(Workspace(path), "bench") for layout, path in homes.items()}
    keys = {layout: Records(persons, layout) for layout in layouts}
    draw = Draw(persons)
    for month in range(24):
        for name, rows in (("events", events // 24), ("orders", events // 240), ("messages", events // 96)):
            columns = getattr(draw, name)(month, rows)
            person = columns.pop("person").to_numpy()
            columns["event_time"] = columns["event_time"].cast(pa.timestamp("us"))
            columns["known_at"] = columns["event_time"]
            columns["source"] = pa.array(["bench"]).take(pa.array(np.zeros(len(person), np.int64)))
            for layout, run in runs.items():
                run.lake.write(name, pa.table(columns | {"node_id": keys[layout].of(person)}))
    for layout, run in runs.items():
        run.lake.write("membership", keys[layout].membership())
        run.finish()
        (homes[layout] / "ready").touch()
    return homes
