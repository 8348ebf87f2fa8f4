"""The tracking plan: which events to send, with what, under which consent; and a check of those received."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdpkit.errors import FaultsError
from cdpkit.phrases import check_language
from cdpkit.schema import EVENT_TYPES, PURPOSES, TABLES

if TYPE_CHECKING:
    import pandas as pd

#: Columns every event carries, whatever its name.
ALWAYS = ("event_id", "event_time", "event_type", "channel")
#: Where and how an event happened, which any event may carry.
CONTEXT = (
    "touchpoint", "referrer", "device", "campaign_id", "dwell_ms", "scroll_share", "hover_ms", "mouse_moves",
    "idle_ms",
)  # fmt: skip
#: Columns that are filled here, and so are not asked of anybody.
_OURS = (
    *ALWAYS, "node_id", "source", "known_at", "acquisition_route", "channel_known", "session_id",
    "local_hour", "local_weekday", "properties",
)  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """One line of the plan.

    Parameters
    ----------
    line : int
        Its number, from 1.
    event : str
        Name in Segment's words.
    fr, en : str
        What has happened.
    required, optional : tuple of str
        Properties that must and that may come with it.
    purpose : str
        Consent under which it may be used.
    """

    line: int
    event: str
    fr: str
    en: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    purpose: str = "profiling"


@dataclass(frozen=True)
class TrackingPlan:
    """The events a brand collects.

    Parameters
    ----------
    lines : tuple of Planned
        In order.

    Examples
    --------
    >>> plan = TrackingPlan.generate()
    >>> plan["Product Added"].required, plan["Product Added"].line
    (('product_id',), 7)
    >>> TrackingPlan.generate(["Signed In"]).lines[0].purpose
    'stitching'
    """

    lines: tuple[Planned, ...]

    def __getitem__(self, event: str) -> Planned:
        return {planned.event: planned for planned in self.lines}[event]

    @classmethod
    def generate(cls, events: Sequence[str] | None = None, path: str | Path | None = None) -> TrackingPlan:
        """Write the plan of the events wanted.

        Parameters
        ----------
        events : sequence of str, optional
            Those the brand collects; all of the vocabulary by default.
        path : str or Path, optional
            A TOML file of the same form as the shipped plan, whose events are added or replaced.

        Raises
        ------
        FaultsError
            Naming every event without a line, property that is no column and purpose that is none.
        """
        text = files("cdpkit.quality").joinpath("tracking_plan.toml").read_text(encoding="utf-8")
        entries = tomllib.loads(text)
        if path is not None:
            entries |= tomllib.loads(Path(path).read_text(encoding="utf-8"))
        wanted = list(entries) if events is None else list(events)
        faults = [
            f"event `{event}` must have a line; did you mean"
            f" `{difflib.get_close_matches(event, [*entries, *EVENT_TYPES], n=1, cutoff=0.0)[0]}`?"
            for event in wanted
            if event not in entries
        ]
        lines: list[Planned] = []
        for event in wanted:
            if event not in entries:
                continue
            entry = dict(entries[event])
            required, optional = tuple(entry.pop("required")), tuple(entry.pop("properties"))
            unknown = [name for name in (*required, *optional) if name not in TABLES["events"]]
            faults += [f"event `{event}`: `{name}` is no column of events" for name in unknown]
            planned = Planned(len(lines) + 1, event, required=required, optional=optional, **entry)
            if planned.purpose not in PURPOSES:
                faults.append(f"event `{event}`: purpose must be one of {', '.join(PURPOSES)}")
            lines.append(planned)
        if faults:
            raise FaultsError("tracking plan", faults)
        return cls(tuple(lines))

    def frame(self, language: str = "fr") -> pd.DataFrame:
        """Return the plan as a table to hand to whoever sends the events.

        Parameters
        ----------
        language : {"fr", "en"}

        Returns
        -------
        DataFrame
            ``line, event, property, type, required, meaning, consent``: one row a property, the event's
            own meaning on the row without one.
        """
        import pandas as pd

        check_language(language)
        rows: list[tuple] = []
        for planned in self.lines:
            consent = planned.purpose
            rows.append((planned.line, planned.event, "", "", True, getattr(planned, language), consent))
            own = (*ALWAYS, *planned.required, *planned.optional)
            for name in dict.fromkeys((*own, *CONTEXT)):
                column = TABLES["events"][name]
                needed = name in ALWAYS or name in planned.required
                meaning = getattr(column, language)
                rows.append((planned.line, planned.event, name, column.type, needed, meaning, consent))
        names = ["line", "event", "property", "type", "required", "meaning", "consent"]
        return pd.DataFrame(rows, columns=names)

    def check(self, engine: Any, as_of: Any = None) -> pd.DataFrame:
        """Compare the events received with the plan.

        Parameters
        ----------
        engine : Engine
            On the lake.
        as_of : datetime, optional
            Only events known before.

        Returns
        -------
        DataFrame
            ``source, event, fault, property, rows, share, line, plan``: an event that is not planned
            comes with the nearest line, a required property that is missing or a property that was not
            planned with the line of its event; `share` is of the source's events of that name.
        """
        import pandas as pd

        asked = [c.name for c in TABLES["events"].columns if c.name not in _OURS]
        counts = ", ".join(f'count("{name}") AS "p_{name}"' for name in [*asked, "channel"])
        when = "" if as_of is None else f"WHERE known_at < TIMESTAMP '{pd.Timestamp(as_of)}'"
        found = engine.query(
            f"SELECT source, event_type, count(*) AS n, {counts} FROM events {when} GROUP BY ALL ORDER BY ALL"
        ).to_arrow()
        rows = [fault for row in found.to_pylist() for fault in self._faults(row, asked)]
        names = ["source", "event", "fault", "property", "rows", "share", "line", "plan"]
        return pd.DataFrame(rows, columns=names)

    def _faults(self, row: dict[str, Any], asked: Sequence[str]) -> list[tuple]:
        """Return the faults of one event of one source."""
        event, n = row["event_type"], row["n"]
        names = [planned.event for planned in self.lines]
        if event not in names:
            folded = {name.lower(): name for name in names}
            near = difflib.get_close_matches(event.lower().replace("_", " "), folded, n=1, cutoff=0.0)
            planned = self[folded[near[0]]]
            return [(row["source"], event, "not planned", "", n, 1.0, planned.line, planned.event)]
        planned, faults = self[event], []
        for name in ("channel", *planned.required):
            missing = n - row[f"p_{name}"]
            if missing:
                faults.append(
                    (row["source"], event, "missing", name, missing, missing / n, planned.line, event)
                )
        for name in asked:
            sent = row[f"p_{name}"]
            if sent and name not in (*planned.required, *planned.optional, *CONTEXT):
                faults.append(
                    (row["source"], event, "not planned", name, sent, sent / n, planned.line, event)
                )
        return faults
