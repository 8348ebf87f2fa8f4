"""`resolve`: records in, persons out. Pure: no store, no clock, no consent (its callers see to that)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from cdpkit import texts
from cdpkit.identity import claim as ids
from cdpkit.identity import history, in_tables
from cdpkit.identity.claim import Previous
from cdpkit.identity.cluster import REASONS, REDUNDANT, REFUSED, Trait, cluster
from cdpkit.identity.decisions import decided
from cdpkit.identity.evidence import Evidence
from cdpkit.identity.explain import Explanation, explain
from cdpkit.identity.golden import golden
from cdpkit.identity.hygiene import Hygiene
from cdpkit.identity.links import Rulebook, chain, earliest, exact, name_rank, pair_and_rule
from cdpkit.identity.names import Dates, Names
from cdpkit.identity.scored import Scored, scored, scored_before
from cdpkit.identity.scoring import ScoringModel
from cdpkit.normalise import Keys


@dataclass(frozen=True)
class Resolution:
    """Who is who, why, since when, and what changed.

    Attributes
    ----------
    run_id : str
        Run that resolved.
    membership : DataFrame
        ``source, record_id, person_id, known_from, known_to``: as of t, a record belongs to the person
        of its row with ``known_from < t <= known_to`` (a missing ``known_to`` has no end).
    links : DataFrame
        ``left_source, left_record_id, right_source, right_record_id, rule, id_type, weight`` (log2
        odds), ``state`` (used, redundant or refused), ``refused_by, evidence`` (what each comparison of
        a scored pair said, without any value), ``known_at, run_id``.
    persons : DataFrame
        ``person_id, known_at, n_nodes, n_sources``, as known now.
    golden : DataFrame
        ``person_id, attribute, value, source, record_id, known_at, rule``.
    person_events : DataFrame
        ``run_id, event, person_id, into_person_id, n_nodes``: what this run changed.
    aliases : DataFrame
        ``old_id, person_id, run_id``: every retired id and the present person it leads to.
    identifier_status : DataFrame
        ``id_type, value, n_records, n_names, status, reason``, every identifier value. Clear values:
        the store keeps keyed digests of those that may not link.
    nodes : DataFrame
        ``source, record_id`` (and ``node_id`` when the records had one), one row a record.
    scoring : Scored or None
        How pairs were scored; None when only exact keys were used.
    """

    run_id: str
    membership: pd.DataFrame
    links: pd.DataFrame
    persons: pd.DataFrame
    golden: pd.DataFrame
    person_events: pd.DataFrame
    aliases: pd.DataFrame
    identifier_status: pd.DataFrame
    nodes: pd.DataFrame = field(repr=False)
    scoring: Scored | None = field(repr=False, default=None)

    def as_of(self, t: object = None) -> pd.DataFrame:
        """Return ``source, record_id, person_id`` as known just before `t`, or now.

        Parameters
        ----------
        t : timestamp-like, optional
            UTC; records and links known at or after it are not seen.
        """
        rows = self.membership
        if t is None:
            held = rows["known_to"].isna()
        else:
            stamp = pd.Timestamp(t)  # type: ignore[arg-type]
            held = (rows["known_from"] < stamp) & (rows["known_to"].isna() | (rows["known_to"] >= stamp))
        return rows.loc[held, ["source", "record_id", "person_id"]].reset_index(drop=True)

    def explain(self, source_a: str, record_a: str, source_b: str, record_b: str) -> Explanation:
        """Return why two records are one person, or what was refused between them.

        Raises
        ------
        CdpkitError
            When a record was not resolved.
        """
        return explain(self.as_of(), self.links, (source_a, record_a), (source_b, record_b))


def resolve(
    records: pd.DataFrame,
    previous: Resolution | Previous | pd.DataFrame | None = None,
    decisions: pd.DataFrame | None = None,
    *,
    run_id: str,
    hygiene: Hygiene | None = None,
    survivorship: Mapping[str, str] | None = None,
    source_priority: Sequence[str] = (),
    region: str = "FR",
    scoring: ScoringModel | bool | None = None,
    at: object = None,
) -> Resolution:
    """Find the persons behind records.

    Parameters
    ----------
    records : DataFrame
        ``source, record_id`` and any of ``first_name, last_name, birth_date, email, phone, street,
        postcode, city, country, national_id, loyalty_id, account_id, cookie_id, device_id, app_id,
        known_at, node_id, may_link``; other columns are attributes carried to the golden record. A
        record may have several rows, each with its own ``known_at`` (UTC; missing: the earliest
        possible). A record with a false ``may_link`` is a person by itself.
    previous : Resolution, Previous or DataFrame, optional
        The state to continue: ids are kept as far as possible. A frame is a membership.
    decisions : DataFrame, optional
        ``kind`` (must_link or cannot_link), ``left_source, left_record_id, right_source,
        right_record_id, decided_at``. The latest decision on a pair holds, of two at one time the one
        that separates. Records that are not there are passed over.
    run_id : str
        Prefix of new person ids.
    hygiene : Hygiene, optional
        Blocked values and caps; default `Hygiene()`.
    survivorship : mapping of str to str, optional
        Rules of the golden record by attribute, over the defaults.
    source_priority : sequence of str
        Sources that win in the golden record, best first.
    region : str
        ISO country of phone numbers without a prefix, where the record names none.
    scoring : ScoringModel or bool, optional
        A model of an earlier run to score pairs by, or whether to learn one from these records. By
        default the model of `previous` goes on when that is a Resolution, and only pairs of records that
        are new or have changed are compared; else pairs are scored where Splink is installed and the
        records carry enough to compare.
    at : timestamp-like, optional
        The day of the resolution, UTC: an identifier whose type has a validity (a cookie: thirteen
        months) and that was not seen for longer links no more. By default nothing expires.

    Returns
    -------
    Resolution

    Raises
    ------
    SchemaError
        When records lack ``source`` or ``record_id``.
    FaultsError
        When the decisions frame cannot be read.
    CdpkitError
        When `scoring` is true and pairs cannot be scored.

    Notes
    -----
    Exact links come first, strongest first, refused when they would put two first names or two birth
    dates in one person. One representative of each person so found is then compared with the others:
    see `cdpkit.identity.scored`. The partition depends on nothing but the set of rows: not on their order.

    Examples
    --------
    >>> records = pd.DataFrame(
    ...     {
    ...         "source": ["crm", "web", "web"],
    ...         "record_id": ["c1", "k7", "k7"],
    ...         "email": ["Zoe@Shop.fr", None, "zoe@shop.fr"],
    ...         "known_at": pd.to_datetime(["2025-01-01", "2025-02-01", "2025-03-01"]),
    ...     }
    ... )
    >>> print(resolve(records, run_id="r1").membership.to_string(index=False))
    source record_id person_id known_from   known_to
       crm        c1     pr1-1 2025-01-01        NaT
       web        k7     pr1-2 2025-02-01 2025-03-01
       web        k7     pr1-1 2025-03-01        NaT
    """
    return resolved(
        records,
        previous,
        decisions,
        run_id,
        hygiene or Hygiene(),
        survivorship,
        source_priority,
        region,
        scoring,
        at,
    )


def resolved(
    records: pd.DataFrame,
    previous: Resolution | Previous | pd.DataFrame | None,
    decisions: pd.DataFrame | None,
    run_id: str,
    rules: Hygiene,
    survivorship: Mapping[str, str] | None,
    source_priority: Sequence[str],
    region: str,
    scoring: ScoringModel | bool | None,
    at: object = None,
    told: pd.DataFrame | None = None,
) -> Resolution:
    """Resolve as `resolve` does, or by the scored links `told` of a base of which this is a part."""
    book = Rulebook.of(rules.types)
    evidence = Evidence.of(records, rules, region)
    nodes = evidence.nodes
    known_from = nodes["known_from"].to_numpy(dtype=np.int64)
    strength = evidence.strength()
    held = ids.Held.of(_previous(previous), nodes)
    must, apart = decided(decisions, nodes, book)
    before = previous.scoring if isinstance(previous, Resolution) else None
    model = before.model if scoring is None and before is not None else scoring

    members, status = exact(evidence, rules, book, at)
    members, stays = history.sign_ins(evidence, members, book)
    links = pd.concat([chain(members, name_rank(evidence)), must], ignore_index=True)
    links = _strongest_first(links, evidence, book)
    labels, links["state"], links["refused_by"] = cluster(len(nodes), links, _traits(evidence), apart)
    if told is not None:
        (more, labels), how = scored_before(told, nodes, labels, book), None
    else:
        more, labels, how = scored(evidence, status, labels, apart, model, book, before)
    anchored = history.anchors(stays, members, book)
    links = _completed(_merged(links, more, labels), members, anchored, labels, book)

    accepted = links[links["state"] != REFUSED]
    claimed = ids.claim(labels, strength, held)
    ranks = ids.rank(labels, strength, known_from, claimed, held)
    timeline = history.replay(known_from, accepted, ranks)
    if (links["refused_by"] == REASONS.index("later sign-in")).any():
        timeline = history.splice(timeline, anchored, accepted, book)
    names = ids.name(timeline, labels, claimed, held, run_id)
    events, aliases = ids.settle(timeline, names, held, run_id)

    now = timeline[(timeline["end"] == history.OPEN).to_numpy()]
    person = names.of(now["founder"].to_numpy())
    return Resolution(
        run_id=run_id,
        membership=in_tables.membership(timeline, names, nodes),
        links=in_tables.link_table(links, nodes, book, run_id),
        persons=in_tables.persons(person, names, nodes),
        golden=in_tables.golden_table(
            golden(evidence, labels, survivorship, source_priority), person, labels, names, nodes
        ),
        person_events=events,
        aliases=aliases,
        identifier_status=status,
        nodes=nodes[[c for c in ("source", "record_id", "node_id") if c in nodes]],
        scoring=how,
    )


def _previous(previous: Resolution | Previous | pd.DataFrame | None) -> Previous | None:
    """Return the state to continue."""
    if isinstance(previous, pd.DataFrame):
        return Previous(previous)
    if isinstance(previous, Resolution):
        return Previous(previous.membership, previous.aliases)
    return previous


#: What makes a link stronger when both records say it, in log2 odds.
_STRENGTHENS = {"first_name": 3.0, "last_name": 2.0, "birth_date": 3.0}


def _strongest_first(links: pd.DataFrame, evidence: Evidence, book: Rulebook) -> pd.DataFrame:
    """Order links by strength: the key's, more where names and birth dates agree; ties by content."""
    left, right, rule = (links[name].to_numpy(np.int64) for name in ("left", "right", "rule"))
    forced = rule == book.code("decision")
    agreed = np.zeros(len(links), dtype=np.int64)
    for bit, attribute in enumerate(_STRENGTHENS):
        codes = evidence.latest(attribute)
        agreed |= ((codes[left] >= 0) & (codes[left] == codes[right])) << bit
    more = [sum(w for bit, w in enumerate(_STRENGTHENS.values()) if k >> bit & 1) for k in range(8)]
    table = book.weights[:, None] + np.array(more)
    table[book.code("decision")] = np.inf
    level = np.unique(-table, return_inverse=True)[1].reshape(table.shape)[rule, agreed]
    # Links come in the order of pairs; only decisions, last, do not.
    order = np.arange(len(links)) if not forced.any() else np.lexsort((right, left))
    # Few strengths and few rules: one small number, sorted by its digits.
    order = order[np.argsort((level * len(book.names) + rule)[order].astype(np.int16), kind="stable")]
    return pd.DataFrame(
        {
            "left": left[order],
            "right": right[order],
            "rule": rule[order],
            "weight": book.weights[rule[order]],
            "known_at": links["known_at"].to_numpy(np.int64)[order],
            "forced": forced[order],
        }
    )


