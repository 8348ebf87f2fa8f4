"""What the data cover: by the route they came by, by channel, by touchpoint; unknown is counted too."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cdpkit.errors import CdpkitError
from cdpkit.quality.scores import facts
from cdpkit.schema import CHANNELS

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = "unknown"
By = Literal["acquisition_route", "channel", "touchpoint"]


@cache
def _shipped() -> dict[str, dict[str, str]]:
    return tomllib.loads(files("cdpkit.quality").joinpath("touchpoints.toml").read_text(encoding="utf-8"))


def touchpoints(path: str | Path | None = None) -> dict[str, dict[str, str]]:
    """Return the inventory of touchpoints: those known everywhere, and a brand's own.

    Parameters
    ----------
    path : str or Path, optional
        A TOML file of the same form, a table a touchpoint with ``channel``, ``fr`` and ``en``; what it
        says wins. One that does not exist adds nothing.

    Raises
    ------
    CdpkitError
        When a touchpoint has no known channel.

    Examples
    --------
    >>> touchpoints()["cart"]["fr"]
    'panier'
    """
    own = Path(path) if path is not None else None
    given = tomllib.loads(own.read_text(encoding="utf-8")) if own is not None and own.is_file() else {}
    found = _shipped() | given
    wrong = [name for name, entry in found.items() if entry.get("channel") not in CHANNELS]
    if wrong:
        raise CdpkitError(
            "a touchpoint must have a channel of the vocabulary", got=", ".join(wrong), do="Give `channel`"
        )
    return found


def coverage(
    engine: Any,
    by: By = "acquisition_route",
    *,
    as_of: Any = None,
    inventory: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Share the facts of each table out by route, channel or touchpoint; shares sum to 1.

    Parameters
    ----------
    engine : Engine
        On the lake.
    by : {"acquisition_route", "channel", "touchpoint"}
        What to share out by. Facts that say nothing are ``unknown``, a row of its own, even when empty.
    as_of : datetime, optional
        Only rows known before.
    inventory : mapping, optional
        Touchpoints that are known; `touchpoints` by default.

    Returns
    -------
    DataFrame
        ``table, value, rows, share, flagged``; `flagged` is a value outside the vocabulary: a channel
        nobody listed or a touchpoint missing from the inventory. Routes are the sources' own words.
    """
    import pandas as pd

    known = {
        "acquisition_route": None,
        "channel": {*CHANNELS, "*"},
        "touchpoint": set(touchpoints() if inventory is None else inventory),
    }[by]
    when = "" if as_of is None else f"WHERE known_at < TIMESTAMP '{pd.Timestamp(as_of)}'"
    frames = []
    for table in facts():
        if by not in table:
            continue
        found = engine.query(
            f"SELECT coalesce(nullif(trim({by}), ''), '{UNKNOWN}') AS value, count(*) AS rows"
            f" FROM {table.name} {when} GROUP BY 1 ORDER BY rows DESC, value"
        ).to_pandas()
        if found.empty:
            continue
        if UNKNOWN not in set(found["value"]):
            found = pd.concat([found, pd.DataFrame({"value": [UNKNOWN], "rows": [0]})], ignore_index=True)
        found.insert(0, "table", table.name)
        found["share"] = found["rows"] / found["rows"].sum()
        outside = ~found["value"].isin([*(known or found["value"]), UNKNOWN])
        frames.append(found.assign(flagged=outside))
    columns = ["table", "value", "rows", "share", "flagged"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def recognised(engine: Any, as_of: Any = None) -> pd.DataFrame:
    """Count the orders of somebody and of nobody, by channel: a ticket without a card has no owner.

    Parameters
    ----------
    engine : Engine
        On the lake.
    as_of : datetime, optional
        Only orders known before.

    Returns
    -------
    DataFrame
        ``channel, orders, anonymous, share, amount_share``: orders, those of an anonymous record, and
        the shares of the orders and of what was paid that are somebody's.

    Examples
    --------
    >>> import pandas as pd
    >>> from cdpkit.engine import DuckDBEngine
    >>> day = pd.Timestamp("2026-01-01")
    >>> orders = pd.DataFrame({"order_id": ["a", "b"], "node_id": [1, 2], "source": "till", "known_at": day,
    ...                        "event_time": day, "channel": "store", "amount_minor": [3000, 1000]})
    >>> nodes = pd.DataFrame({"node_id": [1, 2], "source": "till", "record_id": ["card 7", "ticket b"],
    ...                       "node_type": ["card", "anonymous"], "known_at": day})
    >>> found = recognised(DuckDBEngine(frames={"orders": orders, "nodes": nodes}))
    >>> found[["orders", "anonymous", "share", "amount_share"]].values.tolist()
    [[2.0, 1.0, 0.5, 0.75]]
    """
    import pandas as pd

    when = "" if as_of is None else f"WHERE o.known_at < TIMESTAMP '{pd.Timestamp(as_of)}'"
    mine = "n.node_type <> 'anonymous'"
    return engine.query(f"""
        SELECT coalesce(o.channel, '{UNKNOWN}') AS channel, count(*) AS orders,
               count(*) FILTER (NOT {mine}) AS anonymous, count(*) FILTER ({mine}) / count(*) AS share,
               sum(o.amount_minor) FILTER ({mine}) / nullif(sum(o.amount_minor), 0) AS amount_share
        FROM orders AS o JOIN nodes AS n USING (node_id) {when} GROUP BY 1 ORDER BY orders DESC, channel
    """).to_pandas()
