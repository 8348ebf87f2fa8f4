"""What is compared of two records, and in which degrees of agreement: Splink settings as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cdpkit.identity.evidence import Evidence
from cdpkit.normalise import Keys

#: Attributes that two records are compared on, in the order of the model.
FIELDS = (
    "first_name",
    "last_name",
    "birth_date",
    "national_id",
    "email",
    "phone",
    "street",
    "postcode",
    "city",
)
#: What is a person's own: the rest, a household shares.
OWN = ("first_name", "birth_date", "national_id")
#: Addresses are made of names: by level of the e-mail comparison (alike; two slips or another domain), how
#: many pairs of namesakes are at it.
NAMED_EMAILS = {1: 0.5, 2: 0.05}
#: An attribute on fewer records than this share, or this constant, teaches nothing.
MIN_FILLED = 0.02
#: Values whose frequency counts: agreeing on a rare name says more than on a usual one. None identifies.
FREQUENCIES = ("first_name", "last_name", "birth_date", "postcode", "city")

_SWAPPED = (
    "jaro_winkler_similarity(first_name_l, last_name_r) >= 0.88"
    " AND jaro_winkler_similarity(last_name_l, first_name_r) >= 0.88"
)


@dataclass(frozen=True)
class Representatives:
    """One comparable record for each group of nodes.

    Parameters
    ----------
    fields : dict of str to Keys
        One key a group, for each of `FIELDS` that the records carry; blocked and invalid values are
        missing.
    node : ndarray of int
        The node of each group that carries most of these values, the first of equals; -1 without any.
    known_at : ndarray of int
        When the last of these values became known, in microseconds.
    """

    fields: dict[str, Keys]
    node: np.ndarray
    known_at: np.ndarray


def representatives(
    evidence: Evidence, of_node: np.ndarray, n: int, shared: Mapping[str, np.ndarray]
) -> Representatives:
    """Choose the most frequent, then latest, value of each field of each group of nodes.

    Parameters
    ----------
    evidence : Evidence
        Records as nodes and keys.
    of_node : ndarray of int
        Group of each node, 0 to `n` - 1; -1 leaves a node out.
    n : int
        Number of groups.
    shared : mapping of str to ndarray of bool
        By identifier type and code: values carried by too many to say who somebody is.
    """
    out: dict[str, Keys] = {}
    since = np.full(n, np.iinfo(np.int64).min, dtype=np.int64)
    carried = np.zeros(len(of_node), dtype=np.int64)
    for name in FIELDS:
        if name not in evidence.keys:
            continue
        seen = evidence.seen(name)
        node, code = seen["node"].to_numpy(), seen["code"].to_numpy()
        kept = evidence.good(name)[code] & (of_node[node] >= 0)
        if name in shared:
            kept &= ~shared[name][code]
        node, code = node[kept], code[kept]
        first, last = seen["known_at"].to_numpy()[kept], seen["last_at"].to_numpy()[kept]
        chosen, known = _best(of_node[node], code, first, last, n)
        np.maximum(since, known, out=since)
        carried[node[code == chosen[of_node[node]]]] += 1
        categories = evidence.keys[name].categories
        if name == "email":
            chosen = np.append(evidence.mailboxes.codes, -1)[chosen]
            categories = evidence.mailboxes.categories
        out[name] = Keys(chosen, categories)
    inside = np.flatnonzero(of_node >= 0)
    order = inside[np.lexsort((-inside, carried[inside]))]
    node = np.full(n, -1, dtype=np.int64)
    node[of_node[order]] = order
    born = evidence.nodes["known_from"].to_numpy(dtype=np.int64)[node]
    return Representatives(out, node, np.maximum(since, born))


def _best(
    group: np.ndarray, code: np.ndarray, first: np.ndarray, last: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best code of each group, -1 without any, and when the group first had it."""
    chosen, known = np.full(n, -1, dtype=np.int64), np.full(n, np.iinfo(np.int64).min, dtype=np.int64)
    size = np.bincount(group, minlength=n)
    alone = size[group] == 1
    chosen[group[alone]], known[group[alone]] = code[alone], first[alone]
    group, code, first, last = group[~alone], code[~alone], first[~alone], last[~alone]
    order = np.argsort(group * (int(code.max(initial=0)) + 1) + code)
    group, code = group[order], code[order]
    new = np.ones(len(code), dtype=bool)
    new[1:] = (code[1:] != code[:-1]) | (group[1:] != group[:-1])
    start = np.flatnonzero(new)
    if len(start):
        count = np.diff(np.append(start, len(code)))
        latest = np.maximum.reduceat(last[order], start)
        earliest = np.minimum.reduceat(first[order], start)
        group, code = group[start], code[start]
        # Written worst first, so that the last write of a group is its best value; most have only one.
        several = np.bincount(group, minlength=n)[group] > 1
        rest = np.flatnonzero(several)
        best = np.append(np.flatnonzero(~several), rest[np.lexsort((-code[rest], latest[rest], count[rest]))])
        chosen[group[best]], known[group[best]] = code[best], earliest[best]
    return chosen, known


