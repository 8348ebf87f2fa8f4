"""Shares of the achievable gain, gathered: how far each capability goes from its rule towards the best."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

#: Columns of a report of shares.
COLUMNS = ("capability", "metric", "rule", "model", "best", "share", "low", "high", "bar", "worlds", "reason")


def share_report(rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    """Return shares as a report any page or table can read: one row a capability.

    Parameters
    ----------
    rows : iterable of dict
        What is known of each: ``capability`` and ``metric``; the figures ``rule, model, best`` (in the
        metric's own unit); ``share`` with ``low, high`` (95 %); the ``bar`` it is held to; ``worlds``; and
        ``reason``, why there is no share. A share that is not given is worked out from the three figures.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, NaN where not known; the largest shares first, those without one last.

    Examples
    --------
    >>> told = share_report([{"capability": "lookalike", "rule": 0.3, "model": 0.4, "best": 0.5}])
    >>> told[["capability", "share"]].round(2).values.tolist()
    [['lookalike', 0.5]]
    """
    table = pd.DataFrame(list(rows)).reindex(columns=list(COLUMNS))
    numbers = ["rule", "model", "best", "share", "low", "high", "bar", "worlds"]
    table[numbers] = table[numbers].astype(float)
    possible = table["best"] - table["rule"]
    made = (table["model"] - table["rule"]) / possible.where(possible != 0)
    table["share"] = table["share"].fillna(made.where(table["reason"].isna()))
    for name in ("metric", "reason"):
        table[name] = table[name].astype("object").fillna("").astype("str")
    return table.sort_values(
        ["share", "capability"], ascending=[False, True], na_position="last"
    ).reset_index(drop=True)
