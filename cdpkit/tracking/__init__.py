"""How a model came to be: runs, stored models, aliases and promotion, kept by MLflow."""

from __future__ import annotations

from cdpkit.tracking.batch import score_on_spark
from cdpkit.tracking.promotion import Comparison, Promotion, compare, promote, protect, rollback
from cdpkit.tracking.registry import LoadedModel, ModelVersion, champions, load, verify
from cdpkit.tracking.runs import TrackedRun, apply_promotions, settle, start
from cdpkit.tracking.store import Store, doctor_relocate, open_store, reap

__all__ = [
    "Comparison",
    "LoadedModel",
    "ModelVersion",
    "Promotion",
    "Store",
    "TrackedRun",
    "apply_promotions",
    "compare",
    "champions",
    "doctor_relocate",
    "load",
    "open_store",
    "promote",
    "protect",
    "reap",
    "rollback",
    "score_on_spark",
    "settle",
    "start",
    "verify",
]
