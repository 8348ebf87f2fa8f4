"""The figures of the business, each defined once in `metrics.yml`: the same in notebook, table and page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from cdpkit.errors import CdpkitError

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine

Text = dict[str, str]

#: The tree of the figures, from what one does to what it is worth.
BRANCHES = ("engagement", "satisfaction", "loyalty", "value")


@dataclass(frozen=True)
class Metric:
    """One figure.

    Attributes
    ----------
    id, branch, unit : str
        Its name, its place in the tree (one of `BRANCHES`), and how it is written (see `cdpkit.phrases`).
    name, meaning : Text
        Words in each language.
    sql : str
        Its definition; empty for a ratio of two others.
    of : tuple of str
        Numerator and denominator of a ratio.
    parent : str
        The figure it serves; empty for the primary one.
    primary : bool
        Whether it is the one that leads.
    """

    id: str
    branch: str
    unit: str
    name: Text
    meaning: Text
    sql: str = ""
    of: tuple[str, ...] = ()
    parent: str = ""
    primary: bool = False


@cache
def metrics() -> dict[str, Metric]:
    """Return every figure by its name.

    Examples
    --------
    >>> [metric.id for metric in metrics().values() if metric.primary]
    ['lifetime_value']
    """
    import yaml

    text = files("cdpkit").joinpath("metrics.yml").read_text(encoding="utf-8")
    return {
        name: Metric(id=name, **{**about, "of": tuple(about.get("of", ()))})
        for name, about in yaml.safe_load(text).items()
    }


def compute(
    engine: Engine,
    as_of: pd.Timestamp | str,
    names: Iterable[str] | None = None,
    *,
    audience: str | None = None,
) -> pd.DataFrame:
    """Compute figures as of a date, for everybody or for an audience.

    Parameters
    ----------
    engine : Engine
        Sees the lake.
    as_of : Timestamp
        Only facts before it count.
    names : iterable of str, optional
        Which figures; all by default.
    audience : str, optional
        Restrict to the persons kept by the latest build of this audience.

    Returns
    -------
    DataFrame
        ``metric, value, n, currency``: one row a figure, one more for each further currency. Money is in
        minor units. What cannot be said has no row.

    Raises
    ------
    CdpkitError
        When a figure does not exist.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> compute(DuckDBEngine(), "2026-07-01").empty
    True
    """
    import pandas as pd

    known = metrics()
    wanted = list(known if names is None else names)
    for name in wanted:
        if name not in known:
            raise CdpkitError("a figure must be defined in metrics.yml", name, f"One of {', '.join(known)}")
    parts = [part for name in wanted for part in known[name].of]
    asked = [name for name in dict.fromkeys([*wanted, *parts]) if known[name].sql]
    found = [_one(engine, known[name], pd.Timestamp(as_of), audience) for name in asked]
    frame = pd.concat([*found, _nothing()], ignore_index=True)
    ratios = [_ratio(known[name], frame) for name in wanted if known[name].of]
    frame = pd.concat([frame, *ratios], ignore_index=True)
    frame = frame[frame["metric"].isin(wanted)]
    order = pd.Series(range(len(wanted)), index=wanted)
    return frame.sort_values("metric", key=lambda m: m.map(order), kind="stable").reset_index(drop=True)


def by_audience(engine: Engine, as_of: pd.Timestamp | str, names: Iterable[str]) -> pd.DataFrame:
    """Compute figures for each stored audience, over the persons its latest build keeps.

    Parameters
    ----------
    engine : Engine
        Sees the lake.
    as_of : Timestamp
        Only facts, and audiences, before it count.
    names : iterable of str
        Which figures.

    Returns
    -------
    DataFrame
        ``audience, people, metric, value, n, currency``: as `compute`, audience by audience.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> by_audience(DuckDBEngine(), "2026-07-01", ["lifetime_value"]).empty
    True
    """
    import pandas as pd

    wanted = list(names)
    sizes = answer(
        engine,
        "SELECT audience, count(*) AS people FROM audiences AS a WHERE included AND as_of = ("
        "SELECT max(as_of) FROM audiences AS b WHERE b.audience = a.audience AND b.as_of <= :as_of) "
        "GROUP BY audience ORDER BY audience",
        pd.Timestamp(as_of),
    )
    found = [
        compute(engine, as_of, wanted, audience=str(name)).assign(audience=str(name), people=int(people))
        for name, people in zip(sizes["audience"], sizes["people"], strict=True)
    ]
    empty = _nothing().assign(audience=pd.Series(dtype="str"), people=pd.Series(dtype="int64"))
    columns = ["audience", "people", "metric", "value", "n", "currency"]
    return pd.concat([empty, *found], ignore_index=True)[columns]


def answer(engine: Engine, sql: str, as_of: pd.Timestamp) -> pd.DataFrame:
    """Answer a declared query at a date: ``:as_of`` stands for it.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> import pandas as pd
    >>> answer(DuckDBEngine(), "SELECT 1 AS value WHERE :as_of > TIMESTAMP '2026-01-01'",
    ...        pd.Timestamp("2026-07-01")).to_numpy().tolist()
    [[1]]
    """
    import sqlglot
    from sqlglot import exp

    moment = exp.cast(exp.Literal.string(as_of.isoformat(sep=" ")), "TIMESTAMP")
    query = sqlglot.parse_one(sql, read="duckdb").transform(
        lambda node: moment.copy() if isinstance(node, exp.Placeholder) and node.name == "as_of" else node
    )
    return engine.query(query).to_pandas()


def _one(engine: Engine, metric: Metric, as_of: pd.Timestamp, audience: str | None) -> pd.DataFrame:
    """Return the rows of one figure."""
    rows = answer(engine, _over(metric.sql, audience), as_of)
    rows = rows.assign(metric=metric.id, currency=rows.get("currency"))
    rows = rows[rows["value"].notna() & (rows["n"] > 0)]
    return rows[["metric", "value", "n", "currency"]].astype(
        {"metric": "str", "value": "float64", "n": "int64", "currency": "object"}
    )


def _over(sql: str, audience: str | None) -> str:
    """Put the population before a definition: everybody, or who an audience keeps."""
    if audience is None:
        whom = "SELECT person_id FROM persons WHERE known_at < :as_of"
    else:
        from sqlglot import exp

        name = exp.Literal.string(audience).sql(dialect="duckdb")
        whom = (
            f"SELECT person_id FROM audiences WHERE audience = {name} AND included AND as_of = "
            f"(SELECT max(as_of) FROM audiences WHERE audience = {name} AND as_of <= :as_of)"
        )
    base = (
        f"WITH population AS ({whom}), member AS (SELECT node_id, person_id FROM membership "
        "JOIN population USING (person_id) WHERE known_to IS NULL)"
    )
    own = re.match(r"\s*WITH\s", sql)
    return f"{base}, {sql[own.end() :]}" if own else f"{base} {sql}"


def _ratio(metric: Metric, frame: pd.DataFrame) -> pd.DataFrame:
    """Divide one figure by another of the same currency."""
    import pandas as pd

    above, below = (frame[frame["metric"] == part] for part in metric.of)
    both = above.merge(below[below["value"] != 0], on="currency", suffixes=("", "_below"))
    if both.empty:
        return _nothing()
    rows = pd.DataFrame({"metric": metric.id, "value": both["value"] / both["value_below"], "n": both["n"]})
    return rows.assign(currency=None)


def _nothing() -> pd.DataFrame:
    """Return no row."""
    import pandas as pd

    columns = {"metric": "str", "value": "float64", "n": "int64", "currency": "object"}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
