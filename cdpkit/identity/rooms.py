"""Two parties, one key: salted keys a partner, and joins of which only counts and segments come out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdpkit.disclosure import K, suppress
from cdpkit.errors import CdpkitError, FaultsError
from cdpkit.identity.agreements import Agreement
from cdpkit.identity.hashing import partner_key
from cdpkit.identity.seen import digested

#: Shortest secret that may salt a partner's keys, in bytes.
LEAST_SALT = 16
_KINDS = ("email", "phone")


def partner_keys(values: pd.Series, kind: str, salt: bytes, *, region: str = "FR") -> pd.Series:
    """Return the keyed hash of e-mails or phones for one partner, missing where there is none to make.

    Parameters
    ----------
    values : Series
        As given.
    kind : str
        ``email`` or ``phone``.
    salt : bytes
        Secret shared with this partner only, of at least `LEAST_SALT` bytes: keys made with another do not
        join. Both parties normalise as Google's enhanced conversions do, then hash with the secret.
    region : str
        ISO country of phone numbers without a prefix.

    Returns
    -------
    Series of str
        64 hexadecimal digits. Placeholders such as ``test@test.com`` have none: they would join strangers.

    Raises
    ------
    CdpkitError
        When the salt is too short to be a secret.

    Examples
    --------
    >>> made = partner_keys(pd.Series(["Zoe@x.fr", " zoe@X.fr", "na", None]), "email", b"a long enough one")
    >>> made.nunique(), made.isna().tolist()
    (1, [False, False, True, True])
    """
    if kind not in _KINDS:
        raise CdpkitError("a partner's key must be of an email or a phone", got=kind)
    if len(salt) < LEAST_SALT:
        raise CdpkitError(f"a salt must have at least {LEAST_SALT} bytes", got=f"{len(salt)}")
    return digested(values, kind, lambda value: partner_key(kind, value, salt, region), region=region)


@dataclass(frozen=True)
class CleanRoom:
    """What came out of a join with a partner: counts, never a key or a person.

    Attributes
    ----------
    partner : str
        The other party.
    totals : DataFrame
        ``name, persons``: ours and theirs with a key, and both; missing under the smallest group.
    segments : DataFrame
        ``side`` (ours or theirs), ``segment, persons, both, share``: how many of each segment the other party
        knows too; missing where the group is small or a subtraction would give it back.
    """

    partner: str
    totals: pd.DataFrame
    segments: pd.DataFrame


def clean_room(
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    agreement: Agreement,
    *,
    at: object,
    segment: str = "segment",
    k: int = K,
) -> CleanRoom:
    """Join two parties' keys under an agreement, and return counts by segment only.

    Parameters
    ----------
    ours, theirs : DataFrame
        ``key`` (see `partner_keys`) and a column named as `segment`; repeated keys count once.
    agreement : Agreement
        With the partner; it must hold, and cover profiling.
    at : timestamp-like
        UTC; the day of the join.
    segment : str
        Column of both frames.
    k : int
        Smallest group that may be told.

    Raises
    ------
    ConsentError
        When the agreement is over or does not cover profiling.
    FaultsError
        When a frame lacks a column, or its keys are not keyed hashes.
    """
    agreement.require("profiling", at)
    sides = {"ours": ours, "theirs": theirs}
    faults = [f"`{name}` must have columns `key` and `{segment}`" for name, side in sides.items()
              if not {"key", segment} <= set(side)]  # fmt: skip
    if not faults:
        faults = [f"`{name}` must hold keyed hashes; got another text as key" for name, side in sides.items()
                  if not side["key"].dropna().astype("str").str.fullmatch("[0-9a-f]{64}").all()]  # fmt: skip
    if faults:
        raise FaultsError("a join of two parties", faults)
    held = {name: side.dropna(subset=["key"]).drop_duplicates("key") for name, side in sides.items()}
    shared = set(held["ours"]["key"]) & set(held["theirs"]["key"])
    counts = {"ours": len(held["ours"]), "theirs": len(held["theirs"]), "both": len(shared)}
    totals = pd.DataFrame({"name": list(counts), "persons": [_shown(n, k) for n in counts.values()]})
    rows: list[tuple[object, ...]] = []
    for name, side in held.items():
        whole = side.groupby(segment, dropna=False)["key"].agg(
            persons="size", both=lambda key: int(key.isin(shared).sum())
        )
        n, both = whole["persons"].astype(int).tolist(), whole["both"].astype(int).tolist()
        rows += zip([name] * len(n), whole.index, suppress(n, k), _overlaps(n, both, k), strict=True)
    out = pd.DataFrame(rows, columns=["side", "segment", "persons", "both"])
    out = out.astype({"persons": "Int64", "both": "Int64"})
    share = out["both"].astype("Float64") / out["persons"].astype("Float64")
    return CleanRoom(agreement.partner, totals.astype({"persons": "Int64"}), out.assign(share=share))


@dataclass(frozen=True)
class SecondParty:
    """A partner's attributes beside our persons.

    Attributes
    ----------
    frame : DataFrame
        ``person_id``, the attributes (each named ``<partner>__<attribute>``) and ``agreed_until``; one row a
        person, who may be profiled and whom the partner knows.
    match : dict of str to float
        ``persons`` (asked), ``permitted``, ``matched``, ``rate`` (matched over permitted).
    """

    frame: pd.DataFrame
    match: dict[str, float]


def second_party(
    persons: pd.DataFrame,
    theirs: pd.DataFrame,
    agreement: Agreement,
    *,
    at: object,
    salt: bytes,
    permitted: Collection[str],
    attributes: Sequence[str],
    purpose: str = "profiling",
) -> SecondParty:
    """Add a partner's attributes to persons, under an agreement that holds and their permission.

    Parameters
    ----------
    persons : DataFrame
        ``person_id`` and ``email`` or ``phone`` or both, in clear: they are hashed here and not returned.
    theirs : DataFrame
        The partner's file: ``key`` made with the same `salt`, and `attributes`; of a repeated key the last
        row holds.
    agreement : Agreement
        With the partner.
    at : timestamp-like
        UTC; the day of the join.
    salt : bytes
        Secret of this partner.
    permitted : collection of str
        Persons who may be used for the purpose (`cdpkit.consent.permitted_persons`).
    attributes : sequence of str
        Columns of `theirs` to add.
    purpose : str
        What the join is for.

    Raises
    ------
    ConsentError
        When the agreement is over, or does not cover the purpose.
    """
    agreement.require(purpose, at)
    may = persons[persons["person_id"].isin(set(permitted))]
    kept = theirs.dropna(subset=["key"]).drop_duplicates("key", keep="last").set_index("key")
    place = pd.Series(-1, index=may.index)
    at_key = pd.Series(np.arange(len(kept)), index=kept.index)
    for kind in [kind for kind in _KINDS if kind in may]:
        found = partner_keys(may[kind], kind, salt).map(at_key)
        place = place.where(place >= 0, found.fillna(-1).astype(int))
    one = may.assign(_place=place)[place >= 0].drop_duplicates("person_id")
    values = kept.iloc[one["_place"].to_numpy(int)][list(attributes)].add_prefix(f"{agreement.partner}__")
    frame = pd.concat([one[["person_id"]].reset_index(drop=True), values.reset_index(drop=True)], axis=1)
    n = may["person_id"].nunique()
    match = {
        "persons": float(persons["person_id"].nunique()),
        "permitted": float(n),
        "matched": float(len(frame)),
        "rate": len(frame) / n if n else float("nan"),
    }
    return SecondParty(frame.assign(agreed_until=agreement.until), match)


def _overlaps(persons: list[int], both: list[int], k: int) -> list[int | None]:
    """Hide an overlap under `k`, one whose rest is under `k`, and what a subtraction would give back."""
    rest = [n - b for n, b in zip(persons, both, strict=True)]
    hidden = {
        i for i, counts in enumerate(zip(persons, both, rest, strict=True)) if any(0 < c < k for c in counts)
    }
    while hidden and (len(hidden) == 1 or any(sum(part[i] for i in hidden) < k for part in (both, rest))):
        shown = [i for i in range(len(both)) if i not in hidden and persons[i] > 0]
        if not shown:
            break
        hidden.add(min(shown, key=lambda i: persons[i]))
    return [None if i in hidden else b for i, b in enumerate(both)]


def _shown(count: int, k: int) -> int | None:
    return None if 0 < count < k else count
