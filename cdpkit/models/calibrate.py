"""Turn log-odds into probabilities that come true: as they are, by a beta map, or by Venn-Abers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from cdpkit.evaluate import log_losses, paired

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Calibrator(Protocol):
    """A map from log-odds to probabilities that never reverses an order."""

    kind: str

    def fit(self, margin: Array, y: Flags) -> Calibrator:
        """Learn the map from held-out log-odds."""

    def predict(self, margin: Array) -> Array:
        """Return probabilities."""

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state, ready for JSON."""


class Identity:
    """Leave the learner's probabilities as they are.

    Examples
    --------
    >>> Identity().predict(np.zeros(1))
    array([0.5])
    """

    kind = "identity"

    def fit(self, margin: Array, y: Flags) -> Identity:
        """Learn nothing."""
        return self

    def predict(self, margin: Array) -> Array:
        """Return probabilities."""
        return expit(margin)

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"kind": self.kind}


class Beta:
    """Bend the probabilities by three numbers.

    Notes
    -----
    Kull, Silva Filho and Flach (2017), *Beta calibration*: logit q = a ln p − b ln(1 − p) + c with a and b
    not negative, which holds the identity (a = b = 1, c = 0).

    Examples
    --------
    >>> margin = np.linspace(-3, 3, 2000)
    >>> y = np.random.default_rng(0).random(2000) < expit(margin - 1)
    >>> abs(Beta().fit(margin, y).predict(np.array([1.0]))[0] - 0.5) < 0.05
    np.True_
    """

    kind = "beta"

    def __init__(self, a: float = 1.0, b: float = 1.0, c: float = 0.0) -> None:
        self.a, self.b, self.c = a, b, c

    def fit(self, margin: Array, y: Flags) -> Beta:
        """Learn a, b and c; a term that would reverse the order is left out."""
        terms = np.column_stack([-np.logaddexp(0, -margin), np.logaddexp(0, margin)])
        for kept in ([0, 1], [0], [1]):
            solver = LogisticRegression(C=1e4, solver="newton-cholesky", max_iter=200)
            solver.fit(terms[:, kept], y)
            if (solver.coef_[0] >= 0).all():
                weights = np.zeros(2)
                weights[kept] = solver.coef_[0]
                self.a, self.b, self.c = float(weights[0]), float(weights[1]), float(solver.intercept_[0])
                break
        return self

    def predict(self, margin: Array) -> Array:
        """Return probabilities."""
        return expit(-self.a * np.logaddexp(0, -margin) + self.b * np.logaddexp(0, margin) + self.c)

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"kind": self.kind, "a": self.a, "b": self.b, "c": self.c}


class VennAbers:
    """Free monotone map, made prudent by asking what one more person of each outcome would change.

    Notes
    -----
    Vovk, Petej and Fedorova (2015), *Large-scale probabilistic predictors with and without guarantees of
    validity*: isotonic regression with the new person as a non-buyer (p0), then as a buyer (p1), merged
    as p1 / (1 − p0 + p1). Held-out scores are gathered in at most 128 groups of equal size, the map is
    linear between groups, and one thousandth of the learner's probability is mixed in so that people
    whose scores differ are still ranked.

    Examples
    --------
    >>> margin = np.linspace(-3, 3, 2000)
    >>> y = np.random.default_rng(0).random(2000) < expit(2 * margin)
    >>> abs(VennAbers().fit(margin, y).predict(np.array([1.0]))[0] - expit(2.0)) < 0.06
    np.True_
    """

    kind = "venn_abers"
    groups = 128
    mixed = 1e-3

    def __init__(self, knots: Sequence[float] = (0.0,), values: Sequence[float] = (0.5,)) -> None:
        self.knots, self.values = np.asarray(knots, dtype=float), np.asarray(values, dtype=float)

    def fit(self, margin: Array, y: Flags) -> VennAbers:
        """Learn the map from held-out log-odds."""
        ordered = np.sort(margin)
        cuts = np.unique(ordered[np.linspace(0, len(ordered) - 1, self.groups + 1).astype(int)][1:-1])
        group = np.searchsorted(cuts, margin, side="left")
        _, group = np.unique(group, return_inverse=True)
        weight = np.bincount(group).astype(float)
        self.knots = np.bincount(group, weights=margin) / weight
        hits = np.bincount(group, weights=y.astype(float)).astype(float)
        p0, p1 = _with_one_more(hits, weight, 0.0), _with_one_more(hits, weight, 1.0)
        self.values = p1 / (1 - p0 + p1)
        return self

    def predict(self, margin: Array) -> Array:
        """Return probabilities."""
        free = np.interp(margin, self.knots, self.values)
        return (1 - self.mixed) * free + self.mixed * expit(margin)

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"kind": self.kind, "knots": self.knots.tolist(), "values": self.values.tolist()}


