"""Models: estimators on plain frames, the rules they must beat, tiers, reasons and cards."""

from cdpkit.models.appetence import BASE, AppetenceClassifier
from cdpkit.models.baseline import RuleBaseline, Verdict, served
from cdpkit.models.card import build_card, card_markdown
from cdpkit.models.clusters import BehaviourClusters
from cdpkit.models.frame import Columns, FrameError
from cdpkit.models.reasons import Reason, common_reasons, importance, top_reasons
from cdpkit.models.scorer import Scorer
from cdpkit.models.tiers import Tiers

__all__ = [
    "BASE",
    "AppetenceClassifier",
    "BehaviourClusters",
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
