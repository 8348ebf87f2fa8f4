"""What channels add: conversions that would not have come without them, intent held equal."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import t as student

from cdpkit.errors import CdpkitError
from cdpkit.evaluate.intervals import quantile_range
from cdpkit.models.attribution.paths import Paths
from cdpkit.models.attribution.response import Fitted, fit_logit, logit

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

#: Half-lives of carry-over tried, in days (or in touches where times are not known).
HALF_LIVES = (1.0, 3.0, 7.0, 14.0)

_DRAWS = 400

#: Conversions with an exposure of this much that an effect must have behind it to be told.
_LEAST, _SOME = 10, 0.1


@dataclass(frozen=True)
class Units:
    """Units in which a conversion happens or not: paths, or persons in weeks.

    Parameters
    ----------
    channels : Index
    exposure : ndarray of shape (units, channels)
        Decayed stock of touches.
    converted : ndarray of float
        0 or 1 (or a share), with `weight` observations each.
    weight : ndarray
    intent : ndarray of shape (units, covariates)
        What is known of each unit's intent, before its touches.
    group : ndarray of int
        The person of each unit.
    touches : ndarray of shape (units, channels)
        Touches, undecayed, for the reliability of the intent covariates.
    fresh : ndarray of shape (units, channels), optional
        Stock of touches within the unit itself. Effects are not learned from it, since what brings a person
        to buy today also brings the touch of today; credit then counts it.
    period : ndarray of int, optional
        The week of each unit. Campaigns and seasons come and go together for everybody: channels are then
        judged between units of one week only.
    """

    channels: pd.Index
    exposure: Array
    converted: Array
    weight: Array
    intent: Array
    group: Codes
    touches: Array
    fresh: Array | None = None
    period: Codes | None = None

    def take(self, rows: Codes) -> Units:
        """Return some of the units."""
        named = ("exposure", "converted", "weight", "intent", "group", "touches", "fresh", "period")
        parts = {name: getattr(self, name) for name in named}
        return replace(self, **{name: part[rows] for name, part in parts.items() if part is not None})


def of_paths(paths: Paths, half_life: float, intent: Array | None) -> Units:
    """Return the paths as units, touches decayed from the last one on.

    Parameters
    ----------
    paths : Paths
    half_life : float
        Days, or touches where times are not known.
    intent : ndarray of shape (paths, covariates), optional
    """
    n, k = len(paths), len(paths.channels)
    age = paths.back if paths.age is None else paths.age
    pair = paths.of_touch * np.int64(k) + paths.channel
    exposure = np.bincount(pair, 0.5 ** (age / half_life), n * k).reshape(n, k).astype(float)
    touches = np.bincount(pair, minlength=n * k).reshape(n, k).astype(float)
    weight = paths.conversions + paths.nulls
    group = np.arange(n) if paths.person is None else pd.factorize(paths.person)[0].astype(np.int64)
    share = paths.conversions / np.where(weight > 0, weight, 1.0)
    return Units(
        paths.channels,
        exposure,
        share,
        weight,
        np.zeros((n, 0)) if intent is None else intent,
        group,
        touches,
    )


def noise_of(intent: Array, units: Units) -> tuple[float, float]:
    """Estimate the noise in an intent covariate from which channels come together.

    What people want lasts from one of their touches to the next, so it makes channels come together, and
    each channel come with the covariate. The noise of the covariate does the second less, never the first:
    the two together give the variance of the intent behind it. Pairs of one channel are left out, since
    a habit of media repeats a channel without any intent. A factor model's reliability, by moments. Campaigns
    in which one channel sets off another break it: give the noise then.

    Returns
    -------
    variance, se : float
        Of the noise, in the covariate's own unit; 0 where it cannot be told from none.
    """
    many = units.touches.sum(axis=1) > 1
    if many.sum() < 100 or intent.std() < 1e-12:
        return 0.0, np.inf
    touch, w = units.touches[many], (intent - intent.mean())[many]
    n, group = touch.sum(axis=1), units.group[many] % 20
    share = units.touches.sum(axis=0) / units.touches.sum()
    away = touch - n[:, None] * share
    off = ~np.eye(touch.shape[1], dtype=bool)

    def variance(rows: NDArray[np.bool_]) -> float:
        # Touches with themselves are taken out: only pairs of different touches are left.
        a, t, m = away[rows], touch[rows], n[rows]
        own = np.diag(t.sum(axis=0)) - np.outer(t.sum(axis=0), share) - np.outer(share, t.sum(axis=0))
        own += m.sum() * np.outer(share, share)
        both = (a.T @ a - own) / (m * (m - 1)).sum()
        with_w = (a * w[rows][:, None]).sum(axis=0) / m.sum()
        product = np.outer(with_w, with_w)
        slope = (product * both)[off].sum() / max((product**2)[off].sum(), 1e-300)
        return 1 / slope if slope > 0 else np.inf

    whole = variance(np.ones(len(n), dtype=bool))
    parts = np.array([variance(group != k) for k in range(20)])
    if not np.isfinite(whole) or not np.isfinite(parts).all():
        return 0.0, np.inf
    se = float(np.sqrt(19 / 20 * ((parts - parts.mean()) ** 2).sum()))
    noise = float(w.var() - whole)
    if noise < 2 * se:
        return 0.0, se
    # At most nine tenths of a covariate is noise: beyond, it tells nothing that could be mended.
    return min(noise, 0.9 * float(w.var())), se


def denoised(intent: Array, exposure: Array, noise: float) -> Array:
    """Return the intent expected given the noisy covariate and the exposures: regression calibration.

    Carroll, Ruppert, Stefanski and Crainiceanu (2006), *Measurement error in nonlinear models*: the
    exposures themselves tell of intent, so they enter the expectation.

    Examples
    --------
    >>> w = np.array([1.0, -1.0, 0.5, -0.5])
    >>> np.allclose(denoised(w, np.zeros((4, 0)), 0.0), w)
    True
    """
    table = np.column_stack([intent, exposure])
    spread = np.cov(table.T, bias=True).reshape(table.shape[1], table.shape[1])
    target = spread[0].copy()
    target[0] -= noise
    centred = table - table.mean(axis=0)
    return centred @ np.linalg.lstsq(spread, target, rcond=1e-10)[0]


def shares(margin: Array, parts: Array) -> Array:
    """Return what each part of the log-odds adds to the chance of each unit.

    Shapley's value for many small players (Aumann and Shapley, 1974): along the straight way from no part
    to all of them, a part gets its proportion of the change. Exact, whatever the number of channels.

    Parameters
    ----------
    margin : ndarray of shape (units,)
        Log-odds with all parts.
    parts : ndarray of shape (units, channels)

    Examples
    --------
    >>> shares(np.array([0.0]), np.array([[1.0, 1.0]])).round(3).tolist()
    [[0.19, 0.19]]
    """
    total = parts.sum(axis=1)
    p = expit(margin)
    flat = np.abs(total) < 1e-9
    slope = np.where(flat, p * (1 - p), (p - expit(margin - total)) / np.where(flat, 1.0, total))
    return parts * slope[:, None]


@dataclass(frozen=True)
class Incremental:
    """What channels add, with its intervals and its verdict.

    Parameters
    ----------
    table : DataFrame
        ``channel, effect`` (log-odds of a fresh touch), ``se, z, found`` (whether it stands at the level
        asked, selection included), ``added`` (conversions), ``half_life`` (carry-over chosen), ``low, high``
        (95 %).
    baseline : float
        Conversions that would have come anyway.
    noise : float
        Variance of the noise taken out of the intent, as a share of the covariate's variance.
    with_intent : bool
        Whether any covariate of intent was given.
    found : bool
        Whether any channel is shown to add anything.
    """

    table: pd.DataFrame
    baseline: float
    noise: float
    with_intent: bool
    found: bool


def estimate(
    tried: dict[float, Units], *, noise: float | str | None = "auto", level: float = 0.025, seed: int = 0
) -> Incremental:
    """Estimate what channels add, at the carry-over that fits best.

    Parameters
    ----------
    tried : mapping of float to Units
        The same units at several half-lives.
    noise : float, "auto" or None
        Variance of the noise in the intent, as a share of the covariate's variance; ``"auto"`` estimates
        it on paths (see `noise_of`) and takes the covariates of moments as they are, None always does.
    level : float
        One-sided chance of reporting any effect where there is none, over all channels
        and half-lives tried (Bonferroni).
    seed : int
        Of the draws behind the intervals.

    Returns
    -------
    Incremental
    """
    some = next(iter(tried.values()))
    if not (some.converted * some.weight).sum():
        raise CdpkitError("incremental attribution must see conversions", got="none")
    units, lives = _carried(tried)
    share, k, design = 0.0, units.exposure.shape[1], _design(units, units.intent)
    fitted = logit(design, units.converted, units.weight, units.group)
    # At moments, covariates are what advertising follows (visits, carts) rather than a hint of it.
    hinted = units.fresh is None or noise != "auto"
    if units.intent.shape[1] and noise is not None and hinted:
        index = units.intent @ fitted.coefficient[1 + k :]
        whole = float(index.var())
        given = noise_of(index, units)[0] if noise == "auto" else float(noise) * whole
        if given > 0 and whole > 0:
            share = given / whole
            design = _design(units, denoised(index, units.exposure, given)[:, None])
            fitted = logit(design, units.converted, units.weight, units.group)
    # The half-life of each channel was chosen among several: each is a look.
    return _summed(units, design, fitted, lives, share, level / len(tried), seed)


def _carried(tried: dict[float, Units]) -> tuple[Units, Array]:
    """Return the units, each channel's stock at the half-life that fits best, and these half-lives."""
    lives = sorted(tried)
    middle = lives[(len(lives) - 1) // 2]
    base = tried[middle]
    chosen = np.full(len(base.channels), middle)
    # A tenth of a million rows tell half-lives apart; more would only take longer.
    rows = np.arange(0, len(base.weight), max(1, len(base.weight) // 100_000))
    some = base.take(rows)
    start: Array | None = None
    for c in range(len(base.channels) if len(lives) > 1 else 0):
        gain = {}
        for life in lives:
            exposure = some.exposure.copy()
            exposure[:, c] = tried[life].exposure[rows, c]
            design = _design(replace(some, exposure=exposure), some.intent)
            start, _, gain[life] = fit_logit(design, some.converted, some.weight, start)
        chosen[c] = max(lives, key=lambda life: gain[life])
    exposure = np.column_stack([tried[life].exposure[:, c] for c, life in enumerate(chosen)])
    fresh = None if base.fresh is None else base.fresh
    return replace(base, exposure=exposure, fresh=fresh), chosen


def as_intent(units: Units, navigational: Collection[str]) -> Units:
    """Return units where channels that people come by of their own accord tell of intent, and get no credit.

    Whoever types the brand's name was coming already: a visit through it says what the person wants. What
    such a channel adds beyond, only a test can tell.
    """
    own = units.channels.isin(list(navigational))
    if not own.any():
        return units
    # Of today's touches nothing is taken: they come with the conversion itself.
    return replace(
        units,
        channels=units.channels[~own],
        exposure=units.exposure[:, ~own],
        touches=units.touches[:, ~own],
        fresh=None if units.fresh is None else units.fresh[:, ~own],
        intent=np.column_stack([units.intent, units.exposure[:, own]]),
    )


def _design(units: Units, intent: Array) -> Array:
    """Return the constant, the exposures and the intent; with periods, beside the others of one period."""
    table = np.column_stack([units.exposure, intent])
    if units.period is None:
        return np.column_stack([np.ones(len(table)), table])
    period = np.unique(units.period, return_inverse=True)[1]
    weight = np.bincount(period, units.weight)
    mean = [np.bincount(period, units.weight * column) / weight for column in table.T]
    bought = np.bincount(period, units.weight * units.converted)
    # A week's own level, half a conversion and half a miss added so that an empty week has one too.
    level = np.log((bought + 0.5) / (weight - bought + 0.5))
    inside = table - np.stack(mean, axis=1)[period]
    return np.column_stack([np.ones(len(table)), inside, level[period]])


def _summed(
    units: Units, design: Array, fitted: Fitted, lives: Array, share: float, level: float, seed: int
) -> Incremental:
    k = units.exposure.shape[1]
    total = float((units.converted * units.weight).sum())

    effect = fitted.coefficient[1 : 1 + k]
    se = np.sqrt(np.maximum(np.diag(fitted.covariance)[1 : 1 + k], 1e-300))
    z = effect / se
    # A normal law for an effect needs some conversions behind it.
    behind = ((units.exposure > _SOME) * (units.converted * units.weight)[:, None]).sum(axis=0)
    found = (student.sf(z, fitted.freedom[1 : 1 + k]) < level / max(k, 1)) & (behind >= _LEAST)
    luck = np.random.default_rng(seed)
    drawn = luck.multivariate_normal(
        fitted.coefficient, fitted.covariance, size=_DRAWS, method="eigh", check_valid="ignore"
    )
    # Each draw costs a pass over the units: a sample of them tells the relative spread.
    pool = np.arange(len(design)) if units.fresh is None else np.flatnonzero(units.converted > 0)
    rows = np.sort(luck.choice(pool, min(len(pool), 5000), replace=False))
    some = units.take(rows)
    point = _added(some, design[rows], fitted.coefficient)
    low, high = quantile_range(np.array([_added(some, design[rows], beta) for beta in drawn]))
    value, scale = _added(units, design, fitted.coefficient), np.ones(k)
    np.divide(value, point, out=scale, where=point > 0)
    table = pd.DataFrame(
        {
            "channel": units.channels.astype("str"),
            "effect": effect,
            "se": se,
            "z": z,
            "found": found,
            "added": value,
            "low": np.where(point > 0, low * scale, 0.0),
            "half_life": lives,
            "high": high
            * np.where(point > 0, scale, total / max(float((some.converted * some.weight).sum()), 1e-300)),
        }
    )
    return Incremental(
        table, total - float(value.sum()), share, bool(units.intent.shape[1]), bool(found.any())
    )


def _added(units: Units, design: Array, beta: Array) -> Array:
    """Return the conversions each channel adds; one that seems to do harm adds nothing."""
    effect = np.maximum(beta[1 : 1 + units.exposure.shape[1]], 0.0)
    if units.fresh is None:
        return (shares(design @ beta, units.exposure * effect) * units.weight[:, None]).sum(axis=0)
    # Of each conversion seen, the share of its chance that the touches make.
    bought = units.converted > 0
    margin = design[bought] @ beta + units.fresh[bought] @ effect
    made = (
        shares(margin, (units.exposure + units.fresh)[bought] * effect)
        / np.maximum(expit(margin), 1e-12)[:, None]
    )
    return (made * (units.weight * units.converted)[bought, None]).sum(axis=0)
