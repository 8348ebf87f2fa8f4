"""How well a base understands its customers: four levels, from evidence, a person and as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.consent import nodes_sql, persons_sql
from cdpkit.errors import CdpkitError
from cdpkit.identity.moments import instant, literal, members
from cdpkit.identity.seen import seen

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: What may be known of a person, with its name in French and English.
EVIDENCE: dict[str, tuple[str, str]] = {
    "key": ("une clé déclarée : adresse, compte ou carte", "a declared key: address, account or card"),
    "unified": ("des fiches de plusieurs sources réunies", "records of several sources joined"),
    "demographics": ("des données démographiques", "demographic data"),
    "transactions": ("des achats", "purchases"),
    "social": ("des préférences, signaux sociaux ou fidélité", "preferences, social signals or loyalty"),
    "behaviour": ("des comportements observés", "observed behaviour"),
    "consent": ("un accord pour un canal", "a grant for a channel"),
    "exportable": ("une adresse pour ce canal", "an address for that channel"),
    "fresh": ("des faits récents", "recent facts"),
}  # fmt: skip
#: What each level asks for beyond the one before.
LEVELS: dict[int, tuple[str, ...]] = {
    1: ("key",),
    2: ("unified", "demographics"),
    3: ("transactions", "social"),
    4: ("behaviour", "consent", "exportable", "fresh"),
}
NAMES: dict[int, tuple[str, str]] = {
    1: ("utilisateur de base", "basic user"),
    2: ("identité de base", "basic identity"),
    3: ("profil enrichi", "sophisticated profile"),
    4: ("personnalisation individuelle", "true one to one"),
}
#: The whole base is at the highest level that this share of its persons reaches.
MAJORITY = 0.5
_KEYS = ("email", "phone", "account_id", "loyalty_id", "national_id")
_FACTS = ("birth_date", "gender", "postcode", "city")
#: Channels a person may agree to, and the identifier each is reached by.
_REACHED = {
    "email": ("email",), "sms": ("phone",), "call": ("phone",), "push": ("app_id", "device_id"),
    "site": ("cookie_id",), "ad": ("cookie_id", "email"),
}  # fmt: skip
#: Records with an identifier that is no placeholder, kept for one reading.
_BELIEVED = "identity_believed"
_SOCIAL = ("preferences", "social", "watchlists", "reviews", "surveys")
_TOUCHED = ("events", "orders", "contacts", "quotes", "reviews", "surveys", "social")


@dataclass(frozen=True)
class IdentityLevels:
    """The levels of the persons of a base, and its own.

    Attributes
    ----------
    persons : DataFrame
        ``person_id, level`` (1 to 4), ``missing`` (what the next level asks for and is not there, a list)
        and a true or false for each name of `EVIDENCE`; one row a person with a declared key.
    base : int
        Level of the whole base; 0 where it has no such person.
    n_anonymous : int
        Persons without a declared key: visitors and partners' cookies, who have no level.
    """

    persons: pd.DataFrame
    base: int
    n_anonymous: int

    def summary(self) -> pd.DataFrame:
        """Return ``level, fr, en, persons, share, at_least`` (share there or above), four rows."""
        n = max(len(self.persons), 1)
        counts = self.persons["level"].value_counts()
        rows = [
            {
                "level": level,
                "fr": NAMES[level][0],
                "en": NAMES[level][1],
                "persons": int(counts.get(level, 0)),
                "share": counts.get(level, 0) / n,
                "at_least": float((self.persons["level"] >= level).sum()) / n,
            }
            for level in LEVELS
        ]
        return pd.DataFrame(rows)

    def lacking(self) -> pd.DataFrame:
        """Return what keeps persons from their next level, the most frequent first.

        Returns
        -------
        DataFrame
            ``level`` (reached), ``evidence, fr, en, persons`` (who lack it), ``alone`` (who lack nothing
            else) and ``share`` of the persons at that level.
        """
        rows = []
        for level, at in self.persons.groupby("level"):
            for name in LEVELS.get(int(str(level)) + 1, ()):
                lack = at["missing"].map(lambda missing, name=name: name in missing)
                rows.append(
                    {
                        "level": int(str(level)),
                        "evidence": name,
                        "fr": EVIDENCE[name][0],
                        "en": EVIDENCE[name][1],
                        "persons": int(lack.sum()),
                        "alone": int((lack & (at["missing"].map(len) == 1)).sum()),
                        "share": float(lack.mean()),
                    }
                )
        columns = ["level", "evidence", "fr", "en", "persons", "alone", "share"]
        out = pd.DataFrame(rows, columns=columns)
        return out.sort_values(["level", "persons"], ascending=[True, False], ignore_index=True)


def level(evidence: Iterable[str]) -> tuple[int, tuple[str, ...]]:
    """Return the level that a person's evidence gives, and what the next one asks for besides.

    Parameters
    ----------
    evidence : iterable of str
        Names of `EVIDENCE` that hold.

    Raises
    ------
    CdpkitError
        For a name that is none.

    Examples
    --------
    >>> level(["key"])
    (1, ('unified', 'demographics'))
    >>> level(["key", "unified", "demographics", "transactions"])
    (2, ('social',))
    """
    held = set(evidence)
    if unknown := sorted(held - set(EVIDENCE)):
        raise CdpkitError(f"evidence must be one of {', '.join(EVIDENCE)}", got=", ".join(unknown))
    reached = 1
    for number in (2, 3, 4):
        lacks = tuple(name for name in LEVELS[number] if name not in held)
        if lacks:
            return reached, lacks
        reached = number
    return reached, ()


def identity_levels(engine: Engine, as_of: object, *, fresh_days: int = 90) -> IdentityLevels:
    """Return the identity level of each person and of the base, as known at a date.

    Parameters
    ----------
    engine : Engine
        Sees the canonical tables.
    as_of : timestamp-like
        UTC; nothing that happened or was learned at or after it counts.
    fresh_days : int
        A person's facts are fresh when something was seen of it within so many days.

    Returns
    -------
    IdentityLevels

    Notes
    -----
    Level 1 is a key in a silo; 2 joins records of several sources and knows who the person is; 3 adds
    purchases, and preferences, social signals or loyalty; 4 adds behaviour, a grant for a channel with an
    address for it, and freshness. Behaviour counts only where the person may be profiled. More evidence
    never lowers a level.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> day = pd.Timestamp("2025-01-01")
    >>> seen = pd.DataFrame({"node_id": [1], "source": "crm", "id_type": "email", "value": "zoe@x.fr",
    ...                      "event_time": day, "known_at": day})
    >>> member = pd.DataFrame({"node_id": [1], "person_id": "p1", "known_from": day, "known_to": pd.NaT})
    >>> nodes = pd.DataFrame({"node_id": [1], "source": "crm", "record_id": "c1", "node_type": "contact",
    ...                       "known_at": day})
    >>> engine = DuckDBEngine(frames={"identifiers": seen, "membership": member, "nodes": nodes})
    >>> identity_levels(engine, "2025-02-01").persons[["person_id", "level"]].to_numpy().tolist()
    [['p1', 1]]
    """
    t = literal(as_of)
    since = literal(instant(as_of) - pd.Timedelta(days=fresh_days))
    engine.register(_BELIEVED, _believed(engine, as_of))
    held = engine.query(_PERSONS.format(members=members(as_of), t=t, kinds=_listed(_KEYS))).to_pandas()
    known = held.set_index("person_id")
    profiled = nodes_sql("profiling", as_of).sql(dialect=engine.dialect)
    found: dict[str, set[str]] = {
        "key": set(known.index[known["keys"] > 0]),
        "unified": set(known.index[known["sources"] > 1]),
        "demographics": _people(engine, _said(t), as_of),
        "transactions": _people(engine, _happened("orders", t), as_of),
        "social": _people(engine, " UNION ".join(_happened(name, t) for name in _SOCIAL), as_of)
        | set(known.index[known["cards"] > 0]),
        "behaviour": _people(engine, f"{_happened('events', t)} INTERSECT {profiled}", as_of),
        "fresh": _people(engine, " UNION ".join(_happened(name, t, since) for name in _TOUCHED), as_of),
    }  # fmt: skip
    found["consent"], found["exportable"] = _reachable(engine, as_of)
    people = sorted(found["key"])
    flags = pd.DataFrame({name: [p in found[name] for p in people] for name in EVIDENCE}, dtype=bool)
    told = [level(flags.columns[row]) for row in flags.to_numpy()]
    persons = pd.DataFrame(
        {
            "person_id": pd.Series(people, dtype="str"),
            "level": pd.Series([number for number, _ in told], dtype="int64"),
            "missing": pd.Series([list(lacks) for _, lacks in told], dtype=object),
        }
    )
    reached = [n for n in LEVELS if len(persons) and (persons["level"] >= n).mean() >= MAJORITY]
    return IdentityLevels(
        pd.concat([persons, flags], axis=1), max(reached, default=0), len(known) - len(people)
    )


_PERSONS = """
    SELECT m.person_id, COUNT(DISTINCT n.source) AS sources,
           COUNT(DISTINCT CASE WHEN i.id_type IN ({kinds}) THEN i.id_type END) AS keys,
           COUNT(DISTINCT CASE WHEN i.id_type = 'loyalty_id' THEN i.id_type END) AS cards
    FROM ({members}) AS m JOIN nodes AS n ON n.node_id = m.node_id AND n.known_at < {t}
    LEFT JOIN identity_believed AS i ON i.node_id = m.node_id
    GROUP BY m.person_id
