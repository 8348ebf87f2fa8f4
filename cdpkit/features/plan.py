"""What must be computed, and in how many scans: parts, levels and look-back classes.

A feature is a formula over *parts*; a part is one aggregate of one table at one level. Parts that can
share a scan do: one scan for each (table, level, look-back class). The classes are chosen by cost, as
the sum over scans of rows read times work per row: a 7-day count inside an all-history scan pays for
every row of the history, and a scan of its own pays the reading twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

#: Cost of reading a row and finding its person, in aggregates of that row (measured, flat optimum).
ROW_COST = {"rows": 6.0, "values": 20.0, "sessions": 20.0, "gaps": 30.0, "purchases": 60.0}

#: Cost of one more scan whatever its length: its result is joined to the persons.
SCAN_COST = 300.0

#: Days an unlimited look-back is worth when classes are chosen.
HISTORY_DAYS = 1095


@dataclass(frozen=True)
class Part:
    """One aggregate over the rows of a table that are visible at the date.

    Parameters
    ----------
    table : str
    op : str
        ``rows``: count, sum, micro (sum of a float in millionths), min, max, filled, last and first (a row),
        latest and earliest (a text of a list), reached (place in a list), decay, says (rows of free text).
        Other levels: aggregates over inner groups, see `scans` and `purchases`.
    column : str, optional
    where : str, optional
        Canonical filter (see `predicate`).
    window : int, optional
        Days before the date; None for all history.
    level : str
        ``rows``, ``values``, ``sessions``, ``gaps`` or ``purchases``.
    group : str, optional
        Column of the inner groups at level ``values``; minutes of silence at level ``sessions``.
    having : str, optional
        Filter over session facts; key of a JSON column for ``latest`` and ``earliest``.
    values : tuple of str
        What the operation needs: a list of values, the days of a decay, a signal.
    """

    table: str
    op: str
    column: str | None = None
    where: str | None = None
    window: int | None = None
    level: str = "rows"
    group: str | None = None
    having: str | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan:
    """One pass over a table: its look-back class and the parts it answers."""

    name: str
    table: str
    level: str
    group: str | None
    where: str | None
    lookback: int | None
    parts: tuple[Part, ...]
    columns: dict[Part, str] = field(compare=False, hash=False, default_factory=dict)


def classes(demand: dict[int | None, int], row_cost: float) -> dict[int | None, int | None]:
    """Choose the look-back classes: each window to the look-back of the scan that serves it.

    Parameters
    ----------
    demand : dict
        Number of aggregates wanted for each window in days (None: all history).
    row_cost : float
        Cost of reading one row, in aggregates.

    Examples
    --------
    >>> classes({7: 1, 30: 10, 90: 20, None: 3}, row_cost=6)
    {7: 30, 30: 30, 90: 90, None: None}
    """
    windows = sorted(demand, key=_days)
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    for end in range(1, len(windows) + 1):
        options = []
        for start in range(end):
            wanted = sum(demand[window] for window in windows[start:end])
            cost = best[start][0] + SCAN_COST + _days(windows[end - 1]) * (row_cost + wanted)
            options.append((cost, [*best[start][1], end]))
        best.append(min(options, key=lambda option: (option[0], len(option[1]))))
    chosen: dict[int | None, int | None] = {}
    start = 0
    for end in best[-1][1]:
        chosen.update(dict.fromkeys(windows[start:end], windows[end - 1]))
        start = end
    return chosen


def plan(parts: Iterable[Part]) -> list[Scan]:
    """Group parts into scans.

    Row aggregates of one table share scans by look-back class. Aggregates over inner groups also keep
    their filter to themselves, so that it limits the rows grouped.
    """
    families: dict[tuple, list[Part]] = {}
    for part in dict.fromkeys(parts):
        own = None if part.level == "rows" else part.where
        families.setdefault((part.table, part.level, part.group, own), []).append(part)
    scans: list[Scan] = []
    for (table, level, group, where), members in families.items():
        demand: dict[int | None, int] = {}
        for part in members:
            demand[part.window] = demand.get(part.window, 0) + 1
        serving = classes(demand, ROW_COST[level])
        for lookback in sorted(set(serving.values()), key=_days):
            served = tuple(part for part in members if serving[part.window] == lookback)
            name = f"s{len(scans)}"
            columns = {part: f"{name}_{index}" for index, part in enumerate(served)}
            shared = _common_filter(served) if level == "rows" else where
            scans.append(Scan(name, table, level, group, shared, lookback, served, columns))
    return scans


def _common_filter(parts: Sequence[Part]) -> str | None:
    """Return the filter all parts share, to be applied to the scan itself."""
    filters = {part.where for part in parts}
    return filters.pop() if len(filters) == 1 else None


def _days(window: int | None) -> int:
    """Return a window's length for the cost, all history being the longest."""
    return HISTORY_DAYS if window is None else min(window, HISTORY_DAYS)
