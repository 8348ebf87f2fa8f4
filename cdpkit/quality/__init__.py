"""How good the data are: scores over time, the gate before training, freshness, coverage, tracking plan."""

from cdpkit.quality.coverage import coverage, recognised, touchpoints
from cdpkit.quality.freshness import freshness, today
from cdpkit.quality.gate import THRESHOLDS, Threshold, require, require_frame
from cdpkit.quality.scores import columns, scores
from cdpkit.quality.tracking_plan import TrackingPlan

__all__ = [
    "THRESHOLDS",
    "Threshold",
    "TrackingPlan",
    "columns",
    "coverage",
    "freshness",
    "recognised",
    "require",
    "require_frame",
    "scores",
    "today",
    "touchpoints",
]
