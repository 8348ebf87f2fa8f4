"""Membership in time: the persons of any past day are the components of the links known by then.

Two persons that meet become one: the better known keeps its lineage, the other's ends. A lineage is
named after the node that founded it; `cdpkit.identity.claim` gives it an id.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdpkit.identity.evidence import Evidence

#: End of a membership that still holds.
OPEN = np.iinfo(np.int64).max

#: Why the sign-in of a shared device to an earlier account does not link for ever.
LATER_SIGN_IN = "later sign-in"


def in_time(members: pd.DataFrame, labels: np.ndarray) -> pd.DataFrame:
    """Link the members of one key and one person in the order they became known.

    The links that clustering used follow names, so an early pair may be joined only through a late
    record; these show the same evidence in time.

    Parameters
    ----------
    members : DataFrame
        ``group, node, known_at, rule, id_type, weight``: who carried each key.
    labels : ndarray of int
        Final cluster of each node.

    Returns
    -------
    DataFrame
        ``left, right, rule, id_type, weight, known_at``.
    """
    group = members["group"].to_numpy() * (len(labels) + 1) + labels[members["node"].to_numpy()]
    group = np.unique(group, return_inverse=True)[1]
    several = np.bincount(group)[group] > 2 if len(group) else np.zeros(0, dtype=bool)
    members, group = members[several], group[several]
    order = np.lexsort((members["node"], members["known_at"], group))
    group, node, at = group[order], members["node"].to_numpy()[order], members["known_at"].to_numpy()[order]
    same = group[1:] == group[:-1]
    a, b = node[:-1][same], node[1:][same]
    out = members.iloc[order[1:][same]][["rule", "id_type", "weight"]].reset_index(drop=True)
    out.insert(0, "left", np.minimum(a, b))
    out.insert(1, "right", np.maximum(a, b))
    return out.assign(known_at=np.maximum(at[:-1], at[1:])[same])


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
    """
    linked = np.zeros(len(known_from), dtype=bool)
    linked[links["left"]] = linked[links["right"]] = True
    alone = np.flatnonzero(~linked)
    rows: list[tuple[int, int, int, int]] = []
    parent = {int(x): int(x) for x in np.flatnonzero(linked)}
    members, start = {x: [x] for x in parent}, {x: int(known_from[x]) for x in parent}
    order = np.lexsort((links["right"], links["left"], links["known_at"]))
    for a, b, at in links[["left", "right", "known_at"]].to_numpy(dtype=np.int64)[order].tolist():
        a, b = _root(parent, a), _root(parent, b)
        if a == b:
            continue
        if rank[b] < rank[a]:
            a, b = b, a
        for node in members[b]:
            if start[node] < at:
                rows.append((node, b, start[node], at))
                start[node] = at
        parent[b] = a
        members[a] += members.pop(b)
    rows += [(node, founder, start[node], OPEN) for founder, nodes in members.items() for node in nodes]
    joined = pd.DataFrame(rows, columns=["node", "founder", "start", "end"], dtype=np.int64)
    single = pd.DataFrame({"node": alone, "founder": alone, "start": known_from[alone], "end": OPEN})
    return pd.concat([joined, single], ignore_index=True).sort_values(["node", "start"], ignore_index=True)


def _root(parent: dict[int, int], x: int) -> int:
    """Return the founder of a node's person; paths are halved on the way."""
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x


def sign_ins(evidence: Evidence, members: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep, of an anonymous node signed in to several accounts, the last sign-in only.

    A shared device is no proof that two accounts are one person.

    Parameters
    ----------
    evidence : Evidence
        Records as nodes and keys.
    members : DataFrame
        ``group, node, code, known_at, rule, …``: who carried each key.

    Returns
    -------
    (DataFrame, DataFrame)
        The members to link; and the earlier stays ``node, group, start, end`` of the others, with the
        ``known_at, weight`` of their evidence.
    """
    account = members[members["rule"] == "account_id"]
    accounts = np.bincount(account["node"], minlength=len(evidence.nodes))
    several = np.flatnonzero((accounts > 1) & (evidence.strength() < 2))
    shared = account[account["node"].isin(several)]
    if shared.empty:
        return members, pd.DataFrame(
            columns=["node", "group", "start", "end", "known_at", "weight"], dtype=int
        )
    codes = evidence.keys["account_id"].codes.astype(np.int64)
    use = (codes >= 0) & np.isin(evidence.node, several)
    log = pd.DataFrame({"node": evidence.node[use], "code": codes[use], "start": evidence.known_at[use]})
    log = log.merge(shared[["node", "code", "group", "known_at", "weight"]], on=["node", "code"])
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
    drop = (members["rule"] == "account_id").to_numpy() & members["node"].isin(several).to_numpy() & ~kept
    return members[~drop].reset_index(drop=True), earlier.reset_index(drop=True)


def anchors(stays: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """Return the stays with ``anchor``: the first node known under the account, others than the shared."""
    account = members[(members["rule"] == "account_id") & ~members["node"].isin(stays["node"])]
    first = account.sort_values(["group", "known_at", "node"]).drop_duplicates("group")
    first = first[["group", "node", "known_at"]].rename(columns={"node": "anchor", "known_at": "anchor_at"})
    return stays.merge(first, on="group")


def splice(timeline: pd.DataFrame, stays: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
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

    Returns
    -------
    DataFrame
        ``node, founder, start, end``.
    """
    other = links[links["rule"] != "account_id"]
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