def usable(fields: Mapping[str, Keys], n: int) -> list[str]:
    """Return the fields that enough of `n` records carry, with more than one value."""
    enough = max(2, MIN_FILLED * n)
    out = []
    for name, key in fields.items():
        given = key.codes[key.codes >= 0]
        if len(given) >= enough and (given != given[0]).any():
            out.append(name)
    return out


def frequencies(fields: Mapping[str, Keys]) -> dict[str, dict[str, float]]:
    """Return the share of each value of `FREQUENCIES` among the records that have one."""
    out = {}
    for name in FREQUENCIES:
        if name in fields:
            key = fields[name]
            count = np.bincount(key.codes[key.codes >= 0], minlength=len(key.categories))
            share = (count / max(count.sum(), 1)).tolist()
            out[name] = {value: one for value, one in zip(key.categories, share, strict=True) if one > 0}
    return out


def _level(condition: str, label: str, frequency: str | None = None) -> dict:
    out: dict = {"sql_condition": condition, "label_for_charts": label}
    if frequency is not None:
        out |= {"tf_adjustment_column": frequency, "tf_adjustment_weight": 1.0}
    return out


def _null(condition: str) -> dict:
    return {"sql_condition": condition, "label_for_charts": "missing", "is_null_level": True}


def _missing(name: str) -> str:
    return f"{name}_l IS NULL OR {name}_r IS NULL"


def _slips(a: str, b: str, most: int) -> str:
    """Return the condition of at most so many slips, a swap of neighbours counted as one.

    That distance costs ten times the plain one, which is at most twice as long: it rules most pairs out,
    and lengths rule out most of the rest.
    """
    return (
        f"CASE WHEN abs(length({a}) - length({b})) > {most} THEN false"
        f" WHEN levenshtein({a}, {b}) <= {2 * most} THEN damerau_levenshtein({a}, {b}) <= {most}"
        " ELSE false END"
    )


def _name(name: str, both: bool) -> list[dict]:
    """Return the levels of a first or last name."""
    swapped = [_level(_SWAPPED, "names swapped")] if both else []
    short = (
        f"((length({name}_l) = 1 OR length({name}_r) = 1) AND {name}_l[1] = {name}_r[1])"
        f" OR (length({name}_l) > 2 AND starts_with({name}_r, {name}_l))"
        f" OR (length({name}_r) > 2 AND starts_with({name}_l, {name}_r))"
    )
    return [
        _null(_missing(name)),
        _level(f"{name}_l = {name}_r", "equal", name),
        *swapped,
        _level(
            f"jaro_winkler_similarity({name}_l, {name}_r) >= 0.92"
            f" OR greatest(length({name}_l), length({name}_r)) > 2 AND {_slips(f'{name}_l', f'{name}_r', 1)}",
            "one slip",
        ),
        _level(short, "shortened"),
        _level(f"jaro_winkler_similarity({name}_l, {name}_r) >= 0.8", "alike"),
        _level("ELSE", "different"),
    ]


