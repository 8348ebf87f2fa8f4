"""People like a list of people: likeness, reach, twins, traits and offers."""

from cdpkit.models.lookalike.choice import CANDIDATES
from cdpkit.models.lookalike.estimator import Lookalike
from cdpkit.models.lookalike.neighbours import Neighbours
from cdpkit.models.lookalike.offers import seed_products, twin_offers
from cdpkit.models.lookalike.reach import check_minimum, prior_bound, reach_curve, seed_quality
from cdpkit.models.lookalike.traits import traits, words

__all__ = [
    "CANDIDATES",
    "Lookalike",
    "Neighbours",
    "check_minimum",
    "prior_bound",
    "reach_curve",
    "seed_products",
    "seed_quality",
    "traits",
    "twin_offers",
    "words",
]
