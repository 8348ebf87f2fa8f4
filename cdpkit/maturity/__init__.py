"""Where the organisation stands on the personalisation maturity curve, by its answers and by its data."""

from cdpkit.maturity.assessment import Assessment, assess, compared, declared_levels, measured_levels
from cdpkit.maturity.benchmarks import Benchmark, benchmarks
from cdpkit.maturity.criteria import Criterion, checklists, criteria, scales
from cdpkit.maturity.evidence import level, measure
from cdpkit.maturity.formula import FORMULA
from cdpkit.maturity.history import changes, history, save
from cdpkit.maturity.reading import reading
from cdpkit.maturity.roadmap import gaps, next_actions, roadmap
from cdpkit.maturity.tools import data_loss
from cdpkit.maturity.use_cases import UseCase, use_cases

__all__ = [
    "Assessment",
    "Benchmark",
    "Criterion",
    "FORMULA",
    "UseCase",
    "assess",
    "benchmarks",
    "changes",
    "checklists",
    "compared",
    "criteria",
    "data_loss",
    "declared_levels",
    "gaps",
    "history",
    "level",
    "measure",
    "measured_levels",
    "next_actions",
    "reading",
    "roadmap",
    "save",
    "scales",
    "use_cases",
]
