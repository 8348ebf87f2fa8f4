"""What to look for when a person is erased: values that are theirs alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from cdpkit.lake.suppression import normal
from cdpkit.normalise import phone_key

if TYPE_CHECKING:
    from cdpkit.lake.store import Lake

# Columns whose short values (a customer number such as 42) are ids and not quantities.
_ID_COLUMN = re.compile(
    r"(record|customer|client|contact|account|user|member|person|household|card|loyalty|cookie|device|national|"
    r"visitor|subscriber|lead|profile|guest|insured|recipient)s?[ _-]?(id|key|no|nr|number|code|ref)?"
)
# A value ends where these do not follow: person 1 is not person 12.
_BEFORE, _AFTER = "0-9A-Za-z_.+-", "0-9A-Za-z_-"


@dataclass(frozen=True)
class Traces:
    """The values of some records that no surviving record carries.

    Parameters
    ----------
    nodes : frozenset of int
        Records to erase.
    persons : frozenset of str
        Every person they ever belonged to, retired ids included.
    records : frozenset of (source, record_id)
        Keys in their sources.
    identifiers : frozenset of (id_type, value)
        As given.
    names : frozenset of tuple of str
        Full names, both parts; in a row they count only together.
    words : frozenset of str
        Names and streets that only these records have.
    shared : int
        Identifiers kept because a surviving record carries them too.
    id_columns : frozenset of str
        Further column names that hold ids in raw files.
    """

    nodes: frozenset[int]
    persons: frozenset[str] = frozenset()
    records: frozenset[tuple[str, str]] = frozenset()
    identifiers: frozenset[tuple[str, str]] = frozenset()
    names: frozenset[tuple[str, str]] = frozenset()
    words: frozenset[str] = field(default=frozenset(), repr=False)
    shared: int = 0
    id_columns: frozenset[str] = frozenset()

    @cached_property
    def row_pattern(self) -> str:
        """The expression, for Arrow, of a value that makes a row theirs; empty when there is none."""
        parts = self._row_parts
        return f"(?:^|[^{_BEFORE}])(?:{'|'.join(parts)})(?:$|[^{_AFTER}])" if parts else ""

    @cached_property
    def _row_parts(self) -> list[str]:
        values = {plain_id(value) for _, value in (*self.records, *self.identifiers)} | set(self.persons)
        parts = {_spelled(value) for value in values if _distinctive(value)}
        parts |= {_phone(v) for kind, v in self.identifiers if kind == "phone" and len(normal(kind, v)) > 5}
        parts |= {digest for pair in self.identifiers for digest in _hashed(*pair)}
        return sorted(parts)

    @cached_property
    def _row(self) -> re.Pattern[str]:
        return _bounded(self._row_parts)

    @cached_property
    def _sure_parts(self) -> list[str]:
        full = [rf"{_spelled(a)}\s+{_spelled(b)}|{_spelled(b)},?\s+{_spelled(a)}" for a, b in self.names]
        return [*full, *self._row_parts]

    @cached_property
    def _sure(self) -> re.Pattern[str]:
        return _bounded(self._sure_parts)

    @cached_property
    def _text(self) -> re.Pattern[str]:
        return _bounded([*self._sure_parts, *(_spelled(word) for word in self.words if len(word) > 2)])

    @cached_property
    def _pairs(self) -> list[tuple[re.Pattern[str], re.Pattern[str]]]:
        return [(_bounded([_spelled(a)]), _bounded([_spelled(b)])) for a, b in self.names]

    def short(self, source: str | None) -> frozenset[str]:
        """Return the ids too short to be looked for outside the id columns of their source."""
        found = {plain_id(value) for kind, value in self.identifiers if kind != "phone"}
        found |= {plain_id(record) for name, record in self.records if source in (None, name)}
        return frozenset(value for value in found if not _distinctive(value))

    def is_id_column(self, name: str) -> bool:
        """Tell whether a column of a raw file holds ids of persons."""
        plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip()).casefold()
        return name in self.id_columns or _ID_COLUMN.fullmatch(plain) is not None

    def in_row(self, text: str) -> bool:
        """Tell whether a record, as one text, is theirs."""
        if self._row.search(text):
            return True
        return any(first.search(text) and last.search(text) for first, last in self._pairs)

    def in_line(self, text: str, source: str | None) -> bool:
        """Tell whether a set-aside record is theirs; without its header, any cell may be an id."""
        if self.in_row(text):
            return True
        short = self.short(source)
        return bool(short) and any(plain_id(cell) in short for cell in re.split(r"[;,\t|]", text))

    def in_text(self, text: str, words: bool = True) -> bool:
        """Tell whether text names them: by an id or a full name; with `words`, by a name only they have."""
        return (self._text if words else self._sure).search(text) is not None

    def scrubbed(self, text: str, words: bool = True) -> str:
        """Return text with their values struck out; `words` is for free text, where they are no codes."""
        return (self._text if words else self._sure).sub("[erased]", text)


def collect(lake: Lake, nodes: Iterable[int], id_columns: Iterable[str] = ()) -> Traces:
    """Read from the heads what identifies the owners of some records.

    Parameters
    ----------
    lake : Lake
        Restored to the published snapshot.
    nodes : iterable of int
        Records to erase.
    id_columns : iterable of str
        Column names that hold ids in raw files, beside the usual ones.
    """
    import duckdb
    import pyarrow as pa

    wanted = frozenset(int(node) for node in nodes)
    with duckdb.connect() as connection, _closing(lake) as view:
        connection.register("_wanted", pa.table({"node": pa.array(sorted(wanted), pa.int64())}))
        for name in ("nodes", "identifiers", "profiles", "membership", "aliases"):
            connection.execute(f"CREATE VIEW {name} AS {view.dataset(name).relation(connection)}")

        def rows(sql: str) -> list[tuple]:
            return connection.execute(sql).fetchall()

        persons = {person for (person,) in rows(f"SELECT DISTINCT person_id FROM membership WHERE {_HERS}")}
        while (
            more := {old for old, new in rows("SELECT old_id, person_id FROM aliases") if new in persons}
            - persons
        ):
            persons |= more
        records = {(s, r) for s, r in rows(f"SELECT source, record_id FROM nodes WHERE {_HERS}")}
        theirs = {(k, v) for k, v in rows(f"SELECT id_type, value FROM identifiers WHERE {_HERS}")}
        others = {(k, normal(k, v)) for k, v in rows(_SURVIVING_VALUES)}
        own = frozenset((k, v) for k, v in theirs if (k, normal(k, v)) not in others)
        people = rows(f"SELECT first_name, last_name, street FROM profiles WHERE {_HERS}")
        pairs = {(f, n) for f, n, _ in people if f and n} - set(rows(_SURVIVING_NAMES))
        words = {value for person in people for value in person if value}
        known = {value for (value,) in rows(_SURVIVING_WORDS)}
    return Traces(
        wanted, frozenset(persons), frozenset(records), own, frozenset(pairs),
        frozenset(word for word in words if word.casefold() not in known),
        len(theirs) - len(own), frozenset(id_columns),
    )  # fmt: skip


_HERS = "node_id IN (SELECT node FROM _wanted)"
_SURVIVING_VALUES = rf"""
WITH theirs AS (SELECT DISTINCT id_type, value FROM identifiers WHERE {_HERS}),
others AS (
  SELECT id_type, value FROM identifiers WHERE NOT {_HERS}
  UNION ALL SELECT 'email', record_id FROM nodes WHERE NOT {_HERS} AND contains(record_id, '@')
  UNION ALL SELECT 'phone', record_id FROM nodes WHERE NOT {_HERS} AND node_type = 'phone'
)
SELECT o.id_type, o.value FROM theirs t JOIN others o
  ON t.id_type = o.id_type AND lower(trim(t.value)) = lower(trim(o.value))
