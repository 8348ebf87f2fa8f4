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
- An aggregate that may change with the date alone is computed for everybody.

New files count as rows that were not there; files that went (rows written again) as rows that are not there
any more. So late data, with whatever date, costs what it holds. Where the state cannot be continued (other
definitions, an earlier date, files erased) it is built from nothing, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlglot import exp, parse_one

from cdpkit.features.build import FeatureSet
from cdpkit.features.built import Built
from cdpkit.features.compile import statement
from cdpkit.features.history import INTERACTIONS, STRANDS
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
from cdpkit.features.predicate import parse
from cdpkit.features.scans import MEMBERS, PERSONS, fact_relation, holds, scan_query
from cdpkit.features.state import Kept, Shelf, from_store, read_header, to_store, write_header
from cdpkit.features.tree import (
    Tree,
    all_of,
    col,
    count,
    double,
    join,
    named,
    num,
    only,
    or_else,
    select,
    sub,
    table,
    text,
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


def bases(name: str) -> list[str]:
    """Return the tables of the lake that a fact is read from."""
    if name != INTERACTIONS.name:
        return [name]
    return sorted({strand.table for strand in STRANDS})


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

    def do(self, population: Population) -> Refreshed:
        """Move the state, then read the features off it."""
        reason = self._why_not()
        if reason:
            self.kept = None
            self.changes = {name: self._change(name, None) for name in self._tables()}  # type: ignore[misc]
        for name, change in self.changes.items():
            for side in ("kept", "added", "removed"):
                self.engine.show(f"{name}__{side}", getattr(change, side))
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
            self.engine.materialise(_moved(name), self._moved_rows(name))
            parts = self.shelf.added_to(name)
            if not parts:
                continue
            log = self.shelf.log(name)
            changed = self.engine.query(self._differences(name, parts)).to_arrow()
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

    def _moved_rows(self, name: str) -> Tree:
        """Return the rows that changed sides: ``is_now`` and ``was_before`` say where they are and were."""
        parts = [p for p in (*self.shelf.added, *self.shelf.still) if p.table == name]
        columns = [col(c, "f") for c in sorted(_columns(parts))]

        def rows(side: str, now: bool, before: bool, where: Tree | None = None) -> exp.Select:
            sides = [named(exp.Boolean(this=now), "is_now"), named(exp.Boolean(this=before), "was_before")]
            source = _side(fact_relation(name, "f"), side)
            return select([c.copy() for c in columns] + sides, source, where=where)

        pieces = [rows("added", True, False)]
        if self.kept is not None:
            crossed = self._crossings(parts)
            for i, crossing in enumerate(crossed):
                # A row that crosses twice is one row.
                earlier = [exp.Not(this=or_else(c.copy(), exp.false())) for c in crossed[:i]]
                pieces.append(rows("kept", True, True, all_of([crossing.copy(), *earlier])))
            pieces.append(rows("removed", False, True))
        union: Tree = pieces[0]
        for piece in pieces[1:]:
            union = exp.Union(this=union, expression=piece, distinct=False)
        return union

    def _crossings(self, parts: Sequence[Part]) -> list[Tree]:
        """Return the ways in which a row may have changed sides since the state."""
        assert self.kept is not None
        before, now = self.kept.as_of, self.now
        times = ["event_time", "known_at", *sorted({t for p in parts for t in _outcome_times(p)})]
        ways = [_between(col(time, "f"), moment(before), moment(now)) for time in times]
        for window in sorted({p.window for p in parts if p.window is not None}):
            edges = [_back(moment(t), window) for t in (before, now)]
            ways.append(_between(col("event_time", "f"), *edges))
        return ways

    def _differences(self, name: str, parts: dict[Part, str]) -> Tree:
        """Return, by record, what its sums changed by: ``node_id`` and a column a sum."""
        columns = []
        for part, column in parts.items():
            change = self._sum(part, "is_now", moment(self.now))
            if self.kept is not None:
                earlier = self._sum(part, "was_before", moment(self.kept.as_of))
                change = exp.Sub(this=change, expression=earlier)
            columns.append(named(exp.cast(exp.Paren(this=change), "bigint"), column))
        query = select([col("node_id", "f"), *columns], table(_moved(name), "f"), group=[col("node_id", "f")])
        moved = [exp.NEQ(this=col(c, "d"), expression=num(0)) for c in parts.values()]
        some: Tree = moved[0]
        for other in moved[1:]:
            some = exp.Or(this=some, expression=other)
        return select([exp.Star()], sub(query, "d"), where=some)

    def _sum(self, part: Part, side: str, at: Tree) -> Tree:
        """Return a sum over the rows of one side that count at a date."""
        value = col(part.column or "event_time", "f")
        visible = [
            col(side, "f"),
            exp.LT(this=col("event_time", "f"), expression=at.copy()),
            exp.LT(this=col("known_at", "f"), expression=at.copy()),
            holds(part.where, at.copy),
        ]
        if part.window is not None:
            start = _back(at.copy(), part.window)
            visible.append(exp.GTE(this=col("event_time", "f"), expression=start))
        if part.op == "count":
            return only(count(), visible)
        if part.op == "filled":
            return only(exp.Count(this=value), visible)
        if part.op == "micro":
            millions = exp.Mul(this=double(value), expression=double(num(1_000_000)))
            value = exp.cast(exp.Round(this=millions), exp.DataType.Type.BIGINT)  # type: ignore[assignment]
        return or_else(only(exp.Sum(this=value), visible), num(0))

    # --- other aggregates, by person ------------------------------------------------------------------

    def _renew(self) -> int:
        """Compute the aggregates by person again for the persons touched; return how many they are."""
        engine, still, old = self.engine, self.shelf.persons().name, self.shelf.members().name
        if self.kept is None:
            engine.materialise(_TOUCHED, _sql(f"SELECT key, person_id FROM {PERSONS}"))
        else:
            ways = [self._moved_nodes(name) for name in self.shelf.facts]
            engine.materialise("refresh_nodes", _union([way for way in ways if way is not None]))
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
                    f"OR p.key IN (SELECT m.key FROM {_ALL} AS m JOIN refresh_nodes AS d ON d.node_id = m.node_id) "
                    "OR p.person_id IN (SELECT person_id FROM refresh_regrouped WHERE NOT person_id IS NULL) "
                    "OR p.person_id IN (SELECT was FROM refresh_regrouped WHERE NOT was IS NULL)"
                ),
            )
        engine.materialise(MEMBERS, _sql(f"SELECT * FROM {_ALL} WHERE key IN (SELECT key FROM {_TOUCHED})"))
        engine.materialise("refresh_still", self._still())
        return int(engine.query(f"SELECT count(*) AS n FROM {_TOUCHED}").to_pandas()["n"].item())

    def _moved_nodes(self, name: str) -> Tree | None:
        """Return the records with a row of a fact that changed sides for an aggregate by person."""
        parts = [p for p in self.shelf.still if p.table == name]
        if not parts:
            return None
        crossed = [or_else(c, exp.false()) for c in self._crossings(parts)]
        fresh = exp.Not(
            this=exp.Paren(this=exp.And(this=col("is_now", "f"), expression=col("was_before", "f")))
        )
        some: Tree = fresh
        for crossing in crossed:
            some = exp.Or(this=some, expression=crossing)
        return select([col("node_id", "f")], table(_moved(name), "f"), where=some).distinct()

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
        seen = self._first_seen()
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

    def _first_seen(self) -> dict[str, Tree]:
        """Return when each source first spoke: what the state says, or the rows since."""
        found: dict[str, Tree] = {}
        for name, known in self._seen().items():
            found[name] = timestamp(exp.Null()) if known is None else moment(known)
        return found

    def _seen(self) -> dict[str, Any]:
        """Return the first time of each fact whose declared fill needs it."""
        if hasattr(self, "_seen_first"):
            return self._seen_first
        numeric = (int, float)
        wanted = {o.table for o in self.features.outputs if isinstance(o.fill, numeric) and o.history is None}
        out: dict[str, Any] = {}
        for name in sorted(wanted):
            changes = [self.changes[base] for base in bases(name) if base in self.changes]
            told = self.kept is not None and changes and not any(c.removed.files for c in changes)
            source = fact_relation(name, "f")
            time, learned = col("event_time", "f"), col("known_at", "f")
            later = when(exp.GT(this=time, expression=learned), time.copy(), learned.copy())
            first = select([named(exp.Min(this=later), "first")], _side(source, "added") if told else source)
            times = [self.engine.query(first).to_pandas()["first"].iloc[0]]
            if told:
                times.append(self.kept.first_seen.get(name))  # type: ignore[union-attr]
            times = [t for t in times if t is not None and t == t]
            out[name] = min(times) if times else None
        self._seen_first = out
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
        names = sorted({*self._tables(), *self.shelf.facts, *self._seen()})
        versions = {name: self.changes[name].kept for name in self.changes}
        write_header(
            self.run,
            self.shelf,
            Kept(
                self.now,
                {name: self._version(name) if name in versions else None for name in names},
                self._seen(),
                log_rows,
            ),
        )

    def _version(self, name: str) -> int | None:
        return self.engine.dataset(name).version


