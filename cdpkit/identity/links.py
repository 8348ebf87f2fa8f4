"""Exact-key links: equal identifiers, and equal combinations of name, birth date and address.

The members of one key are chained in (first name, birth date) order, so that records of one person
are neighbours and a refused link between two persons costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cdpkit.identity.evidence import Evidence
from cdpkit.identity.hygiene import Hygiene, assess
from cdpkit.normalise import email_alias_key

#: Combinations that link, with their strength in log2 odds. A birth date on 1 January counts only
#: beside a postcode: many systems write it for "only the year is known".
COMBINATIONS: dict[str, tuple[tuple[str, ...], float]] = {
    "name + birth date + postcode": (("first_name", "last_name", "birth_date", "postcode"), 14.0),
    "name + birth date": (("first_name", "last_name", "full_birth_date"), 12.0),
    "name + address": (("first_name", "last_name", "street", "postcode"), 11.0),
    "name + phone, shared": (("first_name", "last_name", "shared_phone"), 10.0),
    "name + email, shared": (("first_name", "last_name", "shared_email"), 10.0),
    "first name + birth date + postcode": (("first_name", "full_birth_date", "postcode"), 9.0),
    "last name + birth date + postcode": (("last_name", "full_birth_date", "postcode"), 7.0),
    "birth date + address": (("full_birth_date", "street", "postcode"), 7.0),
}
#: A combination on more records than this is filler, not a person.
MAX_COMBINED = 50
#: A shared e-mail or phone supports an equal name only up to this many records: a family, not a shop.
MAX_SUPPORT = 60
#: Same mailbox written in two ways: weaker than the exact address.
ALIAS_WEIGHT = 9.0


def exact(evidence: Evidence, rules: Hygiene) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find every exact-key link and judge every identifier.

    Parameters
    ----------
    evidence : Evidence
        Records as nodes and keys.
    rules : Hygiene
        What may link.

    Returns
    -------
    (DataFrame, DataFrame)
        Candidates ``group, node, known_at, rule, id_type, weight`` (a group's members, chained later)
        and the status of each identifier (see `cdpkit.identity.hygiene.assess`).
    """
    usable, status = _usable(evidence, rules)
    parts: list[pd.DataFrame] = []
    for kind, cap in rules.types.items():
        if kind in usable:
            parts.append(usable[kind].assign(rule=kind, id_type=kind, weight=cap.weight))
    if "email" in usable:
        parts.append(_mailboxes(usable["email"], evidence.keys["email"].categories))
    for rule, (attributes, weight) in COMBINATIONS.items():
        members = _combine([usable.get(name) for name in attributes])
        size = members.groupby("code")["node"].transform("size") if len(members) else members["node"]
        filler = members[size > MAX_COMBINED]
        if len(filler):
            counts = filler.groupby("code").size()
            status.append(
                pd.DataFrame(
                    {
                        "id_type": rule,
                        "value": [f"combination {i}" for i in range(len(counts))],
                        "n_records": counts.to_numpy(),
                        "n_names": 1,
                        "status": "shared",
                        "reason": f"more than {MAX_COMBINED} records",
                    }
                )
            )
        parts.append(members[size <= MAX_COMBINED].assign(rule=rule, id_type=None, weight=weight))
    members = pd.concat(parts, ignore_index=True) if parts else _combine([None])
    members["group"] = members.groupby(["rule", "code"], sort=True).ngroup() if len(members) else 0
    statuses = pd.concat(status, ignore_index=True) if status else pd.DataFrame(columns=_STATUS)
    return members, statuses


_STATUS = ["id_type", "value", "n_records", "n_names", "status", "reason"]


