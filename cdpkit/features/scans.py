"""The SQL of one scan: rows of a table up to the date, joined to persons, aggregated once or twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from cdpkit.features import predicate
from cdpkit.features.declarations import SESSION_FACTS
from cdpkit.features.facts import DERIVED, fact, fact_relation, trait
from cdpkit.features.lexicon import pattern
from cdpkit.features.plan import Part, Scan
from cdpkit.features.tree import (
    Tree,
    all_of,
    col,
    count,
    decayed,
    double,
    is_null,
    join,
    named,
    num,
    only,
    or_else,
    over,
    saturated,
    select,
    struct,
    sub,
    table,
    text,
    timestamp,
    when,
    wide,
)

#: Where the persons of a build and their records are kept while it runs.
PERSONS, MEMBERS = "feature_persons", "feature_members"


@dataclass(frozen=True)
class Clock:
    """The date of each row: one literal for a snapshot, or the column `t` of the members.

    Parameters
    ----------
    first, last : str
        ISO bounds of the dates, UTC; equal for a snapshot. They prune files.
    per_row : bool
        Whether dates differ by row.
    dialect : str
    """

    first: str
    last: str
    per_row: bool
    dialect: str = "duckdb"

    def now(self, owner: str = "m") -> Tree:
        """Return the date itself."""
        return col("t", owner) if self.per_row else timestamp(text(self.last))

    def start(self, window: int, owner: str = "m") -> Tree:
        """Return the date minus a window."""
        return exp.Sub(this=self.now(owner), expression=_days(window))

    def micros(self, time: Tree) -> Tree:
        """Return a time as exact microseconds."""
        if self.dialect == "duckdb":
            return exp.Anonymous(this="epoch_us", expressions=[time])
        instant = exp.Cast(this=time, to=exp.DataType(this=exp.DataType.Type.TIMESTAMPLTZ))
        return exp.Anonymous(this="unix_micros", expressions=[instant])

    def visible(self, lookback: int | None, owner: str = "f") -> Tree:
        """Return what makes a row visible: it happened in the look-back and was known before the date."""
        time, learned = col("event_time", owner), col("known_at", owner)
        conditions: list[Tree | None] = [
            exp.LT(this=time, expression=self.now()),
            exp.LT(this=learned, expression=self.now()),
            None if lookback is None else exp.GTE(this=time.copy(), expression=self.start(lookback)),
        ]
        if self.per_row:
            conditions.append(exp.LT(this=time.copy(), expression=timestamp(text(self.last))))
            if lookback is not None:
                earliest = exp.Sub(this=timestamp(text(self.first)), expression=_days(lookback))
                conditions.append(exp.GTE(this=time.copy(), expression=earliest))
        condition = all_of(conditions)
        assert condition is not None
        return condition


def _days(window: int) -> exp.Interval:
    return exp.Interval(this=text(str(window)), unit=exp.Var(this="DAY"))


def scan_query(scan: Scan, clock: Clock) -> exp.Select:
    """Return the query of one scan: `key` and one column a part."""
    if scan.level == "purchases":
        from cdpkit.features.purchases import purchases

        return purchases(scan, clock)
    return _LEVELS[scan.level](scan, clock)


def holds(where: str | None, now: Callable[[], Tree], owner: str = "f") -> Tree | None:
    """Return a filter on qualified columns, outcomes asked at `now`."""
    if where is None:
        return None

    def known(column: str) -> Tree:
        before = exp.LT(this=col(column, owner), expression=now())
        return or_else(before, exp.false())

    return predicate.condition(where, lambda name: col(name, owner), known)


def _source(
    scan: Scan, clock: Clock, columns: list[Tree], group: list[Tree], extra: Tree | None = None
) -> exp.Select:
    """Return the visible rows of a scan with their person."""
    same = exp.EQ(this=col("node_id", "f"), expression=col("node_id", "m"))
    where = all_of([clock.visible(scan.lookback), holds(scan.where, clock.now), extra])
    joins = [join(table(MEMBERS, "m"), same)]
    return select(columns, fact_relation(scan.table, "f"), joins, where, group)


def _in_window(part: Part, scan: Scan, clock: Clock, owner: str = "f", date: str = "m") -> Tree | None:
    """Return the test of a window shorter than the scan's."""
    if part.window == scan.lookback or part.window is None:
        return None
    return exp.GTE(this=col("event_time", owner), expression=clock.start(part.window, date))


