"""Stable ids: a cluster claims the id that most of its records had; the rest get new ones.

Ids are opaque, never made from the data. Identical input gives identical ids and no event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdpkit.identity.evidence import microseconds
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
    rows : DataFrame
        ``person_id, node, start, current``; node is -1 for a record that is gone.
    aliases : dict of str to str
        Retired id to the person that took over.
    """

    rows: pd.DataFrame
    aliases: dict[str, str]

    @classmethod
    def of(cls, previous: Previous | None, nodes: pd.DataFrame) -> Held:
        """Find the present nodes of a previous state."""
        if previous is None or previous.membership.empty:
            empty = {"person_id": pd.Series(dtype="str"), "node": pd.Series(dtype="int64")}
            return cls(
                pd.DataFrame(empty | {"start": pd.Series(dtype="int64"), "current": pd.Series(dtype=bool)}),
                {},
            )
        old = previous.membership
        keys = pd.MultiIndex.from_arrays([old["source"].astype("str"), old["record_id"].astype("str")])
        node = pd.MultiIndex.from_frame(nodes[["source", "record_id"]]).get_indexer(keys)
        rows = pd.DataFrame(
            {
                "person_id": old["person_id"].astype("str").to_numpy(),
                "node": node,
                "start": microseconds(old["known_from"]),
                "current": old["known_to"].isna().to_numpy(),
            }
        )
        rows = rows.sort_values(["node", "start", "person_id"], ignore_index=True)
        retired = previous.aliases
        aliases = {} if retired is None else dict(zip(retired["old_id"], retired["person_id"], strict=True))
        return cls(rows, aliases)

    def born(self) -> pd.DataFrame:
        """Return the first ``node, person_id`` of each present node."""
        return self.rows[self.rows["node"] >= 0].drop_duplicates("node")[["node", "person_id"]]


def claim(labels: np.ndarray, strength: np.ndarray, held: Held) -> pd.Series:
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
    Series of str
        Claimed ids by cluster; clusters without a claim are absent.
    """
    rows = held.rows[held.rows["current"] & (held.rows["node"] >= 0)]
    since = held.rows.groupby("person_id")["start"].min()
    node = rows["node"].to_numpy()
    frame = pd.DataFrame(
        {"person_id": rows["person_id"], "label": labels[node], "w": _WEIGHT[strength[node]]}
    )
    overlap = pd.DataFrame(frame.groupby(["person_id", "label"], as_index=False)["w"].sum())
    overlap["since"] = overlap["person_id"].map(since)
    overlap = overlap.sort_values(["w", "since", "person_id", "label"], ascending=[False, True, True, True])
    contested = overlap["person_id"].duplicated(keep=False) | overlap["label"].duplicated(keep=False)
    free = overlap[~contested]
    names, taken = dict(zip(free["label"], free["person_id"], strict=True)), set()
    for person, label in overlap.loc[contested, ["person_id", "label"]].itertuples(index=False):
        if label not in names and person not in taken:
            names[label] = person
            taken.add(person)
    return pd.Series(names, dtype="str")


def rank(
    labels: np.ndarray, strength: np.ndarray, known_from: np.ndarray, claimed: pd.Series, held: Held
) -> np.ndarray:
    """Rank the nodes as founders: born under the id their cluster claims, then best known, then oldest."""
    born = held.born()
    heir = np.zeros(len(labels), dtype=bool)
    node = born["node"].to_numpy()
    heir[node] = claimed.reindex(labels[node]).to_numpy() == born["person_id"].to_numpy()
    order = np.lexsort((np.arange(len(labels)), known_from, -strength, ~heir))
    out = np.empty(len(labels), dtype=np.int64)
    out[order] = np.arange(len(labels))
    return out


def name(
    timeline: pd.DataFrame, labels: np.ndarray, claimed: pd.Series, held: Held, run_id: str
) -> pd.Series:
    """Give each lineage an id: claimed, the one its founder was born under, or new.

    Parameters
    ----------
    timeline : DataFrame
        ``node, founder, start, end``.
    labels : ndarray of int
        Final cluster of each node.
    claimed : Series of str
        Ids by cluster.
    held : Held
        The previous state.
    run_id : str
        Prefix of new ids: ``p<run_id>-<counter>``.

    Returns
    -------
    Series of str
        Ids by founder.
    """
    founders = np.sort(timeline["founder"].unique())
    last = timeline.loc[timeline["end"] == OPEN, "founder"].unique()
    names = pd.Series(None, index=founders, dtype=object)
    final = claimed.reindex(labels[last])
    names.loc[last] = final.to_numpy(dtype=object)
    born = held.born().set_index("node")["person_id"].reindex(founders)
    free = names.isna().to_numpy() & born.notna().to_numpy() & ~born.isin(set(claimed)).to_numpy()
    wanted = born[free].drop_duplicates()
    names.loc[wanted.index] = wanted.to_numpy(dtype=object)
    missing = names.index[names.isna()]
    first = _counter({*held.rows["person_id"], *held.aliases, *held.aliases.values()}, run_id) + 1
    names.loc[missing] = [f"p{run_id}-{first + i}" for i in range(len(missing))]
    return names.astype("str")


def _counter(known: set[str], run_id: str) -> int:
    """Return the highest counter a run has given, 0 when none."""
    prefix = f"p{run_id}-"
    given = (person.removeprefix(prefix) for person in known if person.startswith(prefix))
    return max((int(tail) for tail in given if tail.isdigit()), default=0)


def settle(
    timeline: pd.DataFrame, labels: np.ndarray, names: pd.Series, held: Held, run_id: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Record what changed in who is who, and where each retired id leads.

    Parameters
    ----------
    timeline, labels, names, held, run_id
        As above; `names` are the ids by founder.

    Returns
    -------
    (DataFrame, DataFrame)
        Events ``run_id, event, person_id, into_person_id, n_nodes`` (every id is ``created`` once and
        at most ``merged`` or ``retired`` once, so present persons = created - merged - retired over all
        runs; a ``split`` names the person that took a part), and aliases ``old_id, person_id, run_id``.
    """
    now = timeline[timeline["end"] == OPEN]
    of_node = pd.Series(names.reindex(now["founder"]).to_numpy(), index=now["node"].to_numpy(), dtype="str")
    persons = of_node.value_counts()
    before = held.rows
    was = before[before["current"]]
    retired_before = set(before["person_id"]) - set(was["person_id"])
    size = timeline.groupby("founder")["node"].nunique().reindex(names.index)
    lineages = pd.DataFrame({"person": names, "into": of_node.reindex(names.index), "n": size})
    fresh = ~lineages["person"].isin(before["person_id"])
    past = ~lineages["person"].isin(persons.index)
    events: list[tuple[str, str, str | None, int]] = [
        ("created", person, None, n) for person, _, n in lineages[fresh].itertuples(index=False)
    ]
    events += [("merged", *row) for row in lineages[fresh & past].itertuples(index=False, name=None)]
    aliases = held.aliases | dict(zip(lineages["person"][past], lineages["into"][past], strict=True))
    events += _moves(was, of_node, set(persons.index), aliases)
    events += [("restored", p, None, int(persons[p])) for p in sorted(retired_before & set(persons.index))]
    events.sort(key=_by_kind)
    frame = pd.DataFrame(events, columns=["event", "person_id", "into_person_id", "n_nodes"])
    frame.insert(0, "run_id", run_id)
    text = ["run_id", "event", "person_id", "into_person_id"]
    return frame.astype(dict.fromkeys(text, "str") | {"n_nodes": "int64"}), _final(
        aliases, set(persons.index), run_id
    )


