"""Paths of touches that end in a conversion or not, as flat arrays, from touches or from aggregated paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.errors import FaultsError

Codes = NDArray[np.int64]
Array = NDArray[np.float64]

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Paths:
    """Paths, one after the other.

    Parameters
    ----------
    channels : Index
        Their names, sorted.
    channel : ndarray of int
        Code of each touch, path after path, in time.
    start : ndarray of int
        Place of the first touch of each path, and the number of touches at the end.
    conversions, nulls, value : ndarray
        Of each path: how many times it ended in a conversion, how many times not, and the value of
        those conversions.
    age : ndarray or None
        Days from each touch to the last of its path; None where times are not known.
    person : Index or None
        Who each path is of; None for aggregated paths.
    began : ndarray of datetime64 or None
        First touch of each path.
    """

    channels: pd.Index
    channel: Codes
    start: Codes
    conversions: Array
    nulls: Array
    value: Array
    age: Array | None = None
    person: pd.Index | None = None
    began: NDArray[np.datetime64] | None = None

    def __len__(self) -> int:
        return len(self.conversions)

    @property
    def length(self) -> Codes:
        """Touches of each path."""
        return np.diff(self.start)

    @property
    def of_touch(self) -> Codes:
        """The path of each touch."""
        return np.repeat(np.arange(len(self)), self.length)

    @property
    def back(self) -> Codes:
        """The number of touches that come after each touch in its path."""
        return np.repeat(self.start[1:], self.length) - 1 - np.arange(len(self.channel))

    def held(self) -> tuple[Codes, Codes]:
        """Return the channels of each path, once each: pairs of path and channel."""
        pair = np.unique(self.of_touch * np.int64(len(self.channels)) + self.channel)
        return pair // len(self.channels), pair % len(self.channels)

    @classmethod
    def of(cls, frame: Any, separator: str = ">") -> Paths:
        """Read touches (``person_id, ts, channel, converted``) or aggregated paths (``path, conversions``).

        See `of_touches` and `of_aggregated`.
        """
        if isinstance(frame, pd.DataFrame) and "path" in frame:
            return cls.of_aggregated(frame, separator)
        return cls.of_touches(frame)

    @classmethod
    def of_touches(cls, frame: Any) -> Paths:
        """Read one row a touch.

        Parameters
        ----------
        frame : DataFrame
            ``person_id, ts, channel, converted[, value][, path_id]``. `converted` is true on the last
            touch before a conversion: the person's next touch begins another path; `value` is that of the
            conversion. With `path_id`, as `with_conversions` gives it, paths are as it says. The order of
            rows does not matter.

        Raises
        ------
        FaultsError
            With every fault of the frame.

        Examples
        --------
        >>> touches = pd.DataFrame({"person_id": [1, 1, 2], "channel": ["ad", "mail", "ad"],
        ...     "ts": pd.to_datetime(["2026-01-01", "2026-01-03", "2026-01-01"]),
        ...     "converted": [False, True, False]})
        >>> paths = Paths.of_touches(touches)
        >>> paths.length.tolist(), paths.conversions.tolist(), paths.age.tolist()
        ([2, 1], [1.0, 0.0], [2.0, 0.0, 0.0])
        """
        _check_touches(frame)
        channel, channels = pd.factorize(frame["channel"], sort=True)
        person, persons = pd.factorize(frame["person_id"], sort=True)
        ts = frame["ts"].to_numpy().astype("datetime64[us]")
        converted = frame["converted"].to_numpy(dtype=bool)
        value = frame["value"].to_numpy(dtype=float) if "value" in frame else np.zeros(len(frame))
        own = (
            pd.factorize(frame["path_id"], sort=True)[0] if "path_id" in frame else np.zeros(len(frame), int)
        )
        later = (person[1:] > person[:-1]) | ((person[1:] == person[:-1]) & (ts[1:] > ts[:-1]))
        if "path_id" in frame or not later.all():
            # Touches of one instant: the one that converts comes last, whatever the order of the file.
            order = np.lexsort((value, channel, converted, ts, own, person))
            channel, person, ts, converted, value, own = (
                a[order] for a in (channel, person, ts, converted, value, own)
            )
        ends = np.ones(len(ts), dtype=bool)
        ends[:-1] = (person[1:] != person[:-1]) | converted[:-1] | (own[1:] != own[:-1])
        last = np.flatnonzero(ends)
        start = np.concatenate([[0], last + 1]).astype(np.int64)
        done = converted[last].astype(float)
        length = np.diff(start)
        age = (np.repeat(ts[last], length) - ts) / _DAY
        return cls(
            pd.Index(channels), channel.astype(np.int64), start, done, 1 - done,
            np.where(done > 0, value[last], 0.0), age, pd.Index(persons[person[last]]), ts[start[:-1]],
        )  # fmt: skip

    @classmethod
    def of_aggregated(cls, frame: pd.DataFrame, separator: str = ">") -> Paths:
        """Read one row a distinct path.

        Parameters
        ----------
        frame : DataFrame
            ``path`` (channels joined by the separator), ``conversions[, nulls][, value]``.
        separator : str

        Raises
        ------
        FaultsError
            With every fault of the frame.

        Examples
        --------
        >>> paths = Paths.of_aggregated(pd.DataFrame({"path": ["ad > mail", "ad"], "conversions": [3, 0]}))
        >>> paths.channels.tolist(), paths.channel.tolist()
        (['ad', 'mail'], [0, 0, 1])
        """
        _check_aggregated(frame)
        # Sorted, so that the order of the file does not change the last digit of a sum.
        frame = frame.sort_values(
            [c for c in ("path", "conversions", "nulls", "value") if c in frame], kind="stable"
        )
        told = frame["path"].tolist()
        length = np.array([path.count(separator) + 1 for path in told])
        # Spelt ones first, then stripped: there are few of them, and many touches.
        place, spelt = pd.factorize(np.array(separator.join(told).split(separator), dtype=object))
        code, channels = pd.factorize(np.array([part.strip() for part in spelt], dtype=object), sort=True)
        flat, start = code[place], np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        if "" in channels:
            holds = np.add.reduceat((flat == list(channels).index("")).astype(int), start[:-1])
            empty = int((holds > 0).sum())
            raise FaultsError("the paths", [f"a path must hold channels only; got {empty} with an empty one"])
        zero = np.zeros(len(frame))
        nulls, value = (frame[c].to_numpy(dtype=float) if c in frame else zero for c in ("nulls", "value"))
        return cls(
            pd.Index(channels),
            flat.astype(np.int64),
            start,
            frame["conversions"].to_numpy(dtype=float),
            nulls,
            value,
        )


def _check_touches(frame: Any) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise FaultsError("the touches", ["must be a DataFrame"])
    needed = ("person_id", "ts", "channel", "converted")
    faults = [f"column `{c}` must be present" for c in needed if c not in frame]
    if not len(frame):
        faults.append("there must be rows; got none")
    for name in (*needed, "value"):
        missing = int(frame[name].isna().sum()) if name in frame and name != "value" else 0
        if missing:
            faults.append(f"`{name}` must be known; got {missing} missing")
    if "ts" in frame and not pd.api.types.is_datetime64_dtype(frame["ts"]):
        faults.append(f"`ts` must be a timestamp without a zone (UTC); got {frame['ts'].dtype}")
    if "converted" in frame and not frame["converted"].dropna().isin([True, False, 0, 1]).all():
        faults.append("`converted` must be true or false")
    if "value" in frame and not pd.api.types.is_numeric_dtype(frame["value"]):
        faults.append(f"`value` must be a number; got {frame['value'].dtype}")
    elif {"value", "converted"} <= set(frame) and frame.loc[frame["converted"] == 1, "value"].isna().any():
        faults.append("`value` must be known where `converted`")
    if faults:
        raise FaultsError("the touches", faults)


def _check_aggregated(frame: pd.DataFrame) -> None:
    faults = [f"column `{c}` must be present" for c in ("path", "conversions") if c not in frame]
    if not len(frame):
        faults.append("there must be rows; got none")
    if frame["path"].isna().any():
        faults.append(f"`path` must be known; got {int(frame['path'].isna().sum())} missing")
    for name in ("conversions", "nulls", "value"):
        if name not in frame:
            continue
        if not pd.api.types.is_numeric_dtype(frame[name]) or frame[name].isna().any():
            faults.append(f"`{name}` must be a known number")
        elif name != "value" and (frame[name] < 0).any():
            faults.append(f"`{name}` must be >= 0; got {int((frame[name] < 0).sum())} below")
    if faults:
        raise FaultsError("the paths", faults)
