"""Who gets the credit: by position, by removal, by Shapley's value, and by what channels truly add."""

from cdpkit.models.attribution.bidding import value_signals
from cdpkit.models.attribution.budget import ExtrapolationWarning, budget_scenario
from cdpkit.models.attribution.channels import scorecard, synergies, why
from cdpkit.models.attribution.conversions import DIRECT, with_conversions
from cdpkit.models.attribution.credit import POSITIONAL, markov, positional, removal_effects, shapley
from cdpkit.models.attribution.estimator import BASELINE, Attribution
from cdpkit.models.attribution.experiments import calibrate
from cdpkit.models.attribution.incremental import Incremental, Units, estimate, of_paths
from cdpkit.models.attribution.moments import of_moments
from cdpkit.models.attribution.paths import Paths

__all__ = [
    "BASELINE",
    "DIRECT",
    "POSITIONAL",
    "Attribution",
    "ExtrapolationWarning",
    "Incremental",
    "Paths",
    "Units",
    "budget_scenario",
    "calibrate",
    "estimate",
    "markov",
    "of_moments",
    "of_paths",
    "positional",
    "removal_effects",
    "scorecard",
    "shapley",
    "synergies",
    "value_signals",
    "why",
    "with_conversions",
]
