"""Conversions joined to the touches before them, on line and in stores, so that each counts once."""

from __future__ import annotations

import pandas as pd

from cdpkit.errors import FaultsError

#: The channel of a conversion that no touch preceded.
DIRECT = "(direct)"


def with_conversions(
    touches: pd.DataFrame, conversions: pd.DataFrame, *, lookback_days: float = 30.0
) -> pd.DataFrame:
    """Return touches marked with the conversion they lead to, ready for `Attribution.fit`.

    A touch belongs to the person's first conversion after it, on line or in a store, if that comes within
    the look-back; else to a path that ends in nothing. A conversion without a touch of its own becomes a
    path of one touch, ``(direct)``: no conversion is lost, none counts twice.

    Parameters
    ----------
    touches : DataFrame
        ``person_id, ts, channel``.
    conversions : DataFrame
        ``person_id, ts[, value]``: all orders, those of stores among them.
    lookback_days : float

    Returns
    -------
    DataFrame
        ``person_id, ts, channel, converted, value, path_id``.

    Raises
    ------
    FaultsError
        With every fault of both frames.

    Examples
    --------
    >>> first, third = pd.Timestamp("2026-01-01"), pd.Timestamp("2026-01-03")
    >>> touches = pd.DataFrame({"person_id": ["a"], "ts": [first], "channel": ["social"]})
    >>> store = pd.DataFrame({"person_id": ["a", "b"], "ts": [third, third], "value": [10, 20]})
    >>> with_conversions(touches, store)[["person_id", "channel", "value"]].values.tolist()
    [['a', 'social', 10.0], ['b', '(direct)', 20.0]]
    """
    _check(touches, conversions)
    own = touches[["person_id", "ts", "channel"]].sort_values(["ts", "person_id", "channel"], kind="stable")
    value = conversions.get("value", 0.0)
    done = conversions[["person_id", "ts"]].assign(value=value).astype({"value": float})
    done = done.sort_values(["ts", "person_id", "value"], kind="stable").reset_index(drop=True)
    done = done.assign(path_id=done.index + 1, bought=done["ts"])
    joined = pd.merge_asof(
        own.astype({"ts": "datetime64[us]"}),
        done.astype({"ts": "datetime64[us]"}),
        on="ts",
        by="person_id",
        direction="forward",
        tolerance=pd.Timedelta(days=lookback_days),
    )
    joined["path_id"] = joined["path_id"].fillna(0).astype("int64")
    last = ~joined.duplicated(["person_id", "path_id"], keep="last")
    joined["converted"] = last & (joined["path_id"] > 0)
    joined["value"] = joined["value"].where(joined["converted"], 0.0)
    alone = done[~done["path_id"].isin(joined["path_id"])].assign(channel=DIRECT, converted=True)
    columns = ["person_id", "ts", "channel", "converted", "value", "path_id"]
    # Touches that lead nowhere form a path between two conversions: numbered by the one before them.
    gap = joined["path_id"] == 0
    before = pd.merge_asof(
        joined.loc[gap, ["person_id", "ts"]],
        done[["person_id", "ts", "path_id"]].astype({"ts": "datetime64[us]"}),
        on="ts",
        by="person_id",
        direction="backward",
    )
    joined.loc[gap, "path_id"] = -(before["path_id"].fillna(0).to_numpy().astype("int64")) - 1
    table = pd.concat([joined[columns], alone[columns].astype({"ts": "datetime64[us]"})], ignore_index=True)
    return table.sort_values(["person_id", "ts", "path_id", "channel"], kind="stable").reset_index(drop=True)


def _check(touches: pd.DataFrame, conversions: pd.DataFrame) -> None:
    faults = [
        f"touches: column `{c}` must be present" for c in ("person_id", "ts", "channel") if c not in touches
    ]
    faults += [
        f"conversions: column `{c}` must be present" for c in ("person_id", "ts") if c not in conversions
    ]
    for name, frame in (("touches", touches), ("conversions", conversions)):
        if "ts" in frame and not pd.api.types.is_datetime64_dtype(frame["ts"]):
            faults.append(f"{name}: `ts` must be a timestamp without a zone (UTC); got {frame['ts'].dtype}")
        for column in frame.columns.intersection(["person_id", "ts", "channel", "value"]):
            if frame[column].isna().any():
                faults.append(
                    f"{name}: `{column}` must be known; got {int(frame[column].isna().sum())} missing"
                )
    if faults:
        raise FaultsError("touches and conversions", faults)
