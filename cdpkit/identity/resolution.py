"""`resolve`: records in, persons out. Pure: no store, no clock, no consent (its callers see to that)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cdpkit.identity import claim as ids
from cdpkit.identity import history
from cdpkit.identity.claim import Previous
from cdpkit.identity.cluster import Traits, cluster
from cdpkit.identity.decisions import decided
from cdpkit.identity.evidence import Evidence, timestamps
from cdpkit.identity.explain import Explanation, explain
from cdpkit.identity.golden import golden
from cdpkit.identity.hygiene import Hygiene
from cdpkit.identity.links import chain, exact, name_order
from cdpkit.identity.scored import Scored, scored
from cdpkit.identity.scoring import ScoringModel


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
        default pairs are scored where Splink is installed and the records carry enough to compare.

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
    rules = hygiene or Hygiene()
    evidence = Evidence.of(records, rules, region)
    nodes = evidence.nodes
    known_from = nodes["known_from"].to_numpy(dtype=np.int64)
    strength = evidence.strength()
    held = ids.Held.of(_previous(previous), nodes)
    must, apart = decided(decisions, nodes)

    members, status = exact(evidence, rules)
    members, stays = history.sign_ins(evidence, members)
    links = pd.concat([chain(members, name_order(evidence, members)), must], ignore_index=True)
    links = _strongest_first(links, evidence)
    labels, links["state"], links["refused_by"] = cluster(len(nodes), links, _traits(evidence), apart)
    more, labels, how = scored(evidence, status, labels, apart, scoring)
    links = _completed(_merged(links, more, labels), members, history.anchors(stays, members), labels)

    accepted = links[links["state"] != "refused"]
    claimed = ids.claim(labels, strength, held)
    ranks = ids.rank(labels, strength, known_from, claimed, held)
    timeline = history.replay(known_from, accepted, ranks)
    away = links["refused_by"].to_numpy() == history.LATER_SIGN_IN
    if away.any():
        timeline = history.splice(
            timeline, history.anchors(stays, members), links[~away & (links["state"] != "refused")]
        )
    names = ids.name(timeline, labels, claimed, held, run_id)
    events, aliases = ids.settle(timeline, labels, names, held, run_id)

    now = timeline[timeline["end"] == history.OPEN].sort_values("node")
    person = names.reindex(now["founder"]).to_numpy(dtype=object)
    membership = _membership(timeline, names, nodes)
    return Resolution(
        run_id=run_id,
        membership=membership,
        links=_link_table(links, nodes, run_id),
        persons=_persons(person, nodes),
        golden=_golden(golden(evidence, labels, survivorship, source_priority), person, labels, nodes),
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


def _strongest_first(links: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """Order links by strength: the key's, more where names and birth dates agree; ties by content."""
    strength = links["weight"].to_numpy(dtype=float).copy()
    left, right = links["left"].to_numpy(np.int64), links["right"].to_numpy(np.int64)
    for attribute, more in (("first_name", 3.0), ("last_name", 2.0), ("birth_date", 3.0)):
        codes = evidence.latest(attribute)
        if len(codes):
            strength += more * ((codes[left] >= 0) & (codes[left] == codes[right]))
    links = links.assign(
        left=left, right=right, known_at=links["known_at"].astype(np.int64), strength=strength
    )
    links["forced"] = (links["rule"] == "decision").to_numpy(bool)
    order = ["forced", "strength", "rule", "left", "right"]
    return links.sort_values(order, ascending=[False, False, True, True, True], ignore_index=True)


def _merged(links: pd.DataFrame, more: pd.DataFrame, labels: np.ndarray) -> pd.DataFrame:
    """Put exact and scored links together; what one kind refused, the other may have joined."""
    links = links.assign(evidence=None)
    if more.empty:
        return links
    out = pd.concat([links, more], ignore_index=True)
    one = labels[out["left"].to_numpy(int)] == labels[out["right"].to_numpy(int)]
    late = (out["state"] == "refused").to_numpy() & one
    return out.assign(
        state=out["state"].mask(late, "redundant"), refused_by=out["refused_by"].mask(late, None)
    )


def _traits(evidence: Evidence) -> Traits:
    """Return the usable names and birth dates of each node."""
    text: dict[str, np.ndarray] = {}
    for name in ("first_name", "last_name", "birth_date"):
        if name in evidence.keys:
            key = evidence.keys[name]
            table = np.where(evidence.good(name), np.append(key.categories.to_numpy(dtype=object), ""), "")
            text[name] = table[key.codes]
        else:
            text[name] = np.full(len(evidence.node), "", dtype=object)
    frame = pd.DataFrame({"node": evidence.node} | text)
    names = frame.loc[frame["first_name"] != "", ["node", "first_name", "last_name"]].drop_duplicates()
    dates = frame.loc[frame["birth_date"] != "", ["node", "birth_date"]].drop_duplicates()
    return Traits(names.reset_index(drop=True), dates.reset_index(drop=True))


