"""Kinds over the rows themselves: counts, sums, shares, rates, recencies, last values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from cdpkit.errors import FeatureError
from cdpkit.features.declarations import (
    Declaration,
    Fill,
    Output,
    equals,
    slug,
)
from cdpkit.features.plan import Part

_NUMERIC = ("int64", "float64", "decimal")

Values = Sequence[str] | Mapping[str, tuple[str, str]] | None


def _worded(values: Values) -> dict[str, tuple[str, str]]:
    """Return each value with its French and English words."""
    if values is None:
        return {}
    return dict(values) if isinstance(values, Mapping) else {value: (value, value) for value in values}


@dataclass(frozen=True)
class _ByValue(Declaration):
    """A declaration that may give one column for each value of a text column."""

    by: str | None = None
    values: Values = None

    def _check(self) -> None:
        super()._check()
        if self.by is not None:
            self._check_column(self.by)
            slugs = [slug(value) for value in _worded(self.values)]
            if len(set(slugs)) != len(slugs):
                raise FeatureError("`values` must give different column names", got=", ".join(sorted(slugs)))

    def expand(self, family: str) -> list[Output]:
        """Return one output for each value and window."""
        if self.by is None or not _worded(self.values):
            return super().expand(family)
        return [
            self._finish(self._output(window, equals(self.by, value)), family, window, (slug(value), *words))
            for value, words in _worded(self.values).items()
            for window in self.windows
        ]

    def _output(self, window: int | None, chosen: str | None = None) -> Output:
        raise NotImplementedError


@dataclass(frozen=True)
class Count(_ByValue):
    """Count rows; with `by` and `values`, one column for each value.

    Examples
    --------
    >>> [o.name for o in Count("events", by="channel", values=["site", "app"], windows=[7]).expand("web")]
    ['web__n_events_site__7d', 'web__n_events_app__7d']
    """

    default_fill: ClassVar[Fill] = "history"

    def _what(self) -> str:
        return f"n_{self.table.name}" + (f"_{_short(self.of.column)}" if self.of else "")

    def _output(self, window: int | None, chosen: str | None = None) -> Output:
        if self.by is not None and chosen is None:
            raise FeatureError("Count by a column must list its `values`", got=f"by={self.by!r}")
        return self.draft("count", self.ask("count", window, and_=chosen))


@dataclass(frozen=True)
class Has(Declaration):
    """Say 1 when any row is seen."""

    default_fill: ClassVar[Fill] = "history"
    default_unit: ClassVar[str] = "flag"

    def _what(self) -> str:
        return f"has_{self.table.name}" + (f"_{_short(self.of.column)}" if self.of else "")

    def _output(self, window: int | None) -> Output:
        return self.draft("flag", self.ask("count", window))


@dataclass(frozen=True)
class _Number(Declaration):
    """A declaration over a number; amounts in minor units are never mixed across currencies.

    `currency` keeps the rows of one currency; without it, somebody whose rows in the window are in
    several currencies gets a missing value.
    """

    currency: str | None = None

    needs_column: ClassVar[bool] = True
    column_types: ClassVar[tuple[str, ...]] = _NUMERIC
    operation: ClassVar[str] = ""

    @property
    def is_money(self) -> bool:
        """Whether the column is an amount in a currency."""
        return bool(self.column) and str(self.column).endswith("_minor") and "currency" in self.table

    def _what(self) -> str:
        return f"{self.operation}_{self.table.name}_{str(self.column).removesuffix('_minor')}"

    def filled(self, op: str, window: int | None) -> Part:
        only = equals("currency", self.currency) if self.currency and self.is_money else None
        return self.ask(op, window, self.column, and_=only)

    def guards(self, window: int | None) -> tuple[Part, ...]:
        """Return the parts that tell whether one currency was seen."""
        if not self.is_money or self.currency:
            return ()
        return self.ask("min", window, "currency"), self.ask("max", window, "currency")

    def sum_part(self, window: int | None) -> Part:
        exact = self.table[str(self.column)].type == "int64"
        return self.filled("sum" if exact else "micro", window)

    def written_as(self) -> str:
        """Return the unit: money when the column is an amount."""
        return self.unit or ("money" if self.is_money else self.default_unit)


@dataclass(frozen=True)
class Sum(_Number):
    """Add up a number. Integers are exact; others are added in millionths, so order never matters."""

    default_fill: ClassVar[Fill] = "history"
    operation: ClassVar[str] = "sum"

    def _output(self, window: int | None) -> Output:
        total = self.sum_part(window)
        return self.draft(
            "sum" if total.op == "sum" else "micro_sum",
            total, self.filled("count", window), *self.guards(window),
        )  # fmt: skip


@dataclass(frozen=True)
class Mean(_Number):
    """Average a number over the rows that have it."""

    operation: ClassVar[str] = "mean"

    def _output(self, window: int | None) -> Output:
        total, n = self.sum_part(window), self.filled("filled", window)
        return self.draft("mean" if total.op == "sum" else "micro_mean", total, n, *self.guards(window))


@dataclass(frozen=True)
class Min(_Number):
    """Take the smallest number."""

    operation: ClassVar[str] = "min"

    def _output(self, window: int | None) -> Output:
        found, n = self.filled(self.operation, window), self.filled("filled", window)
        return self.draft("value", found, n, *self.guards(window))


@dataclass(frozen=True)
class Max(Min):
    """Take the largest number."""

    operation: ClassVar[str] = "max"


@dataclass(frozen=True)
class Share(_ByValue):
    """Share of the rows that have a value of `by`, or that meet `part`.

    Rows whose `by` is empty count on neither side. Without `values`, the share of the favourite value.

    Examples
    --------
    >>> Share("orders", part="local_weekday >= 6", name="weekend").expand("rhythm")[0].name
    'rhythm__weekend'
    """

    part: str | None = None

    default_unit: ClassVar[str] = "share"

    def _check(self) -> None:
        super()._check()
        if (self.by is None) == (self.part is None):
            raise FeatureError("Share must get one of `by` and `part`", got="both" if self.by else "neither")
        if self.part is not None:
            object.__setattr__(self, "part", self._filter(self.part, self.guarded))

    def _what(self) -> str:
        return f"share_{self.by or 'part'}" if self.by is None or self.values else f"share_top_{self.by}"

    def _output(self, window: int | None, chosen: str | None = None) -> Output:
        if self.by is not None and chosen is None:
            top = self.ask("top", window, level="values", group=self.by)
            return self.draft("ratio", top, self.ask("total", window, level="values", group=self.by))
        if self.by is not None:
            whole = f"NOT {self.by} IS NULL"
        else:
            chosen, whole = self.part, f"NOT ({self.part}) IS NULL"
        return self.draft(
            "ratio", self.ask("count", window, and_=chosen), self.ask("count", window, and_=whole)
        )


@dataclass(frozen=True)
class Rate(Declaration):
    """Share of rows whose outcome had become known by the date.

    `part` limits the rows counted above, such as ``"not machine_open"``; `where` limits both sides, so
    it cannot name outcome columns.
    """

    part: str | None = None

    default_unit: ClassVar[str] = "share"

    def _check(self) -> None:
        super()._check()
        if self.of is None:
            raise FeatureError("Rate must say of which outcome", do='Declare of=known("clicked_at")')
        if self.part is not None:
            object.__setattr__(self, "part", self._filter(self.part, self.guarded))

    def _where_may_use(self) -> frozenset[str]:
        return frozenset()

    def _what(self) -> str:
        return f"{self.table.name}_{_short(self.of.column if self.of else '')}_rate"

    def _output(self, window: int | None) -> Output:
        everyone = Part(self.table.name, "count", None, self.where, window)
        return self.draft("ratio", self.ask("count", window, and_=self.part), everyone)


@dataclass(frozen=True)
class Recency(Declaration):
    """Days since the last row (or since its outcome, with `of`).

    `cap_days` limits the look-back: nothing seen within it is as nothing seen.
    """

    cap_days: int | None = None

    default_unit: ClassVar[str] = "days"

    def _what(self) -> str:
        return f"days_since_{_singular(self.table.name)}" + (f"_{_short(self.of.column)}" if self.of else "")

    def _output(self, window: int | None) -> Output:
        time = self.of.column if self.of else "event_time"
        return self.draft("days_since", self.ask("max", self.cap_days or window, time))


@dataclass(frozen=True)
class Tenure(Declaration):
    """Days since the first row."""

    default_unit: ClassVar[str] = "days"

    def _what(self) -> str:
        return f"days_since_first_{_singular(self.table.name)}"

    def _output(self, window: int | None) -> Output:
        return self.draft("days_since", self.ask("min", window, "event_time"))


@dataclass(frozen=True)
class Age(Declaration):
    """Years since a date the person gave, as last known, such as a birth date."""

    needs_column: ClassVar[bool] = True
    column_types: ClassVar[tuple[str, ...]] = ("date", "timestamp")
    default_unit: ClassVar[str] = "years"

    def _what(self) -> str:
        return f"years_since_{self.column}"

    def _output(self, window: int | None) -> Output:
        return self.draft("years_since", self.ask("last", window, self.column))


@dataclass(frozen=True)
class Latest(Declaration):
    """The last number of a column, ties broken by the row's key, then by the number."""

    needs_column: ClassVar[bool] = True
    column_types: ClassVar[tuple[str, ...]] = ("int64", "float64")
    default_unit: ClassVar[str] = "ratio"

    def _what(self) -> str:
        return f"last_{self.column}"

    def _output(self, window: int | None) -> Output:
        return self.draft("field", self.ask("last", window, self.column))


