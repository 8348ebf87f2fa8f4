"""Which pairs are scored: rules from narrow to wide, filler blocks left out, within a budget of pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit import texts
from cdpkit.normalise import Keys

#: Records of one block; larger ones hold a usual value, not one person.
MAX_BLOCK = 500
#: Pairs scored per record over all rules, and the least and most of one run.
PAIRS_PER_RECORD, MIN_PAIRS, MAX_PAIRS = 3, 300_000, 20_000_000

#: Combinations of parts, narrow ones first. A part is a field, or a piece of one (see `_part`).
RULES: tuple[tuple[str, ...], ...] = (
    ("national_id",),
    ("email",),
    ("phone",),
    ("name pair", "birth_date"),
    ("last_name", "birth_date"),
    ("first_name", "birth_date"),
    ("name pair", "postcode"),
    ("name pair", "city"),
    ("birth_date", "postcode"),
    ("street", "postcode"),
    ("email local",),
    ("name pair",),
    ("last sound", "postcode"),
    ("first_name", "street"),
    ("last sound", "first letter", "birth year"),
    ("name letters", "birth day"),
    ("first_name", "last letter", "birth year"),
    ("birth_date", "city"),
    ("street",),
    ("first_name", "postcode"),
    ("last_name", "city"),
    ("phone tail",),
    ("national head",),
    ("national tail",),
    ("birth_date",),
    ("last sound", "first letter"),
    ("last_name",),
    ("first_name", "city"),
    ("email head",),
    ("birth year", "city"),
    ("birth year", "postcode"),
    ("first_name",),
    ("birth month",),
    ("postcode",),
    ("city",),
)


@dataclass(frozen=True)
class Candidates:
    """Pairs worth comparing.

    Parameters
    ----------
    left, right : ndarray of int
        Row numbers, ``left < right``, each pair once and in order.
    blocks : DataFrame
        What each rule gives: ``rule, n_blocks, n_pairs, blocks_left_out, pairs_left_out``.
    """

    left: np.ndarray
    right: np.ndarray
    blocks: pd.DataFrame


def budget_of(n: int) -> int:
    """Return the most pairs that `n` records may make."""
    return int(min(max(PAIRS_PER_RECORD * n, MIN_PAIRS), MAX_PAIRS))


def words(fields: Mapping[str, Keys], rule: tuple[str, ...]) -> pa.Array | None:
    """Return what each record says under a rule, as text; None when a field is not there.

    Parameters
    ----------
    fields : mapping of str to Keys
        Fields of the records.
    rule : tuple of str
        One of `RULES`.
    """
    parts: list[pa.Array] = []
    for name in rule:
        both = name == "name pair"
        columns = []
        for source in ("first_name", "last_name") if both else (_PIECES.get(name, (name, None))[0],):
            if source not in fields:
                return None
            key = fields[source]
            cut = _PIECES[name][1] if name in _PIECES else None
            values = texts.arrow(key.categories)
            values = values if cut is None else cut(values)
            columns.append(values.cast(pa.large_string()).take(pa.array(key.codes, mask=key.codes < 0)))
        if both:
            columns = [
                pc.min_element_wise(*columns, skip_nulls=False),
                pc.max_element_wise(*columns, skip_nulls=False),
            ]
        parts += columns
    return pc.binary_join_element_wise(*parts, pa.scalar("|", pa.large_string()))


def limits(sizes: pd.DataFrame, budget: int) -> dict[int, int]:
    """Return the largest block of each rule that the budget allows.

    Parameters
    ----------
    sizes : DataFrame
        ``rule`` (a position in `RULES`), ``size`` and ``blocks``: how many blocks are that large.
    budget : int
        Most pairs over all rules.
    """
    out = {}
    for rule, some in sizes.sort_values(["rule", "size"]).groupby("rule"):
        size = some["size"].to_numpy(np.int64)
        total = np.cumsum(size * (size - 1) // 2 * some["blocks"].to_numpy(np.int64))
        fits = (total <= budget) & (size <= MAX_BLOCK)
        if fits.any():
            out[int(str(rule))] = int(size[fits][-1])
            budget -= int(total[fits][-1])
    return out


def candidates(fields: Mapping[str, Keys], n: int, budget: int | None = None) -> Candidates:
    """Pair the records that share a block of some rule.

    Parameters
    ----------
    fields : mapping of str to Keys
        Fields of `cdpkit.identity.comparisons.representatives`.
    n : int
        Number of records.
    budget : int, optional
        Most pairs over all rules, a pair of several rules counted each time.
    """
    if budget is None:
        budget = budget_of(n)
    parts: dict[str, np.ndarray | None] = {}
    found: list[np.ndarray] = []
    report = []
    for rule in RULES:
        for name in rule:
            if name not in parts:
                parts[name] = _part(fields, name)
        given = [part for part in (parts[name] for name in rule) if part is not None]
        if len(given) < len(rule):
            continue
        left, right, row = _within(_combined(given), budget)
        report.append({"rule": " + ".join(rule), **row})
        budget -= row["n_pairs"]
        found.append(left * n + right)
    pair = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *found]))
    pair = pair[np.diff(pair, prepend=-1) != 0]
    names = ["rule", "n_blocks", "n_pairs", "blocks_left_out", "pairs_left_out"]
    return Candidates(pair // max(n, 1), pair % max(n, 1), pd.DataFrame(report, columns=names))


def _combined(parts: list[np.ndarray]) -> np.ndarray:
    """Return one code for each combination, -1 where a part is missing."""
    out = parts[0]
    for part in parts[1:]:
        mixed = np.where((out < 0) | (part < 0), -1, out * (int(part.max(initial=0)) + 1) + part)
        out = pd.factorize(mixed)[0].astype(np.int64)
        out[mixed < 0] = -1
    return out


def _within(codes: np.ndarray, budget: int) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Return the pairs of the small blocks, as many as the budget allows."""
    size = np.bincount(codes[codes >= 0]) if (codes >= 0).any() else np.zeros(1, dtype=np.int64)
    pairs = size * (size - 1) // 2
    # Blocks of one size are all taken or none, lest the choice hang on how they are numbered.
    total = np.cumsum(np.bincount(size, weights=pairs)).astype(np.int64)
    fits = (total[size] <= budget) & (size <= MAX_BLOCK) & (size > 1)
    left_out = ~fits & (size > 1)
    row = {
        "n_blocks": int(fits.sum()),
        "n_pairs": int(pairs[fits].sum()),
        "blocks_left_out": int(left_out.sum()),
        "pairs_left_out": int(pairs[left_out].sum()),
    }
    at = np.flatnonzero((codes >= 0) & fits[codes])
    at = at[np.argsort(codes[at], kind="stable")]
    block = codes[at]
    new = np.ones(len(at), dtype=bool)
    new[1:] = block[1:] != block[:-1]
    start = np.flatnonzero(new)
    end = np.repeat(np.append(start[1:], len(at))[: len(start)], np.diff(np.append(start, len(at))))
    after = end - np.arange(len(at)) - 1
    first = np.repeat(np.arange(len(at)), after)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(after) - after, after)
    return at[first], at[second], row


