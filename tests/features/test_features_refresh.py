"""The daily refresh gives, in every row and to the last bit, what a build from nothing gives."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdpkit.features import (
    Age,
    Count,
    Distinct,
    FeatureSet,
    First,
    Gap,
    Last,
    Max,
    Mean,
    Min,
    Rate,
    Recency,
    Repeats,
    Sessions,
    Share,
    Sum,
    Tenure,
    Trend,
    catalogue,
    known,
)
from cdpkit.features.refresh import Refreshed, refresh
from cdpkit.run import Run
from cdpkit.workspace import Workspace

START = pd.Timestamp("2026-01-01")
DAY = pd.Timedelta(days=1)
FACTS = ("events", "orders", "messages", "contacts", "profiles")

#: Every kind of aggregate, with windows short enough that edges are crossed all the time.
SMALL = FeatureSet(
    "small",
    [
        Count("events", windows=[3, 9, None]),
        Count("events", where="event_type = 'Product Added'", windows=[3], name="carts"),
        Count("interactions", windows=[9]),
        Count("orders", where="NOT known(cancelled_at)", windows=[9, None], fill=0),
        Sum("orders.amount_minor", where="NOT known(cancelled_at)", windows=[3, None], currency="EUR"),
        Sum("orders.amount_minor", windows=[9], name="spent"),
        Mean("events.scroll_share", windows=[9]),
        Mean("contacts.satisfaction", of=known("resolved_at"), windows=[20]),
        Rate("messages", of=known("clicked_at"), windows=[9]),
        Share("events", by="category", windows=[9]),
        Share("events", part="local_hour >= 18", windows=[9]),
        Trend("events", windows=[9], recent=3),
        Recency("events", cap_days=9),
        Recency("messages", of=known("opened_at")),
        Tenure("orders", where="NOT known(cancelled_at)"),
        Min("events.scroll_share", windows=[9]),
        Max("orders.amount_minor", currency="EUR"),
        Last("events.channel", values=["site", "app"], windows=[9]),
        First("events.channel", values=["site", "app"], windows=[9]),
        Age("profiles.birth_date"),
        Distinct("events.day", windows=[9]),
        Distinct("events.product_id"),
        Repeats("events.product_id", stat="count", windows=[9]),
        Sessions("events", windows=[9], stat="minutes"),
        Sessions("events", having="has_cart AND NOT has_purchase", windows=[9], name="left"),
        Gap("orders", stat="sd"),
    ],
)


@pytest.fixture
def bench(tmp_path: Path, world) -> Iterator[Callable[..., Play]]:
    """Return what opens a lake on a random world, nothing of which has happened yet."""
    opened: list[Play] = []

    def begin(seed: int, features: FeatureSet = SMALL, **options: object) -> Play:
        home = tmp_path / f"home{len(opened)}"
        opened.append(Play(home, world(seed, **options), features))
        return opened[-1]

    yield begin
    for play in opened:
        play.close()


class Play:
    """A lake that is loaded, refreshed and compared, day after day."""

    def __init__(self, home: Path, frames: dict[str, pd.DataFrame], features: FeatureSet) -> None:
        self.home, self.frames, self.features = home, frames, features
        self.run = Run.begin(Workspace.open(home), "features")
        self.at = START
        for name in ("nodes", "source_bases", "membership"):
            self.run.lake.write(name, frames[name])

    def load(self, day: float) -> None:
        """Load what was learned since the last load, late facts included."""
        until = START + day * DAY
        for name in FACTS:
            frame = self.frames[name]
            self.run.lake.write(name, frame[(frame["known_at"] < until) & (frame["known_at"] >= self.at)])
        self.at = until

    def refresh(self, day: float, **options: object) -> Refreshed:
        """Refresh at a day, and hold every row to a build from nothing."""
        done = refresh(self.run, self.features, START + day * DAY, **options)
        with self.run.engine() as engine:
            whole = self.features.build(engine, START + day * DAY, **options)
        pd.testing.assert_frame_equal(done.built.to_pandas(), whole.to_pandas(), check_exact=True)
        return done

    def regroup(self, rng: np.random.Generator, day: float) -> None:
        """Merge, split or unmerge some records at a time, and rewrite the past of one."""
        held = self.frames["membership"]
        now = START + day * DAY
        nodes = rng.choice(held["node_id"].unique(), 3, replace=False)
        current = held["known_to"].isna() & held["node_id"].isin(nodes) & (held["known_from"] < now)
        moved = held[current].assign(known_from=now, known_to=pd.NaT)
        moved["person_id"] = rng.choice(["joint1", "own02", "fresh1", "fresh2"], len(moved))
        held.loc[current, "known_to"] = now
        back = held["node_id"] == rng.choice(held["node_id"].unique())
        held.loc[back & held["known_to"].notna(), "person_id"] = "reborn"
        self.frames["membership"] = pd.concat([held, moved], ignore_index=True)
        self.run.lake.write("membership", self.frames["membership"], mode="overwrite")

    def close(self) -> None:
        """Give the lake up."""
        self.run.abandon()
        shutil.rmtree(self.home)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10_000),
    steps=st.lists(st.sampled_from([0.25, 1.0, 3.0, 9.0]), min_size=2, max_size=3),
)
def test_any_days_of_events_late_facts_merges_and_splits_equal_a_build_from_nothing(
    seed: int, steps: list[float], bench
) -> None:
    """Whatever the steps: rows that come late, outcomes, window edges, records that change persons, consent."""
    rng = np.random.default_rng(seed)
    play = bench(seed, rows=90, nodes=10)
    play.frames["consents"] = consents(rng, 10)
    day = 9.0
    play.load(day)
    play.run.lake.write("consents", play.frames["consents"])
    assert play.refresh(day).reason == "no state of these definitions"
    for step in steps:
        day += step
        play.load(day)
        if rng.random() < 0.7:
            play.regroup(rng, day - rng.choice([0.25, 2.0]))
        assert play.refresh(day).reason == ""


def consents(rng: np.random.Generator, nodes: int) -> pd.DataFrame:
    """Return people who object to profiling, and some who change their mind."""
    at = START + pd.to_timedelta(rng.integers(0, 35, 4), "D")
    status = rng.choice(["denied", "granted"], 4)
    return pd.DataFrame(
        {"node_id": rng.integers(1, nodes + 1, 4), "source": "test", "known_at": at, "event_time": at,
         "purpose": "profiling", "channel": "*", "status": status}
    ).drop_duplicates(["node_id", "event_time"]).astype({"known_at": "datetime64[us]", "event_time": "datetime64[us]"})  # fmt: skip


def test_the_whole_catalogue_is_refreshed_exactly(bench) -> None:
    """Every ready feature, whatever the catalogue holds, over three days and under a population."""
    whole = getattr(
        catalogue, "complete", catalogue.standard
    )  # where the catalogue is more than the standard set
    play = bench(5, whole("EUR"))
    for day in (20.0, 21.0):
        play.load(day)
        done = play.refresh(day, population="active_30")
    assert done.reason == "" and done.persons > 4


def test_rows_dated_before_the_state_and_loaded_after_it_are_counted(bench) -> None:
    """A file that was forgotten, all its times in the past, is seen by its being new, not by its dates."""
    play = bench(6)
    events = play.frames["events"]
    forgotten = events["event_time"] < START + 8 * DAY
    play.frames["events"] = events[~forgotten]
    play.load(12.0)
    play.refresh(12.0)
    play.run.lake.write("events", events[forgotten & (events["known_at"] < START + 12 * DAY)])
    done = play.refresh(12.0)
    assert done.reason == "" and done.touched > 0


def test_rows_written_again_are_taken_back_first(bench) -> None:
    """A table whose rows were replaced counts once: what its old files held is subtracted."""
    play = bench(7)
    play.load(12.0)
    play.refresh(12.0)
    orders = play.frames["orders"]
    loaded = orders[orders["known_at"] < START + 12 * DAY]
    play.run.lake.write("orders", loaded.assign(amount_minor=loaded["amount_minor"] + 7), mode="overwrite")
    assert play.refresh(13.0).reason == ""


def test_only_the_persons_whose_records_or_rows_changed_are_computed_again(bench) -> None:
    """A day on which nothing happens and no edge is crossed touches nobody; a merge touches the two persons."""
    only = FeatureSet("still", [Distinct("events.product_id"), Recency("events")])
    play = bench(8, only)
    for name in FACTS:
        frame = play.frames[name]
        play.frames[name] = frame[
            (frame["known_at"] < START + 35 * DAY) & (frame["event_time"] < START + 35 * DAY)
        ]
    held = play.frames["membership"]
    play.load(60.0)
    play.refresh(60.0)
    assert play.refresh(61.0).touched == 0
    now = held[held["known_to"].isna()]
    first, second = now["person_id"].unique()[:2]
    held.loc[now[now["person_id"] == first].index, "person_id"] = second
    play.run.lake.write("membership", held, mode="overwrite")
    assert play.refresh(62.0).touched == 1


def test_a_state_that_cannot_be_continued_is_built_again_and_says_why(bench) -> None:
    """Another definition, an earlier date, files that are gone: the reason is told, the values are right."""
    play = bench(9)
    play.load(14.0)
    play.refresh(14.0)
    assert play.refresh(12.0).reason == "a state of a later date"
    fewer = FeatureSet("small", SMALL.features[:5])
    play.features = fewer
    assert play.refresh(14.0).reason == "no state of these definitions"
    frame = play.frames["orders"]
    play.run.lake.write("orders", frame[frame["known_at"] < START + 14 * DAY], mode="overwrite")
    root = play.run.lake.read("orders", "head").root
    live = {path.name for path in play.run.lake.read("orders", "head").files}
    for path in root.rglob("*.parquet"):
        if path.name not in live:
            path.unlink()
    assert play.refresh(15.0).reason == "rows of orders that were counted are gone"


def test_the_log_of_differences_does_not_grow_for_ever(bench) -> None:
    """A long log is added up again, without a change in any value."""
    play = bench(10, FeatureSet("sums", [Count("events", windows=[3]), Count("events", windows=[9])]))
    play.load(10.0)
    play.refresh(10.0)
    rows = []
    for day in range(11, 19):
        play.load(float(day))
        play.refresh(float(day))
        rows.append(play.run.lake.read("state_sums_of_events", "head").rows)
    assert max(rows) < 14 * 3 and any(later < earlier for earlier, later in itertools.pairwise(rows))