# --- rows ---------------------------------------------------------------------------------------------


def _row_aggregate(part: Part, scan: Scan, clock: Clock) -> Tree:
    """Return one aggregate over rows."""
    value: Tree = col(part.column or "event_time", "f")
    conditions = [
        None if part.where == scan.where else holds(part.where, clock.now),
        _in_window(part, scan, clock),
    ]
    if part.op == "count":
        return only(count(), conditions)
    if part.op == "filled":
        return only(exp.Count(this=value), conditions)
    if part.op == "sum":
        return only(exp.Sum(this=value), conditions)
    if part.op == "micro":
        scaled = exp.Round(this=exp.Mul(this=double(value), expression=double(num(1_000_000))))
        return only(exp.Sum(this=exp.cast(scaled, exp.DataType.Type.BIGINT)), conditions)
    if part.op in ("min", "max"):
        kind = exp.Min if part.op == "min" else exp.Max
        return only(kind(this=value), conditions)
    if part.op in ("latest", "earliest"):
        value = trait(value, part.having) if part.having else value
        kind = exp.Max if part.op == "latest" else exp.Min
        return only(
            kind(this=_packed(part, value, clock)), [*conditions, exp.Not(this=is_null(value.copy()))]
        )
    if part.op == "reached":
        places = [
            exp.If(this=exp.EQ(this=value.copy(), expression=text(name)), true=num(place + 1))
            for place, name in enumerate(part.values)
        ]
        return only(exp.Max(this=exp.Case(ifs=places, default=num(0))), conditions)
    if part.op == "decay":
        return only(exp.Sum(this=_fading(part, clock)), conditions)
    if part.op == "says":
        found = exp.RegexpLike(this=exp.Lower(this=value), expression=text(pattern(part.values[0])))
        return only(count(), [*conditions, found])
    keys = {f"k{i}": col(name, "f") for i, name in enumerate(fact(part.table).key)}
    ordered = struct(t=col("event_time", "f"), **keys, v=value.copy())
    kind = exp.Max if part.op == "last" else exp.Min
    return only(kind(this=ordered), [*conditions, exp.Not(this=is_null(value.copy()))])


def _fading(part: Part, clock: Clock) -> Tree:
    """Return what is left of a row, in whole parts: added up in any order, it is exact."""
    age = exp.Sub(this=clock.micros(clock.now()), expression=clock.micros(col("event_time", "f")))
    return decayed(exp.Paren(this=age), float(part.values[0]))


def _packed(part: Part, value: Tree, clock: Clock) -> Tree:
    """Return a row's time and the place of its value in the list, in one integer."""
    size, listed = len(part.values), part.values[:-1]
    # "other" is the last of the list: it must lose, whichever end is taken.
    rank = {name: index + 1 if part.op == "latest" else index for index, name in enumerate(listed)}
    places = [
        exp.If(this=exp.EQ(this=value.copy(), expression=text(name)), true=num(place))
        for name, place in rank.items()
    ]
    place = exp.Case(ifs=places, default=num(0 if part.op == "latest" else size - 1))
    time = clock.micros(col("event_time", "f"))
    return exp.Add(this=exp.Mul(this=time, expression=num(size)), expression=place)


def _rows(scan: Scan, clock: Clock) -> exp.Select:
    """Aggregate the rows of each person."""
    columns = [named(_row_aggregate(part, scan, clock), scan.columns[part]) for part in scan.parts]
    return _source(scan, clock, [col("key", "m"), *columns], [col("key", "m")])


# --- values: two-level group-bys ----------------------------------------------------------------------


