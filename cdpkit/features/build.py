"""Feature sets: a name, declarations, and one build for snapshots and for dates by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from cdpkit.errors import FeatureError
from cdpkit.features.built import Built, in_order
from cdpkit.features.compile import Compiled, compile_outputs
from cdpkit.features.declarations import Declaration, Output
from cdpkit.features.permission import permit, refuse_sensitive
from cdpkit.features.population import (
    Population,
    clock_at,
    instant,
    row_members,
    snapshot_members,
    snapshot_persons,
)
from cdpkit.features.scans import MEMBERS, PERSONS, Clock
from cdpkit.features.tree import col, select, table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from cdpkit.engine import Engine

_ROWS = "feature_rows"


@dataclass(frozen=True)
class FeatureSet:
    """Features declared together, computed together.

    Parameters
    ----------
    name : str
        Name of the set: its lake table is ``features_<name>``.
    features : sequence of Declaration
    entity : str
        Always ``"person_id"``.

    Raises
    ------
    FeatureError
        When two features have one name.

    Examples
    --------
    >>> from cdpkit.features import Count
    >>> FeatureSet("engagement", features=[Count("events", windows=[7, 30])]).names
    ['engagement__n_events__7d', 'engagement__n_events__30d']
    """

    name: str
    features: Sequence[Declaration]
    entity: str = "person_id"

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        if self.entity != "person_id":
            raise FeatureError("`entity` must be 'person_id'", got=self.entity)
        if not self.name.isidentifier():
            raise FeatureError("`name` must be a plain identifier", got=self.name)
        outputs = [output for feature in self.features for output in feature.expand(self.name)]
        repeated = sorted(name for name, n in Counter(o.name for o in outputs).items() if n > 1)
        if repeated:
            raise FeatureError("feature names must be unique", got=", ".join(repeated), do="Give a `name`")
        object.__setattr__(self, "outputs", tuple(outputs))

    outputs: tuple[Output, ...] = ()

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [output.name for output in self.outputs]

    @property
    def families(self) -> list[str]:
        """Families in order of first appearance."""
        return list(dict.fromkeys(output.family for output in self.outputs))

    def __add__(self, other: FeatureSet) -> FeatureSet:
        """Return both sets under the first name."""
        return FeatureSet(self.name, (*self.features, *other.features))

    def __getitem__(self, name: str) -> Output:
        """Return one output by its column name."""
        for output in self.outputs:
            if output.name == name:
                return output
        raise FeatureError(f"feature must be one of the set {self.name!r}", got=name)

    def dictionary(self, language: str = "en") -> pd.DataFrame:
        """Return one row a feature: name, family, window, unit, fill, dtype, data type and meaning."""
        import pandas as pd

        return pd.DataFrame(
            [
                (
                    o.name,
                    o.family,
                    o.table,
                    o.window,
                    o.unit,
                    str(o.fill),
                    o.dtype,
                    o.tag,
                    getattr(o, language),
                )
                for o in self.outputs
            ],
            columns=["feature", "family", "table", "window", "unit", "fill", "dtype", "data_type", "meaning"],
        ).astype({"window": "Int64"})

    def compile(self, as_of: object = "2026-01-01", dialect: str = "duckdb") -> Compiled:
        """Compile for a snapshot, without an engine."""
        return compile_outputs(self.outputs, clock_at(as_of, dialect))

    def explain(self, as_of: object = "2026-01-01", dialect: str = "duckdb") -> str:
        """Return the plan, one line a scan, and the SQL.

        Examples
        --------
        >>> from cdpkit.features import Count
        >>> print(FeatureSet("web", [Count("events", windows=[7])]).explain().splitlines()[0])
        s0: events, rows, 7 days: 1 aggregate
        """
        compiled = self.compile(as_of, dialect)
        lines = []
        for scan in compiled.scans:
            reach = "all history" if scan.lookback is None else f"{scan.lookback} days"
            inner = f" by {scan.group}" if scan.group else ""
            number = f"{len(scan.parts)} aggregate{'s' if len(scan.parts) > 1 else ''}"
            only = f" where {scan.where}" if scan.where else ""
            lines.append(f"{scan.name}: {scan.table}, {scan.level}{inner}, {reach}: {number}{only}")
        return "\n".join([*lines, "", compiled.pretty()])

    def build(
        self,
        engine: Engine,
        as_of: object = None,
        *,
        at: pd.DataFrame | None = None,
        population: str | Population = "all",
        consent: bool = True,
        consent_at: object = None,
    ) -> Built:
        """Compute the features of persons at a date, at several, or at a date by row.

        Only rows with ``event_time < t`` and ``known_at < t`` are seen, under the persons as known
        strictly before `t`, and windows are `[t - w, t)`.

        Parameters
        ----------
        engine : Engine
        as_of : timestamp or sequence of timestamps
            Snapshots: everybody in `population`, one row a person and date.
        at : DataFrame
            ``person_id, ts``: one row out for each row in, in the same order. A person unknown or not
            permitted then has only missing values.
        population : str or Population
            Who is in a snapshot; computed at the same date.
        consent : bool
            Use only records whose owner permits profiling at the date.
        consent_at : timestamp, optional
            Also require permission at this later date: who objected since is left out.

        Returns
        -------
        Built

        Raises
        ------
        FeatureError
            When not exactly one of `as_of` and `at` is given.
        """
        if (as_of is None) == (at is None):
            raise FeatureError(
                "build must get one of `as_of` and `at`", got="both" if at is not None else "neither"
            )
        refuse_sensitive(engine, [output.trait for output in self.outputs if output.trait])
        if at is not None:
            if Population.parse(population) != Population.all():
                raise FeatureError("`population` must be left out with `at`", got=str(population))
            return Built(self, self._build_rows(engine, at, consent, consent_at))
        whom = Population.parse(population)
        dates = sorted({instant(date) for date in _listed(as_of)})
        tables = [self._build_snapshot(engine, date, whom, consent, consent_at) for date in dates]
        return Built(self, tables)

    def _build_snapshot(
        self, engine: Engine, date: pd.Timestamp, whom: Population, consent: bool, consent_at: object
    ) -> pa.Table:
        return self._run(engine, _find(engine, date, whom, consent, consent_at))

    def keep(
        self,
        engine: Engine,
        name: str,
        as_of: object,
        *,
        population: str | Population = "all",
        consent: bool = True,
        consent_at: object = None,
    ) -> None:
        """Compute snapshots into a table of the engine, for rows that must not pass through this process.

        Parameters
        ----------
        engine : Engine
        name : str
            Name of the table: ``person_id, as_of`` and one column a feature.
        as_of, population, consent, consent_at
            As in `build`.

        Examples
        --------
        >>> from cdpkit.engine import DuckDBEngine
        >>> from cdpkit.features import Count
        >>> engine = DuckDBEngine()
        >>> FeatureSet("web", [Count("events", windows=[7])]).keep(engine, "rows_to_learn", "2026-01-01")
        >>> engine.query("SELECT * FROM rows_to_learn").to_pandas().columns.tolist()
        ['person_id', 'as_of', 'web__n_events__7d']
        """
        whom = Population.parse(population)
        pieces = []
        columns = ("person_id", "as_of", *self.names)
        for number, date in enumerate(sorted({instant(date) for date in _listed(as_of)})):
            clock = _find(engine, date, whom, consent, consent_at)
            engine.materialise(f"{name}_{number}", compile_outputs(self.outputs, clock).sql)
            pieces.append(select([col(c, "r") for c in columns], table(f"{name}_{number}", "r")))
        whole: exp.Expression = pieces[0]
        for piece in pieces[1:]:
            whole = exp.Union(this=whole, expression=piece, distinct=False)
        engine.materialise(name, _text(whole, engine))

    def _build_rows(
        self, engine: Engine, at: pd.DataFrame, consent: bool, consent_at: object
    ) -> list[pa.Table]:
        import numpy as np
        import pandas as pd

        missing = {"person_id", "ts"} - set(at.columns)
        if missing:
            raise FeatureError(
                "`at` must have columns person_id and ts", got=f"no {', '.join(sorted(missing))}"
            )
        if at.empty:
            raise FeatureError("`at` must have rows", got="none")
        dates = pd.to_datetime(at["ts"])
        dates = (dates.dt.tz_convert(None) if dates.dt.tz is not None else dates).astype("datetime64[us]")
        if dates.isna().any() or at["person_id"].isna().any():
            raise FeatureError("`at` must not have missing persons or dates", got="missing values")
        rows = pd.DataFrame(
            {
                "key": np.arange(1, len(at) + 1),
                "person_id": at["person_id"].astype("str").to_numpy(),
                "as_of": dates.to_numpy(),
            }
        )
        engine.register(_ROWS, rows)
        allowed = permit(engine, None, rows=_ROWS, also_at=consent_at) if consent else None
        engine.materialise(MEMBERS, _text(row_members(_ROWS, allowed), engine))
        engine.materialise(
            PERSONS,
            f"SELECT key, person_id, as_of, key IN (SELECT key FROM {MEMBERS}) AS is_known FROM {_ROWS}",
        )
        bounds = [
            instant(date).isoformat(sep=" ", timespec="microseconds") for date in (dates.min(), dates.max())
        ]
        return [self._run(engine, Clock(bounds[0], bounds[1], per_row=True, dialect=engine.dialect))]

    def _run(self, engine: Engine, clock: Clock) -> pa.Table:
        """Compute the outputs on the persons and members in place, rows in the order of the keys.

        One statement a table read: joined all together, dozens of scans make rows of hundreds of columns
        that the engine copies at each join. Sorting them costs more inside the engine than taking the rows in
        order here.
        """
        by_table: dict[str, list[Output]] = {}
        for output in self.outputs:
            by_table.setdefault(output.table, []).append(output)
        keys: pa.Table | None = None
        columns: dict[str, pa.ChunkedArray] = {}
        for outputs in by_table.values() or [[]]:
            piece = in_order(engine.query(compile_outputs(outputs, clock).sql).to_arrow())
            keys = piece.select(["person_id", "as_of"]) if keys is None else keys
            columns |= {name: piece[name] for name in piece.column_names[2:]}
        assert keys is not None
        for name in self.names:
            keys = keys.append_column(name, columns.pop(name))
        return keys


def _find(engine: Engine, date: pd.Timestamp, whom: Population, consent: bool, consent_at: object) -> Clock:
    """Put the persons of a date and their records in place; return its clock."""
    clock = clock_at(date, engine.dialect)
    allowed = permit(engine, date, also_at=consent_at) if consent else None
    engine.materialise(PERSONS, _text(snapshot_persons(whom, clock, allowed), engine))
    engine.materialise(MEMBERS, _text(snapshot_members(PERSONS, clock, allowed), engine))
    return clock


def _listed(dates: object) -> Iterable[object]:
    """Return one or several dates as several."""
    if isinstance(dates, str) or not isinstance(dates, Iterable):
        return [dates]
    listed = list(dates)
    if not listed:
        raise FeatureError("`as_of` must hold at least one date", got="none")
    return listed


def _text(tree: exp.Expression, engine: Engine) -> str:
    return tree.sql(dialect=engine.dialect)


def monthly(start: str, n: int) -> list[pd.Timestamp]:
    """Return the first instant of `n` months.

    Examples
    --------
    >>> [str(date.date()) for date in monthly("2025-11", 3)]
    ['2025-11-01', '2025-12-01', '2026-01-01']
    """
    import pandas as pd

    return [instant(date) for date in pd.date_range(start=f"{start}-01", periods=n, freq="MS")]
