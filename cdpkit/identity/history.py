"""Membership in time: the persons of any past day are the components of the links known by then.

Two persons that meet become one: the better known keeps its lineage, the other's ends. A lineage is
named after the node that founded it; `cdpkit.identity.claim` gives it an id.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdpkit.identity.evidence import Evidence
from cdpkit.identity.graph import components, spanning
from cdpkit.identity.links import Rulebook

#: End of a membership that still holds.
OPEN = np.iinfo(np.int64).max


def in_time(members: pd.DataFrame, labels: np.ndarray) -> pd.DataFrame:
    """Link the members of one key and one person in the order they became known.

    The links that clustering used follow names, so an early pair may be joined only through a late
    record; these show the same evidence in time.

    Parameters
    ----------
    members : DataFrame
        ``group, node, known_at, rule``: who carried each key.
    labels : ndarray of int
        Final cluster of each node.

    Returns
    -------
    DataFrame
        ``left, right, rule, known_at``.
    """
    times = members["known_at"].to_numpy()
    if len(times) == 0 or (times == times[0]).all():
        # Where all became known at once, there is no order to show.
        return pd.DataFrame(dict.fromkeys(("left", "right", "rule", "known_at"), times[:0]))
    group = members["group"].to_numpy() * (len(labels) + 1) + labels[members["node"].to_numpy()]
    group = pd.factorize(group)[0]
    several = np.bincount(group)[group] > 2 if len(group) else np.zeros(0, dtype=bool)
    group, at = group[several], times[several]
    node, rule = members["node"].to_numpy()[several], members["rule"].to_numpy()[several]
    order = np.lexsort((node, at, group))
    group, node, at, rule = group[order], node[order], at[order], rule[order]
    same = group[1:] == group[:-1]
    a, b = node[:-1][same], node[1:][same]
    return pd.DataFrame(
        {
            "left": np.minimum(a, b),
            "right": np.maximum(a, b),
            "rule": rule[1:][same],
            "known_at": np.maximum(at[:-1], at[1:])[same],
        }
    )


def replay(known_from: np.ndarray, links: pd.DataFrame, rank: np.ndarray) -> pd.DataFrame:
    """Join nodes in the order their links became known.

    Parameters
    ----------
    known_from : ndarray of int
        When each node became known, in microseconds.
    links : DataFrame
        Accepted links: ``left, right, known_at``.
    rank : ndarray of int
        Distinct ranks of the nodes; of two lineages, the founder with the lower one goes on.

    Returns
    -------
    DataFrame
        ``node, founder, start, end``: intervals of each node, none empty, the last with ``end = OPEN``.

    Notes
    -----
    Components do not touch: the first join of each is done at once, then the second of each, and so on.
    """
    n = len(known_from)
    left, right, at = (links[name].to_numpy(np.int64) for name in ("left", "right", "known_at"))
    founder, start = np.arange(n), known_from.copy()
    late = at > np.minimum(known_from[left], known_from[right])
    if not late.any():
        # Nobody was known before the links: there is no past to show.
        label = components(n, left, right)
        first = np.argsort(rank)[::-1]
        founders = np.empty(n, dtype=np.int64)
        founders[label[first]] = first
        node = np.arange(n)
        return pd.DataFrame({"node": node, "founder": founders[label], "start": start, "end": OPEN})
    order = np.lexsort((right, left, at))
    left, right, at = left[order], right[order], at[order]
    tree = np.sort(spanning(n, left, right, np.ones(len(left), dtype=bool)))
    left, right, at = left[tree], right[tree], at[tree]
    label = components(n, left, right)
    # Joins of each component, the most first: those with a k-th join are then the first ones.
    joins = np.bincount(label[left], minlength=int(label.max(initial=0)) + 1)
    place = np.empty(len(joins), dtype=np.int64)
    place[np.argsort(-joins, kind="stable")] = np.arange(len(joins))
    label, joins = place[label], np.sort(joins)[::-1]
    step = np.argsort(label[left], kind="stable")
    begin = np.cumsum(joins) - joins
    node = np.argsort(label, kind="stable")
    size = np.cumsum(np.bincount(label, minlength=len(joins)))
    rows = []
    for k in range(int(joins.max(initial=0))):
        active = int(np.searchsorted(-joins, -k, side="left"))
        now = step[begin[:active] + k]
        a, b = founder[left[now]], founder[right[now]]
        a, b = np.where(rank[b] < rank[a], b, a), np.where(rank[b] < rank[a], a, b)
        near = node[: size[active - 1]]
        near = near[founder[near] == b[label[near]]]
        of = label[near]
        past = start[near] < at[now][of]
        rows.append(np.stack([near[past], b[of[past]], start[near[past]], at[now][of[past]]]))
        start[near[past]] = at[now][of[past]]
        founder[near] = a[of]
    rows.append(np.stack([np.arange(n), founder, start, np.full(n, OPEN)]))
    found = np.concatenate(rows, axis=1)
    if len(rows) > 1:
        found = found[:, np.lexsort((found[2], found[0]))]
    return pd.DataFrame(dict(zip(("node", "founder", "start", "end"), found, strict=True)))


def sign_ins(evidence: Evidence, members: pd.DataFrame, book: Rulebook) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep, of an anonymous node signed in to several accounts, the last sign-in only.

    A shared device is no proof that two accounts are one person.

    Parameters
    ----------
    evidence : Evidence
        Records as nodes and keys.
    members : DataFrame
        ``group, node, code, known_at, rule``: who carried each key.
    book : Rulebook
        The rules by number.

    Returns
    -------
    (DataFrame, DataFrame)
        The members to link; and the earlier stays ``node, group, start, end, known_at`` of the others.
    """
    signed_in = (members["rule"] == book.code("account_id")).to_numpy()
    account = members[signed_in]
    accounts = np.bincount(account["node"], minlength=len(evidence.nodes))
    several = np.flatnonzero((accounts > 1) & (evidence.strength() < 2))
    shared = account[account["node"].isin(several)]
    if shared.empty:
        return members, pd.DataFrame(columns=["node", "group", "start", "end", "known_at"], dtype=int)
    codes = evidence.keys["account_id"].codes.astype(np.int64)
    use = (codes >= 0) & np.isin(evidence.node, several)
    log = pd.DataFrame({"node": evidence.node[use], "code": codes[use], "start": evidence.known_at[use]})
    log = log.merge(shared[["node", "code", "group", "known_at"]], on=["node", "code"])
    # Two accounts at one instant: the one in alphabetical order is the last.
    log = log.sort_values(["node", "start", "code"], ascending=[True, True, False], ignore_index=True)
    moved = (log["node"] != log["node"].shift()) | (log["code"] != log["code"].shift())
    stays = log[moved].reset_index(drop=True)
    last_of_node = stays["node"] != stays["node"].shift(-1)
    stays["end"] = stays["start"].shift(-1).where(~last_of_node, OPEN).astype(np.int64)
    final = stays.loc[last_of_node, ["node", "group"]].assign(final=True)
    stays = stays.merge(final, on=["node", "group"], how="left")
    earlier = stays[stays["final"].isna() & (stays["start"] < stays["end"])].drop(columns=["final", "code"])
    kept = members.merge(final, on=["node", "group"], how="left")["final"].notna().to_numpy()
    drop = signed_in & members["node"].isin(several).to_numpy() & ~kept
    return members[~drop].reset_index(drop=True), earlier.reset_index(drop=True)


