"""Both forecasts of value fitted on what lies before a date: the orders, and what else was known."""

from __future__ import annotations

import pandas as pd

from cdpkit.errors import NotEnoughDataError
from cdpkit.models.frame import Columns
from cdpkit.models.lifetime.blend import Blended
from cdpkit.models.lifetime.counts import CountModel
from cdpkit.models.lifetime.gammagamma import GammaGamma
from cdpkit.models.lifetime.history import HistoryTrees, features, outcomes
from cdpkit.models.lifetime.summary import DAY, summary

SUMMARY = ["frequency", "recency", "T", "monetary"]

#: Days a window must have to teach anything.
LEAST_DAYS = 7


def known(
    days: pd.DataFrame, before: pd.Timestamp, window: int, context: pd.DataFrame | None
) -> pd.DataFrame:
    """Return all that is known of each person before a date, one row a person.

    Parameters
    ----------
    days : DataFrame
        As given by `order_days`.
    before : Timestamp
    window : int
        Days over whose parts purchases are counted.
    context : DataFrame or None
        ``person_id, as_of`` and other columns; the rows of this date, buyers or not, are then the rows
        returned.
    """
    past = days[days["day"] < before]
    told = summary(past.rename(columns={"day": "ts"}), before)[SUMMARY]
    table = told.astype(float).join(features(days, before, window))
    if context is None:
        return table
    there = context[context["as_of"] == before].drop(columns="as_of").set_index("person_id")
    return there.merge(table, how="left", left_index=True, right_index=True, suffixes=("", "_of_orders"))


def learn(
    days: pd.DataFrame,
    end: pd.Timestamp,
    context: pd.DataFrame | None,
    counts: CountModel,
    longest: int,
    seed: int,
    n_jobs: int,
) -> Blended:
    """Fit both forecasts on what lies before `end`.

    Parameters
    ----------
    days, context
        As for `known`; the context at every date whose window has ended is learned from.
    end : Timestamp
    counts : CountModel
        Not fitted yet.
    longest : int
        Days of the window the trees learn over, at most; never more than half of the history.
    seed, n_jobs : int

    Raises
    ------
    NotEnoughDataError
        Without enough history, repeat buyers, or a date whose window has ended.
    """
    past = days[days["day"] < end]
    length = (end - past["day"].min()) / DAY if len(past) else 0.0
    window = int(min(longest, length / 2))
    if window < LEAST_DAYS:
        raise NotEnoughDataError(f"{2 * LEAST_DAYS} days of orders needed", got=f"{length:.0f} days")
    told = summary(past.rename(columns={"day": "ts"}), end)
    counts.fit(told)
    amounts = GammaGamma(counts.min_repeaters).fit(told)
    latest = end - window * DAY
    dates = [latest] if context is None else sorted(d for d in context["as_of"].unique() if d <= latest)
    if not dates:
        raise NotEnoughDataError(
            f"a past date with {window} days after it is needed", got="none in the context given"
        )
    tables, made = [], []
    for date in map(pd.Timestamp, dates):
        tables.append(known(past, date, window, context))
        made.append(outcomes(past, tables[-1].index, date, date + window * DAY))
    X, y = pd.concat(tables, ignore_index=True), pd.concat(made, ignore_index=True)
    columns = Columns.learn(X)
    orders, spend = (
        HistoryTrees(columns, seed, n_jobs).fit(X, y[name].to_numpy()) for name in ("orders", "amount")
    )
    return Blended(counts, amounts, columns, orders, spend, window)
