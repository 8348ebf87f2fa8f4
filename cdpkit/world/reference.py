"""The best possible scores of a lake's persons, where its exports came from a world of known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.world.best import best
from cdpkit.world.world import load

if TYPE_CHECKING:
    from cdpkit.engine import Engine
    from cdpkit.workspace import Workspace

COLUMNS = ["person_id", "best", "oracle"]


def reference(
    workspace: Workspace,
    engine: Engine,
    capability: str,
    as_of: object,
    *,
    horizon_days: int | None = None,
    times: int = 4,
    replicates: int = 4,
) -> pd.DataFrame:
    """Return the best score of each resolved person, as far as the truth is there.

    Parameters
    ----------
    workspace : Workspace
        Its ``truth`` folder says which world the exports came from; a real source has none.
    engine : Engine
        Over its lake.
    capability : str
        ``"appetence"``, ``"churn"`` or ``"value"``; see `cdpkit.world.best.CAPABILITIES`.
    as_of : timestamp
        Midnight of the score; persons are those known then.
    horizon_days : int, optional
        Days ahead.
    times, replicates : int
        As for `cdpkit.world.best.best`; `times` 0 skips the computation, which takes a minute or more.

    Returns
    -------
    DataFrame
        ``person_id, best, oracle``, one row a true person there then, under the resolved person who holds
        most of their records; empty without truth. It is for measuring, never for learning.
    """
    empty = pd.DataFrame(columns=COLUMNS).astype({"person_id": "str", "best": float, "oracle": float})
    if times < 1 or not (workspace.truth / "world.json").is_file():
        return empty
    day = pd.Timestamp(str(as_of))
    moment = f"TIMESTAMP '{day:%Y-%m-%d %H:%M:%S}'"
    held = engine.query(
        "SELECT m.person_id, n.source, n.record_id FROM membership m JOIN nodes n ON n.node_id = m.node_id "
        f"WHERE m.known_from < {moment} AND (m.known_to IS NULL OR m.known_to >= {moment})"
    ).to_pandas()
    true = pd.read_parquet(workspace.truth / "identities.parquet")
    laid = held.merge(true, on=["source", "record_id"])
    counts = laid.groupby(["person_id", "person"]).size().rename("records").reset_index()
    # One resolved person a true one: of a person in several pieces, the rest is not the person.
    ordered = counts.sort_values(["records", "person", "person_id"], ascending=[False, True, True])
    main = ordered.drop_duplicates("person_id").drop_duplicates("person")
    found = best(
        load(workspace.truth), capability, str(day.date()), horizon_days=horizon_days,
        times=max(times, 2), replicates=replicates,
    )  # fmt: skip
    return main.merge(found[["person", "best", "oracle"]], on="person")[COLUMNS].reset_index(drop=True)


def intents(workspace: Workspace) -> pd.DataFrame:
    """Return what each visit was for, where the exports came from a world of known truth.

    Returns
    -------
    DataFrame
        ``source, record_id`` (the cookie), ``started_at, intent``; empty without truth.
    """
    path = workspace.truth / "sessions.parquet"
    if not path.is_file():
        return pd.DataFrame(columns=["source", "record_id", "started_at", "intent"]).astype(
            {"record_id": "str", "started_at": "datetime64[us]", "intent": "str"}
        )
    told = pd.read_parquet(path, columns=["cookie_id", "started_at", "intent"])
    return told.rename(columns={"cookie_id": "record_id"}).assign(source="web")[
        ["source", "record_id", "started_at", "intent"]
    ]
