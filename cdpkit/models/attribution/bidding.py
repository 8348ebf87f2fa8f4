"""Signals for automatic bidding: what a person, or a tenth of persons, is expected to be worth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdpkit.errors import FaultsError


def value_signals(
    values: pd.DataFrame, *, currency: str, by: str = "decile", least: int = 20
) -> pd.DataFrame:
    """Return the value to bid with, a row a person.

    Parameters
    ----------
    values : DataFrame
        ``person_id, value_minor``: predicted value over the horizon, in minor units.
    currency : str
        ISO 4217 code.
    by : {"decile", "person"}
        ``decile`` gives everyone the mean of their tenth: a platform learns no one's own value.
    least : int
        People a tenth must hold.

    Returns
    -------
    DataFrame
        ``person_id, decile`` (1 the best), ``value_minor, currency``.

    Raises
    ------
    FaultsError
        With every fault.

    Examples
    --------
    >>> people = pd.DataFrame({"person_id": [f"p{i}" for i in range(200)], "value_minor": range(200)})
    >>> value_signals(people, currency="EUR").head(1).values.tolist()
    [['p0', 10, 10, 'EUR']]
    """
    faults = [f"column `{c}` must be present" for c in ("person_id", "value_minor") if c not in values]
    if by not in ("decile", "person"):
        faults.append(f"`by` must be decile or person; got {by!r}")
    if len(currency) != 3 or not currency.isupper():
        faults.append(f"`currency` must be an ISO 4217 code; got {currency!r}")
    if {"person_id", "value_minor"} <= set(values):
        amount = pd.to_numeric(values["value_minor"], errors="coerce")
        if not np.isfinite(amount).all() or (amount < 0).any():
            faults.append("`value_minor` must be a finite number >= 0")
        if values["person_id"].isna().any() or values["person_id"].duplicated().any():
            faults.append("`person_id` must be known and come once")
        if by == "decile" and len(values) < 10 * least:
            faults.append(f"there must be {10 * least} people for tenths of {least}; got {len(values)}")
    if faults:
        raise FaultsError("the value signals", faults)
    worth_of = values["value_minor"].to_numpy(dtype=float)
    order = np.lexsort((values["person_id"].astype("str").to_numpy(), -worth_of))
    decile = np.empty(len(values), dtype=np.int64)
    decile[order] = np.arange(len(values)) * 10 // len(values) + 1
    mean = np.array([worth_of[decile == d].mean() if (decile == d).any() else 0.0 for d in range(1, 11)])
    worth = mean[decile - 1] if by == "decile" else worth_of
    return pd.DataFrame(
        {
            "person_id": values["person_id"].to_numpy(),
            "decile": decile,
            "value_minor": np.round(worth).astype(np.int64),
            "currency": currency,
        }
    )
