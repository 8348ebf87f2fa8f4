"""Churn: who leaves, when contracts end, and whom to make which offer."""

from cdpkit.models.churn.classifier import ChurnClassifier
from cdpkit.models.churn.cohort import ShiftedBetaGeometric
from cdpkit.models.churn.hazard import ContractHazard, cohort_survivors, contract_periods, policies
from cdpkit.models.churn.retention import RetentionPlan, retention_plan

__all__ = [
    "ChurnClassifier",
    "ContractHazard",
    "RetentionPlan",
    "ShiftedBetaGeometric",
    "cohort_survivors",
    "contract_periods",
    "policies",
    "retention_plan",
]
