"""How many persons: by what is known of them, where they are seen, and per cookie beside per person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.consent import nodes_sql
from cdpkit.identity.moments import literal, members

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: Kinds of persons in a base, as a count must tell them apart; French and English.
KINDS: dict[str, tuple[str, str]] = {
    "known": ("personnes connues", "known persons"),
    "visitor": ("visiteurs anonymes permis", "anonymous visitors who permit it"),
    "silent": ("visiteurs sans accord", "visitors without permission"),
    "partner": ("cookies de partenaires seuls", "partners' cookies alone"),
}
_DIGITAL = ("cookie", "anonymous")


def populations(engine: Engine, as_of: object = None) -> pd.DataFrame:
    """Count persons by what may be said of them: a bare count of ids would count partners' cookies as people.

    Parameters
    ----------
    engine : Engine
        Sees ``nodes, membership, touches, cookie_matches, source_terms`` and what consent reads.
    as_of : timestamp-like, optional
        UTC; as known then. Default: everything known.

    Returns
    -------
    DataFrame
        ``kind, fr, en, persons, records, counted``, in the order of `KINDS`: ``known`` has a contact, an
        account, a card, an address or a phone; ``visitor`` only cookies, at least one of which may be
        profiled; ``silent`` only cookies of our own, none of which may; ``partner`` only cookies that
        partners gave us. ``counted`` is true where a person may be profiled or is known to us: these make
        the number of persons to show, the others stand beside it.

    Notes
    -----
    One person has many partners' cookies in its life, and those never matched with ours stay alone. They
    have no basis and no feature is made of them, so they are no persons of the base.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> int(populations(DuckDBEngine())["persons"].sum())
    0
    """
    permitted = nodes_sql("profiling", as_of).sql(dialect=engine.dialect)
    found = engine.query(
        _KINDS.format(
            members=members(as_of), permitted=permitted, partners=PARTNERS, digital=_listed(_DIGITAL)
        )
    ).to_pandas()
    counts = found.set_index("kind")
    rows = [
        {
            "kind": kind,
            "fr": words[0],
            "en": words[1],
            "persons": int(counts["persons"].get(kind, 0)),
            "records": int(counts["records"].get(kind, 0)),
            "counted": kind in ("known", "visitor"),
        }
        for kind, words in KINDS.items()
    ]
    return pd.DataFrame(rows)


def partner_sources(engine: Engine) -> list[str]:
    """Return the sources whose records are a partner's, not a customer's of ours.

    Parameters
    ----------
    engine : Engine
        Sees ``touches, cookie_matches, source_terms``.
    """
    found = engine.query(f"SELECT source FROM ({PARTNERS}) AS told ORDER BY source").to_pandas()
    return found["source"].tolist()


def presence(engine: Engine, as_of: object = None, *, digital: tuple[str, ...] = _DIGITAL) -> pd.DataFrame:
    """Say who is in the CRM only, on the web only, and in both.

    Parameters
    ----------
    engine : Engine
        Sees ``nodes, membership``, and ``touches, cookie_matches, source_terms`` that tell partners' records.
    as_of : timestamp-like, optional
        UTC; as known then. Default: everything known.
    digital : tuple of str
        Node types of the web; every other type is of the CRM and its like. Partners' records are of neither.

    Returns
    -------
    DataFrame
        ``person_id, present``: ``crm``, ``web`` or ``both``; one row a person with a record of ours.
    """
    return engine.query(
        _PRESENCE.format(members=members(as_of), partners=PARTNERS, digital=_listed(digital))
    ).to_pandas()


def per_cookie(engine: Engine, since: object, until: object) -> pd.DataFrame:
    """Count visitors, visits' pages, buyers and conversion per cookie and per person, over a period.

    Parameters
    ----------
    engine : Engine
        Sees ``nodes, membership, events``.
    since, until : timestamp-like
        UTC; events from the first, before the second, under the persons known at the end.

    Returns
    -------
    DataFrame
        ``metric, per_cookie, per_person, inflation`` (the first over the second): ``visitors``, ``buyers``
        (with an order event), ``conversion`` (buyers over visitors) and ``pages`` (events a visitor).
        Only persons who are known by more than a cookie and were seen on the web count, for of the others
        no tool can tell how many cookies they have.
    """
    query = _PER_COOKIE.format(
        members=members(until), since=literal(since), until=literal(until), digital=_listed(_DIGITAL)
    )
    cookies, persons, cookie_buyers, buyers, events = engine.query(query).to_pandas().iloc[0].fillna(0)
    pairs = {
        "visitors": (cookies, persons),
        "buyers": (cookie_buyers, buyers),
        "conversion": (_over(cookie_buyers, cookies), _over(buyers, persons)),
        "pages": (_over(events, cookies), _over(events, persons)),
    }
    rows = [
        {"metric": name, "per_cookie": float(a), "per_person": float(b), "inflation": _over(a, b)}
        for name, (a, b) in pairs.items()
    ]
    return pd.DataFrame(rows)


#: Sources whose records are a partner's, not a customer's of ours.
PARTNERS = """
    SELECT source FROM cookie_matches
    UNION SELECT source FROM touches WHERE partner IS NOT NULL
    UNION SELECT source FROM source_terms WHERE partner IS NOT NULL
