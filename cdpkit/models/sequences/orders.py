"""Orders of messages: all there are, those that rules allow, and those that people were sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise, permutations

import numpy as np
import pandas as pd

from cdpkit.errors import FaultsError

Order = tuple[str, ...]


def enumerate_orders(
    messages: Sequence[str],
    sizes: Iterable[int] | None = None,
    *,
    without: Collection[str] = (),
    never: Collection[tuple[str, str]] = (),
) -> list[Order]:
    """Return the orders in which messages can be sent, each message once at most.

    Parameters
    ----------
    messages : sequence of str
    sizes : iterable of int, optional
        Numbers of messages in a sequence; by default all of those left.
    without : collection of str
        Messages left out.
    never : collection of (str, str)
        Pairs of which the second may not directly follow the first.

    Returns
    -------
    list of tuple of str

    Raises
    ------
    FaultsError
        Where a message is named twice, or a rule or a size is about none of them.

    Notes
    -----
    Five messages have 5! = 120 orders, and 325 sequences of one to five; not 25, as is sometimes read.

    Examples
    --------
    >>> len(enumerate_orders("ABCDE")), len(enumerate_orders("ABCDE", range(1, 6)))
    (120, 325)
    >>> enumerate_orders("ABC", without="C", never=[("A", "B")])
    [('B', 'A')]
    """
    faults = []
    if len(set(messages)) < len(messages) or not len(messages):
        faults.append("`messages` must be different, one at least")
    unknown = ({*without} | {m for pair in never for m in pair}) - {*messages}
    if unknown:
        faults.append(f"rules must be about the messages; got {', '.join(sorted(unknown))}")
    kept = [m for m in messages if m not in without]
    wanted = [len(kept)] if sizes is None else list(sizes)
    if not wanted or min(wanted) < 1 or max(wanted) > len(messages):
        faults.append(f"`sizes` must be from 1 to {len(messages)}")
    if faults:
        raise FaultsError("an enumeration of orders", faults)
    forbidden = {tuple(pair) for pair in never}
    return [
        order
        for size in wanted
        for order in permutations(kept, size)
        if not forbidden.intersection(pairwise(order))
    ]


def check(sends: object, more: Sequence[str] = ()) -> list[str]:
    """Return what is wrong with a table of messages sent."""
    if not isinstance(sends, pd.DataFrame):
        return ["`sends` must be a DataFrame"]
    needed = ("person_id", "message", "sent_at", *more)
    faults = [f"column `{name}` must be there" for name in needed if name not in sends]
    if "sent_at" in sends and not pd.api.types.is_datetime64_dtype(sends["sent_at"]):
        faults.append("`sent_at` must be an instant in UTC without a zone")
    if not faults and sends[["person_id", "message", "sent_at"]].isna().any(axis=None):
        faults.append("`person_id`, `message` and `sent_at` must be given on every row")
    return faults


def sent_orders(sends: pd.DataFrame) -> pd.Series:
    """Return the order in which each person got the messages, the first time of each.

    Examples
    --------
    >>> sends = pd.DataFrame({"person_id": ["p", "p", "q"], "message": ["B", "A", "A"]})
    >>> sends["sent_at"] = pd.to_datetime(["2026-01-02", "2026-01-01", "2026-01-01"])
    >>> sent_orders(sends).tolist()
    [('A', 'B'), ('A',)]
    """
    rows = sends.sort_values(["person_id", "sent_at", "message"], kind="stable")
    rows = rows.drop_duplicates(["person_id", "message"])
    return rows.groupby("person_id", sort=True)["message"].agg(tuple)


def steps(sends: pd.DataFrame) -> pd.DataFrame:
    """Return each message sent with the one before it, and the days between.

    Parameters
    ----------
    sends : DataFrame
        ``person_id, message, sent_at``; other columns are kept.

    Returns
    -------
    DataFrame
        The rows with a message before them, with ``before``, ``pair`` ("A > B") and ``gap_days``.

    Examples
    --------
    >>> sends = pd.DataFrame({"person_id": ["p", "p"], "message": ["A", "B"]})
    >>> sends["sent_at"] = pd.to_datetime(["2026-01-01", "2026-01-04"])
    >>> steps(sends)[["pair", "gap_days"]].values.tolist()
    [['A > B', 3.0]]
    """
    faults = check(sends)
    if faults:
        raise FaultsError("steps of a sequence", faults)
    rows = sends.sort_values(["person_id", "sent_at", "message"], kind="stable").reset_index(drop=True)
    rows = rows.drop_duplicates(["person_id", "message"])
    earlier = rows.groupby("person_id")[["message", "sent_at"]].shift()
    gap = (rows["sent_at"] - earlier["sent_at"]).dt.total_seconds() / 86_400
    told = rows.assign(before=earlier["message"], gap_days=gap)
    told = told[(told["gap_days"] > 0).to_numpy() & told["before"].notna().to_numpy()]
    pair = told["before"].astype("str") + " > " + told["message"].astype("str")
    return told.assign(pair=pair).reset_index(drop=True)


def design(orders: Sequence[Order], messages: Sequence[str], places: int) -> np.ndarray:
    """Return which message stands at which place of each order: (orders, messages × places)."""
    index = {m: k for k, m in enumerate(messages)}
    wide = np.zeros((len(orders), len(messages) * places))
    for row, order in enumerate(orders):
        for place, message in enumerate(order):
            wide[row, index[message] * places + place] = 1.0
    return wide