def _part(fields: Mapping[str, Keys], name: str) -> np.ndarray | None:
    """Return the code of a piece of each record, -1 when missing; None when its field is not there."""
    if name == "name pair":
        if not {"first_name", "last_name"} <= set(fields):
            return None
        first, last = _one_alphabet(fields["first_name"], fields["last_name"])
        low, high = np.minimum(first, last), np.maximum(first, last)
        return _combined([np.where(low < 0, -1, low), high])
    source, cut = _PIECES.get(name, (name, None))
    if source not in fields:
        return None
    key = fields[source]
    if cut is None:
        return key.codes
    return np.append(texts.encoded(cut(texts.arrow(key.categories)))[0], -1)[key.codes]


def _one_alphabet(a: Keys, b: Keys) -> tuple[np.ndarray, np.ndarray]:
    """Return two columns in common codes."""
    codes, _ = texts.encoded(pa.concat_arrays([texts.arrow(a.categories), texts.arrow(b.categories)]))
    of_a, of_b = np.append(codes[: len(a.categories)], -1), np.append(codes[len(a.categories) :], -1)
    return of_a[a.codes], of_b[b.codes]


_Cut = Callable[[pa.Array], pa.Array]


def _head(n: int) -> _Cut:
    return lambda values: _long(values, n, pc.utf8_slice_codeunits(values, 0, n))


def _tail(n: int) -> _Cut:
    return lambda values: _long(values, n, pc.utf8_slice_codeunits(values, -n))


def _slice(start: int, stop: int | None = None) -> _Cut:
    return lambda values: pc.utf8_slice_codeunits(values, start, stop)


def _long(values: pa.Array, n: int, cut: pa.Array) -> pa.Array:
    """Return the cut of values longer than it."""
    return pc.if_else(pc.greater(pc.utf8_length(values), n), cut, pa.scalar(None, values.type))


def _local(values: pa.Array) -> pa.Array:
    local = pc.replace_substring_regex(values, "(?s)@.*$", "")
    return pc.if_else(pc.equal(local, ""), pa.scalar(None, values.type), local)


def _sound(values: pa.Array) -> pa.Array:
    return pa.array([skeleton(value) for value in values.to_pylist()], pa.large_string())


def skeleton(name: str) -> str:
    """Return the first letter and the consonants that follow, doubled ones once: typos in vowels vanish.

    Examples
    --------
    >>> skeleton("martin"), skeleton("marrtin"), skeleton("mertyn"), skeleton("ea")
    ('mrtn', 'mrtn', 'mrtn', 'e')
    """
    out = name[:1]
    for letter in name[1:]:
        if letter not in "aeiouyh " and letter != out[-1]:
            out += letter
    return out[:5]


#: Pieces of fields: the field, and what is kept of a value.
_PIECES: dict[str, tuple[str, _Cut]] = {
    "email local": ("email", _local),
    "email head": ("email", _head(5)),
    "phone tail": ("phone", _tail(6)),
    "national head": ("national_id", _head(4)),
    "national tail": ("national_id", _tail(4)),
    "last sound": ("last_name", _sound),
    "first letter": ("first_name", _slice(0, 1)),
    "last letter": ("last_name", _slice(0, 1)),
    "birth year": ("birth_date", _slice(0, 4)),
    "birth month": ("birth_date", _slice(0, 7)),
    "birth day": ("birth_date", _slice(5)),
    "name letters": ("last_name", _slice(0, 3)),
}
