"""Interests by category, from what persons say on social networks and ask quotes for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cdpkit.features.build import FeatureSet
from cdpkit.features.declarations import Declaration, slug
from cdpkit.features.kinds import Count, Last, Share

if TYPE_CHECKING:
    import pandas as pd

#: The window of an interest: a year, so that seasons weigh alike.
DAYS = 365


def interests(
    categories: Sequence[str] | Mapping[str, tuple[str, str]], needs: Sequence[str] = ()
) -> FeatureSet:
    """Declare the interests a person shows in each category.

    Parameters
    ----------
    categories : sequence of str, or mapping of str to (str, str)
        Topics of social interactions, with their words in French and English if they have any.
    needs : sequence of str
        Needs a quote form offers, as loaded; the last one declared becomes a feature.

    Returns
    -------
    FeatureSet
        ``interest__n_social_<category>__365d`` and ``interest__talks_of_<category>__365d``, the number
        and the share of the interactions; with `needs`, ``interest__n_quotes_<need>__365d`` and
        ``interest__last_need``.

    Examples
    --------
    >>> interests(["Garden"], ["garden"]).names[:2]
    ['interest__n_social_garden__365d', 'interest__talks_of_garden__365d']
    """
    declared: list[Declaration] = [
        Count("social", by="topic", values=categories, name="n_social",
              fr="interactions sociales sur le sujet {value} en {days} jours",
              en="social interactions on {value} in {days} days", windows=[DAYS], family="interest"),
        Share("social", by="topic", values=categories, name="talks_of",
              fr="part du sujet {value} dans les interactions sociales en {days} jours",
              en="share of {value} among social interactions in {days} days",
              windows=[DAYS], family="interest"),
    ]  # fmt: skip
    if needs:
        declared += [
            Count("quotes", by="need", values=needs, name="n_quotes",
                  fr="devis demandés pour {value} en {days} jours",
                  en="quotes asked for {value} in {days} days", windows=[DAYS], family="interest"),
            Last("quotes.need", values=needs, name="last_need", family="interest",
                 fr="dernier besoin déclaré dans un devis", en="last need declared in a quote"),
        ]  # fmt: skip
    return FeatureSet("interests", declared)


def favourites(frame: pd.DataFrame, categories: Sequence[str], least: int = 1) -> pd.Series:
    """Return the category each person speaks of most; the first listed among equals.

    Parameters
    ----------
    frame : DataFrame
        What `interests` builds.
    categories : sequence of str
        Those of the set.
    least : int
        Interactions below which nothing is said.

    Returns
    -------
    Series
        Category, missing where too little is known; the frame's index.

    Examples
    --------
    >>> import pandas as pd
    >>> seen = pd.DataFrame({"interest__n_social_garden__365d": [1, 0],
    ...                      "interest__n_social_lamps__365d": [3, 0]})
    >>> favourites(seen, ["garden", "lamps"]).dropna().tolist()
    ['lamps']
    """
    import pandas as pd

    counts = frame[[f"interest__n_social_{slug(one)}__{DAYS}d" for one in categories]].fillna(0)
    best = [list(categories)[place] for place in counts.to_numpy().argmax(axis=1)]
    return pd.Series(best, frame.index, dtype="str").where(counts.sum(axis=1) >= least)
