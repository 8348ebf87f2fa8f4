"""`lookup`: the person behind an identifier, whatever the entry point, as known at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdpkit import texts
from cdpkit.errors import CdpkitError
from cdpkit.identity.hygiene import TYPES, Hygiene
from cdpkit.identity.moments import instant
from cdpkit.identity.seen import seen
from cdpkit.normalise import KEYS, clean, phone_key

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: What a person id looks like to `lookup`: it follows its aliases.
PERSON = "person_id"
_OPEN = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Found:
    """Who an identifier leads to.

    Attributes
    ----------
    status : str
        ``found``; ``several`` where more than one person carries it and none owns it; ``unknown``;
        ``blocked`` for a placeholder; ``invalid`` where the value cannot be such an identifier.
    id_type : str
        What the identifier was read as.
    person_id : str or None
        The one person, as known at the time asked; None unless `status` is ``found``.
    now : str or None
        The person that one is today, where it was merged since.
    persons : tuple of str
        All who carry it: first the one whose own record it is, then as each was last seen with it.
    n_records : int
        Records that carry it.
    """

    status: str
    id_type: str
    person_id: str | None = None
    now: str | None = None
    persons: tuple[str, ...] = ()
    n_records: int = 0


@dataclass(frozen=True)
class _Carried:
    """The identifiers of one type: each key, whether it may be believed, and the records that carry it."""

    places: dict[str, int]
    good: np.ndarray
    starts: np.ndarray
    node: np.ndarray
    known: np.ndarray
    seen: np.ndarray
    own: np.ndarray


@dataclass(frozen=True)
class _Spans:
    """Whose each record was, and when; times in microseconds."""

    offsets: np.ndarray
    person: np.ndarray
    begins: np.ndarray
    ends: np.ndarray

    def holder(self, node: int, stamp: int | None) -> int:
        """Return the person of a record, as a position; -1 before it was known."""
        for at in range(self.offsets[node + 1] - 1, self.offsets[node] - 1, -1):
            if stamp is None and self.ends[at] == _OPEN:
                return int(self.person[at])
            if stamp is not None and self.begins[at] < stamp <= self.ends[at]:
                return int(self.person[at])
        return -1


@dataclass(frozen=True)
class Directory:
    """Identifiers in memory, to answer many look-ups: `Directory.read` makes one of a snapshot.

    An identifier that is a record of its own (a cookie, a card, an account) belongs to the person of that
    record, whoever else was seen with it.
    """

    _carried: Mapping[str, _Carried] = field(repr=False)
    _spans: _Spans = field(repr=False)
    _persons: list[str] = field(repr=False)
    _begins: Mapping[str, int] = field(repr=False)
    _aliases: Mapping[str, str] = field(repr=False)
    hygiene: Hygiene = field(repr=False, default_factory=Hygiene)
    region: str = "FR"

    @classmethod
    def read(cls, engine: Engine, *, region: str = "FR", hygiene: Hygiene | None = None) -> Directory:
        """Read the identifiers of a snapshot, and who carries them.

        Parameters
        ----------
        engine : Engine
            Sees ``nodes, identifiers, membership, aliases``.
        region : str
            ISO country of phone numbers without a prefix.
        hygiene : Hygiene, optional
            Blocked values; default `Hygiene()`.
        """
        rules = hygiene or Hygiene()
        rows = engine.query(
            "SELECT node_id, person_id, known_from, known_to FROM membership ORDER BY node_id, known_from"
        ).to_pandas()
        node, first = np.unique(rows["node_id"].to_numpy(np.int64), return_index=True)
        person, names = texts.encoded(texts.arrow(rows["person_id"]))
        begins = _microseconds(rows["known_from"])
        ends = np.where(rows["known_to"].isna(), _OPEN, _microseconds(rows["known_to"]))
        aliases = engine.query("SELECT old_id, person_id FROM aliases").to_pandas()
        persons = names.to_pylist()
        since = pd.Series(begins).groupby(person).min()
        return cls(
            {kind: _carriers(engine, kind, node, region, rules) for kind in TYPES},
            _Spans(np.append(first, len(rows)), person, begins, ends),
            persons,
            {persons[p]: int(t) for p, t in since.items()},
            dict(zip(aliases["old_id"], aliases["person_id"], strict=True)),
            rules,
            region,
        )

    def find(self, identifier: object, id_type: str | None = None, at: object = None) -> Found:
        """Return the person behind an identifier.

        Parameters
        ----------
        identifier : object
            As given at the entry point: an e-mail address, a phone number, a card, a cookie, an account or
            a person id, however spelt.
        id_type : str, optional
            A type of `cdpkit.identity.hygiene.TYPES`, or ``person_id``; by default what it looks like.
        at : timestamp-like, optional
            UTC; what was known at or after it is not seen. Default: everything known.

        Raises
        ------
        CdpkitError
            When the type is unknown.
        """
        if id_type is not None and id_type not in (*TYPES, PERSON):
            raise CdpkitError(f"an identifier type must be one of {', '.join((*TYPES, PERSON))}", got=id_type)
        stamp = None if at is None else int(instant(at).to_datetime64().astype("datetime64[us]").astype(int))
        tried = [id_type] if id_type is not None else self._looks_like(identifier)
        first = None
        for kind in tried:
            found = self._person(identifier, stamp) if kind == PERSON else self._key(identifier, kind, stamp)
            if found.status in ("found", "several"):
                return found
            if first is None or first.status == "invalid":
                first = found
        return first if first is not None and first.id_type == PERSON else self._judged(identifier, first)

    def _judged(self, identifier: object, found: Found | None) -> Found:
        """Say of a value that nobody carries whether anybody could."""
        if found is None or found.status != "unknown":
            return found or Found("invalid", "")
        key = self._spelt(identifier, found.id_type)
        verdict = "invalid" if key is None else self.hygiene.verdict(found.id_type, key)[0]
        return found if verdict == "ok" else Found(verdict, found.id_type)

    def _spelt(self, identifier: object, kind: str) -> str | None:
        """Return the key of a value."""
        return phone_key(identifier, self.region) if kind == "phone" else KEYS[kind](identifier)

    def _looks_like(self, identifier: object) -> list[str]:
        """Return the types a value may be, the likeliest first."""
        text = clean(identifier) or ""
        if "@" in text:
            return ["email"]
        phone = [] if any(c.isalpha() for c in text) or phone_key(text, self.region) is None else ["phone"]
        return [*phone, PERSON, *(kind for kind in TYPES if kind not in ("email", "phone"))]

    def _person(self, identifier: object, stamp: int | None) -> Found:
        """Return a person by its id, present or retired."""
        text = clean(identifier) or ""
        now = self._aliases.get(text, text)
        asked = now if stamp is None else text
        since = self._begins.get(asked)
        if since is None or (stamp is not None and since >= stamp):
            return Found("unknown", PERSON)
        return Found("found", PERSON, asked, now, (asked,))

    def _key(self, identifier: object, kind: str, stamp: int | None) -> Found:
        """Return the person behind a value of one type."""
        carried = self._carried[kind]
        key = self._spelt(identifier, kind)
        if key is None:
            return Found("invalid", kind)
        place = carried.places.get(key)
        if place is None or not carried.good[place]:
            return Found("unknown", kind)
        last: dict[int, tuple[bool, int]] = {}
        n = 0
        for row in range(carried.starts[place], carried.starts[place + 1]):
            if stamp is not None and carried.known[row] >= stamp:
                continue
            person = self._spans.holder(carried.node[row], stamp)
            if person >= 0:
                n += 1
                worth = (bool(carried.own[row]), int(carried.seen[row]))
                last[person] = max(worth, last.get(person, worth))
        if not last:
            return Found("unknown", kind)
        ranked = sorted(last, key=lambda p: (-last[p][0], -last[p][1], p))
        ids = tuple(self._persons[p] for p in ranked)
        if len(ids) > 1 and not (last[ranked[0]][0] and not last[ranked[1]][0]):
            return Found("several", kind, persons=ids, n_records=n)
        return Found("found", kind, ids[0], self._aliases.get(ids[0], ids[0]), ids, n)


def lookup(engine: Engine, identifier: object, id_type: str | None = None, at: object = None) -> Found:
    """Return the person behind one identifier; for many, read a `Directory` once.

    Parameters
    ----------
    engine : Engine
        Sees ``nodes, identifiers, membership, aliases``.
    identifier, id_type, at
        See `Directory.find`.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> day = pd.Timestamp("2025-01-01")
    >>> seen = pd.DataFrame({"node_id": [7], "source": "crm", "id_type": "email", "value": "Zoe@Shop.fr",
    ...                      "event_time": day, "known_at": day})
    >>> member = pd.DataFrame({"node_id": [7], "person_id": "p1", "known_from": day, "known_to": pd.NaT})
    >>> engine = DuckDBEngine(frames={"identifiers": seen, "membership": member})
    >>> lookup(engine, " zoe@shop.FR").person_id, lookup(engine, "zoe@shop.fr", at="2024-12-31").status
    ('p1', 'unknown')
    """
    return Directory.read(engine).find(identifier, id_type, at)


def _carriers(engine: Engine, kind: str, node: np.ndarray, region: str, rules: Hygiene) -> _Carried:
    """Return the keys of one type, and the records that carry each."""
    found = seen(engine, kind, region=region, hygiene=rules)
    rows, key = found.rows, found.key
    ids = rows["node_id"].to_numpy(np.int64)
    place = np.searchsorted(node, ids)
    held = np.flatnonzero((key.codes >= 0) & (np.append(node, -1)[place] == ids))
    order = held[np.argsort(key.codes[held], kind="stable")]
    return _Carried(
        {str(name): i for i, name in enumerate(texts.arrow(key.categories).to_pylist())},
        found.good,
        np.searchsorted(key.codes[order], np.arange(len(key.categories) + 1)),
        place[order],
        _microseconds(rows["known_at"])[order],
        _microseconds(rows["seen_at"])[order],
        rows["own"].to_numpy(np.int64)[order] > 0,
    )


def _microseconds(times: pd.Series) -> np.ndarray:
    return times.to_numpy().astype("datetime64[us]").astype(np.int64)
