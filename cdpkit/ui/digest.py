"""What several notebooks reported, as one page needs it: rows by model and name, small groups hidden."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cdpkit.ui.privacy import K, suppress

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: Changes when a payload of before can no longer be drawn.
FORMAT = 2

Row = dict[str, Any]
Rows = list[Row]
Guard = Callable[[Rows, int], Rows]


def parts(count: str, by: str | None = None) -> Guard:
    """Guard rows that share out a whole: under `k` people a row keeps its words, not its figures.

    Parameters
    ----------
    count : str
        Column with the people of a row.
    by : str, optional
        Column that names the whole a row is part of; one whole when absent.

    Examples
    --------
    >>> parts("n")([{"name": "a", "n": 60, "share": 0.6}, {"name": "b", "n": 7, "share": 0.1},
    ...             {"name": "c", "n": 33, "share": 0.3}], 20)[1:]
    [{'name': 'b', 'n': None, 'share': None}, {'name': 'c', 'n': None, 'share': None}]
    """

    def guard(rows: Rows, k: int) -> Rows:
        safe = [dict(row) for row in rows]
        for whole in dict.fromkeys(row[by] if by else None for row in rows):
            inside = [row for row in safe if by is None or row[by] == whole]
            shown = suppress([row[count] for row in inside], k)
            for row in (row for row, n in zip(inside, shown, strict=True) if n is None):
                row |= {key: None for key, value in row.items() if _figure(value)}
        return safe

    return guard


def alone(count: str) -> Guard:
    """Guard counts that share out nothing: each is hidden by itself when it is under `k`.

    Examples
    --------
    >>> alone("n")([{"reason": "capped", "n": 3}, {"reason": "suspended", "n": 0}], 20)
    [{'reason': 'capped', 'n': None}, {'reason': 'suspended', 'n': 0}]
    """

    def guard(rows: Rows, k: int) -> Rows:
        return [{**row, count: row[count] if row[count] == 0 or row[count] >= k else None} for row in rows]

    return guard


def least(count: str) -> Guard:
    """Guard rows that each rest on people of their own: those of fewer than `k` are left out.

    Examples
    --------
    >>> least("n")([{"term": "tent", "n": 40}, {"term": "a name", "n": 2}, {"term": "rest", "n": None}], 20)
    [{'term': 'tent', 'n': 40}]
    """
    return lambda rows, k: [row for row in rows if (row[count] or 0) >= k]


def steps(count: str, by: str | None = None) -> Guard:
    """Guard counts that include one another: a step is left out where few people lie between two.

    Examples
    --------
    >>> [row["n"] for row in steps("n")([{"n": 500}, {"n": 495}, {"n": 300}, {"n": 300}, {"n": 4}], 20)]
    [500, 300, 300]
    """

    def guard(rows: Rows, k: int) -> Rows:
        kept: Rows = []
        last: dict[Any, int] = {}
        for row in rows:
            whole, n = row[by] if by else None, row[count]
            apart = abs(n - last.get(whole, 0))
            if (n == 0 or n >= k) and (apart == 0 or apart >= k):
                kept.append(row)
                last[whole] = n
        return kept

    return guard


def nested(*counts: str) -> Guard:
    """Guard rows whose counts include one another: a row says nothing where few lie between two.

    Examples
    --------
    >>> nested("n", "reachable")([{"channel": "sms", "n": 60, "reachable": 55}], 20)
    [{'channel': 'sms', 'n': None, 'reachable': None}]
    """

    def guard(rows: Rows, k: int) -> Rows:
        safe = []
        for row in rows:
            levels = [*sorted((row[count] for count in counts), reverse=True), 0]
            gaps = [high - low for high, low in itertools.pairwise(levels)]
            hide = any(0 < gap < k for gap in gaps)
            safe.append({key: None if hide and _figure(value) else value for key, value in row.items()})
        return safe

    return guard


def gather(
    engine: Engine, page: str, wanted: Mapping[str, Mapping[str, Guard | None]], *, k: int = K
) -> dict[str, Any] | None:
    """Return the payload of a page made of reports, or None where nothing of it was reported.

    Parameters
    ----------
    engine : Engine
        Sees ``reports``.
    page : str
        Name of the page.
    wanted : mapping of str to mapping
        Model to the names of its frames, each with the guard of its counts; None where it counts nobody.
        ``*`` takes every frame of the model.
    k : int, default 20
        Smallest group shown.

    Returns
    -------
    dict or None
        ``page, format, k, models``; a model has ``data_up_to``, ``version``, ``described`` and ``frames``,
        rows by name. Frames that nobody asked for stay in the lake.
    """
    from cdpkit.ui.reports import latest

    models: dict[str, Any] = {}
    for model, guards in wanted.items():
        report = latest(engine, model)
        if report.as_of is None:
            continue
        frames: dict[str, Rows] = {}
        for name, frame in report.frames.items():
            guard = guards.get(name, guards.get("*"))
            if name not in guards and "*" not in guards:
                continue
            rows = json.loads(frame.to_json(orient="records", date_format="iso"))
            frames[name] = guard(rows, k) if guard and rows else rows
        day = (report.as_of - report.as_of.resolution).date()
        models[model] = {
            "data_up_to": str(day),
            "version": report.version,
            "described": report.content("described"),
            "frames": frames,
        }
    return {"page": page, "format": FORMAT, "k": k, "models": models} if models else None


def rows(payload: Mapping[str, Any] | None, model: str, name: str) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a frame; none before the notebook that reports it ran.

    Examples
    --------
    >>> rows(None, "churn", "tiers")
    []
    """
    if payload is None or not current(payload):
        return []
    return payload.get("models", {}).get(model, {}).get("frames", {}).get(name, [])


def current(payload: Mapping[str, Any] | None) -> bool:
    """Tell whether a payload is there and of the present format."""
    return payload is not None and payload["format"] == FORMAT


def _figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
