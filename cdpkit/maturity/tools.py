"""What a chain of tools loses: each exchange keeps the share of persons it can match."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from cdpkit.errors import FaultsError


def data_loss(match_rates: Mapping[str, float]) -> float:
    """Return the share of persons lost between the first and the last tool: 1 - Π match rates.

    Parameters
    ----------
    match_rates : mapping of str to float
        Share of persons matched by each exchange, in [0, 1], by its name.

    Raises
    ------
    FaultsError
        Naming the rates out of range.

    Examples
    --------
    >>> data_loss({"crm to e-mail": 0.5, "e-mail to site": 0.5})
    0.75
    """
    faults = [
        f"the match rate of `{name}` must be in [0, 1]; got {rate}"
        for name, rate in match_rates.items()
        if not 0 <= rate <= 1
    ]
    if faults:
        raise FaultsError("the inventory of tools", faults)
    return 1 - prod(match_rates.values())
