"""The facts themselves, laid to persons as known at a date: what models of a history learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from cdpkit.errors import FeatureError
from cdpkit.features import predicate
from cdpkit.features.permission import permit
from cdpkit.features.population import alive, clock_at, moment
from cdpkit.features.scans import holds
from cdpkit.features.tree import Tree, all_of, col, join, named, select, sub, table, when
from cdpkit.schema import TABLES

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine


def facts(
    engine: Engine,
    name: str,
    as_of: object,
    columns: Sequence[str] = (),
    *,
    where: str | None = None,
    since: object = None,
    consent: bool = True,
    consent_at: object = None,
) -> pd.DataFrame:
    """Return the rows of a table known before a date, by person as known then.

    Parameters
    ----------
    engine : Engine
    name : str
        A fact keyed by node, such as ``"orders"``.
    as_of : timestamp
        Rows with ``event_time < as_of`` and ``known_at < as_of`` are seen.
    columns : sequence of str
        Further columns. An outcome (a cancellation) is missing where it was not known yet.
    where : str, optional
        Filter over the table's columns, as in a feature: ``"NOT known(cancelled_at)"``.
    since : timestamp, optional
        Only what happened from then on.
    consent, consent_at
        As in `FeatureSet.build`.

    Returns
    -------
    DataFrame
        ``person_id, event_time`` and the columns, in the order of time and key.

    Raises
    ------
    FeatureError
        For a table that is no fact, a column it does not have, or a filter that cannot be read.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> facts(DuckDBEngine(), "orders", "2026-01-01", ["amount_minor"]).columns.tolist()
    ['person_id', 'event_time', 'amount_minor']
    """
    schema = TABLES.get(name)
    if schema is None or "node_id" not in schema or schema.event_time is None:
        raise FeatureError("`name` must be a fact keyed by node", got=repr(name))
    unknown = [column for column in columns if column not in schema]
    if unknown:
        raise FeatureError(f"`columns` must be those of {name}", got=", ".join(unknown))
    if where is not None:
        predicate.check(where, schema)
    clock = clock_at(as_of, engine.dialect)
    allowed = permit(engine, as_of, also_at=consent_at) if consent else None
    picked: list[Tree] = []
    for column in columns:
        time = schema[column].outcome_of
        # What was not known yet reads as missing, as it did then.
        value: Tree = col(column, "f")
        if time is not None:
            value = when(exp.LT(this=col(time, "f"), expression=clock.now()), value)
        picked.append(named(value, column))
    same = exp.EQ(this=col("node_id", "f"), expression=col("node_id", "a"))
    query = select(
        [col("person_id", "a"), col("event_time", "f"), *picked],
        table(name, "f"),
        [join(sub(alive(clock.now(), allowed), "a"), same)],
        where=all_of([clock.visible(None), holds(where, clock.now), *_from(since)]),
    ).order_by(*[col(key, "f") for key in dict.fromkeys(["event_time", *schema.key])])
    return engine.query(query.sql(dialect=engine.dialect)).to_pandas()


def _from(since: object) -> list[Tree]:
    """Return the condition that keeps what happened from a time on."""
    return [] if since is None else [exp.GTE(this=col("event_time", "f"), expression=moment(since))]
