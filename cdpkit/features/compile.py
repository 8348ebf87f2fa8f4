"""From declared outputs to one statement: scans by look-back class, formulas, declared fills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlglot import exp

from cdpkit.features.behaviours import IMPULSIVE_SHARE
from cdpkit.features.declarations import Output
from cdpkit.features.facts import fact_relation
from cdpkit.features.plan import Part, Scan, plan
from cdpkit.features.scans import PERSONS, Clock, scan_query
from cdpkit.features.tree import (
    DAY_US,
    FADED,
    Tree,
    all_of,
    col,
    double,
    is_null,
    join,
    named,
    num,
    or_else,
    select,
    table,
    text,
    timestamp,
    when,
    wide,
)

_SEEN = "feature_sources"


@dataclass(frozen=True)
class Compiled:
    """A plan and its statement, before rendering."""

    scans: tuple[Scan, ...]
    tree: exp.Select
    dialect: str

    @cached_property
    def sql(self) -> str:
        """The statement in the engine's dialect."""
        # The tree is ours alone: copying it first would cost as much as compiling.
        return self.tree.sql(dialect=self.dialect, copy=False)

    def pretty(self) -> str:
        """Return the statement laid out for a reader."""
        return self.tree.sql(dialect=self.dialect, pretty=True)


def compile_outputs(outputs: Sequence[Output], clock: Clock) -> Compiled:
    """Compile outputs to one statement over `feature_persons` and `feature_members`.

    Parameters
    ----------
    outputs : sequence of Output
    clock : Clock
        The date, or the dates by row.

    Returns
    -------
    Compiled
        Its rows are ``key, person_id, as_of`` and one column an output, in no order.
    """
    parts = [
        part for output in outputs for part in (*output.parts, *([output.history] if output.history else []))
    ]
    scans = plan(parts)
    where_is = {part: (scan.name, name) for scan in scans for part, name in scan.columns.items()}
    columns = [_column(output, where_is, clock) for output in outputs]
    sources = sorted({o.table for o in outputs if _is_number(o.fill)})
    ctes = [_cte(scan.name, scan_query(scan, clock)) for scan in scans]
    joins = [
        join(table(scan.name), exp.EQ(this=col("key", scan.name), expression=col("key", "p")), "LEFT")
        for scan in scans
    ]
    if sources:
        ctes.append(_cte(_SEEN, _first_seen(sources)))
        joins.append(join(table(_SEEN)))
    keys = [col(name, "p") for name in ("key", "person_id", "as_of")]
    tree = select([*keys, *columns], table(PERSONS, "p"), joins)
    if ctes:
        tree.set("with_", exp.With(expressions=ctes))
    return Compiled(tuple(scans), tree, clock.dialect)


def _cte(name: str, query: Tree) -> exp.CTE:
    return exp.CTE(this=query, alias=exp.TableAlias(this=exp.Identifier(this=name, quoted=True)))


def _first_seen(tables: Sequence[str]) -> exp.Select:
    """Return, for each source, when it first said anything: before that, nothing is not zero."""
    columns = []
    for name in tables:
        time, learned = col("event_time", "f"), col("known_at", "f")
        later = when(exp.GT(this=time, expression=learned), time.copy(), learned.copy())
        first = select([exp.Min(this=later)], fact_relation(name, "f"))
        columns.append(named(exp.Subquery(this=first), name))
    return exp.Select(expressions=columns)


def _is_number(fill: object) -> bool:
    return isinstance(fill, int | float) and not isinstance(fill, bool)


def _column(output: Output, where_is: dict[Part, tuple[str, str]], clock: Clock) -> exp.Alias:
    """Return one output: its formula, then its declared fill."""

    def place(part: Part) -> exp.Column:
        scan, name = where_is[part]
        return col(name, scan)

    value, unseen = _FORMULAS[output.formula](output, [place(part) for part in output.parts], clock)
    if output.dtype != "category":
        value = double(value)
    if output.history is not None:
        known_before = exp.GT(this=or_else(place(output.history), num(0)), expression=num(0))
        value = when(all_of([known_before, unseen]) or unseen, num(0.0), value)
    elif _is_number(output.fill):
        spoke = exp.LT(this=col(output.table, _SEEN), expression=col("as_of", "p"))
        conditions = all_of([spoke, col("is_known", "p"), unseen]) or unseen
        value = when(conditions, num(float(output.fill)), value)  # type: ignore[arg-type]
    return named(value, output.name)


