"""Credits brought to what experiments found: geo tests and hold-outs have the last word."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdpkit.errors import FaultsError
from cdpkit.evaluate.intervals import Z95


def calibrate(effects: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Return incremental conversions that agree with experiments, as far as these are sure.

    A tested channel takes the mean of model and test weighted by their precision. The model's own error is
    widened by how much it was found to disagree with the tests. Channels never tested are moved by the
    ratio that the tests show overall.

    Parameters
    ----------
    effects : DataFrame
        ``channel, added, low, high``, as in `Incremental.table`.
    tests : DataFrame
        ``channel, added, se``: conversions a test says the channel adds over the same period; several
        tests of one channel may come.

    Returns
    -------
    DataFrame
        ``channel, model, test, test_se, added, low, high, calibrated_by`` (``test`` or ``ratio``).

    Raises
    ------
    FaultsError
        For tests of unknown channels, or without an error.

    Examples
    --------
    >>> effects = pd.DataFrame({"channel": ["ad", "mail"], "added": [100.0, 50.0],
    ...                         "low": [80.0, 40.0], "high": [120.0, 60.0]})
    >>> tests = pd.DataFrame({"channel": ["ad"], "added": [40.0], "se": [5.0]})
    >>> calibrate(effects, tests)["added"].round(0).tolist()
    [40.0, 20.0]
    """
    faults = [f"column `{c}` must be present" for c in ("channel", "added", "se") if c not in tests]
    if not faults:
        unknown = sorted(set(tests["channel"]) - set(effects["channel"]))
        faults += [f"channel `{c}` must be among the credited" for c in unknown]
        if not (tests["se"] > 0).all():
            faults.append("`se` must be > 0")
    if faults:
        raise FaultsError("the tests", faults)
    weight = tests.assign(w=1 / tests["se"] ** 2)
    grouped = weight.assign(wa=weight["w"] * weight["added"]).groupby("channel")[["w", "wa"]].sum()
    test = (grouped["wa"] / grouped["w"]).reindex(effects["channel"]).to_numpy()
    error = np.sqrt(1 / grouped["w"]).reindex(effects["channel"]).to_numpy()
    model = effects["added"].to_numpy(dtype=float)
    own = np.maximum((effects["high"] - effects["low"]).to_numpy(dtype=float) / (2 * Z95), 1e-9)
    tested = np.isfinite(test)
    gap = (model - test)[tested]
    bias = max(float((gap**2 - own[tested] ** 2 - error[tested] ** 2).mean()), 0.0) if tested.any() else 0.0
    wide = own**2 + bias
    sure = np.where(tested, 1 / np.where(tested, error, 1.0) ** 2, 0.0)
    ratio = (
        float((np.nan_to_num(test) * tested).sum() / max((model * tested).sum(), 1e-9))
        if tested.any()
        else 1.0
    )
    ratio = max(ratio, 0.0)
    added = np.where(tested, (model / wide + np.nan_to_num(test) * sure) / (1 / wide + sure), model * ratio)
    spread = np.where(tested, np.sqrt(1 / (1 / wide + sure)), np.sqrt(wide) * max(ratio, 1e-9))
    return pd.DataFrame(
        {
            "channel": effects["channel"].to_numpy(),
            "model": model,
            "test": test,
            "test_se": error,
            "added": np.maximum(added, 0.0),
            "low": np.maximum(added - Z95 * spread, 0.0),
            "high": np.maximum(added + Z95 * spread, 0.0),
            "calibrated_by": np.where(tested, "test", "ratio"),
        }
    )
