"""What the records say, as numbers: nodes in a fixed order, and who carried which key since when."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from cdpkit import normalise, texts
from cdpkit.errors import SchemaError
from cdpkit.identity.hygiene import Hygiene
from cdpkit.normalise import Keys

#: The time of a record that carries none: earlier than any other.
EARLIEST = pd.Timestamp("1900-01-01")

#: Columns of a records frame that are not attributes of a person.
_FRAME = ("source", "record_id", "node_id", "known_at", "may_link")
_NODE = ("source", "record_id")
#: Attributes whose values are judged only by what stands beside them.
_PLACES = ("street", "city")
_DECLARED = ("first_name", "last_name", "birth_date", "email", "phone", "national_id", "loyalty_id")


@dataclass(frozen=True)
class Evidence:
    """Records reduced to nodes (distinct ``source, record_id``, in that order) and keys.

    Parameters
    ----------
    nodes : DataFrame
        ``source, record_id, node_id?, known_from, may_link``, indexed 0..n-1.
    rows : DataFrame
        The records as given.
    order : ndarray of int
        The position in `rows` of each row in the order of nodes and time; all that follows is in that order.
    node : ndarray of int
        Node of each row.
    known_at : ndarray of int
        Microseconds since 1970, of each row.
    keys : dict of str to Keys
        Keys of each row, by attribute.
    spans : dict of str to DataFrame
        ``node, code, known_at, last_at`` by attribute: each key of each node, first and last known, in
        the order of nodes.
    verdicts : dict of str to ndarray of int
        What is said of each key by itself, by attribute (see `Hygiene.verdicts`).
    mailboxes : Keys
        The mailbox behind each e-mail key, by code.
    """

    nodes: pd.DataFrame
    rows: pd.DataFrame
    order: np.ndarray
    node: np.ndarray
    known_at: np.ndarray
    keys: dict[str, Keys]
    spans: dict[str, pd.DataFrame] = field(repr=False)
    verdicts: dict[str, np.ndarray] = field(repr=False)
    mailboxes: Keys = field(repr=False)

    @classmethod
    def of(cls, records: pd.DataFrame, rules: Hygiene, region: str = "FR") -> Evidence:
        """Read a records frame; rows may come in any order.

        Raises
        ------
        SchemaError
            When ``source`` or ``record_id`` is absent or null.
        """
        faults = [
            f"column `{name}` must be present and never null"
            for name in ("source", "record_id")
            if name not in records or records[name].isna().any()
        ]
        if faults:
            raise SchemaError("the records frame", faults)
        rows = records.reset_index(drop=True)
        known_at = (
            microseconds(rows["known_at"])
            if "known_at" in rows
            else np.full(len(rows), EARLIEST.value // 1000, dtype=np.int64)
        )
        nodes, node = _nodes(rows)
        order = np.argsort(node) if len(nodes) == len(rows) else np.lexsort((known_at, node))
        node, known_at = node[order], known_at[order]
        first = np.searchsorted(node, np.arange(len(nodes)))
        nodes["known_from"] = known_at[first]
        if "node_id" in rows:
            nodes["node_id"] = rows["node_id"].to_numpy()[order][first]
        nodes["may_link"] = True
        if "may_link" in rows:
            may = rows["may_link"].fillna(True).astype(bool).to_numpy()[order]
            nodes["may_link"] = np.bincount(node, weights=~may, minlength=len(nodes)) == 0
        keys = {
            name: normalise.keys(rows[name], make)
            for name, make in normalise.KEYS.items()
            if name in rows and name != "phone"
        }
        if "phone" in rows:
            keys["phone"] = normalise.phone_keys(rows["phone"], rows.get("country"), region)
        keys = {name: Keys(key.codes[order], key.categories) for name, key in keys.items()}
        spans = {name: _spans(node, key.codes, known_at) for name, key in keys.items()}
        verdicts = {
            name: rules.verdicts(name, key.categories) for name, key in keys.items() if name not in _PLACES
        }
        emails = keys["email"].categories if "email" in keys else pd.Index([], dtype="str")
        box, boxes = texts.ranked(normalise.email_aliases(texts.arrow(emails)))
        mailboxes = Keys(box, texts.index(boxes))
        return cls(nodes, rows, order, node, known_at, keys, spans, verdicts, mailboxes)

    @property
    def attributes(self) -> list[str]:
        """Columns that describe persons, known ones first, extra ones after."""
        known = [name for name in normalise.KEYS if name in self.rows]
        return known + sorted(str(c) for c in self.rows if c not in normalise.KEYS and c not in _FRAME)

    def seen(self, attribute: str) -> pd.DataFrame:
        """Return ``node, code, known_at, last_at``: each key of each node, first and last known."""
        return self.spans.get(attribute, _NOTHING)

    def latest(self, attribute: str) -> np.ndarray:
        """Return the code of each node's last known key, -1 when it has none."""
        seen = self.seen(attribute)
        node, code = seen["node"].to_numpy(), seen["code"].to_numpy()
        out = np.full(len(self.nodes), -1, dtype=np.int64)
        if (node[1:] == node[:-1]).any():
            order = np.lexsort((-code, seen["last_at"]))
            node, code = node[order], code[order]
        out[node] = code
        return out

    def good(self, attribute: str) -> np.ndarray:
        """Tell, by code, whether a key is neither blocked nor invalid; a last False is for "no key"."""
        n = len(self.keys[attribute].categories)
        verdict = self.verdicts.get(attribute, np.zeros(n, dtype=np.int8))
        return np.append(verdict == 0, False)

    def strength(self) -> np.ndarray:
        """Return how well each node is known: 2 declared, 1 an account from its start, 0 anonymous."""
        out = np.zeros(len(self.nodes), dtype=np.int64)
        account = self.seen("account_id")
        born = account["known_at"].to_numpy() <= self.nodes["known_from"].to_numpy()[account["node"]]
        out[account["node"].to_numpy()[born]] = 1
        for name in _DECLARED:
            out[self.seen(name)["node"].to_numpy()] = 2
        return out


