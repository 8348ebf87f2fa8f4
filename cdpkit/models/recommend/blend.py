"""How much each part counts: chosen on past purchases that the parts did not see, judged on other persons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product as combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.evaluate import list_gains, paired
from cdpkit.models.baseline import Verdict
from cdpkit.models.recommend.interactions import Interactions
from cdpkit.models.recommend.parts import PARTS, Parts

Array = NDArray[np.float64]
Weights = dict[str, float]

#: What a list is for, and the rule it must beat: the most bought lately, or what the person buys again.
TASKS = {"new": "popular", "again": "own"}

#: Weights tried for each part beside the others.
_POPULAR, _RULE, _OWN, _SIMILAR = (0.0, 0.25, 0.5, 1.0), (0.0, 0.25), (0.5, 1.0, 2.0), (0.5, 1.0)
HALF_LIVES = (60.0, 90.0, 180.0)

#: Persons judged, and how many are scored at a time.
MOST_JUDGED, AT_ONCE = 2000, 500
LENGTH = 20


@dataclass(frozen=True)
class Blend:
    """What was chosen for one task.

    Parameters
    ----------
    weights : mapping
        Of each of `PARTS`.
    half_life : float
        Days, of the own history.
    verdict : Verdict
        Whether it beats the rule, judged on persons it was not chosen on.
    table : DataFrame
        ``task, weights, half_life, ndcg, chosen``: the candidates.
    """

    weights: Weights
    half_life: float
    verdict: Verdict
    table: pd.DataFrame


def mix(scores: Mapping[str, Array], weights: Mapping[str, float]) -> Array:
    """Return the weighted sum of the parts that have a weight."""
    used = [(weight, scores[name]) for name, weight in weights.items() if weight]
    total = used[0][0] * used[0][1]
    for weight, score in used[1:]:
        total = total + weight * score
    return total


def top(score: Array, k: int) -> NDArray[np.int64]:
    """Return the codes of the `k` best products of each row, best first; ties by code.

    Examples
    --------
    >>> top(np.array([[0.1, 0.9, 0.9]]), 2).tolist()
    [[1, 2]]
    """
    k = min(k, score.shape[1])
    part = np.argpartition(-score, k - 1, axis=1)[:, :k]
    # All that tie with the last place compete for it, the lowest codes first.
    edge = np.take_along_axis(score, part, 1).min(axis=1)
    crowded = np.flatnonzero((score >= edge[:, None]).sum(axis=1) > k)
    for row in crowded:
        codes = np.flatnonzero(score[row] >= edge[row])
        part[row] = codes[np.lexsort((codes, -score[row, codes]))[:k]]
    order = np.lexsort((part, -np.take_along_axis(score, part, 1)), axis=1)
    return np.take_along_axis(part, order, 1).astype(np.int64)


def choose(seen: Interactions, cut: np.datetime64, learned: Parts, task: str, *, times: float = 2.0) -> Blend:
    """Choose the weights on purchases from `cut` on, by parts learned before.

    Persons are put in two halves: weights chosen on one are judged on the other, so that the verdict
    does not profit from the choice.

    Parameters
    ----------
    seen : Interactions
        All of them.
    cut : datetime64
        Where validation begins.
    learned : Parts
        Learned before `cut`.
    task : {"new", "again"}
        Whether products bought before are left out.
    times : float
        Standard errors by which the blend must beat its rule; infinity switches it off.

    Returns
    -------
    Blend
    """
    before, after = seen.rows(seen.ts < cut), seen.rows(seen.ts >= cut)
    bought, owned = after.matrix(), before.matrix()
    if task == "new":
        bought = bought - bought.multiply(owned)
        bought.eliminate_zeros()
    judged = np.flatnonzero((np.diff(bought.indptr) > 0) & (np.diff(owned.indptr) > 0))
    if len(judged) > MOST_JUDGED:
        judged = np.sort(np.random.default_rng(0).choice(judged, MOST_JUDGED, replace=False))
    rule = only(TASKS[task])
    if len(judged) < 20:
        return Blend(
            rule, learned.half_life, Verdict("rule", 0.0, np.inf, len(judged), "ndcg"), _table([], task)
        )
    candidates = _candidates(task)
    gains = np.zeros((len(candidates) + 1, len(judged)))
    for first in range(0, len(judged), AT_ONCE):
        some = judged[first : first + AT_ONCE]
        truth = bought[some].toarray() > 0
        hide = owned[some].toarray() > 0 if task == "new" else None
        for life in sorted({life for _, life in candidates}):
            learned.half_life = life
            scores = learned.scores(before, some)
            for place, (weights, own_life) in enumerate([*candidates, (rule, HALF_LIVES[1])]):
                if own_life == life:
                    score = mix(scores, weights)
                    if hide is not None:
                        score = np.where(hide, -np.inf, score)
                    gains[place, first : first + AT_ONCE] = list_gains(top(score, LENGTH), truth)["ndcg"]
    half = np.arange(len(judged)) % 2 == 0
    picked = np.empty(len(judged))
    for own, other in ((half, ~half), (~half, half)):
        picked[other] = gains[int(gains[:-1, own].mean(axis=1).argmax()), other]
    gap = paired(-picked, -gains[-1])
    verdict = Verdict("model" if gap.better(times) else "rule", -gap.mean, gap.se, gap.units, "ndcg")
    best = int(gains[:-1].mean(axis=1).argmax())
    weights, life = candidates[best]
    rows = [(w, own, gains[k].mean(), k == best) for k, (w, own) in enumerate(candidates)]
    if verdict.decided_by == "rule":
        weights = rule
    return Blend(weights, life, verdict, _table([*rows, (rule, np.nan, gains[-1].mean(), False)], task))


def only(part: str) -> Weights:
    """Return the weights that leave one part."""
    return {name: float(name == part) for name in PARTS}


def _candidates(task: str) -> list[tuple[Weights, float]]:
    if task == "new":
        tried = combinations((1.0,), _POPULAR, _RULE, (0.0,))
        return [(dict(zip(PARTS, weights, strict=True)), HALF_LIVES[1]) for weights in tried]
    tried = combinations(_SIMILAR, _POPULAR[1:3], (0.0,), _OWN)
    return [(dict(zip(PARTS, w, strict=True)), life) for w in tried for life in HALF_LIVES]


def _table(rows: list[tuple[Weights, float, float, bool]], task: str) -> pd.DataFrame:
    told = [
        (task, ", ".join(f"{n} {v:g}" for n, v in w.items() if v), life, gain, chosen)
        for w, life, gain, chosen in rows
    ]
    return pd.DataFrame(told, columns=["task", "weights", "half_life", "ndcg", "chosen"])
