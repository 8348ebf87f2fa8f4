"""Labels: what happened to each person in `[t + gap, t + gap + horizon)`, keyed by the person as of t.

Persons merge after `t`, and what they did since is known under another id. The outcomes of an as-of
person are those of every record whose *newest* person holds one of its records. As-of persons that end
up in one newest person share outcomes, so they carry one fold group and must not be split. Outcomes come
only from records whose owner permits profiling when the labels are made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlglot import exp

from cdpkit.definitions import Behaviour, BehaviourDefinition
from cdpkit.errors import FeatureError, NotEnoughDataError
from cdpkit.features import predicate
from cdpkit.features.permission import permit, usable
from cdpkit.features.population import (
    Population,
    alive,
    clock_at,
    instant,
    moment,
    snapshot_persons,
)
from cdpkit.features.scans import holds
from cdpkit.features.tree import (
    Tree,
    all_of,
    col,
    count,
    double,
    is_null,
    join,
    named,
    num,
    or_else,
    select,
    sub,
    table,
    when,
)
from cdpkit.schema import TABLES

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine

_LABELLED, _OUTCOME_NODES = "label_persons", "label_nodes"


def build(
    engine: Engine,
    definition: BehaviourDefinition,
    as_of: object,
    population: str | Population | None = None,
    *,
    watermark: object = None,
    consent: bool = True,
    consent_at: object = None,
    amounts: bool = False,
) -> pd.DataFrame:
    """Label the persons of a population at one date or several.

    Parameters
    ----------
    engine : Engine
    definition : BehaviourDefinition
        What is looked for, how much and how soon.
    as_of : timestamp or sequence of timestamps
    population : str or Population, optional
        By default the definition's own.
    watermark : timestamp, optional
        Everything that happened before it is in the data. By default `data_watermark`.
    consent, consent_at
        As in `FeatureSet.build`.
    amounts : bool
        Also return how much of the first behaviour each person showed, for a definition of value.

    Returns
    -------
    DataFrame
        ``person_id, as_of, y`` (0 or 1), ``amount`` where asked, and ``fold``: rows of one fold group stay
        together.

    Raises
    ------
    FeatureError
        When a window is not fully observed at the watermark, or a filter cannot be read.

    Examples
    --------
    >>> from cdpkit.definitions import HotProspectDefinition
    >>> from cdpkit.engine import DuckDBEngine
    >>> hot = HotProspectDefinition("purchase")
    >>> build(DuckDBEngine(), hot, "2026-01-01", watermark="2026-03-01").columns.tolist()
    ['person_id', 'as_of', 'y', 'fold']
    """
    import pandas as pd

    whom = Population.parse(definition.population if population is None else population)
    dates = _dates(as_of)
    _check_filters(definition)
    observed = data_watermark(engine, definition) if watermark is None else instant(watermark)
    _check_observed(definition, dates, observed)
    pieces = [_snapshot(engine, definition, date, whom, consent, consent_at, amounts) for date in dates]
    labels = pd.concat([piece for piece, _ in pieces], ignore_index=True)
    groups = _folds(pd.concat([edges for _, edges in pieces], ignore_index=True))
    labels["fold"] = labels["person_id"].map(groups).astype("str")
    return labels


def data_watermark(engine: Engine, definition: BehaviourDefinition) -> pd.Timestamp:
    """Return the midnight after the last fact of the definition's tables: files hold whole days."""
    import pandas as pd

    latest = []
    for name in dict.fromkeys(behaviour.table for behaviour in definition.behaviours):
        column = exp.Max(this=col("event_time"))
        last = engine.query(
            select([named(column, "last")], table(name)).sql(dialect=engine.dialect)
        ).to_pandas()
        if not pd.isna(last["last"].iloc[0]):
            latest.append(instant(last["last"].iloc[0]))
    if not latest:
        names = ", ".join(dict.fromkeys(b.table for b in definition.behaviours))
        raise NotEnoughDataError("labels must have outcomes to look at", got=f"no row in {names}")
    return instant(max(latest).floor("D") + pd.Timedelta(days=1))


def _dates(as_of: object) -> list[pd.Timestamp]:
    """Return one or several dates, in order."""
    given = [as_of] if isinstance(as_of, str) or not isinstance(as_of, Iterable) else list(as_of)
    if not given:
        raise FeatureError("`as_of` must hold at least one date", got="none")
    return sorted({instant(date) for date in given})


def _check_filters(definition: BehaviourDefinition) -> None:
    """Refuse a filter that is not one, before any query."""
    for behaviour in definition.behaviours:
        if behaviour.where is not None:
            predicate.check(behaviour.where, TABLES[behaviour.table])


def _check_observed(
    definition: BehaviourDefinition, dates: list[pd.Timestamp], watermark: pd.Timestamp
) -> None:
    """Refuse windows that end after the data do: an unseen outcome is not a missing one."""
    late = [date for date in dates if _window(definition, date)[1] > watermark]
    if late:
        _, end = _window(definition, late[-1])
        raise FeatureError(
            "label windows must be fully observed",
            got=f"{len(late)} of {len(dates)} ending after the data, "
            f"which stop at {watermark:%Y-%m-%d %H:%M}, the last at {end:%Y-%m-%d %H:%M}",
            do="Take an earlier date, or a shorter horizon",
        )


