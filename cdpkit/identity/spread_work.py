"""What a worker does with its part of a base: keys of records, persons, tables packed and unpacked."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from cdpkit import texts
from cdpkit.identity.claim import Previous
from cdpkit.identity.comparisons import FIELDS, representatives
from cdpkit.identity.evidence import Evidence, find
from cdpkit.identity.hygiene import Hygiene
from cdpkit.identity.resolution import Resolution, resolved
from cdpkit.identity.scored import joined, shared_values

#: Tables of a resolution, and the representatives that are compared further.
TABLES = ("membership", "links", "persons", "golden", "person_events", "aliases")
KEYS = pa.schema(
    [
        ("node", pa.int64()),
        ("attribute", pa.string()),
        ("word", pa.string()),
        ("mailbox", pa.string()),
        ("good", pa.bool_()),
        ("last_at", pa.int64()),
    ]
)
PARTS = pa.schema([("part", pa.int64()), ("name", pa.string()), ("content", pa.binary())])
#: Columns that mark, among the rows of a part, what is no record: who a record was, and a scored link.
MARKS = ("_kind", "_text", "_since", "_until")
#: What is told of a scored link.
LINK = (
    "left_source", "left_record_id", "right_source", "right_record_id", "weight", "known_at", "state",
    "refused_by", "evidence",
)  # fmt: skip


@dataclass(frozen=True)
class KeysOf:
    """Make keys of records: what each node says, once."""

    rules: Hygiene
    region: str

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `KEYS`."""
        evidence = Evidence.of(rows, self.rules, self.region)
        number = evidence.nodes["node_id"].to_numpy(np.int64)
        out = []
        for name, key in evidence.keys.items():
            seen = evidence.seen(name)
            code = seen["code"].to_numpy()
            box = evidence.mailboxes.codes[code] if name == "email" else np.full(len(code), -1)
            out.append(
                pd.DataFrame(
                    {
                        "node": number[seen["node"].to_numpy()],
                        "attribute": name,
                        "word": texts.chosen(texts.arrow(key.categories), code),
                        "mailbox": texts.chosen(texts.arrow(evidence.mailboxes.categories), box),
                        "good": evidence.good(name)[code],
                        "last_at": seen["last_at"].to_numpy(),
                    }
                )
            )
        return pd.concat(out, ignore_index=True) if out else KEYS.empty_table().to_pandas()