def _completed(
    links: pd.DataFrame, members: pd.DataFrame, stays: pd.DataFrame, labels: np.ndarray
) -> pd.DataFrame:
    """Add the same evidence in time, and the earlier sign-ins of shared devices."""
    more = history.in_time(members, labels).assign(state="redundant", refused_by=None)
    if len(stays):
        one = labels[stays["node"].to_numpy(int)] == labels[stays["anchor"].to_numpy(int)]
        past = pd.DataFrame(
            {
                "left": np.minimum(stays["node"], stays["anchor"]),
                "right": np.maximum(stays["node"], stays["anchor"]),
                "rule": "account_id",
                "id_type": "account_id",
                "weight": stays["weight"],
                "known_at": np.maximum(stays["known_at"], stays["anchor_at"]),
                "state": np.where(one, "redundant", "refused"),
                "refused_by": pd.Series(history.LATER_SIGN_IN, index=stays.index).mask(one),
            }
        )
        more = pd.concat([more, past], ignore_index=True)
    more = more.sort_values(["left", "right", "rule", "known_at"])
    out = pd.concat([links, more], ignore_index=True)
    return out.drop_duplicates(["left", "right", "rule"], ignore_index=True)


def _membership(timeline: pd.DataFrame, names: pd.Series, nodes: pd.DataFrame) -> pd.DataFrame:
    """Return the membership of each record, one row a stay with one person."""
    rows = timeline.assign(person_id=names.reindex(timeline["founder"]).to_numpy(dtype=object))
    before = rows.shift()
    goes_on = (
        (rows["node"] == before["node"])
        & (rows["person_id"] == before["person_id"])
        & (rows["start"] == before["end"])
    )
    stay = (~goes_on).cumsum()
    rows = rows.assign(end=rows.groupby(stay)["end"].transform("last"))[~goes_on]
    at = rows["node"].to_numpy()
    end = timestamps(np.where(rows["end"] == history.OPEN, 0, rows["end"]))
    return pd.DataFrame(
        {
            "source": nodes["source"].to_numpy()[at],
            "record_id": nodes["record_id"].to_numpy()[at],
            "person_id": rows["person_id"].to_numpy(),
            "known_from": timestamps(rows["start"].to_numpy()),
            "known_to": pd.Series(end).mask((rows["end"] == history.OPEN).to_numpy()).to_numpy(),
        }
    ).astype({"source": "str", "record_id": "str", "person_id": "str"})


_SAID = ("rule", "id_type", "weight", "state", "refused_by", "evidence")


def _link_table(links: pd.DataFrame, nodes: pd.DataFrame, run_id: str) -> pd.DataFrame:
    """Return the links in the words of the records."""
    source, record = nodes["source"].to_numpy(dtype=object), nodes["record_id"].to_numpy(dtype=object)
    left, right = links["left"].to_numpy(np.int64), links["right"].to_numpy(np.int64)
    out = pd.DataFrame(
        {
            "left_source": source[left],
            "left_record_id": record[left],
            "right_source": source[right],
            "right_record_id": record[right],
            **{
                c: links[c].to_numpy()
                for c in ("rule", "id_type", "weight", "state", "refused_by", "evidence")
            },
            "known_at": timestamps(links["known_at"].to_numpy()),
            "run_id": run_id,
        }
    )
    text = [c for c in out if c not in ("weight", "known_at")]
    return out.astype(dict.fromkeys(text, "str") | {"weight": "float64"})


def _persons(person: np.ndarray, nodes: pd.DataFrame) -> pd.DataFrame:
    """Return one row a person."""
    frame = nodes.assign(person_id=pd.Series(person, index=nodes.index, dtype="str"))
    out = frame.groupby("person_id", as_index=False).agg(
        known_at=("known_from", "min"), n_nodes=("source", "size"), n_sources=("source", "nunique")
    )
    return out.assign(known_at=timestamps(out["known_at"].to_numpy()))


def _golden(
    values: pd.DataFrame, person: np.ndarray, labels: np.ndarray, nodes: pd.DataFrame
) -> pd.DataFrame:
    """Return the golden record in the words of persons and records."""
    of_label = np.empty(int(labels.max()) + 1 if len(labels) else 0, dtype=object)
    of_label[labels] = person
    at = values["node"].to_numpy(np.int64)
    return pd.DataFrame(
        {
            "person_id": pd.Series(of_label[values["label"].to_numpy(np.int64)], dtype="str"),
            "attribute": values["attribute"].astype("str"),
            "value": values["value"].astype("str"),
            "source": nodes["source"].to_numpy()[at],
            "record_id": nodes["record_id"].to_numpy()[at],
            "known_at": values["known_at"].astype("datetime64[us]"),
            "rule": values["rule"].astype("str"),
        }
    )