def _by_kind(event: tuple[str, str, str | None, int]) -> tuple:
    """Order events by kind, then by person."""
    kinds = ("created", "restored", "merged", "split", "retired")
    return kinds.index(event[0]), event[1], event[2] or ""


def _moves(was: pd.DataFrame, of_node: pd.Series, present: set[str], aliases: dict[str, str]) -> list[tuple]:
    """Return the merges, splits and retirements of the persons that were current; fill in the aliases."""
    here = was[was["node"] >= 0]
    moved = pd.DataFrame({"old": here["person_id"].to_numpy(), "new": of_node[here["node"]].to_numpy()})
    parts = moved.groupby(["old", "new"], as_index=False).size()
    parts = parts[(parts["old"] != parts["new"]) | parts["old"].duplicated(keep=False)]
    parts = parts.sort_values(["old", "size", "new"], ascending=[True, False, True])
    events: list[tuple[str, str, str | None, int]] = []
    merged: set[str] = set()
    for old, new, n in parts[parts["old"] != parts["new"]].itertuples(index=False):
        if old in present or old in merged:
            events.append(("split", old, new, int(n)))
        else:
            aliases[old] = new
            merged.add(old)
            events.append(("merged", old, new, int(n)))
    gone = was.groupby("person_id").agg(n=("node", "size"), last=("node", "max"))
    gone = gone[(gone["last"] < 0) & ~gone.index.isin(list(present))]
    return events + [("retired", old, None, int(n)) for old, n in gone["n"].items()]


def _final(aliases: dict[str, str], present: set[str], run_id: str) -> pd.DataFrame:
    """Return the aliases that lead to a present person, each in one step."""
    out = []
    for old in sorted(aliases):
        person, seen = aliases[old], {old}
        while person not in present and person in aliases and person not in seen:
            seen.add(person)
            person = aliases[person]
        if old not in present and person in present:
            out.append((old, person, run_id))
    return pd.DataFrame(out, columns=["old_id", "person_id", "run_id"], dtype="str")
