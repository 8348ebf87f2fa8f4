"""Attributes nobody declared: what they are, and their promotion to typed columns by a declaration."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlglot import exp

from cdpkit.errors import ContractError
from cdpkit.lake.dataset import SQL_TYPES
from cdpkit.schema import PII, TABLES, TYPES, Column, Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: Table of the promoted traits, one row a row of `profiles`.
PROMOTED = "profile_traits"


class Trait(BaseModel):
    """A trait that becomes a typed column.

    Parameters
    ----------
    name : str
        Name of the column.
    trait : str, optional
        Name in the JSON; that of the column by default.
    type : str
        One of the column types, text lists apart.
    fr, en : str
        What it means.
    pii : str
        Class of personal data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    trait: str = ""
    type: str = Field(
        "string", pattern="^(" + "|".join(t for t in TYPES if "<" not in t and t != "binary") + ")$"
    )
    fr: str
    en: str
    pii: str = Field("personal", pattern="^(" + "|".join(PII) + ")$")

    @property
    def key(self) -> str:
        """Its name in the JSON."""
        return self.trait or self.name


def inventory(engine: Any) -> pd.DataFrame:
    """Return the traits seen, by source: how many profiles hold each, and the type that fits them all.

    Parameters
    ----------
    engine : Engine
        On the lake.

    Returns
    -------
    DataFrame
        ``source, trait, profiles, share, distinct_values, type``; no value is shown.
    """
    return engine.query("""
        WITH seen AS (
            SELECT source, unnest(map_entries(CAST(CAST(traits AS JSON) AS MAP(VARCHAR, VARCHAR)))) AS entry
            FROM profiles WHERE traits IS NOT NULL
        ), told AS (
            SELECT source, entry.key AS trait, entry.value AS value FROM seen
        ), counted AS (SELECT source, count(*) AS n FROM profiles GROUP BY source)
        SELECT source, trait, count(value) AS profiles, count(value) / any_value(n) AS share,
               count(DISTINCT value) AS distinct_values,
               CASE WHEN count(TRY_CAST(value AS BIGINT)) = count(value) THEN 'int64'
                    WHEN count(TRY_CAST(value AS DOUBLE)) = count(value) THEN 'float64'
                    WHEN count(TRY_CAST(value AS DATE)) = count(value) THEN 'date'
                    WHEN count(*) FILTER (lower(value) IN ('true', 'false')) = count(value) THEN 'bool'
                    ELSE 'string' END AS type
        FROM told JOIN counted USING (source) GROUP BY source, trait HAVING count(value) > 0
        ORDER BY source, trait
    """).to_pandas()


def declared(path: str | Path) -> list[Trait]:
    """Return the promotions a TOML file declares: a table a column.

    Raises
    ------
    ContractError
        Naming every fault.
    """
    faults, traits = [], []
    for name, entry in tomllib.loads(Path(path).read_text(encoding="utf-8")).items():
        try:
            traits.append(Trait(name=name, **entry))
        except ValidationError as error:
            faults += [f"{name}.{e['loc'][0] if e['loc'] else ''}: {e['msg']}" for e in error.errors()]
    if faults:
        raise ContractError("traits", faults)
    return traits


def promote(run: Any, traits: Sequence[Trait]) -> pd.DataFrame:
    """Write traits as typed columns of table `profile_traits`; the JSON stays as it is.

    Parameters
    ----------
    run : Run
        Holds the workspace's lock.
    traits : sequence of Trait
        What to promote; a trait no longer declared leaves the table.

    Returns
    -------
    DataFrame
        ``column, type, profiles, unreadable``: rows that hold a value, and values that are not of the
        type, which stay in the JSON only.

    Raises
    ------
    ContractError
        When a column is declared twice, would hide one of `profiles`, or takes off the class ``sensitive``
        that its source gave it.
    """
    import pandas as pd

    names = [trait.name for trait in traits]
    faults = [f"{name}: is declared twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    faults += [f"{name}: is a column of profiles already" for name in names if name in TABLES["profiles"]]
    kept = _sensitive(run)
    faults += [
        f"{t.name}: its source says it is sensitive; got pii = {t.pii!r}. Declare pii = 'sensitive'"
        for t in traits
        if t.key in kept and t.pii != "sensitive"
    ]
    if faults:
        raise ContractError("traits", faults)
    own = [TABLES["profiles"][name] for name in ("node_id", "source", "known_at")]
    added = [Column(t.name, t.type, t.en, t.fr, pii=t.pii) for t in traits]
    en, fr = "Traits of a profile as typed columns", "Attributs d'un profil en colonnes typées"
    table = Table(PROMOTED, ("node_id", "known_at"), (*own, *added), en, fr, known_at="known_at")
    # As a map: a JSON path cannot name every key that a header can.
    held = "CAST(CAST(traits AS JSON) AS MAP(VARCHAR, VARCHAR))"
    text = {t.name: f"{held}[{exp.Literal.string(t.key).sql('duckdb')}]" for t in traits}
    cast = [f'TRY_CAST({text[t.name]} AS {SQL_TYPES[t.type]}) AS "{t.name}"' for t in traits]
    said = [f'count({text[t.name]}) AS "{t.name}"' for t in traits]
    with run.engine() as engine:
        listed = ", ".join(["node_id", "source", "known_at", *cast])
        rows = engine.query(f"SELECT {listed} FROM profiles WHERE traits IS NOT NULL ORDER BY ALL").to_arrow()
        asked = (
            engine.query(f"SELECT {', '.join(said) or '1 AS one'} FROM profiles").to_arrow().to_pylist()[0]
        )
    if PROMOTED not in run.lake.stored() or not _same(run.lake.read(PROMOTED, "head").to_arrow(), rows):
        run.lake.write(table, rows, mode="overwrite")
    counts = [(t.name, t.type, rows.num_rows - rows[t.name].null_count) for t in traits]
    lines = [(name, kind, n, asked[name] - n) for name, kind, n in counts]
    return pd.DataFrame(lines, columns=["column", "type", "profiles", "unreadable"])


def _sensitive(run: Any) -> set[str]:
    """Return the names of the attributes that a source declared sensitive."""
    with run.engine() as engine:
        if "source_fields" not in engine.tables():
            return set()
        found = engine.query("SELECT DISTINCT field FROM source_fields WHERE class = 'sensitive'").to_pandas()
    return set(found["field"])


def _same(stored: pa.Table, rows: pa.Table) -> bool:
    """Tell whether two tables hold the same columns and rows, in whatever order."""
    if stored.column_names != rows.column_names:
        return False
    order = [(name, "ascending") for name in rows.column_names]
    return stored.sort_by(order).equals(rows.cast(stored.schema).sort_by(order))


def read(text: str | None) -> Mapping[str, Any]:
    """Return the traits of one profile.

    Examples
    --------
    >>> read('{"size": "42"}')["size"], read(None)
    ('42', {})
    """
    return json.loads(text) if text else {}
