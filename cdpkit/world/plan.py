"""The plan of a world: its arguments, its days, its seasons and its campaigns."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace

import numpy as np

from cdpkit.errors import CdpkitError
from cdpkit.world import catalogue, columns, places, presets
from cdpkit.world.draws import Draws

#: Microseconds in a day.
DAY = 86_400_000_000

#: Units are persons, anonymous visitors and bots; each kind counts from its own first number.
FIRST_VISITOR, FIRST_BOT = 1 << 40, 1 << 41


@dataclass(frozen=True)
class Campaign:
    """One e-mail campaign: the day and hour it leaves, what it is about."""

    campaign_id: str
    day: int
    hour: int
    kind: str
    category: int


@dataclass(frozen=True)
class Plan:
    """What determines a world: nothing else enters it.

    Parameters
    ----------
    n_persons : int
        True persons, apart from anonymous visitors and bots.
    seed : int
        Seed of every draw.
    preset : str
        One of `cdpkit.world.presets.names()`.
    start, end : str
        First day, and first day after the last, as ISO dates (UTC).
    changes : dict, optional
        Parameters to change, section by section.
    """

    n_persons: int
    seed: int = 0
    preset: str = "retail"
    start: str = "2025-01-01"
    end: str = "2026-07-01"
    changes: dict[str, dict] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        if self.n_persons < 1:
            raise CdpkitError("`n_persons` must be >= 1", got=str(self.n_persons))
        if self.days < 1:
            raise CdpkitError("`end` must come after `start`", got=f"{self.start} to {self.end}")
        presets.parameters(self.preset, self.changes)

    @cached_property
    def rules(self) -> SimpleNamespace:
        """The parameters, section by section."""
        return presets.parameters(self.preset, self.changes)

    @property
    def first(self) -> int:
        """Microseconds of the first midnight."""
        return int(np.datetime64(self.start, "us").astype(np.int64))

    @property
    def days(self) -> int:
        """Number of days."""
        return int((np.datetime64(self.end, "D") - np.datetime64(self.start, "D")).astype(int))

    @property
    def last(self) -> int:
        """Microseconds of the end; nothing after it is exported."""
        return self.first + self.days * DAY

    def day_of(self, moment: str | np.datetime64) -> int:
        """Return the day number of a date."""
        return int((np.datetime64(str(moment)[:10], "D") - np.datetime64(self.start, "D")).astype(int))

    @cached_property
    def shop(self) -> catalogue.Catalogue:
        """The catalogue."""
        market = self.rules.market
        return catalogue.build(
            self.seed, self.days, self.rules.sector.words, out_rate=market.out_rate, out_days=market.out_days
        )

    @cached_property
    def weather(self) -> places.Weather:
        """The weather."""
        return places.Weather(self.seed, self.start, self.days)

    def off(self, day: int) -> bool:
        """Tell whether a day is a public holiday."""
        return places.is_holiday(np.datetime64(self.start, "D") + day)

    def offset(self, day: int) -> int:
        """Return the hours Paris is ahead of UTC at the noon of a day."""
        return int(columns.paris_offset(np.array([self.first + day * DAY + DAY // 2]))[0])

    def season(self, day: int) -> float:
        """Return the log effect of the date on activity."""
        date = np.datetime64(self.start, "D") + day
        month = int(date.astype("datetime64[M]").astype(int)) % 12
        in_month = int((date - date.astype("datetime64[M]")).astype(int)) + 1
        weekday = int(date.astype(int) + 3) % 7
        rule = self.rules.season
        sales = (month == 0 and in_month >= 8) or (month == 6 and in_month <= 22)
        sales = sales or (month == 10 and in_month >= 22)
        return rule.months[month] + rule.weekdays[weekday] + (rule.sales if sales else 0.0)

    @cached_property
    def campaigns(self) -> dict[int, Campaign]:
        """The campaigns by day; the calendar goes one year beyond the end, for what would come next."""
        weeks = np.arange(-8, (self.days + 365) // 7 + 1)
        draws = Draws(self.seed, weeks + 1000)
        n = draws.poisson(self.rules.messages.per_week - 1.0, 2, "campaign extra") + 1
        calendar: dict[int, Campaign] = {}
        for place, week in enumerate(weeks):
            for k in range(int(n[place])):
                day = int(week) * 7 + (1, 3, 5)[k]
                hour = int(draws.pick(np.array([2, 3, 2, 1, 1, 2]), "campaign hour", k)[place])
                category = int(draws.pick(np.ones(len(self.shop.categories)), "campaign theme", k)[place])
                kind = "newsletter" if k == 0 else ("promotion", "delivery")[(place + k) % 2]
                name = f"{kind[0].upper()}{np.datetime64(self.start, 'D') + day}".replace("-", "")
                calendar[day] = Campaign(name, day, (7, 8, 10, 12, 15, 17)[hour], kind, category)
        return calendar
