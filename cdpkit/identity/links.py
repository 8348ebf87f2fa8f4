"""Exact-key links: equal identifiers, and equal combinations of name, birth date and address.

The members of one key are chained in (first name, birth date) order, so that records of one person
are neighbours and a refused link between two persons costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdpkit.identity.evidence import Evidence
from cdpkit.identity.hygiene import Hygiene, IdentifierType, assess
from cdpkit.identity.validity import alive
from cdpkit.normalise import Keys

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
#: Strength of a person's decision, above any evidence.
DECISION_WEIGHT = 100.0


@dataclass(frozen=True)
class Rulebook:
    """The rules that link, in alphabetical order: a rule is its position.

    Parameters
    ----------
    names : tuple of str
        Rules.
    id_types : tuple of (str or None)
        The identifier type a rule compares, if it is one.
    weights : ndarray of float
        Strength of a link, in log2 odds; a scored pair has its own.
    """

    names: tuple[str, ...]
    id_types: tuple[str | None, ...]
    weights: np.ndarray

    @classmethod
    def of(cls, types: Mapping[str, IdentifierType]) -> Rulebook:
        """Return the rules under some identifier types."""
        rules: dict[str, tuple[str | None, float]] = {k: (k, one.weight) for k, one in types.items()}
        rules |= {name: (None, weight) for name, (_, weight) in COMBINATIONS.items()}
        rules |= {
            "email alias": ("email", ALIAS_WEIGHT),
            "decision": (None, DECISION_WEIGHT),
            "scored": (None, 0.0),
        }
        names = tuple(sorted(rules))
        return cls(names, tuple(rules[n][0] for n in names), np.array([rules[n][1] for n in names]))

    def code(self, name: str) -> int:
        """Return the position of a rule, -1 when there is none of that name."""
        return self.names.index(name) if name in self.names else -1


@dataclass(frozen=True)
class _Seen:
    """Which node carries which key since when: each pair of node and code once."""

    node: np.ndarray
    code: np.ndarray
    known_at: np.ndarray

    def where(self, kept: np.ndarray) -> _Seen:
        """Return some of the rows."""
        return _Seen(self.node[kept], self.code[kept], self.known_at[kept])


def exact(
    evidence: Evidence, rules: Hygiene, book: Rulebook, at: object = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find every exact-key link and judge every identifier.

    Parameters
    ----------
    evidence : Evidence
        Records as nodes and keys.
    rules : Hygiene
        What may link.
    book : Rulebook
        The rules by number.
    at : timestamp-like, optional
        The day of the resolution: what has expired by then links no more.

    Returns
    -------
    (DataFrame, DataFrame)
        Candidates ``group, node, code, known_at, rule`` (a group's members, chained later; ``account_id``
        whole, of the others those in company) and the status of each identifier (see
        `cdpkit.identity.hygiene.assess`).
    """
    usable, status = _usable(evidence, rules, at)
    found: dict[str, _Seen] = {kind: usable[kind] for kind in rules.types if kind in usable}
    if "email" in usable:
        found["email alias"] = _mailboxes(usable["any_email"], evidence.mailboxes)
    made: dict[tuple[str, ...], _Seen] = {}
    for rule, (attributes, _) in COMBINATIONS.items():
        combined = _combined(usable, attributes, made, len(evidence.nodes))
        size = np.bincount(combined.code)
        filler = size[size > MAX_COMBINED]
        if len(filler):
            status.append(_filler(rule, filler))
        found[rule] = combined.where(size[combined.code] <= MAX_COMBINED)
    kinds = list(found)
    each = [len(found[kind].node) for kind in kinds]
    members = pd.DataFrame(
        {
            "node": _joined([found[kind].node for kind in kinds]),
            "code": _joined([found[kind].code for kind in kinds]),
            "known_at": _joined([found[kind].known_at for kind in kinds]),
            "rule": np.repeat(np.array([book.code(kind) for kind in kinds], dtype=np.int64), each),
        }
    )
    tops = np.array([int(found[kind].code.max(initial=-1)) + 1 for kind in kinds], dtype=np.int64)
    offsets = np.cumsum(tops) - tops
    members.insert(0, "group", members["code"].to_numpy() + np.repeat(offsets, each))
    statuses = pd.concat(status, ignore_index=True) if status else pd.DataFrame(columns=_STATUS)
    return members, statuses


