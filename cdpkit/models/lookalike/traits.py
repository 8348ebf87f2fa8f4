"""What sets the seeds apart from everybody, column by column, in words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.models.frame import Columns
from cdpkit.models.reasons import family

#: From a column to how a marketer calls it, in a language.
Name = Callable[[str, str], str]

_NUMBER = {
    "fr": "{name} : {seeds} en général chez eux, {population} dans la population",
    "en": "{name}: typically {seeds} among them, {population} in the population",
}
_LEVEL = {
    "fr": "{name} = {level} : {seeds} d'entre eux, {population} de la population",
    "en": "{name} = {level}: {seeds} of them, {population} of the population",
}


def traits(columns: Columns, matrix: NDArray[np.float32], is_seed: NDArray[np.bool_]) -> pd.DataFrame:
    """Compare seeds with everybody, strongest difference first.

    Parameters
    ----------
    columns, matrix
        The encoded people.
    is_seed : ndarray of bool

    Returns
    -------
    DataFrame
        ``column, level`` (empty for a number), ``seeds, population`` (median, or share of the level),
        ``strength`` (how often a seed is above a person of the population, less how often below, -1 to 1;
        for a level, the difference of shares over its standard deviation, within the same bounds) and
        ``z`` (strength in standard errors). One row a column: a category speaks by its strongest level.

    Examples
    --------
    >>> x = np.arange(100, dtype=np.float32)[:, None]
    >>> table = traits(Columns(("visits",), {}), x, x[:, 0] >= 80)
    >>> table[["column", "seeds", "population", "strength"]].values.tolist()
    [['visits', 89.5, 49.5, 0.8]]
    """
    rows = []
    for j, name in enumerate(columns.names):
        value = matrix[:, j].astype(float)
        seen = ~np.isnan(value)
        ours, everybody = value[is_seed & seen], value[seen]
        if not len(ours):
            continue
        if name in columns.categories:
            rows += _levels(columns, name, value, is_seed)
            continue
        ordered = np.sort(everybody)
        above = np.searchsorted(ordered, ours, "left") + np.searchsorted(ordered, ours, "right")
        strength = float((above / len(ordered)).mean() - 1)
        # Under no difference a rank is even on 0 to 1: its standard deviation is 1 / sqrt(12).
        z = strength * np.sqrt(3 * len(ours))
        rows.append((name, "", float(np.median(ours)), float(np.median(everybody)), round(strength, 12), z))
    table = pd.DataFrame(rows, columns=["column", "level", "seeds", "population", "strength", "z"])
    table = table.assign(size=table["z"].abs()).sort_values(["size", "column"], ascending=[False, True])
    return table.drop_duplicates("column").drop(columns="size").reset_index(drop=True)


def _levels(
    columns: Columns, name: str, value: NDArray[np.float64], is_seed: NDArray[np.bool_]
) -> list[tuple[str, str, float, float, float, float]]:
    rows = []
    for code, level in enumerate(columns.categories[name]):
        here = value == code
        share, everybody = float(here[is_seed].mean()), float(here.mean())
        spread = np.sqrt(everybody * (1 - everybody))
        if spread > 0:
            strength = float(np.clip((share - everybody) / spread, -1, 1))
            z = (share - everybody) / spread * np.sqrt(is_seed.sum())
            rows.append((name, level, share, everybody, strength, float(z)))
    return rows


def words(table: pd.DataFrame, language: str, name: Name | None = None, most: int = 5) -> list[str]:
    """Say the strongest traits that chance does not explain, at most one a family of columns.

    Parameters
    ----------
    table : DataFrame
        As given by `traits`.
    language : {"fr", "en"}
    name : callable, optional
        From a column and a language to words, as the feature catalogue gives; the column by default.
    most : int
        Traits told.

    Examples
    --------
    >>> table = pd.DataFrame({"column": ["city"], "level": ["Lyon"], "seeds": [0.5], "population": [0.1],
    ...                       "strength": [1.0], "z": [9.0]})
    >>> words(table, "en"), words(table, "fr")
    (['city = Lyon: 50% of them, 10% of the population'],
     ["city = Lyon : 50 % d'entre eux, 10 % de la population"])
    """
    from cdpkit.phrases import write

    told, families = [], set()
    # Two-sided 1 % over all columns looked at (Bonferroni, by the normal tail's usual points).
    limit = 2.6 + 0.25 * np.log(max(len(table), 1))
    for row in table.itertuples(index=False):
        column, level, z = str(row.column), str(row.level), abs(float(row.z))  # type: ignore[arg-type]
        if z < limit or family(column) in families:
            continue
        families.add(family(column))
        unit, frame = ("share", _LEVEL) if level else ("ratio", _NUMBER)
        said = name(column, language) if name else column
        numbers = {k: write(getattr(row, k), language, unit) for k in ("seeds", "population")}
        told.append(frame[language].format(name=said, level=level, **numbers).replace("\u202f", " "))
        if len(told) == most:
            break
    return told