def _group_column(scan: Scan) -> Tree:
    """Return the column whose values are grouped."""
    name = str(scan.group)
    if name in DERIVED and name not in fact(scan.table):
        return exp.Cast(this=col(DERIVED[name], "f"), to=exp.DataType(this=exp.DataType.Type.DATE))
    return col(name, "f")


def _values(scan: Scan, clock: Clock) -> exp.Select:
    """Count rows by value, then aggregate values: distinct, most repeated, repeated, total."""
    windows = list(dict.fromkeys(part.window for part in scan.parts))
    sizes = {window: f"n{index}" for index, window in enumerate(windows)}
    value = _group_column(scan)
    inner = [col("key", "m"), named(value, "v")]
    for window in windows:
        inner.append(
            named(
                only(count(), [_in_window(Part(scan.table, "", window=window), scan, clock)]), sizes[window]
            )
        )
    fading = {part: f"d{index}" for index, part in enumerate(scan.parts) if part.op == "saturated"}
    for part, name in fading.items():
        within = _in_window(part, scan, clock)
        inner.append(named(only(exp.Sum(this=_fading(part, clock)), [within]), name))
    grouped = _source(
        scan, clock, inner, [col("key", "m"), value.copy()], exp.Not(this=is_null(value.copy()))
    )

    def outer(part: Part) -> Tree:
        if part in fading:
            return exp.Sum(this=saturated(col(fading[part], "g")))
        size = col(sizes[part.window], "g")
        if part.op == "top":
            return exp.Max(this=size)
        if part.op == "total":
            return exp.Sum(this=size)
        least = int(part.having or 1) if part.op == "repeated" else 1
        return only(count(), [exp.GTE(this=size, expression=num(least))])

    columns = [named(outer(part), scan.columns[part]) for part in scan.parts]
    return select([col("key", "g"), *columns], sub(grouped, "g"), group=[col("key", "g")])


# --- sessions -----------------------------------------------------------------------------------------


def _runs(scan: Scan, clock: Clock) -> Tree:
    """Return the events with their session: the source's, else one cut after minutes of silence."""
    date = [named(col("t", "m"), "t")] if clock.per_row else []
    carried = [col("key", "m"), col("event_time", "f"), col("event_type", "f"), *date]
    empty = is_null(col("session_id", "f"))
    given = _source(
        scan,
        clock,
        [*carried, named(col("session_id", "f"), "sid"), named(num(0), "run")],
        [],
        exp.Not(this=empty),
    )
    before = over(exp.Lag(this=col("event_time", "f")), col("key", "m"), col("event_time", "f"))
    silence = exp.Interval(this=text(str(scan.group)), unit=exp.Var(this="MINUTE"))
    soon = exp.LT(this=col("event_time", "f"), expression=exp.Add(this=before, expression=silence))
    starts = _source(
        scan,
        clock,
        [*[c.copy() for c in carried], named(when(soon, num(0), num(1)), "new")],
        [],
        empty.copy(),
    )
    names = [
        col(name, "r") for name in ("key", "event_time", "event_type", *(["t"] if clock.per_row else []))
    ]
    run = over(exp.Sum(this=col("new", "r")), col("key", "r"), col("event_time", "r"))
    nothing = exp.Cast(this=exp.Null(), to=exp.DataType.build("text"))
    cut = select([*names, named(nothing, "sid"), named(run, "run")], sub(starts, "r"))
    return exp.Union(this=given, expression=cut, distinct=False)


