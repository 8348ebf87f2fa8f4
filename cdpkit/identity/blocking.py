"""Which pairs are scored: rules from narrow to wide, filler blocks left out, within a budget of pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

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


def blocks(frame: pd.DataFrame, budget: int | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Assign each record to the blocks of each rule.

    Parameters
    ----------
    frame : DataFrame
        Fields of `cdpkit.identity.comparisons.values`.
    budget : int, optional
        Most pairs over all rules, a pair of several rules counted each time.

    Returns
    -------
    (DataFrame, DataFrame)
        A column of block numbers for each rule (missing: in no block), and what each rule gives:
        ``rule, n_blocks, n_pairs, blocks_left_out, pairs_left_out``.
    """
    if budget is None:
        budget = int(min(max(PAIRS_PER_RECORD * len(frame), MIN_PAIRS), MAX_PAIRS))
    parts: dict[str, np.ndarray | None] = {}
    columns: dict[str, np.ndarray] = {}
    report = []
    for rule in RULES:
        for name in rule:
            if name not in parts:
                parts[name] = _part(frame, name)
        codes = _combined([parts[name] for name in rule])
        if codes is None:
            continue
        kept, row, spent = _within(codes, budget)
        report.append({"rule": " + ".join(rule), **row})
        budget -= spent
        if spent:
            columns[f"block_{len(columns)}"] = kept
    out = pd.DataFrame(columns, index=frame.index)
    names = ["rule", "n_blocks", "n_pairs", "blocks_left_out", "pairs_left_out"]
    return out, pd.DataFrame(report, columns=names)


def _combined(parts: list[np.ndarray | None]) -> np.ndarray | None:
    """Return one code for each combination, -1 where a part is missing; None when a part is not there."""
    given = [part for part in parts if part is not None]
    if len(given) < len(parts):
        return None
    out = given[0]
    for part in given[1:]:
        mixed = np.where((out < 0) | (part < 0), -1, out * (int(part.max(initial=0)) + 1) + part)
        out = pd.factorize(mixed)[0].astype(np.int64)
        out[mixed < 0] = -1
    return out


def _within(codes: np.ndarray, budget: int) -> tuple[np.ndarray, dict[str, int], int]:
    """Keep the small blocks, as many as the budget allows."""
    size = np.bincount(codes[codes >= 0]) if (codes >= 0).any() else np.zeros(1, dtype=np.int64)
    pairs = size * (size - 1) // 2
    order = np.lexsort((np.arange(len(size)), size))
    total = np.cumsum(pairs[order])
    fits = np.zeros(len(size), dtype=bool)
    fits[order] = (total <= budget) & (size[order] <= MAX_BLOCK)
    fits &= size > 1
    out = np.where((codes >= 0) & fits[codes], codes, -1).astype(float)
    out[out < 0] = np.nan
    left = ~fits & (size > 1)
    row = {
        "n_blocks": int(fits.sum()),
        "n_pairs": int(pairs[fits].sum()),
        "blocks_left_out": int(left.sum()),
        "pairs_left_out": int(pairs[left].sum()),
    }
    return out, row, row["n_pairs"]


def _part(frame: pd.DataFrame, name: str) -> np.ndarray | None:
    """Return the code of a piece of each record, -1 when missing; None when its field is not there."""
    if name == "name pair":
        if not {"first_name", "last_name"} <= set(frame):
            return None
        both = frame[["first_name", "last_name"]]
        has = both.notna().all(axis=1).to_numpy()
        first, last = (np.asarray(both[c].where(has, "").astype(object)) for c in both)
        pair = np.where(first < last, first + "|" + last, last + "|" + first).astype(object)
        pair[~has] = None
        return _codes(pair)
    source, cut = _PIECES.get(name, (name, None))
    if source not in frame:
        return None
    codes, distinct = pd.factorize(frame[source])
    if cut is None:
        return codes.astype(np.int64)
    table = np.append(_codes(np.array([cut(str(value)) for value in distinct], dtype=object)), -1)
    return table[codes]


def _codes(texts: np.ndarray) -> np.ndarray:
    return pd.factorize(pd.Series(texts, dtype=object))[0]


def _head(n: int) -> Callable[[str], str | None]:
    return lambda text: text[:n] if len(text) > n else None


def _tail(n: int) -> Callable[[str], str | None]:
    return lambda text: text[-n:] if len(text) > n else None


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
_PIECES: dict[str, tuple[str, Callable[[str], str | None]]] = {
    "email local": ("email", lambda text: text.partition("@")[0] or None),
    "email head": ("email", _head(5)),
    "phone tail": ("phone", _tail(6)),
    "national head": ("national_id", _head(4)),
    "national tail": ("national_id", _tail(4)),
    "last sound": ("last_name", skeleton),
    "first letter": ("first_name", lambda text: text[:1]),
    "last letter": ("last_name", lambda text: text[:1]),
    "birth year": ("birth_date", lambda text: text[:4]),
    "birth month": ("birth_date", lambda text: text[:7]),
    "birth day": ("birth_date", lambda text: text[5:]),
    "name letters": ("last_name", lambda text: text[:3]),
}
