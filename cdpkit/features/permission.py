"""Which records may be profiled at each date: the consent room's answer, kept for one build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from cdpkit import consent
from cdpkit.errors import FeatureError
from cdpkit.features.tree import Tree, col, select, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdpkit.engine import Engine

#: The purpose features are computed for.
PURPOSE = "profiling"

_PERMITTED, _STILL = "feature_permitted", "feature_still_permitted"


def permit(engine: Engine, as_of: object, *, rows: str | None = None, also_at: object = None) -> Tree:
    """Keep the permitted records of a build, and return the query that reads them.

    Parameters
    ----------
    engine : Engine
    as_of : timestamp
        Date of a snapshot; unused with `rows`.
    rows : str, optional
        Table of ``person_id, as_of`` with a date by row.
    also_at : timestamp, optional
        A later date at which permission must hold too.

    Returns
    -------
    Expression
        ``node_id``, and ``as_of`` with `rows`.
    """
    query = consent.nodes_sql(PURPOSE, as_of) if rows is None else consent.rows_sql(PURPOSE, rows)
    if also_at is not None:
        # A table of its own: some dialects write the parts of both questions in one list, where names clash.
        engine.materialise(_STILL, consent.nodes_sql(PURPOSE, also_at).sql(dialect=engine.dialect))
        still = select([col("node_id")], table(_STILL))
        query = query.where(exp.In(this=exp.column("node_id"), query=exp.Subquery(this=still)), copy=False)
    engine.materialise(_PERMITTED, query.sql(dialect=engine.dialect))
    columns = [col("node_id")] if rows is None else [col("node_id"), col("as_of")]
    return select(columns, table(_PERMITTED))


def usable(at: object = None) -> Tree:
    """Return the query of the records that may be profiled at a date, or with everything known."""
    return consent.nodes_sql(PURPOSE, at)


def refuse_sensitive(engine: Engine, traits: Sequence[str]) -> None:
    """Refuse attributes that no source declared, or that one declared sensitive.

    Raises
    ------
    FeatureError
        Naming them all.
    """
    if not traits:
        return
    declared: dict[str, set[str]] = {}
    if "source_fields" in engine.tables():
        found = engine.query("SELECT field, class FROM source_fields").to_pandas()
        for field, held in zip(found["field"], found["class"], strict=True):
            declared.setdefault(field, set()).add(held)
    faults = [
        f"{name} ({'sensitive' if name in declared else 'of no declared class'})"
        for name in dict.fromkeys(traits)
        if "sensitive" in declared.get(name, {"sensitive"})
    ]
    if faults:
        raise FeatureError(
            "a sensitive field must not be used in a feature", got=", ".join(faults),
            do='Leave it out, or declare sensitive_for="the purpose people agreed to"',
        )  # fmt: skip