def _sessions(scan: Scan, clock: Clock) -> exp.Select:
    """Aggregate events into sessions within each window, then sessions into features."""
    windows = list(dict.fromkeys(part.window for part in scan.parts))
    number = {window: index for index, window in enumerate(windows)}
    asked = {
        (number[part.window], word)
        for part in scan.parts if part.having
        for word in SESSION_FACTS if word in part.having.split()
    }  # fmt: skip
    inner: list[Tree] = []
    for window, index in number.items():
        inside = _in_window(Part(scan.table, "", window=window), scan, clock, "e", "e")
        time = col("event_time", "e")
        inner.append(named(only(count(), [inside]), f"n{index}"))
        ends = [c.copy() if c is not None else None for c in (inside, inside)]
        inner.append(named(only(exp.Min(this=time), [ends[0]]), f"a{index}"))
        inner.append(named(only(exp.Max(this=time.copy()), [ends[1]]), f"z{index}"))
        for word in sorted(word for i, word in asked if i == index):
            seen = exp.EQ(this=col("event_type", "e"), expression=text(SESSION_FACTS[word]))
            window_copy = inside.copy() if inside is not None else None
            inner.append(named(only(count(), [seen, window_copy]), f"{word}_{index}"))
    keys = [col(name, "e") for name in ("key", "sid", "run")]
    sessions = select([*keys, *inner], sub(_runs(scan, clock), "e"), group=[k.copy() for k in keys])

    def outer(part: Part) -> Tree:
        index = number[part.window]
        length = exp.Sub(
            this=clock.micros(col(f"z{index}", "s")), expression=clock.micros(col(f"a{index}", "s"))
        )
        conditions: list[Tree | None] = [exp.GT(this=col(f"n{index}", "s"), expression=num(0))]
        if part.having:
            conditions.append(_having(part.having, index, length))
        if part.op == "n":
            return only(count(), conditions)
        return only(exp.Sum(this=col(f"n{index}", "s") if part.op == "events" else length.copy()), conditions)

    columns = [named(outer(part), scan.columns[part]) for part in scan.parts]
    return select([col("key", "s"), *columns], sub(sessions, "s"), group=[col("key", "s")])


def _having(having: str, index: int, length: Tree) -> Tree:
    """Return a filter over session facts on the inner columns."""

    def fact_of(name: str) -> Tree:
        if name == "n_events":
            return col(f"n{index}", "s")
        if name == "minutes":
            return exp.Div(this=double(length.copy()), expression=double(num(60_000_000)))
        return exp.Paren(this=exp.GT(this=col(f"{name}_{index}", "s"), expression=num(0)))

    return exp.Paren(this=predicate.condition(having, fact_of, fact_of))


# --- gaps ---------------------------------------------------------------------------------------------


def _gaps(scan: Scan, clock: Clock) -> exp.Select:
    """Return number, sums, squares and products of the gaps between consecutive rows, all exact."""
    carried = [named(col("t", "m"), "t")] if clock.per_row else []
    before = over(exp.Lag(this=col("event_time", "f")), col("key", "m"), col("event_time", "f"))
    if any(part.op in ("index", "index_square", "cross") for part in scan.parts):
        carried.append(named(over(exp.RowNumber(), col("key", "m"), col("event_time", "f")), "i"))
    rows = _source(
        scan, clock, [col("key", "m"), *carried, col("event_time", "f"), named(before, "before")], []
    )
    gap = wide(
        exp.Sub(this=clock.micros(col("event_time", "g")), expression=clock.micros(col("before", "g")))
    )

    def outer(part: Part) -> Tree:
        conditions: list[Tree | None] = [exp.Not(this=is_null(col("before", "g")))]
        if part.window != scan.lookback and part.window is not None:
            conditions.append(exp.GTE(this=col("before", "g"), expression=clock.start(part.window, "g")))
        if part.op == "n":
            return only(count(), conditions)
        place = wide(col("i", "g"))
        factors = {
            "sum": [gap],
            "square": [gap, gap],
            "index": [place],
            "index_square": [place, place],
            "cross": [place, gap],
        }
        first, *second = (factor.copy() for factor in factors[part.op])
        return only(exp.Sum(this=exp.Mul(this=first, expression=second[0]) if second else first), conditions)

    columns = [named(outer(part), scan.columns[part]) for part in scan.parts]
    return select([col("key", "g"), *columns], sub(rows, "g"), group=[col("key", "g")])


_LEVELS = {"rows": _rows, "values": _values, "sessions": _sessions, "gaps": _gaps}
