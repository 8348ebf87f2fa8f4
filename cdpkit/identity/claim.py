"""Stable ids: a cluster claims the id that most of its records had; the rest get new ones.

Ids are opaque, never made from the data. Identical input gives identical ids and no event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit import texts
from cdpkit.identity.evidence import find, microseconds
from cdpkit.identity.history import OPEN

#: A declared record says more about who a person is than an anonymous one, when an id is contested.
_WEIGHT = np.array([1, 5, 10])


@dataclass(frozen=True)
class Previous:
    """The state a resolution continues.

    Parameters
    ----------
    membership : DataFrame
        ``source, record_id, person_id, known_from, known_to``.
    aliases : DataFrame, optional
        ``old_id, person_id``.
    """

    membership: pd.DataFrame
    aliases: pd.DataFrame | None = None


@dataclass(frozen=True)
class Held:
    """A previous state on the present nodes.

    Parameters
    ----------
    persons : Array of str
        Ids that were given, in alphabetical order; a person is its position.
    person, node, start : ndarray of int
        Who held which node since when, in the order of node and time; node is -1 for a record that is gone.
    current : ndarray of bool
        Whether that was so at the end of the previous run.
    aliases : dict of str to str
        Retired id to the person that took over.
    """

    persons: pa.Array
    person: np.ndarray
    node: np.ndarray
    start: np.ndarray
    current: np.ndarray
    aliases: dict[str, str]

    @classmethod
    def of(cls, previous: Previous | None, nodes: pd.DataFrame) -> Held:
        """Find the present nodes of a previous state."""
        if previous is None or previous.membership.empty:
            none = np.zeros(0, dtype=np.int64)
            return cls(pa.array([], pa.large_string()), none, none, none, none.astype(bool), {})
        old = previous.membership
        person, persons = texts.ranked(texts.arrow(old["person_id"].astype("str")))
        node = find(nodes, old["source"], old["record_id"])
        start, current = microseconds(old["known_from"]), old["known_to"].isna().to_numpy()
        order = np.lexsort((person, start, node))
        retired = previous.aliases
        aliases = {} if retired is None else dict(zip(retired["old_id"], retired["person_id"], strict=True))
        return cls(persons, person[order], node[order], start[order], current[order], aliases)

    def born(self, n: int) -> np.ndarray:
        """Return the first person of each of `n` nodes, -1 for a new one."""
        out = np.full(n, -1, dtype=np.int64)
        here = self.node >= 0
        out[self.node[here][::-1]] = self.person[here][::-1]
        return out


@dataclass(frozen=True)
class Ids:
    """The id of each lineage.

    Parameters
    ----------
    texts : Array of str
        Ids: those given before, in alphabetical order, then new ones. A person is its position.
    by_founder : ndarray of int
        Person of each node that founded a lineage, -1 of the others.
    """

    texts: pa.Array
    by_founder: np.ndarray

    def of(self, founder: np.ndarray) -> np.ndarray:
        """Return the person of each founder."""
        return self.by_founder[founder]

    def places(self) -> np.ndarray:
        """Return the place of each person in the alphabetical order of ids; a last one for nobody."""
        out = np.full(len(self.texts) + 1, -1, dtype=np.int64)
        out[self.in_order(np.arange(len(self.texts)))] = np.arange(len(self.texts))
        return out

    def in_order(self, persons: np.ndarray) -> np.ndarray:
        """Return persons in the alphabetical order of their ids."""
        return persons[pc.sort_indices(self.texts.take(pa.array(persons))).to_numpy()]


def claim(labels: np.ndarray, strength: np.ndarray, held: Held) -> np.ndarray:
    """Give each cluster the id it has most right to.

    Greedy and one to one: of all (previous person, cluster) pairs, the largest weighted overlap first,
    then the oldest person. The largest part of a split person keeps its id; of merged persons, the
    larger one's id goes on.

    Parameters
    ----------
    labels : ndarray of int
        Cluster of each node.
    strength : ndarray of int
        How well each node is known, 0 to 2.
    held : Held
        The previous state.

    Returns
    -------
    ndarray of int
        Claimed person by cluster, -1 without a claim.
    """
    out = np.full(int(labels.max(initial=-1)) + 1, -1, dtype=np.int64)
    here = held.current & (held.node >= 0)
    if not here.any():
        return out
    node, top = held.node[here], len(out)
    since = np.full(len(held.persons), OPEN)
    np.minimum.at(since, held.person, held.start)
    pair, pairs = pd.factorize(held.person[here] * top + labels[node])
    weight = np.bincount(pair, weights=_WEIGHT[strength[node]]).astype(np.int64)
    person, label = pairs // top, pairs % top
    contested = (np.bincount(person)[person] > 1) | (np.bincount(label)[label] > 1)
    out[label[~contested]] = person[~contested]
    person, label, weight = person[contested], label[contested], weight[contested]
    order = np.lexsort((label, person, since[person], -weight))
    taken: set[int] = set()
    for who, where in zip(person[order].tolist(), label[order].tolist(), strict=True):
        if out[where] < 0 and who not in taken:
            out[where] = who
            taken.add(who)
    return out


def rank(
    labels: np.ndarray, strength: np.ndarray, known_from: np.ndarray, claimed: np.ndarray, held: Held
) -> np.ndarray:
    """Rank the nodes as founders: born under the id their cluster claims, then best known, then oldest."""
    born = held.born(len(labels))
    heir = (born >= 0) & (claimed[labels] == born)
    order = np.lexsort((known_from, -strength, ~heir))
    out = np.empty(len(labels), dtype=np.int64)
    out[order] = np.arange(len(labels))
    return out


def name(timeline: pd.DataFrame, labels: np.ndarray, claimed: np.ndarray, held: Held, run_id: str) -> Ids:
    """Give each lineage an id: claimed, the one its founder was born under, or new.

    Parameters
    ----------
    timeline : DataFrame
        ``node, founder, start, end``.
    labels : ndarray of int
        Final cluster of each node.
    claimed : ndarray of int
        Persons by cluster.
    held : Held
        The previous state.
    run_id : str
        Prefix of new ids: ``p<run_id>-<counter>``.
    """
    founder = timeline["founder"].to_numpy()
    founds = np.zeros(len(labels), dtype=bool)
    founds[founder] = True
    last = founder[timeline["end"].to_numpy() == OPEN]
    by_founder = np.full(len(labels), -1, dtype=np.int64)
    by_founder[last] = claimed[labels[last]]
    born = held.born(len(labels))
    taken = np.zeros(len(held.persons) + 1, dtype=bool)
    taken[claimed[claimed >= 0]] = True
    free = np.flatnonzero(founds & (by_founder < 0) & (born >= 0) & ~taken[born])
    wanted = free[np.unique(born[free], return_index=True)[1]]
    by_founder[wanted] = born[wanted]
    missing = np.flatnonzero(founds & (by_founder < 0))
    first = _counter(held, run_id) + 1
    new = texts.numbered(f"p{run_id}-", first + np.arange(len(missing)))
    by_founder[missing] = len(held.persons) + np.arange(len(missing))
    return Ids(pa.concat_arrays([held.persons, new.cast(pa.large_string())]), by_founder)


def _counter(held: Held, run_id: str) -> int:
    """Return the highest counter a run has given, 0 when none."""
    prefix = f"p{run_id}-"
    known = pa.concat_arrays(
        [held.persons, pa.array({*held.aliases, *held.aliases.values()}, pa.large_string())]
    )
    tails = pc.utf8_slice_codeunits(known.filter(pc.starts_with(known, prefix)), len(prefix))
    counters = tails.filter(pc.match_substring_regex(tails, "^[0-9]{1,18}$")).cast(pa.int64())
    return pc.max(counters).as_py() or 0


def settle(timeline: pd.DataFrame, names: Ids, held: Held, run_id: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Record what changed in who is who, and where each retired id leads.

    Parameters
    ----------
    timeline, names, held, run_id
        As above.

    Returns
    -------
    (DataFrame, DataFrame)
        Events ``run_id, event, person_id, into_person_id, n_nodes`` (every id is ``created`` once and
        at most ``merged`` or ``retired`` once, so present persons = created - merged - retired over all
        runs; a ``split`` names the person that took a part), and aliases ``old_id, person_id, run_id``.
    """
    node, founder, end = (timeline[name].to_numpy() for name in ("node", "founder", "end"))
    now = end == OPEN
    of_node = np.full(len(names.by_founder), -1, dtype=np.int64)
    of_node[node[now]] = names.of(founder[now])
    n = len(names.texts)
    persons = np.bincount(of_node, minlength=n)
    before, retired_before = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    before[held.person] = retired_before[held.person] = True
    retired_before[held.person[held.current]] = False
    both = np.sort(founder * len(of_node) + node)
    both = both[np.diff(both, prepend=-1) != 0]
    size = np.bincount(both // max(len(of_node), 1), minlength=len(of_node))
    lineage = np.flatnonzero(size)
    person, into = names.of(lineage), of_node[lineage]
    fresh, past = ~before[person], persons[person] == 0
    parts = [_events("created", person[fresh], -1, size[lineage[fresh]])]
    over = fresh & past
    parts.append(_events("merged", person[over], into[over], size[lineage[over]]))
    told = names.texts.take(pa.array(np.r_[person[past], into[past]])).to_pylist()
    aliases = held.aliases | dict(zip(told[: int(past.sum())], told[int(past.sum()) :], strict=True))
    parts += _moves(held, of_node, persons, names, aliases)
    back = np.flatnonzero(retired_before & (persons > 0))
    parts.append(_events("restored", back, -1, persons[back]))
    return _event_table(pd.concat(parts, ignore_index=True), names, run_id), _final(
        aliases, persons, names, run_id
    )


_KINDS = ("created", "restored", "merged", "split", "retired")


def _events(kind: str, person: np.ndarray, into: np.ndarray | int, n: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"kind": _KINDS.index(kind), "person": person, "into": into, "n": n}, dtype=np.int64)


