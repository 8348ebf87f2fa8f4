"""Rules: conditions over facts, features and scores. Typed, parsed, rebuilt as SQL, never pasted.

A rule is written as a small piece of SQL, or as the sentence that `cdpkit.segments.wording` makes of it.
What is kept is a tree of our own: leaves that compare one field with values, under and, or, not. Missing
values follow SQL: a leaf on an unknown value is neither true nor false, and takes nobody in.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlglot
from sqlglot import exp

from cdpkit.errors import FaultsError
from cdpkit.segments.fields import Field, vocabulary

Value = str | Decimal | bool

#: Comparisons of a leaf, by the SQLGlot node that makes them.
COMPARES: dict[str, Any] = {
    "=": exp.EQ, "<>": exp.NEQ, ">": exp.GT, ">=": exp.GTE, "<": exp.LT, "<=": exp.LTE,
}  # fmt: skip
_MIRROR = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "=": "=", "<>": "<>"}
#: Contraries that have words of their own.
_CONTRARY = {"in": "not in", "not in": "in", "missing": "present", "present": "missing"}
_ORDERED = (">", ">=", "<", "<=", "between")
OPERATORS = (*COMPARES, "between", "in", "not in", "missing", "present")


class RuleError(FaultsError):
    """A rule does not hold together; each fault names a field or a construct."""


@dataclass(frozen=True)
class Leaf:
    """One comparison: a field, an operator of `OPERATORS`, and its values."""

    field: str
    operator: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Group:
    """Several conditions joined by ``and`` or ``or``."""

    joint: str
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Negation:
    """The contrary of a condition."""

    part: Node


Node = Leaf | Group | Negation


@dataclass(frozen=True)
class Rule:
    """A checked condition over persons.

    Parameters
    ----------
    tree : Leaf, Group or Negation
        What is asked.
    model : str, optional
        Whose bare score columns (``tier``, ``decile``) the rule may name.

    Raises
    ------
    RuleError
        With every fault: unknown fields, values of another type, operators that do not suit.

    Examples
    --------
    >>> rule = Rule.parse("age >= 30 and not sex = 'm'")
    >>> rule.text
    "age >= 30 AND NOT sex = 'm'"
    >>> print(rule.sentence("fr"))
    âge est au moins 30 ans et il est faux que (sexe déclaré est « homme »)
    >>> Rule.read(rule.sentence("fr"), "fr") == rule
    True
    """

    tree: Node
    model: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tree", _flat(self.tree))
        faults = [fault for leaf in self.leaves for fault in _faults(leaf, self.fields)]
        if faults:
            raise RuleError("a rule", list(dict.fromkeys(faults)))

    @classmethod
    def parse(cls, text: str, model: str | None = None) -> Rule:
        """Read a rule written as SQL.

        Parameters
        ----------
        text : str
            Comparisons, ``in``, ``between``, ``is null``, and, or, not.
        model : str, optional
            See `Rule`.

        Raises
        ------
        RuleError
            With every fault of the text at once.

        Examples
        --------
        >>> Rule.parse("aeg > 3 or sex = 4")
        Traceback (most recent call last):
            ...
        cdpkit.segments.rule.RuleError: a rule has 2 faults:
        - `aeg` must be a known field; close to it: age
        - `sex` is a text: it must be compared with text; got 4
        """
        try:
            trees = sqlglot.parse(text, dialect="duckdb")
        except sqlglot.errors.SqlglotError as error:
            raise RuleError("a rule", ["it must parse; write e.g. tier = 'hot'"]) from error
        if len(trees) != 1 or trees[0] is None:
            raise RuleError("a rule", [f"it must be one condition; got {len(trees)}"])
        faults: list[str] = []
        tree = _read(trees[0], faults)
        if tree is None or faults:
            named = (
                []
                if tree is None
                else [f for leaf in _leaves(tree) for f in _faults(leaf, vocabulary(model))]
            )
            raise RuleError("a rule", list(dict.fromkeys([*faults, *named])))
        return cls(tree, model)

    @classmethod
    def read(cls, sentence: str, language: str, model: str | None = None, currency: str = "EUR") -> Rule:
        """Read a rule from the sentence `sentence` writes, in French or in English."""
        from cdpkit.segments import wording

        return cls(wording.read(sentence, language, vocabulary(model), currency), model)

    def sentence(self, language: str, currency: str = "EUR") -> str:
        """Say the rule in French or in English.

        Parameters
        ----------
        language : {"fr", "en"}
        currency : str
            ISO 4217 code of amounts.
        """
        from cdpkit.segments import wording

        return wording.write(self.tree, language, self.fields, currency)

    @property
    def fields(self) -> Mapping[str, Field]:
        """All the rule could name."""
        return vocabulary(self.model)

    @property
    def leaves(self) -> list[Leaf]:
        """The comparisons, from left to right."""
        return list(_leaves(self.tree))

    @property
    def names(self) -> list[str]:
        """Fields named, each once."""
        return list(dict.fromkeys(leaf.field for leaf in self.leaves))

    @property
    def inferred(self) -> list[str]:
        """Fields named that are deduced from where somebody lives."""
        return [name for name in self.names if self.fields[name].inferred]

    @property
    def text(self) -> str:
        """The rule in one spelling of SQL."""
        return self.expression().sql(dialect="duckdb")

    def expression(self) -> exp.Expr:
        """Return the condition over columns named as the fields."""
        return expression(self.tree)

    def __and__(self, other: Rule) -> Rule:
        return Rule(Group("and", (self.tree, other.tree)), self.model or other.model)

    def __or__(self, other: Rule) -> Rule:
        return Rule(Group("or", (self.tree, other.tree)), self.model or other.model)

    def __invert__(self) -> Rule:
        return Rule(Negation(self.tree), self.model)


def expression(node: Node) -> exp.Expr:
    """Rebuild a tree as SQL over columns named as the fields."""
    if isinstance(node, Negation):
        return exp.Not(this=_wrapped(node.part))
    if isinstance(node, Group):
        join = exp.and_ if node.joint == "and" else exp.or_
        return join(*[_wrapped(part, node.joint) for part in node.parts], wrap=False)
    column, values = exp.column(node.field), [_literal(value) for value in node.values]
    if node.operator in COMPARES:
        return COMPARES[node.operator](this=column, expression=values[0])
    if node.operator == "between":
        return exp.Between(this=column, low=values[0], high=values[1])
    if node.operator in ("in", "not in"):
        among = exp.In(this=column, expressions=values)
        return exp.Not(this=among) if node.operator == "not in" else among
    unknown = exp.Is(this=column, expression=exp.Null())
    return exp.Not(this=unknown) if node.operator == "present" else unknown


def _wrapped(node: Node, joint: str = "") -> exp.Expr:
    """Return a part in brackets, unless it is a leaf or needs none."""
    built = expression(node)
    bare = isinstance(node, Leaf) or (joint and isinstance(node, Negation))
    return built if bare else exp.Paren(this=built)


def _literal(value: Value) -> exp.Expr:
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, Decimal):
        return exp.Literal.number(f"{value:f}")
    return exp.Literal.string(value)


def _leaves(node: Node) -> Iterator[Leaf]:
    if isinstance(node, Leaf):
        yield node
    for part in node.parts if isinstance(node, Group) else [node.part] if isinstance(node, Negation) else []:
        yield from _leaves(part)


def _flat(node: Node) -> Node:
    """Give one condition one tree: groups of a kind joined, contraries in their own words."""
    if isinstance(node, Negation):
        part = _flat(node.part)
        if isinstance(part, Leaf) and part.operator in _CONTRARY:
            return Leaf(part.field, _CONTRARY[part.operator], part.values)
        return Negation(part)
    if isinstance(node, Leaf):
        return node
    parts: list[Node] = []
    for part in map(_flat, node.parts):
        parts.extend(part.parts if isinstance(part, Group) and part.joint == node.joint else [part])
    return parts[0] if len(parts) == 1 else Group(node.joint, tuple(parts))


def _read(node: exp.Expr, faults: list[str]) -> Node | None:
    """Turn a parsed condition into our tree; say what is no condition, and go on."""
    node = node.unnest()
    if isinstance(node, exp.And | exp.Or):
        sides = [_read(side, faults) for side in (node.this, node.expression)]
        kept = tuple(side for side in sides if side is not None)
        return Group("and" if isinstance(node, exp.And) else "or", kept) if kept else None
    if isinstance(node, exp.Not):
        part = _read(node.this, faults)
        return None if part is None else Negation(part)
    if isinstance(node, exp.Column) and not node.table:
        return Leaf(node.name, "=", (True,))
    return _read_leaf(node, faults)


def _read_leaf(node: exp.Expr, faults: list[str]) -> Leaf | None:
    """Read one comparison."""
    operator = next((name for name, kind in COMPARES.items() if type(node) is kind), None)
    left, values = node.this if isinstance(node.this, exp.Expr) else None, []
    if operator is not None:
        right = node.expression
        if not isinstance(left, exp.Column) and isinstance(right, exp.Column):
            left, right, operator = right, left, _MIRROR[operator]
        values = [right]
    elif isinstance(node, exp.Between):
        operator, values = "between", [node.args["low"], node.args["high"]]
    elif isinstance(node, exp.In) and not node.args.get("query") and not node.args.get("unnest"):
        operator, values = "in", node.expressions
    elif isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        operator = "missing"
    if operator is None or not isinstance(left, exp.Column) or left.table:
        faults.append(f"it must compare fields with values; {type(node).__name__.lower()} does not")
        return None
    read = [_value(value) for value in values]
    if any(value is None for value in read):
        faults.append(f"`{left.name}` must be compared with values written out, not with an expression")
        return None
    return Leaf(left.name, operator, tuple(value for value in read if value is not None))


def _value(node: exp.Expr) -> Value | None:
    """Return a literal's value, or None where it is none."""
    node = node.unnest()
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Neg):
        inner = _value(node.this)
        return -inner if isinstance(inner, Decimal) else None
    if not isinstance(node, exp.Literal):
        return None
    return node.this if node.is_string else Decimal(node.this)


