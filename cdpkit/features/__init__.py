"""Features of persons, correct in time: declared once, compiled to SQL, the same for snapshots and rows."""

from cdpkit.features.build import FeatureSet, monthly
from cdpkit.features.built import Built
from cdpkit.features.declarations import known
from cdpkit.features.fact_rows import facts
from cdpkit.features.history import INTERACTIONS, interactions
from cdpkit.features.kinds import (
    Age,
    Count,
    First,
    Has,
    Last,
    Max,
    Mean,
    Min,
    Rate,
    Recency,
    Share,
    Sum,
    Tenure,
)
from cdpkit.features.patterns import Distinct, Gap, Repeats, Sessions, Trend
from cdpkit.features.population import Population

__all__ = [
    "Age", "Built", "Count", "Distinct", "FeatureSet", "First", "Gap", "Has", "INTERACTIONS", "Last",
    "Max", "Mean", "Min", "Population", "Rate", "Recency", "Repeats", "Sessions", "Share", "Sum",
    "Tenure", "Trend", "facts", "interactions", "known", "monthly",
]  # fmt: skip
