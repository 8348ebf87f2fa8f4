"""Lineage: every table, column, feature, score and dashboard tile, back to the files it came from.

A thing is ``kind:name``: ``file:web/events/3f9c…``, ``dataset:web.events``, ``source:web``,
``column:events.category``, ``table:events``, ``feature:…``, ``scores:appetence``,
``report:appetence/tiers``, ``tile:appetence/tiers``. An arrow goes from what is read to what is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdpkit.errors import CdpkitError
from cdpkit.features import INTERACTIONS, FeatureSet, catalogue
from cdpkit.features.facts import VIEWS
from cdpkit.features.history import STRANDS
from cdpkit.quality.scores import facts
from cdpkit.schema import TABLES
from cdpkit.sources import Contract

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.features.declarations import Output

#: Tables made here from others, and what each is made of.
DERIVED: dict[str, tuple[str, ...]] = {
    "nodes": (),
    "membership": ("nodes", "profiles", "identifiers", "consents", "source_bases"),
    "persons": ("membership",),
    "golden": ("membership", "profiles", "identifiers"),
    "links": ("nodes", "profiles", "identifiers"),
    "identity_levels": ("membership", "identifiers", "profiles", "orders", "events", "consents"),
    "inferred": ("membership",),
    "profile_360": ("membership", "events", "orders", "messages", "consents", "scores", "identity_levels"),
    "identifier_status": ("identifiers",),
    "cleaned": ("profiles", "identifiers"),
    "profile_traits": ("profiles",),
    "audiences": ("scores", "consents", "membership"),
    "activation_log": ("audiences",),
}


@dataclass(frozen=True)
class Lineage:
    """A graph of what comes from what.

    Parameters
    ----------
    arrows : frozenset of (str, str)
        From what is read to what is made.
    versions : mapping of str to int
        Delta version of each published table.
    snapshot : str
        The snapshot described.

    Examples
    --------
    >>> graph = Lineage(frozenset({("source:web", "table:events"), ("table:events", "feature:n")}), {}, "s1")
    >>> graph.upstream("feature:n"), graph.downstream("source:web", "feature")
    (['source:web', 'table:events'], ['feature:n'])
    """

    arrows: frozenset[tuple[str, str]]
    versions: Mapping[str, int]
    snapshot: str

    @classmethod
    def read(
        cls,
        engine: Any,
        contracts: Sequence[Contract] = (),
        features: Sequence[FeatureSet] | None = None,
        pages: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Lineage:
        """Trace a snapshot.

        Parameters
        ----------
        engine : Engine
            On the lake.
        contracts : sequence of Contract
            Those of its sources: they say which dataset feeds which column. A source without one is
            traced as far as its tables.
        features : sequence of FeatureSet, optional
            The standard set by default.
        pages : mapping of str to mapping, optional
            Published pages by name, each with its tiles; those of the lake by default.
        """
        arrows = set(_files(engine)) | set(_sources(engine)) | set(_columns(contracts))
        for name, made_of in DERIVED.items():
            arrows |= {(f"table:{one}", f"table:{name}") for one in made_of}
        for declared in [catalogue.standard()] if features is None else features:
            for output in declared.outputs:
                arrows |= {(read, f"feature:{output.name}") for read in reads(output)}
                arrows.add((f"feature:{output.name}", f"table:features_{declared.name}"))
        models = engine.query("SELECT DISTINCT model FROM scores ORDER BY 1").to_arrow()["model"].to_pylist()
        told = engine.query("SELECT DISTINCT model, name FROM reports ORDER BY ALL").to_arrow().to_pylist()
        made = [
            f"table:features_{s.name}" for s in ([catalogue.standard()] if features is None else features)
        ]
        for model in models:
            arrows |= {(table, f"scores:{model}") for table in made} | {(f"scores:{model}", "table:scores")}
        arrows |= set(_reports(told, models))
        lake = engine.lake
        held = pages if pages is not None else _pages(lake)
        arrows |= set(_tiles(held, told, models))
        current = lake.current() if lake is not None else None
        versions = {name: pin.version for name, pin in current.tables.items()} if current else {}
        return cls(frozenset(arrows), versions, current.id if current else "")

    def upstream(self, thing: str, *kinds: str) -> list[str]:
        """Return everything a thing comes from, of these kinds or of all.

        Raises
        ------
        CdpkitError
            When nothing is known of it.
        """
        return self._walk(thing, kinds, back=True)

    def downstream(self, thing: str, *kinds: str) -> list[str]:
        """Return everything that comes from a thing, of these kinds or of all."""
        return self._walk(thing, kinds, back=False)

    def _walk(self, thing: str, kinds: tuple[str, ...], *, back: bool) -> list[str]:
        if thing not in self.things():
            raise CdpkitError("a thing must be in the lineage", got=thing, do="Look at `things()`")
        next_of: dict[str, set[str]] = {}
        for read, made in self.arrows:
            here, there = (made, read) if back else (read, made)
            next_of.setdefault(here, set()).add(there)
        found: set[str] = set()
        ahead = {thing}
        while ahead:
            ahead = {other for one in ahead for other in next_of.get(one, ())} - found
            found |= ahead
        return sorted(one for one in found if not kinds or one.partition(":")[0] in kinds)

    def things(self, *kinds: str) -> list[str]:
        """Return every thing known, of these kinds or of all."""
        every = {thing for arrow in self.arrows for thing in arrow}
        return sorted(one for one in every if not kinds or one.partition(":")[0] in kinds)

    def frame(self) -> pd.DataFrame:
        """Return one row a thing: ``thing, kind, sources, files, version``, sources and files by count."""
        import pandas as pd

        rows = []
        for thing in self.things():
            kind, _, name = thing.partition(":")
            up = self.upstream(thing, "source", "file")
            sources = [one.partition(":")[2] for one in up if one.startswith("source:")]
            version = self.versions.get(name) if kind == "table" else None
            rows.append((thing, kind, ", ".join(sources), len(up) - len(sources), version))
        columns = ["thing", "kind", "sources", "files", "version"]
        return pd.DataFrame(rows, columns=columns).astype({"version": "Int64"})


def reads(output: Output) -> list[str]:
    """Return the columns a feature reads: of its values, filters, groups and times.

    Examples
    --------
    >>> reads(catalogue.standard()["rfm__n_orders__90d"])[0]
    'column:orders.cancelled_at'
    """
    parts = [*output.parts, *([output.history] if output.history is not None else [])]
    found: set[str] = set()
    for part in parts:
        words = {part.column or "", part.group or "", "event_time", "known_at", "node_id"}
        told = [part.where, part.having]
        if part.table == INTERACTIONS.name:
            tables = {strand.table for strand in STRANDS}
        elif part.table in VIEWS:
            tables = set(VIEWS[part.table].bases)
            told.append(VIEWS[part.table].query)
        else:
            tables = {part.table}
        if part.level == "purchases":  # beside the views that came before
            tables |= {"events"}
            words |= {"product_id", "event_type"}
        for text in told:
            words |= set(re.findall(r"\w+", text or ""))
        if part.level == "sessions":
            words |= {"session_id", "event_type"}
        found |= {f"column:{t}.{word}" for t in tables for word in words if word in TABLES[t]}
    return sorted(found)


def _files(engine: Any) -> Iterable[tuple[str, str]]:
    """Return arrows from each file to its dataset and source."""
    rows = engine.query("SELECT source, dataset, content_hash FROM source_files ORDER BY ALL").to_arrow()
    for row in rows.to_pylist():
        file = f"file:{row['source']}/{row['dataset']}/{row['content_hash'][:12]}"
        yield file, f"dataset:{row['source']}.{row['dataset']}"
        yield file, f"source:{row['source']}"
        yield f"source:{row['source']}", f"dataset:{row['source']}.{row['dataset']}"


def _sources(engine: Any) -> Iterable[tuple[str, str]]:
    """Return arrows from each source to the columns it fills, as the rows show, and on to their tables."""
    for table in facts():
        for column in table.names:
            yield f"column:{table.name}.{column}", f"table:{table.name}"
        counted = ", ".join(f'count("{c}") > 0 AS "{c}"' for c in table.names)
        rows = engine.query(f"SELECT source AS _source, {counted} FROM {table.name} GROUP BY 1").to_arrow()
        for row in rows.to_pylist():
            for column in table.names:
                if row[column]:
                    yield f"source:{row['_source']}", f"column:{table.name}.{column}"
    nodes = engine.query("SELECT DISTINCT source FROM nodes ORDER BY 1").to_arrow()["source"].to_pylist()
    yield from ((f"source:{source}", "table:nodes") for source in nodes)


def _columns(contracts: Sequence[Contract]) -> Iterable[tuple[str, str]]:
    """Return arrows from each dataset to the columns its contract fills."""
    for contract in contracts:
        for name, dataset in contract.datasets.items():
            for output in dataset.plan.outputs:
                for column in output.values:
                    yield f"dataset:{contract.source}.{name}", f"column:{output.table.name}.{column}"


def _reports(told: Sequence[Mapping[str, str]], models: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Return arrows to each report: from its model, or from every fact where it speaks of the data."""
    for row in told:
        report = f"report:{row['model']}/{row['name']}"
        yield report, "table:reports"
        if row["model"] in models:
            yield f"scores:{row['model']}", report
        else:
            yield from ((f"table:{table.name}", report) for table in facts())


def _tiles(
    pages: Mapping[str, Mapping[str, Any]], told: Sequence[Mapping[str, str]], models: Sequence[str]
) -> Iterable[tuple[str, str]]:
    """Return arrows to each tile of a page: from its model's scores and reports, and its audiences."""
    for name, payload in pages.items():
        for key, content in payload.items():
            if not isinstance(content, (list, dict)):
                continue
            tile = f"tile:{name}/{key}"
            yield from ((f"report:{r['model']}/{r['name']}", tile) for r in told if r["model"] == name)
            if name in models:
                yield f"scores:{name}", tile
            if key == "audiences" or name not in {*models, *(r["model"] for r in told)}:
                yield "table:audiences", tile


def _pages(lake: Any) -> dict[str, dict[str, Any]]:
    current = lake.current() if lake is not None else None
    return {name: lake.page(name) for name in current.pages} if current else {}
