"""Models: estimators on plain frames, the rules they must beat, tiers, reasons and cards."""

from cdpkit.models.ablation import ablation
from cdpkit.models.appetence import BASE, AppetenceClassifier
from cdpkit.models.asking import next_fact
from cdpkit.models.attribution import Attribution
from cdpkit.models.baseline import RuleBaseline, Verdict, served
from cdpkit.models.card import build_card, card_markdown
from cdpkit.models.carts import CartCauses
from cdpkit.models.churn import (
    ChurnClassifier,
    ContractHazard,
    RetentionPlan,
    ShiftedBetaGeometric,
    cohort_survivors,
    contract_periods,
    policies,
    retention_plan,
)
from cdpkit.models.clusters import BehaviourClusters
from cdpkit.models.distributed import spark_trees
from cdpkit.models.drift import Drift
from cdpkit.models.engagement import EngagementScore
from cdpkit.models.exposure import SafeExposure
from cdpkit.models.fairness import fairness, sensitive_columns, sensitive_topic, without_sensitive
from cdpkit.models.frame import Columns, FrameError
from cdpkit.models.journeys import NextTouchpoint, SessionIntent
from cdpkit.models.ladder import Rung, climb
from cdpkit.models.lifetime import (
    LEVERS,
    BetaGeoNBD,
    CustomerLifetimeValue,
    GammaGamma,
    ModifiedBetaGeoNBD,
    ParetoNBD,
    PastValue,
    ValueScorer,
    by_group,
    cohorts,
    opportunities,
    served_value,
    summary,
)
from cdpkit.models.lookalike import Lookalike
from cdpkit.models.moments import ChannelAffinity, SendTime
from cdpkit.models.pressure import PressureModel
from cdpkit.models.reasons import Reason, common_reasons, encoded_reasons, importance, top_reasons
from cdpkit.models.recommend import Recommender
from cdpkit.models.resemblance import Profile
from cdpkit.models.scored import score_rows
from cdpkit.models.scorer import Scorer
from cdpkit.models.sequences import DelayResponse, SequenceLab
from cdpkit.models.tiers import Tiers
from cdpkit.models.uplift import UpliftRanker
from cdpkit.models.upsell import UpsellTiming
from cdpkit.models.wording import describe

__all__ = [
    "AppetenceClassifier",
    "Attribution",
    "BASE",
    "BehaviourClusters",
    "BetaGeoNBD",
    "CartCauses",
    "ChannelAffinity",
    "ChurnClassifier",
    "Columns",
    "ContractHazard",
    "CustomerLifetimeValue",
    "DelayResponse",
    "Drift",
    "EngagementScore",
    "FrameError",
    "GammaGamma",
    "LEVERS",
    "Lookalike",
    "ModifiedBetaGeoNBD",
    "NextTouchpoint",
    "ParetoNBD",
    "PastValue",
    "PressureModel",
    "Profile",
    "Reason",
    "Recommender",
    "RetentionPlan",
    "RuleBaseline",
    "Rung",
    "SafeExposure",
    "Scorer",
    "SendTime",
    "SequenceLab",
    "SessionIntent",
    "ShiftedBetaGeometric",
    "Tiers",
    "UpliftRanker",
    "UpsellTiming",
    "ValueScorer",
    "Verdict",
    "ablation",
    "next_fact",
    "build_card",
    "by_group",
    "card_markdown",
    "climb",
    "cohort_survivors",
    "cohorts",
    "common_reasons",
    "contract_periods",
    "policies",
    "describe",
    "encoded_reasons",
    "fairness",
    "importance",
    "opportunities",
    "retention_plan",
    "score_rows",
    "sensitive_columns",
    "sensitive_topic",
    "served",
    "served_value",
    "spark_trees",
    "summary",
    "top_reasons",
    "without_sensitive",
]
