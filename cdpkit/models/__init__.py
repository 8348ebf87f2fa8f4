"""Models: estimators on plain frames, the rules they must beat, tiers, reasons and cards."""

from cdpkit.models.appetence import BASE, AppetenceClassifier
from cdpkit.models.baseline import RuleBaseline, Verdict, served
from cdpkit.models.card import build_card, card_markdown
from cdpkit.models.churn import (
    ChurnClassifier,
    ContractHazard,
    RetentionPlan,
    ShiftedBetaGeometric,
    contract_periods,
    retention_plan,
)
from cdpkit.models.frame import Columns, FrameError
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
from cdpkit.models.reasons import Reason, common_reasons, importance, top_reasons
from cdpkit.models.scorer import Scorer
from cdpkit.models.tiers import Tiers

__all__ = [
    "ChurnClassifier",
    "ContractHazard",
    "RetentionPlan",
    "ShiftedBetaGeometric",
    "contract_periods",
    "retention_plan",
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
    "BASE",
    "AppetenceClassifier",
    "Columns",
    "FrameError",
    "Reason",
    "RuleBaseline",
    "Scorer",
    "Tiers",
    "Verdict",
    "build_card",
    "card_markdown",
    "common_reasons",
    "importance",
    "served",
    "top_reasons",
]
