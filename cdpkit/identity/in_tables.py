"""A resolution in the words of records and persons: numbers made into tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdpkit import texts
from cdpkit.identity import claim as ids
from cdpkit.identity import history
from cdpkit.identity.cluster import REASONS, STATES
from cdpkit.identity.evidence import timestamps
from cdpkit.identity.golden import Chosen
from cdpkit.identity.links import Rulebook


def membership(timeline: pd.DataFrame, names: ids.Ids, nodes: pd.DataFrame) -> pd.DataFrame:
    """Return the membership of each record, one row a stay with one person."""
    node, start, end = (timeline[name].to_numpy() for name in ("node", "start", "end"))
    person = names.of(timeline["founder"].to_numpy())
    if len(node) > len(nodes):
        new = np.ones(len(node), dtype=bool)
        new[1:] = (node[1:] != node[:-1]) | (person[1:] != person[:-1]) | (start[1:] != end[:-1])
        last = np.append(np.flatnonzero(new)[1:], len(node)) - 1
        node, person, start, end = node[new], person[new], start[new], end[last]
    until = timestamps(np.where(end == history.OPEN, 0, end))
    until[end == history.OPEN] = np.datetime64("NaT")
    return pd.DataFrame(
        {
            "source": nodes["source"].array.take(node),
            "record_id": nodes["record_id"].array.take(node),
            "person_id": texts.chosen(names.texts, person),
            "known_from": timestamps(start),
            "known_to": until,
        }
    )


def link_table(links: pd.DataFrame, nodes: pd.DataFrame, book: Rulebook, run_id: str) -> pd.DataFrame:
    """Return the links in the words of the records."""
    left, right, rule = (links[name].to_numpy(np.int64) for name in ("left", "right", "rule"))
    said, words = pd.factorize(links["evidence"])
    return pd.DataFrame(
        {
            "left_source": nodes["source"].array.take(left),
            "left_record_id": nodes["record_id"].array.take(left),
            "right_source": nodes["source"].array.take(right),
            "right_record_id": nodes["record_id"].array.take(right),
            "rule": texts.chosen(book.names, rule),
            "id_type": texts.chosen(book.id_types, rule),
            "weight": links["weight"].to_numpy(float),
            "state": texts.chosen(STATES, links["state"].to_numpy(np.int64)),
            "refused_by": texts.chosen(REASONS, links["refused_by"].to_numpy(np.int64)),
            "evidence": texts.chosen([str(word) for word in words], said),
            "known_at": timestamps(links["known_at"].to_numpy()),
            "run_id": texts.chosen([run_id], np.zeros(len(links), dtype=np.int64)),
        }
    )


def persons(person: np.ndarray, names: ids.Ids, nodes: pd.DataFrame) -> pd.DataFrame:
    """Return one row a person, in the order of ids."""
    source = texts.encoded(texts.arrow(nodes["source"]))[0]
    top = int(source.max(initial=0)) + 1
    both = np.sort(person * top + source)
    both = both[np.diff(both, prepend=-1) != 0]
    n_nodes = np.bincount(person, minlength=len(names.texts))
    n_sources = np.bincount(both // top, minlength=len(names.texts))
    known_at = np.full(len(names.texts), history.OPEN)
    np.minimum.at(known_at, person, nodes["known_from"].to_numpy())
    present = names.in_order(np.flatnonzero(n_nodes))
    return pd.DataFrame(
        {
            "person_id": texts.chosen(names.texts, present),
            "known_at": timestamps(known_at[present]),
            "n_nodes": n_nodes[present],
            "n_sources": n_sources[present],
        }
    )


def golden_table(
    values: Chosen, person: np.ndarray, labels: np.ndarray, names: ids.Ids, nodes: pd.DataFrame
) -> pd.DataFrame:
    """Return the golden record in the words of persons and records."""
    of_label = np.zeros(int(labels.max(initial=-1)) + 1, dtype=np.int64)
    of_label[labels] = person
    return pd.DataFrame(
        {
            "person_id": texts.chosen(names.texts, of_label[values.label]),
            "attribute": texts.chosen(values.attributes, values.attribute),
            "value": texts.chosen(values.texts, values.value),
            "source": nodes["source"].array.take(values.node),
            "record_id": nodes["record_id"].array.take(values.node),
            "known_at": timestamps(values.known_at),
            "rule": texts.chosen(values.rules, values.attribute),
        }
    )
