"""How early an alert comes: of those who left, who had been flagged within the budget, and when."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cdpkit.evaluate.intervals import wilson


def lead_times(alerts: pd.DataFrame, departures: pd.Series, budget: float) -> pd.DataFrame:
    """Return, for each person who left, the first alert before it and the days in between.

    Parameters
    ----------
    alerts : DataFrame
        ``person_id, as_of, score``: scores of those still customers at each date.
    departures : Series
        Day each person left, by ``person_id``; only those who left.
    budget : float
        Share of the scored of each date who can be contacted, the highest scores first.

    Returns
    -------
    DataFrame
        By ``person_id`` who left after having been scored: ``left_at``, ``alerted_at`` (missing: never
        within the budget) and ``lead_days``.

    Examples
    --------
    >>> dates = pd.to_datetime(["2026-01-01", "2026-01-01", "2026-02-01", "2026-02-01"])
    >>> scores = [0.9, 0.1, 0.8, 0.2]
    >>> alerts = pd.DataFrame({"person_id": list("abab"), "as_of": dates, "score": scores})
    >>> left = pd.Series(pd.to_datetime(["2026-02-20"]), index=["a"])
    >>> lead_times(alerts, left, 0.5)["lead_days"].tolist()
    [50.0]
    """
    rank = alerts.groupby("as_of")["score"].rank(ascending=False, method="first")
    people = alerts.groupby("as_of")["score"].transform("size")
    left_at = alerts["person_id"].map(departures)
    before = alerts.assign(left_at=left_at)[(left_at > alerts["as_of"]).to_numpy()]
    flagged = before[(rank <= np.floor(budget * people)).loc[before.index]]
    table = before.groupby("person_id")[["left_at"]].first()
    table["alerted_at"] = flagged.groupby("person_id")["as_of"].min()
    table["lead_days"] = (table["left_at"] - table["alerted_at"]).dt.total_seconds() / 86400
    return table


def lead_report(
    alerts: pd.DataFrame, departures: pd.Series, budgets: ArrayLike = (0.05, 0.1, 0.2, 0.3)
) -> pd.DataFrame:
    """Report how many departures a contact budget sees coming, and how early.

    Returns
    -------
    DataFrame
        One row a budget: ``budget, people`` (who left), ``seen``, ``recall`` with ``low, high`` (95 %), and
        ``lead_25, lead_50, lead_75`` (days, quartiles among those seen).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> alerts = pd.DataFrame({"person_id": np.arange(100), "as_of": pd.Timestamp("2026-01-01"),
    ...                        "score": rng.random(100)})
    >>> left = pd.Series(pd.Timestamp("2026-03-02"), index=range(50))
    >>> bool((lead_report(alerts, left)["lead_50"] == 60).all())
    True
    """
    rows = []
    for budget in np.asarray(budgets, dtype=float):
        table = lead_times(alerts, departures, float(budget))
        seen, people = int(table["alerted_at"].notna().sum()), len(table)
        low, high = wilson([seen], [people])
        quartiles = table["lead_days"].quantile([0.25, 0.5, 0.75]).to_numpy()
        recall = seen / people if people else np.nan
        rows.append((float(budget), people, seen, recall, low[0], high[0], *quartiles))
    names = ["budget", "people", "seen", "recall", "low", "high", "lead_25", "lead_50", "lead_75"]
    return pd.DataFrame(rows, columns=names)
