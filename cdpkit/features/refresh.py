"""The daily refresh: yesterday's state moved to today, equal to a build from nothing in every row.

A row counts for a feature at `t` when ``event_time < t``, ``known_at < t``, ``event_time >= t - window`` and
its outcome conditions, ``clicked_at < t``, hold. So between two dates it changes sides only if one of its
times lies between them, or its event time crosses the edge of a window. These rows are few, the files are
sorted by time, and nothing else is read. From them:

- Sums are kept by record: today's are yesterday's, plus what the rows that changed sides count for now,
  minus what they counted for. All are whole numbers (money in minor units, fractions in millionths), so
  nothing drifts, and records that join, leave or change persons need no repair.
- Other aggregates are kept by person, and computed again from all rows for the persons with such a row, and
  for those whose records are not those of yesterday: merged, split, unmerged, consenting or not any more.
- An aggregate that may change with the date alone, or is of a fact joined to others, is computed for
  everybody.

New files count as rows that were not there; files that went (rows written again) as rows that are not there
any more. So late data, with whatever date, costs what it holds. Where the state cannot be continued (other
definitions, an earlier date, files erased) it is built from nothing, and the reason is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlglot import exp, parse_one

from cdpkit.features.build import FeatureSet
from cdpkit.features.built import Built
from cdpkit.features.compile import statement
from cdpkit.features.moves import SIDES, differences, moved, moved_nodes, moved_rows, side_of
from cdpkit.features.permission import permit
from cdpkit.features.plan import Part, plan
from cdpkit.features.population import (
    Population,
    clock_at,
    instant,
    moment,
    snapshot_members,
    snapshot_persons,
)
from cdpkit.features.scans import MEMBERS, PERSONS, fact_relation, scan_query
from cdpkit.features.state import Kept, Shelf, bases, from_store, read_header, to_store, write_header
from cdpkit.features.tree import (
    Tree,
    col,
    join,
    named,
    num,
    select,
    sub,
    table,
    timestamp,
    when,
)
from cdpkit.lake.change import Change

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import DuckDBEngine
    from cdpkit.run import Run

#: A log of differences is added up again when it holds so many times the rows it started from.
_LONG_LOG = 1.5
_ALL, _TOUCHED = "refresh_members", "refresh_touched"


@dataclass(frozen=True)
class Refreshed:
    """Features at a date, and what it took.

    Parameters
    ----------
    built : Built
        As `FeatureSet.build` gives it at that date.
    reason : str
        Why the state was built from nothing; empty when yesterday's was continued.
    persons : int
        Persons described.
    touched : int
        Of them, those whose aggregates were computed again from all rows.
    """

    built: Built
    reason: str
    persons: int
    touched: int


def refresh(
    run: Run,
    features: FeatureSet,
    as_of: object,
    *,
    population: str | Population = "all",
    consent: bool = True,
    engine: DuckDBEngine | None = None,
) -> Refreshed:
    """Compute the features of a date from the state of an earlier one, and store the state of this one.

    Parameters
    ----------
    run : Run
        Holds the lock; the state is published with what the run writes.
    features : FeatureSet
    as_of : timestamp
        Usually a day after the last refresh.
    population, consent
        As in `FeatureSet.build`.
    engine : DuckDBEngine, optional
        On the heads of the run; by default a new one.

    Returns
    -------
    Refreshed

    Examples
    --------
    >>> import tempfile
    >>> from cdpkit.features import Count
    >>> from cdpkit.run import Run
    >>> from cdpkit.workspace import Workspace
    >>> with tempfile.TemporaryDirectory() as home, Run.begin(Workspace.open(home), "features") as run:
    ...     refresh(run, FeatureSet("web", [Count("events", windows=[7])]), "2026-01-02").reason
    'no state of these definitions'
    """
    given = engine if engine is not None else run.engine()
    try:
        return _Refresh(run, given, features, instant(as_of), consent).do(Population.parse(population))
    finally:
        if engine is None:
            given.close()


class _Refresh:
    """One refresh in progress."""

    def __init__(
        self, run: Run, engine: DuckDBEngine, features: FeatureSet, as_of: pd.Timestamp, consent: bool
    ) -> None:
        self.run, self.engine, self.features, self.consent = run, engine, features, consent
        self.now, self.clock = as_of, clock_at(as_of, engine.dialect)
        self.shelf = Shelf.of(features.name, features.outputs)
        self.kept = read_header(engine, self.shelf)
        self.changes: dict[str, Change] = {}
        self.first_seen: dict[str, Any] = {}

    @property
    def at(self) -> Tree:
        """The date, as SQL."""
        return moment(self.now)

    @property
    def before(self) -> Tree | None:
        """The date of the state, as SQL."""
        return None if self.kept is None else moment(self.kept.as_of)

    def do(self, population: Population) -> Refreshed:
        """Move the state, then read the features off it."""
        reason = self._why_not()
        if reason:
            self.kept = None
            self.changes = {name: self._change(name, None) for name in self._tables()}  # type: ignore[misc]
        for name, change in self.changes.items():
            for side in SIDES:
                self.engine.show(f"{name}__{side}", getattr(change, side))
        self.first_seen = self._first_times()
        self._persons(population)
        logs = self._move_sums()
        touched = self._renew() if self.shelf.still else 0
        built = self._read()
        self._store(logs)
        return Refreshed(built, reason, built.rows, touched if self.kept is not None else built.rows)

    # --- what can be continued ------------------------------------------------------------------------

    def _tables(self) -> list[str]:
        return sorted({base for name in self.shelf.facts for base in bases(name)})

    def _change(self, name: str, since: int | None) -> Change | None:
        return Change.since(since, self.engine.dataset(name))

    def _why_not(self) -> str:
        """Compare the lake with the state; say why the state is of no use."""
        if self.kept is None:
            return "no state of these definitions"
        if self.kept.as_of > self.now:
            return "a state of a later date"
        for name in self._tables():
            change = self._change(name, self.kept.versions.get(name))
            if change is None:
                return f"rows of {name} that were counted are gone"
            self.changes[name] = change
        return ""

    def _persons(self, population: Population) -> None:
        """Find the persons of the date and their records."""
        engine, allowed = self.engine, permit(self.engine, self.now) if self.consent else None
        engine.materialise(PERSONS, snapshot_persons(population, self.clock, allowed))
        engine.materialise(MEMBERS, snapshot_members(PERSONS, self.clock, allowed))
        engine.materialise(_ALL, _sql(f"SELECT * FROM {MEMBERS}"))

    # --- sums by record -------------------------------------------------------------------------------

    def _move_sums(self) -> dict[str, int]:
        """Append to each log what today changes; return the rows each log was last made of."""
        sizes: dict[str, int] = {}
        for name in self.shelf.facts:
            asked = [p for p in (*self.shelf.added, *self.shelf.still) if p.table == name]
            self.engine.materialise(moved(name), moved_rows(name, asked, self.before, self.at))
            parts = self.shelf.added_to(name)
            if not parts:
                continue
            log = self.shelf.log(name)
            changed = self.engine.query(differences(name, parts, self.before, self.at)).to_arrow()
            if self.kept is None:
                self.run.lake.write(log, changed, mode="overwrite")
                sizes[name] = changed.num_rows
                continue
            self.run.lake.write(log, changed)
            sizes[name] = self.kept.log_rows[name]
            if self.engine.dataset(log.name).rows > _LONG_LOG * sizes[name] + 1:
                sums = ", ".join(f"CAST(SUM({c}) AS BIGINT) AS {c}" for c in parts.values())
                short = self.engine.query(_sql(f"SELECT node_id, {sums} FROM {log.name} GROUP BY node_id"))
                rows = short.to_arrow()
                self.run.lake.write(log, rows, mode="overwrite")
                sizes[name] = rows.num_rows
        return sizes

    # --- other aggregates, by person ------------------------------------------------------------------

    def _renew(self) -> int:
        """Compute the aggregates by person again for the persons touched; return how many they are."""
        engine, still, old = self.engine, self.shelf.persons().name, self.shelf.members().name
        if self.kept is None:
            engine.materialise(_TOUCHED, _sql(f"SELECT key, person_id FROM {PERSONS}"))
        else:
            engine.materialise("refresh_nodes", self._moved_nodes())
            engine.materialise(
                "refresh_regrouped",
                _sql(
                    "SELECT n.person_id, o.person_id AS was FROM (SELECT m.node_id, p.person_id "
                    f"FROM {_ALL} AS m JOIN {PERSONS} AS p ON p.key = m.key) AS n "
                    f"FULL JOIN {old} AS o ON o.node_id = n.node_id "
                    "WHERE n.person_id IS NULL OR o.person_id IS NULL OR n.person_id <> o.person_id"
                ),
            )
            engine.materialise(
                _TOUCHED,
                _sql(
                    f"SELECT p.key, p.person_id FROM {PERSONS} AS p "
                    f"LEFT JOIN {still} AS s ON s.person_id = p.person_id WHERE s.person_id IS NULL "
                    f"OR p.key IN (SELECT m.key FROM {_ALL} AS m "
                    "JOIN refresh_nodes AS d ON d.node_id = m.node_id) "
                    "OR p.person_id IN (SELECT person_id FROM refresh_regrouped WHERE NOT person_id IS NULL) "
                    "OR p.person_id IN (SELECT was FROM refresh_regrouped WHERE NOT was IS NULL)"
                ),
            )
        engine.materialise(MEMBERS, _sql(f"SELECT * FROM {_ALL} WHERE key IN (SELECT key FROM {_TOUCHED})"))
        engine.materialise("refresh_still", self._still())
        return int(engine.query(f"SELECT count(*) AS n FROM {_TOUCHED}").to_pandas()["n"].item())

    def _moved_nodes(self) -> Tree:
        """Return the records with a row that changed sides for an aggregate by person."""
        assert self.before is not None
        ways = []
        for name in sorted({part.table for part in self.shelf.still}):
            parts = [part for part in self.shelf.still if part.table == name]
            ways.append(moved_nodes(name, parts, self.before, self.at))
        union = ways[0]
        for way in ways[1:]:
            union = exp.Union(this=union, expression=way, distinct=True)
        return union

    def _still(self) -> Tree:
        """Return the aggregates of everybody: those of the touched computed, the others' as they were."""
        scans = plan(self.shelf.still)
        where_is = {p: col(c, scan.name) for scan in scans for p, c in scan.columns.items()}
        values = [named(to_store(p, where_is[p]), f"s{i}") for i, p in enumerate(self.shelf.still)]
        joins = [_on_key(sub(scan_query(scan, self.clock), scan.name), scan.name) for scan in scans]
        renewed = select([col("person_id", "p"), *values], table(_TOUCHED, "p"), joins)
        if self.kept is None:
            return renewed
        same = _sql(
            f"SELECT s.* FROM {self.shelf.persons().name} AS s JOIN {PERSONS} AS p "
            f"ON p.person_id = s.person_id WHERE NOT p.key IN (SELECT key FROM {_TOUCHED})"
        )
        return exp.Union(this=renewed, expression=same, distinct=False)

    # --- features -------------------------------------------------------------------------------------

    def _read(self) -> Built:
        """Return the features: the formulas over the aggregates kept, and those that move with the date."""
        import pyarrow.compute as pc

        where_is: dict[Part, tuple[str, str]] = {}
        joins = []
        for i, name in enumerate(self.shelf.facts):
            parts = self.shelf.added_to(name)
            if parts:
                joins.append(_on_key(sub(self._sums(name, parts), f"d{i}"), f"d{i}"))
                where_is |= {part: (f"d{i}", column) for part, column in parts.items()}
        if self.shelf.still:
            columns = [
                named(from_store(p, col(f"s{i}", "r")), f"s{i}") for i, p in enumerate(self.shelf.still)
            ]
            state = select([col("person_id", "r"), *columns], table("refresh_still", "r"))
            same = exp.EQ(this=col("person_id", "s"), expression=col("person_id", "p"))
            joins.append(join(sub(state, "s"), same, "LEFT"))
            where_is |= {part: ("s", f"s{i}") for i, part in enumerate(self.shelf.still)}
        if self.shelf.moving:
            self.engine.materialise(MEMBERS, _sql(f"SELECT * FROM {_ALL}"))
        for scan in plan(self.shelf.moving):
            # Scans are named s0, s1, …: their numbers go on after the names above.
            alias = f"m_{scan.name}"
            joins.append(_on_key(sub(scan_query(scan, self.clock), alias), alias))
            where_is |= {part: (alias, column) for part, column in scan.columns.items()}
        seen = {
            name: timestamp(exp.Null()) if first is None else moment(first)
            for name, first in self.first_seen.items()
        }
        tree = statement(self.features.outputs, where_is, joins, self.clock, seen)
        rows = self.engine.query(tree).to_arrow()
        rows = rows.take(pc.sort_indices(rows["key"])).drop_columns(["key"])
        return Built(self.features, [rows])

    def _sums(self, name: str, parts: dict[Part, str]) -> Tree:
        """Return the sums of each person's records; a sum without a value is missing, not 0."""
        of_node = [named(exp.Sum(this=col(c, "d")), c) for c in parts.values()]
        same = exp.EQ(this=col("node_id", "d"), expression=col("node_id", "m"))
        totals = select(
            [col("key", "m"), *of_node],
            table(self.shelf.log(name).name, "d"),
            [join(table(_ALL, "m"), same)],
            group=[col("key", "m")],
        )
        columns: list[Tree] = []
        for part, column in parts.items():
            value: Tree = col(column, "t")
            if part.op in ("sum", "micro"):
                number = parts[Part(part.table, "filled", part.column, part.where, part.window)]
                value = when(exp.GT(this=col(number, "t"), expression=num(0)), value)
            columns.append(named(value, column))
        return select([col("key", "t"), *columns], sub(totals, "t"))

    def _first_times(self) -> dict[str, Any]:
        """Return when each source that a declared fill needs first spoke: by the state, or the rows since."""
        numeric = (int, float)
        wanted = {o.table for o in self.features.outputs if isinstance(o.fill, numeric) and o.history is None}
        out: dict[str, Any] = {}
        for name in sorted(wanted):
            changes = [self.changes[base] for base in bases(name) if base in self.changes]
            told = self.kept is not None and changes and not any(c.removed.files for c in changes)
            source = fact_relation(name, "f")
            time, learned = col("event_time", "f"), col("known_at", "f")
            later = when(exp.GT(this=time, expression=learned), time.copy(), learned.copy())
            first = select(
                [named(exp.Min(this=later), "first")], side_of(source, "added") if told else source
            )
            times = [self.engine.query(first).to_pandas()["first"].iloc[0]]
            if told:
                times.append(self.kept.first_seen.get(name))  # type: ignore[union-attr]
            times = [t for t in times if t is not None and t == t]
            out[name] = min(times) if times else None
        return out

    def _store(self, log_rows: dict[str, int]) -> None:
        """Write the state of today, its header last."""
        if self.shelf.still:
            members = _sql(
                f"SELECT m.node_id, p.person_id FROM {_ALL} AS m JOIN {PERSONS} AS p ON p.key = m.key"
            )
            self.run.lake.write(
                self.shelf.persons(),
                self.engine.query("SELECT * FROM refresh_still").to_arrow(),
                mode="overwrite",
            )
            self.run.lake.write(self.shelf.members(), self.engine.query(members).to_arrow(), mode="overwrite")
        names = sorted({*self._tables(), *self.shelf.facts, *self.first_seen})
        write_header(
            self.run,
            self.shelf,
            Kept(
                self.now,
                {name: self.engine.dataset(name).version if name in self.changes else None for name in names},
                self.first_seen,
                log_rows,
            ),
        )


def _sql(sql: str) -> Tree:
    """Return a statement written here as a tree, for any dialect."""
    return cast(Tree, parse_one(sql, dialect="duckdb"))


def _on_key(source: Tree, alias: str) -> exp.Join:
    return join(source, exp.EQ(this=col("key", alias), expression=col("key", "p")), "LEFT")
