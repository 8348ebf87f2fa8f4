"""The golden record: one value an attribute and person, by a survivorship rule, with its origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cdpkit.errors import CdpkitError
from cdpkit.identity.evidence import Evidence, timestamps
from cdpkit.normalise import clean

#: Rules by attribute; others follow ``most recent``. An address is taken whole, from one row.
SURVIVORSHIP: dict[str, str] = {
    "first_name": "most frequent",
    "last_name": "most frequent",
    "gender": "most frequent",
    "birth_date": "most frequent",
    "national_id": "most frequent",
}
RULES = ("most recent", "most frequent", "longest", "oldest")
_ADDRESS = ("street", "postcode", "city", "country")


def golden(
    evidence: Evidence,
    labels: np.ndarray,
    survivorship: Mapping[str, str] | None = None,
    source_priority: Sequence[str] = (),
) -> pd.DataFrame:
    """Choose the value of each attribute of each cluster: never a blocked one; a shared one may be.

    Parameters
    ----------
    evidence : Evidence
        Records as nodes and keys.
    labels : ndarray of int
        Cluster of each node.
    survivorship : mapping of str to str, optional
        Rule by attribute: one of ``most recent``, ``most frequent``, ``longest``, ``oldest``. What a
        rule leaves equal is settled by the others, then in alphabetical order.
    source_priority : sequence of str
        Sources that come before any rule, best first.

    Returns
    -------
    DataFrame
        ``label, attribute, value, node, known_at, rule``.

    Raises
    ------
    CdpkitError
        When a rule is unknown.
    """
    chosen = SURVIVORSHIP | dict(survivorship or {})
    if unknown := sorted(set(chosen.values()) - set(RULES)):
        raise CdpkitError(f"a survivorship rule must be one of {', '.join(RULES)}", got=", ".join(unknown))
    label = labels[evidence.node] if len(labels) else np.zeros(0, dtype=np.int64)
    source = evidence.rows["source"]
    ranks = {name: i for i, name in enumerate(source_priority)}
    priority = source.map(ranks).fillna(len(ranks)).to_numpy(dtype=np.int64)
    parts = []
    for attribute in evidence.attributes:
        if attribute in _ADDRESS:
            continue
        values, code = _values(evidence, attribute)
        rule = chosen.get(attribute, "most recent")
        at = _winners(label, evidence, code, values, priority, rule)
        parts.append(_rows(evidence, label, at, attribute, values[code[at]], rule, bool(ranks)))
    parts += _addresses(evidence, label, priority, bool(ranks))
    columns = ["label", "attribute", "value", "node", "known_at", "rule"]
    out = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    return out.sort_values(["label", "attribute"], ignore_index=True)


def _values(evidence: Evidence, attribute: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values to show, and the code of each row's; -1 where there is none to keep."""
    key = evidence.keys.get(attribute)
    if key is not None and attribute not in ("first_name", "last_name"):
        codes, values = key.codes.astype(np.int64), key.categories.to_numpy(dtype=object)
        return values, np.where(evidence.good(attribute)[codes], codes, -1)
    raw, given = pd.factorize(evidence.rows[attribute], use_na_sentinel=True)
    shown = pd.Series([clean(value) for value in given], dtype="str")
    table, texts = pd.factorize(shown, sort=True)
    codes = np.append(table, -1)[raw]
    if key is not None:
        codes = np.where(evidence.good(attribute)[key.codes], codes, -1)
    return np.asarray(texts, dtype=object), codes.astype(np.int64)


def _winners(
    label: np.ndarray,
    evidence: Evidence,
    code: np.ndarray,
    values: np.ndarray,
    priority: np.ndarray,
    rule: str,
) -> np.ndarray:
    """Return the row that wins in each cluster."""
    at = np.flatnonzero(code >= 0)
    if len(at) == 0:
        return at
    pair = label[at] * len(values) + code[at]
    carriers = np.unique(np.stack([pair, evidence.node[at]]), axis=1)[0]
    _, place = np.unique(pair, return_inverse=True)
    votes = np.unique(carriers, return_counts=True)[1][place]
    length = np.array([len(value) for value in values])[code[at]]
    time = evidence.known_at[at]
    # A 1 January among birth dates usually stands for an unknown day.
    vague = np.array([isinstance(value, str) and value.endswith("-01-01") for value in values])[code[at]]
    orders = {
        "most recent": (-time, -votes, -length),
        "oldest": (time, -votes, -length),
        "most frequent": (-votes, vague, -length, -time),
        "longest": (-length, -votes, -time),
    }
    by = (label[at], priority[at], *orders[rule], code[at], evidence.node[at])
    order = np.lexsort(tuple(reversed(by)))
    first = order[np.r_[True, label[at][order][1:] != label[at][order][:-1]]]
    return at[first]


def _addresses(
    evidence: Evidence, label: np.ndarray, priority: np.ndarray, ranked: bool
) -> list[pd.DataFrame]:
    """Take each cluster's address from its most recent row that has one, the most complete first."""
    present = [name for name in _ADDRESS if name in evidence.rows]
    text = {name: pd.Series(evidence.rows[name]).map(clean, na_action="ignore") for name in present}
    if not present:
        return []
    parts = sum(text[name].notna().to_numpy(dtype=np.int64) for name in present if name != "country")
    whole = np.asarray(parts) + np.zeros(len(label), dtype=np.int64)
    at = np.flatnonzero(whole > 0)
    if len(at) == 0:
        return []
    texts = [pd.factorize(text[name], sort=True)[0][at] for name in present]
    by = (
        label[at],
        priority[at],
        whole[at] < 2,
        -evidence.known_at[at],
        -whole[at],
        *texts,
        evidence.node[at],
    )
    order = np.lexsort(tuple(reversed(by)))
    at = at[order[np.r_[True, label[at][order][1:] != label[at][order][:-1]]]]
    out = []
    for name in present:
        kept = at[text[name].notna().to_numpy()[at]]
        value = text[name].to_numpy(dtype=object)[kept]
        out.append(_rows(evidence, label, kept, name, value, "most recent, whole address", ranked))
    return out


def _rows(
    evidence: Evidence,
    label: np.ndarray,
    at: np.ndarray,
    name: str,
    value: np.ndarray,
    rule: str,
    ranked: bool,
) -> pd.DataFrame:
    """Return the chosen values of one attribute with their origin."""
    return pd.DataFrame(
        {
            "label": label[at],
            "attribute": name,
            "value": pd.Series(value, dtype="str"),
            "node": evidence.node[at],
            "known_at": timestamps(evidence.known_at[at]),
            "rule": f"source, {rule}" if ranked else rule,
        }
    )
