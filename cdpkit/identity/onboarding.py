"""Onboarding: the offline profiles of a CRM meet their digital selves by hashed keys, with a match rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.consent import nodes_sql
from cdpkit.errors import FaultsError
from cdpkit.identity.hashing import identifier_hash
from cdpkit.identity.hygiene import TYPES
from cdpkit.identity.moments import literal
from cdpkit.identity.seen import digested
from cdpkit.normalise import KEYS, keys
from cdpkit.scrub import holds_personal_values

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: Keys by which both sides may know somebody, the surest first.
KINDS = ("user_id", "email", "phone")
_HASHED = {"email": "email_hash", "phone": "phone_hash"}


@dataclass(frozen=True)
class Onboarded:
    """Offline records and the web ids found for them.

    Attributes
    ----------
    matches : DataFrame
        ``record, web_id, matched_by``: each pair once, by the surest key that joins it. No key is returned,
        in clear or hashed.
    rates : DataFrame
        ``key, offline, online, matched, rate``: records with such a key on each side, offline ones matched
        by it, and their share; then ``any``, whose share is of all offline records.
    """

    matches: pd.DataFrame
    rates: pd.DataFrame


def onboard(
    offline: pd.DataFrame, online: pd.DataFrame, *, scheme: str = "google", region: str = "FR"
) -> Onboarded:
    """Join offline records to web ids by hashed e-mail, hashed phone or user id.

    Parameters
    ----------
    offline : DataFrame
        ``record`` and any of ``user_id, email, phone``; a record may have several rows.
    online : DataFrame
        ``web_id`` and any of ``user_id, email, phone`` in clear, ``email_hash, phone_hash`` as the web
        hashed them.
    scheme : str
        How the web hashes: see `cdpkit.identity.hashing.identifier_hash`. Hashes of another scheme do not
        join, for the schemes do not normalise alike.
    region : str
        ISO country of phone numbers without a prefix.

    Returns
    -------
    Onboarded

    Raises
    ------
    FaultsError
        When a side lacks its id or every key, or an id spells out an address or a number.

    Notes
    -----
    Placeholders join nobody, nor does a key carried by more offline records than a person leaves traces.

    Examples
    --------
    >>> crm = pd.DataFrame({"record": ["c1", "c2"], "email": ["Zoe@x.fr", "na"]})
    >>> web = pd.DataFrame({"web_id": ["k7"], "email_hash": [identifier_hash("email", "zoe@x.fr", "google")]})
    >>> told = onboard(crm, web)
    >>> told.matches.to_numpy().tolist(), told.rates["rate"].tolist()
    ([['c1', 'k7', 'email']], [1.0, 0.5])
    """
    faults = [*_faults("offline", offline, "record"), *_faults("online", online, "web_id")]
    if faults:
        raise FaultsError("the sides of an onboarding", faults)
    pairs, rows = [], []
    for kind in KINDS:
        left = _keyed(offline, "record", kind, scheme, region)
        right = _keyed(online, "web_id", kind, scheme, region)
        if left.empty or right.empty:
            continue
        many = left.groupby("key")["record"].transform("nunique") > TYPES[_TYPE[kind]].max_records
        both = left[~many].merge(right, on="key")[["record", "web_id"]].drop_duplicates()
        n = left["record"].nunique()
        matched = both["record"].nunique()
        rows.append((kind, n, right["web_id"].nunique(), matched, matched / n))
        pairs.append(both.assign(matched_by=kind))
    columns = ["record", "web_id", "matched_by"]
    matches = pd.concat(pairs, ignore_index=True) if pairs else pd.DataFrame(columns=columns)
    matches = matches.drop_duplicates(["record", "web_id"]).sort_values(
        ["record", "web_id"], ignore_index=True
    )
    total, found = offline["record"].nunique(), matches["record"].nunique()
    rows.append(("any", total, online["web_id"].nunique(), found, found / total if total else float("nan")))
    return Onboarded(matches, pd.DataFrame(rows, columns=["key", "offline", "online", "matched", "rate"]))


def side(engine: Engine, sources: Sequence[str], as_of: object, *, name: str = "record") -> pd.DataFrame:
    """Read one side of an onboarding from the lake: records that may be stitched, with their keys.

    Parameters
    ----------
    engine : Engine
        Sees ``nodes, identifiers`` and what consent reads.
    sources : sequence of str
        Sources of this side.
    as_of : timestamp-like
        UTC; nothing known at or after it.
    name : str
        What the id column is called: ``record`` or ``web_id``. Ids are record numbers of the lake.
    """
    named = ", ".join(f"'{source}'" for source in sources) or "NULL"
    allowed = nodes_sql("stitching", as_of).sql(dialect=engine.dialect)
    every = engine.query(
        f"SELECT n.node_id AS {name}, i.id_type, i.value FROM nodes AS n"
        f" JOIN ({allowed}) AS a USING (node_id)"
        f" LEFT JOIN identifiers AS i ON i.node_id = n.node_id AND i.known_at < {literal(as_of)}"
        f" WHERE n.source IN ({named}) AND n.known_at < {literal(as_of)} ORDER BY ALL"
    ).to_pandas()
    out = every[[name]].copy()
    for kind, stored in _TYPE.items():
        out[kind] = every["value"].where(every["id_type"] == stored)
    return out.drop_duplicates(ignore_index=True)


#: How each key is called among identifiers.
_TYPE = {"user_id": "account_id", "email": "email", "phone": "phone"}


def _faults(name: str, frame: pd.DataFrame, own: str) -> list[str]:
    """Return what a side lacks, or shows too much of."""
    if own not in frame:
        return [f"`{name}` must have a column `{own}`"]
    faults = []
    if not set(frame) & {*KINDS, *_HASHED.values()}:
        faults.append(f"`{name}` must have one of {', '.join((*KINDS, *_HASHED.values()))}")
    if frame[own].dtype.kind not in "iu" and holds_personal_values(" ".join(map(str, frame[own].unique()))):
        faults.append(f"`{own}` must spell out no address or number; give the record number of the lake")
    return faults


def _keyed(frame: pd.DataFrame, own: str, kind: str, scheme: str, region: str) -> pd.DataFrame:
    """Return ``own, key``: the comparable key of each row, hashed where it is personal."""
    parts = []
    if kind in frame:
        if kind == "user_id":
            made = pd.Series(keys(frame[kind], KEYS["account_id"]).array(), dtype="str")
        else:
            made = digested(
                frame[kind], kind, lambda value: identifier_hash(kind, value, scheme, region), region=region
            )
        parts.append(pd.DataFrame({own: frame[own].to_numpy(), "key": made.array}))
    if (given := _HASHED.get(kind)) in frame:
        text = frame[given].astype("str").str.strip()
        parts.append(pd.DataFrame({own: frame[own].to_numpy(), "key": text.where(frame[given].notna())}))
    if not parts:
        return pd.DataFrame({own: [], "key": []})
    return pd.concat(parts, ignore_index=True).dropna().drop_duplicates()
