"""The SQL of purchases: each order of a product with the views that prepared it."""

from __future__ import annotations

from sqlglot import exp

from cdpkit.features.behaviours import CONSIDERED_HOURS, CONSIDERED_VIEWS, DELIBERATION_DAYS
from cdpkit.features.plan import Scan
from cdpkit.features.scans import MEMBERS, Clock, holds
from cdpkit.features.tree import (
    Tree,
    all_of,
    col,
    count,
    is_null,
    join,
    named,
    num,
    only,
    or_else,
    select,
    sub,
    table,
    text,
    when,
)

_HOUR_US = 3_600_000_000


def _seen(name: str, scan: Scan, clock: Clock, bought: int, extra: list[Tree | None]) -> exp.Select:
    """Return the visible views or orders of products, one row a person, product and instant of ordering."""
    date = [named(col("t", "m"), "t")] if clock.per_row else []
    columns = [col("key", "m"), *date, col("product_id", "f"), col("event_time", "f")]
    reach = None if scan.lookback is None else scan.lookback + DELIBERATION_DAYS
    where = all_of([clock.visible(reach), exp.Not(this=is_null(col("product_id", "f"))), *extra])
    same = exp.EQ(this=col("node_id", "f"), expression=col("node_id", "m"))
    # Two lines of one order are one purchase of the product; two views are two.
    group = [c.this.copy() if isinstance(c, exp.Alias) else c.copy() for c in columns] if bought else []
    source = [join(table(MEMBERS, "m"), same)]
    return select([*columns, named(num(bought), "bought")], table(name, "f"), source, where, group)


def _over(function: Tree, *order: Tree, by: tuple[str, ...]) -> exp.Window:
    """Return a window function over persons' products."""
    ordered = (
        exp.Order(expressions=[exp.Ordered(this=o, nulls_first=False) for o in order]) if order else None
    )
    return exp.Window(this=function, partition_by=[col(name, "r") for name in by], order=ordered)


def purchases(scan: Scan, clock: Clock) -> exp.Select:
    """Return, for each person, sums over the purchases prepared by views: n, length, views, quick."""
    viewed = exp.EQ(this=col("event_type", "f"), expression=text("Product Viewed"))
    kept = exp.GT(this=or_else(col("quantity", "f"), num(1)), expression=num(0))
    orders = _seen("order_lines", scan, clock, 1, [kept, holds(scan.where, clock.now)])
    rows = exp.Union(this=_seen("events", scan, clock, 0, [viewed]), expression=orders, distinct=False)
    date = ["t"] if clock.per_row else []
    own = ("key", *date, "product_id")
    # Purchases closed before a row: a view of the very instant of an order still belongs to it.
    before = _over(exp.Sum(this=col("bought", "r")), col("event_time", "r"), col("bought", "r"), by=own)
    place = named(exp.Sub(this=before, expression=col("bought", "r")), "place")
    names = [*own, "event_time", "bought"]
    placed = select([*[col(name, "r") for name in names], place], sub(rows, "r"))
    ordered_at = _over(
        exp.Max(this=when(exp.EQ(this=col("bought", "r"), expression=num(1)), col("event_time", "r"))),
        by=(*own, "place"),
    )
    ended = select(
        [*[col(name, "r") for name in (*names, "place")], named(ordered_at, "ordered_at")], sub(placed, "r")
    )
    days = exp.Interval(this=text(str(DELIBERATION_DAYS)), unit=exp.Var(this="DAY"))
    near = exp.GTE(
        this=col("event_time", "e"), expression=exp.Sub(this=col("ordered_at", "e"), expression=days)
    )
    view = exp.EQ(this=col("bought", "e"), expression=num(0))
    group = [col(name, "e") for name in (*own, "place", "ordered_at")]
    prepared = select(
        [*group, named(only(count(), [view]), "views"),
         named(only(exp.Min(this=col("event_time", "e")), [view.copy()]), "first_view")],
        sub(ended, "e"), where=near, group=[g.copy() for g in group],
    )  # fmt: skip
    return _summed(scan, clock, prepared)


def _summed(scan: Scan, clock: Clock, prepared: exp.Select) -> exp.Select:
    """Add up the purchases of each person in each window."""
    length = exp.Paren(
        this=exp.Sub(
            this=clock.micros(col("ordered_at", "q")), expression=clock.micros(col("first_view", "q"))
        )
    )
    quick = all_of(
        [
            exp.LT(this=length, expression=num(CONSIDERED_HOURS * _HOUR_US)),
            exp.LT(this=col("views", "q"), expression=num(CONSIDERED_VIEWS)),
        ]
    )
    columns = []
    for part in scan.parts:
        conditions: list[Tree | None] = [exp.Not(this=is_null(col("first_view", "q")))]
        if part.window is not None:
            start = clock.start(part.window, "q")
            conditions.append(exp.GTE(this=col("ordered_at", "q"), expression=start))
        value = {"length": length, "views": col("views", "q")}.get(part.op)
        if part.op == "quick":
            conditions.append(quick)
        total = count() if value is None else exp.Sum(this=value.copy())
        conditions = [c.copy() if c is not None else None for c in conditions]
        columns.append(named(only(total, conditions), scan.columns[part]))
    return select([col("key", "q"), *columns], sub(prepared, "q"), group=[col("key", "q")])
