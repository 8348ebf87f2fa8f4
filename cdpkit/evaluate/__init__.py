"""Evaluation as tidy frames: every figure with its interval, its count and the rule beside it."""

from cdpkit.evaluate.achieved import achieved, over_worlds
from cdpkit.evaluate.after import hindsight, tier_shares
from cdpkit.evaluate.arms import arms
from cdpkit.evaluate.calibration import calibration, calibration_error
from cdpkit.evaluate.gate import Challenge, challenge
from cdpkit.evaluate.intervals import bootstrap, quantile_range, wilson
from cdpkit.evaluate.lead import lead_report, lead_times
from cdpkit.evaluate.lists import list_gains, lists
from cdpkit.evaluate.long_run import long_run
from cdpkit.evaluate.off_policy import off_policy
from cdpkit.evaluate.paired import Difference, log_losses, paired
from cdpkit.evaluate.ranking import ranking
from cdpkit.evaluate.shares import share_report
from cdpkit.evaluate.survival import concordance
from cdpkit.evaluate.targeting import TIERS, deciles, gains, histogram, tiers, top_n
from cdpkit.evaluate.uplift import qini, qini_value
from cdpkit.evaluate.value import gini, value, value_losses

__all__ = [
    "share_report",
    "TIERS",
    "Challenge",
    "Difference",
    "achieved",
    "arms",
    "bootstrap",
    "calibration",
    "calibration_error",
    "challenge",
    "concordance",
    "deciles",
    "gains",
    "gini",
    "hindsight",
    "histogram",
    "lead_report",
    "lead_times",
    "list_gains",
    "lists",
    "log_losses",
    "long_run",
    "off_policy",
    "over_worlds",
    "paired",
    "qini",
    "qini_value",
    "quantile_range",
    "ranking",
    "tier_shares",
    "tiers",
    "top_n",
    "value",
    "value_losses",
    "wilson",
]
