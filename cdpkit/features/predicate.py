"""Filters a user may write: parsed, checked against the table, rebuilt as a tree, never pasted.

A filter is a small piece of SQL over the columns of one table: comparisons, ``in``, ``between``,
``like``, ``is null``, ``and``, ``or``, ``not``, numbers, text, and ``known(clicked_at)``, which asks
whether something had happened by the date of the feature. An outcome column is reached in no other way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import sqlglot
from sqlglot import exp

from cdpkit.errors import FeatureError
from cdpkit.schema import Table

_ALLOWED = (
    exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE,
    exp.In, exp.Between, exp.Like, exp.Is, exp.Null, exp.Boolean, exp.Literal, exp.Neg,
    exp.Add, exp.Sub, exp.Mul, exp.Column, exp.Identifier,
)  # fmt: skip
_NUMBERS = ("int64", "float64", "decimal")


def parse(text: str, what: str = "where") -> exp.Expression:
    """Parse one filter, or raise `FeatureError`."""
    try:
        trees = sqlglot.parse(text, dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        raise FeatureError(f"`{what}` must be a filter SQL can read", got=text) from error
    if len(trees) != 1 or trees[0] is None:
        raise FeatureError(f"`{what}` must be one filter", got=f"{len(trees)} statements")
    return cast(exp.Expression, trees[0])


def check(text: str, table: Table, guarded: frozenset[str] = frozenset()) -> str:
    """Return the filter in one canonical spelling, or refuse it with every fault.

    Parameters
    ----------
    text : str
        The filter.
    table : Table
        Whose columns it may name.
    guarded : frozenset of str
        Outcome times the declaration already asks to be known (`of=known(...)`); columns learned at
        those times may be named.

    Raises
    ------
    FeatureError
        For a column the table does not have, an outcome column outside its time, text against a
        number, or any construct that is not a filter.

    Examples
    --------
    >>> from cdpkit.schema import TABLES
    >>> check("event_type='Product Added' AND channel <> 'app'", TABLES["events"])
    "event_type = 'Product Added' AND channel <> 'app'"
    >>> check("opened_at is not null", TABLES["messages"])
    Traceback (most recent call last):
        ...
    cdpkit.errors.FeatureError: `where` must reach outcome `opened_at` through known(opened_at); ...
    """
    tree = parse(text)
    faults = [fault for node in tree.walk() for fault in _faults(cast(exp.Expression, node), table, guarded)]
    if not _is_a_test(tree, table):
        faults.append("`where` must be true or false")
    if faults:
        raise FeatureError("; ".join(dict.fromkeys(faults)), got=text)
    return _text(tree)


def columns(text: str) -> set[str]:
    """Return the columns a checked filter names, outcome times aside.

    Examples
    --------
    >>> sorted(columns("channel = 'site' AND NOT known(clicked_at)"))
    ['channel']
    """
    found = parse(text).find_all(exp.Column)
    return {column.name for column in found if not isinstance(column.parent, exp.Anonymous)}


def condition(
    text: str, column: Callable[[str], exp.Expression], known: Callable[[str], exp.Expression]
) -> exp.Expression:
    """Rebuild a checked filter on qualified columns.

    Parameters
    ----------
    text : str
        A filter that passed `check`.
    column : callable
        Column name to its qualified expression.
    known : callable
        Outcome time to "it had happened by then".
    """

    def swap(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Anonymous):
            return known(node.expressions[0].name)
        return column(node.name) if isinstance(node, exp.Column) else node

    return parse(text).transform(swap)


def _is_a_test(tree: exp.Expression, table: Table) -> bool:
    """Tell whether a tree is true or false, as far as its root shows."""
    if isinstance(tree, exp.Column):
        return tree.name not in table or table[tree.name].type == "bool"
    return isinstance(tree, exp.Predicate | exp.Connector | exp.Not | exp.Paren | exp.Boolean | exp.Anonymous)


def _text(tree: exp.Expression) -> str:
    """Return one spelling of a filter."""
    return tree.sql(dialect="duckdb", normalize_functions="lower")


def _faults(node: exp.Expression, table: Table, guarded: frozenset[str]) -> list[str]:
    """Return what is wrong with one node of the tree."""
    if isinstance(node, exp.Anonymous):
        return _known_faults(node, table)
    if not isinstance(node, _ALLOWED):
        return [f"`where` must hold comparisons only; {type(node).__name__.lower()} is not one"]
    if isinstance(node, exp.In) and (node.args.get("query") or node.args.get("unnest")):
        return ["`where` must list the values of `in`"]
    if isinstance(node, exp.Column):
        return _column_faults(node, table, guarded)
    if isinstance(node, exp.EQ | exp.NEQ | exp.GT | exp.GTE | exp.LT | exp.LTE | exp.In | exp.Between):
        return _type_faults(node, table)
    return []


def _known_faults(node: exp.Anonymous, table: Table) -> list[str]:
    """Return what is wrong with a call: only known(<outcome time>) exists."""
    if node.name.lower() != "known" or len(node.expressions) != 1:
        return [f"`where` must not call functions; got {node.name.lower()}()"]
    inner = node.expressions[0]
    if not isinstance(inner, exp.Column) or inner.name not in set(table.outcomes.values()):
        times = ", ".join(sorted(set(table.outcomes.values()))) or "none"
        return [f"`known()` must name an outcome time of {table.name} ({times})"]
    return []


def _column_faults(node: exp.Column, table: Table, guarded: frozenset[str]) -> list[str]:
    """Return what is wrong with a column."""
    if isinstance(node.parent, exp.Anonymous):
        return []
    if node.table or node.name not in table:
        return [f"`where` must name columns of {table.name}; `{node.sql()}` is not one"]
    time = table.outcomes.get(node.name)
    if time is not None and time not in guarded:
        return [f"`where` must reach outcome `{node.name}` through known({time})"]
    return []


def _type_faults(node: exp.Expression, table: Table) -> list[str]:
    """Compare the kind of a column with the kind of the values beside it."""
    parts = [part.unnest() for part in node.iter_expressions()]
    columns = [table[p.name] for p in parts if isinstance(p, exp.Column) and p.name in table]
    texts = [p for p in parts if isinstance(p, exp.Literal) and p.is_string]
    numbers = [p for p in parts if isinstance(p, exp.Literal) and not p.is_string]
    faults = []
    for column in columns:
        if column.type in _NUMBERS and texts:
            faults.append(f"`where` must compare number `{column.name}` with numbers")
        if column.type == "string" and numbers:
            faults.append(f"`where` must compare text `{column.name}` with text")
    return faults


def words(text: str, allowed: Mapping[str, object], what: str) -> str:
    """Return a checked filter over plain words, such as a session's `has_cart and not has_purchase`.

    Examples
    --------
    >>> words("has_cart and not has_purchase", {"has_cart": 1, "has_purchase": 1}, "having")
    'has_cart AND NOT has_purchase'
    """
    tree = parse(text, what)
    faults = []
    for node in tree.walk():
        if isinstance(node, exp.Column) and (node.table or node.name not in allowed):
            faults.append(f"`{what}` must use {', '.join(sorted(allowed))}; `{node.sql()}` is not one")
        elif not isinstance(node, _ALLOWED):
            faults.append(f"`{what}` must hold comparisons only; {type(node).__name__.lower()} is not one")
    if faults:
        raise FeatureError("; ".join(dict.fromkeys(faults)), got=text)
    return tree.sql(dialect="duckdb")