UNION ALL
SELECT 'phone', o.value FROM theirs t JOIN others o
  ON t.id_type = 'phone' AND o.id_type = 'phone'
 AND right(regexp_replace(t.value, '\D', '', 'g'), 9) = right(regexp_replace(o.value, '\D', '', 'g'), 9)
"""
_SURVIVING_NAMES = f"SELECT DISTINCT first_name, last_name FROM profiles WHERE NOT {_HERS}"
_SURVIVING_WORDS = f"""
SELECT DISTINCT lower(value) FROM (
  SELECT unnest([first_name, last_name, street]) AS value FROM profiles WHERE NOT {_HERS}
) WHERE value IS NOT NULL
"""


def _closing(lake: Lake):
    from contextlib import closing

    return closing(lake.view("head"))


def plain_id(value: str) -> str:
    """Return an id as it is compared: files that passed through numbers write 42 as 42.0.

    Examples
    --------
    >>> plain_id(' "17850.0"'), plain_id("v2.0")
    ('17850', 'v2.0')
    """
    return re.sub(r"^([0-9]+)\.0+$", r"\1", value.strip(" \"'\t\r\n"))


def _distinctive(value: str) -> bool:
    """Tell whether a value is long and mixed enough to be nobody else's, in any column."""
    text = value.strip()
    digits = sum(mark.isdigit() for mark in text)
    mixed = len(text) >= 6 and 0 < digits < len(text)
    return "@" in text or mixed or (digits == len(text) and digits >= 8) or len(text) >= 12


def _spelled(value: str) -> str:
    """Return a pattern for a value as text files write it: plain or JSON-escaped."""
    plain, escaped = value.strip(), json.dumps(value.strip())[1:-1]
    return re.escape(plain) if plain == escaped else f"(?:{re.escape(plain)}|{re.escape(escaped)})"


def _phone(value: str) -> str:
    """Return a pattern for a number however it is spaced and prefixed."""
    digits = normal("phone", value)
    return r"(?:(?:\+|00)[0-9]{1,3}[ .-]?(?:\(0\))?|0)?" + r"[ .()/-]{0,2}".join(digits)


def _bounded(parts: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of any of the parts standing alone, longest first; of nothing without any."""
    listed = "|".join(sorted(set(parts), key=lambda part: (-len(part), part)))
    return re.compile(rf"(?<![{_BEFORE}])(?:{listed})(?![{_AFTER}])" if listed else r"(?!)", re.IGNORECASE)


def _hashed(kind: str, value: str) -> set[str]:
    """Return the hashes under which an identifier left: destinations normalise it in several ways."""
    texts = {normal(kind, value), value.strip()}
    number = phone_key(value, "FR") if kind == "phone" else None
    if number:
        texts |= {number, number.removeprefix("+")}
    if kind == "email":
        local, _, domain = normal(kind, value).partition("@")
        texts.add(f"{local.replace('.', '')}@{domain}" if domain in ("gmail.com", "googlemail.com") else "")
    return {hashlib.sha256(text.encode()).hexdigest() for text in texts if text}
