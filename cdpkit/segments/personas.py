"""Personas: what sets a group of customers apart, in words, and the name these words propose."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from cdpkit.phrases import check_language
from cdpkit.segments.fields import Field

#: Standardised difference from which a measure is said to set a group apart (Cohen 1988: medium).
NOTABLE = 0.5

_WORDS = {
    "fr": ("plus : ", "moins : ", "sans trait marquant"),
    "en": ("more: ", "less: ", "nothing stands out"),
}


def portraits(
    differences: pd.DataFrame, fields: Mapping[str, Field], *, n: int = 3, notable: float = NOTABLE
) -> pd.DataFrame:
    """Draw the portrait of each group, and propose its name.

    Parameters
    ----------
    differences : DataFrame
        ``cluster, n, share, feature, effect, median_in, median_out``, as
        `cdpkit.models.clusters.BehaviourClusters.differences` returns it.
    fields : mapping of str to Field
        Whose labels are used; a feature without a field keeps its own name.
    n : int
        Traits told, at most.
    notable : float
        Least standardised difference that is told.

    Returns
    -------
    DataFrame
        ``cluster, n, share, name_fr, name_en, traits_fr, traits_en``, a row a group, largest first. The
        names are proposals: two groups with the same words are told apart by their number.

    Examples
    --------
    >>> from cdpkit.segments.fields import vocabulary
    >>> told = pd.DataFrame({"cluster": 0, "n": 40, "share": 0.4, "feature": ["profile__age"],
    ...                      "effect": [1.2], "median_in": [60.0], "median_out": [35.0]})
    >>> portraits(told, vocabulary())["name_fr"].tolist()
    ['plus : âge déclaré']
    """
    rows = []
    for cluster, part in differences.groupby("cluster", sort=True):
        lead = part[part["effect"].abs() >= notable].head(n)
        told = {language: _traits(lead, fields, language) for language in ("fr", "en")}
        names = {language: words[0] if words else _WORDS[language][2] for language, words in told.items()}
        rows.append((cluster, int(part["n"].iloc[0]), float(part["share"].iloc[0]), names["fr"], names["en"],
                     " ; ".join(told["fr"]), "; ".join(told["en"])))  # fmt: skip
    columns = ["cluster", "n", "share", "name_fr", "name_en", "traits_fr", "traits_en"]
    frame = pd.DataFrame(rows, columns=columns)
    for column in ("name_fr", "name_en"):
        twice = frame[column].duplicated(keep=False)
        frame[column] = pd.Series(
            [
                f"{name} ({number + 1})" if again else name
                for name, number, again in zip(frame[column], frame["cluster"], twice, strict=True)
            ],
            dtype="str",
        )
    return frame.sort_values("n", ascending=False, ignore_index=True)


def _traits(lead: pd.DataFrame, fields: Mapping[str, Field], language: str) -> list[str]:
    """Say each difference by its direction and its label."""
    more, less, _ = _WORDS[check_language(language)]
    labels = [fields[name].label(language) if name in fields else name for name in lead["feature"]]
    return [
        f"{more if effect > 0 else less}{label}" for label, effect in zip(labels, lead["effect"], strict=True)
    ]
