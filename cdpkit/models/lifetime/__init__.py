"""Lifetime value: counts of purchases, amounts, own history, their blend, and where value lies."""

from cdpkit.models.lifetime.betageo import BetaGeoNBD, ModifiedBetaGeoNBD
from cdpkit.models.lifetime.gammagamma import GammaGamma
from cdpkit.models.lifetime.levers import LEVERS, by_group, cohorts, opportunities
from cdpkit.models.lifetime.pareto import ParetoNBD
from cdpkit.models.lifetime.rule import PastValue, served_value
from cdpkit.models.lifetime.scorer import ValueScorer
from cdpkit.models.lifetime.summary import summary
from cdpkit.models.lifetime.value import CustomerLifetimeValue

__all__ = [
    "LEVERS",
    "BetaGeoNBD",
    "CustomerLifetimeValue",
    "GammaGamma",
    "ModifiedBetaGeoNBD",
    "ParetoNBD",
    "PastValue",
    "ValueScorer",
    "by_group",
    "cohorts",
    "opportunities",
    "served_value",
    "summary",
]
