"""Why two records are one person, or why not."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from cdpkit.errors import CdpkitError

_SHOWN = ["rule", "id_type", "weight", "state", "refused_by", "evidence", "known_at"]


@dataclass(frozen=True)
class Explanation:
    """What ties two records, and what was held against it.

    Attributes
    ----------
    one_person : bool
        Whether the two are one person now.
    person_a, person_b : str
        Their persons.
    path : DataFrame
        The strongest way from one to the other: ``from_source, from_record_id, to_source, to_record_id,
        rule, id_type, weight, state, refused_by, evidence, known_at``, one row a step; empty between
        two persons. Its weakest step is as strong as that of any way can be.
    refused : DataFrame
        The links refused between the two persons, with the reason, in the columns of
        `Resolution.links`; of one person, those refused among its records.
    """

    one_person: bool
    person_a: str
    person_b: str
    path: pd.DataFrame
    refused: pd.DataFrame


def explain(
    membership: pd.DataFrame, links: pd.DataFrame, a: tuple[str, str], b: tuple[str, str]
) -> Explanation:
    """Explain two records, each a (source, record id).

    Parameters
    ----------
    membership : DataFrame
        ``source, record_id, person_id``, as known now.
    links : DataFrame
        Links of `Resolution`.
    a, b : (str, str)
        The records.

    Raises
    ------
    CdpkitError
        When a record was not resolved.
    """
    person = pd.Series(
        membership["person_id"].to_numpy(),
        index=pd.MultiIndex.from_frame(membership[["source", "record_id"]]),
    )
    missing = [record for record in (a, b) if record not in person.index]
    if missing:
        raise CdpkitError(
            "an explained record must have been resolved",
            got=f"{len(missing)} unknown of source {', '.join(sorted({source for source, _ in missing}))}",
            do="Give a source and a record id of Resolution.nodes",
        )
    both = [str(person[a]), str(person[b])]
    sides = [
        pd.MultiIndex.from_frame(links[[f"{side}_source", f"{side}_record_id"]]) for side in ("left", "right")
    ]
    of_left, of_right = (person.reindex(side).to_numpy() for side in sides)
    one = both[0] == both[1]
    away = links["state"] == "refused"
    crossing = ((of_left == both[0]) & (of_right == both[1])) | ((of_left == both[1]) & (of_right == both[0]))
    inside = links[~away & (of_left == both[0]) & (of_right == both[0])]
    path = _strongest(inside, a, b) if one else _strongest(inside.head(0), a, a)
    return Explanation(one, both[0], both[1], path, links[away & crossing].reset_index(drop=True))


def _strongest(links: pd.DataFrame, a: tuple[str, str], b: tuple[str, str]) -> pd.DataFrame:
    """Return the path of the maximum-bottleneck spanning tree, step by step from `a` to `b`."""
    order = links.sort_values(
        ["weight", "left_source", "left_record_id", "right_source", "right_record_id", "rule"],
        ascending=[False, True, True, True, True, True],
    ).reset_index(drop=True)
    group: dict[tuple[str, str], tuple[str, str]] = {}
    near: dict[tuple[str, str], list[tuple[tuple[str, str], int]]] = {}

    def root(x: tuple[str, str]) -> tuple[str, str]:
        while group.get(x, x) != x:
            x = group[x]
        return x

    ends = order[["left_source", "left_record_id", "right_source", "right_record_id"]]
    for i, (s, r, s2, r2) in enumerate(ends.itertuples(index=False, name=None)):
        x, y = (s, r), (s2, r2)
        if root(x) != root(y):
            group[root(x)] = root(y)
            near.setdefault(x, []).append((y, i))
            near.setdefault(y, []).append((x, i))
    came: dict[tuple[str, str], tuple[tuple[str, str], int]] = {a: (a, -1)}
    front = [a]
    while front and b not in came:
        at = front.pop()
        for to, i in near.get(at, []):
            if to not in came:
                came[to] = (at, i)
                front.append(to)
    steps, at = [], b
    while at in came and at != a:
        before, i = came[at]
        steps.append((*before, *at, i))
        at = before
    steps.reverse()
    columns = ["from_source", "from_record_id", "to_source", "to_record_id"]
    out = pd.DataFrame([step[:4] for step in steps], columns=columns, dtype="str")
    said = order.iloc[[step[4] for step in steps]][_SHOWN].reset_index(drop=True)
    return pd.concat([out, said], axis=1)
