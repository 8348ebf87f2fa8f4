"""Erasure: a person leaves every table, file and page of the workspace, and stays out."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdpkit.errors import LakeError
from cdpkit.lake.files import digest, write_json
from cdpkit.lake.scrub import scrub, without
from cdpkit.lake.traces import Traces, collect
from cdpkit.schema import TABLES, Table

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from cdpkit.lake.store import Lake
    from cdpkit.lake.view import View

# Folders below `data` with their own treatment, and other workspaces.
_APART = ("lake", "published", "keys", "workspaces")
# What a decision says; its author is an employee, whose trace stays.
_SAID = ("subject", "content", "reason")


#: Small tables in which a row of nobody, or of somebody else, may spell an id: the column that does.
_NAMING = {"merges": "into_record", "signals": "subject"}


@dataclass(frozen=True)
class Erasure:
    """What an erasure did, in counts: it names nobody.

    Parameters
    ----------
    rows : dict
        Rows deleted, by table.
    files : dict
        Rows dropped or files struck through, by path below the workspace.
    unsearched : list of str
        Files of a kind that cannot be searched: look at them yourself.
    persons : int
        Persons touched. Their derived rows are gone even where other records of theirs stay, until
        the next run computes them again.
    shared : int
        Identifiers kept in files because a surviving record carries them too.
    snapshot : str
        Snapshot published without them.
    records : int
        Records asked for, those of the same persons included.
    """

    rows: dict[str, int]
    files: dict[str, int]
    unsearched: list[str]
    persons: int
    shared: int
    snapshot: str = ""
    records: int = 0


@dataclass
class _Journal:
    """What a cut-short erasure needs to be completed; it holds no personal value."""

    path: Path
    nodes: list[int]
    id_columns: list[str] = field(default_factory=list)
    #: Digest of a raw file before, with the digest after and the rows dropped.
    files: dict[str, list] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, nodes: Iterable[int], id_columns: Iterable[str]) -> _Journal:
        before = (
            json.loads(path.read_bytes()) if path.exists() else {"nodes": [], "id_columns": [], "files": {}}
        )
        journal = cls(
            path,
            sorted({*before["nodes"], *map(int, nodes)}),
            sorted({*before["id_columns"], *id_columns}),
            before["files"],
        )
        journal.save()
        return journal

    def save(self) -> None:
        write_json(self.path, {"nodes": self.nodes, "id_columns": self.id_columns, "files": self.files})


def erase(lake: Lake, nodes: Iterable[int], id_columns: Iterable[str] = ()) -> Erasure:
    """Erase some records and all that was derived from their persons.

    The order makes it safe to repeat: what to look for is read first, files are cleaned while the
    tables still know it, and a journal of node ids lets the next run complete what a crash cut short.
    Readers' pins do not hold it back.

    Parameters
    ----------
    lake : Lake
        With the lock.
    nodes : iterable of int
        Records to erase, normally all those of one person.
    id_columns : iterable of str
        Columns of raw files that hold ids of persons under unusual names.

    Returns
    -------
    Erasure
        Counts of what was done, and the files to look at yourself.

    Raises
    ------
    LakeError
        In a notebook under a run: the run's other steps would be undone with it.
    """
    if lake.joined:
        raise LakeError("a notebook under a run must leave erasure to the run")
    journal = _Journal.open(lake.erasing, nodes, id_columns)
    lake.undo()
    traces = collect(lake, journal.nodes, journal.id_columns)
    lake.suppression().add(traces.records, traces.identifiers)
    files, unsearched = _clean_files(lake, traces, journal)
    rows = _clean_tables(lake, traces, journal)
    _clean_pages(lake, traces)
    snapshot = lake.publish("erasure", {"erased_nodes": len(journal.nodes)})
    lake.forget({snapshot.id})
    shutil.rmtree(lake.path / "spill", ignore_errors=True)
    journal.path.unlink()
    persons, records = len(traces.persons), len(journal.nodes)
    return Erasure(rows, files, unsearched, persons, traces.shared, snapshot.id, records)


def erase_records(
    lake: Lake, records: Iterable[tuple[str, str]], alone: bool = False, id_columns: Iterable[str] = ()
) -> Erasure:
    """Erase records named as their sources name them, with all records of the same persons.

    Parameters
    ----------
    lake : Lake
        With the lock: whose records they are is read while nobody can change it.
    records : iterable of (str, str)
        ``(source, record_id)``.
    alone : bool
        These records only. Otherwise all those of their persons as known today: what was unmerged
        since is a stranger's.
    id_columns : iterable of str
        As for `erase`.

    Raises
    ------
    LakeError
        When a record is unknown; nothing is erased then.
    """
    asked = set(records)
    nodes = lake.read("nodes").to_arrow(["node_id", "source", "record_id"]).to_pylist()
    chosen = {row["node_id"] for row in nodes if (row["source"], row["record_id"]) in asked}
    if len(chosen) < len(asked):
        # Which one is unknown would be a personal value in a log.
        raise LakeError(
            "every record must be known", got=f"{len(asked) - len(chosen)} unknown of {len(asked)}"
        )
    if not alone:
        rows = lake.read("membership").to_arrow(["node_id", "person_id", "known_to"]).to_pylist()
        held = [(row["node_id"], row["person_id"]) for row in rows if row["known_to"] is None]
        persons = {person for node, person in held if node in chosen}
        chosen |= {node for node, person in held if person in persons}
    return erase(lake, chosen, id_columns)


def person_columns(table: Table) -> list[str]:
    """Return the columns by which rows are a person's; rows keyed by node are their node's only.

    Examples
    --------
    >>> person_columns(TABLES["scores"]), person_columns(TABLES["membership"])
    (['person_id'], [])
    """
    if "node_id" in table.key:
        return []
    return [c.name for c in table.columns if c.pii == "pseudonym" and c.type == "string"]


def node_columns(table: Table) -> list[str]:
    """Return the columns by which rows are a record's.

    Examples
    --------
    >>> node_columns(TABLES["links"])
    ['left_node', 'right_node']
    """
    return [c.name for c in table.columns if c.pii == "pseudonym" and c.type == "int64"]


def _clean_tables(lake: Lake, traces: Traces, journal: _Journal) -> dict[str, int]:
    """Delete from every stored table what its schema says is theirs."""
    done = {}
    with closing(lake.view("head")) as view:
        for name in sorted(view.names()):
            table = view.dataset(name).table
            persons, nodes = person_columns(table), node_columns(table)
            if name in _NAMING:
                count = _filter(lake, view, table, _named_in(traces, _NAMING[name]))
            else:
                count = _delete_nodes(lake, view, table, nodes, traces) if nodes else 0
            if persons:
                count += _rewrite(lake, view, table, _where(persons, "_persons"), traces)
            if name == "quarantine":
                count += _filter(lake, view, table, _set_aside(traces))
            if name == "decisions":
                count += _filter(lake, view, table, _spoken_of(traces))
            if count:
                done[name] = count
        if journal.files and "source_files" in view.names():
            _rekey_files(lake, view, journal)
    return done


def _delete_nodes(lake: Lake, view: View, table: Table, columns: list[str], traces: Traces) -> int:
    """Delete by node id: a number is all the log may keep of it."""
    if not traces.nodes:
        return 0
    deleted = lake.delta(table.name).delete_nodes(columns, traces.nodes, lake.tags())
    if deleted is None:
        return _rewrite(lake, view, table, _where(columns, "_nodes"), traces)
    return deleted


def _rewrite(lake: Lake, view: View, table: Table, theirs: str, traces: Traces) -> int:
    """Write the table anew without rows, in a stream: a predicate would name persons in the log."""
    import duckdb
    import pyarrow as pa

    with duckdb.connect() as connection:
        connection.register("_nodes", pa.table({"id": pa.array(sorted(traces.nodes), pa.int64())}))
        connection.register("_persons", pa.table({"id": pa.array(sorted(traces.persons), pa.string())}))
        source = view.dataset(table.name).relation(connection)
        counted = connection.execute(f"SELECT count(*) FROM ({source}) WHERE {theirs}").fetchall()
        if counted[0][0]:
            lake.delta(table.name).rewrite(table, _kept(connection, table, source, theirs), lake.tags())
    return counted[0][0]


def _kept(
    connection: duckdb.DuckDBPyConnection, table: Table, source: str, theirs: str
) -> pa.RecordBatchReader:
    month = f", strftime({table.event_time}, '%Y-%m') AS month" if table.partition == "month" else ""
    return connection.sql(f"SELECT *{month} FROM ({source}) WHERE NOT ({theirs})").to_arrow_reader(200_000)


def _where(columns: list[str], listed: str) -> str:
    return " OR ".join(f'coalesce("{column}" IN (SELECT id FROM {listed}), false)' for column in columns)


def _filter(lake: Lake, view: View, table: Table, theirs: Any) -> int:
    """Write a table of text anew without the rows that `theirs` recognises."""
    import pyarrow as pa

    rows = view.dataset(table.name).to_arrow()
    kept = [not theirs(row) for row in rows.to_pylist()]
    if not all(kept):
        lake.write(table, rows.filter(pa.array(kept, pa.bool_())), mode="overwrite")
    return len(kept) - sum(kept)


def _set_aside(traces: Traces) -> Any:
    return lambda row: traces.in_line(row["original"].decode("utf-8", "surrogateescape"), row["source"])


def _named_in(traces: Traces, column: str) -> Any:
    """Recognise rows of their records, and rows of nobody or of others that spell one of their ids."""
    return lambda row: (
        row.get("node_id") in traces.nodes
        or (row[column] is not None and traces.in_line(row[column], row["source"]))
    )


def _spoken_of(traces: Traces) -> Any:
    return lambda row: any(traces.in_text(row[name] or "", words=False) for name in _SAID)


def _rekey_files(lake: Lake, view: View, journal: _Journal) -> None:
    """Give cleaned files their new digest, or the next load would take them for new ones."""
    import pyarrow as pa

    table = TABLES["source_files"]
    rows = view.dataset("source_files").to_arrow().to_pylist()
    for row in rows:
        if row["content_hash"] in journal.files:
            row["content_hash"], dropped = journal.files[row["content_hash"]]
            from_good = min(dropped, row["good"])
            row["good"] -= from_good
            row["quarantined"] -= min(dropped - from_good, row["quarantined"])
            row["records_in"] = row["good"] + row["quarantined"]
    lake.write(table, pa.Table.from_pylist(rows, schema=table.arrow()), mode="overwrite")


def _clean_files(lake: Lake, traces: Traces, journal: _Journal) -> tuple[dict[str, int], list[str]]:
    """Clean every file below `data`, tables and pages apart; a decision about them leaves whole."""
    workspace, unsearched = lake.workspace, list[str]()
    done: dict[str, int] = {}
    sources = _sources(lake)
    for path in (*_walk(workspace.data), *_walk(workspace.mlruns)):
        name = path.relative_to(workspace.home).as_posix()
        if path.parent == workspace.inbox and path.suffix == ".json":
            done |= {name: 1} if _withdrawn(path, traces) else {}
            continue
        try:
            old = digest(path)
        except FileNotFoundError:
            continue  # beside a database, only while it is open

        def note(aside: Path, found: int, old: str = old) -> None:
            journal.files[old] = [digest(aside), found]
            journal.save()

        result = scrub(path, traces, sources.get(old), note)
        if not result.searched:
            unsearched.append(name)
        if result.found:
            done[name] = result.found
    return done, unsearched


def _withdrawn(path: Path, traces: Traces) -> bool:
    """Remove a decision in the inbox that speaks of them; tell whether it did."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    try:
        content = json.loads(text)
        said = {name: content[name] for name in _SAID} if isinstance(content, dict) else content
        text = json.dumps(said, ensure_ascii=False)
    except (ValueError, KeyError, RecursionError):
        pass  # no decision: all of it is searched
    theirs = traces.in_text(text, words=False)
    if theirs:
        path.unlink()
    return theirs


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, and remove what dead processes left half written."""
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.name in ("keys", "workspaces"):
            continue
        for path in sorted(entry.rglob("*")) if entry.is_dir() else [entry]:
            leftover = re.fullmatch(r"\..+\.([0-9]+)\.tmp", path.name)
            if leftover and path.is_file() and not Path("/proc", leftover[1]).exists():
                path.unlink()
            elif path.is_file() and entry.name not in _APART:
                yield path


def _sources(lake: Lake) -> dict[str, str]:
    """Return the source of each file loaded, by digest."""
    rows = lake.read("source_files", "head").to_arrow(["content_hash", "source"]).to_pylist()
    return {row["content_hash"]: row["source"] for row in rows}


def _clean_pages(lake: Lake, traces: Traces) -> None:
    """Stage again, without them, the published pages that name them."""
    snapshot = lake.current()
    if snapshot is None:
        return
    for name in snapshot.pages:
        page = lake.pages.read(name, snapshot)
        cleaned = without(page, traces)
        if cleaned != page:
            lake.pages.stage(name, cleaned)