_STATUS = ["id_type", "value", "n_records", "n_names", "status", "reason"]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _filler(rule: str, sizes: np.ndarray) -> pd.DataFrame:
    """Return the status of combinations that too many records carry."""
    return pd.DataFrame(
        {
            "id_type": rule,
            "value": [f"combination {i}" for i in range(len(sizes))],
            "n_records": sizes,
            "n_names": 1,
            "status": "shared",
            "reason": f"more than {MAX_COMBINED} records",
        }
    ).astype(dict.fromkeys(("id_type", "value", "status", "reason"), "str"))


def _usable(evidence: Evidence, rules: Hygiene, at: object) -> tuple[dict[str, _Seen], list[pd.DataFrame]]:
    """Return the keys that may link, by attribute, and the statuses of all."""
    linkable = evidence.nodes["may_link"].to_numpy()
    everyone = bool(linkable.all())

    def seen(name: str) -> _Seen:
        frame = evidence.seen(name)
        if name in rules.types:
            frame = frame[alive(frame["last_at"].to_numpy(), rules.types[name], at)]
        found = _Seen(*(frame[c].to_numpy() for c in ("node", "code", "known_at")))
        return found if everyone else found.where(linkable[found.node])

    usable: dict[str, _Seen] = {}
    for name in ("first_name", "last_name", "birth_date", "street", "postcode"):
        if name in evidence.keys:
            found = seen(name)
            usable[name] = found.where(evidence.good(name)[found.code])
    if "birth_date" in usable:
        dates = evidence.keys["birth_date"].categories
        whole = ~np.asarray(dates.str.endswith("-01-01"), dtype=bool)
        usable["full_birth_date"] = usable["birth_date"].where(whole[usable["birth_date"].code])
    first_name = np.full(len(evidence.nodes), -1, dtype=np.int64)
    if "first_name" in usable:
        latest = evidence.latest("first_name")
        first_name = np.where(evidence.good("first_name")[latest], latest, -1)
    status = []
    for kind in rules.types:
        if kind not in evidence.keys:
            continue
        found = seen(kind)
        judged, state = assess(
            pd.DataFrame({"node": found.node, "code": found.code}, copy=False),
            kind,
            evidence.keys[kind].categories,
            evidence.verdicts[kind],
            first_name,
            rules,
        )
        records = judged["n_records"].to_numpy()
        status.append(judged[records > 0] if (records == 0).any() else judged)
        # One record by itself links nobody; but the last sign-in of a device counts all accounts.
        company = (records > 1) | (kind == "account_id")
        usable[f"any_{kind}"] = found.where((state == 0)[found.code])
        usable[kind] = found.where((company & (state == 0))[found.code])
        usable[f"shared_{kind}"] = found.where(((state == 1) & (records <= MAX_SUPPORT))[found.code])
    return usable, status


def _mailboxes(emails: _Seen, mailboxes: Keys) -> _Seen:
    """Group the addresses of one mailbox, where it is written in more than one way."""
    box = mailboxes.codes
    used = np.zeros(len(box), dtype=bool)
    used[emails.code] = True
    spellings = np.bincount(box[used], minlength=len(mailboxes.categories))
    several = emails.where(spellings[box[emails.code]] > 1)
    code = box[several.code]
    order = np.lexsort((several.known_at, code, several.node))
    out = _Seen(several.node[order], code[order], several.known_at[order])
    new = np.ones(len(order), dtype=bool)
    new[1:] = (out.node[1:] != out.node[:-1]) | (out.code[1:] != out.code[:-1])
    return out.where(new)