# Each formula returns the value (NULL when nothing was seen) and the test that nothing was seen.
Formula = tuple[Tree, Tree]


def _zero(tree: Tree) -> Tree:
    return exp.EQ(this=or_else(tree, num(0)), expression=num(0))


def _plain(value: Tree) -> Formula:
    return value, is_null(exp.Paren(this=value.copy()))


def _count(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    return exp.Nullif(this=parts[0], expression=num(0)), _zero(parts[0].copy())


def _flag(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    return when(exp.GT(this=parts[0], expression=num(0)), num(1)), _zero(parts[0].copy())


def _counted(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    number, seen = parts
    return when(exp.GT(this=seen, expression=num(0)), or_else(number, num(0))), _zero(seen.copy())


def _one_currency(value: Tree, guards: list[Tree]) -> Tree:
    """Return the value, or NULL where the rows are in several currencies."""
    return value if not guards else when(exp.EQ(this=guards[0], expression=guards[1]), value)


def _sum(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    total, rows, *guards = parts
    return _one_currency(total, guards), _zero(rows)


def _micro_sum(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    total, rows, *guards = parts
    scaled = exp.Div(this=double(total), expression=double(num(1_000_000)))
    return _one_currency(scaled, guards), _zero(rows)


def _mean(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    total, rows, *guards = parts
    mean = exp.Div(this=double(total), expression=double(exp.Nullif(this=rows, expression=num(0))))
    return _one_currency(mean, guards), _zero(rows.copy())


def _micro_mean(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    mean, unseen = _mean(output, parts, clock)
    return exp.Div(this=exp.Paren(this=mean), expression=double(num(1_000_000))), unseen


def _value(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    value, rows, *guards = parts
    return _one_currency(value, guards), _zero(rows)


def _ratio(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    above, below = parts
    share = exp.Div(this=double(or_else(above, num(0))), expression=double(below))
    return when(exp.GT(this=below.copy(), expression=num(0)), share), _zero(below.copy())


def _scaled_ratio(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    share, unseen = _ratio(output, parts, clock)
    return exp.Mul(this=share, expression=num(output.number)), unseen


def _minutes(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    share, unseen = _ratio(output, parts, clock)
    return exp.Div(this=share, expression=double(num(60_000_000))), unseen


def _elapsed(later: Tree, earlier: Tree, clock: Clock, unit: float) -> Tree:
    """Return a difference of times, subtracted in whole microseconds and divided once."""
    micros = exp.Sub(this=clock.micros(later), expression=clock.micros(earlier))
    return exp.Div(this=double(exp.Paren(this=micros)), expression=double(num(int(unit))))


def _days_since(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    return _elapsed(col("as_of", "p"), parts[0], clock, DAY_US), is_null(parts[0].copy())


def _field(part: Tree) -> Tree:
    """Return the value kept in an ordered structure."""
    return exp.Dot(this=part, expression=exp.Identifier(this="v"))


def _years_since(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    born = timestamp(_field(parts[0]))
    return _elapsed(col("as_of", "p"), born, clock, 365.25 * DAY_US), is_null(parts[0].copy())


def _mean_gap(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    last, first, rows = parts
    span = _elapsed(last, first, clock, DAY_US)
    gaps = double(exp.Paren(this=exp.Sub(this=rows, expression=num(1))))
    return _plain(when(exp.GT(this=rows.copy(), expression=num(1)), exp.Div(this=span, expression=gaps)))


def _sd_gap(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    n, total, square = (wide(part) for part in parts)
    spread = exp.Sub(
        this=exp.Mul(this=n, expression=square), expression=exp.Mul(this=total, expression=total.copy())
    )
    pairs = exp.Mul(this=n.copy(), expression=exp.Paren(this=exp.Sub(this=n.copy(), expression=num(1))))
    variance = exp.Div(this=double(exp.Paren(this=spread)), expression=double(exp.Paren(this=pairs)))
    sd = exp.Div(this=exp.Sqrt(this=variance), expression=double(num(DAY_US)))
    return _plain(when(exp.GT(this=parts[0].copy(), expression=num(1)), sd))


def _category(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    size, names = len(output.categories), output.categories[:-1]
    # A remainder of a negative number is negative: times before 1970 are brought back to their place.
    left = exp.Paren(this=exp.Add(this=exp.Mod(this=parts[0], expression=num(size)), expression=num(size)))
    place = exp.Mod(this=left, expression=num(size))
    shift = 1 if output.parts[0].op == "latest" else 0
    found = [
        exp.If(this=exp.EQ(this=place.copy(), expression=num(index + shift)), true=text(name))
        for index, name in enumerate(names)
    ]
    spelled = exp.Case(ifs=found, default=text(output.categories[-1]))
    return when(is_null(parts[0].copy()), exp.Null(), spelled), is_null(parts[0].copy())


def _slope(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    n, total, index, index_square, cross = (wide(part) for part in parts)

    def product(left: Tree, right: Tree) -> Tree:
        return exp.Mul(this=left.copy(), expression=right.copy())

    above = exp.Sub(this=product(n, cross), expression=product(index, total))
    below = exp.Sub(this=product(n, index_square), expression=product(index, index))
    slope = exp.Div(this=double(exp.Paren(this=above)), expression=double(exp.Paren(this=below)))
    days = exp.Div(this=slope, expression=double(num(DAY_US)))
    return _plain(when(exp.GT(this=parts[0].copy(), expression=num(1)), days))


def _latest(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    return _plain(_field(parts[0]))


def _reached(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    return _plain(parts[0])


def _stock(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    left, rows = parts
    return exp.Div(this=double(left), expression=num(float(FADED))), _zero(rows)


def _knowledge(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    score = exp.Mul(this=double(parts[0]), expression=num(output.number / FADED))
    return _plain(exp.Least(this=score, expressions=[num(100.0)]))


def _hours(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    mean, unseen = _ratio(output, parts, clock)
    return exp.Div(this=mean, expression=double(num(3_600_000_000))), unseen


def _by_session(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    total, sessions, values = parts
    mean = exp.Div(this=double(total), expression=double(exp.Nullif(this=sessions, expression=num(0))))
    return mean, _zero(values)


def _micro_by_session(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    mean, unseen = _by_session(output, parts, clock)
    return exp.Div(this=exp.Paren(this=mean), expression=double(num(1_000_000))), unseen


def _style(output: Output, parts: list[Tree], clock: Clock) -> Formula:
    share, unseen = _ratio(output, parts, clock)
    impulsive, considered = (text(word) for word in output.categories)
    often = exp.GTE(this=share.copy(), expression=num(IMPULSIVE_SHARE))
    return when(exp.GT(this=parts[1].copy(), expression=num(0)), when(often, impulsive, considered)), unseen


_FORMULAS = {
    "count": _count, "flag": _flag, "counted": _counted, "sum": _sum, "micro_sum": _micro_sum,
    "mean": _mean, "micro_mean": _micro_mean, "value": _value, "ratio": _ratio,
    "scaled_ratio": _scaled_ratio, "minutes": _minutes, "days_since": _days_since,
    "years_since": _years_since, "mean_gap": _mean_gap, "sd_gap": _sd_gap, "category": _category,
    "field": _latest, "slope": _slope, "reached": _reached, "stock": _stock, "knowledge": _knowledge,
    "hours": _hours, "by_session": _by_session, "micro_by_session": _micro_by_session, "style": _style,
}  # fmt: skip


def statement(
    outputs: Sequence[Output],
    where_is: dict[Part, tuple[str, str]],
    joins: Sequence[exp.Join],
    clock: Clock,
    first_seen: dict[str, Tree],
) -> exp.Select:
    """Return the statement of outputs whose parts were computed elsewhere.

    Parameters
    ----------
    outputs : sequence of Output
    where_is : dict
        Relation and column of each part.
    joins : sequence of Join
        The relations, each joined to the persons `p`.
    clock : Clock
    first_seen : dict
        For each source a numeric fill depends on, when it first said anything.
    """
    columns = [_column(output, where_is, clock) for output in outputs]
    keys = [col(name, "p") for name in ("key", "person_id", "as_of")]
    joined = list(joins)
    if first_seen:
        times = exp.Select(expressions=[named(time, name) for name, time in first_seen.items()])
        joined.append(join(exp.Subquery(this=times, alias=exp.TableAlias(this=exp.to_identifier(_SEEN)))))
    return select([*keys, *columns], table(PERSONS, "p"), joined)