def _birth_date() -> list[dict]:
    a, b = "birth_date_l", "birth_date_r"
    swapped = f"({a}[1:4] = {b}[1:4] AND {a}[6:7] = {b}[9:10] AND {a}[9:10] = {b}[6:7])"
    year = f"({a}[1:4] = {b}[1:4] AND ({a}[6:10] = '01-01' OR {b}[6:10] = '01-01'))"
    days = f"abs(date_diff('day', try_cast({a} AS DATE), try_cast({b} AS DATE)))"
    return [
        _null(_missing("birth_date")),
        _level(f"{a} = {b}", "equal", "birth_date"),
        _level(f"{_slips(a, b, 1)} OR {swapped}", "one slip"),
        _level(year, "only the year known"),
        _level(f"{days} <= 31 OR {_slips(a, b, 2)}", "two slips or a month apart"),
        _level(f"{days} <= 366", "a year apart"),
        _level("ELSE", "different"),
    ]


def _email() -> list[dict]:
    a, b = "split_part(email_l, '@', 1)", "split_part(email_r, '@', 1)"
    return [
        _null(_missing("email")),
        _level("email_l = email_r", "equal"),
        _level(f"{a} = {b} OR {_slips('email_l', 'email_r', 2)}", "two slips or another domain"),
        _level(f"jaro_winkler_similarity({a}, {b}) >= 0.88", "alike"),
        _level("ELSE", "different"),
    ]


def _number(name: str) -> list[dict]:
    return [
        _null(_missing(name)),
        _level(f"{name}_l = {name}_r", "equal"),
        _level(_slips(f"{name}_l", f"{name}_r", 1), "one slip"),
        _level(_slips(f"{name}_l", f"{name}_r", 2), "two slips"),
        _level("ELSE", "different"),
    ]


def _street() -> list[dict]:
    return [
        _null(_missing("street")),
        _level("street_l = street_r", "equal"),
        _level("jaro_winkler_similarity(street_l, street_r) >= 0.92", "one slip"),
        _level("jaro_winkler_similarity(street_l, street_r) >= 0.8", "alike"),
        _level("ELSE", "different"),
    ]


def _city() -> list[dict]:
    return [
        _null(_missing("city")),
        _level("city_l = city_r", "equal", "city"),
        _level(
            "jaro_winkler_similarity(city_l, city_r) >= 0.9"
            f" OR greatest(length(city_l), length(city_r)) > 4 AND {_slips('city_l', 'city_r', 2)}",
            "two slips",
        ),
        _level("ELSE", "different"),
    ]


def _postcode() -> list[dict]:
    return [
        _null(_missing("postcode")),
        _level("postcode_l = postcode_r", "equal", "postcode"),
        _level(_slips("postcode_l", "postcode_r", 1), "one slip"),
        _level("ELSE", "different"),
    ]


def _place() -> list[dict]:
    """Return the levels of postcode and city together: they say one thing, which must count once."""
    near = f"jaro_winkler_similarity(city_l, city_r) >= 0.9 OR {_slips('city_l', 'city_r', 2)}"
    slip = _slips("postcode_l", "postcode_r", 1)
    return [
        _null(f"({_missing('postcode')}) AND ({_missing('city')})"),
        _level("postcode_l = postcode_r AND city_l = city_r", "equal", "city"),
        _level("postcode_l = postcode_r", "equal postcodes", "postcode"),
        _level("city_l = city_r", "equal cities", "city"),
        _level(f"({slip}) AND ({near})", "slips in both"),
        _level(f"({slip}) OR ({near})", "slips"),
        _level("ELSE", "different"),
    ]


def comparisons(fields: list[str]) -> list[dict]:
    """Return the comparisons of a model on some fields, as Splink writes them."""
    both = {"first_name", "last_name"} <= set(fields)
    levels = {
        "first_name": lambda: _name("first_name", both),
        "last_name": lambda: _name("last_name", both),
        "birth_date": _birth_date,
        "national_id": lambda: _number("national_id"),
        "email": _email,
        "phone": lambda: _number("phone"),
        "street": _street,
        "postcode": _postcode,
        "city": _city,
    }
    out = []
    place = {"postcode", "city"} <= set(fields)
    for name in fields:
        if place and name in ("postcode", "city"):
            continue
        out.append({"output_column_name": name, "comparison_levels": levels[name]()})
    if place:
        out.append({"output_column_name": "place", "comparison_levels": _place()})
    return out
