"""Audiences: a rule over persons, minus everyone who may not or should not be contacted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.errors import CdpkitError, FaultsError, NotEnoughDataError
from cdpkit.schema import TABLES
from cdpkit.segments import contact, ledger, mastery, people, wishes
from cdpkit.segments.contact import ADDRESSES
from cdpkit.segments.ledger import Cap
from cdpkit.segments.offers import Offer
from cdpkit.segments.rule import Rule

if TYPE_CHECKING:
    from cdpkit.engine import Engine

__all__ = ["ADDRESSES", "LIFTED", "REASONS", "Audience", "AudienceResult", "build"]

#: Why a candidate is left out, in the order in which the reasons are tried.
REASONS = (
    "merged",
    "left_out",
    "suspended",
    "unsubscribed",
    "no_consent",
    "no_address",
    "address_refused",
    "same_address",
    "bounced",
    "source_terms",
    "not_eligible",
    "already_bought",
    "excluded",
    "wished",
    "capped",
    "too_recent",
    "bought_lately",
    "control",
)

#: Reasons that do not hold for somebody put in by hand. What protects the person, the offer's own
#: conditions and the control group stand.
LIFTED = ("already_bought", "excluded", "capped", "too_recent", "bought_lately")

#: Reasons whose persons may come from elsewhere: see `build`.
_GIVEN = ("suspended", "source_terms", "not_eligible", "excluded", "wished", "capped", "too_recent")


@dataclass(frozen=True)
class Audience:
    """What a marketer asks for, before anyone is left out.

    Parameters
    ----------
    name : str
        Name of the audience, for instance ``"hot_email"``.
    model : str, optional
        Start from the persons this model scored, best first; the rule may then name the columns of its
        scores. Without one: from everybody.
    where : str
        A rule (see `cdpkit.segments.rule.Rule`), for instance ``"tier = 'hot' and age >= 18"``. Parsed,
        never pasted; empty takes everybody.
    channel : str
        Channel the message would take; consent is asked for it.
    quiet_days : int
        Leave out who bought within this many days.
    control_share : float
        Share of the eligible kept aside, in [0, 1), to measure what the campaign changed.
    exclude : tuple of str
        Rules whose persons are left out.
    without, among : tuple of str
        Stored audiences: whoever is in one of `without` is left out; with `among`, only the persons of
        those are candidates.
    match : {"any", "all"}
        Whether one audience of `among` is enough, or all are needed.
    offer : Offer, optional
        What is proposed: nobody is kept on a channel where it may not be made.
    rest_days : int
        Leave out who was sent anything within this many days, on whichever channel; 0 for none.
    caps : tuple of Cap
        Leave out who reached one of these caps of contacts; see `cdpkit.segments.ledger`.
    topic : str
        What the message is about, for those who asked for certain subjects only.
    wishes : bool
        Whether to leave out who asked for another channel, another subject or fewer messages: see
        `cdpkit.segments.wishes`.
    barred_sources : tuple of str
        Sources whose terms forbid this use: an address that comes from one is not written to.

    Raises
    ------
    FaultsError
        With every fault of the audience but its rules', which say their own.

    Examples
    --------
    >>> Audience("hot_email", model="appetence", where="tier = 'hot'", channel="email").channel
    'email'
    >>> print(Audience("adults", where="age >= 18").rule.sentence("en"))
    age is at least 18 years
    """

    name: str
    model: str | None = None
    where: str = ""
    channel: str = "email"
    quiet_days: int = 7
    control_share: float = 0.1
    exclude: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    among: tuple[str, ...] = ()
    match: str = "any"
    offer: Offer | None = None
    rest_days: int = 0
    caps: tuple[Cap, ...] = ()
    topic: str = ""
    wishes: bool = True
    barred_sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        faults = []
        if self.channel not in ADDRESSES:
            ready = ", ".join(ADDRESSES)
            faults.append(f"`channel` must be one an audience can leave by ({ready}); got {self.channel}")
        if not 0 <= self.control_share < 1:
            faults.append(f"`control_share` must be in [0, 1); got {self.control_share}")
        for name in ("quiet_days", "rest_days"):
            if getattr(self, name) < 0:
                faults.append(f"`{name}` must be >= 0; got {getattr(self, name)}")
        if self.match not in ("any", "all"):
            faults.append(f"`match` must be 'any' or 'all'; got {self.match!r}")
        if faults:
            raise FaultsError(f"audience {self.name!r}", faults)
        for text in (self.where, *self.exclude):
            if text:
                Rule.parse(text, self.model)

    @property
    def rule(self) -> Rule | None:
        """The rule, read; None takes everybody."""
        return Rule.parse(self.where, self.model) if self.where else None


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
    sent_on : Timestamp
        Day on which the message is to leave: suspensions and caps are those of that day.
    """

    audience: Audience
    as_of: pd.Timestamp
    candidates: pd.DataFrame
    waterfall: pd.DataFrame
    sent_on: pd.Timestamp | None = None

    @property
    def members(self) -> list[str]:
        """Persons kept."""
        return self.candidates.loc[self.candidates["included"], "person_id"].tolist()


