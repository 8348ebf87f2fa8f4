"""From scores to odds: how many pairs are one person, and how many only look like one.

Records of one household agree on all that a household shares; twins on a birth date besides; a father and
a son may bear one name; and where first names go with last names, namesakes abound. Counted as strangers
they would look like one person, the more so the more columns there are; so they are classes of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from cdpkit.identity.comparisons import NAMED_EMAILS, OWN

_ROUNDS = 500
#: Pairs that teach the shares; of more, every so many.
_TAUGHT_BY = 50_000
_CLIP = 300.0
#: Share of one person's records that differ outright in a first name or birth date: at first, and bounds.
_START, _WRONG = 0.1, (0.002, 0.3)
#: Twins, and people named alike at home, per other pair of a household; and the share of one person's
#: records beyond which outright differences are theirs.
_ALIKE, _MANY_WRONG = 0.1, 0.25

#: Two people who agree like one on some things, and like strangers on the rest.
_KINDS: dict[str, Callable[[str], bool]] = {
    "households": lambda name: name not in OWN,
    "twins": lambda name: name not in ("first_name", "national_id"),
    "named alike at home": lambda name: name not in ("birth_date", "national_id"),
    "namesakes": lambda name: name in ("first_name", "last_name"),
}
#: What tells these pairs from one person.
_TOLD_BY = {"twins": "first_name", "named alike at home": "birth_date"}


def odds(
    pairs: pd.DataFrame,
    n: int,
    different: Mapping[str, float] | None = None,
    joined: int = 0,
    emails: Mapping[int, float] | None = None,
) -> tuple[np.ndarray, dict[str, float]]:
    """Return the log2 odds that each pair is one person.

    A pair is of one person, of two people who look alike (a household, twins, two of one name at home,
    namesakes), or of strangers. Each kind agrees like one person on some things and like strangers on the
    rest. The shares of the kinds are those under which the scored pairs are most likely (expectation
    maximisation over a few numbers): no threshold is set by hand, and odds of one mean the same with three
    columns as with ten. So are the shares of one person's records that differ outright in first name or
    birth date: a model that learned from pairs of one last name or street saw relatives too, and takes them
    for one person's errors.

    Parameters
    ----------
    pairs : DataFrame
        ``bayes``, ``says_<comparison>`` and ``level_<comparison>`` (0: different) of scored pairs (see
        `cdpkit.identity.pairs.score`).
    n : int
        Records that were compared; pairs that were not scored are strangers.
    different : mapping of str to float, optional
        By comparison, the model's share of one person's records that differ outright.
    joined : int
        Pairs of one person that exact keys had joined before, and that are not among the scored ones.
    emails : mapping of int to float, optional
        By level of the e-mail comparison, the model's share of one person's records at it.

    Returns
    -------
    (ndarray, dict)
        Log2 odds, and the expected numbers of pairs: ``persons`` and each other kind.

    Examples
    --------
    >>> pairs = pd.DataFrame(
    ...     {"bayes": [30, 30, -2], "says_first_name": [8, 8, -5], "says_birth_date": [9, 9, -4]}, dtype=float
    ... )
    >>> log2_odds, shares = odds(pairs, n=100)
    >>> (log2_odds > 0).tolist(), round(shares["persons"], 2)
    ([True, True, False], 2.0)
    """
    total = n * (n - 1) / 2
    if pairs.empty or total < 1:
        return np.zeros(len(pairs)), dict.fromkeys(("persons", *_KINDS), 0.0)
    person, others = _likelihoods(pairs, emails or {})
    rates = {name: rate for name, rate in (different or {}).items() if f"level_{name}" in pairs}
    level = {name: pairs[f"level_{name}"].to_numpy() for name in rates}
    # Every so many pairs: they come in the order of records, which says nothing of what they are.
    some = slice(None, None, -(-len(pairs) // _TAUGHT_BY))
    weight = len(pairs) / len(person[some])
    share, wrong = _shares(
        person[some],
        others[:, some],
        {name: one[some] for name, one in level.items()},
        rates,
        total / weight,
        n / 4 / total,
        joined / weight,
    )
    for name, rate in rates.items():
        person[level[name] == 0] *= wrong[name] / rate
    out = np.log2(share[0] * person) - np.log2(share[1:] @ others + (1 - share.sum()))
    return out, dict(zip(("persons", *_KINDS), (share * total).tolist(), strict=True))


def _shares(
    person: np.ndarray,
    others: np.ndarray,
    level: Mapping[str, np.ndarray],
    rates: Mapping[str, float],
    total: float,
    start: float,
    joined: float,
) -> tuple[np.ndarray, dict[str, float]]:
    """Return the share of each kind of pair among all, and of one person's records that differ outright."""
    share = np.full(1 + len(others), start)
    apart = {name: one == 0 for name, one in level.items()}
    given = {name: one >= 0 for name, one in level.items()}
    wrong = {name: min(rate, _START) for name, rate in rates.items()}
    for _ in range(_ROUNDS):
        now = person.copy()
        for name, rate in rates.items():
            now[apart[name]] *= wrong[name] / rate
        # Pairs that no block held are strangers.
        whole = 1 / (share[0] * now + share[1:] @ others + (1 - share.sum()))
        likely = share[0] * now * whole
        persons = float(likely.sum()) + joined
        count = np.append(persons, share[1:] * (others @ whole))
        for kind, name in _TOLD_BY.items():
            k = 1 + list(_KINDS).index(kind)
            differ = float(likely[apart[name]].sum()) if name in apart else 0.0
            count[k] = min(count[k], _ALIKE * count[1] + max(0.0, differ + count[k] - _MANY_WRONG * persons))
        for name in rates:
            known = float(likely[given[name]].sum()) + joined
            wrong[name] = float(np.clip(likely[apart[name]].sum() / max(known, 1.0), *_WRONG))
        after = np.maximum(count / total, 1e-15)
        settled = np.abs(after - share) <= 1e-4 * share + 1e-3 / total
        share = after
        if settled.all():
            break
    return share, wrong


def _likelihoods(pairs: pd.DataFrame, emails: Mapping[int, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return how much likelier each pair is in one person, and in each other kind, than among strangers."""
    says = {
        c.removeprefix("says_"): pairs[c].to_numpy(dtype=float) for c in map(str, pairs) if c[:5] == "says_"
    }
    bayes = pairs["bayes"].to_numpy(dtype=float)
    others = np.empty((len(_KINDS), len(pairs)))
    for k, shares in enumerate(_KINDS.values()):
        own = sum((part for name, part in says.items() if not shares(name)), np.zeros(len(pairs)))
        if "level_email" in pairs and not shares("email"):
            # Addresses are made of names: two that look alike say no more than the names do.
            for level, rate in NAMED_EMAILS.items():
                alike = (
                    (pairs["level_email"] == level).to_numpy() & shares("first_name") & shares("last_name")
                )
                own = own - np.where(alike, says["email"] + np.log2(rate / emails.get(level, rate)), 0.0)
        others[k] = np.exp2(np.clip(bayes - own, -_CLIP, _CLIP))
    return np.exp2(np.clip(bayes, -_CLIP, _CLIP)), others