def _combined(
    usable: Mapping[str, _Seen], attributes: tuple[str, ...], made: dict[tuple[str, ...], _Seen], n: int
) -> _Seen:
    """Return the combined keys that several nodes carry: known when the last part is."""
    if any(name not in usable for name in attributes):
        return _Seen(*(np.zeros(0, dtype=np.int64) for _ in range(3)))
    if attributes not in made:
        last = usable[attributes[-1]]
        before = attributes[:-1]
        made[attributes] = _both(_combined(usable, before, made, n), last, n) if before else last
    return made[attributes]


def _both(a: _Seen, b: _Seen, n: int) -> _Seen:
    """Return the pairs of keys of each node, where several nodes carry the pair; `b` is in node order."""
    count = np.bincount(b.node, minlength=n)
    begin = np.cumsum(count) - count
    times = count[a.node]
    of_a = np.repeat(np.arange(len(a.node)), times)
    of_b = np.repeat(begin[a.node] - (np.cumsum(times) - times), times) + np.arange(len(of_a))
    pair = a.code[of_a] * (int(b.code.max(initial=0)) + 1) + b.code[of_b]
    order = np.argsort(pair)
    pair = pair[order]
    new = np.ones(len(pair), dtype=bool)
    new[1:] = pair[1:] != pair[:-1]
    company = ~new
    company[:-1] |= ~new[1:]
    kept = order[company]
    node = a.node[of_a[kept]]
    code = np.cumsum(new[company]) - 1
    return _Seen(node, code, np.maximum(a.known_at[of_a[kept]], b.known_at[of_b[kept]]))


def chain(members: pd.DataFrame, rank: np.ndarray) -> pd.DataFrame:
    """Link the neighbours of each group.

    Parameters
    ----------
    members : DataFrame
        ``group, node, known_at, rule``.
    rank : ndarray of int
        Place of each node in the order in which a group's members are chained.

    Returns
    -------
    DataFrame
        ``left, right, rule, known_at``: one row a pair and rule, the earliest known; ``left < right``.
    """
    n = max(len(rank), 1)
    index = np.argsort(members["group"].to_numpy() * n + rank[members["node"].to_numpy()])
    group, node = members["group"].to_numpy()[index], members["node"].to_numpy()[index]
    at, rule = members["known_at"].to_numpy()[index], members["rule"].to_numpy()[index]
    same = (group[1:] == group[:-1]) & (node[1:] != node[:-1])
    a, b = node[:-1][same], node[1:][same]
    links = pd.DataFrame(
        {
            "left": np.minimum(a, b),
            "right": np.maximum(a, b),
            "rule": rule[1:][same],
            "known_at": np.maximum(at[:-1][same], at[1:][same]),
        }
    )
    return earliest(links, n)


def earliest(links: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return each pair and rule once, the earliest known, in the order of pair and rule."""
    key = pair_and_rule(links, n)
    order = np.lexsort((links["known_at"].to_numpy(), key))
    key = key[order]
    return links.iloc[order[np.diff(key, prepend=-1) != 0]].reset_index(drop=True)


def pair_and_rule(links: pd.DataFrame, n: int) -> np.ndarray:
    """Return one number for each left, right and rule."""
    left, right, rule = (links[name].to_numpy(np.int64) for name in ("left", "right", "rule"))
    return (left * n + right) * _MOST_RULES + rule


#: More rules than a base has.
_MOST_RULES = 64


def name_rank(evidence: Evidence) -> np.ndarray:
    """Return the place of each node by first name, birth date (unknown ones last) and number."""
    codes = []
    for attribute in ("birth_date", "first_name"):
        latest = evidence.latest(attribute)
        codes.append(np.where(latest < 0, np.iinfo(np.int32).max, latest))
    out = np.empty(len(evidence.nodes), dtype=np.int64)
    out[np.lexsort(codes)] = np.arange(len(out))
    return out
