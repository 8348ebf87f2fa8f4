"""Short names for the pieces of SQL trees the compiler uses, all portable across dialects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp

Tree = exp.Expression

DAY_US = 86_400_000_000

#: Sums of fading rows are kept in whole parts, so that the order of rows changes nothing.
FADED = 10**12


def col(name: str, table: str | None = None) -> exp.Column:
    """Return a quoted column."""
    owner = None if table is None else exp.Identifier(this=table, quoted=True)
    return exp.Column(this=exp.Identifier(this=name, quoted=True), table=owner)


def num(value: float | int) -> Tree:
    """Return a number literal; decimals are cast, as engines read them as exact decimals."""
    literal = exp.Literal.number(str(value))
    return literal if isinstance(value, int) else double(literal)


def text(value: str) -> exp.Literal:
    """Return a text literal."""
    return exp.Literal.string(value)


def double(tree: Tree) -> exp.Cast:
    """Cast to double precision."""
    return exp.Cast(this=tree, to=exp.DataType(this=exp.DataType.Type.DOUBLE))


def decayed(age: Tree, days: float) -> Tree:
    """Return e^(-age / days) of an age in microseconds, in whole `FADED`ths."""
    share = exp.Div(this=double(age), expression=num(-days * DAY_US))
    scaled = exp.Mul(this=exp.Exp(this=share), expression=num(float(FADED)))
    return exp.cast(exp.Round(this=scaled), exp.DataType.Type.BIGINT)


def saturated(stock: Tree) -> Tree:
    """Return 1 - e^(-stock) of a stock in `FADED`ths, in the same unit."""
    share = exp.Div(this=double(stock), expression=num(-float(FADED)))
    left = exp.Paren(this=exp.Sub(this=num(1.0), expression=exp.Exp(this=share)))
    return exp.cast(
        exp.Round(this=exp.Mul(this=left, expression=num(float(FADED)))), exp.DataType.Type.BIGINT
    )


def timestamp(tree: Tree) -> exp.Cast:
    """Cast to a zone-less timestamp."""
    return exp.Cast(this=tree, to=exp.DataType(this=exp.DataType.Type.TIMESTAMPNTZ))


def wide(tree: Tree) -> exp.Cast:
    """Cast to an exact integer wide enough for sums of squares."""
    return exp.Cast(this=tree, to=exp.DataType.build("DECIMAL(38, 0)"))


def all_of(conditions: Iterable[Tree | None]) -> Tree | None:
    """Join conditions by AND, each in its own parentheses when it is a connector."""
    joined: Tree | None = None
    for condition in conditions:
        if condition is None:
            continue
        piece = exp.Paren(this=condition) if isinstance(condition, exp.Or) else condition
        joined = piece if joined is None else exp.And(this=joined, expression=piece)
    return joined


def when(condition: Tree, value: Tree, otherwise: Tree | None = None) -> exp.Case:
    """Return CASE WHEN."""
    return exp.Case(ifs=[exp.If(this=condition, true=value)], default=otherwise)


def only(aggregate: Tree, conditions: Iterable[Tree | None]) -> Tree:
    """Filter an aggregate."""
    condition = all_of(conditions)
    if condition is None:
        return aggregate
    if isinstance(aggregate, exp.Count) and isinstance(aggregate.this, exp.Star):
        # Measured: a filter slices all columns for each aggregate, a case is one column more.
        return exp.Count(this=when(condition, num(1)))
    return exp.Filter(this=aggregate, expression=exp.Where(this=condition))


def count() -> exp.Count:
    """Return COUNT(*)."""
    return exp.Count(this=exp.Star())


def is_null(tree: Tree) -> exp.Is:
    """Return IS NULL."""
    return exp.Is(this=tree, expression=exp.Null())


def or_else(tree: Tree, value: Tree) -> exp.Coalesce:
    """Return COALESCE."""
    return exp.Coalesce(this=tree, expressions=[value])


def struct(**fields: Tree) -> exp.Struct:
    """Return a structure with named fields, ordered field by field."""
    return exp.Struct(
        expressions=[exp.PropertyEQ(this=exp.Identifier(this=k), expression=v) for k, v in fields.items()]
    )


def table(name: str, alias: str | None = None) -> exp.Table:
    """Return a table, perhaps under another name."""
    named = None if alias is None else exp.TableAlias(this=exp.Identifier(this=alias, quoted=True))
    return exp.Table(this=exp.Identifier(this=name, quoted=True), alias=named)


def sub(query: Tree, alias: str) -> exp.Subquery:
    """Return a query as a table."""
    return exp.Subquery(this=query, alias=exp.TableAlias(this=exp.Identifier(this=alias, quoted=True)))


def named(tree: Tree, name: str) -> exp.Alias:
    """Name a column."""
    return exp.Alias(this=tree, alias=exp.Identifier(this=name, quoted=True))


def select(
    columns: Sequence[Tree],
    source: Tree,
    joins: Sequence[exp.Join] = (),
    where: Tree | None = None,
    group: Sequence[Tree] = (),
    order: Sequence[Tree] = (),
) -> exp.Select:
    """Assemble a query without the copies the fluent builder makes."""
    query = exp.Select(expressions=list(columns))
    query = query.from_(source, copy=False)
    if joins:
        query.set("joins", list(joins))
    if where is not None:
        query.set("where", exp.Where(this=where))
    if group:
        query.set("group", exp.Group(expressions=list(group)))
    if order:
        query.set("order", exp.Order(expressions=[exp.Ordered(this=o, nulls_first=False) for o in order]))
    return query


def join(source: Tree, on: Tree | None = None, side: str | None = None) -> exp.Join:
    """Return a join; CROSS without a condition."""
    if on is None:
        return exp.Join(this=source, kind="CROSS")
    return exp.Join(this=source, on=on, side=side)


def over(function: Tree, partition: Tree, order: Tree) -> exp.Window:
    """Return a window function; the default RANGE frame keeps equal times together."""
    ordered = exp.Order(expressions=[exp.Ordered(this=order, nulls_first=False)])
    return exp.Window(this=function, partition_by=[partition], order=ordered)