def _sql(sql: str) -> Tree:
    """Return a statement written here as a tree, for any dialect."""
    return parse_one(sql, dialect="duckdb")


def _moved(name: str) -> str:
    return f"refresh_moved_{name}"


def _side(source: Tree, side: str) -> Tree:
    """Return a fact read from some of its files."""
    for found in source.find_all(exp.Table):
        found.set("this", exp.Identifier(this=f"{found.name}__{side}", quoted=True))
    return source


def _columns(parts: Iterable[Part]) -> set[str]:
    """Return the columns that the rows which changed sides must carry."""
    named_in = {"node_id", "event_time", "known_at"}
    for part in parts:
        if part.where is not None:
            named_in |= {column.name for column in parse(part.where).find_all(exp.Column)}
        if part.level == "rows" and part.column is not None:
            named_in.add(part.column)
    return named_in


def _outcome_times(part: Part) -> set[str]:
    """Return the outcome times that a part's filter asks for."""
    if part.where is None:
        return set()
    calls = parse(part.where).find_all(exp.Anonymous)
    return {call.expressions[0].name for call in calls}


def _between(value: Tree, first: Tree, last: Tree) -> Tree:
    after = exp.GTE(this=value, expression=first)
    return exp.Paren(this=exp.And(this=after, expression=exp.LT(this=value.copy(), expression=last)))


def _back(at: Tree, window: int) -> Tree:
    interval = exp.Interval(this=text(str(window)), unit=exp.Var(this="DAY"))
    return exp.Sub(this=at, expression=interval)


def _on_key(source: Tree, alias: str) -> exp.Join:
    return join(source, exp.EQ(this=col("key", alias), expression=col("key", "p")), "LEFT")


def _union(queries: Sequence[Tree]) -> Tree:
    first, *others = queries
    for query in others:
        first = exp.Union(this=first, expression=query, distinct=True)
    return first