def _event_table(events: pd.DataFrame, names: Ids, run_id: str) -> pd.DataFrame:
    """Return the events by kind, then by person."""
    place = names.places()
    kind, person, into = (events[name].to_numpy() for name in ("kind", "person", "into"))
    order = np.lexsort((place[into], place[person], kind))
    return pd.DataFrame(
        {
            "run_id": texts.chosen([run_id], np.zeros(len(order), dtype=np.int64)),
            "event": texts.chosen(_KINDS, kind[order]),
            "person_id": texts.chosen(names.texts, person[order]),
            "into_person_id": texts.chosen(names.texts, into[order]),
            "n_nodes": events["n"].to_numpy(np.int64)[order],
        }
    )


def _moves(
    held: Held, of_node: np.ndarray, persons: np.ndarray, names: Ids, aliases: dict[str, str]
) -> list[pd.DataFrame]:
    """Return the merges, splits and retirements of the persons that were current; fill in the aliases."""
    here = held.current & (held.node >= 0)
    old, new = held.person[here], of_node[held.node[here]]
    moved = np.flatnonzero(old != new)
    parts = (
        pd.DataFrame({"old": old[moved], "new": new[moved]})
        .groupby(["old", "new"])
        .size()
        .reset_index(name="n")
    )
    order = np.lexsort((names.places()[parts["new"]], -parts["n"], parts["old"]))
    parts = parts.iloc[order]
    # The first part of a person that is no more takes its name; the others only took some of its records.
    heir = ~parts["old"].duplicated().to_numpy() & (persons[parts["old"].to_numpy()] == 0)
    over, split = parts[heir], parts[~heir]
    who = names.texts.take(pa.array(np.r_[over["old"], over["new"]].astype(np.int64))).to_pylist()
    aliases |= dict(zip(who[: len(over)], who[len(over) :], strict=True))
    was, last = np.zeros(len(persons), dtype=np.int64), np.full(len(persons), -1, dtype=np.int64)
    np.add.at(was, held.person[held.current], 1)
    np.maximum.at(last, held.person[held.current], held.node[held.current])
    gone = np.flatnonzero((was > 0) & (last < 0) & (persons == 0))
    return [
        _events("merged", over["old"].to_numpy(), over["new"].to_numpy(), over["n"].to_numpy()),
        _events("split", split["old"].to_numpy(), split["new"].to_numpy(), split["n"].to_numpy()),
        _events("retired", gone, -1, was[gone]),
    ]


def _final(aliases: dict[str, str], persons: np.ndarray, names: Ids, run_id: str) -> pd.DataFrame:
    """Return the aliases that lead to a present person, each in one step."""
    out = []
    present = set(names.texts.filter(pa.array(persons > 0)).to_pylist()) if aliases else set()
    for old in sorted(aliases):
        person, seen = aliases[old], {old}
        while person not in present and person in aliases and person not in seen:
            seen.add(person)
            person = aliases[person]
        if old not in present and person in present:
            out.append((old, person, run_id))
    return pd.DataFrame(out, columns=["old_id", "person_id", "run_id"], dtype="str")