"""
_KINDS = """
    WITH partners AS ({partners}), permitted AS ({permitted}), said AS (
        SELECT m.person_id, COUNT(*) AS records,
               MAX(CASE WHEN n.node_type NOT IN ({digital}) THEN 1 ELSE 0 END) AS named,
               MAX(CASE WHEN p.source IS NULL THEN 1 ELSE 0 END) AS ours,
               MAX(CASE WHEN q.node_id IS NOT NULL THEN 1 ELSE 0 END) AS may
        FROM ({members}) AS m JOIN nodes AS n ON n.node_id = m.node_id
        LEFT JOIN partners AS p ON p.source = n.source
        LEFT JOIN permitted AS q ON q.node_id = m.node_id
        GROUP BY m.person_id
    )
    SELECT CASE WHEN named = 1 AND ours = 1 THEN 'known' WHEN ours = 0 THEN 'partner'
                WHEN may = 1 THEN 'visitor' ELSE 'silent' END AS kind,
           COUNT(*) AS persons, SUM(records) AS records
    FROM said GROUP BY 1
"""
_PRESENCE = """
    WITH partners AS ({partners}), said AS (
        SELECT m.person_id,
               MAX(CASE WHEN n.node_type IN ({digital}) THEN 1 ELSE 0 END) AS web,
               MAX(CASE WHEN n.node_type IN ({digital}) THEN 0 ELSE 1 END) AS crm
        FROM ({members}) AS m JOIN nodes AS n ON n.node_id = m.node_id
        LEFT JOIN partners AS p ON p.source = n.source
        WHERE p.source IS NULL GROUP BY m.person_id
    )
    SELECT person_id,
           CASE WHEN web = 1 AND crm = 1 THEN 'both' WHEN web = 1 THEN 'web' ELSE 'crm' END AS present
    FROM said ORDER BY person_id
"""
_PER_COOKIE = """
    WITH held AS ({members}), known AS (
        SELECT DISTINCT h.person_id FROM held AS h JOIN nodes AS n USING (node_id)
        WHERE n.node_type NOT IN ({digital})
    ), seen AS (
        SELECT e.node_id, h.person_id, COUNT(*) AS events,
               MAX(CASE WHEN e.event_type = 'Order Completed' THEN 1 ELSE 0 END) AS bought
        FROM events AS e JOIN held AS h USING (node_id) JOIN known AS k ON k.person_id = h.person_id
        JOIN nodes AS n ON n.node_id = e.node_id AND n.node_type IN ({digital})
        WHERE e.event_time >= {since} AND e.event_time < {until} AND e.known_at < {until}
        GROUP BY e.node_id, h.person_id
    )
    SELECT COUNT(*) AS cookies, COUNT(DISTINCT person_id) AS persons, SUM(bought) AS cookie_buyers,
           COUNT(DISTINCT CASE WHEN bought = 1 THEN person_id END) AS buyers, SUM(events) AS events
    FROM seen
"""


def _over(a: float, b: float) -> float:
    return float(a) / float(b) if b else float("nan")


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)
