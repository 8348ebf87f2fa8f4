"""Is a segment worth having? It must pay for itself, carry the test it is meant for, and hide its members."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf, sqrt

import pandas as pd

from cdpkit.errors import FaultsError


@dataclass(frozen=True)
class Economics:
    """What a segment costs and brings, in minor units of one currency.

    Parameters
    ----------
    margin : float
        Margin of one conversion.
    response : float
        Extra share of the contacted that converts because of the contact, in [0, 1].
    creative : float
        Cost of a message of its own, whatever the number of people.
    contact : float
        Cost of one contact.

    Examples
    --------
    >>> Economics(margin=2_000, response=0.02, creative=50_000, contact=5).break_even
    1429
    """

    margin: float
    response: float
    creative: float
    contact: float

    def __post_init__(self) -> None:
        faults = [
            f"`{name}` must be 0 or more; got {value}" for name, value in vars(self).items() if not value >= 0
        ]
        if self.response > 1:
            faults.append(f"`response` must be at most 1; got {self.response}")
        if faults:
            raise FaultsError("the economics of a segment", faults)

    @property
    def profit_per_person(self) -> float:
        """What one more person brings, net of the contact."""
        return self.margin * self.response - self.contact

    @property
    def break_even(self) -> float:
        """Smallest number of people whose profit covers the message.

        It is creative / (margin x response - contact), rounded up, and infinite where a contact costs more
        than it brings.
        """
        each = self.profit_per_person
        if each > 0:
            return ceil(self.creative / each - 1e-9)
        return 0 if self.creative == 0 and each == 0 else inf


def power(n: int, base: float, lift: float, *, control_share: float = 0.1, level: float = 0.05) -> float:
    """Return the chance that a test within a segment shows a lift of that size.

    Two-sided, by the normal approximation of the difference of two shares.

    Parameters
    ----------
    n : int
        People in the segment, control included.
    base, lift : float
        Conversion of the control, and what the message adds; base + lift is at most 1.
    control_share : float
        Share kept aside.
    level : float
        Of the two-sided test.

    Examples
    --------
    >>> round(power(20_000, 0.05, 0.01, control_share=0.5), 2)
    0.87
    """
    from scipy.stats import norm

    treated, kept = n * (1 - control_share), n * control_share
    if min(treated, kept) < 1:
        return level
    spread = sqrt(base * (1 - base) / kept + (base + lift) * (1 - base - lift) / treated)
    if spread == 0:
        return 1.0 if lift else level
    z, cut = lift / spread, norm.ppf(1 - level / 2)
    return float(norm.cdf(z - cut) + norm.cdf(-z - cut))


def size_needed(
    base: float, lift: float, *, control_share: float = 0.1, level: float = 0.05, wanted: float = 0.8
) -> int:
    """Return how many people a test needs to show a lift with the power wanted: `power` turned round.

    Examples
    --------
    >>> n = size_needed(0.05, 0.01, control_share=0.5)
    >>> power(n, 0.05, 0.01, control_share=0.5) >= 0.8 > power(n - 50, 0.05, 0.01, control_share=0.5)
    True
    """
    from scipy.stats import norm

    if lift == 0:
        raise FaultsError("a test", ["`lift` must not be 0: no number of people shows nothing"])
    z = norm.ppf(1 - level / 2) + norm.ppf(wanted)
    after = base + lift
    spread = base * (1 - base) / control_share + after * (1 - after) / (1 - control_share)
    return ceil(z * z * spread / lift**2)


def viable(
    sizes: Mapping[str, int],
    economics: Economics,
    *,
    base: float,
    lift: float,
    control_share: float = 0.1,
    k: int = 20,
    messages: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Judge segments by one gate: they pay, can be tested, hide their members and differ in message.

    Parameters
    ----------
    sizes : mapping of str to int
        People of each segment.
    economics : Economics
        The same for all of them.
    base, lift : float
        As for `power`: what a test of the segment's message would have to show.
    control_share : float
        Share kept aside.
    k : int
        Smallest group that may be shown.
    messages : mapping, optional
        The message of each segment: two segments with one message are one segment.

    Returns
    -------
    DataFrame
        ``segment, n, break_even, power, needed, verdict, why``: `verdict` is ``keep``, ``merge`` (too few
        to pay or to hide), ``same_message`` or ``flag`` (it pays, but its test would likely show nothing);
        `why` names the first bar that is missed.

    Examples
    --------
    >>> money = Economics(margin=2_000, response=0.02, creative=50_000, contact=5)
    >>> viable({"big": 50_000, "small": 300}, money, base=0.05, lift=0.01)[["segment", "verdict", "why"]]
      segment verdict         why
    0     big    keep
    1   small   merge  break_even
    """
    needed = size_needed(base, lift, control_share=control_share)
    said = dict(messages or {})
    shared = {m for m in said.values() if list(said.values()).count(m) > 1}
    rows = []
    for name, n in sizes.items():
        chance = power(n, base, lift, control_share=control_share)
        if n < k:
            verdict, why = "merge", "k_anonymity"
        elif n < economics.break_even:
            verdict, why = "merge", "break_even"
        elif said.get(name) in shared:
            verdict, why = "same_message", "message"
        elif n < needed:
            verdict, why = "flag", "power"
        else:
            verdict, why = "keep", ""
        rows.append((name, n, economics.break_even, chance, needed, verdict, why))
    return pd.DataFrame(rows, columns=["segment", "n", "break_even", "power", "needed", "verdict", "why"])


def merged(sizes: Mapping[str, int], smallest: float, into: Mapping[str, str]) -> dict[str, str]:
    """Return which segment each one becomes part of, until every one left reaches a size.

    Parameters
    ----------
    sizes : mapping of str to int
        People of each segment.
    smallest : float
        Size to reach, such as the break-even volume.
    into : mapping of str to str
        The neighbour each segment would join: the next value band, the parent region.

    Returns
    -------
    dict of str to str
        The segment that holds each one's people; a segment without a neighbour stays, however small.

    Examples
    --------
    >>> merged({"a": 5, "b": 8, "c": 90}, 10, {"a": "b", "b": "c"})
    {'a': 'b', 'b': 'b', 'c': 'c'}
    """
    home, held = {name: name for name in sizes}, dict(sizes)
    for name in sorted(sizes, key=lambda s: (sizes[s], s)):
        here = home[name]
        seen = {here}
        while held[here] < smallest and into.get(here) in sizes and home[into[here]] not in seen:
            there = home[into[here]]
            held[there] += held.pop(here)
            home = {one: there if now == here else now for one, now in home.items()}
            here = there
            seen.add(here)
    return home
