"""Persons and the fields of rules: one relation by date, live counts, and why a rule holds for one person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from cdpkit import consent
from cdpkit.errors import FaultsError
from cdpkit.features.population import instant
from cdpkit.segments.fields import FEATURES, Field
from cdpkit.segments.rule import Rule, expression

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: Persons as known at the date.
_THEN = "membership WHERE known_from < {t} AND (known_to IS NULL OR known_to >= {t})"


@dataclass(frozen=True)
class Explanation:
    """Why a rule holds for one person, or does not.

    Attributes
    ----------
    holds : bool
        Whether the rule takes the person in.
    leaves : DataFrame
        ``condition, en, fr, holds``, one row a comparison from left to right; ``holds`` is missing where
        the value is unknown. The person's values are not repeated.
    """

    holds: bool
    leaves: pd.DataFrame

    @property
    def true(self) -> list[str]:
        """Comparisons that hold."""
        return self.leaves.loc[self.leaves["holds"].eq(True).fillna(False), "condition"].tolist()

    @property
    def false(self) -> list[str]:
        """Comparisons that do not hold, unknown values included."""
        return self.leaves.loc[~self.leaves["holds"].eq(True).fillna(False), "condition"].tolist()


def literal(moment: object) -> str:
    """Spell a UTC time as SQL."""
    return f"TIMESTAMP '{instant(moment).isoformat(sep=' ', timespec='microseconds')}'"


def member_sql(as_of: object) -> str:
    """Return the common table ``member``: the records that may be used for profiling, under their persons.

    Parameters
    ----------
    as_of : timestamp-like
        UTC. Both who is who and who permits are those known at the date.

    Returns
    -------
    str
        ``member AS (…)`` with ``node_id, person_id``.
    """
    allowed = consent.nodes_sql("profiling", as_of).sql(dialect="duckdb")
    then = _THEN.format(t=literal(as_of))
    return f"member AS (SELECT node_id, person_id FROM {then} AND node_id IN ({allowed}))"


def everybody_sql(as_of: object) -> str:
    """Build the query of the persons known at a date, permitted or not: ``person_id``."""
    return f"SELECT DISTINCT person_id FROM {_THEN.format(t=literal(as_of))}"


def fields_sql(
    engine: Engine,
    names: Iterable[str],
    fields: Mapping[str, Field],
    as_of: object,
    *,
    scored_by: str | None = None,
) -> str:
    """Build the query of persons with the fields asked for.

    Parameters
    ----------
    engine : Engine
        Asked only for which features the lake holds.
    names : iterable of str
        Fields of `fields`.
    fields : mapping of str to Field
    as_of : timestamp-like
        UTC. Features and scores are the latest dated at or before it, facts those known before it, of
        records whose owner permits profiling.
    scored_by : str, optional
        Start from the persons this model scored at exactly `as_of`, instead of from everybody.

    Returns
    -------
    str
        ``person_id`` and a column a field.

    Raises
    ------
    FaultsError
        Naming every field the lake cannot feed yet.
    """
    chosen = [fields[name] for name in dict.fromkeys(names)]
    t = literal(as_of)
    held = _held(engine)
    faults = [
        f"`{field.name}` must find {', '.join(sorted(set(field.needs) - held))} in `{FEATURES}`"
        for field in chosen
        if set(field.needs) - held
    ]
    if faults:
        raise FaultsError("a rule on this lake", [*faults, "Run the features notebook"])
    columns, joins = ["p.person_id"], []
    by_origin = {origin: [f for f in chosen if f.origin == origin] for origin in ("feature", "score", "fact")}
    if by_origin["feature"]:
        needed = list(dict.fromkeys(n for f in by_origin["feature"] for n in f.needs))
        values = ", ".join(f'{f.value} AS "{f.name}"' for f in by_origin["feature"])
        latest = f"(SELECT max(as_of) FROM {FEATURES} WHERE as_of <= {t})"
        rows = f"SELECT person_id, {', '.join(needed)} FROM {FEATURES} WHERE as_of = {latest}"
        joins.append(
            f"LEFT JOIN (SELECT person_id, {values} FROM ({rows}) AS held) AS f ON f.person_id = p.person_id"
        )
        columns += [f'f."{f.name}"' for f in by_origin["feature"]]
    for number, model in enumerate(dict.fromkeys(f.model for f in by_origin["score"])):
        mine, alias = [f for f in by_origin["score"] if f.model == model], f"s{number}"
        values = ", ".join(f'{f.value} AS "{f.name}"' for f in mine)
        latest = f"(SELECT max(as_of) FROM scores WHERE model = '{model}' AND as_of <= {t})"
        rows = f"SELECT person_id, {values} FROM scores WHERE model = '{model}' AND as_of = {latest}"
        joins.append(f"LEFT JOIN ({rows}) AS {alias} ON {alias}.person_id = p.person_id")
        columns += [f'{alias}."{f.name}"' for f in mine]
    for number, field in enumerate(by_origin["fact"]):
        query = field.value.replace(":as_of", t)
        rows = f"SELECT * FROM ({query}) AS held WHERE person_id IN (SELECT person_id FROM member)"
        joins.append(f"LEFT JOIN ({rows}) AS q{number} ON q{number}.person_id = p.person_id")
        columns.append(f'q{number}.value AS "{field.name}"')
    base = everybody_sql(as_of)
    if scored_by is not None:
        base = f"SELECT person_id FROM scores WHERE model = '{scored_by}' AND as_of = {t}"
    return f"WITH {member_sql(as_of)} SELECT {', '.join(columns)} FROM ({base}) AS p {' '.join(joins)}"


def matching_sql(engine: Engine, rule: Rule, as_of: object, *, scored_by: str | None = None) -> str:
    """Build the query of the persons a rule takes in: ``person_id``."""
    rows = fields_sql(engine, rule.names, rule.fields, as_of, scored_by=scored_by)
    return f"SELECT person_id FROM ({rows}) AS asked WHERE {rule.text}"


def members(engine: Engine, rule: Rule, as_of: object) -> frozenset[str]:
    """Return the persons a rule takes in at a date.

    Parameters
    ----------
    engine : Engine
        Sees ``membership`` and whatever the rule's fields come from.
    rule : Rule
    as_of : timestamp-like
        UTC.
    """
    return frozenset(engine.query(matching_sql(engine, rule, as_of)).to_pandas()["person_id"])


def count(engine: Engine, rule: Rule, as_of: object) -> int:
    """Return how many persons a rule takes in: the live count while it is written."""
    query = f"SELECT count(*) AS n FROM ({matching_sql(engine, rule, as_of)}) AS found"
    return int(engine.query(query).to_pandas()["n"].iloc[0])


def explain(engine: Engine, rule: Rule, person_id: str, as_of: object, currency: str = "EUR") -> Explanation:
    """Say which comparisons of a rule hold for one person.

    Parameters
    ----------
    engine : Engine
    rule : Rule
    person_id : str
    as_of : timestamp-like
        UTC.
    currency : str
        For the sentences.

    Returns
    -------
    Explanation
        The engine judges each comparison, so that it says what `members` does. Somebody unknown at the
        date has no value at all.
    """
    leaves = rule.leaves
    judged = [f"({expression(leaf).sql(dialect='duckdb')}) AS leaf_{i}" for i, leaf in enumerate(leaves)]
    rows = fields_sql(engine, rule.names, rule.fields, as_of)
    engine.register("_asked", pd.DataFrame({"person_id": pd.Series([person_id], dtype="str")}))
    query = f"""SELECT ({rule.text}) AS holds, {", ".join(judged)}
                FROM ({rows}) AS asked JOIN _asked USING (person_id)"""
    found = engine.query(query).to_pandas()
    said = [None if found.empty else found[f"leaf_{i}"].iloc[0] for i in range(len(leaves))]
    frame = pd.DataFrame(
        {
            "condition": [expression(leaf).sql(dialect="duckdb") for leaf in leaves],
            "en": [Rule(leaf, rule.model).sentence("en", currency) for leaf in leaves],
            "fr": [Rule(leaf, rule.model).sentence("fr", currency) for leaf in leaves],
            "holds": pd.array([pd.NA if pd.isna(one) else bool(one) for one in said], dtype="boolean"),
        }
    )
    holds = not found.empty and found["holds"].iloc[0] is not None and found["holds"].eq(True).iloc[0]
    return Explanation(bool(holds), frame)


def _held(engine: Engine) -> set[str]:
    """Return the columns of the feature table, none where it was not built."""
    if FEATURES not in engine.tables():
        return set()
    return set(engine.query(f"SELECT * FROM {FEATURES} LIMIT 0").to_arrow().schema.names)
