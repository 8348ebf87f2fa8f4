"""Links that people asked for, and pairs they keep apart."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdpkit.errors import FaultsError
from cdpkit.identity.evidence import microseconds

#: Strength of a person's decision, above any evidence.
DECISION_WEIGHT = 100.0
_COLUMNS = ("kind", "left_source", "left_record_id", "right_source", "right_record_id", "decided_at")
_KINDS = ("must_link", "cannot_link")


def decided(
    decisions: pd.DataFrame | None, nodes: pd.DataFrame
) -> tuple[pd.DataFrame, list[tuple[int, int]]]:
    """Return the links people asked for, and the pairs they keep apart."""
    columns = ["left", "right", "rule", "id_type", "weight", "known_at", "forced"]
    if decisions is None or decisions.empty:
        return pd.DataFrame(columns=columns), []
    faults = [f"column `{name}` must be present" for name in _COLUMNS if name not in decisions]
    kinds = set() if "kind" not in decisions else set(decisions["kind"]) - set(_KINDS)
    if kinds:
        faults.append(f"`kind` must be must_link or cannot_link; got {len(kinds)} other kinds")
    if faults:
        raise FaultsError("the decisions frame", faults)
    index = pd.MultiIndex.from_frame(nodes[["source", "record_id"]])
    sides = [
        index.get_indexer(
            pd.MultiIndex.from_arrays(
                [decisions[f"{s}_source"].astype("str"), decisions[f"{s}_record_id"].astype("str")]
            )
        )
        for s in ("left", "right")
    ]
    frame = pd.DataFrame(
        {
            "left": np.minimum(*sides),
            "right": np.maximum(*sides),
            "kind": decisions["kind"].to_numpy(),
            "known_at": microseconds(decisions["decided_at"]),
        }
    )
    frame = frame[(frame["left"] >= 0) & (frame["left"] != frame["right"])]
    frame = frame.sort_values(["left", "right", "known_at", "kind"], ascending=[True, True, False, True])
    frame = frame.drop_duplicates(["left", "right"])
    apart = frame.loc[frame["kind"] == "cannot_link", ["left", "right"]]
    may, since = nodes["may_link"].to_numpy(), nodes["known_from"].to_numpy()
    must = frame[(frame["kind"] == "must_link") & may[frame["left"]] & may[frame["right"]]]
    must = must.assign(
        rule="decision",
        id_type=None,
        weight=DECISION_WEIGHT,
        forced=True,
        known_at=np.maximum(must["known_at"], np.maximum(since[must["left"]], since[must["right"]])),
    )
    return must[columns], list(apart.itertuples(index=False, name=None))