def _usable(evidence: Evidence, rules: Hygiene) -> tuple[dict[str, pd.DataFrame], list[pd.DataFrame]]:
    """Return ``node, code, known_at`` of the keys that may link, by attribute, and all statuses."""
    linkable = evidence.nodes["may_link"].to_numpy()

    def seen(name: str) -> pd.DataFrame:
        frame = evidence.seen(name)[["node", "code", "known_at"]]
        return frame[linkable[frame["node"].to_numpy()]]

    usable: dict[str, pd.DataFrame] = {}
    for name in ("first_name", "last_name", "birth_date", "street", "postcode"):
        if name in evidence.keys:
            frame = seen(name)
            usable[name] = frame[evidence.good(name)[frame["code"].to_numpy()]]
    if "birth_date" in usable:
        frame = usable["birth_date"]
        dates = evidence.keys["birth_date"].categories
        whole = np.array([not date.endswith("-01-01") for date in dates], dtype=bool)
        usable["full_birth_date"] = frame[whole[frame["code"].to_numpy()]]
    first_name = np.full(len(evidence.nodes), -1, dtype=np.int64)
    if "first_name" in usable:
        latest = evidence.latest("first_name")
        first_name = np.where(evidence.good("first_name")[latest], latest, -1)
    status = []
    for kind in rules.types:
        if kind not in evidence.keys:
            continue
        frame = seen(kind)
        judged = assess(
            frame, kind, evidence.keys[kind].categories, evidence.verdicts[kind], first_name, rules
        )
        judged = judged[judged["n_records"] > 0] if not linkable.all() else judged
        status.append(judged)
        state = pd.Series("", index=range(len(evidence.keys[kind].categories))).astype(object)
        state[judged.index] = judged["status"].to_numpy(dtype=object)
        of_row = state.to_numpy()[frame["code"].to_numpy()]
        usable[kind] = frame[of_row == "ok"]
        counts = np.bincount(frame["code"], minlength=len(state))[frame["code"].to_numpy()]
        usable[f"shared_{kind}"] = frame[(of_row == "shared") & (counts <= MAX_SUPPORT)]
    return usable, status


def _mailboxes(emails: pd.DataFrame, values: pd.Index) -> pd.DataFrame:
    """Group the addresses of one mailbox, where it is written in more than one way."""
    code, boxes = pd.factorize(
        pd.Series([email_alias_key(value) for value in values], dtype="str"), sort=True
    )
    spellings = np.bincount(code[np.unique(emails["code"])], minlength=len(boxes))
    box = code[emails["code"].to_numpy()]
    several = spellings[box] > 1
    frame = emails.assign(code=box)[several]
    frame = frame.groupby(["node", "code"], as_index=False)["known_at"].min()
    return frame.assign(rule="email alias", id_type="email", weight=ALIAS_WEIGHT)


def _combine(parts: Sequence[pd.DataFrame | None]) -> pd.DataFrame:
    """Return ``node, code, known_at`` of the combined keys: known when the last part is."""
    empty = pd.DataFrame({c: np.array([], dtype=np.int64) for c in ("node", "code", "known_at")})
    given = [part for part in parts if part is not None and not part.empty]
    if len(given) < len(parts):
        return empty
    out = given[0]
    for part in given[1:]:
        out = out.merge(part, on="node", suffixes=("", "_2"))
        if out.empty:
            return empty
        mixed = out["code"].to_numpy() * (int(out["code_2"].max()) + 1) + out["code_2"].to_numpy()
        out = pd.DataFrame(
            {
                "node": out["node"],
                "code": np.unique(mixed, return_inverse=True)[1],
                "known_at": np.maximum(out["known_at"], out["known_at_2"]),
            }
        )
    return out  # type: ignore[return-value]


def chain(members: pd.DataFrame, order: Sequence[np.ndarray]) -> pd.DataFrame:
    """Link the neighbours of each group.

    Parameters
    ----------
    members : DataFrame
        ``group, node, known_at, rule, id_type, weight``.
    order : sequence of ndarray
        Values by row of `members`, most important first, that put a group's members in order.

    Returns
    -------
    DataFrame
        ``left, right, rule, id_type, weight, known_at``: one row a pair and rule, the earliest known;
        ``left < right``.
    """
    index = np.lexsort((members["node"].to_numpy(), *reversed(list(order)), members["group"].to_numpy()))
    group, node = members["group"].to_numpy()[index], members["node"].to_numpy()[index]
    at = members["known_at"].to_numpy()[index]
    same = (group[1:] == group[:-1]) & (node[1:] != node[:-1])
    a, b = node[:-1][same], node[1:][same]
    kept = members.iloc[index[1:][same]]
    links = pd.DataFrame(
        {
            "left": np.minimum(a, b),
            "right": np.maximum(a, b),
            "rule": kept["rule"].to_numpy(),
            "id_type": kept["id_type"].to_numpy(),
            "weight": kept["weight"].to_numpy(dtype=float),
            "known_at": np.maximum(at[:-1][same], at[1:][same]),
            "group": group[1:][same],
        }
    )
    return links.sort_values(["left", "right", "rule", "known_at", "group"]).drop_duplicates(
        ["left", "right", "rule"]
    )


def name_order(evidence: Evidence, members: pd.DataFrame) -> list[np.ndarray]:
    """Return the (first name, birth date) of each member, unknown ones last."""
    out = []
    for attribute in ("first_name", "birth_date"):
        codes = evidence.latest(attribute)[members["node"].to_numpy()]
        out.append(np.where(codes < 0, np.iinfo(np.int64).max, codes))
    return out