def build(
    engine: Engine,
    audience: Audience,
    *,
    as_of: pd.Timestamp,
    sent_on: pd.Timestamp | None = None,
    blocked: Mapping[str, pd.DataFrame] | None = None,
) -> AudienceResult:
    """Apply an audience's rule at a date, and say why each candidate is kept or left out.

    Features and scores are those of `as_of`; whether somebody may be contacted is asked of everything
    known now: a refusal that came after the scores counts.

    Parameters
    ----------
    engine : Engine
        Sees ``scores, golden, membership, consents, source_terms, messages, orders, audiences,
        decisions`` and what the rules name.
    audience : Audience
        The rule, the channel and the precautions.
    as_of : Timestamp
        Date of the scores.
    sent_on : Timestamp, optional
        When the message is to leave; `as_of` by default. Suspensions, caps and the rest since the last
        message are judged then.
    blocked : mapping of str to DataFrame, optional
        Further persons to leave out (``person_id``) by reason. Who is suspended on the day of sending is
        left out anyway.

    Returns
    -------
    AudienceResult
        Counts add up: candidates = kept + left out, each person left out once, for the first
        reason of `REASONS` that holds. Without a recorded consent nobody is kept, nor through an address
        whose source's terms do not allow it at `as_of`. An address is written to once, and not at all
        where one of its holders refused. Somebody put in by hand is a
        candidate whatever the rule says, and the reasons of `LIFTED` do not hold for them; somebody left
        out by hand is out.

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
    day = as_of if sent_on is None else pd.Timestamp(sent_on)
    engine.register("_by_hand", mastery.overridden(engine, audience.name))
    engine.materialise("_candidates", _candidates(engine, audience, as_of))
    contact.prepare(engine, audience.channel, "_candidates")
    tests = _tests(engine, audience, as_of, day, _blocked(engine, audience, day, blocked or {}))
    engine.materialise("_verdicts", _verdicts(audience, tests))
    found = engine.query("SELECT person_id, reason, decided_by FROM _verdicts ORDER BY place").to_pandas()
    counted = engine.query("SELECT reason, count(*) AS n FROM _verdicts GROUP BY reason").to_pandas()
    candidates = pd.DataFrame(
        {
            "audience": audience.name,
            "as_of": as_of,
            "person_id": found["person_id"],
            "included": found["reason"].isna(),
            "excluded_by": found["reason"],
            "decided_by": found["decided_by"],
        }
    )
    counts = dict(zip(counted["reason"].fillna(""), counted["n"], strict=True))
    kept = candidates[list(TABLES["audiences"].names)]
    return AudienceResult(audience, as_of, kept, _waterfall(counts), day)


def _candidates(engine: Engine, audience: Audience, as_of: pd.Timestamp) -> str:
    """Build the query of the candidates: ``person_id, decided_by, place``, best first."""
    rule, t = audience.rule, people.literal(as_of)
    if rule is not None:
        chosen = people.matching_sql(engine, rule, as_of, scored_by=audience.model)
    elif audience.model is not None:
        chosen = f"SELECT person_id FROM scores WHERE model = {_text(audience.model)} AND as_of = {t}"
    else:
        chosen = people.everybody_sql(as_of)
    if audience.among:
        needed = len(set(audience.among)) if audience.match == "all" else 1
        stored = f"""SELECT person_id FROM ({_stored(audience.among)}) AS held
                     GROUP BY person_id HAVING count(DISTINCT audience) >= {needed}"""
        chosen = f"SELECT person_id FROM ({chosen}) AS found WHERE person_id IN ({stored})"
    scored = "SELECT NULL::VARCHAR AS person_id, NULL::DOUBLE AS score, NULL::VARCHAR AS decided_by LIMIT 0"
    if audience.model is not None:
        scored = f"""SELECT person_id, score, decided_by FROM scores
                     WHERE model = {_text(audience.model)} AND as_of = {t}"""
    return f"""
    WITH chosen AS ({chosen}), scored AS ({scored}), every AS (
      SELECT person_id, FALSE AS by_hand FROM chosen
      UNION ALL SELECT person_id, TRUE FROM _by_hand
      WHERE include AND person_id NOT IN (SELECT person_id FROM chosen)
    )
    SELECT e.person_id, CASE WHEN e.by_hand THEN 'override' ELSE coalesce(s.decided_by, 'rule') END AS
      decided_by,
           row_number() OVER (ORDER BY s.score DESC NULLS LAST, e.person_id) AS place
    FROM every AS e LEFT JOIN scored AS s ON s.person_id = e.person_id
    """


def _blocked(
    engine: Engine, audience: Audience, day: pd.Timestamp, given: Mapping[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """Return the persons to leave out by reason: those given, the suspended, and who reached a cap."""
    found = {"suspended": ledger.suspended(engine, day, channel=audience.channel)}
    if audience.caps:
        found["capped"] = ledger.capped(engine, day, channel=audience.channel, caps=audience.caps)
    asked = {}
    if audience.wishes:
        asked = wishes.against(engine, day, channel=audience.channel, topic=audience.topic)
    for reason, frame in [*asked.items(), *given.items()]:
        found[reason] = pd.concat(
            [f[["person_id"]].astype("str") for f in (found.get(reason), frame) if f is not None]
        )
    return {reason: frame for reason, frame in found.items() if len(frame)}


def _tests(
    engine: Engine,
    audience: Audience,
    as_of: pd.Timestamp,
    day: pd.Timestamp,
    blocked: Mapping[str, pd.DataFrame],
) -> dict[str, str]:
    """Return the condition of each reason, over candidates ``c`` and contact facts ``f``."""
    strange = sorted(set(blocked) - set(_GIVEN))
    if strange:
        raise CdpkitError(f"`blocked` must give reasons of {', '.join(_GIVEN)}", got=", ".join(strange))
    open_to = "f.granted AND NOT f.unsubscribed AND f.address IS NOT NULL"
    engine.materialise(
        "_twice",
        f"""SELECT person_id FROM (
              SELECT c.person_id, row_number() OVER (PARTITION BY f.address ORDER BY c.place) AS turn
              FROM _candidates AS c JOIN {contact.CONTACT} AS f USING (person_id) WHERE {open_to}
            ) AS turns WHERE turn > 1""",
    )
    refusing = f"SELECT address FROM {contact.CONTACT} WHERE refused AND address IS NOT NULL"
    barred = ", ".join(map(_text, audience.barred_sources)) or "NULL"
    t = people.literal(as_of)
    against = f"""SELECT source FROM source_terms
                  WHERE purpose = 'activation' AND (NOT allowed OR coalesce(until <= {t}, FALSE))"""
    bought = f"""SELECT person_id FROM orders JOIN membership USING (node_id) WHERE known_to IS NULL
                 AND event_time >= {t} - INTERVAL {int(audience.quiet_days)} DAY AND cancelled_at IS NULL"""
    sent = f"""SELECT person_id FROM messages JOIN membership USING (node_id) WHERE known_to IS NULL
               AND event_time >= {people.literal(day)} - INTERVAL {int(audience.rest_days)} DAY"""
    tests = {
        "merged": "f.person_id IS NULL",
        "left_out": "c.person_id IN (SELECT person_id FROM _by_hand WHERE NOT include)",
        "unsubscribed": "f.unsubscribed",
        "no_consent": "NOT f.granted",
        "no_address": "f.address IS NULL",
        "address_refused": f"f.address IN ({refusing})",
        "same_address": "c.person_id IN (SELECT person_id FROM _twice)",
        "bounced": "f.bounced",
        "source_terms": f"f.address_source IN ({barred}) OR f.address_source IN ({against})",
        "bought_lately": f"c.person_id IN ({bought})",
        "control": _control(audience),
    }
    if audience.rest_days:
        tests["too_recent"] = f"c.person_id IN ({sent})"
    apart = [
        people.matching_sql(engine, Rule.parse(text, audience.model), as_of) for text in audience.exclude
    ]
    if audience.without:
        apart.append(f"SELECT person_id FROM ({_stored(audience.without)}) AS held")
    if apart:
        tests["excluded"] = " OR ".join(f"c.person_id IN ({query})" for query in apart)
    tests |= _offer_tests(engine, audience, as_of)
    for reason, frame in blocked.items():
        engine.register(f"_{reason}", frame[["person_id"]].drop_duplicates().astype("str"))
        given = f"c.person_id IN (SELECT person_id FROM _{reason})"
        tests[reason] = f"({tests[reason]}) OR {given}" if reason in tests else given
    return tests


def _offer_tests(engine: Engine, audience: Audience, as_of: pd.Timestamp) -> dict[str, str]:
    """Return who an offer is not for, and who has it."""
    offer = audience.offer
    if offer is None:
        return {}
    tests = {"not_eligible": "TRUE" if audience.channel not in offer.channels else "FALSE"}
    if offer.eligible is not None and tests["not_eligible"] == "FALSE":
        may = people.matching_sql(engine, Rule.parse(offer.eligible), as_of)
        tests["not_eligible"] = f"c.person_id NOT IN ({may})"
    if offer.products:
        products = ", ".join(map(_text, offer.products))
        tests["already_bought"] = f"""c.person_id IN (
            SELECT person_id FROM order_lines AS l JOIN membership USING (node_id)
            LEFT JOIN orders AS o ON o.order_id = l.order_id
            WHERE known_to IS NULL AND l.product_id IN ({products}) AND l.returned_at IS NULL
              AND o.cancelled_at IS NULL
              AND l.event_time >= {people.literal(as_of)} - INTERVAL {int(offer.bought_days)} DAY)"""
    return tests


def _verdicts(audience: Audience, tests: Mapping[str, str]) -> str:
    """Build the query of each candidate's first reason; null for who is kept."""
    steps = []
    for reason in REASONS:
        if reason in tests:
            by_hand = "c.person_id NOT IN (SELECT person_id FROM _by_hand WHERE include) AND "
            steps.append(f"WHEN {by_hand if reason in LIFTED else ''}({tests[reason]}) THEN '{reason}'")
    return f"""SELECT c.person_id, c.decided_by, c.place, CASE {" ".join(steps)} END AS reason
               FROM _candidates AS c LEFT JOIN {contact.CONTACT} AS f ON f.person_id = c.person_id"""


def _control(audience: Audience) -> str:
    """Draw the control group by hash, so that a person stays in it from run to run."""
    bound = min(math.ceil(audience.control_share * 2**32), 2**32 - 1)
    drawn = f"substr(sha256(concat({_text(audience.name)}, ':', c.person_id)), 1, 8)"
    return f"{drawn} < '{bound:08x}'"


def _stored(names: tuple[str, ...]) -> str:
    """Build the query of the persons kept in stored audiences, at the last date of each."""
    listed = ", ".join(map(_text, names))
    return f"""SELECT audience, person_id FROM audiences WHERE included AND audience IN ({listed})
               QUALIFY as_of = max(as_of) OVER (PARTITION BY audience)"""


def _text(value: str) -> str:
    """Spell a text as a literal."""
    return "'" + value.replace("'", "''") + "'"


def _waterfall(counts: Mapping[str, int]) -> pd.DataFrame:
    """Count who leaves at each reason, from all candidates down to who is kept."""
    left = int(sum(counts.values()))
    rows = [("candidates", 0, left)]
    for name in REASONS:
        out = int(counts.get(name, 0))
        left -= out
        rows.append((name, out, left))
    return pd.DataFrame(rows, columns=["reason", "n_out", "n_left"])
