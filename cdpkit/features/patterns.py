"""Kinds over groups of rows: distinct values, repeats, sessions, gaps, trends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cdpkit.errors import FeatureError
from cdpkit.features import predicate
from cdpkit.features.declarations import SESSION_FACTS, Declaration, Fill, Output
from cdpkit.features.plan import Part


@dataclass(frozen=True)
class Distinct(Declaration):
    """Count distinct values; ``"events.day"`` counts active days (UTC)."""

    needs_column: ClassVar[bool] = True
    default_fill: ClassVar[Fill] = "history"

    def _what(self) -> str:
        return f"n_distinct_{self.column}"

    def _output(self, window: int | None) -> Output:
        return self.draft("count", self.ask("distinct", window, level="values", group=self.column))


@dataclass(frozen=True)
class Repeats(Declaration):
    """Count how often the same value comes back.

    Parameters
    ----------
    stat : {"max", "count"}
        Rows of the most repeated value, or number of values seen at least `at_least` times.
    at_least : int
    """

    stat: str = "max"
    at_least: int = 2

    needs_column: ClassVar[bool] = True
    default_fill: ClassVar[Fill] = "history"

    def _what(self) -> str:
        return f"{'max' if self.stat == 'max' else 'n'}_repeat_{self.column}"

    def _output(self, window: int | None) -> Output:
        if self.stat not in ("max", "count"):
            raise FeatureError("`stat` must be 'max' or 'count'", got=self.stat)
        op = "top" if self.stat == "max" else "repeated"
        draft = self.draft("count", self.ask(op, window, level="values", group=self.column))
        if self.stat == "max":
            return draft
        seen = self.ask("distinct", window, level="values", group=self.column)
        more = self.ask(op, window, level="values", group=self.column, having=str(self.at_least))
        return self.draft("counted", more, seen)


@dataclass(frozen=True)
class Sessions(Declaration):
    """Sessions of the events in the window: as the source cut them, else by `silence` minutes.

    Parameters
    ----------
    having : str, optional
        Which sessions, by what they hold: ``"has_cart and not has_purchase"``; the facts are
        `SESSION_FACTS`, ``n_events`` and ``minutes``.
    stat : {"count", "share", "events", "minutes"}
        Number of such sessions, their share, their mean number of events, their mean length.
    """

    having: str | None = None
    stat: str = "count"
    silence: int = 30

    _names: ClassVar[dict[str, tuple[str, str]]] = {
        "count": ("n_sessions", "count"),
        "share": ("share_sessions", "share"),
        "events": ("events_per_session", "ratio"),
        "minutes": ("minutes_per_session", "minutes"),
    }

    def __post_init__(self) -> None:
        if self.fill == "default" and self.stat == "count":
            object.__setattr__(self, "fill", "history")
        super().__post_init__()

    def written_as(self) -> str:
        """Return the unit of the statistic."""
        return self.unit or self._names[self.stat][1]

    def _check(self) -> None:
        super()._check()
        if self.source != "events":
            raise FeatureError("Sessions must read events", got=self.source)
        if self.stat not in self._names:
            raise FeatureError(f"`stat` must be one of {', '.join(self._names)}", got=self.stat)
        if self.having is not None:
            facts = dict.fromkeys([*SESSION_FACTS, "n_events", "minutes"])
            object.__setattr__(self, "having", predicate.words(self.having, facts, "having"))

    def _what(self) -> str:
        return self._names[self.stat][0]

    def _output(self, window: int | None) -> Output:
        def of(op: str, having: str | None = self.having) -> Part:
            return self.ask(op, window, level="sessions", group=str(self.silence), having=having)

        if self.stat == "count":
            return self.draft("counted", of("n"), of("n", None))
        if self.stat == "share":
            return self.draft("ratio", of("n"), of("n", None))
        if self.stat == "events":
            return self.draft("ratio", of("events"), of("n"))
        return self.draft("minutes", of("length"), of("n"))


@dataclass(frozen=True)
class Gap(Declaration):
    """Days between consecutive rows of the window.

    Parameters
    ----------
    stat : {"mean", "sd", "trend"}
        Their mean, their standard deviation, or the slope of the least-squares line through them, in
        days a gap: above 0, the rows come further and further apart.
    """

    stat: str = "mean"

    default_unit: ClassVar[str] = "days"

    def _what(self) -> str:
        return f"{self.stat}_gap_{self.table.name}"

    def _output(self, window: int | None) -> Output:
        if self.stat == "mean":
            ends = self.ask("max", window, "event_time"), self.ask("min", window, "event_time")
            return self.draft("mean_gap", *ends, self.ask("count", window))
        if self.stat == "trend":
            sums = ("n", "sum", "index", "index_square", "cross")
            return self.draft("slope", *[self.ask(op, window, level="gaps") for op in sums])
        if self.stat != "sd":
            raise FeatureError("`stat` must be 'mean', 'sd' or 'trend'", got=self.stat)
        return self.draft("sd_gap", *[self.ask(op, window, level="gaps") for op in ("n", "sum", "square")])


@dataclass(frozen=True)
class Trend(Declaration):
    """Pace of the last `recent` days over the pace of the whole window: 1 is steady, 0 is stopped."""

    recent: int = 30

    default_unit: ClassVar[str] = "ratio"

    def _what(self) -> str:
        return f"trend_{self.table.name}_{self.recent}d"

    def _output(self, window: int | None) -> Output:
        if window is None or window <= self.recent:
            raise FeatureError("`windows` of a Trend must be longer than `recent`", got=repr(window))
        parts = self.ask("count", self.recent), self.ask("count", window)
        return self.draft("scaled_ratio", *parts, number=window / self.recent)
