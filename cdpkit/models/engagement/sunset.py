"""The sunset list: who should be written to no more, and why."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdpkit.models.engagement.history import checked, history

#: Why somebody is on the list, the gravest first.
SUNSET = ("complained", "unsubscribed", "bounces", "silent")


def sunset(
    sends: pd.DataFrame, *, as_of: str | pd.Timestamp, silent_after: int = 12, days: float = 180.0,
    luck: float = 0.05, bounces: int = 2,
) -> pd.DataFrame:  # fmt: skip
    """Return who to stop writing to.

    Someone is *silent* only where the silence is hardly luck: no click over `days` and `silent_after`
    messages at least, and so many messages that an ordinary reader would have clicked on one of them.
    Openings are not read: mail programmes open by themselves.

    Parameters
    ----------
    sends : DataFrame
        ``person_id, sent_at`` and the outcomes told.
    as_of : timestamp
    silent_after : int
        Messages without a click.
    days : float
        Days since the last click, or since the first message.
    luck : float
        Chance that an ordinary reader stays silent that long, under which silence counts.
    bounces : int
        Messages that bounced, with nothing delivered since.

    Returns
    -------
    DataFrame
        ``person_id, reason`` (one of `SUNSET`, the gravest), ``messages`` since the last click.

    Examples
    --------
    >>> at = pd.date_range("2025-01-01", periods=40, freq="7D")
    >>> one = pd.DataFrame({"person_id": "silent", "sent_at": at, "clicked_at": pd.NaT})
    >>> two = pd.DataFrame({"person_id": "reads", "sent_at": at, "clicked_at": at})
    >>> sunset(pd.concat([one, two]), as_of="2026-01-01")[["person_id", "reason"]].values.tolist()
    [['silent', 'silent']]
    """
    end = pd.Timestamp(as_of)
    past = sends[sends["sent_at"] < end]
    outcomes = checked(past)
    people = pd.Index(past["person_id"].unique()).sort_values()
    told = history(past, pd.DataFrame({"person_id": people, "ts": end}))
    whole = dict(zip(outcomes, told.happened[:, -1].T, strict=True))
    since = dict(zip(outcomes, told.since.T, strict=True))
    none = np.zeros(len(people), dtype=bool)
    reason = np.full(len(people), "", dtype=object)
    if "click" in outcomes:
        rate = whole["click"].sum() / max(told.sent[:, -1].sum(), 1.0)
        first = (end - past.groupby("person_id")["sent_at"].min().reindex(people)).dt.total_seconds() / 86_400
        quiet = np.where(np.isnan(since["click"]), first.to_numpy(), since["click"])
        by_luck = (1 - min(rate, 1 - 1e-9)) ** told.unanswered
        silent = (told.unanswered >= silent_after) & (quiet >= days) & (by_luck < luck)
        reason[silent] = "silent"
    reason[_bouncing(past, people, end, bounces) if "bounce" in outcomes else none] = "bounces"
    reason[whole["unsubscribe"] > 0 if "unsubscribe" in outcomes else none] = "unsubscribed"
    reason[whole["complaint"] > 0 if "complaint" in outcomes else none] = "complained"
    table = pd.DataFrame(
        {"person_id": people, "reason": reason, "messages": told.unanswered.round().astype(int)}
    )
    return table[table["reason"] != ""].astype({"reason": "str"}).reset_index(drop=True)


def _bouncing(past: pd.DataFrame, people: pd.Index, end: pd.Timestamp, bounces: int) -> np.ndarray:
    """Tell who the last messages did not reach."""
    ordered = past.sort_values("sent_at", kind="stable")
    missed = ordered["bounced_at"] < end
    arrived = (~missed).groupby(ordered["person_id"]).cumsum()
    after = arrived == arrived.groupby(ordered["person_id"]).transform("max")
    run = (missed & after).groupby(ordered["person_id"]).sum().reindex(people)
    return run.to_numpy() >= bounces
