"""What the daily refresh keeps between two dates: sums by record, other aggregates by person.

Four kinds of lake tables for a set ``x``: ``state_x`` (up to which date and which version of each fact),
``state_x_of_<fact>`` (a log of differences of sums by record, one part of it a day: the state is their sum),
``state_x_persons`` (aggregates that cannot be added up) and ``state_x_members`` (whose records they were of).
They hold records and persons, so erasure reaches them like any table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from cdpkit.features.declarations import Output, fact
from cdpkit.features.plan import Part
from cdpkit.features.scans import fact_relation
from cdpkit.features.tree import Tree, struct, wide
from cdpkit.schema import Column, Table

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import DuckDBEngine
    from cdpkit.run import Run

#: Aggregates of rows that can be added up, and taken away again: their sums are whole numbers.
ADDED = frozenset({"count", "filled", "sum", "micro"})

#: Aggregates that depend on which rows are seen and on nothing else: they change only when those do.
STILL = {
    "rows": frozenset({"min", "max", "last", "first"}),
    "values": frozenset({"distinct", "top", "total", "repeated"}),
    "sessions": frozenset({"n", "events", "length"}),
    "gaps": frozenset({"n", "sum", "square"}),
}


@dataclass(frozen=True)
class Shelf:
    """The aggregates a set of features is made of, by how they are kept.

    Parameters
    ----------
    name : str
        Of the set.
    added : tuple of Part
        Kept by record, as sums.
    still : tuple of Part
        Kept by person.
    moving : tuple of Part
        Not kept: they may change with the date alone, or are of facts joined to others, so everybody's are
        computed again.
    """

    name: str
    added: tuple[Part, ...]
    still: tuple[Part, ...]
    moving: tuple[Part, ...]

    @classmethod
    def of(cls, name: str, outputs: Sequence[Output]) -> Shelf:
        """Sort the aggregates of some outputs; each sum comes with the number of values in it."""
        asked = [p for o in outputs for p in (*o.parts, *([o.history] if o.history else []))]
        added = [p for p in asked if p.level == "rows" and p.op in ADDED and by_rows(p.table)]
        added += [
            Part(p.table, "filled", p.column, p.where, p.window) for p in added if p.op in ("sum", "micro")
        ]
        still = [p for p in asked if p.op in STILL.get(p.level, ()) and p not in added and by_rows(p.table)]
        moving = [p for p in asked if p not in added and p not in still]
        return cls(name, *(tuple(dict.fromkeys(kind)) for kind in (added, still, moving)))

    @property
    def digest(self) -> str:
        """A fingerprint of the definitions: a state of others is of no use."""
        return hashlib.sha256(repr((self.added, self.still)).encode()).hexdigest()[:16]

    @property
    def facts(self) -> list[str]:
        """The facts whose aggregates are kept."""
        return sorted({part.table for part in (*self.added, *self.still)})

    def added_to(self, name: str) -> dict[Part, str]:
        """Return the sums over a fact with their columns."""
        return {p: f"a{i}" for i, p in enumerate(self.added) if p.table == name}

    def log(self, name: str) -> Table:
        """Return the table of the differences of one fact's sums."""
        columns = [_key("node_id", "int64")]
        columns += [
            Column(c, "int64", f"{p.op} {p.column or ''}", p.op) for p, c in self.added_to(name).items()
        ]
        words = "Differences of sums by record", "Écarts de sommes par enregistrement"
        return Table(f"state_{self.name}_of_{name}", (), tuple(columns), *words)

    def persons(self) -> Table:
        """Return the table of the aggregates by person."""
        columns = [_key("person_id", "string")]
        for i, part in enumerate(self.still):
            kind, pii = _stored(part)
            columns.append(Column(f"s{i}", kind, part.op, part.op, pii=pii))
        words = "Aggregates by person", "Agrégats par personne"
        return Table(f"state_{self.name}_persons", ("person_id",), tuple(columns), *words)

    def members(self) -> Table:
        """Return the table of the records the aggregates by person were made of."""
        columns = _key("node_id", "int64"), _key("person_id", "string")
        words = "Records of the aggregates by person", "Enregistrements des agrégats par personne"
        return Table(f"state_{self.name}_members", ("node_id",), columns, *words)

    def header(self) -> Table:
        """Return the table that says what the state is of."""
        columns = (
            Column("fact", "string", "fact", "fait", required=True),
            Column("version", "int64", "version read", "version lue"),
            Column("first_seen", "timestamp", "the source first spoke at", "première parole de la source"),
            Column("as_of", "timestamp", "date of the knowledge", "date de la connaissance", required=True),
            Column("digest", "string", "fingerprint of the definitions", "empreinte des définitions"),
            Column("log_rows", "int64", "rows of the log when it was last made", "lignes du journal refait"),
        )
        return Table(f"state_{self.name}", ("fact",), columns, "State of a set", "État d'un ensemble")


