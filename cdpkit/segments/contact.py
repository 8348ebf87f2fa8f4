"""What stands for and against writing to a person on a channel: one relation, read by whoever asks.

A decision, an unsubscription or a bounced address counts as soon as it is known: whether somebody may be
contacted is asked of everything known now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from cdpkit import consent
from cdpkit.errors import CdpkitError
from cdpkit.identity.hashing import identifier_hash
from cdpkit.normalise import clean

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: The attribute of the golden record through which a channel reaches a person.
ADDRESSES = {
    "email": "email",
    "sms": "phone",
    "call": "phone",
    "post": "street",
    "site": "cookie_id",
    "app": "account_id",
    "push": "account_id",
    "kiosk": "loyalty_id",
}

#: The channels whose reach is shown unless others are asked for.
REACHED = ("email", "sms", "call", "post", "site")

#: The engine's table that `prepare` leaves: see there.
CONTACT = "_contact"

#: The persons asked about, at a time later than any fact.
_TODAY, _NOW = "_contact_asked", "TIMESTAMP '9999-12-31 00:00:00'"

#: An e-mail address whose comparable form the engine can compute by itself.
_PLAIN = r"^[!-~]+@[!-~]+$"


def prepare(engine: Engine, channel: str, persons: str = "") -> None:
    """Make the engine's table ``_contact``: a row a person of today, for one channel.

    Parameters
    ----------
    engine : Engine
        Sees ``membership, nodes, consents, source_bases, messages, golden``.
    channel : str
        A key of `ADDRESSES`.
    persons : str, optional
        A table of ``person_id``: only these persons and whoever ever refused the channel have a row.
        Default: everybody.

    Notes
    -----
    Columns: ``person_id``; ``address``, comparable, missing where there is none or it cannot be read;
    ``address_source``, where it comes from; and the flags ``granted, refused, unsubscribed, bounced``.
    An unsubscription counts unless a grant came after it; an address bounces when its last message did.

    Raises
    ------
    CdpkitError
        When nothing leaves by this channel.
    """
    if channel not in ADDRESSES:
        raise CdpkitError(
            "`channel` must be one an audience can leave by", channel, f"One of {', '.join(ADDRESSES)}"
        )
    said = f"purpose = 'activation' AND channel IN ('{channel}', '*')"
    asked = f"""SELECT person_id FROM {persons}
                UNION SELECT person_id FROM consents JOIN membership USING (node_id)
                WHERE known_to IS NULL AND status = 'denied' AND {said}"""
    everybody = "SELECT DISTINCT person_id FROM membership WHERE known_to IS NULL"
    engine.materialise(
        _TODAY, f"SELECT person_id, {_NOW} AS as_of FROM ({asked if persons else everybody}) AS a"
    )
    _compare_addresses(engine, ADDRESSES[channel])
    permitted = consent.rows_sql("activation", _TODAY, channel).sql(dialect="duckdb")
    engine.materialise(
        CONTACT,
        f"""
        WITH today AS (
          SELECT node_id, person_id FROM membership
          WHERE known_to IS NULL AND person_id IN (SELECT person_id FROM {_TODAY})
        ), reactions AS (
          SELECT person_id, max(greatest(unsubscribed_at, complained_at)) AS left_at,
                 arg_max(bounced_at IS NOT NULL, event_time) AS bounced
          FROM messages JOIN today USING (node_id) WHERE channel = '{channel}' GROUP BY person_id
        ), spoken AS (
          SELECT person_id, max(event_time) FILTER (status = 'granted') AS granted_at
          FROM consents JOIN today USING (node_id) WHERE {said} GROUP BY person_id
        ), allowed AS (SELECT DISTINCT person_id FROM today JOIN ({permitted}) AS p USING (node_id))
        SELECT p.person_id, d.address, d.source AS address_source,
               g.person_id IS NOT NULL AS granted,
               s.person_id IS NOT NULL AND g.person_id IS NULL AS refused,
               r.left_at IS NOT NULL AND (s.granted_at IS NULL OR r.left_at >= s.granted_at) AS unsubscribed,
               coalesce(r.bounced, FALSE) AS bounced
        FROM (SELECT DISTINCT person_id FROM today) AS p
        LEFT JOIN _addresses AS d ON d.person_id = p.person_id
        LEFT JOIN allowed AS g ON g.person_id = p.person_id
        LEFT JOIN spoken AS s ON s.person_id = p.person_id
        LEFT JOIN reactions AS r ON r.person_id = p.person_id
        """,
    )


def allowed(
    engine: Engine, channel: str, persons: str, as_of: pd.Timestamp, barred: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Return who of some persons may be written to on a channel, now.

    Parameters
    ----------
    engine : Engine
        As for `prepare`, and sees ``source_terms``.
    channel : str
        A key of `ADDRESSES`.
    persons : str
        A table of ``person_id``.
    as_of : Timestamp
        When the terms of the sources are read.
    barred : tuple of str
        Sources whose addresses are not used.

    Returns
    -------
    DataFrame
        ``person_id``: a grant stands, nobody unsubscribed, the address does not bounce, is nobody's who
        refused, and its source's terms allow it.
    """
    prepare(engine, channel, persons)
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in barred) or "NULL"
    moment = f"TIMESTAMP '{pd.Timestamp(as_of)}'"
    query = f"""
        SELECT person_id FROM {CONTACT} JOIN {persons} USING (person_id)
        WHERE granted AND NOT unsubscribed AND NOT bounced AND (address IS NULL OR (
          address NOT IN (SELECT address FROM {CONTACT} WHERE refused AND address IS NOT NULL)
          AND address_source NOT IN (SELECT source FROM source_terms WHERE purpose = 'activation'
                                     AND (NOT allowed OR coalesce(until <= {moment}, FALSE)))
          AND coalesce(address_source NOT IN ({names}), TRUE)))"""
    return engine.query(query).to_pandas()


