"""Sets of persons: union, intersection, difference; include and exclude; how far two audiences overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.errors import CdpkitError, NotEnoughDataError
from cdpkit.segments import people

if TYPE_CHECKING:
    from cdpkit.engine import Engine
    from cdpkit.segments.rule import Rule


@dataclass(frozen=True)
class Selection:
    """A set of persons under a name.

    Parameters
    ----------
    name : str
        What it is called; combinations spell out what they are made of.
    persons : frozenset of str

    Examples
    --------
    >>> hot, new = Selection("hot", frozenset("ab")), Selection("new", frozenset("bc"))
    >>> (hot | new).name, sorted(hot - new), len(hot & new)
    ('(hot | new)', ['a'], 1)
    """

    name: str
    persons: frozenset[str]

    @classmethod
    def dynamic(cls, engine: Engine, name: str, rule: Rule, as_of: object) -> Selection:
        """Return whom a rule takes in at a date: asked again, it follows the data."""
        return cls(name, people.members(engine, rule, as_of))

    @classmethod
    def static(cls, engine: Engine, audience: str) -> Selection:
        """Return who was kept in a stored audience at its last date: it stays as it was.

        Raises
        ------
        NotEnoughDataError
            When no audience of this name is stored.
        """
        from sqlglot import exp

        named = exp.column("audience").eq(exp.Literal.string(audience))
        rows = engine.query(exp.select("*").from_("audiences").where(named)).to_pandas()
        if rows.empty:
            raise NotEnoughDataError("an audience must be stored under this name", got=repr(audience))
        rows = rows[rows["included"] & rows["as_of"].eq(rows["as_of"].max())]
        return cls(audience, frozenset(rows["person_id"]))

    def __or__(self, other: Selection) -> Selection:
        return Selection(f"({self.name} | {other.name})", self.persons | other.persons)

    def __and__(self, other: Selection) -> Selection:
        return Selection(f"({self.name} & {other.name})", self.persons & other.persons)

    def __sub__(self, other: Selection) -> Selection:
        return Selection(f"({self.name} - {other.name})", self.persons - other.persons)

    def __xor__(self, other: Selection) -> Selection:
        return Selection(f"({self.name} ^ {other.name})", self.persons ^ other.persons)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.persons)

    def __len__(self) -> int:
        return len(self.persons)

    def __contains__(self, person_id: object) -> bool:
        return person_id in self.persons


def combine(
    name: str, include: Sequence[Selection], exclude: Sequence[Selection] = (), *, match: str = "any"
) -> tuple[Selection, pd.DataFrame]:
    """Include any or all of some selections, exclude others, and count who leaves at each.

    Parameters
    ----------
    name : str
        Name of the result.
    include, exclude : sequence of Selection
    match : {"any", "all"}
        Whether one of `include` is enough, or all are needed.

    Returns
    -------
    selection : Selection
    waterfall : DataFrame
        ``reason, n_out, n_left``: first the included, then each exclusion, in order; somebody in two
        excluded selections leaves at the first.

    Examples
    --------
    >>> hot, gone = Selection("hot", frozenset("abc")), Selection("gone", frozenset("b"))
    >>> kept, waterfall = combine("ready", [hot], [gone])
    >>> sorted(kept), waterfall["n_left"].tolist()
    (['a', 'c'], [3, 2])
    """
    if not include or match not in ("any", "all"):
        raise CdpkitError("a combination must include something, by `match` any or all", got=match)
    sets = [selection.persons for selection in include]
    left = frozenset.union(*sets) if match == "any" else frozenset.intersection(*sets)
    rows = [("included", 0, len(left))]
    for selection in exclude:
        out = left & selection.persons
        left -= out
        rows.append((selection.name, len(out), len(left)))
    return Selection(name, left), pd.DataFrame(rows, columns=["reason", "n_out", "n_left"])


def overlap(selections: Sequence[Selection]) -> pd.DataFrame:
    """Return how far selections overlap, two by two.

    Returns
    -------
    DataFrame
        ``a, b, n_a, n_b, n_both, share_of_a, jaccard``, every ordered pair, each with itself too.

    Examples
    --------
    >>> overlap([Selection("x", frozenset("ab")), Selection("y", frozenset("bcd"))])["n_both"].tolist()
    [2, 1, 1, 3]
    """
    rows = [
        (a.name, b.name, len(a), len(b), len(a.persons & b.persons), len(a.persons | b.persons))
        for a in selections
        for b in selections
    ]
    frame = pd.DataFrame(rows, columns=["a", "b", "n_a", "n_b", "n_both", "n_either"])
    frame["share_of_a"] = frame["n_both"] / frame["n_a"].clip(lower=1)
    frame["jaccard"] = frame["n_both"] / frame.pop("n_either").clip(lower=1)
    return frame
