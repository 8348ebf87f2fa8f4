"""Channels together: which pairs do more than each alone, and a scorecard that says why."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from cdpkit.models.attribution.credit import positional
from cdpkit.models.attribution.paths import Paths
from cdpkit.models.attribution.response import fit_logit
from cdpkit.phrases import say

Array = NDArray[np.float64]


def synergies(paths: Paths, *, least: int = 30, false_share: float = 0.05) -> pd.DataFrame:
    """Return, for each pair of channels, how paths with both convert beside paths with one or none.

    An interaction is counted with the other channels and pairs held equal, where the paths allow it. Every
    path holds a channel, so nobody sees the rate of a path without any: where no mix of the others tells
    it, the paths with neither of the two stand for it, and `against` says so.

    Parameters
    ----------
    paths : Paths
    least : int
        Paths that must hold both, and each without the other.
    false_share : float
        Share of the pairs found that may be chance (Benjamini and Hochberg, 1995).

    Returns
    -------
    DataFrame
        ``first, second``; ``both, first_only, second_only, neither`` (conversion rates), ``paths`` (with
        both), ``interaction`` (log-odds beyond the sum of the two alone) with ``se``, ``against`` (``same
        others`` or ``paths with neither``), and ``found``: 1 does more than the sum, -1 less, 0 not shown.
        Strongest first. An association: who meets both may differ from who meets one.

    Examples
    --------
    >>> paths = ["a", "b", "c", "a > b", "a > c", "b > c", "a > b > c"]
    >>> frame = pd.DataFrame({"path": paths, "conversions": [100, 100, 100, 500, 180, 180, 600]})
    >>> frame["nulls"] = 1000 - frame["conversions"]
    >>> synergies(Paths.of(frame))[["first", "second", "found"]].values.tolist()[0]
    ['a', 'b', 1]
    """
    k = len(paths.channels)
    held = np.zeros((len(paths), k))
    row, channel = paths.held()
    held[row, channel] = 1.0
    weight = paths.conversions + paths.nulls
    won, all_ = (held.T @ (held * w[:, None]) for w in (paths.conversions, weight))
    gaps, errors, told = _interactions(held, paths.conversions, weight, least)
    rows = []
    for a, b in combinations(range(k), 2):
        n = np.array([all_[a, b], all_[a, a] - all_[a, b], all_[b, b] - all_[a, b], 0.0])
        y = np.array([won[a, b], won[a, a] - won[a, b], won[b, b] - won[a, b], 0.0])
        n[3], y[3] = weight.sum() - n.sum(), paths.conversions.sum() - y.sum()
        if (n[:3] >= least).all() and (told[a, b] or n[3] >= least):
            rates = y / np.where(n > 0, n, np.nan)
            gap, se = (gaps[a, b], errors[a, b]) if told[a, b] else _beside_neither(y, n)
            against = "same others" if told[a, b] else "paths with neither"
            rows.append((*paths.channels[[a, b]], *rates, int(n[0]), gap, se, against))
    names = ["first", "second", "both", "first_only", "second_only", "neither", "paths", "interaction", "se"]
    table = pd.DataFrame(rows, columns=[*names, "against"])
    gaps, errors = (table[name].to_numpy(dtype=float) for name in ("interaction", "se"))
    p = 2 * norm.sf(np.abs(gaps / errors))
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= false_share * np.arange(1, len(p) + 1) / max(len(p), 1))
    found = np.zeros(len(p), dtype=int)
    if len(passed):
        kept = order[: passed[-1] + 1]
        found[kept] = np.sign(gaps)[kept]
    table = table.assign(found=found, size=np.abs(table["interaction"] / table["se"]))
    return (
        table.sort_values(["size", "first", "second"], ascending=[False, True, True])
        .drop(columns="size")
        .reset_index(drop=True)
    )


def _interactions(
    held: Array, won: Array, weight: Array, least: int
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return each pair's log-odds beyond the sum of the two alone, all pairs held at once, and its error.

    And whether the sets of channels that `least` paths hold tell it at all.
    """
    k = held.shape[1]
    sets, row = np.unique(held, axis=0, return_inverse=True)
    total = np.bincount(row.ravel(), weight, len(sets)).astype(float)
    share = np.bincount(row.ravel(), won, len(sets)) / np.where(total > 0, total, 1.0)
    pairs = list(combinations(range(k), 2))
    both = np.column_stack([sets[:, a] * sets[:, b] for a, b in pairs]) if pairs else np.zeros((len(sets), 0))
    design = np.column_stack([np.ones(len(sets)), sets, both])
    beta, *_ = fit_logit(design, share, total.astype(float))
    p = expit(design @ beta)
    # The ridge of the fit enters the curvature too: pairs hardly seen get a wide error, not an infinite one.
    curve = (design * (total * p * (1 - p))[:, None]).T @ design + 1e-3 * np.eye(design.shape[1])
    error = np.sqrt(np.diag(np.linalg.inv(curve)))
    # A coefficient is told where nothing of it lies in directions in which the sets do not differ.
    usual = design[total >= least]
    blind = np.linalg.svd(usual, full_matrices=True)
    unseen = blind[2][np.sum(blind[1] > 1e-9 * max(blind[1].max(initial=0.0), 1e-300)) :]
    gap, se = np.zeros((k, k)), np.full((k, k), np.inf)
    told = np.zeros((k, k), dtype=bool)
    for place, (a, b) in enumerate(pairs, start=1 + k):
        gap[a, b], se[a, b] = beta[place], error[place]
        told[a, b] = bool((np.abs(unseen[:, place]) < 1e-6).all())
    return gap, se, told


