"""Kinds that read behaviour: funnel, deliberation, week, pressure, micro-behaviour, words, knowledge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from cdpkit.errors import FeatureError
from cdpkit.features.declarations import Declaration, Fill, Output
from cdpkit.features.kinds import Last, Sum
from cdpkit.features.lexicon import signals
from cdpkit.features.plan import Part

#: The funnel of a shop, from the first look to the order.
FUNNEL = (
    "Page Viewed",
    "Product List Viewed",
    "Product Viewed",
    "Product Added",
    "Checkout Started",
    "Order Completed",
)

#: Days before an order in which the views of its product prepare it.
DELIBERATION_DAYS = 30

#: A purchase is considered from so many hours after the first view of its product, or so many views.
CONSIDERED_HOURS, CONSIDERED_VIEWS = 24, 4

#: From this share of impulsive purchases a buyer is called impulsive.
IMPULSIVE_SHARE = 0.5

#: Parts of a day: name, French, English, first and last hour.
DAYPARTS = (
    ("night", "la nuit", "at night", 0, 5),
    ("morning", "le matin", "in the morning", 6, 11),
    ("afternoon", "l'après-midi", "in the afternoon", 12, 17),
    ("evening", "le soir", "in the evening", 18, 23),
)

#: Parts of a week: name, French, English, first and last day.
WEEK = (("week", "en semaine", "on weekdays", 1, 5), ("weekend", "le week-end", "at the weekend", 6, 7))


@dataclass(frozen=True)
class Stage(Declaration):
    """Furthest stage reached in the window: 1 for the first of `stages`, 0 for none of them.

    Examples
    --------
    >>> Stage("events", windows=[30]).expand("journey")[0].name
    'journey__stage_reached__30d'
    """

    stages: Sequence[str] = FUNNEL
    by: str = "event_type"

    default_fill: ClassVar[Fill] = "history"

    def _check(self) -> None:
        super()._check()
        self._check_column(self.by)
        if len(set(self.stages)) < 2:
            raise FeatureError("`stages` must list two stages at least", got=", ".join(self.stages))

    def _what(self) -> str:
        return "stage_reached"

    def _output(self, window: int | None) -> Output:
        reached = replace(self.ask("reached", window, self.by), values=tuple(self.stages))
        return self.draft("reached", reached)


@dataclass(frozen=True)
class Stock(Declaration):
    """What is left of past rows when each fades: the sum of e^(-age / `fade_days`).

    For pressure, this is what the messages received still weigh (Naik and Raman's goodwill stock).
    """

    fade_days: float = 7.0

    default_fill: ClassVar[Fill] = "history"
    default_unit: ClassVar[str] = "ratio"

    def _what(self) -> str:
        return f"stock_{self.table.name}"

    def _output(self, window: int | None) -> Output:
        if not self.fade_days > 0:
            raise FeatureError("`fade_days` must be positive", got=str(self.fade_days))
        part = replace(self.ask("decay", window, "event_time"), values=(repr(float(self.fade_days)),))
        return self.draft("stock", part, self.ask("count", window))


@dataclass(frozen=True)
class Signal(Declaration):
    """Count the rows of free text that say something, by the French and English lexicon.

    The text itself never becomes a feature. See `lexicon`.

    Parameters
    ----------
    signal : str
        A word of the lexicon: ``cancel``, ``complaint``, ``buy``…
    stat : {"count", "share"}
        Number of such rows, or their share among the rows with text.
    """

    signal: str = ""
    stat: str = "count"

    needs_column: ClassVar[bool] = True
    column_types: ClassVar[tuple[str, ...]] = ("string",)

    def __post_init__(self) -> None:
        if self.fill == "default" and self.stat == "count":
            object.__setattr__(self, "fill", "history")
        super().__post_init__()

    def _check(self) -> None:
        super()._check()
        if self.signal not in signals():
            raise FeatureError(f"`signal` must be one of {', '.join(signals())}", got=self.signal)
        if self.stat not in ("count", "share"):
            raise FeatureError("`stat` must be 'count' or 'share'", got=self.stat)

    def written_as(self) -> str:
        """Return the unit of the statistic."""
        return self.unit or self.stat

    def _what(self) -> str:
        return f"{'n' if self.stat == 'count' else 'share'}_{self.table.name}_{self.signal}"

    def _output(self, window: int | None) -> Output:
        said = replace(self.ask("says", window, self.column), values=(self.signal,))
        if self.stat == "share":
            return self.draft("ratio", said, self.ask("filled", window, self.column))
        return self.draft("count", said)


@dataclass(frozen=True)
class WeekProfile(Declaration):
    """Share of the rows in each part of the week, local time: four parts of the day, week and weekend."""

    default_unit: ClassVar[str] = "share"

    def expand(self, family: str) -> list[Output]:
        """Return one output for each part of the week and window."""
        return [
            self._finish(self._part(window, days, hours), family, window, self._words(days, hours))
            for days in WEEK
            for hours in DAYPARTS
            for window in self.windows
        ]

    def _what(self) -> str:
        return f"share_{self.table.name}"

    def _words(self, days: tuple, hours: tuple) -> tuple[str, str, str]:
        return f"{days[0]}_{hours[0]}", f"{days[1]}, {hours[1]}", f"{days[2]}, {hours[2]}"

    def _part(self, window: int | None, days: tuple, hours: tuple) -> Output:
        within = (
            f"local_weekday BETWEEN {days[3]} AND {days[4]} AND local_hour BETWEEN {hours[3]} AND {hours[4]}"
        )
        dated = "NOT local_weekday IS NULL AND NOT local_hour IS NULL"
        return self.draft(
            "ratio", self.ask("count", window, and_=within), self.ask("count", window, and_=dated)
        )


@dataclass(frozen=True)
class PerSession(Sum):
    """A number added up over the window, by session: milliseconds of dwelling or hovering a visit."""

    silence: int = 30

    default_fill: ClassVar[Fill] = None

    def _check(self) -> None:
        super()._check()
        if self.table.name != "events":
            raise FeatureError("PerSession must read events", got=self.source)

    def _what(self) -> str:
        return f"{self.column}_per_session"

    def _output(self, window: int | None) -> Output:
        total, values = self.sum_part(window), self.filled("filled", window)
        sessions = self.ask("n", window, level="sessions", group=str(self.silence))
        return self.draft("by_session" if total.op == "sum" else "micro_by_session", total, sessions, values)


@dataclass(frozen=True)
class Deliberation(Declaration):
    """How a person came to buy: from the first view of a product to its order.

    Only orders of a product the person was seen viewing in the `DELIBERATION_DAYS` days before count:
    the others say nothing of how they were prepared. A purchase is *considered* when it comes at least
    `CONSIDERED_HOURS` after the first view or after `CONSIDERED_VIEWS` views, else *impulsive*.

    Parameters
    ----------
    stat : {"hours", "views", "impulsive", "style"}
        Mean hours from first view to order, mean number of views, share of impulsive purchases, or the
        word: ``impulsive`` from a share of `IMPULSIVE_SHARE`, else ``considered``.
    """

    stat: str = "hours"

    _names: ClassVar[dict[str, tuple[str, str]]] = {
        "hours": ("deliberation_hours", "ratio"),
        "views": ("deliberation_views", "ratio"),
        "impulsive": ("share_impulsive", "share"),
        "style": ("purchase_deliberation", "text"),
    }

    def _check(self) -> None:
        super()._check()
        if self.source != "order_lines":
            raise FeatureError("Deliberation must read order_lines", got=self.source)
        if self.stat not in self._names:
            raise FeatureError(f"`stat` must be one of {', '.join(self._names)}", got=self.stat)

    def written_as(self) -> str:
        """Return the unit of the statistic."""
        return self.unit or self._names[self.stat][1]

    def _what(self) -> str:
        return self._names[self.stat][0]

    def _output(self, window: int | None) -> Output:
        def of(op: str) -> Part:
            return self.ask(op, window, level="purchases")

        if self.stat == "style":
            draft = self.draft("style", of("quick"), of("n"), categories=("impulsive", "considered"))
            object.__setattr__(draft, "dtype", "category")
            return draft
        if self.stat == "impulsive":
            return self.draft("ratio", of("quick"), of("n"))
        if self.stat == "hours":
            return self.draft("hours", of("length"), of("n"))
        return self.draft("ratio", of("views"), of("n"))


@dataclass(frozen=True)
class Knowledge(Declaration):
    """How much is known of a person, 0 to 100: kinds of facts known, each worth more when recent.

    Each of the `kinds_wanted` kinds of facts gives ``1 - e^(-s)``, `s` being the sum over its facts of
    e^(-age / `fade_days`). So one more fact never lowers the score, and a more recent one raises it more.
    """

    fade_days: float = 180.0
    kinds_wanted: int = 20

    default_unit: ClassVar[str] = "ratio"

    def _check(self) -> None:
        super()._check()
        if self.source != "facts":
            raise FeatureError("Knowledge must read facts", got=self.source)

    def _what(self) -> str:
        return "knowledge_score"

    def _output(self, window: int | None) -> Output:
        part = self.ask("saturated", window, level="values", group="kind")
        part = replace(part, values=(repr(float(self.fade_days)),))
        return self.draft("knowledge", part, number=100.0 / self.kinds_wanted)


@dataclass(frozen=True)
class Trait(Last):
    """The last value of an attribute a source keeps in `traits`; other values become ``other``.

    The class of the attribute is what its source declares in `source_fields`; an attribute nobody
    declared, or declared sensitive, is refused when features are built, unless `sensitive_for` says why.
    """

    key: str = ""

    def _check(self) -> None:
        if self.source != "profiles.traits" or not self.key.isidentifier():
            raise FeatureError(
                "Trait must read `profiles.traits` and name a `key`", got=self.key or self.source
            )
        super()._check()

    def _may_copy(self) -> bool:
        return True

    def _what(self) -> str:
        return f"trait_{self.key}"

    def _output(self, window: int | None) -> Output:
        draft = super()._output(window)
        kept = replace(draft.parts[0], having=self.key)
        return replace(draft, parts=(kept,), trait=None if self.sensitive_for else self.key)
