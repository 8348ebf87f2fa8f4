"""What people look for on the site: terms that find nothing and terms that rise, without naming anybody."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.stats import beta, binom

from cdpkit.errors import FaultsError
from cdpkit.normalise import fold
from cdpkit.scrub import scrub

#: Persons a cell must hold to be shown.
K = 20


def term(query: object) -> str:
    """Return a query as a term: lower case, no accents, one space; personal values taken out.

    Examples
    --------
    >>> term("  Robe  d'ÉTÉ "), term("jean@shop.example")
    ('robe dete', '')
    """
    text = scrub("" if query is None or query is pd.NA or query != query else str(query))
    if re.search(r"\[[^\]]*\]|\d{6,}", text):
        # Whatever held an address, a phone or a long number is no need of a product.
        return ""
    return fold(text) or ""


def finds(terms: Iterable[str], catalogue: Iterable[object]) -> dict[str, bool]:
    """Return whether every word of a term is found in one text of the catalogue.

    Parameters
    ----------
    terms : iterable of str
    catalogue : iterable of str
        Names, categories, brands and tags of products, each product's own in one text or apart.

    Examples
    --------
    >>> finds(["red dress", "tent"], ["Dress Anna, red, linen"])
    {'red dress': True, 'tent': False}
    """
    words = [set((fold(text) or "").split()) for text in catalogue if text is not None]
    where: dict[str, set[int]] = {}
    for place, held in enumerate(words):
        for word in held:
            where.setdefault(word, set()).add(place)
    out = {}
    for asked in terms:
        held_by = [where.get(word, set()) for word in (fold(asked) or "").split()]
        out[asked] = bool(held_by) and bool(set.intersection(*held_by))
    return out


def search_needs(
    searches: pd.DataFrame,
    *,
    as_of: str | pd.Timestamp,
    days: int = 28,
    k: int = K,
    false_share: float = 0.05,
) -> pd.DataFrame:
    """Return the terms of the last days, with what they found and how they moved, over all and by segment.

    Parameters
    ----------
    searches : DataFrame
        ``person_id, ts, query``; ``found``: whether the search gave a result (the site's own count, or
        `finds`); ``segment``, where there are any.
    as_of : timestamp
        The last `days` before it stand against as many before those.
    days : int
    k : int
        A term is told in a segment, or at all, only where as many persons looked for it in the last
        days; a segment whose number would follow by subtraction is hidden too.
    false_share : float
        Share of the rising terms that may be chance (Benjamini and Hochberg, 1995).

    Returns
    -------
    DataFrame
        ``segment`` (``all`` first), ``term, people, searches, zero_share`` (of the searches, with
        ``zero_low``, the lower end of its 95 % interval), ``before`` (searches in the days before),
        ``growth`` (ratio of the term's shares of the searches), ``rising``, ``need``: ``nothing found``,
        ``rising``, ``both`` or empty. The most people first. What is too rare to be told is the row
        ``(others)`` of its segment.

    Notes
    -----
    A term rises where its share of all searches does: one-sided binomial test of its searches now among
    now and before, given how many searches there were in each.

    Examples
    --------
    >>> at = pd.to_datetime(["2026-01-20"] * 30 + ["2025-12-20"] * 30)
    >>> said = pd.DataFrame({"person_id": list(range(30)) * 2, "ts": at, "found": False,
    ...                      "query": ["Tent"] * 30 + ["dress"] * 30})
    >>> search_needs(said, as_of="2026-02-01")[["term", "people", "need"]].values.tolist()
    [['tent', 30, 'both']]
    """
    faults = [f"column `{c}` must be present" for c in ("person_id", "ts", "query") if c not in searches]
    if days < 1 or k < 1:
        faults.append("`days` and `k` must be 1 or more")
    if faults:
        raise FaultsError("the searches", faults)
    end, width = pd.Timestamp(as_of), pd.Timedelta(days=days)
    known = searches[(searches["ts"] < end) & (searches["ts"] >= end - 2 * width)]
    spelt = {query: term(query) for query in known["query"].dropna().unique()}
    known = known.assign(term=known["query"].map(spelt), now=known["ts"] >= end - width)
    known = known[known["term"].fillna("") != ""]
    if "found" not in known:
        known = known.assign(found=True)
    parts = [("all", known)]
    if "segment" in known:
        parts += [(str(name), rows) for name, rows in known.groupby("segment", sort=True)]
    tables = [_terms(rows, name) for name, rows in parts]
    table = pd.concat(tables, ignore_index=True)
    table["shown"] = _shown(table, k)
    return _told(table, known, false_share)


def _terms(rows: pd.DataFrame, segment: str) -> pd.DataFrame:
    """Return each term's counts in one segment."""
    now = rows[rows["now"]]
    grouped = now.groupby("term")
    table = pd.DataFrame(
        {
            "people": grouped["person_id"].nunique(),
            "searches": grouped.size(),
            "zero": (~now["found"].astype(bool)).groupby(now["term"]).sum(),
            "before": rows[~rows["now"]].groupby("term").size(),
        }
    )
    table = table.fillna(0).astype(int).rename_axis("term").reset_index()
    return table.assign(segment=segment, total_now=len(now), total_before=len(rows) - len(now))


def _shown(table: pd.DataFrame, k: int) -> np.ndarray:
    """Tell which cells may be shown: held by `k` persons, and not one whose absence tells another."""
    shown = (table["people"] >= k).to_numpy(copy=True)
    whole = table["segment"] == "all"
    told = set(table.loc[whole & shown, "term"])
    shown &= table["term"].isin(told).to_numpy()
    own = ~whole.to_numpy()
    for name in told:
        rows = np.flatnonzero(own & (table["term"] == name).to_numpy())
        if not len(rows):
            continue
        people = table["people"].to_numpy()[rows]
        hidden = people[~shown[rows]].sum()
        # Fewer than k left over would be told by subtraction: the smallest of those shown goes with them.
        while 0 < hidden < k and shown[rows].any():
            least = rows[shown[rows]][np.argmin(people[shown[rows]])]
            shown[least] = False
            hidden += table["people"].iloc[least]
    return shown


def _told(table: pd.DataFrame, known: pd.DataFrame, false_share: float) -> pd.DataFrame:
    """Return the shown terms with their verdicts, and the rest of each segment as one row."""
    kept = table[table["shown"]].copy()
    both = kept["searches"] + kept["before"]
    share = kept["total_now"] / (kept["total_now"] + kept["total_before"]).clip(lower=1)
    # Where nothing came before, nothing can rise or fall.
    p = np.where(kept["total_before"] > 0, binom.sf(kept["searches"] - 1, both, share), 1.0)
    kept["rising"] = _pass(p, false_share)
    now, before = kept["searches"] / kept["total_now"].clip(lower=1), kept["before"] + 0.5
    kept["growth"] = now / (before / (kept["total_before"] + 1))
    kept["zero_share"] = kept["zero"] / kept["searches"]
    low = beta.ppf(0.025, kept["zero"].clip(lower=1), kept["searches"] - kept["zero"] + 1)
    kept["zero_low"] = np.where(kept["zero"] > 0, low, 0.0)
    nothing = kept["zero_low"] > 0.5
    kept["need"] = np.select(
        [nothing & kept["rising"], nothing, kept["rising"]], ["both", "nothing found", "rising"], ""
    )
    rest = table[~table["shown"]].groupby("segment", sort=False)
    others = rest[["searches", "before", "zero"]].sum().reset_index()
    # How many persons those are is not told: terms of one person may be several.
    others = others[others["searches"] >= K].assign(term="(others)", rising=False, need="")
    others["zero_share"] = others["zero"] / others["searches"]
    columns = [
        "segment",
        "term",
        "people",
        "searches",
        "zero_share",
        "zero_low",
        "before",
        "growth",
        "rising",
        "need",
    ]
    whole = pd.concat([kept, others])[columns] if len(others) else kept[columns]
    order = [
        whole["segment"] != "all",
        whole["segment"],
        whole["term"] == "(others)",
        -whole["people"].fillna(0),
    ]
    place = np.lexsort((whole["term"], *order[::-1]))
    return whole.iloc[place].reset_index(drop=True)


def _pass(p: np.ndarray, share: float) -> np.ndarray:
    order = np.argsort(p, kind="stable")
    good = np.flatnonzero(p[order] <= share * np.arange(1, len(p) + 1) / max(len(p), 1))
    out = np.zeros(len(p), dtype=bool)
    out[order[: good[-1] + 1] if len(good) else order[:0]] = True
    return out