def _beside_neither(won: Array, paths: Array) -> tuple[float, float]:
    """Return the interaction of a pair and its error from four rates: both, one, the other, neither."""
    # Half a conversion and half a miss (Haldane, 1956) keep an empty cell finite.
    yes, no = won + 0.5, paths - won + 0.5
    odds = np.log(yes / no)
    return float(odds[0] - odds[1] - odds[2] + odds[3]), float(np.sqrt((1 / yes + 1 / no).sum()))


def scorecard(
    paths: Paths, credits: pd.DataFrame, effects: pd.DataFrame | None = None, spend: pd.Series | None = None
) -> pd.DataFrame:
    """Return what each channel does, by every credit, and what makes it look as it does.

    Parameters
    ----------
    paths : Paths
    credits : DataFrame
        `Attribution.credits_`.
    effects : DataFrame, optional
        ``channel, z, found, added``, as in `Incremental.table`.
    spend : Series, optional
        Money spent, by channel.

    Returns
    -------
    DataFrame
        By channel: ``paths, touches, rate`` (conversions of paths with it), ``first, last, alone`` (share
        of its converting paths it opens, closes, is alone in), a column ``credit_<method>`` each (which
        sum to the conversions), ``added`` and ``found``, ``spend, cost_per_last, cost_per_added``. NaN where
        not known.
    """
    row, channel = paths.held()
    k, names = len(paths.channels), paths.channels.astype("str")
    with_it = np.bincount(channel, (paths.conversions + paths.nulls)[row], k)
    won = np.bincount(channel, paths.conversions[row], k)
    single = np.bincount(row, minlength=len(paths)) == 1
    some = np.where(won > 0, won, np.nan)
    table = pd.DataFrame(
        {
            "channel": names,
            "paths": with_it,
            "touches": np.bincount(
                paths.channel, np.repeat(paths.conversions + paths.nulls, paths.length), k
            ),
            "rate": won / np.where(with_it > 0, with_it, np.nan),
            "first": positional(paths, "first", paths.conversions) / some,
            "last": positional(paths, "last", paths.conversions) / some,
            "alone": np.bincount(channel, (paths.conversions * single)[row], k) / some,
        }
    )
    wide = credits.pivot(index="channel", columns="method", values="conversions").reindex(names)
    for method in dict.fromkeys(credits["method"]):
        table[f"credit_{method}"] = wide[method].to_numpy()
    own = None if effects is None else effects.set_index("channel").reindex(names)
    table["added"] = np.nan if own is None else table["credit_incremental"]
    table["found"] = False if own is None else own["found"].eq(True).to_numpy()
    table["spend"] = np.nan if spend is None else spend.reindex(names).to_numpy(dtype=float)
    for name, credit in (("cost_per_last", "credit_last"), ("cost_per_added", "added")):
        table[name] = table["spend"] / table[credit].where(table[credit] > 0)
    return table


_WHY = {
    "adds": (
        "apporte {value} {vente|ventes} qui ne seraient pas venues sans lui",
        "brings {value} {sale|sales} that would not have come without it",
    ),
    "nothing": (
        "rien ne montre qu'il apporte des ventes de plus",
        "nothing shows that it brings further sales",
    ),
    "closes": (
        "ferme {value} des parcours où il est : le dernier clic le flatte",
        "closes {value} of the paths it is in: the last click flatters it",
    ),
    "opens": (
        "ouvre {value} des parcours où il est : le dernier clic ne le voit pas",
        "opens {value} of the paths it is in: the last click does not see it",
    ),
    "alone": (
        "convertit seul dans {value} de ses parcours",
        "converts alone in {value} of its paths",
    ),
    "late": (
        "ses parcours convertissent {value} fois plus que les autres, mais l'intention l'explique",
        "its paths convert {value} times as much as others, but intent explains it",
    ),
}


def why(card: pd.DataFrame, channel: str, language: str) -> list[str]:
    """Say why a channel scores as it does, in French or in English.

    Parameters
    ----------
    card : DataFrame
        As given by `scorecard`.
    channel : str
    language : {"fr", "en"}

    Examples
    --------
    >>> card = pd.DataFrame({"channel": ["ad"], "found": [False], "added": [0.0], "first": [0.1],
    ...                      "last": [0.8], "alone": [0.1], "rate": [0.3], "paths": [10.0]})
    >>> print(*why(card, "ad", "en"), sep="; ")
    nothing shows that it brings further sales; closes 80% of the paths it is in: the last click flatters it
    """
    row = card[card["channel"] == channel].iloc[0]
    told: list[tuple[str, float | None, str]] = []
    if bool(row["found"]):
        told.append(("adds", float(np.round(row["added"])), "count"))
    else:
        told.append(("nothing", None, "count"))
    roles = {name: float(row[name]) for name in ("first", "last", "alone")}
    if roles["last"] >= 0.5 and roles["last"] > roles["first"]:
        told.append(("closes", roles["last"], "share"))
    elif roles["first"] >= 0.5 and roles["first"] > roles["last"]:
        told.append(("opens", roles["first"], "share"))
    if roles["alone"] >= 0.5:
        told.append(("alone", roles["alone"], "share"))
    others = card[card["channel"] != channel]
    usual = (
        float((others["rate"] * others["paths"]).sum() / max(others["paths"].sum(), 1))
        if len(others)
        else 0.0
    )
    if usual > 0 and not bool(row["found"]) and row["rate"] > 1.5 * usual:
        told.append(("late", float(row["rate"] / usual), "ratio"))
    place = 0 if language == "fr" else 1
    return [
        say(_WHY[key][place], language, value, unit=unit).replace("\u202f", " ") for key, value, unit in told
    ]