def _merged(links: pd.DataFrame, more: pd.DataFrame, labels: np.ndarray) -> pd.DataFrame:
    """Put exact and scored links together; what one kind refused, the other may have joined."""
    links = links.drop(columns="forced").assign(evidence=None)
    if more.empty:
        return links
    out = pd.concat([links, more], ignore_index=True)
    one = labels[out["left"].to_numpy(int)] == labels[out["right"].to_numpy(int)]
    late = (out["state"] == REFUSED).to_numpy() & one
    return out.assign(state=out["state"].mask(late, REDUNDANT), refused_by=out["refused_by"].mask(late, -1))


def _traits(evidence: Evidence) -> list[Trait]:
    """Return the usable names and birth dates of each node."""
    words, code = {}, {}
    for name in ("first_name", "last_name", "birth_date"):
        # The last code is for no usable value: an empty text.
        key = evidence.keys.get(name, Keys(np.full(len(evidence.node), -1), pd.Index([], dtype="str")))
        good = evidence.good(name) if name in evidence.keys else np.array([False])
        words[name] = pa.concat_arrays([texts.arrow(key.categories), pa.array([""], pa.large_string())])
        code[name] = np.where(good[key.codes], key.codes, len(key.categories))
    n = len(words["last_name"])
    named = code["first_name"] < len(words["first_name"]) - 1
    dated = code["birth_date"] < len(words["birth_date"]) - 1
    node, both = _each_once(evidence.node[named], (code["first_name"] * n + code["last_name"])[named])
    pair, pairs = pd.factorize(both)
    first, last = (
        words[c].take(pa.array(part)) for c, part in (("first_name", pairs // n), ("last_name", pairs % n))
    )
    days = _each_once(evidence.node[dated], code["birth_date"][dated])
    return [Names(node, pair, first, last), Dates(*days, words["birth_date"])]


def _each_once(node: np.ndarray, code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each node and code once; nodes come in order."""
    if (node[1:] != node[:-1]).all():
        return node, code
    top = int(code.max()) + 1
    both = np.sort(node * top + code)
    both = both[np.diff(both, prepend=-1) != 0]
    return both // top, both % top


def _completed(
    links: pd.DataFrame, members: pd.DataFrame, stays: pd.DataFrame, labels: np.ndarray, book: Rulebook
) -> pd.DataFrame:
    """Add the same evidence in time, and the earlier sign-ins of shared devices."""
    more = history.in_time(members, labels).assign(state=REDUNDANT, refused_by=-1)
    if len(stays):
        one = labels[stays["node"].to_numpy(int)] == labels[stays["anchor"].to_numpy(int)]
        past = pd.DataFrame(
            {
                "left": np.minimum(stays["node"], stays["anchor"]),
                "right": np.maximum(stays["node"], stays["anchor"]),
                "rule": book.code("account_id"),
                "known_at": np.maximum(stays["known_at"], stays["anchor_at"]),
                "state": np.where(one, REDUNDANT, REFUSED),
                "refused_by": np.where(one, -1, REASONS.index("later sign-in")),
            }
        )
        more = pd.concat([more, past], ignore_index=True)
    n = max(len(labels), 1)
    more = earliest(more, n)
    known = np.sort(pair_and_rule(links, n))
    wanted = pair_and_rule(more, n)
    more = more[np.append(known, -1)[np.searchsorted(known, wanted)] != wanted]
    more = more.assign(weight=book.weights[more["rule"].to_numpy()], evidence=None)
    return pd.concat([links, more], ignore_index=True) if len(more) else links
