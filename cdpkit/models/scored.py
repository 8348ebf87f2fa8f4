"""Rows of the table of scores, for models that rank persons without being classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cdpkit.models.tiers import Tiers


def score_rows(
    persons: Sequence[Any],
    score: ArrayLike,
    *,
    as_of: Any,
    model: str,
    version: str,
    tiers: Tiers,
    decided_by: str,
    reasons: Sequence[Sequence[str]] | None = None,
    resemblance: ArrayLike | None = None,
) -> pd.DataFrame:
    """Return exactly the columns of ``scores``, a row a person.

    Parameters
    ----------
    persons : sequence
    score : array-like
        Higher is better.
    as_of : timestamp
        Date of the knowledge, UTC without a zone.
    model, version : str
    tiers : Tiers
        Fitted on the scores of the reference population.
    decided_by : {"model", "rule"}
    reasons : sequence of sequences of str, optional
        Encoded reasons of each person.
    resemblance : array-like, optional
        0 to 100.

    Examples
    --------
    >>> tiers = Tiers().fit([0.1, 0.5, 0.9], "three people")
    >>> rows = score_rows(["a", "b"], [0.9, 0.1], as_of="2026-06-30", model="twins", version="1",
    ...                   tiers=tiers, decided_by="rule")
    >>> rows[["person_id", "decile", "decided_by"]].values.tolist()
    [['a', 1, 'rule'], ['b', 10, 'rule']]
    """
    values = np.asarray(score, dtype=float)
    told = [[] for _ in values] if reasons is None else [list(r) for r in reasons]
    like = np.full(len(values), np.nan) if resemblance is None else np.asarray(resemblance, dtype=float)
    return pd.DataFrame(
        {
            "person_id": pd.Series(list(persons)).astype("str"),
            "as_of": pd.Series([pd.Timestamp(as_of).as_unit("us")] * len(values), dtype="datetime64[us]"),
            "model": pd.Series([model] * len(values), dtype="str"),
            "version": pd.Series([str(version)] * len(values), dtype="str"),
            "score": values,
            "percentile": tiers.percentile(values),
            "decile": tiers.decile(values),
            "tier": pd.Series(tiers.assign(values), dtype="str"),
            "resemblance": like,
            "reasons": pd.Series(told, dtype=object),
            "decided_by": pd.Series(
                ["rule" if decided_by == "rule" else f"{model}:{version}"] * len(values), dtype="str"
            ),
            "reference_population": pd.Series([tiers.reference_population_] * len(values), dtype="str"),
        }
    )
