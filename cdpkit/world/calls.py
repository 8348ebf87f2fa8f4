"""Calls to the call centre: a reason, a few words, a resolution and a mark."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from cdpkit.world import columns, records
from cdpkit.world.catalogue import words
from cdpkit.world.deals import Reach
from cdpkit.world.draws import Draws
from cdpkit.world.persons import Persons
from cdpkit.world.plan import DAY, Plan
from cdpkit.world.records import CALLER, Identity

REASONS = ["delivery", "defect", "billing", "product", "cancel"]


def build(
    plan: Plan, persons: Persons, who: Identity, facts: dict[str, np.ndarray], reach: Reach
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the call centre's log, the e-mails received, and the truth about each: who, and what about."""
    index, day, about = facts["person"], facts["day"], facts["about"]
    me = Draws(plan.seed, persons.unit[index])
    # A leaving customer may also call for another matter that day; the line tells them apart.
    line = (about == "cancel").astype(np.int64)
    question = me.pick(np.array([0.25, 0.0, 0.15, 0.6, 0.0]), "question", day)
    trouble = me.pick(np.array([0.45, 0.45, 0.10]), "trouble", day)
    reason = np.where(about == "cancel", 4, np.where(about == "problem", trouble, question))
    called = (
        plan.first
        + day * DAY
        + ((7 + 10 * me.uniform("call hour", day, line)) * 3600).astype(np.int64) * 1_000_000
    )
    unhappy = about != "question"
    resolved = me.chance(np.where(unhappy, 0.8, 0.95), "resolved", day)
    wait = me.exponential(np.where(unhappy, 30.0, 1.0), "resolution", day)
    resolved_at = called + (np.minimum(wait, 300) * 3600).astype(np.int64) * 1_000_000 + 180_000_000
    resolved &= resolved_at < plan.last
    mark = np.clip(np.where(unhappy, 3.2, 8.0) + 1.8 * me.normal("mark", day), 0, 10).round().astype(np.int64)
    marked = resolved & me.chance(0.55, "marked", day)
    fixed = me.chance(plan.rules.population.landline, "landline", CALLER)
    number = np.where(fixed, who.landline[index], who.mobile[index])
    key = me.bits("call", day, line)
    call_id = columns.hexes(key, "k")
    texts = _texts(persons.english[index], reason, me.uniform("words", day))
    said = columns.words(np.where(me.chance(0.1, "no reason", day), -1, reason), REASONS)
    # Some write instead, those whose address is known.
    known = reach.email.is_valid().to_numpy(zero_copy_only=False)[index]
    writes = known & me.chance(plan.rules.behaviour.write, "writes", day, line)
    log = pa.table(
        {
            "call_id": call_id,
            "phone": records.phones(number, np.where(me.chance(0.5, "line style"), 2, 0)),
            "called_at": columns.iso(called),
            "reason": said,
            "text": texts,
            "resolved_at": columns.iso(resolved_at, resolved),
            "satisfaction": pa.array(mark, mask=~marked),
        }
    )
    mails = pa.table(
        {
            "inbound_id": call_id,
            "sender": reach.email.take(pa.array(index)),
            "received_at": columns.iso(called),
            "reason": said,
            "text": texts,
            "answered_at": columns.iso(resolved_at, resolved),
        }
    )
    truth = pa.table(
        {
            "call_id": call_id,
            "person": pa.array(persons.unit[index]),
            "wrote": pa.array(writes),
            "about": columns.words(reason, REASONS),
            "leaving": pa.array(about == "cancel"),
        }
    )
    return log.filter(pa.array(~writes)), mails.filter(pa.array(writes)), truth


def _texts(english: np.ndarray, reason: np.ndarray, u: np.ndarray) -> pa.Array:
    vocabulary: list[str] = []
    first, size = np.zeros((2, len(REASONS)), np.int64), np.zeros((2, len(REASONS)), np.int64)
    for language, name in enumerate(("fr", "en")):
        for code, key in enumerate(REASONS):
            sentences = words()["calls"][name][key]
            first[language, code], size[language, code] = len(vocabulary), len(sentences)
            vocabulary += sentences
    row = english.astype(np.int64)
    return columns.words(first[row, reason] + (u * size[row, reason]).astype(np.int64), vocabulary)
