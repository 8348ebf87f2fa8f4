"""A world: its exports, its truth, and what would come next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from cdpkit.errors import CdpkitError
from cdpkit.world import chunk, play, sinks
from cdpkit.world.behaviour import Behaviour, Reachable
from cdpkit.world.persons import BLOCK
from cdpkit.world.plan import Plan
from cdpkit.world.policies import Sends


class Frames(Mapping[str, pd.DataFrame]):
    """Tables read as DataFrames when asked for."""

    def __init__(self, tables: dict[str, pa.Table]) -> None:
        self._tables = tables

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self._tables[name].to_pandas()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


class World:
    """A synthetic population seen by a retailer's systems, with its truth apart.

    Parameters
    ----------
    plan : Plan
        What determines it.
    chunk_size : int
        Persons simulated at a time; it changes the memory used, never the result.

    Attributes
    ----------
    raw : mapping of str to DataFrame
        The exports, as text where the systems write text.
    truth : mapping of str to DataFrame
        What models may never see: `persons`, `identities`, `events`, `sessions`, `orders`, `messages`,
        `calls`, `states`, `departures`.
    """

    def __init__(self, plan: Plan, chunk_size: int = 10_000) -> None:
        self.plan, self.chunk_size = plan, chunk_size

    def chunks(self) -> Iterator[chunk.Chunk]:
        """Yield the world chunk by chunk, without keeping any."""
        # A household is never cut: its members share devices and addresses.
        size = -(-self.chunk_size // BLOCK) * BLOCK
        for low in range(0, self.plan.n_persons, size):
            yield chunk.build(self.plan, low, min(low + size, self.plan.n_persons))

    def shared(self, spend: list[pa.Table]) -> chunk.Chunk:
        """Return the tables that are no person's, given the chunks' spend: they come once."""
        return chunk.whole(self.plan, spend)

    def _stream(self) -> Iterator[chunk.Chunk]:
        """Yield everything, from memory where it is there already."""
        if "_tables" in self.__dict__:
            yield chunk.Chunk(*self._tables)
            return
        spend = []
        for part in self.chunks():
            spend.append(part.spend)
            yield part
            del part
        yield self.shared(spend)

    @cached_property
    def _tables(self) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
        parts = list(self.chunks())
        once = self.shared([part.spend for part in parts])
        raw = {name: pa.concat_tables([part.raw[name] for part in parts]) for name in parts[0].raw}
        truth = {name: pa.concat_tables([part.truth[name] for part in parts]) for name in parts[0].truth}
        return raw | once.raw, truth | once.truth

    @property
    def raw(self) -> Frames:
        """The exports."""
        return Frames(self._tables[0])

    @property
    def truth(self) -> Frames:
        """The truth."""
        return Frames(self._tables[1])

    @property
    def arrow(self) -> dict[str, pa.Table]:
        """The exports, as Arrow tables."""
        return dict(self._tables[0])

    def write(self, raw_dir: str | Path, truth_dir: str | Path) -> list[Path]:
        """Write the exports and, in another folder, the truth and the arguments of the world.

        A world not read yet is written chunk by chunk, and only one chunk is ever in memory.

        Raises
        ------
        CdpkitError
            If the truth would lie inside the folder of the exports, or the other way round.
        """
        raw, apart = Path(raw_dir).resolve(), Path(truth_dir).resolve()
        if raw.is_relative_to(apart) or apart.is_relative_to(raw):
            raise CdpkitError(
                "`truth_dir` must lie apart from `raw_dir`", got="one inside the other", do="Give two folders"
            )
        with sinks.Files(raw, raw=True) as exported, sinks.Files(apart, raw=False) as known:
            for part in self._stream():
                exported.append(part.raw)
                known.append(part.truth)
                # Else this chunk would stay in memory while the next one is built.
                del part
        arguments = apart / "world.json"
        arguments.write_text(json.dumps(asdict(self.plan), indent=1, sort_keys=True), encoding="utf-8")
        return [*exported.written, *known.written, arguments]

    def digest(self) -> str:
        """Return a hash of the sorted content of every table: equal for equal worlds, whatever the chunks."""
        whole = sinks.Fingerprint()
        for part in self._stream():
            for kind, tables in (("raw", part.raw), ("truth", part.truth)):
                for name, table in tables.items():
                    whole.add(f"{kind}/{name}", table)
        return whole.hexdigest()

    def play(
        self,
        policy: Sends | Mapping[str, Sends],
        start: str | np.datetime64 | None = None,
        end: str | np.datetime64 | None = None,
        *,
        replicates: int = 1,
    ) -> pd.DataFrame:
        """Return what each person does when campaigns are sent by a policy: see `cdpkit.world.play.play`."""
        return play.play(self, policy, start, end, replicates=replicates)

    def p_convert(
        self, as_of: str | np.datetime64, horizon_days: int = 30, *, replicates: int = 64
    ) -> pd.DataFrame:
        """Return each person's true chance of an order that shows within the horizon.

        An order shows when it can be told whose it is: on line, or in a store with a card. The chance is
        given the whole latent state at the midnight of `as_of`, and averages over what comes next
        (Rao-Blackwell: the orders of simulated futures are not counted but integrated).

        Parameters
        ----------
        as_of : str or datetime64
            A date within the world; its midnight (UTC) is used.
        horizon_days : int
            Days ahead.
        replicates : int
            Simulated futures a person.

        Returns
        -------
        DataFrame
            ``person, as_of, p_convert, se``: one row a person there at `as_of`; `se` is the standard
            error of the simulation, not of the person.

        Raises
        ------
        CdpkitError
            If `as_of` lies outside the world or the horizon is not positive.
        """
        day = self.plan.day_of(as_of)
        if not 0 <= day <= self.plan.days:
            raise CdpkitError("`as_of` must lie within the world", got=str(as_of))
        if horizon_days < 1 or replicates < 2:
            raise CdpkitError("`horizon_days` must be >= 1 and `replicates` >= 2")
        parts = [
            self._convert(low, min(low + self.chunk_size, self.plan.n_persons), day, horizon_days, replicates)
            for low in range(0, self.plan.n_persons, self.chunk_size)
        ]
        frame = pd.concat(parts, ignore_index=True)
        frame.insert(1, "as_of", np.datetime64(str(as_of)[:10], "us"))
        return frame

    def _convert(self, low: int, high: int, day: int, horizon: int, replicates: int) -> pd.DataFrame:
        now = chunk.behaviour(self.plan, low, high)
        start, n = now.at(day), len(now.persons)
        total, squares = np.zeros(n), np.zeros(n)
        copies = max(1, min(replicates, 400_000 // n))
        done = 0
        while done < replicates:
            size = min(copies, replicates - done)
            mail = now.reachable
            future = Behaviour(
                self.plan,
                now.persons.tile(size),
                Reachable(np.tile(mail.from_day, size), np.tile(mail.bad_address, size)),
                now.draws.replicate(replicates).take(np.arange(done * n, (done + size) * n)),
            )
            state, missed = start.tile(size), np.ones(n * size)
            for ahead in range(day, day + horizon):
                missed *= 1 - future.step(state, ahead, buys=False)
            p = 1 - missed.reshape(size, n)
            total += p.sum(axis=0)
            squares += (p**2).sum(axis=0)
            done += size
        mean = total / replicates
        error = np.sqrt(np.maximum(squares / replicates - mean**2, 0) / (replicates - 1))
        here = (now.persons.born <= day) & (day < now.persons.gone)
        return pd.DataFrame({"person": now.persons.unit, "p_convert": mean, "se": error})[here]


def generate(
    n_persons: int = 5000,
    seed: int = 0,
    preset: str = "retail",
    start: str = "2025-01-01",
    end: str = "2026-07-01",
    *,
    changes: dict[str, dict] | None = None,
    chunk_size: int = 10_000,
) -> World:
    """Return a world of `n_persons`.

    Parameters
    ----------
    n_persons, seed, preset, start, end, changes
        What determines the world: see `cdpkit.world.Plan`.
    chunk_size : int
        Persons simulated at a time; it never changes the result.

    Returns
    -------
    World
        Simulated when its exports or its truth are first read.

    Raises
    ------
    CdpkitError
        If the preset does not exist, or the dates or the size make no world.

    Examples
    --------
    >>> world = generate(60, seed=1, start="2026-01-01", end="2026-03-01")
    >>> {"crm_contacts", "web_events", "shop_orders"} <= set(world.raw)
    True
    """
    return World(Plan(n_persons, seed, preset, start, end, changes), chunk_size)


def load(truth_dir: str | Path) -> World:
    """Return the world whose truth was written in a folder: same arguments, same content."""
    arguments = json.loads((Path(truth_dir) / "world.json").read_text(encoding="utf-8"))
    return World(Plan(**arguments))