def _with_one_more(hits: Array, weight: Array, outcome: float) -> Array:
    """Return the isotonic fit at each group when one more person of this outcome joins it (max-min form)."""
    total, people = np.append(0.0, np.cumsum(hits)), np.append(0.0, np.cumsum(weight))
    fitted = np.empty(len(hits))
    for i in range(len(hits)):
        sums = total[i + 1 :][None, :] - total[: i + 1][:, None] + outcome
        fitted[i] = (sums / (people[i + 1 :][None, :] - people[: i + 1][:, None] + 1)).min(axis=1).max()
    return fitted


KINDS: dict[str, Any] = {kind.kind: kind for kind in (Identity, Beta, VennAbers)}


def calibrator(content: dict[str, Any]) -> Calibrator:
    """Return the calibrator a state stands for.

    Examples
    --------
    >>> calibrator(Beta(2.0, 1.0, 0.5).to_dict()).a
    2.0
    """
    return KINDS[content["kind"]](**{key: value for key, value in content.items() if key != "kind"})


def choose(
    margin: Array, y: Flags, units: NDArray[np.int64], *, kinds: Sequence[str] = tuple(KINDS), seed: int = 0
) -> tuple[str, list[dict[str, Any]]]:
    """Choose a calibrator on held-out log-odds, each judged on people it was not fitted on.

    Parameters
    ----------
    margin : ndarray
        Held-out log-odds.
    y : ndarray of bool
        What happened.
    units : ndarray of int
        The person of each row; a person stays on one side.
    kinds : sequence of str
        Candidates. The first is kept unless another beats it by more than one paired standard error.
    seed : int
        Randomness of the five parts.

    Returns
    -------
    kind : str
    table : list of dict
        ``candidate, log_loss, difference`` (to the first), ``se, chosen``.

    Examples
    --------
    >>> margin = np.linspace(-3, 3, 2000)
    >>> y = np.random.default_rng(0).random(2000) < expit(margin)
    >>> choose(margin, y, np.arange(2000))[0]
    'identity'
    """
    part = np.random.default_rng(seed).permutation(units.max() + 1)[units] % 5
    losses = {}
    for kind in kinds:
        predicted = np.empty(len(margin))
        for k in range(5):
            outside, inside = part != k, part == k
            if not inside.any():
                continue
            able = y[outside].any() and not y[outside].all()
            fitted = KINDS[kind]().fit(margin[outside], y[outside]) if able else Identity()
            predicted[inside] = fitted.predict(margin[inside])
        losses[kind] = log_losses(y, predicted)
    first = kinds[0]
    gaps = {kind: paired(losses[kind], losses[first], groups=units) for kind in kinds}
    winners = [kind for kind in kinds[1:] if gaps[kind].better(1.0)]
    best = min(winners, key=lambda kind: gaps[kind].mean, default=first)
    table = [
        {
            "candidate": kind,
            "log_loss": float(losses[kind].mean()),
            "difference": gaps[kind].mean,
            "se": gaps[kind].se,
            "chosen": kind == best,
        }
        for kind in kinds
    ]
    return best, table
