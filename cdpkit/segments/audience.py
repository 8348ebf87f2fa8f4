"""Audiences: a rule over scores, minus everyone who may not or should not be contacted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import sqlglot
from sqlglot import exp

from cdpkit import consent
from cdpkit.errors import CdpkitError, NotEnoughDataError
from cdpkit.identity.hashing import identifier_hash
from cdpkit.schema import TABLES

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: Why a candidate is left out, in the order in which the reasons are tried.
REASONS = (
    "merged",
    "unsubscribed",
    "source_terms",
    "no_consent",
    "no_address",
    "address_refused",
    "same_address",
    "bounced",
    "bought_lately",
    "control",
)

#: The attribute of the golden record through which a channel reaches a person.
ADDRESSES = {"email": "email", "sms": "phone", "call": "phone"}

_RULE_NODES = (
    exp.And,
    exp.Or,
    exp.Not,
    exp.Paren,
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.In,
    exp.Between,
    exp.Column,
    exp.Identifier,
    exp.Literal,
    exp.Boolean,
    exp.Neg,
)


@dataclass(frozen=True)
class Audience:
    """What a marketer asks for, before anyone is left out.

    Parameters
    ----------
    name : str
        Name of the audience, for instance ``"hot_email"``.
    model : str
        Model whose scores are filtered.
    where : str
        Condition over the columns of ``scores``, for instance ``"tier = 'hot'"``. Parsed, never pasted.
    channel : str
        Channel the message would take; consent is asked for it.
    quiet_days : int
        Leave out who bought within this many days.
    control_share : float
        Share of the eligible kept aside, in [0, 1), to measure what the campaign changed.

    Examples
    --------
    >>> Audience("hot_email", model="appetence", where="tier = 'hot'", channel="email").channel
    'email'
    """

    name: str
    model: str
    where: str
    channel: str = "email"
    quiet_days: int = 7
    control_share: float = 0.1

    def __post_init__(self) -> None:
        if self.channel not in ADDRESSES:
            ready = ", ".join(ADDRESSES)
            raise CdpkitError(
                "`channel` must be one an audience can leave by", self.channel, f"One of {ready}"
            )
        if not 0 <= self.control_share < 1:
            raise CdpkitError("`control_share` must be in [0, 1)", str(self.control_share))
        _parse(self.where)


@dataclass(frozen=True)
class AudienceResult:
    """The candidates of an audience and what became of them.

    Attributes
    ----------
    audience : Audience
        What was asked for.
    as_of : Timestamp
        Date of the knowledge used.
    candidates : DataFrame
        One row a candidate, in the columns of table ``audiences``.
    waterfall : DataFrame
        ``reason, n_out, n_left``: the first row is the candidates, the last is who is kept.
    """

    audience: Audience
    as_of: pd.Timestamp
    candidates: pd.DataFrame
    waterfall: pd.DataFrame

    @property
    def members(self) -> list[str]:
        """Persons kept."""
        return self.candidates.loc[self.candidates["included"], "person_id"].tolist()


def build(engine: Engine, audience: Audience, *, as_of: pd.Timestamp) -> AudienceResult:
    """Apply an audience's rule to the scores of a date, and say why each candidate is kept or left out.

    The scores are those of `as_of`; whether somebody may be contacted is asked of everything known now:
    a refusal that came after the scores counts.

    Parameters
    ----------
    engine : Engine
        Sees ``scores, golden, membership, consents, source_terms, messages, orders``.
    audience : Audience
        The rule, the channel and the precautions.
    as_of : Timestamp
        Date of the scores.

    Returns
    -------
    AudienceResult
        Counts add up: candidates = kept + left out, each person left out once, for the first
        reason of `REASONS` that holds. Without a recorded consent nobody is kept, nor through an address
        whose source's terms do not allow it at `as_of`. An address is written to once, and not at all where
        one of its holders refused.

    Raises
    ------
    NotEnoughDataError
        When there is no date, because nobody was scored.
    """
    as_of = pd.Timestamp(as_of)
    if pd.isna(as_of):
        raise NotEnoughDataError(
            "an audience must have scores to choose from", f"no score of {audience.model}", "Run its notebook"
        )
    found = engine.query(_candidates(audience, as_of)).to_pandas()
    facts = engine.query(_contact_facts(audience, as_of)).to_pandas().set_index("person_id")
    granted = consent.permitted_persons(engine, "activation", channel=audience.channel)
    facts["address"] = [
        None if pd.isna(value) else identifier_hash(ADDRESSES[audience.channel], value, "google")
        for value in facts["address"]
    ]
    facts["granted"] = facts.index.isin(granted["person_id"])
    refused = set(facts.loc[facts["decided"] & ~facts["granted"], "address"].dropna())
    facts = facts.reindex(found["person_id"])
    merged = facts["decided"].isna().to_numpy()
    address = facts["address"].to_numpy(dtype=object)
    flags = facts.drop(columns="address").fillna(False).astype(bool)
    open_to = flags["granted"].to_numpy() & ~flags["unsubscribed"].to_numpy()
    blocked = {
        "merged": merged,
        "unsubscribed": flags["unsubscribed"].to_numpy(),
        "no_consent": ~flags["granted"].to_numpy(),
        "no_address": pd.isna(address),
        "source_terms": flags["against_terms"].to_numpy(),
        "address_refused": np.array([value in refused for value in address], dtype=bool),
        "same_address": pd.Series(address).where(open_to).duplicated().to_numpy() & ~pd.isna(address),
        "bounced": flags["bounced"].to_numpy(),
        "bought_lately": flags["bought_lately"].to_numpy(),
        "control": _in_control(audience, found["person_id"]),
    }
    reason = np.select([blocked[r] for r in REASONS], REASONS, default="")
    candidates = pd.DataFrame(
        {
            "audience": audience.name,
            "as_of": as_of,
            "person_id": found["person_id"],
            "included": reason == "",
            "excluded_by": pd.Series(reason, index=found.index).where(reason != "", None),
            "decided_by": found["decided_by"],
        }
    )
    return AudienceResult(audience, as_of, candidates[list(TABLES["audiences"].names)], _waterfall(reason))


def _parse(where: str) -> exp.Expr:
    """Parse a rule; refuse whatever is not a comparison over columns of `scores`."""
    try:
        tree = sqlglot.parse_one(where, read="duckdb")
    except sqlglot.errors.ParseError as error:
        raise CdpkitError("an audience's rule must parse", where, "Write e.g. tier = 'hot'") from error
    for node in tree.walk():
        if not isinstance(node, _RULE_NODES):
            raise CdpkitError(
                "an audience's rule must compare columns of `scores` with values",
                f"{type(node).__name__} in {where!r}",
                "Use =, <>, <, >, IN, BETWEEN, AND, OR, NOT",
            )
        if isinstance(node, exp.Column) and node.name not in TABLES["scores"]:
            raise CdpkitError("an audience's rule must name columns of `scores`", f"{node.name!r}")
    return tree


def _candidates(audience: Audience, as_of: pd.Timestamp) -> exp.Select:
    """Select the persons whose scores satisfy the rule, best first."""
    return (
        exp.select("person_id", "decided_by")
        .from_("scores")
        .where(exp.column("model").eq(exp.Literal.string(audience.model)))
        .where(exp.column("as_of").eq(_timestamp(as_of)))
        .where(_parse(audience.where))
        .order_by("score DESC", "person_id")
    )


def _contact_facts(audience: Audience, as_of: pd.Timestamp) -> str:
    """Write the query that tells, for each person of today, what stands for and against a contact."""
    t, channel = _timestamp(as_of).sql(dialect="duckdb"), exp.Literal.string(audience.channel).sql()
    return f"""
    WITH member AS (
      SELECT node_id, person_id FROM membership WHERE known_to IS NULL
    ), reactions AS (
      SELECT person_id,
             max(greatest(unsubscribed_at, complained_at)) AS left_at,
             arg_max(bounced_at IS NOT NULL, event_time) AS bounced
      FROM messages JOIN member USING (node_id) WHERE channel = {channel} GROUP BY person_id
    ), bought AS (
      SELECT DISTINCT person_id, TRUE AS bought_lately
      FROM orders JOIN member USING (node_id)
      WHERE event_time >= {t} - INTERVAL {int(audience.quiet_days)} DAY AND cancelled_at IS NULL
    ), spoken AS (
      SELECT person_id, TRUE AS decided, max(event_time) FILTER (status = 'granted') AS granted_at
      FROM consents JOIN member USING (node_id)
      WHERE purpose = 'activation' AND channel IN ({channel}, '*') GROUP BY person_id
    ), addressed AS (
      SELECT person_id, value AS address, NOT u.allowed OR coalesce(u.until <= {t}, FALSE) AS against_terms
      FROM golden AS g LEFT JOIN source_terms AS u ON u.source = g.source AND u.purpose = 'activation'
      WHERE attribute = '{ADDRESSES[audience.channel]}'
    )
    SELECT person_id, address,
           left_at IS NOT NULL AND (granted_at IS NULL OR left_at >= granted_at) AS unsubscribed,
           coalesce(bounced, FALSE) AS bounced, coalesce(bought_lately, FALSE) AS bought_lately,
           coalesce(decided, FALSE) AS decided, coalesce(against_terms, FALSE) AS against_terms
    FROM (SELECT DISTINCT person_id FROM member)
    LEFT JOIN addressed USING (person_id) LEFT JOIN reactions USING (person_id)
    LEFT JOIN bought USING (person_id) LEFT JOIN spoken USING (person_id)
    """


def _in_control(audience: Audience, persons: pd.Series) -> np.ndarray:
    """Draw the control group by hash, so that a person stays in it from run to run."""
    draws = [
        int.from_bytes(hashlib.sha256(f"{audience.name}:{person}".encode()).digest()[:4], "big")
        for person in persons
    ]
    return np.array(draws, dtype=np.int64) < audience.control_share * 2**32


def _waterfall(reason: np.ndarray) -> pd.DataFrame:
    """Count who leaves at each reason, from all candidates down to who is kept."""
    rows, left = [("candidates", 0, len(reason))], len(reason)
    for name in REASONS:
        out = int((reason == name).sum())
        left -= out
        rows.append((name, out, left))
    return pd.DataFrame(rows, columns=["reason", "n_out", "n_left"])


def _timestamp(moment: pd.Timestamp) -> exp.Expr:
    """Spell a UTC time as a typed literal."""
    return exp.cast(exp.Literal.string(moment.isoformat(sep=" ")), "TIMESTAMP")