def _nodes(rows: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the distinct ``source, record_id``, in that order, and the node of each row."""
    source, sources = texts.ranked(texts.arrow(rows["source"].astype("str")))
    record, names = texts.ranked(texts.arrow(rows["record_id"].astype("str")))
    both = source * max(len(names), 1) + record
    known = np.sort(both)
    known = known[np.diff(known, prepend=-1) != 0]
    nodes = pd.DataFrame(
        {
            "source": texts.chosen(sources, known // max(len(names), 1)),
            "record_id": texts.chosen(names, known % max(len(names), 1)),
        }
    )
    return nodes, np.searchsorted(known, both)


def find(nodes: pd.DataFrame, source: pd.Series, record: pd.Series) -> np.ndarray:
    """Return the node of each source and record id, -1 where there is none.

    Parameters
    ----------
    nodes : DataFrame
        ``source, record_id``, distinct, in that order.
    source, record : Series
        What to find, of one length.

    Examples
    --------
    >>> nodes = pd.DataFrame({"source": ["a", "b"], "record_id": ["1", "1"]})
    >>> find(nodes, pd.Series(["b", "b"]), pd.Series([1, 2])).tolist()
    [1, -1]
    """
    (source_of, sources), (record_of, names) = (texts.ranked(texts.arrow(nodes[c])) for c in _NODE)
    known = source_of * max(len(names), 1) + record_of
    asked = [
        pc.index_in(texts.arrow(column.astype("str")), value_set=values).fill_null(-1).to_numpy()
        for column, values in ((source, sources), (record, names))
    ]
    wanted = np.where((asked[0] < 0) | (asked[1] < 0), -1, asked[0].astype(np.int64) * len(names) + asked[1])
    place = np.searchsorted(known, wanted)
    return np.where((wanted >= 0) & (np.append(known, -2)[place] == wanted), place, -1)


def _spans(node: np.ndarray, codes: np.ndarray, known_at: np.ndarray) -> pd.DataFrame:
    """Return ``node, code, known_at, last_at`` of the rows that have a key; rows by node and time."""
    has = codes >= 0
    node, code, at = node[has], codes[has].astype(np.int64), known_at[has]
    if (node[1:] != node[:-1]).all():
        return _frame(node=node, code=code, known_at=at, last_at=at)
    order = np.argsort(node * (int(code.max()) + 1) + code, kind="stable")
    node, code, at = node[order], code[order], at[order]
    new = np.ones(len(node), dtype=bool)
    new[1:] = (node[1:] != node[:-1]) | (code[1:] != code[:-1])
    start = np.flatnonzero(new)
    end = np.append(start[1:], len(node))[: len(start)] - 1
    return _frame(node=node[start], code=code[start], known_at=at[start], last_at=at[end])


def _frame(**columns: np.ndarray) -> pd.DataFrame:
    """Return a frame that shares its columns with what it was made of."""
    return pd.DataFrame(columns, copy=False)


_NOTHING = _spans(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))


def microseconds(times: pd.Series) -> np.ndarray:
    """Return UTC microseconds since 1970; missing times are the earliest possible.

    Examples
    --------
    >>> microseconds(pd.Series(["1970-01-01 00:00:01", None])).tolist()
    [1000000, -2208988800000000]
    """
    stamps = pd.to_datetime(times, utc=True).dt.tz_localize(None).astype("datetime64[us]")
    return stamps.fillna(EARLIEST).to_numpy().astype("datetime64[us]").astype(np.int64)


def timestamps(values: np.ndarray) -> np.ndarray:
    """Return microseconds as datetime64[us]."""
    return np.asarray(values, dtype=np.int64).astype("datetime64[us]")
