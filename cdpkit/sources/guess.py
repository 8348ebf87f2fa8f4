"""A proposed contract for a file nobody described, with everything that was chosen without proof."""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from operator import itemgetter
from pathlib import Path
from typing import Any

from cdpkit.schema import TABLES, Column
from cdpkit.sources.contract import Contract
from cdpkit.sources.sample import Sample, date_format, decimal_of, is_number, read_sample

#: Zone written in a proposal whose times have none.
ZONE = "Europe/Paris"
#: Below this score a header speaks for no table.
_SPEAKS = 0.5
_IDENTITY = ("source", "node_id", "known_at", "event_time")


@dataclass(frozen=True)
class Guess:
    """A proposal.

    Parameters
    ----------
    toml : str
        The contract, ready to be edited: `Contract.parse` accepts it.
    unsure : tuple of str
        What nobody should take on trust.
    table : str or None
        Canonical table that the columns speak for.
    mapped : dict of str to str
        Canonical column to column of the file.
    left : tuple of str
        Columns that no canonical column takes.
    """

    toml: str
    unsure: tuple[str, ...]
    table: str | None
    mapped: dict[str, str]
    left: tuple[str, ...]

    @property
    def contract(self) -> Contract:
        """The proposal, parsed."""
        return Contract.parse(self.toml)


@cache
def _words() -> dict[str, Any]:
    return tomllib.loads(files("cdpkit").joinpath("sources/words.toml").read_text(encoding="utf-8"))


def plain(name: str) -> str:
    """Return a column's name in lower case, without accents and separators.

    Examples
    --------
    >>> plain("Date_de Création"), plain("orderId")
    ('date de creation', 'order id')
    """
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.rpartition(".")[2])
    bare = "".join(c for c in unicodedata.normalize("NFD", split) if not unicodedata.combining(c))
    return " ".join(re.split(r"[^a-z0-9]+", bare.lower())).strip()


def guess(path: str | Path) -> Guess:
    """Propose a contract from the first records of a file.

    Names decide what a column means, and its values must agree; what several readings fit is listed.

    Parameters
    ----------
    path : str or Path
        Delimited text, JSON lines (packed or not), Parquet or Excel.

    Raises
    ------
    ContractError
        When the file is empty, or has no header.
    """
    path = Path(path)
    sample = read_sample(path)
    draft = _Draft(sample, path.name.removesuffix(".gz").removesuffix(".zst"))
    draft.read_values()
    draft.choose_table()
    return Guess(draft.toml(), tuple(draft.unsure), draft.table, draft.mapped, tuple(draft.left()))


