"""Judge the records of a staged file, and set the bad ones aside with their reasons and bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cdpkit.errors import ContractError
from cdpkit.sources.expression import LINE
from cdpkit.sources.plan import SEPARATOR, Output, Plan

if TYPE_CHECKING:
    import duckdb
    from sqlglot import exp

    from cdpkit.sources.contract import Dataset
    from cdpkit.sources.reader import Staged


@dataclass
class Judged:
    """The good records of a file, as a table, and the others.

    Parameters
    ----------
    good : str
        Table of the converted good records.
    n_good : int
        How many.
    bad : dict of int to (list of str, bytes)
        Records set aside, by line: reasons and bytes as received.
    """

    good: str
    n_good: int
    bad: dict[int, tuple[list[str], bytes]]

    @property
    def reasons(self) -> Counter[str]:
        """How often each reason was given."""
        return Counter(reason for reasons, _ in self.bad.values() for reason in reasons)


def judge(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    plan: Plan,
    staged: Staged,
    raw: str,
    received: datetime | None = None,
) -> Judged:
    """Convert the records of table `raw` and split them into good and bad.

    A record is good only if every conversion and every mapping of it succeeds; an order whose line is
    set aside is set aside whole.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where the file is staged.
    dataset, plan : Dataset, Plan
        What is asked of it.
    staged : Staged
        What the scan found.
    raw : str
        Its table.
    received : datetime, optional
        When the file came, UTC: a record that says it happened or was known a day later is set aside.

    Raises
    ------
    ContractError
        When too large a share of the file is bad: then the contract, not the rows, is wrong.
    """
    judged, bad = f"{raw}_judged", f"{raw}_bad"
    connection.execute(f"CREATE TABLE {judged} AS {_sql(plan.judge(raw))}")
    connection.execute(f"DROP TABLE {raw}")
    connection.execute(f"CREATE TABLE {bad} AS SELECT {LINE}, _cdp_why FROM {judged} WHERE _cdp_why <> ''")
    for moment, why in plan.times if received is not None else ():
        # A day of grace: clocks and zones of the systems that write files differ.
        connection.execute(
            f"INSERT INTO {bad} SELECT {LINE}, '{why}' FROM {judged} ANTI JOIN {bad} USING ({LINE})"
            f" WHERE CAST({_sql(moment)} AS TIMESTAMP) > CAST(? AS TIMESTAMP) + INTERVAL '1' DAY",
            [received],
        )
    good = f"{raw}_good"
    connection.execute(f"CREATE VIEW {good} AS SELECT * FROM {judged} ANTI JOIN {bad} USING ({LINE})")
    while _close_groups(connection, plan, judged, bad) or _blame_groups(connection, plan, good, bad):
        pass
    lines = connection.execute(
        f"SELECT {LINE}, string_agg(_cdp_why, chr(31)) FROM {bad} GROUP BY 1 ORDER BY 1"
    )
    whys = {line: list(dict.fromkeys(why.split(SEPARATOR))) for line, why in lines.fetchall()}
    originals = staged.originals(list(whys)) if whys else {}
    _refuse_too_many(dataset, staged, len(whys), whys)
    set_aside = dict(staged.bad) | {line: (reasons, originals[line]) for line, reasons in whys.items()}
    if not whys:
        connection.execute(f"CREATE OR REPLACE VIEW {good} AS FROM {judged}")
    n_good = connection.execute(f"SELECT count(*) FROM {good}").fetchall()[0][0]
    return Judged(good, n_good, set_aside)


def _close_groups(connection, plan: Plan, judged: str, bad: str) -> int:
    """Set aside the other records of groups that must stay whole; return how many were added."""
    added = 0
    if not connection.execute(f"SELECT 1 FROM {bad} LIMIT 1").fetchall():
        return 0
    for output in plan.outputs:
        if output.group and output.whole:
            key, which = _sql(output.key), _where(output)
            why = f"another record of its {output.table.name} row was set aside"
            added += _count(
                connection,
                f"INSERT INTO {bad} SELECT {LINE}, '{why}' FROM {judged} ANTI JOIN {bad} USING ({LINE})"
                f" WHERE {which} {key} IN (SELECT {key} FROM {judged} SEMI JOIN {bad} USING ({LINE})"
                f" WHERE {which} {key} IS NOT NULL)",
            )
    return added


def _blame_groups(connection, plan: Plan, good: str, bad: str) -> int:
    """Set aside the records of groups whose row would lack a required value."""
    added = 0
    for output in plan.outputs:
        if output.group:
            lacking = " OR ".join(f'"{column}" IS NULL' for column in output.required())
            rows = _sql(output.select(good, plan.dialect, key=True))
            why = f"its {output.table.name} row lacks a required value"
            added += _count(
                connection,
                f"INSERT INTO {bad} SELECT {LINE}, '{why}' FROM {good} WHERE {_where(output)}"
                f" {_sql(output.key)} IN (SELECT _cdp_key FROM ({rows}) WHERE {lacking})",
            )
    return added


def _where(output: Output) -> str:
    return f"({_sql(output.where)}) AND" if output.where is not None else ""


def _count(connection, statement: str) -> int:
    return connection.execute(statement).fetchall()[0][0]


def _sql(tree: exp.Expr | None) -> str:
    return "" if tree is None else tree.sql(dialect="duckdb")


def _refuse_too_many(dataset: Dataset, staged: Staged, n_converted: int, whys: dict[int, list[str]]) -> None:
    """Refuse the file when more is bad than a few rows can explain."""
    n_bad = len(staged.bad) + n_converted
    if n_bad <= dataset.min_quarantined or n_bad <= dataset.max_quarantined * staged.records_in:
        return
    counts = Counter(r for reasons, _ in staged.bad.values() for r in reasons)
    counts.update(r for reasons in whys.values() for r in reasons)
    told = "; ".join(f"{reason} ({n})" for reason, n in counts.most_common(5))
    raise ContractError(
        "file",
        [
            f"at most {dataset.max_quarantined:.0%} of the records may be set aside; got {n_bad} of"
            f" {staged.records_in}: {told}. Mend the contract, or raise `max_quarantined`"
        ],
    )
