"""A small sample of each feed, made here, so that everything can be tried off line."""

from __future__ import annotations

from collections.abc import Iterable

from cdpkit.enrich.feeds import Feed, third_party_feed
from cdpkit.identity.hashing import identifier_hash

#: Terms of the sample: nobody's data.
LICENCE = "CC0: generated, about no real place or person"
#: A centre of a few places, their mean temperature and the first digits of their postcodes.
_PLACES = {"Paris": (12.5, "75"), "Lyon": (13.0, "69"), "Marseille": (15.8, "13"), "Lille": (11.2, "59")}


def sample(
    start: str = "2026-01-01",
    days: int = 365,
    seed: int = 0,
    emails: Iterable[str] = (),
) -> dict[str, Feed]:
    """Generate the four feeds: areas, weather, holidays and a third party's.

    Parameters
    ----------
    start : str
        First day of the weather.
    days : int
        How many days of weather.
    seed : int
        Randomness.
    emails : iterable of str
        Addresses the third party knows; they are kept hashed.

    Returns
    -------
    dict of str to Feed
        ``area``, ``weather``, ``holiday``, ``party``.

    Examples
    --------
    >>> feeds = sample(days=10)
    >>> sorted(feeds), feeds["area"].provenance, len(feeds["weather"].frame)
    (['area', 'holiday', 'party', 'weather'], 'open_data', 40)
    """
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    vintage = start[:4]
    codes = [f"{prefix}{n:03d}" for _, prefix in _PLACES.values() for n in range(1, 21)]
    wealth = rng.normal(size=len(codes))
    area = pd.DataFrame(
        {"postcode": codes, "median_income": np.round(23_000 * np.exp(0.2 * wealth)),
         "density": np.round(3_000 * np.exp(rng.normal(size=len(codes))))}
    )  # fmt: skip
    day = pd.date_range(start, periods=days)
    season = np.cos(2 * np.pi * (day.day_of_year.to_numpy() - 20) / 365.25)
    daily = [
        pd.DataFrame(
            {"place": place, "day": day,
             "temperature_c": np.round(mean - 8 * season + rng.normal(0, 3, days), 1),
             "rain_mm": np.round(np.maximum(rng.normal(-1, 4, days), 0), 1)}
        )
        for place, (mean, _) in _PLACES.items()
    ]  # fmt: skip
    years = range(day[0].year - 1, day[-1].year + 2)
    fixed = ("01-01", "05-01", "05-08", "07-14", "08-15", "11-01", "11-11", "12-25")
    calendar = pd.DataFrame(
        {"country": "FR", "day": pd.to_datetime([f"{y}-{d}" for y in years for d in fixed])}
    )
    known = sorted({digest for e in emails if (digest := identifier_hash("email", e, "google"))})
    party = pd.DataFrame({"email_sha256": pd.Series(known, dtype="str")})
    party["household_size"] = rng.integers(1, 6, len(party))
    party["interest"] = rng.random(len(party)).round(3)
    return {
        "area": Feed("area", area, ["postcode"], ["median_income", "density"], "open_data", LICENCE, vintage),
        "weather": Feed(
            "weather", pd.concat(daily, ignore_index=True), ["place", "day"], ["temperature_c", "rain_mm"],
            "external", LICENCE, vintage,
        ),
        "holiday": Feed("holiday", calendar, ["country", "day"], [], "external", LICENCE, vintage),
        "party": third_party_feed(
            "party", party, "email_sha256", ["household_size", "interest"], LICENCE, vintage
        ),
    }  # fmt: skip
