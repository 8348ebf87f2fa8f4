"""The golden record: one value an attribute and person, by a survivorship rule, with its origin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit import texts
from cdpkit.errors import CdpkitError
from cdpkit.identity.evidence import Evidence
from cdpkit.normalise import cleaned

#: Rules by attribute; others follow ``most recent``. An address is taken whole, from one row.
SURVIVORSHIP: dict[str, str] = {
    "first_name": "most frequent",
    "last_name": "most frequent",
    "gender": "most frequent",
    "birth_date": "most frequent",
    "national_id": "most frequent",
}
RULES = ("most recent", "most frequent", "longest", "oldest")
_ADDRESS = ("street", "postcode", "city", "country")


@dataclass(frozen=True)
class Chosen:
    """Chosen values, by cluster and attribute.

    Parameters
    ----------
    label, attribute, value, node, known_at : ndarray of int
        Cluster, position of the attribute, position of the value, the node it comes from and when it was
        known there, in microseconds.
    attributes, rules : tuple of str
        Attributes, and the rule each was chosen by.
    texts : Array of str
        Values.
    """

    label: np.ndarray
    attribute: np.ndarray
    value: np.ndarray
    node: np.ndarray
    known_at: np.ndarray
    attributes: tuple[str, ...]
    rules: tuple[str, ...]
    texts: pa.Array


def golden(
    evidence: Evidence,
    labels: np.ndarray,
    survivorship: Mapping[str, str] | None = None,
    source_priority: Sequence[str] = (),
) -> Chosen:
    """Choose the value of each attribute of each cluster: never a blocked one; a shared one may be.

    Parameters
    ----------
    evidence : Evidence
        Records as nodes and keys.
    labels : ndarray of int
        Cluster of each node.
    survivorship : mapping of str to str, optional
        Rule by attribute: one of ``most recent``, ``most frequent``, ``longest``, ``oldest``. What a
        rule leaves equal is settled by the others, then in alphabetical order.
    source_priority : sequence of str
        Sources that come before any rule, best first.

    Returns
    -------
    Chosen
        In the order of cluster and attribute.

    Raises
    ------
    CdpkitError
        When a rule is unknown.
    """
    chosen = SURVIVORSHIP | dict(survivorship or {})
    if unknown := sorted(set(chosen.values()) - set(RULES)):
        raise CdpkitError(f"a survivorship rule must be one of {', '.join(RULES)}", got=", ".join(unknown))
    contest = _Contest.of(evidence, labels, source_priority)
    parts: list[tuple[str, str, np.ndarray, np.ndarray, pa.Array]] = []
    for attribute in evidence.attributes:
        if attribute in _ADDRESS:
            continue
        values, code = _values(evidence, attribute)
        rule = chosen.get(attribute, "most recent")
        at = contest.winners(code >= 0, _order(contest, values, code, rule))
        parts.append((attribute, rule, at, code[at], values))
    parts += _addresses(evidence, contest)
    parts.sort(key=lambda part: part[0])
    each = [len(part[2]) for part in parts]
    offsets = np.cumsum([0, *(len(part[4]) for part in parts)])[:-1]
    place = np.repeat(np.arange(len(parts)), each)
    at = np.concatenate([np.zeros(0, dtype=np.int64), *(part[2] for part in parts)])
    value = np.concatenate([np.zeros(0, dtype=np.int64), *(part[3] for part in parts)])
    # One value a cluster and attribute: its place is known without sorting.
    slot = contest.label[at] * max(len(parts), 1) + place
    taken = np.zeros(int(slot.max(initial=-1)) + 1, dtype=bool)
    taken[slot] = True
    order = np.empty(len(at), dtype=np.int64)
    order[(np.cumsum(taken) - 1)[slot]] = np.arange(len(at))
    at, place = at[order], place[order]
    return Chosen(
        label=contest.label[at],
        attribute=place,
        value=value[order] + offsets[place] if len(parts) else value,
        node=evidence.node[at],
        known_at=evidence.known_at[at],
        attributes=tuple(part[0] for part in parts),
        rules=tuple(f"source, {part[1]}" if source_priority else part[1] for part in parts),
        texts=pa.concat_arrays([pa.array([], pa.large_string()), *(part[4] for part in parts)]),
    )


#: What a row is worth, the least first; only asked of the rows still in the contest.
_Worth = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Contest:
    """The rows of each cluster, which compete for its golden record.

    Parameters
    ----------
    label, node, known_at, priority : ndarray of int
        Cluster, node, time and rank of the source of each row.
    order : ndarray of int
        Rows by cluster.
    """

    label: np.ndarray
    node: np.ndarray
    known_at: np.ndarray
    priority: np.ndarray | None
    order: np.ndarray

    @classmethod
    def of(cls, evidence: Evidence, labels: np.ndarray, source_priority: Sequence[str]) -> _Contest:
        """Return the contest of a clustering."""
        label = labels[evidence.node] if len(labels) else np.zeros(0, dtype=np.int64)
        priority = None
        if source_priority:
            ranks = {name: i for i, name in enumerate(source_priority)}
            of_node = evidence.nodes["source"].map(ranks).fillna(len(ranks)).to_numpy(dtype=np.int64)
            priority = of_node[evidence.node]
        return cls(label, evidence.node, evidence.known_at, priority, np.argsort(label, kind="stable"))

    def winners(self, present: np.ndarray, worth: Sequence[_Worth]) -> np.ndarray:
        """Return the row of each cluster that comes first by worth, criterion after criterion."""
        at = self.order[present[self.order]]
        if self.priority is not None:
            worth = [lambda at: self.priority[at], *worth]  # type: ignore[index]
        won = []
        for value in (*worth, lambda at: self.node[at], lambda at: at):
            label = self.label[at]
            alone = np.ones(len(at), dtype=bool)
            alone[1:] &= label[1:] != label[:-1]
            alone[:-1] &= label[1:] != label[:-1]
            won.append(at[alone])
            at = at[~alone]
            if len(at) == 0:
                break
            label = self.label[at]
            new = np.ones(len(at), dtype=bool)
            new[1:] = label[1:] != label[:-1]
            start = np.flatnonzero(new)
            worths = value(at)
            least = np.minimum.reduceat(worths, start)
            at = at[worths == np.repeat(least, np.diff(np.append(start, len(at))))]
        return np.concatenate([*won, at])


def _order(contest: _Contest, values: pa.Array, code: np.ndarray, rule: str) -> list[_Worth]:
    """Return the criteria of a rule; what it leaves equal is settled by the others."""
    length = np.append(pc.utf8_length(values).to_numpy(), 0)
    # A 1 January among birth dates usually stands for an unknown day.
    vague = np.append(pc.ends_with(values, "-01-01").to_numpy(zero_copy_only=False), False)

    def votes(at: np.ndarray) -> np.ndarray:
        near = np.zeros(len(contest.label) and int(contest.label.max()) + 1, dtype=bool)
        near[contest.label[at]] = True
        rows = np.flatnonzero(near[contest.label] & (code >= 0))
        pair = contest.label[rows] * (len(values) + 1) + code[rows]
        place, pairs = pd.factorize(pair)
        node = contest.node[rows]
        # Rows come in the order of nodes: a value said twice by one node is one vote.
        order = np.argsort(place * (int(node.max(initial=0)) + 1) + node)
        twice = np.zeros(len(rows), dtype=bool)
        twice[order[1:]] = (place[order][1:] == place[order][:-1]) & (node[order][1:] == node[order][:-1])
        count = np.bincount(place[~twice], minlength=len(pairs))
        of_row = np.zeros(len(contest.label), dtype=np.int64)
        of_row[rows] = count[place]
        return -of_row[at]

    def time(at: np.ndarray) -> np.ndarray:
        return contest.known_at[at]

    def recent(at: np.ndarray) -> np.ndarray:
        return -contest.known_at[at]

    longest = lambda at: -length[code[at]]  # noqa: E731
    criteria: dict[str, list[_Worth]] = {
        "most recent": [recent, votes, longest],
        "oldest": [time, votes, longest],
        "most frequent": [votes, lambda at: vague[code[at]], longest, recent],
        "longest": [longest, votes, recent],
    }
    by_time = len(contest.known_at) > 0 and (contest.known_at != contest.known_at[0]).any()
    timeless = [worth for worth in criteria[rule] if by_time or worth not in (time, recent)]
    return [*timeless, lambda at: code[at]]


def _values(evidence: Evidence, attribute: str) -> tuple[pa.Array, np.ndarray]:
    """Return the distinct values to show, and the code of each row's; -1 where there is none to keep."""
    key = evidence.keys.get(attribute)
    if key is not None and attribute not in ("first_name", "last_name"):
        return texts.arrow(key.categories), np.where(evidence.good(attribute)[key.codes], key.codes, -1)
    values, codes = _shown(evidence, attribute)
    if key is not None:
        codes = np.where(evidence.good(attribute)[key.codes], codes, -1)
    return values, codes


def _shown(evidence: Evidence, attribute: str) -> tuple[pa.Array, np.ndarray]:
    """Return the distinct values of a column as given, but cleaned, and the code of each row's."""
    raw, given = texts.distinct(evidence.rows[attribute])
    table, values = texts.ranked(cleaned(given))
    return values, np.append(table, -1)[raw][evidence.order]


def _addresses(
    evidence: Evidence, contest: _Contest
) -> list[tuple[str, str, np.ndarray, np.ndarray, pa.Array]]:
    """Take each cluster's address from its most recent row that has one, the most complete first."""
    shown = {name: _shown(evidence, name) for name in _ADDRESS if name in evidence.rows}
    n = len(contest.label)
    whole = np.zeros(n, dtype=np.int64)
    for name, (_, code) in shown.items():
        whole += (code >= 0) & (name != "country")
    worth: list[_Worth] = [lambda at: whole[at] < 2, lambda at: -contest.known_at[at], lambda at: -whole[at]]
    worth += [code.__getitem__ for _, code in shown.values()]
    at = contest.winners(whole > 0, worth)
    out = []
    for name, (values, code) in shown.items():
        kept = at[code[at] >= 0]
        out.append((name, "most recent, whole address", kept, code[kept], values))
    return out
