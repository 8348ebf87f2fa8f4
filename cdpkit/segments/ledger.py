"""The exchange with each person: what was sent, what came back, who had enough, who is left alone until when.

Caps and suspensions protect people. A cap holds over a rolling window, channel by channel and in total;
a suspension has a first and a last day, and ends by itself the day after.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import pandas as pd
from sqlglot import exp

from cdpkit import decisions
from cdpkit.errors import CdpkitError, FaultsError

if TYPE_CHECKING:
    from cdpkit.decisions import Decision
    from cdpkit.engine import Engine
    from cdpkit.workspace import Workspace

#: Stands for every channel.
ALL = "*"

SUSPENSION = "suspension"


@dataclass(frozen=True)
class Cap:
    """How many messages a person may get within a rolling window.

    Parameters
    ----------
    most : int
        Messages allowed.
    hours : float
        Length of the window.
    channel : str
        Channel counted; `ALL` counts every one together.

    Examples
    --------
    >>> Cap(1, hours=16, channel="email").most
    1
    """

    most: int
    hours: float
    channel: str = ALL

    def __post_init__(self) -> None:
        faults = [] if self.most >= 0 else [f"`most` must be 0 or more; got {self.most}"]
        faults += [] if self.hours > 0 else [f"`hours` must be above 0; got {self.hours}"]
        if faults:
            raise FaultsError("a cap", faults)


#: One e-mail in 16 hours, one SMS in 24, three messages of any channel in a week.
CAPS = (Cap(1, 16, "email"), Cap(1, 24, "sms"), Cap(3, 7 * 24))


def ledger(engine: Engine, as_of: pd.Timestamp | str, *, days: int = 90) -> pd.DataFrame:
    """Count, for each person, what the brand sent and what came back over a rolling window.

    Parameters
    ----------
    engine : Engine
        Sees ``membership, messages, events, orders, contacts``.
    as_of : Timestamp
        Only what happened before it counts: a click of tomorrow has not come back yet.
    days : int
        Length of the window.

    Returns
    -------
    DataFrame
        ``person_id, sent, answered, returned, reciprocity, silent_streak, last_sent``, one row a person
        who was written to in the window. `answered` messages were clicked; `returned` signals are clicks,
        orders, contacts and days with a visit; `reciprocity` is returned / sent; `silent_streak` counts
        the last messages in a row, of all time, without a click.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> ledger(DuckDBEngine(), "2026-07-01").columns.tolist()[:4]
    ['person_id', 'sent', 'answered', 'returned']
    """
    t = _literal(as_of)
    since = f"{t} - INTERVAL {int(days)} DAY"
    return engine.query(f"""
        WITH today AS ({_TODAY}), sending AS (
          SELECT person_id, event_time, clicked_at < {t} AS answered, clicked_at, message_id
          FROM messages JOIN today USING (node_id) WHERE event_time < {t}
        ), streak AS (
          SELECT person_id,
                 count(*) FILTER (last_answer IS NULL OR event_time > last_answer) AS silent_streak FROM (
            SELECT person_id, event_time,
                   max(CASE WHEN answered THEN event_time END) OVER (PARTITION BY person_id) AS last_answer
            FROM sending
          ) AS judged GROUP BY person_id
        ), sent AS (
          SELECT person_id, count(*) AS sent, count(*) FILTER (answered) AS answered,
                 max(event_time) AS last_sent
          FROM sending WHERE event_time >= {since} GROUP BY person_id
        ), back AS (
          SELECT person_id, count(*) AS returned FROM (
            SELECT DISTINCT person_id, 'visit' AS kind,
                   CAST(date_trunc('day', event_time) AS VARCHAR) AS signal
            FROM events JOIN today USING (node_id) WHERE event_time < {t} AND event_time >= {since}
            UNION ALL SELECT person_id, 'order', order_id FROM orders JOIN today USING (node_id)
            WHERE event_time < {t} AND event_time >= {since}
            UNION ALL SELECT person_id, 'contact', contact_id FROM contacts JOIN today USING (node_id)
            WHERE event_time < {t} AND event_time >= {since}
            UNION ALL SELECT person_id, 'click', message_id FROM sending
            WHERE clicked_at < {t} AND clicked_at >= {since}
          ) AS signals GROUP BY person_id
        )
        SELECT person_id, sent, answered, coalesce(returned, 0) AS returned,
               coalesce(returned, 0) * 1.0 / sent AS reciprocity, silent_streak, last_sent
        FROM sent JOIN streak USING (person_id) LEFT JOIN back USING (person_id) ORDER BY person_id
    """).to_pandas()


def over_time(engine: Engine, as_of: pd.Timestamp | str, *, months: int = 12) -> pd.DataFrame:
    """Return the balance of the exchange, month by month of 30 days, oldest first.

    Returns
    -------
    DataFrame
        ``until, persons, sent, answered, returned, reciprocity, silent``: `silent` is the share of
        the persons written to who gave no signal at all in the month.
    """
    rows = []
    for back in range(months - 1, -1, -1):
        until = pd.Timestamp(as_of) - pd.Timedelta(days=30 * back)
        one = ledger(engine, until, days=30)
        if len(one):
            sums = one[["sent", "answered", "returned"]].sum()
            silent = float((one["returned"] == 0).mean())
            rows.append((until, len(one), *sums.astype(int), sums["returned"] / sums["sent"], silent))
    names = ["until", "persons", "sent", "answered", "returned", "reciprocity", "silent"]
    return pd.DataFrame(rows, columns=names)


def capped(
    engine: Engine, as_of: pd.Timestamp | str, *, channel: str, caps: Iterable[Cap] = CAPS
) -> pd.DataFrame:
    """Return who may not get one more message on a channel at a date, because a cap is reached.

    Parameters
    ----------
    engine : Engine
        Sees ``membership, messages``.
    as_of : Timestamp
        When the message would leave.
    channel : str
        By which it would.
    caps : iterable of Cap
        Those of this channel and those of all channels hold.

    Returns
    -------
    DataFrame
        ``person_id``, each once.
    """
    t = _literal(as_of)
    parts = [
        f"""SELECT person_id FROM messages JOIN today USING (node_id)
            WHERE event_time < {t} AND event_time >= {t} - INTERVAL {round(cap.hours * 3600)} SECOND
              AND {exp.Literal.string(cap.channel).sql()} IN ('{ALL}', channel)
            GROUP BY person_id HAVING count(*) >= {cap.most}"""
        for cap in caps
        if cap.channel in (ALL, channel) and cap.most > 0
    ]
    if any(cap.most == 0 and cap.channel in (ALL, channel) for cap in caps):
        parts.append("SELECT person_id FROM today")
    if not parts:
        return pd.DataFrame({"person_id": pd.Series(dtype="str")})
    union = " UNION ".join(parts)
    return engine.query(
        f"WITH today AS ({_TODAY}) SELECT person_id FROM ({union}) AS full_ ORDER BY 1"
    ).to_pandas()


def suspend(
    workspace: Workspace,
    *,
    person_id: str,
    first_day: date,
    last_day: date,
    author: str,
    reason: str,
    decided_at: datetime,
    channel: str = ALL,
) -> Decision:
    """Leave a person alone from a first to a last day, both included.

    Parameters
    ----------
    workspace : Workspace
        Whose inbox.
    person_id : str
    first_day, last_day : date
    author, reason : str
        Who decides, and why; both are needed.
    decided_at : datetime
        UTC.
    channel : str
        One channel, or `ALL`.

    Raises
    ------
    CdpkitError
        When the last day comes before the first, or no reason is given.
    """
    if last_day < first_day:
        raise CdpkitError("a suspension must end on or after its first day", f"{first_day} to {last_day}")
    if not reason.strip():
        raise CdpkitError("a suspension must have a reason", "an empty text", "Say why")
    content = {"channel": channel, "first_day": first_day.isoformat(), "last_day": last_day.isoformat()}
    return decisions.record(
        workspace,
        kind=SUSPENSION,
        subject=person_id,
        content=content,
        author=author,
        reason=reason,
        decided_at=decided_at,
    )


def suspended(engine: Engine, as_of: pd.Timestamp | str, *, channel: str = ALL) -> pd.DataFrame:
    """Return who is suspended at a date; a suspension ends by itself the day after its last day.

    Parameters
    ----------
    engine : Engine
        Sees ``decisions, aliases``.
    as_of : Timestamp
        UTC.
    channel : str
        Suspensions of this channel and of all of them hold; `ALL` returns every one.

    Returns
    -------
    DataFrame
        ``person_id, channel, first_day, last_day, reason``; a person merged since is found under the
        new name.
    """
    rows = engine.query(f"""
        SELECT coalesce(a.person_id, d.subject) AS person_id, d.content, d.reason FROM decisions AS d
        LEFT JOIN aliases AS a ON a.old_id = d.subject WHERE d.kind = '{SUSPENSION}' ORDER BY d.event_time
    """).to_pandas()
    day, found = pd.Timestamp(as_of).normalize(), []
    for row in rows.itertuples(index=False):
        said = json.loads(str(row.content))
        first, last = pd.Timestamp(said["first_day"]), pd.Timestamp(said["last_day"])
        if first <= day <= last and (channel == ALL or said["channel"] in (ALL, channel)):
            found.append((row.person_id, said["channel"], first, last, row.reason))
    return pd.DataFrame(found, columns=["person_id", "channel", "first_day", "last_day", "reason"])


#: Records and the persons they belong to now.
_TODAY = "SELECT node_id, person_id FROM membership WHERE known_to IS NULL"


def _literal(moment: pd.Timestamp | str) -> str:
    """Spell a UTC time."""
    return f"TIMESTAMP '{pd.Timestamp(moment).isoformat(sep=' ')}'"
