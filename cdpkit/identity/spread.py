"""Resolution of a base too large for one machine: cut where nothing can tie two records, then as ever.

Whatever could tie two records is written as pairs, by statements: usable identifiers, combinations of name,
birth date and address, decisions, and the persons of the previous state. Between the components of these
pairs nothing can happen, so each is resolved by itself, by the same code, and the parts together are what one
machine would have found. What must be known of the whole base (how many records carry a value) is counted
first and handed to each part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from cdpkit.errors import CdpkitError
from cdpkit.identity.contraction import contract
from cdpkit.identity.decisions import COLUMNS as DECIDED
from cdpkit.identity.hygiene import AUTO_NAMES, AUTO_SHARE, Hygiene
from cdpkit.identity.links import COMBINATIONS, MAX_SUPPORT
from cdpkit.identity.scoring import ScoringModel
from cdpkit.identity.spread_pairs import scored_pairs
from cdpkit.identity.spread_work import ASIDE, KEYS, LINK, PARTS, SCHEMAS, KeysOf, Task, Unpacked

if TYPE_CHECKING:
    from cdpkit.engine import Engine


@dataclass(frozen=True)
class Spread:
    """How a base was cut.

    Attributes
    ----------
    tables : dict of str to str
        Where the engine keeps each table of the resolution, by its name in `Resolution`.
    set_aside : DataFrame
        ``id_type, value, n_records, n_names, n_named``: values that too many records carry.
    largest : int
        Records of the largest component: what one worker had to hold, at least.
    rounds : int
        Rounds of contraction.
    """

    tables: dict[str, str]
    set_aside: pd.DataFrame
    largest: int
    rounds: int


def resolve_spread(
    engine: Engine,
    records: str,
    *,
    run_id: str,
    name: str = "resolved",
    membership: str | None = None,
    aliases: pd.DataFrame | None = None,
    decisions: pd.DataFrame | None = None,
    scoring: ScoringModel | None = None,
    hygiene: Hygiene | None = None,
    region: str = "FR",
    parts: int = 64,
    most: int = 200_000,
    survivorship: Mapping[str, str] | None = None,
    source_priority: Sequence[str] = (),
) -> Spread:
    """Find the persons behind the records of a table part by part, on any engine.

    Parameters
    ----------
    engine : Engine
        DuckDB or Spark.
    records : str
        Table of the columns that `resolve` takes; `node_id` is required, one number a record.
    run_id : str
        Run; a new person is named after it and the part that found it.
    name : str
        Prefix of the tables made: ``<name>_membership`` and so on.
    membership : str, optional
        Table of the state to continue: ``node_id, person_id, known_from, known_to``.
    aliases : DataFrame, optional
        ``old_id, person_id``, of the same state.
    scoring : ScoringModel, optional
        A model learned before, on a sample or a smaller base, to score pairs by; by default exact keys only.
    decisions, hygiene, region, survivorship, source_priority
        As for `cdpkit.identity.resolve`.
    parts : int
        Pieces of work; some tens for each worker, each small enough for one.
    most : int
        Records that one component may have.

    Returns
    -------
    Spread

    Raises
    ------
    CdpkitError
        When a component is too large for a worker: a value that ties so many is to be blocked.

    Notes
    -----
    With a model, the base is cut twice: representatives of the persons that exact keys find are compared on
    the workers, the driver settles their pairs (one row each), and the persons come from a second cut that
    knows of them. Ids that were given before are claimed as on one machine; new ones differ in name only.
    """
    rules = hygiene or Hygiene()
    told = None
    if scoring is not None:
        task = Task(run_id, rules, region, decisions, None, {}, (), compared=True)
        first = _cut(engine, records, f"{name}_exact", task, None, None, parts, most)
        told = scored_pairs(engine, first.tables, scoring, decisions, f"_{name}_scored")
    task = Task(
        run_id,
        rules,
        region,
        decisions,
        aliases,
        dict(survivorship or {}),
        tuple(source_priority),
        told is not None,
    )
    return _cut(engine, records, name, task, membership, told, parts, most)


def _cut(
    engine: Engine,
    records: str,
    name: str,
    task: Task,
    membership: str | None,
    told: pd.DataFrame | None,
    parts: int,
    most: int,
) -> Spread:
    """Cut a base and resolve its parts."""
    cut = _Cut(engine, f"_{name}", task.rules)
    engine.apply(cut.table("keys"), f"SELECT * FROM {records}", KeysOf(task.rules, task.region), KEYS)
    engine.materialise(
        cut.table("nodes"),
        f"SELECT node_id AS node, MIN(source) AS source, MIN(CAST(record_id AS {cut.text})) AS record_id,"
        f" MIN(CASE WHEN {cut.may(records)} THEN 1 ELSE 0 END) AS may FROM {records} GROUP BY node_id",
    )
    aside = cut.count()
    cut.pair(task.decisions, membership, told)
    everyone = f"SELECT node FROM {cut.table('nodes')}"
    if membership is not None:
        everyone += f" UNION SELECT node_id FROM {membership}"
    engine.materialise(cut.table("everyone"), everyone)
    rounds = contract(engine, cut.table("everyone"), cut.table("pairs"), cut.table("groups"))
    largest = engine.query(
        f"SELECT MAX(n) AS n FROM (SELECT COUNT(*) AS n FROM {cut.table('groups')} GROUP BY component) AS t"
    ).to_pandas()["n"]
    size = 0 if largest.isna().all() else int(largest.iloc[0])
    if size > most:
        raise CdpkitError(
            f"a component must have {most:,} records at most",
            got=f"{size:,}",
            do="Block the value that ties them (see `set_aside` of a smaller run), or raise `most`",
        )
    task = replace(task, rules=replace(task.rules, counted=_counted(aside)))
    rows = cut.batches(records, membership, told, parts)
    engine.apply(cut.table("parts"), rows, task, PARTS, by="part")
    tables = {}
    for table in task.tables:
        tables[table] = f"{name}_{table}"
        packed = f"SELECT content FROM {cut.table('parts')} WHERE name = '{table}'"
        engine.apply(tables[table], packed, Unpacked(SCHEMAS[table]), SCHEMAS[table])
    return Spread(tables, aside, size, rounds)


class _Cut:
    """The statements that cut a base.

    Parameters
    ----------
    engine : Engine
        Runs them.
    prefix : str
        Of the tables made on the way.
    rules : Hygiene
        What may link.
    """

    def __init__(self, engine: Engine, prefix: str, rules: Hygiene) -> None:
        self.engine, self.prefix, self.rules = engine, prefix, rules
        self.text = "STRING" if engine.dialect == "spark" else "VARCHAR"

    def table(self, name: str) -> str:
        """Return the name of a table made on the way."""
        return f"{self.prefix}_{name}"

    def may(self, records: str) -> str:
        """Return the condition under which a row lets its record be linked."""
        columns = self.engine.query(f"SELECT * FROM {records} LIMIT 0").to_arrow().column_names
        return "COALESCE(may_link, TRUE)" if "may_link" in columns else "TRUE"

    def count(self) -> pd.DataFrame:
        """Count who carries what in the whole base; return the values that too many do."""
        keys, held, nodes = self.table("keys"), self.table("held"), self.table("nodes")
        self.engine.materialise(
            held,
            "SELECT k.node, k.attribute, k.word, MIN(k.mailbox) AS mailbox, BOOL_AND(k.good) AS good,"
            f" MAX(k.last_at) AS last_at FROM {keys} AS k JOIN {nodes} AS n ON n.node = k.node AND n.may = 1"
            " GROUP BY k.node, k.attribute, k.word",
        )
        # A node is called by the last first name it gave, where that is a name.
        called = (
            "SELECT node, word FROM (SELECT node, word, good, ROW_NUMBER() OVER"
            f" (PARTITION BY node ORDER BY last_at DESC, word) AS k FROM {held}"
            " WHERE attribute = 'first_name') AS t WHERE k = 1 AND good"
        )
        kinds = ", ".join(f"'{kind}'" for kind in self.rules.types)
        self.engine.materialise(
            self.table("values"),
            "SELECT h.attribute AS id_type, h.word AS value, COUNT(*) AS n_records,"
            " COUNT(DISTINCT c.word) AS n_names, COUNT(c.word) AS n_named"
            f" FROM {held} AS h LEFT JOIN ({called}) AS c ON c.node = h.node"
            f" WHERE h.good AND h.attribute IN ({kinds}) GROUP BY h.attribute, h.word HAVING COUNT(*) > 1",
        )
        caps = " OR ".join(
            f"(id_type = '{kind}' AND (n_records > {cap.max_records} OR n_names > {cap.max_names}))"
            for kind, cap in self.rules.types.items()
        )
        aside = self.engine.query(
            f"SELECT * FROM {self.table('values')} WHERE {caps}"
            f" OR (n_names >= {AUTO_NAMES} AND n_names >= {AUTO_SHARE} * n_named) ORDER BY id_type, value"
        ).to_pandas()
        allowed = {(kind, value) for kind, values in self.rules.allowed.items() for value in values}
        listed = [pair in allowed for pair in zip(aside["id_type"], aside["value"], strict=True)]
        aside = aside[~np.array(listed, dtype=bool)].reset_index(drop=True)
        self.engine.register(self.table("aside"), pa.Table.from_pandas(aside, ASIDE, preserve_index=False))
        return aside

    def pair(self, decisions: pd.DataFrame | None, membership: str | None, told: pd.DataFrame | None) -> None:
        """Write what could tie two nodes as pairs of a node and the first of its group."""
        held, aside, values = self.table("held"), self.table("aside"), self.table("values")
        usable = (
            f"SELECT h.node, h.attribute, h.word, h.mailbox FROM {held} AS h"
            f" LEFT ANTI JOIN {aside} AS a ON a.id_type = h.attribute AND a.value = h.word"
            f" WHERE h.good"
        )
        if self.engine.dialect == "duckdb":
            usable = usable.replace("LEFT ANTI JOIN", "ANTI JOIN")
        self.engine.materialise(self.table("usable"), usable)
        usable = self.table("usable")
        groups = [
            f"SELECT u.node, CONCAT(u.attribute, ' ', u.word) AS said FROM {usable} AS u"
            f" JOIN {values} AS v ON v.id_type = u.attribute AND v.value = u.word",
            f"SELECT node, CONCAT('mailbox ', mailbox) AS said FROM {usable} WHERE attribute = 'email'",
            *(self._combined(rule, attributes) for rule, (attributes, _) in COMBINATIONS.items()),
        ]
        if membership is not None:
            groups.append(f"SELECT node_id AS node, CONCAT('person ', person_id) AS said FROM {membership}")
        pairs = [
            f"SELECT MIN(node) OVER (PARTITION BY said) AS l, node AS r FROM ({group}) AS t"
            for group in groups
        ]
        ends = list(DECIDED[1:5])
        for name, links in (("decided", decisions), ("told", told)):
            if links is not None and len(links):
                frame = pa.Table.from_pandas(links[ends].astype("str"), preserve_index=False)
                self.engine.register(self.table(name), frame)
                nodes = self.table("nodes")
                pairs.append(
                    f"SELECT a.node AS l, b.node AS r FROM {self.table(name)} AS d"
                    f" JOIN {nodes} AS a ON a.source = d.left_source AND a.record_id = d.left_record_id"
                    f" JOIN {nodes} AS b ON b.source = d.right_source AND b.record_id = d.right_record_id"
                )
        union = " UNION ALL ".join(pairs)
        self.engine.materialise(self.table("pairs"), f"SELECT DISTINCT l, r FROM ({union}) AS t WHERE l <> r")

    def _combined(self, rule: str, attributes: tuple[str, ...]) -> str:
        """Return the statement of the nodes that say a whole combination."""
        froms, where, words = "", [], [f"'{rule}'"]
        for k, attribute in enumerate(attributes):
            one = f"k{k}"
            kind, source = attribute, self.table("usable")
            if attribute == "full_birth_date":
                kind = "birth_date"
                where.append(f"{one}.word NOT LIKE '%-01-01'")
            if attribute.startswith("shared_"):
                # What too many carry, but not more than a family or two.
                kind = attribute.removeprefix("shared_")
                source = (
                    f"(SELECT h.node, h.attribute, h.word FROM {self.table('held')} AS h"
                    f" JOIN {self.table('aside')} AS a ON a.id_type = h.attribute AND a.value = h.word"
                    f" WHERE a.n_records <= {MAX_SUPPORT})"
                )
            join = (
                f" FROM {source} AS {one}" if k == 0 else f" JOIN {source} AS {one} ON {one}.node = k0.node"
            )
            froms += join
            where.append(f"{one}.attribute = '{kind}'")
            words.append(f"{one}.word")
        return (
            f"SELECT k0.node, CONCAT_WS('|', {', '.join(words)}) AS said{froms} WHERE {' AND '.join(where)}"
        )

    def batches(self, records: str, membership: str | None, told: pd.DataFrame | None, parts: int) -> str:
        """Return the statement of the records, their previous persons and their scored links, by part."""
        groups, part = self.table("groups"), f"g.component % {parts} AS part"
        columns = self.engine.query(f"SELECT * FROM {records} LIMIT 0").to_arrow().column_names
        time = "TIMESTAMP_NTZ" if self.engine.dialect == "spark" else "TIMESTAMP"
        none = [f"CAST(NULL AS {kind})" for kind in (self.text, time, time)]
        listed = ", ".join(f"r.{name}" for name in columns)
        rows = [
            f"SELECT {part}, {listed}, 'record' AS _kind, {none[0]} AS _text, {none[1]} AS _since,"
            f" {none[2]} AS _until FROM {records} AS r JOIN {groups} AS g ON g.node = r.node_id"
        ]
        if membership is not None:
            blank = ", ".join("r.node_id" if name == "node_id" else "NULL" for name in columns)
            rows.append(
                f"SELECT {part}, {blank}, 'held', r.person_id, r.known_from, r.known_to"
                f" FROM {membership} AS r JOIN {groups} AS g ON g.node = r.node_id"
            )
        if told is not None and len(told):
            said = pd.DataFrame(
                {
                    "source": told["left_source"].astype("str"),
                    "record_id": told["left_record_id"].astype("str"),
                    "text": [json.dumps(row) for row in told[list(LINK)].to_dict("records")],
                }
            )
            self.engine.register(self.table("said"), pa.Table.from_pandas(said, preserve_index=False))
            blank = ", ".join("n.node" if name == "node_id" else "NULL" for name in columns)
            rows.append(
                f"SELECT {part}, {blank}, 'link', s.text, {none[1]}, {none[2]} FROM {self.table('said')} AS s"
                f" JOIN {self.table('nodes')} AS n ON n.source = s.source AND n.record_id = s.record_id"
                f" JOIN {groups} AS g ON g.node = n.node"
            )
        return " UNION ALL ".join(rows)


def _counted(aside: pd.DataFrame) -> dict[str, dict[str, tuple[int, int, int]]]:
    counts = zip(aside["n_records"], aside["n_names"], aside["n_named"], strict=True)
    out: dict[str, dict[str, tuple[int, int, int]]] = {}
    for kind, value, (records, names, named) in zip(aside["id_type"], aside["value"], counts, strict=True):
        out.setdefault(kind, {})[value] = (int(records), int(names), int(named))
    return out
