"""Figures, one for each evaluation frame: the title says the finding, and colour never speaks alone."""

from cdpkit.plots.quality import achieved, calibration, ranking
from cdpkit.plots.retention import cohorts
from cdpkit.plots.scores import factors, histogram
from cdpkit.plots.targeting import deciles, gains, tiers, top_n

__all__ = [
    "achieved",
    "calibration",
    "cohorts",
    "deciles",
    "factors",
    "gains",
    "histogram",
    "ranking",
    "tiers",
    "top_n",
]
