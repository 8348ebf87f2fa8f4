"""What a score used of a person, and what was there and went unused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.errors import CdpkitError
from cdpkit.features import catalogue
from cdpkit.governance.lineage import reads
from cdpkit.identity.moments import literal, members
from cdpkit.identity.profile import contacts

if TYPE_CHECKING:
    from cdpkit.engine import Engine
    from cdpkit.features import FeatureSet

#: What became of an input. ``idle``: the model takes the column and gives it no weight.
STATES = ("used", "idle", "missing", "unused")


def inputs(
    engine: Engine,
    person_id: str,
    columns: Sequence[str],
    *,
    as_of: object,
    weights: Mapping[str, float] | None = None,
    features: FeatureSet | None = None,
) -> pd.DataFrame:
    """List what a score used of one person, and what is known of the person and went unused.

    Parameters
    ----------
    engine : Engine
        Sees the stored features, ``golden``, ``membership`` and the tables of contacts.
    person_id : str
        A person with stored features at the date.
    columns : sequence of str
        What the model takes (`Scorer.columns`), or the fields of a rule that decided.
    as_of : timestamp-like
        UTC; date of the score, and of the stored features.
    weights : mapping of str to float, optional
        What each column weighs (its importance, or its contribution to this score): zero is idle.
    features : FeatureSet, optional
        Whose stored rows are read; the standard set by default.

    Returns
    -------
    DataFrame
        ``input, kind, state, weight``. Kind ``feature``: a stored column; state ``used``, ``idle``,
        ``missing`` (taken, but not known of this person) or ``unused`` (known, but not taken). Kinds ``fact``
        (an attribute of the golden record) and ``table`` (a table with a contact of this person): ``used``
        where a used feature reads them, else ``unused``. Values are not repeated.

    Raises
    ------
    CdpkitError
        When the person has no stored features at the date.
    """
    declared = features if features is not None else catalogue.standard()
    name = f"features_{declared.name}"
    stamp = pd.Timestamp(as_of)  # type: ignore[arg-type]
    quoted = "'" + person_id.replace("'", "''") + "'"
    row = engine.query(
        f"SELECT * FROM {name} WHERE person_id = {quoted} AND as_of = TIMESTAMP '{stamp}'"
    ).to_pandas()
    if row.empty:
        raise CdpkitError("the person must have stored features at the date", do="Build the features first")
    taken, weigh = set(columns), dict(weights or {})
    known = row.iloc[0].drop(["person_id", "as_of"])
    rows: list[tuple[str, str, str, float]] = []
    for column in sorted({*known.index, *taken}):
        there = column in known.index and bool(pd.notna(known[column]))
        if column in taken:
            idle = weights is not None and weigh.get(column, 0.0) == 0.0
            state = "missing" if not there else "idle" if idle else "used"
        elif there:
            state = "unused"
        else:
            continue
        rows.append((column, "feature", state, weigh.get(column, float("nan"))))
    used = {column for column, _, state, _ in rows if state == "used"}
    read = {one for output in declared.outputs if output.name in used for one in reads(output)}
    golden = engine.query(f"SELECT attribute FROM golden WHERE person_id = {quoted} ORDER BY 1").to_pandas()
    for attribute in golden["attribute"]:
        told = {f"column:profiles.{attribute}", f"column:profile_traits.{attribute}"} & read
        rows.append((attribute, "fact", "used" if told else "unused", float("nan")))
    tables = {one.removeprefix("column:").partition(".")[0] for one in read}
    for table in contacts():
        if _there(engine, table.name, quoted, stamp):
            state = "used" if table.name in tables else "unused"
            rows.append((table.name, "table", state, float("nan")))
    return pd.DataFrame(rows, columns=["input", "kind", "state", "weight"])


def usage(
    engine: Engine,
    columns: Sequence[str],
    *,
    as_of: object,
    weights: Mapping[str, float] | None = None,
    features: FeatureSet | None = None,
) -> pd.DataFrame:
    """Say of every stored feature how many persons have it, and whether a model uses it.

    Parameters
    ----------
    engine, columns, as_of, weights, features
        As for `inputs`.

    Returns
    -------
    DataFrame
        ``input, family, state`` (used, idle, unused, or missing where the model takes a column nobody has),
        ``persons`` with a value and their ``share``; the unused first, the most widely known at the top.
    """
    declared = features if features is not None else catalogue.standard()
    stamp = pd.Timestamp(as_of)  # type: ignore[arg-type]
    name = f"features_{declared.name}"
    stored = list(
        engine.query(f"SELECT * FROM {name} LIMIT 0").to_pandas().columns.drop(["person_id", "as_of"])
    )
    counts = ", ".join(f'COUNT("{column}") AS "{column}"' for column in stored)
    told = engine.query(
        f"SELECT COUNT(*) AS n, {counts} FROM {name} WHERE as_of = TIMESTAMP '{stamp}'"
    ).to_pandas()
    n, family = int(told["n"].iloc[0]), {output.name: output.family for output in declared.outputs}
    taken, rows = set(columns), []
    for column in [*stored, *sorted(taken - set(stored))]:
        persons = int(told[column].iloc[0]) if column in told else 0
        if column in taken:
            idle = weights is not None and dict(weights).get(column, 0.0) == 0.0
            state = "missing" if persons == 0 else "idle" if idle else "used"
        elif persons:
            state = "unused"
        else:
            continue
        rows.append((column, family.get(column, ""), state, persons, persons / n if n else float("nan")))
    out = pd.DataFrame(rows, columns=["input", "family", "state", "persons", "share"])
    order = out["state"].map(
        {state: place for place, state in enumerate(("unused", "idle", "missing", "used"))}
    )
    return out.assign(_order=order).sort_values(
        ["_order", "persons", "input"], ascending=[True, False, True], ignore_index=True
    ).drop(columns="_order")  # fmt: skip


def _there(engine: Engine, table: str, person: str, at: pd.Timestamp) -> bool:
    """Tell whether a table had a contact of a person before a date."""
    found = engine.query(
        f"SELECT 1 AS one FROM {table} AS t JOIN ({members(at)}) AS m ON m.node_id = t.node_id"
        f" WHERE m.person_id = {person} AND t.event_time < {literal(at)} AND t.known_at < {literal(at)}"
        " LIMIT 1"
    ).to_pandas()
    return len(found) > 0