def _faults(leaf: Leaf, fields: Mapping[str, Field]) -> list[str]:
    """Return what is wrong with one comparison."""
    field = fields.get(leaf.field)
    if field is None:
        near = difflib.get_close_matches(leaf.field, fields, n=3)
        hint = f"; close to it: {', '.join(near)}" if near else ""
        return [f"`{leaf.field}` must be a known field{hint}"]
    kinds = {"number": Decimal, "text": str, "flag": bool}
    article = {"number": "a number", "text": "a text", "flag": "yes or no"}[field.kind]
    wanted = {"number": "numbers", "text": "text", "flag": "true or false"}[field.kind]
    found = [
        f"`{field.name}` is {article}: it must be compared with {wanted}; got {value}"
        for value in leaf.values
        if not isinstance(value, kinds[field.kind])
    ]
    if leaf.operator in _ORDERED and field.kind != "number":
        found.append(f"`{field.name}` is {article}: it has no order; use =, <>, in")
    if leaf.operator in ("in", "not in") and not leaf.values:
        found.append(f"`{field.name}` must be looked for among at least one value")
    if not found and leaf.operator == "between" and leaf.values[0] > leaf.values[1]:  # type: ignore[operator]
        found.append(f"`{field.name}` must lie between a lower and a higher value; got them reversed")
    strange = [str(value) for value in leaf.values if isinstance(value, str) and value not in field.codes]
    if not found and field.values and strange:
        found.append(f"`{field.name}` must be one of {', '.join(field.codes)}; got {', '.join(strange)}")
    return found
