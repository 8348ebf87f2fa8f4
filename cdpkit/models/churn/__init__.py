"""Churn: who leaves, when contracts end, and whom to make which offer."""

from cdpkit.models.churn.classifier import ChurnClassifier
from cdpkit.models.churn.cohort import ShiftedBetaGeometric
from cdpkit.models.churn.hazard import ContractHazard, contract_periods
from cdpkit.models.churn.retention import RetentionPlan, retention_plan

__all__ = [
    "ChurnClassifier",
    "ContractHazard",
    "RetentionPlan",
    "ShiftedBetaGeometric",
    "contract_periods",
    "retention_plan",
]
