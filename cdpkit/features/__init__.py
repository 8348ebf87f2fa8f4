"""Features of persons, correct in time: declared once, compiled to SQL, the same for snapshots and rows."""

from cdpkit.features.behaviours import (
    Deliberation,
    Knowledge,
    PerSession,
    Signal,
    Stage,
    Stock,
    Trait,
    WeekProfile,
)
from cdpkit.features.build import FeatureSet, monthly
from cdpkit.features.built import Built
from cdpkit.features.change import ChangeDetector
from cdpkit.features.declarations import known
from cdpkit.features.history import INTERACTIONS, interactions
from cdpkit.features.interests import favourites, interests
from cdpkit.features.kinds import (
    Age,
    Count,
    First,
    Has,
    Last,
    Latest,
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
from cdpkit.features.rows import facts

__all__ = [
    "Age", "Built", "ChangeDetector", "Count", "Deliberation", "Distinct", "facts", "favourites",
    "FeatureSet", "First", "Gap", "Has", "interactions", "INTERACTIONS", "interests", "Knowledge",
    "known", "Last", "Latest", "Max", "Mean", "Min", "monthly", "PerSession", "Population", "Rate",
    "Recency", "Repeats", "Sessions", "Share", "Signal", "Stage", "Stock", "Sum", "Tenure", "Trait",
    "Trend", "WeekProfile",
]  # fmt: skip