def _window(definition: BehaviourDefinition, date: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return start (included) and end (excluded) of the label window."""
    import pandas as pd

    start = date + pd.Timedelta(days=definition.gap_days)
    return instant(start), instant(start + pd.Timedelta(days=definition.horizon_days))


def outcome_records(
    engine: Engine,
    date: pd.Timestamp,
    population: str | Population,
    *,
    consent: bool = True,
    consent_at: object = None,
) -> pd.DataFrame:
    """Keep, for one date, the persons asked about and the records whose outcomes are theirs.

    Parameters
    ----------
    engine : Engine
        It then holds ``label_persons`` (``key, person_id, as_of``) and ``label_nodes`` (``person_id,
        node_id``: every record of the newest persons that hold one of the person's records).
    date : timestamp
    population : str or Population
    consent, consent_at
        As in `FeatureSet.build`.

    Returns
    -------
    DataFrame
        ``person_id, newest``: which newest persons hold each as-of person's records.
    """
    clock = clock_at(date, engine.dialect)
    allowed = permit(engine, date, also_at=consent_at) if consent else None
    engine.materialise(
        _LABELLED, snapshot_persons(Population.parse(population), clock, allowed).sql(dialect=engine.dialect)
    )
    held = alive(clock.now(), allowed.copy() if allowed is not None else None)
    same = exp.EQ(this=col("person_id", "a"), expression=col("person_id", "p"))
    newest = exp.EQ(this=col("node_id", "n"), expression=col("node_id", "a"))
    edges = select(
        [col("person_id", "p"), named(col("person_id", "n"), "newest")],
        table(_LABELLED, "p"),
        [join(sub(held, "a"), same), join(sub(_newest(), "n"), newest)],
        group=[col("person_id", "p"), col("person_id", "n")],
    )
    kept = engine.query(edges.sql(dialect=engine.dialect)).to_pandas()
    engine.materialise("label_edges", edges.sql(dialect=engine.dialect))
    nodes = select(
        [col("person_id", "e"), col("node_id", "n")],
        table("label_edges", "e"),
        [join(sub(_newest(), "n"), exp.EQ(this=col("newest", "e"), expression=col("person_id", "n")))],
        group=[col("person_id", "e"), col("node_id", "n")],
    )
    if consent:
        nodes = nodes.where(exp.In(this=col("node_id", "n"), query=exp.Subquery(this=usable(consent_at))))
    engine.materialise(_OUTCOME_NODES, nodes.sql(dialect=engine.dialect))
    return kept


def _snapshot(
    engine: Engine,
    definition: BehaviourDefinition,
    date: pd.Timestamp,
    whom: Population,
    consent: bool,
    consent_at: object,
    amounts: bool,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Label one date; also return which newest persons hold each as-of person's records."""
    kept = outcome_records(engine, date, whom, consent=consent, consent_at=consent_at)
    return engine.query(_labels(definition, date, amounts).sql(dialect=engine.dialect)).to_pandas(), kept


def _newest() -> Tree:
    """Return ``node_id, person_id`` as known now."""
    return select([col("node_id"), col("person_id")], table("membership"), where=is_null(col("known_to")))


def _labels(definition: BehaviourDefinition, date: pd.Timestamp, amounts: bool) -> Tree:
    """Return the query of the labels of one date."""
    joins, tests = [], []
    for index, behaviour in enumerate(definition.behaviours):
        alias = f"b{index}"
        right = exp.EQ(this=col("person_id", alias), expression=col("person_id", "p"))
        joins.append(join(sub(_met(behaviour, definition, date), alias), right, "LEFT"))
        tests.append(exp.GTE(this=or_else(col("n", alias), num(0)), expression=num(behaviour.at_least)))
    whole: Tree = tests[0]
    for test in tests[1:]:
        joined = exp.And if definition.match == "all" else exp.Or
        whole = joined(this=whole, expression=test)
    hit, miss = (num(0), num(1)) if getattr(definition, "absent", False) else (num(1), num(0))
    y = exp.cast(when(whole, hit, miss), exp.DataType.Type.BIGINT)
    columns = [col("person_id", "p"), col("as_of", "p"), named(y, "y")]
    if amounts:
        columns.append(named(double(or_else(col("n", "b0"), num(0))), "amount"))
    return select(columns, table(_LABELLED, "p"), joins, order=[col("person_id", "p")])


def _met(behaviour: Behaviour, definition: BehaviourDefinition, date: pd.Timestamp) -> Tree:
    """Return how much of one behaviour each as-of person showed in the window."""
    start, end = _window(definition, date)
    where = all_of(
        [
            exp.GTE(this=col(behaviour.at or "event_time", "f"), expression=moment(start)),
            exp.LT(this=col(behaviour.at or "event_time", "f"), expression=moment(end)),
            holds(behaviour.where, lambda: moment(end)),
        ]
    )
    much: Tree = count() if behaviour.total is None else exp.Sum(this=col(behaviour.total, "f"))
    same = exp.EQ(this=col("node_id", "f"), expression=col("node_id", "o"))
    return select(
        [col("person_id", "o"), named(much, "n")],
        table(behaviour.table, "f"),
        [join(table(_OUTCOME_NODES, "o"), same)],
        where,
        [col("person_id", "o")],
    )


def _folds(edges: pd.DataFrame) -> pd.Series:
    """Return the fold group of each as-of person: components of persons and newest persons."""
    import numpy as np
    import pandas as pd
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    persons, left = np.unique(edges["person_id"].to_numpy(dtype=object), return_inverse=True)
    newest, right = np.unique(edges["newest"].to_numpy(dtype=object), return_inverse=True)
    size = len(persons) + len(newest)
    graph = coo_matrix((np.ones(len(edges)), (left, right + len(persons))), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    names = pd.Series(newest, dtype="str").groupby(component[len(persons) :]).min()
    return pd.Series(names.reindex(component[: len(persons)]).to_numpy(), index=persons, dtype="str")