def anchors(stays: pd.DataFrame, members: pd.DataFrame, book: Rulebook) -> pd.DataFrame:
    """Return the stays with ``anchor``: the first node known under the account, others than the shared."""
    if stays.empty:
        return stays.assign(anchor=stays["node"], anchor_at=stays["known_at"])
    account = members[(members["rule"] == book.code("account_id")) & ~members["node"].isin(stays["node"])]
    first = account.sort_values(["group", "known_at", "node"]).drop_duplicates("group")
    first = first[["group", "node", "known_at"]].rename(columns={"node": "anchor", "known_at": "anchor_at"})
    return stays.merge(first, on="group")


def splice(timeline: pd.DataFrame, stays: pd.DataFrame, links: pd.DataFrame, book: Rulebook) -> pd.DataFrame:
    """Put the earlier stays of shared anonymous nodes into the timeline.

    Parameters
    ----------
    timeline : DataFrame
        ``node, founder, start, end``.
    stays : DataFrame
        ``node, anchor, anchor_at, start, end``: from a sign-in to the next, the node belongs to the
        anchor's person.
    links : DataFrame
        Accepted links ``left, right, rule``; a node tied by anything but sign-ins is left alone, for it
        would carry others along.
    book : Rulebook
        The rules by number.

    Returns
    -------
    DataFrame
        ``node, founder, start, end``.
    """
    other = links[links["rule"] != book.code("account_id")]
    stays = stays[~stays["node"].isin(other["left"]) & ~stays["node"].isin(other["right"])]
    if stays.empty:
        return timeline
    stays = stays.assign(start=np.maximum(stays["start"], stays["anchor_at"]))
    stays = stays[stays["start"] < stays["end"]]
    host = stays.merge(timeline, left_on="anchor", right_on="node", suffixes=("", "_host"))
    host = host.assign(
        start=np.maximum(host["start"], host["start_host"]), end=np.minimum(host["end"], host["end_host"])
    )
    host = host.loc[host["start"] < host["end"], ["node", "founder", "start", "end"]]
    guests = timeline["node"].isin(host["node"])
    rows = list(host.itertuples(index=False, name=None))
    visits: dict[int, list[tuple[int, int]]] = {}
    for node, _, start, end in sorted(rows, key=lambda row: row[2]):
        visits.setdefault(node, []).append((start, end))
    for node, founder, begin, until in timeline[guests].itertuples(index=False, name=None):
        for start, end in visits[node]:
            if begin < min(start, until):
                rows.append((node, founder, begin, min(start, until)))
            begin = max(begin, end)
        if begin < until:
            rows.append((node, founder, begin, until))
    spliced = pd.DataFrame(rows, columns=list(timeline.columns))
    out = pd.concat([timeline[~guests], spliced], ignore_index=True)
    return out.sort_values(["node", "start"], ignore_index=True)
