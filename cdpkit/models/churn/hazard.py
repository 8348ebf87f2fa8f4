"""The risk that a contract ends, period by period of its age: the contractual side of churn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from cdpkit.models.churn.classifier import ChurnClassifier
from cdpkit.models.frame import FrameError

Array = NDArray[np.float64]


def contract_periods(
    contracts: pd.DataFrame, observed_until: Any, period_days: int = 30, since: Any = None
) -> pd.DataFrame:
    """Cut contracts into periods of their age: a row for each period begun while the contract held.

    Parameters
    ----------
    contracts : DataFrame
        ``contract_id, starts_at, ended_at`` (missing: still held), one row a contract, renewals together.
    observed_until : timestamp
        Periods that end later are left out: whether the contract ended in them is not known yet.
    period_days : int
        Length of a period.
    since : timestamp, optional
        Periods that begin earlier are left out (no features yet): contracts enter late without bias,
        since a period counts only for contracts that held when it began.

    Returns
    -------
    DataFrame
        ``contract_id, period`` (0 for the first), ``as_of`` (its start) and ``y`` (1: ended within it).

    Examples
    --------
    >>> held = pd.DataFrame({"contract_id": ["a"], "starts_at": pd.to_datetime(["2026-01-01"]),
    ...                      "ended_at": pd.to_datetime(["2026-02-10"])})
    >>> contract_periods(held, "2026-06-01").y.tolist()
    [0, 1]
    """
    absent = [n for n in ("contract_id", "starts_at", "ended_at") if n not in contracts.columns]
    if absent:
        raise FrameError("contracts", [f"column `{n}` must be present; got no such column" for n in absent])
    end, length = pd.Timestamp(observed_until), pd.Timedelta(days=period_days)
    start, ended = contracts["starts_at"], contracts["ended_at"]
    last = ended.where(ended < end, end)
    # A contract that ended within a period has that period; one still held has only whole ones.
    whole = (last - start).dt.total_seconds().to_numpy() / length.total_seconds()
    count: NDArray[np.int64] = np.maximum(np.where(ended < end, np.ceil(whole), np.floor(whole)), 0).astype(
        int
    )
    row = np.repeat(np.arange(len(contracts)), count)
    period = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    begins = start.to_numpy()[row] + period * length.to_timedelta64()
    ends = ended.to_numpy()[row]
    table = pd.DataFrame(
        {
            "contract_id": contracts["contract_id"].to_numpy()[row],
            "period": period,
            "as_of": begins,
            "y": ((ends >= begins) & (ends < begins + length.to_timedelta64())).astype(int),
        }
    )
    # The last period of a contract that ended may reach beyond what is observed: its end was seen.
    kept = (table["as_of"] + length <= end) | (table["y"] == 1)
    if since is not None:
        kept &= table["as_of"] >= pd.Timestamp(since)
    return table[kept].reset_index(drop=True)


def policies(terms: pd.DataFrame, observed_until: Any) -> pd.DataFrame:
    """Put the terms of each contract together: when it began, and when it ended if it did.

    Parameters
    ----------
    terms : DataFrame
        ``policy_id, starts_at, ends_at, cancelled_at``, one row a term.
    observed_until : timestamp
        A last term that ends later is still held.

    Returns
    -------
    DataFrame
        ``contract_id, starts_at, ended_at`` (missing: still held), one row a policy.

    Examples
    --------
    >>> terms = pd.DataFrame({"policy_id": ["a", "a"], "cancelled_at": pd.to_datetime([None, "2026-02-10"]),
    ...                       "starts_at": pd.to_datetime(["2025-01-01", "2026-01-01"]),
    ...                       "ends_at": pd.to_datetime(["2026-01-01", "2027-01-01"])})
    >>> policies(terms, "2026-06-01")["ended_at"].dt.strftime("%Y-%m-%d").tolist()
    ['2026-02-10']
    """
    last = terms.sort_values("starts_at").groupby("policy_id").last()
    first = terms.groupby("policy_id")["starts_at"].min()
    ran_out = last["ends_at"].where(last["ends_at"] < pd.Timestamp(observed_until))
    ended = last["cancelled_at"].fillna(ran_out)
    table = pd.DataFrame({"starts_at": first, "ended_at": ended})
    return table.rename_axis("contract_id").reset_index()


def cohort_survivors(contracts: pd.DataFrame, observed_until: Any, period_days: int = 30) -> pd.DataFrame:
    """Count the contracts of each cohort still held at each age, as far as the whole cohort was observed.

    Parameters
    ----------
    contracts, observed_until, period_days
        As for `contract_periods`; a cohort are the contracts begun in one quarter.

    Returns
    -------
    DataFrame
        One row a cohort (quarter), one column an age in periods (0: all that began); missing where the last
        of the cohort had not come to that age. What `ShiftedBetaGeometric.fit` takes.

    Examples
    --------
    >>> held = pd.DataFrame({"starts_at": pd.to_datetime(["2026-01-01", "2026-01-09"]),
    ...                      "ended_at": pd.to_datetime(["2026-02-10", None])})
    >>> cohort_survivors(held, "2026-03-15").iloc[0].tolist()
    [2.0, 2.0, 1.0]
    """
    end, start = pd.Timestamp(observed_until), contracts["starts_at"]
    begun = start < end
    start, ended = start[begun], contracts["ended_at"][begun]
    cohort = start.dt.to_period("Q")
    length = pd.Timedelta(days=period_days).total_seconds()
    left_at = (ended.where(ended < end) - start).dt.total_seconds().to_numpy() / length
    seen = np.floor((end - start.groupby(cohort).max()).dt.total_seconds() / length)
    ages = range(int(seen.max()) + 1)
    held = pd.DataFrame({k: np.isnan(left_at) | (left_at > k) for k in ages}, index=cohort.index)
    table = held.groupby(cohort).sum().astype(float)
    return table.where(np.asarray(ages)[None, :] <= seen.to_numpy()[:, None]).rename_axis("cohort")


class ContractHazard(BaseEstimator):
    """The chance that a contract ends in its next period, and the curve that follows.

    A discrete-time survival model: one row a contract and period that it began, so that contracts still
    held count for as long as they were seen (censoring), and the age is a column like any other.

    Parameters
    ----------
    classifier : ChurnClassifier, optional
        What learns the hazard; the default one without.
    term : int, optional
        Periods of a term (12 for a yearly contract of months). The age within the term is then a column
        too: contracts end at renewals.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"period": rng.integers(0, 12, 3000), "calls": rng.poisson(0.3, 3000)})
    >>> y = rng.random(3000) < 1 / (1 + np.exp(3 - 1.2 * X.calls + 0.1 * X.period))
    >>> model = ContractHazard().fit(X, y)
    >>> curve = model.survival(X.head(1), 6)
    >>> curve.shape, bool((np.diff(curve) < 0).all())
    ((1, 6), True)
    """

    def __init__(self, classifier: ChurnClassifier | None = None, term: int | None = None) -> None:
        self.classifier = classifier
        self.term = term

    def _columns(self, X: pd.DataFrame, later: int = 0) -> pd.DataFrame:
        period = X["period"] + later
        more = {"period": period} | ({} if self.term is None else {"in_term": period % self.term})
        return X.assign(**more)

    def fit(
        self, X: pd.DataFrame, y: Any, *, groups: Any = None, time: Any = None, embargo: Any = None
    ) -> Any:
        """Fit on periods.

        Parameters
        ----------
        X : DataFrame
            ``period`` and what was known when it began.
        y : array-like of 0 and 1
            Whether the contract ended in it.
        groups, time, embargo
            As for `AppetenceClassifier.fit`: the contract (or person) and date of each row.
        """
        if "period" not in X:
            raise FrameError("periods", ["column `period` must be present; got no such column"])
        self.classifier_ = ChurnClassifier() if self.classifier is None else clone(self.classifier)
        self.classifier_.fit(self._columns(X), y, groups=groups, time=time, embargo=embargo)
        return self

    def hazard(self, X: pd.DataFrame, later: int = 0) -> Array:
        """Return the chance that each contract ends in its period, or so many periods later."""
        check_is_fitted(self, "classifier_")
        return self.classifier_.predict_proba(self._columns(X, later))[:, 1]

    def survival(self, X: pd.DataFrame, periods: int) -> Array:
        """Return the chance that each contract is still held after 1, 2, … periods, all else unchanged.

        Returns
        -------
        ndarray of shape (rows, periods)
        """
        stay: NDArray[Any] = np.cumprod(
            1 - np.column_stack([self.hazard(X, k) for k in range(periods)]), axis=1
        )
        return stay
