"""Scored links: one representative record for each person the exact keys found, compared with the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from cdpkit import texts
from cdpkit.errors import CdpkitError
from cdpkit.identity import training
from cdpkit.identity.blocking import candidates
from cdpkit.identity.cluster import USED
from cdpkit.identity.comparisons import OWN, representatives
from cdpkit.identity.evidence import Evidence, find
from cdpkit.identity.graph import components
from cdpkit.identity.groups import agglomerate
from cdpkit.identity.links import Rulebook
from cdpkit.identity.pairs import Compared, score
from cdpkit.identity.posterior import odds
from cdpkit.identity.scoring import ScoringModel

RULE = "scored"


@dataclass(frozen=True)
class Scored:
    """How pairs were scored.

    Attributes
    ----------
    model : ScoringModel
        Learned in this run or given; `save` it to score later runs alike.
    blocks : DataFrame
        ``rule, n_blocks, n_pairs, blocks_left_out, pairs_left_out``: what was compared and what not.
    totals : dict
        ``representatives``, ``pairs`` scored, and expected pairs of ``persons`` and of those who only look
        like one (see `cdpkit.identity.posterior.odds`).
    compared : Compared
        The pairs as they were compared, for a later run to continue.
    """

    model: ScoringModel
    blocks: pd.DataFrame
    totals: Mapping[str, float]
    compared: Compared = field(repr=False)


def scored(
    evidence: Evidence,
    status: pd.DataFrame,
    labels: np.ndarray,
    apart: list[tuple[int, int]],
    given: ScoringModel | bool | None,
    book: Rulebook,
    before: Scored | None = None,
) -> tuple[pd.DataFrame, np.ndarray, Scored | None]:
    """Link the persons that exact keys left apart and that are more likely one than not.

    Parameters
    ----------
    evidence : Evidence
        Records as nodes and keys.
    status : DataFrame
        Status of each identifier value.
    labels : ndarray of int
        Person of each node by exact keys.
    apart : list of (int, int)
        Nodes that a decision keeps apart.
    given : ScoringModel, bool or None
        A model; or whether to learn one (None: when it is possible).
    book : Rulebook
        The rules by number.
    before : Scored, optional
        What an earlier run compared; what it says of the same contents is not found out again.

    Returns
    -------
    (DataFrame, ndarray, Scored or None)
        Links ``left, right, rule, weight, known_at, state, refused_by, evidence`` between nodes, the final
        label of each node, and how it was done.

    Raises
    ------
    CdpkitError
        When scoring is asked for and not possible.
    """
    n = len(labels)
    may = evidence.nodes["may_link"].to_numpy(dtype=bool)
    if given is False or n == 0:
        return _NO_LINKS, labels, None
    shared = shared_values(evidence, status)
    model = given if isinstance(given, ScoringModel) else _learned(evidence, may, shared, given is True)
    if model is None:
        return _NO_LINKS, labels, None
    size = np.bincount(labels)
    found = representatives(evidence, np.where(may, labels, -1), len(size), shared)
    fields = {name: key for name, key in found.fields.items() if name in model.fields}
    chosen = candidates(fields, len(size))
    reused = before.compared if before and before.model.settings == model.settings else None
    pairs, compared = score(model, fields, len(size), chosen.left, chosen.right, reused)
    log2_odds, shares = odds(pairs, len(size), model.different, joined(evidence, labels, may), model.emails)
    left, right = pairs["left"].to_numpy(np.int64), pairs["right"].to_numpy(np.int64)
    foes = [(int(labels[a]), int(labels[b])) for a, b in apart]
    group, state, why = agglomerate(len(size), left, right, log2_odds, size, foes)
    kept = state >= 0
    a, b = found.node[left[kept]], found.node[right[kept]]
    links = pd.DataFrame(
        {
            "left": np.minimum(a, b),
            "right": np.maximum(a, b),
            "rule": book.code(RULE),
            "weight": log2_odds[kept],
            "known_at": np.maximum(found.known_at[left[kept]], found.known_at[right[kept]]),
            "state": state[kept],
            "refused_by": why[kept],
            "evidence": in_words(model, pairs[kept]),
        }
    )
    totals = {"representatives": len(size), "pairs": len(pairs)} | shares
    final = pd.factorize(group[labels])[0].astype(np.int64)
    return links, final, Scored(model, chosen.blocks, totals, compared)


def scored_before(
    told: pd.DataFrame, nodes: pd.DataFrame, labels: np.ndarray, book: Rulebook
) -> tuple[pd.DataFrame, np.ndarray]:
    """Follow the scored links of a whole base in a part of it.

    Parameters
    ----------
    told : DataFrame
        ``left_source, left_record_id, right_source, right_record_id, weight, known_at, state, refused_by,
        evidence``, numbers as `scored` returns them.
    nodes, labels, book
        As for `scored`.

    Returns
    -------
    (DataFrame, ndarray)
        Links between nodes, and the final label of each node.
    """
    ends = [find(nodes, told[f"{side}_source"], told[f"{side}_record_id"]) for side in ("left", "right")]
    links = told[["weight", "known_at", "state", "refused_by", "evidence"]].assign(
        left=np.minimum(*ends), right=np.maximum(*ends), rule=book.code(RULE)
    )
    links = links[list(_NO_LINKS)].sort_values(["left", "right"], ignore_index=True)
    used = links[links["state"] == USED]
    n = int(labels.max(initial=-1)) + 1
    group = components(n, labels[used["left"].to_numpy(int)], labels[used["right"].to_numpy(int)])
    return links, pd.factorize(group[labels])[0].astype(np.int64)


def joined(evidence: Evidence, labels: np.ndarray, may: np.ndarray) -> int:
    """Count the pairs of one person that exact keys joined, of nodes that say who they are.

    A person of three is two pairs: as many as would have been needed. A cookie says nothing to compare.
    """
    told = np.zeros(len(labels), dtype=bool)
    for name in OWN:
        if name in evidence.keys:
            seen = evidence.seen(name)
            told[seen["node"].to_numpy()[evidence.good(name)[seen["code"].to_numpy()]]] = True
    return int(np.maximum(np.bincount(labels[told & may], minlength=1) - 1, 0).sum())


def _learned(
    evidence: Evidence, may: np.ndarray, shared: Mapping[str, np.ndarray], wanted: bool
) -> ScoringModel | None:
    """Learn a model from the records, or return None where they cannot teach one."""
    nodes = np.flatnonzero(may)
    of_node = np.full(len(may), -1, dtype=np.int64)
    of_node[nodes] = np.arange(len(nodes))
    every = representatives(evidence, of_node, len(nodes), shared).fields
    if not training.possible(every, len(nodes)):
        if wanted:
            raise CdpkitError(
                f"scored pairs need Splink, {training.MIN_RECORDS} records and {training.MIN_FIELDS}"
                " comparable attributes, one of them a first name, birth date or national id",
                do="Install the extra `workbench`, pass a saved model, or leave `scoring` out",
            )
        return None
    sample = np.arange(len(nodes))
    if len(nodes) > training.MAX_RECORDS:
        sample = np.sort(np.random.default_rng(training.SEED).permutation(len(nodes))[: training.MAX_RECORDS])
    return training.fit(every, len(nodes), sample)


def shared_values(evidence: Evidence, status: pd.DataFrame) -> dict[str, np.ndarray]:
    """Tell by identifier type and code which values are shared by too many."""
    many = status[status["status"] == "shared"]
    out = {}
    for kind, rows in many.groupby("id_type"):
        if kind in evidence.keys:
            values = texts.arrow(evidence.keys[str(kind)].categories)
            out[str(kind)] = pc.is_in(values, texts.arrow(rows["value"])).to_numpy(zero_copy_only=False)
    return out


def in_words(model: ScoringModel, pairs: pd.DataFrame) -> np.ndarray:
    """Return in words what each comparison said: its level and its part of the log2 odds."""
    out = np.full(len(pairs), "", dtype=object)
    for comparison in model.settings["comparisons"]:
        name = comparison["output_column_name"]
        labels = [level["label_for_charts"] for level in comparison["comparison_levels"]]
        # Splink numbers levels from the last (0, different) up; a missing value is -1.
        words = np.array([*reversed(labels[1:]), labels[0]], dtype=object)[pairs[f"level_{name}"].to_numpy()]
        said = np.char.mod("%+.1f", pairs[f"says_{name}"].to_numpy(dtype=float)).astype(object)
        out = out + f"{name} " + words + " " + said + "; "
    return np.array([text[:-2] for text in out], dtype=object)


_NO_LINKS = pd.DataFrame(
    columns=["left", "right", "rule", "weight", "known_at", "state", "refused_by", "evidence"]
)
