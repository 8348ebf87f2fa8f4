"""The next product of each person: parts, their blend, rules of baskets, lists and ladders."""

from cdpkit.models.recommend.complements import Complements
from cdpkit.models.recommend.estimator import Recommender
from cdpkit.models.recommend.interactions import Interactions
from cdpkit.models.recommend.ladder import ladder
from cdpkit.models.recommend.reasons import reason_words
from cdpkit.models.recommend.rules import association_rules, compare_rules

__all__ = [
    "Complements",
    "Interactions",
    "Recommender",
    "association_rules",
    "compare_rules",
    "ladder",
    "reason_words",
]