@dataclass(frozen=True)
class Task:
    """Resolve one part as one machine would.

    Parameters
    ----------
    run_id : str
        Run; new persons are named after it and the part.
    rules : Hygiene
        What may link, with what was counted in the whole base.
    region : str
        Country of phone numbers without a prefix.
    decisions, aliases : DataFrame or None
        As for `cdpkit.identity.resolve`.
    survivorship, source_priority
        As for `cdpkit.identity.resolve`.
    told : bool
        Whether scored links of the whole base are followed.
    compared : bool
        Whether the persons found are to be compared further: then they get representatives, and no more.
    """

    run_id: str
    rules: Hygiene
    region: str
    decisions: pd.DataFrame | None
    aliases: pd.DataFrame | None
    survivorship: Mapping[str, str]
    source_priority: tuple[str, ...]
    told: bool = False
    compared: bool = False

    @property
    def tables(self) -> tuple[str, ...]:
        """What is made of each part."""
        return ("membership", "representatives") if self.compared else TABLES

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `PARTS`: each table of the resolution, packed."""
        part = int(rows["part"].iloc[0])
        said = rows[rows["_kind"] == "record"].drop(columns=["part", *MARKS])
        found = resolved(
            said,
            self._previous(rows[rows["_kind"] == "held"], said),
            self.decisions,
            f"{self.run_id}.{part}",
            self.rules,
            self.survivorship,
            self.source_priority,
            self.region,
            False,
            told=_links(rows.loc[rows["_kind"] == "link", "_text"]) if self.told else None,
        )
        made = {
            name: self._representatives(said, found)
            if name == "representatives"
            else _shown(found, name, self.run_id)
            for name in self.tables
        }
        content = [_packed(frame, SCHEMAS[name]) for name, frame in made.items()]
        return pd.DataFrame({"part": part, "name": list(made), "content": content})

    def _previous(self, held: pd.DataFrame, said: pd.DataFrame) -> Previous | None:
        if held.empty:
            return None
        named = said.drop_duplicates("node_id").set_index("node_id")[["source", "record_id"]]
        membership = pd.DataFrame(
            {
                "source": named["source"].reindex(held["node_id"]).to_numpy(),
                "record_id": named["record_id"].reindex(held["node_id"]).to_numpy(),
                "person_id": held["_text"].to_numpy(),
                "known_from": held["_since"].to_numpy(),
                "known_to": held["_until"].to_numpy(),
            }
        )
        if self.aliases is None:
            return Previous(membership)
        return Previous(membership, self.aliases[self.aliases["person_id"].isin(membership["person_id"])])

    def _representatives(self, said: pd.DataFrame, found: Resolution) -> pd.DataFrame:
        """Return what is compared of each person of the part."""
        evidence = Evidence.of(said, self.rules, self.region)
        nodes, now = evidence.nodes, found.as_of()
        person = np.full(len(nodes), "", dtype=object)
        person[find(nodes, now["source"], now["record_id"])] = now["person_id"].to_numpy(dtype=object)
        labels, persons = pd.factorize(person)
        may = nodes["may_link"].to_numpy(dtype=bool)
        shared = shared_values(evidence, found.identifier_status)
        chosen = representatives(evidence, np.where(may, labels, -1), len(persons), shared)
        first = np.unique(labels, return_index=True)[1]
        # Of a person whose records may not be linked there is nothing to compare.
        at = np.maximum(chosen.node, 0)
        out = pd.DataFrame(
            {
                "node": nodes["node_id"].to_numpy(np.int64)[first],
                "person_id": persons.to_numpy() if hasattr(persons, "to_numpy") else persons,
                "first_source": nodes["source"].to_numpy()[first],
                "first_record_id": nodes["record_id"].to_numpy()[first],
                "source": nodes["source"].to_numpy()[at],
                "record_id": nodes["record_id"].to_numpy()[at],
                "known_at": chosen.known_at,
                "size": np.bincount(labels, minlength=len(persons)),
                "joined": np.bincount([0], weights=[joined(evidence, labels, may)], minlength=len(persons)),
            }
        )
        for name in FIELDS:
            key = chosen.fields.get(name)
            out[name] = None if key is None else key.array()
        return out


def _links(said: pd.Series) -> pd.DataFrame:
    rows = [json.loads(text) for text in said]
    out = pd.DataFrame(rows, columns=list(LINK))
    whole = dict.fromkeys(("known_at", "state", "refused_by"), "int64")
    return out.astype(whole | {"weight": "float64"})


def _shown(found: Resolution, name: str, run_id: str) -> pd.DataFrame:
    frame: pd.DataFrame = getattr(found, name)
    return frame.assign(run_id=run_id) if "run_id" in frame else frame


def _packed(frame: pd.DataFrame, schema: pa.Schema) -> bytes:
    table = pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False)
    out = io.BytesIO()
    with pa.ipc.new_stream(out, schema) as writer:
        writer.write_table(table)
    return out.getvalue()


@dataclass(frozen=True)
class Unpacked:
    """Read packed tables."""

    schema: pa.Schema

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return their rows."""
        tables = [pa.ipc.open_stream(content).read_all() for content in rows["content"]]
        return pa.concat_tables([self.schema.empty_table(), *tables]).to_pandas()


_TEXT, _TIME, _COUNT = pa.string(), pa.timestamp("us"), pa.int64()
ASIDE = pa.schema(
    [("id_type", _TEXT), ("value", _TEXT), ("n_records", _COUNT), ("n_names", _COUNT), ("n_named", _COUNT)]
)


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


SCHEMAS = {
    "membership": _schema(source=_TEXT, record_id=_TEXT, person_id=_TEXT, known_from=_TIME, known_to=_TIME),
    "links": _schema(
        left_source=_TEXT, left_record_id=_TEXT, right_source=_TEXT, right_record_id=_TEXT, rule=_TEXT,
        id_type=_TEXT, weight=pa.float64(), state=_TEXT, refused_by=_TEXT, evidence=_TEXT,
        known_at=_TIME, run_id=_TEXT,
    ),
    "persons": _schema(person_id=_TEXT, known_at=_TIME, n_nodes=_COUNT, n_sources=_COUNT),
    "golden": _schema(
        person_id=_TEXT, attribute=_TEXT, value=_TEXT, source=_TEXT, record_id=_TEXT, known_at=_TIME,
        rule=_TEXT,
    ),
    "person_events": _schema(
        run_id=_TEXT, event=_TEXT, person_id=_TEXT, into_person_id=_TEXT, n_nodes=_COUNT
    ),
    "aliases": _schema(old_id=_TEXT, person_id=_TEXT, run_id=_TEXT),
    "representatives": _schema(
        node=_COUNT, person_id=_TEXT, first_source=_TEXT, first_record_id=_TEXT, source=_TEXT,
        record_id=_TEXT, known_at=_COUNT, size=_COUNT, joined=_COUNT, **dict.fromkeys(FIELDS, _TEXT),
    ),
}  # fmt: skip