def bases(name: str) -> list[str]:
    """Return the tables of the lake that a fact is read from.

    Examples
    --------
    >>> bases("orders"), "orders" in bases("interactions")
    (['orders'], True)
    """
    return sorted({found.name for found in fact_relation(name, "f").find_all(exp.Table)})


def by_rows(name: str) -> bool:
    """Tell whether each row of a fact comes from one row of one table: then new files give its new rows."""
    source = fact_relation(name, "f")
    return source.find(exp.Join, exp.Window, exp.AggFunc, exp.Distinct) is None


def _key(name: str, kind: str) -> Column:
    return Column(name, kind, name, name, required=True, pii="pseudonym")


def _stored(part: Part) -> tuple[str, str]:
    """Return the type in which an aggregate by person is kept, and its personal-data class."""
    if part.level == "gaps":
        # Sums of squares of microseconds need 128 bits, which the lake has no type for.
        return "string", "none"
    if part.level != "rows":
        return "int64", "none"
    column = fact(part.table)[part.column or "event_time"]
    return column.type, column.pii if column.pii in ("personal", "sensitive") else "none"


def to_store(part: Part, value: Tree) -> Tree:
    """Return an aggregate as it is kept."""
    if part.level == "gaps":
        return exp.cast(wide(value), "text")
    if part.op in ("last", "first") and part.level == "rows":
        return exp.Dot(this=value, expression=exp.Identifier(this="v"))
    return value


def from_store(part: Part, column: Tree) -> Tree:
    """Return a kept aggregate as the formulas expect it."""
    if part.level == "gaps":
        return wide(column)
    if part.op in ("last", "first") and part.level == "rows":
        seen = exp.Not(this=exp.Is(this=column.copy(), expression=exp.Null()))
        return exp.Case(ifs=[exp.If(this=seen, true=struct(v=column))])
    return column


@dataclass(frozen=True)
class Kept:
    """The header of a stored state."""

    as_of: pd.Timestamp
    versions: dict[str, int | None]
    first_seen: dict[str, Any]
    log_rows: dict[str, int]


def read_header(engine: DuckDBEngine, shelf: Shelf) -> Kept | None:
    """Return the header of the state of a set, or None when there is none of these definitions."""
    name = shelf.header().name
    if name not in engine.tables():
        return None
    rows = engine.query(f"SELECT * FROM {name}").to_pandas()
    if rows.empty or set(rows["digest"]) != {shelf.digest}:
        return None
    return Kept(
        rows["as_of"].max(),
        {f: None if v != v else int(v) for f, v in zip(rows["fact"], rows["version"], strict=True)},
        {f: None if t != t else t for f, t in zip(rows["fact"], rows["first_seen"], strict=True)},
        {f: int(n) for f, n in zip(rows["fact"], rows["log_rows"], strict=True)},
    )


def write_header(run: Run, shelf: Shelf, kept: Kept) -> None:
    """Store the header of a state: its last write."""
    import pandas as pd

    facts = list(kept.versions)
    frame = pd.DataFrame(
        {
            "fact": facts,
            "version": pd.array([kept.versions[f] for f in facts], dtype="Int64"),
            "first_seen": pd.Series([kept.first_seen.get(f) for f in facts], dtype="datetime64[us]"),
            "as_of": kept.as_of,
            "digest": shelf.digest,
            "log_rows": [kept.log_rows.get(f, 0) for f in facts],
        }
    )
    run.lake.write(shelf.header(), frame, mode="overwrite")