"""


def _believed(engine: Engine, as_of: object) -> pd.DataFrame:
    """Return the records that carry an identifier of each type that may be believed."""
    parts = []
    for kind in (*_KEYS, "cookie_id", "app_id", "device_id"):
        one = seen(engine, kind, as_of)
        nodes = one.rows.loc[one.believed, "node_id"].unique()
        parts.append(pd.DataFrame({"node_id": nodes.astype("int64"), "id_type": kind}))
    return pd.concat(parts, ignore_index=True).astype({"id_type": "str"})


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _said(t: str) -> str:
    """Return the records that gave a fact of who their owner is."""
    there = " OR ".join(f"{name} IS NOT NULL" for name in _FACTS)
    return f"SELECT node_id FROM profiles WHERE known_at < {t} AND ({there})"


def _happened(table: str, t: str, since: str = "TIMESTAMP '0001-01-01'") -> str:
    """Return the records of whom a table tells something before a time."""
    return f"SELECT node_id FROM {table} WHERE event_time < {t} AND known_at < {t} AND event_time >= {since}"


def _people(engine: Engine, nodes: str, as_of: object) -> set[str]:
    """Return the persons of some records, as known then."""
    query = f"SELECT DISTINCT m.person_id FROM ({members(as_of)}) AS m JOIN ({nodes}) AS n USING (node_id)"
    return set(engine.query(query).to_pandas()["person_id"])


def _reachable(engine: Engine, as_of: object) -> tuple[set[str], set[str]]:
    """Return who granted a channel, and who can also be reached by it."""
    asked = engine.query(
        "SELECT DISTINCT channel FROM consents WHERE purpose = 'activation' AND status = 'granted'"
    ).to_pandas()
    said = set(asked["channel"])
    granted: set[str] = set()
    exportable: set[str] = set()
    for channel, kinds in _REACHED.items():
        if not said & {channel, "*"}:
            continue
        yes = set(engine.query(persons_sql("activation", as_of, channel)).to_pandas()["person_id"])
        carries = f"SELECT node_id FROM {_BELIEVED} WHERE id_type IN ({_listed(kinds)})"
        granted |= yes
        exportable |= yes & _people(engine, carries, as_of)
    return granted, exportable
