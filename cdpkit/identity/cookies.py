"""A partner network's cookies: who is matched, at what rate, and how long a match lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdpkit.consent import nodes_sql
from cdpkit.identity.agreements import Agreement
from cdpkit.identity.moments import instant, literal, members

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdpkit.engine import Engine

#: The channel under which a cookie banner records the choice about advertising.
AD_CHANNEL = "site"
#: Days after the first match at which the decay of matches is told.
AGES = (7, 15, 30, 45, 60, 90, 120)


def cookie_matches(
    engine: Engine, as_of: object, *, channel: str = AD_CHANNEL, agreement: Agreement | None = None
) -> pd.DataFrame:
    """Return the partners' cookies of persons who allow advertising, as known at a date.

    Parameters
    ----------
    engine : Engine
        Sees ``nodes, membership, cookie_matches`` and what consent reads.
    as_of : timestamp-like
        UTC; matches told before it, under persons and permissions of that time.
    channel : str
        Channel of the advertising permission: our cookie needs a recorded grant on it.
    agreement : Agreement, optional
        With the network: it must hold and cover activation, and then only its matches are returned.

    Returns
    -------
    DataFrame
        ``person_id, own_node, partner_node, partner, first_matched_at, last_matched_at``: one row a pair of
        cookies, both as record numbers. A pair whose own cookie is without a grant is not there.

    Raises
    ------
    ConsentError
        When the agreement is over, or does not cover activation.
    """
    if agreement is not None:
        agreement.require("activation", as_of)
    allowed = nodes_sql("activation", as_of, channel).sql(dialect=engine.dialect)
    out = engine.query(_MATCHED.format(t=literal(as_of), members=members(as_of), allowed=allowed)).to_pandas()
    if agreement is not None:
        out = out[out["partner"] == agreement.partner].reset_index(drop=True)
    return out


def match_rate(engine: Engine, since: object, until: object, *, channel: str = AD_CHANNEL) -> pd.DataFrame:
    """Return the share of our consented visitors whom each partner recognises, over a period.

    Parameters
    ----------
    engine : Engine
        As for `cookie_matches`, and ``events``.
    since, until : timestamp-like
        UTC; visitors seen from the first and before the second.
    channel : str
        Channel of the advertising permission.

    Returns
    -------
    DataFrame
        ``partner, cookies`` (own, seen in the period, with a grant), ``matched`` and ``rate``; the partners
        in alphabetical order, then ``any``.
    """
    matched = cookie_matches(engine, until, channel=channel)
    matched = matched[matched["last_matched_at"] >= instant(since)]
    allowed = nodes_sql("activation", until, channel).sql(dialect=engine.dialect)
    seen = engine.query(_SEEN.format(since=literal(since), until=literal(until), allowed=allowed)).to_pandas()
    mine = matched[matched["own_node"].isin(set(seen["node_id"]))]
    groups = {str(name): part for name, part in mine.groupby("partner")} | {"any": mine}
    rows = [(name, len(seen), part["own_node"].nunique()) for name, part in groups.items()]
    out = pd.DataFrame(rows, columns=["partner", "cookies", "matched"])
    return out.assign(rate=out["matched"] / out["cookies"].where(out["cookies"] > 0))


def match_decay(
    engine: Engine,
    as_of: object,
    *,
    channel: str = AD_CHANNEL,
    ages: Sequence[int] = AGES,
    period_days: int = 30,
) -> pd.DataFrame:
    """Return the share of matches that still hold some days after the first.

    Parameters
    ----------
    engine : Engine
        As for `cookie_matches`.
    as_of : timestamp-like
        UTC; what was seen before it.
    channel : str
        Channel of the advertising permission.
    ages : sequence of int
        Days after the first match.
    period_days : int
        How often the network tells one pair at most.

    Returns
    -------
    DataFrame
        ``partner, days, holding, matches``: by partner and ``any``.

    Notes
    -----
    A partner's cookie is replaced unseen: all that is known is that it lived from its first match until its
    last, and was gone when the partner met the same person under the next one. The curve is the most
    likely one for such intervals (Turnbull, 1976), on days; matches never replaced are open at the end. Of
    each period only the first match of a person counts: the network keeps silent about an old pair that it
    meets again within one, but not about a new pair, so that survivors would be seen less than newcomers.
    """
    allowed = nodes_sql("activation", as_of, channel).sql(dialect=engine.dialect)
    told = engine.query(_TOLD.format(t=literal(as_of), members=members(as_of), allowed=allowed)).to_pandas()
    day = pd.Timedelta(days=1)
    period = (told["event_time"] - told["event_time"].min().floor("D")) // (period_days * day)
    told = told.assign(period=period).sort_values(["event_time", "partner_node"])
    told = told.drop_duplicates(["person_id", "partner", "period"])
    cookie = told.groupby(["person_id", "partner", "partner_node"])["event_time"]
    lives = pd.DataFrame({"first": cookie.min(), "last": cookie.max()}).reset_index()
    lives = lives.sort_values(["person_id", "partner", "first"], ignore_index=True)
    following = lives.groupby(["person_id", "partner"])["first"].shift(-1)
    low = (lives["last"] - lives["first"]).dt.total_seconds().to_numpy(float) / 86400
    high = (following - lives["first"]).dt.total_seconds().fillna(np.inf).to_numpy(float) / 86400
    # Two cookies of one person at once: two browsers, and no end is known.
    high = np.where(high <= low, np.inf, high)
    rows = []
    for name in [*sorted(lives["partner"].dropna().unique()), "any"]:
        of = np.ones(len(lives), bool) if name == "any" else (lives["partner"] == name).to_numpy()
        curve = survival(low[of], high[of], ages)
        rows += [(name, age, share, int(of.sum())) for age, share in zip(ages, curve, strict=True)]
    return pd.DataFrame(rows, columns=["partner", "days", "holding", "matches"])


def survival(low: np.ndarray, high: np.ndarray, ages: Sequence[int], *, rounds: int = 500) -> np.ndarray:
    """Return the most likely survival at some ages, of lives known to end between two days.

    Parameters
    ----------
    low, high : ndarray of float
        Days; alive at the first, gone at the second (infinite where the end was not seen).
    ages : sequence of int
        Days.
    rounds : int
        Steps of the self-consistent algorithm, at most.

    Returns
    -------
    ndarray of float
        One share an age; NaN without any life.

    Examples
    --------
    >>> survival(np.array([0.0, 10.0, 20.0]), np.array([5.0, 15.0, np.inf]), [0, 8, 16]).round(2).tolist()
    [1.0, 0.67, 0.33]
    """
    if len(low) == 0:
        return np.full(len(ages), np.nan)
    top = int(max(max(ages), low.max(), high[np.isfinite(high)].max(initial=0))) + 2
    # Day d holds ends in (d, d + 1]; the last one, ends never seen.
    first = np.floor(low).astype(int)
    last = np.where(np.isfinite(high), np.maximum(np.ceil(high) - 1, first), top).astype(int)
    pairs, weight = np.unique(np.column_stack([first, last]), axis=0, return_counts=True)
    mass = np.full(top + 1, 1.0 / (top + 1))
    for _ in range(rounds):
        total = np.append(0.0, np.cumsum(mass))
        inside = total[pairs[:, 1] + 1] - total[pairs[:, 0]]
        each = weight / np.maximum(inside, 1e-300)
        # Every interval shares its weight over its days: summed by their ends.
        rise = np.bincount(pairs[:, 0], each, top + 2) - np.bincount(pairs[:, 1] + 1, each, top + 2)
        new = mass * np.cumsum(rise)[: top + 1] / len(low)
        done = np.abs(new - mass).sum() < 1e-7
        mass = new
        if done:
            break
    gone = np.append(0.0, np.cumsum(mass))
    return 1.0 - gone[np.minimum(np.asarray(ages, int), top + 1)]


_TOLD = """
    WITH own AS (
        SELECT i.value, MIN(n.node_id) AS node_id FROM nodes AS n
        JOIN identifiers AS i ON i.node_id = n.node_id AND i.id_type = 'cookie_id' AND i.value = n.record_id
        WHERE n.known_at < {t} GROUP BY i.value
    )
    SELECT m.person_id, o.node_id AS own_node, c.node_id AS partner_node, c.partner, c.event_time
    FROM cookie_matches AS c
    JOIN own AS o ON o.value = c.cookie_id
    JOIN ({allowed}) AS a ON a.node_id = o.node_id
    JOIN ({members}) AS m ON m.node_id = o.node_id
    WHERE c.event_time < {t} AND c.known_at < {t}
"""
_MATCHED = f"""
    SELECT person_id, own_node, partner_node, partner,
           MIN(event_time) AS first_matched_at, MAX(event_time) AS last_matched_at
    FROM ({_TOLD}) AS told GROUP BY person_id, own_node, partner_node, partner
    ORDER BY person_id, own_node, partner_node
"""
_SEEN = """
    SELECT DISTINCT e.node_id FROM events AS e
    JOIN nodes AS n ON n.node_id = e.node_id AND n.node_type = 'cookie'
    JOIN ({allowed}) AS a ON a.node_id = e.node_id
    WHERE e.event_time >= {since} AND e.event_time < {until} AND e.known_at < {until}
"""