@dataclass(frozen=True)
class Last(Declaration):
    """The last value of a text column; other values become ``other``.

    Among rows of the same instant the value listed last wins (the one listed first, for `First`), and
    ``other`` loses: list ``denied`` after ``granted`` and a denial wins. Time and place in the list are
    one integer, so that the order of rows never matters and text is never compared.

    Personal identifiers and free text cannot become a feature.
    """

    values: Values = None

    needs_column: ClassVar[bool] = True
    column_types: ClassVar[tuple[str, ...]] = ("string",)
    default_unit: ClassVar[str] = "text"
    operation: ClassVar[str] = "latest"

    def _check(self) -> None:
        super()._check()
        if self.table[str(self.column)].pii in ("identifier", "text") and not self._may_copy():
            raise FeatureError("a feature must not copy an identifier or free text", got=self.source)
        if not _worded(self.values):
            raise FeatureError(f"{type(self).__name__} must list its `values`", got="none")
        if isinstance(self.fill, int | float):
            raise FeatureError("`fill` of a text feature must be None", got=repr(self.fill))

    def _may_copy(self) -> bool:
        """Tell whether a protected column may be read all the same."""
        return False

    def _what(self) -> str:
        return f"{type(self).__name__.lower()}_{self.column}"

    def _output(self, window: int | None) -> Output:
        categories = (*_worded(self.values), "other")
        part = replace(self.ask(self.operation, window, self.column), values=categories)
        draft = self.draft("category", part, categories=categories)
        object.__setattr__(draft, "dtype", "category")
        return draft


@dataclass(frozen=True)
class First(Last):
    """The first value of a text column."""

    operation: ClassVar[str] = "earliest"


def _short(column: str) -> str:
    """Return an outcome time as a word: `clicked_at` is `clicked`."""
    return column.removesuffix("_at")


def _singular(table: str) -> str:
    """Return a table's name for one row."""
    return table.removesuffix("s")
