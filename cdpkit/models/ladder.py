"""The ladder of a use case: rule, score, model, bandit; a rung is climbed only where it is proven better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike

from cdpkit.errors import CdpkitError
from cdpkit.evaluate import paired

#: From a rule anybody can apply to a policy that learns by itself.
RUNGS = ("rule", "score", "model", "bandit")

WORDS = {
    "en": {
        "rule": "a rule",
        "score": "a score of a few columns",
        "model": "a model",
        "bandit": "a policy that learns",
        "stands": "This use case stands on rung {place} of 4: {rung}.",
        "next": "Not climbed: {refused}, no better than the rung below by two standard errors.",
    },
    "fr": {
        "rule": "une règle",
        "score": "un score de quelques colonnes",
        "model": "un modèle",
        "bandit": "une politique qui apprend",
        "stands": "Ce cas d'usage est au barreau {place} sur 4 : {rung}.",
        "next": "Non gravi : {refused}, pas meilleur que le barreau du dessous de deux erreurs types.",
    },
}


@dataclass(frozen=True)
class Rung:
    """Where a use case stands.

    Parameters
    ----------
    name : str
        One of `RUNGS`: the highest that is proven.
    refused : tuple of str
        Higher rungs that were tried and did not hold.
    table : list of dict
        ``rung, below, gain, se, units, climbed`` of every rung tried.
    """

    name: str
    refused: tuple[str, ...]
    table: list[dict[str, Any]]

    def sentence(self, language: str = "en") -> str:
        """Say it.

        Examples
        --------
        >>> Rung("rule", (), []).sentence("fr")
        "Ce cas d'usage est au barreau 1 sur 4 : une règle."
        """
        words = WORDS[language]
        text = words["stands"].format(place=RUNGS.index(self.name) + 1, rung=words[self.name])
        if self.refused:
            refused = ", ".join(words[name] for name in self.refused)
            text += " " + words["next"].format(refused=refused)
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return the rung, ready for JSON."""
        return asdict(self) | {"sentence": {code: self.sentence(code) for code in WORDS}}

    def frame(self) -> pd.DataFrame:
        """Return every rung tried as a tidy frame."""
        return pd.DataFrame(self.table)


def climb(losses: Mapping[str, ArrayLike], *, groups: ArrayLike | None = None, times: float = 2.0) -> Rung:
    """Climb from the lowest rung tried as long as the next is proven better on the same later rows.

    Parameters
    ----------
    losses : mapping of rung to array-like
        Loss of each row under each rung tried (log-loss; for a policy, minus its gain). Lower is better.
    groups : array-like, optional
        The unit of each row.
    times : float
        Paired standard errors asked of each rung over the one *below that holds*.

    Returns
    -------
    Rung

    Raises
    ------
    CdpkitError
        For a name that is no rung, or nothing to stand on.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> rule = rng.random(500)
    >>> tried = {"score": rule + 0.01 * rng.random(500), "model": rule - 0.1 * rng.random(500)}
    >>> told = climb({"rule": rule} | tried)
    >>> told.name, told.refused
    ('model', ())
    >>> climb({"rule": rule, "model": rule}).refused
    ('model',)
    """
    unknown = sorted(set(losses) - set(RUNGS))
    if unknown or not losses:
        raise CdpkitError(f"rungs must be among {', '.join(RUNGS)}", got=", ".join(unknown) or "none")
    tried = [name for name in RUNGS if name in losses]
    held, table, refused = tried[0], [], []
    for name in tried[1:]:
        gap = paired(losses[name], losses[held], groups=groups)
        climbed = gap.better(times)
        table.append(
            {
                "rung": name,
                "below": held,
                "gain": -gap.mean,
                "se": gap.se,
                "units": gap.units,
                "climbed": climbed,
            }
        )
        held = name if climbed else held
        refused.append(name)
    # A rung that failed is only said where nothing above it holds.
    above = tuple(name for name in refused if RUNGS.index(name) > RUNGS.index(held))
    return Rung(held, above, table)
