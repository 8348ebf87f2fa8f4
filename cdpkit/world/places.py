"""Places and days as the world finds them: areas, weather, holidays. Nobody in the world acts on them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa

from cdpkit.world import columns
from cdpkit.world.catalogue import words
from cdpkit.world.draws import Draws

#: First weather day before the world's first, and days known beyond its end.
BEFORE, BEYOND = 120, 400
_FIXED = {
    "01-01": ("Jour de l'an", "New Year's Day"),
    "05-01": ("Fête du travail", "Labour Day"),
    "05-08": ("Victoire 1945", "Victory in Europe Day"),
    "07-14": ("Fête nationale", "Bastille Day"),
    "08-15": ("Assomption", "Assumption"),
    "11-01": ("Toussaint", "All Saints' Day"),
    "11-11": ("Armistice", "Armistice Day"),
    "12-25": ("Noël", "Christmas Day"),
}
_MOVING = {
    1: ("Lundi de Pâques", "Easter Monday"),
    39: ("Ascension", "Ascension Day"),
    50: ("Lundi de Pentecôte", "Whit Monday"),
}


def easter(year: int) -> np.datetime64:
    """Return Easter Sunday (the Gregorian computus of Meeus, Jones and Butcher).

    Examples
    --------
    >>> easter(2025), easter(2026)
    (np.datetime64('2025-04-20'), np.datetime64('2026-04-05'))
    """
    a, b, c = year % 19, year // 100, year % 100
    d = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    e = (32 + 2 * (b % 4) + 2 * (c // 4) - d - c % 4) % 7
    f = d + e - 7 * ((a + 11 * d + 22 * e) // 451) + 114
    return np.datetime64(f"{year}-{f // 31:02d}-{f % 31 + 1:02d}", "D")


@cache
def holidays(year: int) -> dict[np.datetime64, tuple[str, str]]:
    """Return the French public holidays of a year, with their French and English names."""
    found = {np.datetime64(f"{year}-{day}", "D"): names for day, names in _FIXED.items()}
    return found | {easter(year) + after: names for after, names in _MOVING.items()}


def is_holiday(date: np.datetime64) -> bool:
    """Tell whether a date is a public holiday."""
    return date in holidays(int(str(date)[:4]))


def home(seed: int, household: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the city and the postcode of households."""
    cities, draws = words()["cities"], Draws(seed, household + (1 << 42))
    city = draws.pick(1.0 / np.arange(1, len(cities) + 1) ** 0.5, "city")
    bounds = np.array([[low, high] for _, low, high in cities])
    step = np.where(bounds[city, 1] - bounds[city, 0] > 20, 100, 1)
    steps = (bounds[city, 1] - bounds[city, 0]) // step
    return city, bounds[city, 0] + step * (draws.uniform("postcode") * (steps + 1)).astype(np.int64)


def wealth(seed: int, postcode: np.ndarray) -> np.ndarray:
    """Return the wealth of areas, in standard deviations."""
    return Draws(seed, np.asarray(postcode) + (1 << 46)).normal("wealth")


class Weather:
    """Rain (0 or more, standardised) and temperature, a day and a city: seasons, spells and luck."""

    def __init__(self, seed: int, start: str, days: int) -> None:
        n = len(words()["cities"])
        city = Draws(seed, np.arange(n) + (1 << 47))
        span = np.arange(-BEFORE, days + BEYOND)
        wet, heat = np.zeros(n), np.zeros(n)
        rain, warm = np.empty((len(span), n)), np.empty((len(span), n))
        for place, day in enumerate(span.tolist()):
            # What all cities share comes from the first one's luck.
            wet = 0.7 * wet + 0.5 * city.normal("rain", day) + 0.5 * city.normal("front", day)[0]
            heat = 0.8 * heat + 0.3 * city.normal("heat", day) + 0.5 * city.normal("mass", day)[0]
            rain[place], warm[place] = wet, heat
        date = np.datetime64(start, "D") + span
        turn = (date - date.astype("datetime64[Y]").astype("datetime64[D]")).astype(int) / 365.25
        self.rain = np.maximum(rain - 0.4, 0.0)
        self.heat = warm
        self.degrees = 13.0 - 8.0 * np.cos(2 * np.pi * (turn[:, None] - 0.05)) + 3.0 * warm

    def rain_on(self, day: int) -> np.ndarray:
        """Return the rain of a day, city by city."""
        return self.rain[min(day + BEFORE, len(self.rain) - 1)]

    def table(self, first: int, days: int) -> pa.Table:
        """Return the weather export: one row a day and city."""
        cities = [name for name, *_ in words()["cities"]]
        day, city = np.repeat(np.arange(days), len(cities)), np.tile(np.arange(len(cities)), days)
        at = slice(BEFORE, BEFORE + days)
        return pa.table(
            {
                "day": columns.iso_date(first // 86_400_000_000 + day),
                "city": columns.words(city, cities),
                "rain_mm": pa.array(np.round(6.0 * self.rain[at].ravel()).astype(np.int64)),
                "temperature_c": pa.array(np.round(self.degrees[at].ravel()).astype(np.int64)),
            }
        )


def holiday_table(start: str, days: int) -> pa.Table:
    """Return the public holidays of a period."""
    first = np.datetime64(start, "D")
    last = first + days
    years = range(int(str(first)[:4]), int(str(last)[:4]) + 1)
    found = sorted(
        (day, *names) for year in years for day, names in holidays(year).items() if first <= day < last
    )
    return pa.table(
        {
            "day": pa.array([str(day) for day, *_ in found], pa.string()),
            "name_fr": pa.array([french for _, french, _ in found], pa.string()),
            "name_en": pa.array([english for _, _, english in found], pa.string()),
        }
    )


def area_table(seed: int) -> pa.Table:
    """Return facts of public statistics, one row a postcode."""
    rows = []
    for name, low, high in words()["cities"]:
        rows += [(name, code) for code in range(low, high + 1, 100 if high - low > 20 else 1)]
    rows = list({code: (name, code) for name, code in reversed(rows)}.values())
    codes = np.array([code for _, code in rows])
    rich = wealth(seed, codes)
    area = Draws(seed, codes + (1 << 46))
    upper = np.clip(0.28 + 0.09 * rich + 0.02 * area.normal("upper"), 0.05, 0.7)
    return pa.table(
        {
            "postcode": columns.numbered(codes, 5),
            "city": pa.array([name for name, _ in rows], pa.string()),
            "median_income": pa.array(np.round(23_000 * np.exp(0.18 * rich)).astype(np.int64)),
            "upper_class_share": pa.array(np.round(upper, 3)),
            "population": pa.array((9000 * np.exp(0.6 * area.normal("population"))).astype(np.int64)),
        }
    )
