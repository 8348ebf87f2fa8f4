"""Which parts make the likeness: judged by where seeds held out of the learning come among the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.evaluate import paired
from cdpkit.models.baseline import Verdict
from cdpkit.models.frame import Columns
from cdpkit.models.lookalike.parts import make

Matrix = NDArray[np.float32]
Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Candidates, simplest first: the rule, single learners, and means of standardised parts.
CANDIDATES: dict[str, tuple[str, ...]] = {
    "direction": ("direction",),
    "logistic": ("logistic",),
    "bagging": ("bagging",),
    "direction + bagging": ("direction", "bagging"),
    "logistic + bagging": ("logistic", "bagging"),
    "all three": ("direction", "logistic", "bagging"),
}
RULE = "direction"

#: Share of the others within which ranks differ little: audiences are a few in a hundred, so what happens
#: far down a list counts little, and the judgement is on the log of a seed's rank beyond this share.
HEAD = 0.03


@dataclass(frozen=True)
class Choice:
    """What held-out seeds chose.

    Parameters
    ----------
    name : str
        One of `CANDIDATES`: the one served.
    verdict : Verdict
        Whether the best of the learners beats the direction.
    table : DataFrame
        ``candidate, auc, gain, se, chosen``, a row a candidate; the gain over the direction is in the log of
        a held-out seed's rank.
    above : ndarray
        For each seed, the share of the others that score above it when it is held out, by the candidate
        served.
    """

    name: str
    verdict: Verdict
    table: pd.DataFrame
    above: Array


def standard(margin: Array) -> tuple[float, float]:
    """Return the centre and the spread of a margin; a constant one has spread 1.

    Examples
    --------
    >>> standard(np.array([1.0, 3.0])), standard(np.ones(3))
    ((2.0, 1.0), (1.0, 1.0))
    """
    spread = float(margin.std())
    return float(margin.mean()), spread if spread > 1e-12 else 1.0


def share_above(scores: Array, others: Array) -> Array:
    """Return, for each score, the share of others above it; ties count half.

    Examples
    --------
    >>> share_above(np.array([2.0, 0.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    array([0.625, 1.   ])
    """
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    return 1 - below / (2 * len(ordered))


def choose(
    columns: Columns, matrix: Matrix, is_seed: Flags, *, method: str, folds: int, bags: int, seed: int,
    n_jobs: int,
) -> Choice:  # fmt: skip
    """Hold out each seed once, and keep the candidate that places the held-out seeds highest.

    The held-out seeds stand among the others while the parts learn, as the people sought do. A learner
    is served only where it beats the direction by two paired standard errors over seeds.

    Parameters
    ----------
    columns, matrix, is_seed
        Encoded people, and which are seeds.
    method : str
        One of `CANDIDATES`, or ``"auto"``.
    folds : int
        Parts of the seeds held out in turn.
    bags, seed, n_jobs : int
        See `BaggedTrees`.

    Returns
    -------
    Choice
    """
    tried = CANDIDATES if method == "auto" else {RULE: CANDIDATES[RULE], method: CANDIDATES[method]}
    kinds = sorted({kind for parts in tried.values() for kind in parts})
    seeds, others = np.flatnonzero(is_seed), np.flatnonzero(~is_seed)
    fold = np.random.default_rng(seed).permutation(len(seeds)) % folds
    above = {name: np.zeros(len(seeds)) for name in tried}
    for k in range(folds):
        learn = is_seed.copy()
        learn[seeds[fold == k]] = False
        z = {}
        for kind in kinds:
            margin = (
                make(kind, columns, bags=bags, seed=seed, n_jobs=n_jobs).fit(matrix, learn).margin(matrix)
            )
            centre, spread = standard(margin)
            z[kind] = (margin - centre) / spread
        for name, parts in tried.items():
            score = np.mean([z[kind] for kind in parts], axis=0)
            above[name][fold == k] = share_above(score[seeds[fold == k]], score[others])
    depth = {name: np.log(HEAD + a) for name, a in above.items()}
    best = min(tried, key=lambda name: depth[name].mean()) if method == "auto" else method
    gap = paired(depth[best], depth[RULE])
    decided = "model" if best != RULE and gap.better(2.0) else "rule"
    name = best if decided == "model" or method != "auto" else RULE
    gaps = {n: paired(d, depth[RULE]) for n, d in depth.items()}
    table = pd.DataFrame(
        {
            "candidate": list(tried),
            "auc": [1 - above[n].mean() for n in tried],
            "gain": [-gaps[n].mean for n in tried],
            "se": [gaps[n].se for n in tried],
            "chosen": [n == name for n in tried],
        }
    )
    verdict = Verdict(decided, -gap.mean, gap.se, gap.units, measure="rank")
    return Choice(name, verdict, table, above[name])
