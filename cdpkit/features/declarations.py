"""The vocabulary: what a feature may be. A declaration is data; `compile` turns it into SQL.

Every declaration names a table, or ``"table.column"``, and may carry a filter, windows in days
(None: all history), and ``of=known("clicked_at")`` to count only what had become known by then. It
declares what to say when nothing was seen:

- ``fill=None``: missing when nothing was seen in the window;
- ``fill="history"``: 0 for somebody with earlier rows in that table, missing for somebody without;
- ``fill=0`` (any number): that number, as soon as the source has said anything of anybody by then.

Nothing else ever turns a missing value into 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar
from unicodedata import combining, normalize

from sqlglot import exp

from cdpkit.errors import FeatureError
from cdpkit.features import predicate
from cdpkit.features.facts import DERIVED, fact, sensitive
from cdpkit.features.plan import Part
from cdpkit.phrases import UNITS
from cdpkit.schema import Table

#: Kinds of data, one for each feature: in general, demographic, declared with consent, behaviour.
TAGS = ("générale", "démographique", "explicite", "comportement")

#: What a session is known to hold, and the event that shows it.
SESSION_FACTS = {
    "has_search": "Products Searched",
    "has_list": "Product List Viewed",
    "has_view": "Product Viewed",
    "has_cart": "Product Added",
    "has_checkout": "Checkout Started",
    "has_purchase": "Order Completed",
}

Fill = float | int | str | None


@dataclass(frozen=True)
class Known:
    """An outcome, reached through the time at which it became known."""

    column: str


def known(column: str) -> Known:
    """Ask for an outcome only as far as it had become known by the date of the feature.

    Examples
    --------
    >>> from cdpkit.features import Rate
    >>> Rate("messages", of=known("clicked_at"), windows=[90]).expand("reactivity")[0].name
    'reactivity__messages_clicked_rate__90d'
    """
    return Known(column)


@dataclass(frozen=True)
class Output:
    """One column of a feature table: its formula over parts and all it declares.

    Parameters
    ----------
    name : str
        ``family__what__90d``.
    formula : str
        Name of a formula in `compile`.
    parts : tuple of Part
    fill : float, ``"history"`` or None
    unit : str
        How the value is written in words.
    tag : str
        One of `TAGS`.
    fr, en : str
        Meaning, a noun phrase.
    say : tuple of str
        Sentence templates: French, English, and the same for zero when it deserves its own words.
    """

    name: str
    family: str
    formula: str
    parts: tuple[Part, ...]
    table: str
    window: int | None
    fill: Fill
    dtype: str
    unit: str
    tag: str
    fr: str
    en: str
    say: tuple[str, ...]
    history: Part | None = None
    categories: tuple[str, ...] = ()
    number: float = 1.0
    trait: str | None = None


@dataclass(frozen=True)
class Declaration:
    """What all declarations share.

    Parameters
    ----------
    source : str
        ``"events"``, or ``"orders.amount_minor"`` for a column.
    where : str, optional
        Filter, see `predicate`.
    windows : sequence of int or None
        Look-backs in days: `[t - w, t)`.
    of : Known, optional
        Count only rows whose outcome was known by the date.
    family, name : str, optional
        First two words of the column name; by default the set's name and the kind of feature.
    fill : number, ``"history"`` or None
    history : str, optional
        Which earlier rows count as history for ``fill="history"``; by default any row of the table.
    fr, en : str
        Meaning; ``{days}`` and ``{by}`` are filled in.
    say_fr, say_en, zero_fr, zero_en : str
        Sentence about a person, with ``{value}``; the zero forms replace it for 0.
    tag : str
        One of `TAGS`.
    unit : str, optional
    sensitive_for : str, optional
        The purpose for which a column of class ``sensitive`` is used; without it such a column is refused,
        wherever it is named.
    """

    source: str
    _: KW_ONLY
    where: str | None = None
    windows: Sequence[int | None] = (None,)
    of: Known | None = None
    family: str | None = None
    name: str | None = None
    fill: Fill = "default"
    history: str | None = None
    fr: str = ""
    en: str = ""
    say_fr: str = ""
    say_en: str = ""
    zero_fr: str = ""
    zero_en: str = ""
    tag: str = "comportement"
    unit: str | None = None
    sensitive_for: str | None = None

    default_fill: ClassVar[Fill] = None
    default_unit: ClassVar[str] = "count"
    needs_column: ClassVar[bool] = False
    column_types: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "windows", tuple(self.windows))
        if self.fill == "default":
            object.__setattr__(self, "fill", self.default_fill)
        self._check()
        if self.where is not None:
            object.__setattr__(self, "where", self._filter(self.where, self._where_may_use()))
        if self.history is not None:
            object.__setattr__(self, "history", self._filter(self.history))

    def _filter(self, text: str, guarded: frozenset[str] = frozenset()) -> str:
        """Check a filter, and that it names nothing sensitive."""
        checked = predicate.check(text, self.table, guarded)
        for name in predicate.columns(checked):
            self._refuse_sensitive(name)
        return checked

    def _refuse_sensitive(self, name: str) -> None:
        """Refuse a sensitive column, unless the declaration says for which purpose."""
        if not sensitive(self.table, name):
            return
        if self.sensitive_for is None:
            raise FeatureError(
                "a sensitive field must not be used in a feature", got=f"{self.table.name}.{name}",
                do='Leave it out, or declare sensitive_for="the purpose people agreed to"',
            )  # fmt: skip

    def _check(self) -> None:
        """Refuse a declaration that cannot mean anything."""
        table, column = self.table, self.column
        for window in self.windows:
            if window is not None and (not isinstance(window, int) or window < 1):
                raise FeatureError("`windows` must be whole days >= 1, or None", got=repr(window))
        if not self.windows:
            raise FeatureError("`windows` must hold at least one window", got="none")
        if self.of is not None and self.of.column not in set(table.outcomes.values()):
            times = ", ".join(sorted(set(table.outcomes.values()))) or "none"
            raise FeatureError(f"`of` must be an outcome time of {table.name} ({times})", got=self.of.column)
        if self.needs_column and column is None:
            raise FeatureError(f"{type(self).__name__} must name a column", got=self.source)
        if column is not None:
            self._check_column(column)
        if self.tag not in TAGS:
            raise FeatureError(f"`tag` must be one of {', '.join(TAGS)}", got=self.tag)
        if isinstance(self.fill, str) and self.fill != "history":
            raise FeatureError("`fill` must be a number, 'history' or None", got=self.fill)
        if self.unit is not None and self.unit not in UNITS:
            raise FeatureError(f"`unit` must be one of {', '.join(UNITS)}", got=self.unit)

    def _check_column(self, name: str) -> None:
        """Refuse a column that does not exist, is out of its time or of the wrong type."""
        table = self.table
        if name in DERIVED and "day" not in table:
            if self.column_types:
                raise FeatureError(f"{type(self).__name__} must read a stored column", got=self.source)
            return
        self._refuse_sensitive(name)
        if name not in table:
            raise FeatureError(f"`{self.source}` must name a column of {table.name}", got=name)
        time = table.outcomes.get(name)
        if time is not None and time not in self.guarded:
            raise FeatureError(
                f"outcome `{name}` must be reached through its time", do=f'Declare of=known("{time}")'
            )
        if self.column_types and table[name].type not in self.column_types:
            raise FeatureError(
                f"{type(self).__name__} must read a column of type {' or '.join(self.column_types)}",
                got=f"{name}: {table[name].type}",
            )

    @property
    def table(self) -> Table:
        """The table read."""
        return fact(self.source.partition(".")[0])

    @property
    def column(self) -> str | None:
        """The column read, if any."""
        return self.source.partition(".")[2] or None

    @property
    def guarded(self) -> frozenset[str]:
        """Outcome times this declaration waits for."""
        return frozenset() if self.of is None else frozenset({self.of.column})

    def _where_may_use(self) -> frozenset[str]:
        """Return the outcome times whose columns `where` may name: those that limit every part."""
        return self.guarded

    def expand(self, family: str) -> list[Output]:
        """Return one `Output` for each window (and value)."""
        return [self._finish(self._output(window), family, window) for window in self.windows]

    def written_as(self) -> str:
        """Return the unit of the value."""
        return self.unit or self.default_unit

    def _output(self, window: int | None) -> Output:
        """Return the formula and parts of one window."""
        raise NotImplementedError

    def _what(self) -> str:
        """Return the default middle word of the column name."""
        raise NotImplementedError

    def ask(self, op: str, window: int | None, column: str | None = None, **more: str | None) -> Part:
        """Return a part of this table under this declaration's filter, plus `and_`."""
        filters = [self.where, more.pop("and_", None)]
        filters.append(f"known({self.of.column})" if self.of is not None else None)
        return Part(self.table.name, op, column, both(*filters), window, **more)  # type: ignore[arg-type]

    def draft(self, formula: str, *parts: Part, **more: object) -> Output:
        """Return an output still without a name."""
        return Output(
            name="", family="", formula=formula, parts=parts, table=self.table.name, window=None,
            fill=self.fill, dtype="float64", unit=self.written_as(), tag=self.tag,
            fr=self.fr, en=self.en, say=(self.say_fr, self.say_en, self.zero_fr, self.zero_en),
            **more,  # type: ignore[arg-type]
        )  # fmt: skip

    def _finish(
        self, draft: Output, family: str, window: int | None, by: tuple[str, str, str] | None = None
    ) -> Output:
        """Name an output and fill its words."""
        family = self.family or family
        what = self.name or self._what()
        fr, en = (by[1], by[2]) if by else ("", "")
        what = f"{what}_{by[0]}" if by else what
        suffix = "" if window is None else f"__{window}d"
        words = {"days": window if window is not None else "", "by": ""}
        say: tuple[str, ...] = tuple(
            _fill(text, words | {"by": (fr, en)[index % 2]}) for index, text in enumerate(draft.say)
        )
        history = Part(self.table.name, "count", where=self.history) if self.fill == "history" else None
        return replace(
            draft, name=f"{family}__{what}{suffix}", family=family, window=window, history=history,
            fr=_fill(draft.fr, words | {"by": fr}), en=_fill(draft.en, words | {"by": en}), say=say,
        )  # fmt: skip


def both(*filters: str | None) -> str | None:
    """Join filters by AND."""
    kept = [text for text in filters if text]
    return kept[0] if len(kept) == 1 else " AND ".join(f"({text})" for text in kept) or None


def slug(value: str) -> str:
    """Return a value as a piece of a column name.

    Examples
    --------
    >>> slug("Product Added")
    'product_added'
    >>> slug("Beauté")
    'beaute'
    """
    bare = "".join(c for c in normalize("NFD", value.lower()) if not combining(c))
    return re.sub(r"[^a-z0-9]+", "_", bare).strip("_") or "other"


def _fill(template: str, words: Mapping[str, object]) -> str:
    """Fill only the named words of a template; `{value}` and choices stay for later."""
    for name, word in words.items():
        template = template.replace("{" + name + "}", str(word))
    return template


def equals(column: str, value: str) -> str:
    """Return the filter `column = value`, the value quoted by the builder."""
    return exp.EQ(this=exp.column(column), expression=exp.Literal.string(value)).sql(dialect="duckdb")