@dataclass
class _Draft:
    """A contract in the making."""

    sample: Sample
    file: str
    unsure: list[str] = field(default_factory=list)
    decimal: str = "."
    forms: dict[str, str] = field(default_factory=dict)
    table: str | None = None
    time: str | None = None
    node: tuple[str, str] | None = None
    identifiers: dict[str, str] = field(default_factory=dict)
    mapped: dict[str, str] = field(default_factory=dict)

    def read_values(self) -> None:
        """Find the decimal sign and the form of every time."""
        columns = self.sample.columns
        self.decimal, told = decimal_of(list(columns.values()))
        if self.sample.format in ("jsonl", "parquet"):
            self.decimal, told = ".", []
        self.unsure += [*self.sample.unsure, *told]
        ambiguous = []
        for name, values in columns.items():
            if is_number(values, self.decimal) and not re.search(r"date|day|jour", plain(name)):
                continue
            form, doubtful = date_format(values)
            if form is not None:
                self.forms[name] = form
                ambiguous += [name] if doubtful else []
        # A column that shows a day after the 12th settles the order of all.
        settled = {f for n, f in self.forms.items() if n not in ambiguous and f.startswith(("%d", "%m"))}
        orders = {form[:2] for form in settled}
        if ambiguous and len(orders) != 1:
            self.unsure.append(f"dates of {', '.join(ambiguous)}: day or month first; day first was taken")
        elif ambiguous and orders == {"%m"}:
            for name in ambiguous:
                self.forms[name] = (
                    self.forms[name].replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")
                )
        if any(form != "iso" for form in self.forms.values()):
            self.unsure.append(f"zone: clock times have no offset; {ZONE} was written")

    def choose_table(self) -> None:
        """Find what the columns mean, and the table most of them speak for."""
        names = {plain(name): name for name in reversed(self.sample.columns)}
        words = _words()
        self.time = next(
            (names[word] for word in words["times"]["event_time"] if names.get(word) in self.forms), None
        )
        if self.time is None and self.forms:
            self.time = next(iter(self.forms))
            self.unsure.append(f"event_time: no column has a usual name; `{self.time}` was taken")
        self.identifiers = {
            kind: names[word]
            for kind, known in words["identifiers"].items()
            if (word := next((w for w in known if w in names), None)) is not None
        }
        for kind, known in words["nodes"].items():
            if self.node is None and (word := next((w for w in known if w in names), None)) is not None:
                self.node = (kind, names[word])
        ranked = sorted(
            ((*self._score(table, names), table) for table in words["tables"]),
            key=itemgetter(0),
            reverse=True,
        )
        (best, found, table), (second, _, runner) = ranked[:2]
        if best < _SPEAKS:
            self.unsure.append("table: nothing in the header says what a record is; no mapping is proposed")
            return
        self.table, self.mapped = table, found
        if second >= 0.8 * best:
            self.unsure.append(f"table: {self.table} was taken; {runner} fits almost as well")
        self._look_for_gaps()

    def _score(self, table: str, names: dict[str, str]) -> tuple[float, dict[str, str]]:
        """Return how much the columns speak for a table, and those it would take."""
        found, marks = self._columns_of(table, names), _words()["tables"][table]["hallmarks"]
        n = sum(column in found for column in marks)
        score = n / len(marks) + 0.1 * n + 0.02 * len(found)
        # A file that says whose each record is does not describe things without owner.
        return (0.6 * score if self.node is not None and "node_id" not in TABLES[table] else score), found

    def _look_for_gaps(self) -> None:
        """Say what the chosen table needs and the file does not show."""
        assert self.table is not None
        if self.node is None and "node_id" in TABLES[self.table]:
            key = self._key()
            self.node = ("account", key)
            self.unsure.append(f"node: no column says whose record it is; `{key}` was taken")
        lacking = [
            c.name
            for c in TABLES[self.table].columns
            if c.required and c.name not in (*_IDENTITY, *self.mapped)
        ]
        if lacking:
            self.unsure.append(
                f"{self.table}: no column for {', '.join(lacking)}; the mapping is commented out"
            )
        if self.time is None and "event_time" in TABLES[self.table]:
            self.unsure.append(f"{self.table}: no column is a time; the mapping is commented out")

    def _columns_of(self, table: str, names: dict[str, str]) -> dict[str, str]:
        """Return the columns of a table found in the file, by name and content."""
        found = {}
        for column in TABLES[table].columns:
            if column.name in _IDENTITY:
                continue
            known = [plain(column.name), *_words()["columns"].get(column.name, [])]
            if any(plain(column.name) in owners for owners in _words()["nodes"].values()):
                known = known[1:]  # `contact_id` in an export is whose record it is
            if column.name.endswith("_minor"):
                known.append(plain(column.name.removesuffix("_minor")))
            for word in known:
                if word in names and self._fits(column, names[word]):
                    found[column.name] = names[word]
                    break
        return found

    def _fits(self, column: Column, name: str) -> bool:
        """Tell whether the values of a column of the file can be those of a canonical column."""
        values = self.sample.columns[name]
        if not values:
            return True
        if column.type in ("timestamp", "date"):
            return name in self.forms
        if column.type in ("int64", "float64", "decimal"):
            return is_number(values, self.decimal)
        if column.type == "bool":
            return {v.lower() for v in values} <= {"0", "1", "true", "false", "yes", "no", "oui", "non"}
        return True

    def _key(self) -> str:
        """Return the first column whose values are all there and all different."""
        for name, values in self.sample.columns.items():
            if len(values) == self.sample.records == len(set(values)):
                return name
        return next(iter(self.sample.columns))

    def _known_to_all(self) -> str:
        """Return a column that names every record by itself or by its order."""
        ids = [name for name, values in self.sample.columns.items() if len(values) == self.sample.records]
        wanted = [name for name in self.mapped.values() if name in ids] or [self._key()]
        return wanted[0]

    def left(self) -> list[str]:
        """Return the columns that nothing takes."""
        taken = {*self.mapped.values(), *self.identifiers.values(), self.time}
        taken |= {self.node[1]} if self.node else set()
        return [name for name in self.sample.columns if name not in taken]

    def toml(self) -> str:
        """Write the proposal."""
        sample, table = self.sample, self.table
        source = re.sub(r"[^a-z0-9_]+", "_", plain(self.file.rsplit(".", 1)[0]).replace(" ", "_")).strip("_")
        source = source if source[:1].isalpha() else f"source_{source}"
        lines = [f"# Proposed from the first {sample.records} records of a file: read it before you use it."]
        lines += [f"# Unsure of {told}" for told in self.unsure]
        lines += [f"# Not mapped: {', '.join(left)}"] if (left := self.left()) else []
        lines += [f"source = {_text(source)}", 'en = ""', 'fr = ""', f"format = {_text(sample.format)}"]
        lines += [f"delimiter = {_text(sample.delimiter)}"] if sample.delimiter else []
        lines += [f"encoding = {_text(sample.encoding)}"] if sample.encoding != "utf-8" else []
        lines += [f"decimal = {_text(self.decimal)}"] if self.decimal != "." else []
        lines += [f"zone = {_text(ZONE)}", 'fold = "earlier"', 'currency = "EUR"', "", "[datasets.records]"]
        lines += [
            f"files = {_text(self.file)}",
            f"columns = {json.dumps(list(sample.columns), ensure_ascii=False)}",
        ]
        if self.node is not None:
            kind, name = self.node
            whose = f"type = {_text(kind)}, record_id = {_text(_name(name))}"
            if len(sample.columns[name]) < sample.records:  # some records name nobody: they stay, anonymous
                other = f"'record:' || {_name(self._known_to_all())}"
                whose += f", anonymous = {_text(other)}"
            lines.append(f"node = {{ {whose} }}")
            if self.identifiers and self.time is not None:
                pairs = ", ".join(f"{kind} = {_text(_name(name))}" for kind, name in self.identifiers.items())
                lines.append(f"identifiers = {{ {pairs} }}")
        if self.time is not None:
            lines.append(f"event_time = {_text(self._time(self.time))}")
        if table is not None and self.mapped:
            lines += ["", *self._mapping(table)]
        return "\n".join(lines) + "\n"

    def _mapping(self, table: str) -> list[str]:
        body = ["[[datasets.records.maps]]", f"table = {_text(table)}", "[datasets.records.maps.set]"]
        body += [f"{c} = {_text(self._value(TABLES[table][c], name))}" for c, name in self.mapped.items()]
        known = "known_at" in TABLES[table] and "event_time" not in TABLES[table]
        if known and self.time is not None:
            body.append(f"known_at = {_text(self._time(self.time))}")
        needed = [c.name for c in TABLES[table].columns if c.required and c.name not in _IDENTITY]
        timed = self.time is not None or not ({"event_time", "known_at"} & set(TABLES[table].names))
        whole = timed and all(name in self.mapped for name in needed)
        return body if whole else [f"# {line}" for line in body]

    def _time(self, name: str) -> str:
        form = self.forms[name]
        return f"iso_time({_name(name)})" if form == "iso" else f"local_time({_name(name)}, '{form}')"

    def _value(self, column: Column, name: str) -> str:
        """Return the expression that converts a column of the file."""
        raw = _name(name)
        if column.type == "timestamp":
            return self._time(name) if name in self.forms else f"iso_time({raw})"
        if column.type == "date":
            form = self.forms.get(name, "iso")
            return f"as_date({raw}, '%Y-%m-%d')" if form == "iso" else f"as_date({raw}, '{form}')"
        if column.name.endswith("_minor"):
            return f"minor({raw})"
        helper = {"int64": "integer", "float64": "real", "decimal": "number", "bool": "flag"}.get(column.type)
        if column.type == "list<string>":
            return f"words({raw}, '|')"
        return f"{helper}({raw})" if helper else f"trim({raw})"


def _name(column: str) -> str:
    """Write a column in an expression, quoted where it is not a plain word."""
    plain_word = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,3}", column)
    return column if plain_word else '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
