"""The rows that changed sides between two dates, and what they change: the SQL under the daily refresh.

A row counts for an aggregate at `t` when it lies on the right side of `t` in all its times, and of
``t - window`` in its event time. It changes sides between two dates only if one of these lies between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlglot import exp

from cdpkit.features.plan import Part
from cdpkit.features.predicate import parse
from cdpkit.features.scans import fact_relation, holds
from cdpkit.features.tree import (
    Tree,
    all_of,
    col,
    count,
    double,
    named,
    num,
    only,
    or_else,
    select,
    sub,
    table,
    text,
)

#: A fact as three tables: files that both dates read, only the later, only the earlier.
SIDES = ("kept", "added", "removed")


def moved(name: str) -> str:
    """Return the name under which the rows of a fact that changed sides are kept during a refresh."""
    return f"refresh_moved_{name}"


def side_of(source: Tree, side: str) -> Tree:
    """Return a fact read from some of its files.

    Parameters
    ----------
    source : Expression
        The fact, or a view over several.
    side : str
        One of `SIDES`.
    """
    for found in source.find_all(exp.Table):
        found.set("this", exp.Identifier(this=f"{found.name}__{side}", quoted=True))
    return source


def crossings(parts: Iterable[Part], before: Tree, now: Tree) -> list[Tree]:
    """Return the ways in which a row `f` may have changed sides for some aggregates.

    Parameters
    ----------
    parts : iterable of Part
        Of one fact.
    before, now : Expression
        The two dates.

    Returns
    -------
    list of Expression
        A row that meets none of them counts now exactly as it did.
    """
    parts = list(parts)
    times = ["event_time", "known_at", *sorted({time for part in parts for time in _outcome_times(part)})]
    ways = [_between(col(time, "f"), before.copy(), now.copy()) for time in times]
    for window in sorted({part.window for part in parts if part.window is not None}):
        ways.append(_between(col("event_time", "f"), _back(before.copy(), window), _back(now.copy(), window)))
    return ways


def moved_rows(name: str, parts: Sequence[Part], before: Tree | None, now: Tree) -> Tree:
    """Return the rows of a fact that changed sides, each once.

    Parameters
    ----------
    name : str
        The fact; its three sides are tables of the engine.
    parts : sequence of Part
        The aggregates kept of it.
    before : Expression, optional
        Date of the state; None without one, when every row is new.
    now : Expression
        Date of the refresh.

    Returns
    -------
    Expression
        The columns the aggregates need, ``is_now`` (the row is in the present files) and ``was_before``
        (it was in the files of the state).
    """
    columns: list[Tree] = [col(c, "f") for c in sorted(_columns(parts))]

    def rows(side: str, is_now: bool, was_before: bool, where: Tree | None = None) -> exp.Select:
        sides: list[Tree] = [
            named(exp.Boolean(this=is_now), "is_now"),
            named(exp.Boolean(this=was_before), "was_before"),
        ]
        return select(
            [c.copy() for c in columns] + sides, side_of(fact_relation(name, "f"), side), where=where
        )

    pieces = [rows("added", True, False)]
    if before is not None:
        crossed = crossings(parts, before, now)
        for i, crossing in enumerate(crossed):
            # One way at a time, so that each reads only the files and rows of its own dates.
            earlier = [exp.Not(this=or_else(c.copy(), exp.false())) for c in crossed[:i]]
            pieces.append(rows("kept", True, True, all_of([crossing.copy(), *earlier])))
        pieces.append(rows("removed", False, True))
    union: Tree = pieces[0]
    for piece in pieces[1:]:
        union = exp.Union(this=union, expression=piece, distinct=False)
    return union


def differences(name: str, parts: Mapping[Part, str], before: Tree | None, now: Tree) -> Tree:
    """Return, by record, what its sums changed by.

    Parameters
    ----------
    name, before, now
        As in `moved_rows`, whose rows are read.
    parts : mapping of Part to str
        Sums, each with its column.

    Returns
    -------
    Expression
        ``node_id`` and a column a sum; only records with a change.
    """
    columns = []
    for part, column in parts.items():
        change: Tree = _sum(part, "is_now", now)
        if before is not None:
            change = exp.Sub(this=change, expression=_sum(part, "was_before", before))
        columns.append(named(exp.cast(exp.Paren(this=change), "bigint"), column))
    query = select([col("node_id", "f"), *columns], table(moved(name), "f"), group=[col("node_id", "f")])
    some = _any([exp.NEQ(this=col(column, "d"), expression=num(0)) for column in parts.values()])
    return select([exp.Star()], sub(query, "d"), where=some)


def moved_nodes(name: str, parts: Sequence[Part], before: Tree, now: Tree) -> Tree:
    """Return the records with a row of a fact that changed sides for some of its aggregates."""
    both = exp.And(this=col("is_now", "f"), expression=col("was_before", "f"))
    ways: list[Tree] = [exp.Not(this=exp.Paren(this=both))]
    ways += [or_else(crossing, exp.false()) for crossing in crossings(parts, before, now)]
    return select([col("node_id", "f")], table(moved(name), "f"), where=_any(ways)).distinct()


def _sum(part: Part, side: str, at: Tree) -> Tree:
    """Return a sum over the rows of one side that count at a date."""
    value: Tree = col(part.column or "event_time", "f")
    visible: list[Tree | None] = [
        col(side, "f"),
        exp.LT(this=col("event_time", "f"), expression=at.copy()),
        exp.LT(this=col("known_at", "f"), expression=at.copy()),
        holds(part.where, at.copy),
    ]
    if part.window is not None:
        visible.append(exp.GTE(this=col("event_time", "f"), expression=_back(at.copy(), part.window)))
    if part.op == "count":
        return only(count(), visible)
    if part.op == "filled":
        return only(exp.Count(this=value), visible)
    if part.op == "micro":
        millions = exp.Mul(this=double(value), expression=double(num(1_000_000)))
        value = exp.cast(exp.Round(this=millions), exp.DataType.Type.BIGINT)
    return or_else(only(exp.Sum(this=value), visible), num(0))


def _columns(parts: Iterable[Part]) -> set[str]:
    """Return the columns that the rows which changed sides must carry."""
    asked = {"node_id", "event_time", "known_at"}
    for part in parts:
        if part.where is not None:
            asked |= {column.name for column in parse(part.where).find_all(exp.Column)}
        if part.level == "rows" and part.column is not None:
            asked.add(part.column)
    return asked


def _outcome_times(part: Part) -> set[str]:
    """Return the outcome times that a part's filter asks for."""
    if part.where is None:
        return set()
    return {call.expressions[0].name for call in parse(part.where).find_all(exp.Anonymous)}


def _between(value: Tree, first: Tree, last: Tree) -> Tree:
    after = exp.GTE(this=value, expression=first)
    return exp.Paren(this=exp.And(this=after, expression=exp.LT(this=value.copy(), expression=last)))


def _back(at: Tree, window: int) -> Tree:
    interval = exp.Interval(this=text(str(window)), unit=exp.Var(this="DAY"))
    return exp.Sub(this=at, expression=interval)


def _any(tests: Sequence[Tree]) -> Tree:
    some = tests[0]
    for other in tests[1:]:
        some = exp.Or(this=some, expression=other)
    return exp.Paren(this=some)
