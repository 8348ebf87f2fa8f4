"""The rows of a fact with the person behind each, as known at a date: for models that read rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from cdpkit.errors import FeatureError
from cdpkit.features.permission import permit
from cdpkit.features.population import alive, moment
from cdpkit.schema import TABLES

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine


def facts(
    engine: Engine,
    table: str,
    as_of: object,
    columns: Sequence[str],
    *,
    since: object = None,
    consent: bool = True,
) -> pd.DataFrame:
    """Return rows of a fact, each with its person, as known strictly before a date.

    Parameters
    ----------
    engine : Engine
    table : str
        A fact keyed by node, such as ``"order_lines"`` or ``"touches"``.
    as_of : timestamp
        Only what happened and was known before it, under the persons as known then.
    columns : sequence of str
        Columns wanted. One that is an outcome (known later than the row) is refused.
    since : timestamp, optional
        Only what happened from then on.
    consent : bool
        Only records whose owner permits profiling at the date.

    Returns
    -------
    DataFrame
        ``person_id, ts`` (when it happened) and the columns, in the order of time and key.

    Raises
    ------
    FeatureError
        For a table that is no fact of persons, an unknown column, or an outcome.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> facts(DuckDBEngine(), "order_lines", "2026-01-01", ["product_id"]).columns.tolist()
    ['person_id', 'ts', 'product_id']
    """
    known = TABLES.get(table)
    if known is None or "node_id" not in known or known.event_time is None:
        raise FeatureError("`table` must be a fact keyed by node", got=repr(table))
    for name in columns:
        if name not in known:
            raise FeatureError(f"`columns` must be of {table}", got=repr(name))
        if known[name].outcome_of is not None:
            raise FeatureError("`columns` must be known with the row", got=f"the outcome {name!r}")
    at, happened = moment(as_of), exp.column(known.event_time, "f")
    query = (
        exp.select("m.person_id", exp.alias_(happened, "ts"), *[exp.column(name, "f") for name in columns])
        .from_(exp.alias_(exp.to_table(table), "f"))
        .join(alive(at, permit(engine, as_of) if consent else None).subquery("m"), on="f.node_id = m.node_id")
        .where(exp.LT(this=happened.copy(), expression=at.copy()))
        .where(exp.LT(this=exp.column("known_at", "f"), expression=at.copy()))
        .order_by(happened.copy(), *[exp.column(key, "f") for key in known.key])
    )
    if since is not None:
        query = query.where(exp.GTE(this=happened.copy(), expression=moment(since)))
    return engine.query(query.sql(dialect=engine.dialect)).to_pandas()