def reach(engine: Engine, persons: str, channels: tuple[str, ...] = REACHED) -> pd.DataFrame:
    """Count who can be written to, channel by channel.

    Parameters
    ----------
    engine : Engine
        As for `prepare`.
    persons : str
        A query of ``person_id``, or a table that has it.
    channels : tuple of str
        Keys of `ADDRESSES`.

    Returns
    -------
    DataFrame
        ``channel, n, with_address, consented, reachable, share``: reachable persons have an address
        that does not bounce, a recorded agreement, and did not unsubscribe. A last row ``any`` counts
        each person once.
    """
    asked = f"({persons})" if persons.lstrip().upper().startswith(("SELECT", "WITH")) else persons
    engine.materialise("_audience", f"SELECT DISTINCT person_id FROM {asked} AS asked")
    rows, found = [], []
    for channel in channels:
        prepare(engine, channel, "_audience")
        engine.materialise(
            f"_reached_{channel}",
            f"""SELECT person_id, address IS NOT NULL AS has_address, granted AND NOT unsubscribed AS agreed,
                       address IS NOT NULL AND NOT bounced AND granted AND NOT unsubscribed AS reachable
                FROM _audience JOIN {CONTACT} USING (person_id)""",
        )
        counted = f"""SELECT '{channel}' AS channel, (SELECT count(*) FROM _audience) AS n,
                             count(*) FILTER (has_address) AS with_address, count(*) FILTER (agreed) AS
                               consented,
                             count(*) FILTER (reachable) AS reachable FROM _reached_{channel}"""
        rows.append(engine.query(counted).to_pandas())
        found.append(f"SELECT * FROM _reached_{channel}")
    together = f"""SELECT 'any' AS channel, (SELECT count(*) FROM _audience) AS n,
                          count(DISTINCT person_id) FILTER (has_address) AS with_address,
                          count(DISTINCT person_id) FILTER (agreed) AS consented,
                          count(DISTINCT person_id) FILTER (reachable) AS reachable
                   FROM ({" UNION ALL ".join(found)}) AS every"""
    frame = pd.concat([*rows, engine.query(together).to_pandas()], ignore_index=True)
    return frame.assign(share=frame["reachable"] / frame["n"].clip(lower=1))


def _compare_addresses(engine: Engine, attribute: str) -> None:
    """Keep each person's address in the form in which two spellings of it are equal."""
    theirs = f"person_id IN (SELECT person_id FROM {_TODAY})"
    rows = f"SELECT person_id, value, source FROM golden WHERE attribute = '{attribute}' AND {theirs}"
    if attribute == "street":
        # A street is an address only with its town.
        rows = f"""SELECT s.person_id, concat(s.value, ' ', p.value) AS value, s.source FROM ({rows}) AS s
                   JOIN golden AS p ON p.person_id = s.person_id AND p.attribute = 'postcode'"""
    plain = f"regexp_matches(value, '{_PLAIN}')" if attribute == "email" else "FALSE"
    odd = f"SELECT DISTINCT value FROM ({rows}) AS held WHERE value IS NOT NULL AND NOT {plain}"
    keys = engine.query(odd).to_pandas()
    keys["key"] = pd.Series([_key(attribute, value) for value in keys["value"]], dtype="str")
    engine.register("_odd", keys.astype({"value": "str"}))
    lowered = "lower(value)"
    local, domain = f"split_part({lowered}, '@', 1)", f"split_part({lowered}, '@', 2)"
    google = f"""CASE WHEN {plain} THEN CASE
        WHEN NOT regexp_matches({lowered}, '^[^@]+@[^@.]+(\\.[^@.]+)+$') THEN NULL
        WHEN {domain} IN ('gmail.com', 'googlemail.com') THEN sha256(concat(replace({local}, '.', ''),
          '@', {domain}))
        ELSE sha256({lowered}) END ELSE _odd.key END"""
    engine.materialise(
        "_addresses",
        f"""SELECT person_id, source, {google} AS address FROM ({rows}) AS held
            LEFT JOIN _odd USING (value)""",
    )


def _key(attribute: str, value: str) -> str | None:
    """Return the comparable form of one address."""
    if attribute in ("email", "phone"):
        return identifier_hash(attribute, value, "google")
    text = clean(value)
    return None if text is None else " ".join(text.lower().split())
