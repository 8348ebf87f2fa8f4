"""Messages sent and visits made, as a model of moments takes them: checked, and counted by local slot."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.errors import FaultsError
from cdpkit.models.moments.rhythms import Counts

#: Kinds of rows: a message sent, or a visit of one's own accord.
KINDS = ("send", "visit")


def check(exposures: Any, as_of: Any, settings: dict[str, Any]) -> None:
    """Refuse what is not a table of exposures, or settings out of range, with every fault at once.

    Raises
    ------
    FaultsError
    """
    faults = []
    if settings["slots"] not in (24, 168):
        faults.append(f"`slots` must be 24 (hours) or 168 (hours of the week); got {settings['slots']!r}")
    for name in ("window_hours", "half_life_days"):
        if not settings[name] > 0:
            faults.append(f"`{name}` must be over 0; got {settings[name]!r}")
    if settings["zone"] not in available_timezones():
        faults.append("`zone` must name a time zone, for instance Europe/Paris")
    if not isinstance(exposures, pd.DataFrame):
        raise FaultsError("exposures", [*faults, "`exposures` must be a DataFrame"])
    faults += [
        f"column `{c}` must be there" for c in ("person_id", "sent_at", "reacted_at") if c not in exposures
    ]
    for name in ("sent_at", "reacted_at"):
        if name in exposures and not pd.api.types.is_datetime64_dtype(exposures[name]):
            faults.append(f"`{name}` must be an instant in UTC without a zone; got {exposures[name].dtype}")
    if "kind" in exposures:
        odd = int((~exposures["kind"].isin(KINDS)).sum())
        if odd:
            faults.append(
                f"`kind` must be send or visit; got {odd} other rows (an opening may be a machine's: "
                "leave it out)"
            )
    if "zone" in exposures:
        odd = int((~exposures["zone"].dropna().isin(available_timezones())).sum())
        if odd:
            faults.append(f"column `zone` must hold time zones; got {odd} other rows")
    if not faults:
        late = int((exposures["sent_at"] > (exposures["sent_at"].max() if as_of is None else as_of)).sum())
        if late or exposures["sent_at"].isna().any() or exposures["person_id"].isna().any():
            faults.append("`person_id` and `sent_at` must be given, and not after `as_of`")
    if faults:
        raise FaultsError("exposures", faults)


def local_slots(exposures: pd.DataFrame, zone: str, slots: int) -> NDArray[np.int64]:
    """Return the slot of each row, in the person's own time.

    Examples
    --------
    >>> noon = pd.DataFrame({"sent_at": pd.to_datetime(["2026-01-05 12:00", "2026-07-06 12:00"])})
    >>> local_slots(noon, "Europe/Paris", 24)
    array([13, 14])
    """
    told = exposures.get("zone", pd.Series(zone, index=exposures.index)).fillna(zone).to_numpy()
    slot = np.zeros(len(exposures), np.int64)
    for name in np.unique(told.astype(str)):
        rows = told == name
        local = exposures["sent_at"][rows].dt.tz_localize("UTC").dt.tz_convert(name)
        slot[rows] = local.dt.hour + (24 * local.dt.day_of_week if slots == 168 else 0)
    return slot


def reacted(exposures: pd.DataFrame, window_hours: float, as_of: pd.Timestamp) -> NDArray[np.bool_]:
    """Tell which messages were reacted to within the window, as known at a date."""
    took = exposures["reacted_at"] - exposures["sent_at"]
    inside = (took >= pd.Timedelta(0)) & (took <= pd.Timedelta(hours=window_hours))
    return (inside & (exposures["reacted_at"] <= as_of)).to_numpy()


def count(
    person: NDArray[np.int64], people: int, slot: NDArray[np.int64], kind: NDArray[np.int64],
    weight: NDArray[np.float64], slots: int,
) -> Counts:  # fmt: skip
    """Count rows by person and slot; `kind` 0 a message without reaction, 1 with one, 2 a visit."""
    cell = person * slots + slot

    def of(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        told = np.bincount(cell[rows], weight[rows], people * slots)
        return np.asarray(told.reshape(people, slots), dtype=np.float64)

    return Counts(of(kind < 2), of(kind == 1), of(kind == 2))
