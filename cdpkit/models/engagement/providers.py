"""Deliverability by mailbox provider, week by week: control charts, and the limits providers publish."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import beta, norm

from cdpkit.errors import FaultsError
from cdpkit.models.engagement.history import OUTCOMES

#: Google's guidelines for senders: keep reported spam under the first share, and never reach the second.
COMPLAINTS_GOOD, COMPLAINTS_MOST = 0.001, 0.003

#: Whose mailbox the domain of an address is.
_DOMAINS = {
    "gmail": "gmail.com googlemail.com",
    "microsoft": "outlook.com outlook.fr hotmail.com hotmail.fr hotmail.co.uk live.com live.fr msn.com",
    "yahoo": "yahoo.com yahoo.fr yahoo.co.uk ymail.com rocketmail.com aol.com",
    "apple": "icloud.com me.com mac.com",
    "orange": "orange.fr wanadoo.fr",
    "free": "free.fr aliceadsl.fr",
    "sfr": "sfr.fr neuf.fr numericable.fr club-internet.fr",
    "laposte": "laposte.net",
    "gmx": "gmx.com gmx.fr gmx.de web.de",
}
_PROVIDER = {domain: name for name, domains in _DOMAINS.items() for domain in domains.split()}


def provider(domain: str | None) -> str:
    """Return who runs the mailboxes of a domain; ``other`` where it is not known.

    Examples
    --------
    >>> provider("Hotmail.fr"), provider("example.org"), provider(None)
    ('microsoft', 'other', 'other')
    """
    return "other" if domain is None else _PROVIDER.get(str(domain).strip().lower(), "other")


def providers(domains: pd.Series, persons: pd.Series, least: int = 20) -> pd.Series:
    """Return who runs each mailbox: a known provider, else the domain itself where many share it.

    Parameters
    ----------
    domains, persons : Series
        Domain of the address and its owner, a row a message.
    least : int
        Persons who must share a domain that is no known provider: that of a few would tell who they are.

    Examples
    --------
    >>> providers(pd.Series(["me.com", "Mail.Example", "mine.example"]), pd.Series([1, 2, 3]), 2).tolist()
    ['apple', 'other', 'other']
    """
    spelt = domains.astype("str").str.strip().str.lower().where(domains.notna(), "")
    shared = persons.groupby(spelt).nunique()
    known = {}
    for name, n in shared.items():
        domain = str(name)
        known[domain] = _PROVIDER.get(domain, domain if n >= least and domain else "other")
    return spelt.map(known)


def control_chart(
    sends: pd.DataFrame,
    outcome: str = "complaint",
    *,
    as_of: str | pd.Timestamp,
    days: int = 7,
    least: int = 100,
    level: float = 0.00135,
) -> pd.DataFrame:
    """Follow an outcome by mailbox provider, and tell the weeks out of what its weeks are usually like.

    A week is held against the provider's other weeks. Rates of a few in ten thousand are far from a
    bell curve, so the limits are those of a beta law that spreads as much as the weeks do, the binomial
    spread at least (as Laney's p' chart does for a normal one).

    Parameters
    ----------
    sends : DataFrame
        ``provider, sent_at`` and the outcome's time (see `cdpkit.models.engagement.OUTCOMES`).
    outcome : str
    as_of : timestamp
        Weeks are counted back from here; outcomes later than this are not read.
    days : int
        Length of a week.
    least : int
        Messages a week must have to be drawn.
    level : float
        Chance of a false alarm of a week, on each side: three standard deviations of a normal law.

    Returns
    -------
    DataFrame
        ``provider, week`` (its first day), ``sent, happened, rate, centre, low, high`` (limits),
        ``signal``: ``above``, ``below`` or empty; ``threshold``: for complaints, ``over 0.3 %`` or
        ``over 0.1 %`` where the rate surely is, by Google's guidelines.

    Examples
    --------
    >>> weeks = np.repeat(np.arange(10), 1000)
    >>> sent = pd.Timestamp("2026-01-01") + pd.to_timedelta(7 * weeks, "D")
    >>> marked = np.arange(10_000) % 1000 < np.where(weeks == 9, 12, 1)
    >>> sends = pd.DataFrame({"provider": "gmail", "sent_at": sent, "complained_at": sent.where(marked)})
    >>> chart = control_chart(sends, as_of="2026-03-12")
    >>> chart[["rate", "signal", "threshold"]].tail(2).values.tolist()
    [[0.001, '', ''], [0.012, 'above', 'over 0.3 %']]
    """
    needed = ("provider", "sent_at", OUTCOMES.get(outcome, outcome))
    faults = [f"column `{c}` must be present" for c in needed if c not in sends]
    if outcome not in OUTCOMES:
        faults = [f"`outcome` must be one of {', '.join(OUTCOMES)}; got {outcome!r}"]
    if faults:
        raise FaultsError("the control chart", faults)
    end = pd.Timestamp(as_of)
    sends = sends[sends["sent_at"] < end]
    back = np.ceil((end - sends["sent_at"]).dt.total_seconds() / (86_400 * days)).astype(int)
    happened = sends[OUTCOMES[outcome]] < end
    table = pd.DataFrame({"provider": sends["provider"].to_numpy(), "back": back, "happened": happened})
    table = table.groupby(["provider", "back"])["happened"].agg(["size", "sum"]).reset_index()
    table.columns = pd.Index(["provider", "back", "sent", "happened"])
    table = table[table["sent"] >= least].sort_values(["provider", "back"], ascending=[True, False])
    table["week"] = end - pd.to_timedelta(table["back"] * days, "D")
    table["rate"] = table["happened"] / table["sent"]
    parts = [_limits(rows, level) for _, rows in table.groupby("provider", sort=True)]
    columns = ["provider", "week", "sent", "happened", "rate", "centre", "low", "high", "signal", "threshold"]
    if not parts:
        return pd.DataFrame(columns=columns)
    chart = pd.concat(parts, ignore_index=True)
    # One complaint in a small week is over any limit: the lower end of the rate's 95 % interval has to be.
    sure = beta.ppf(0.025, chart["happened"].clip(lower=1e-9), chart["sent"] - chart["happened"] + 1)
    chart["threshold"] = _threshold(pd.Series(sure)) if outcome == "complaint" else ""
    return chart[columns]


def _limits(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """Hold each week of a provider against its other weeks."""
    sent, happened = rows["sent"].to_numpy(dtype=float), rows["happened"].to_numpy(dtype=float)
    others, found = sent.sum() - sent, happened.sum() - happened
    alone = len(rows) < 2
    centre = (found + 0.5) / (others + 1.0)
    low, high = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for k in range(0 if alone else len(rows)):
        rest = np.arange(len(rows)) != k
        c = centre[k]
        z = (happened[rest] / sent[rest] - c) / np.sqrt(c * (1 - c) / sent[rest])
        # The variance of the weeks beside the binomial one: under three other weeks it cannot be told.
        spread = max(float(np.mean(z**2)), 1.0) if rest.sum() > 2 else 1.0
        # The centre is an estimate too: its own error widens the limits.
        n = 1 / (spread / sent[k] + spread / others[k])
        low[k], high[k] = beta.ppf([level, 1 - level], max(n * c, 1e-9), n * (1 - c) + 1)
        # Where even none at all is no surprise, no rate is too low.
        low[k] = 0.0 if (1 - c) ** n > level else low[k]
    rate = rows["rate"].to_numpy()
    signal = np.where(rate > high, "above", np.where(rate < low, "below", ""))
    return rows.assign(centre=np.nan if alone else centre, low=low, high=high, signal=signal)


def _threshold(rate: pd.Series) -> np.ndarray:
    return np.where(
        rate >= COMPLAINTS_MOST, "over 0.3 %", np.where(rate >= COMPLAINTS_GOOD, "over 0.1 %", "")
    )


def reputation(sends: pd.DataFrame, *, as_of: str | pd.Timestamp, days: int = 30) -> pd.DataFrame:
    """Return each provider's rates over the last days, with Wilson's interval of the complaints.

    Returns
    -------
    DataFrame
        ``provider, sent, complaints, complaint_rate, low, high, bounce_rate, click_rate, threshold``; the
        whole is the row ``all``. NaN where an outcome is not told.

    Examples
    --------
    >>> at = pd.to_datetime(["2026-01-01"] * 4)
    >>> sends = pd.DataFrame({"provider": "gmail", "sent_at": at, "complained_at": [at[0]] + 3 * [pd.NaT]})
    >>> reputation(sends, as_of="2026-01-02")[["provider", "complaint_rate"]].values.tolist()
    [['gmail', 0.25], ['all', 0.25]]
    """
    end = pd.Timestamp(as_of)
    recent = sends[(sends["sent_at"] < end) & (sends["sent_at"] >= end - pd.Timedelta(days=days))]
    told = pd.DataFrame({"provider": recent["provider"], "sent": 1.0})
    for name in ("complaint", "bounce", "click"):
        column = OUTCOMES[name]
        told[name] = (recent[column] < end).astype(float) if column in recent else np.nan
    table = told.groupby("provider", sort=True).sum(min_count=1)
    table.loc["all"] = told.drop(columns="provider").sum(min_count=1)
    n, p, z = table["sent"], table["complaint"] / table["sent"], float(norm.isf(0.025))
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    return pd.DataFrame(
        {
            "provider": table.index.astype("str"),
            "sent": n.to_numpy().astype(int),
            "complaints": table["complaint"].to_numpy(),
            "complaint_rate": p.to_numpy(),
            "low": (middle - half).clip(lower=0).to_numpy(),
            "high": (middle + half).to_numpy(),
            "bounce_rate": (table["bounce"] / n).to_numpy(),
            "click_rate": (table["click"] / n).to_numpy(),
            "threshold": _threshold(p.fillna(0)),
        }
    )
