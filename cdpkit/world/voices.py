"""What persons say: reviews, answers to surveys, social interactions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from cdpkit.world import columns
from cdpkit.world.catalogue import vocabulary
from cdpkit.world.deals import Reach, instants
from cdpkit.world.draws import Draws
from cdpkit.world.orders import Sold
from cdpkit.world.persons import Persons
from cdpkit.world.plan import DAY, Plan

_NETWORKS = ["facebook", "instagram", "x", "youtube"]
_KINDS = ["like", "share", "mention", "follow"]


def _sentences(plan: Plan, name: str, english: np.ndarray, tone: np.ndarray, u: np.ndarray) -> pa.Array:
    """Return a sentence of a tone (0 bad, 1 middling, 2 good), in the person's language."""
    text = vocabulary(plan.rules.sector.words)[name]
    said: list[str] = []
    first, size = np.zeros((2, 3), np.int64), np.zeros((2, 3), np.int64)
    for language, key in enumerate(("fr", "en")):
        for code, mood in enumerate(("bad", "middling", "good")):
            first[language, code], size[language, code] = len(said), len(text[key][mood])
            said += text[key][mood]
    row = english.astype(np.int64)
    return columns.words(first[row, tone] + (u * size[row, tone]).astype(np.int64), said)


def reviews(plan: Plan, persons: Persons, sold: Sold) -> tuple[pa.Table, pa.Table]:
    """Return reviews of what was ordered on line; those who met a problem write more, and worse."""
    me, rule = Draws.keyed(sold.key), plan.rules.voice
    writes = me.chance(rule.review * np.where(sold.trouble, 2.5, 1.0), "review")
    at = sold.at + ((3 + 25 * me.uniform("review day")) * DAY).astype(np.int64)
    rows = np.flatnonzero(writes & (at < plan.last))
    me, at, product = me.take(rows), at[rows], sold.product[rows]
    index, trouble = sold.person[rows], sold.trouble[rows]
    feeling = 3.9 + 0.5 * plan.shop.quality[product] - 1.9 * trouble + 0.8 * me.normal("feeling")
    rating = np.clip(np.round(feeling), 1, 5).astype(np.int64)
    review_id = columns.hexes(me.bits("review id"), "r")
    table = pa.table(
        {
            "review_id": review_id,
            "account_id": sold.account.take(pa.array(rows)),
            "written_at": columns.iso(at),
            "product_id": columns.words(product, plan.shop.ids),
            "rating": pa.array(rating),
            "text": _sentences(
                plan, "reviews", persons.english[index], np.digitize(rating, [3, 4]), me.uniform("words")
            ),
        }
    )
    truth = pa.table(
        {
            "review_id": review_id,
            "person": pa.array(persons.unit[index]),
            "trouble": pa.array(trouble),
            "true_quality": pa.array(plan.shop.quality[product]),
        }
    )
    return table, truth


def surveys(
    plan: Plan, persons: Persons, sold: Sold, reach: Reach, states: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Return answers to the survey sent after an order, and to the yearly recommendation question.

    The second is asked at a month's first day, whatever the person did, of some who have an address.
    """
    me, rule = Draws.keyed(sold.key), plan.rules.voice
    at = sold.at + ((2 + 4 * me.uniform("survey day")) * DAY).astype(np.int64)
    rows = np.flatnonzero(me.chance(rule.survey, "survey") & (at < plan.last))
    after = (
        sold.person[rows],
        at[rows],
        np.where(sold.trouble[rows], 1.0, 0.0),
        me.take(rows).bits("survey id"),
    )
    unit, as_of = states["person"].to_numpy(), states["as_of"].cast(pa.int64()).to_numpy()
    person = unit - persons.unit[0]
    asked = Draws(plan.seed, unit)
    day = (as_of - plan.first) // DAY
    answers = (
        asked.chance(30 * rule.nps, "nps", day)
        & reach.email.is_valid().to_numpy(zero_copy_only=False)[person]
    )
    moment = instants(plan, asked, day, "nps time")
    kept = np.flatnonzero(answers & (moment < plan.last))
    anger = np.minimum(states["unhappy"].to_numpy()[kept], 1.5)
    later = (person[kept], moment[kept], anger, asked.take(kept).bits("nps id", day[kept]))
    index, when, anger, key = (np.concatenate(pair) for pair in zip(after, later, strict=True))
    luck, yearly = Draws.keyed(key), np.repeat([False, True], [len(rows), len(kept)])
    content = 7.6 - 4.2 * anger + 1.7 * luck.normal("content")
    value = np.clip(np.round(np.where(yearly, content, content / 2)), 0, np.where(yearly, 10, 5)).astype(
        np.int64
    )
    response_id = columns.hexes(key, "s")
    kind = yearly.astype(np.int64)
    table = pa.table(
        {
            "response_id": response_id,
            "email": reach.email.take(pa.array(index)),
            "answered_at": columns.iso(when),
            "survey": columns.words(kind, ["after order", "recommendation"]),
            "question": columns.words(kind, ["satisfaction 0-5", "would recommend 0-10"]),
            "answer": pa.array([str(v) for v in value.tolist()], pa.string()),
            "value": pa.array(value),
        }
    )
    truth = pa.table(
        {
            "response_id": response_id,
            "person": pa.array(persons.unit[index]),
            "dissatisfaction": pa.array(anger),
        }
    )
    return table, truth


def interests(plan: Plan, persons: Persons) -> np.ndarray:
    """Return the weight of each category in a person's tastes: (persons, categories)."""
    shares = np.diff(plan.shop.group_shares(persons.taste), axis=1, prepend=0.0)
    table = np.zeros((len(persons), len(plan.shop.categories)))
    for group, category in enumerate(plan.shop.category_of.tolist()):
        table[:, category] += shares[:, group]
    return table


def social(plan: Plan, persons: Persons, reach: Reach) -> tuple[pa.Table, pa.Table]:
    """Return social interactions; topics follow tastes, and some handles are linked to an address."""
    rule = plan.rules.voice
    me = Draws(plan.seed, persons.unit)
    talkers = np.flatnonzero(me.chance(rule.social, "social"))
    first, last = np.maximum(persons.born[talkers], 0), np.minimum(persons.gone[talkers], plan.days)
    mean = np.maximum(last - first, 0) * rule.social_rate * np.exp(0.6 * me.take(talkers).normal("talkative"))
    n = me.take(talkers).poisson(np.minimum(mean, 120), 200, "interactions")
    index, rank = np.repeat(talkers, n), np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    mine, low, span = me.take(index), np.repeat(first, n), np.repeat(np.maximum(last - first, 1), n)
    day = low + (mine.uniform("social day", rank) * span).astype(np.int64)
    weight = interests(plan, persons) ** rule.interest
    topic = mine.pick_row(
        (np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True))[index], "topic", rank
    )
    at = instants(plan, mine, day, "social time")
    linked = me.chance(0.6, "linked") & reach.email.is_valid().to_numpy(zero_copy_only=False)
    tone = mine.pick(np.array([1, 3, 6]), "tone", rank)
    table = pa.table(
        {
            "interaction_id": columns.hexes(mine.bits("interaction", rank), "i"),
            "handle": columns.hexes(mine.bits("handle"), "u_"),
            "email": columns.blank(reach.email.take(pa.array(index)), linked[index]),
            "consent": columns.words(me.chance(0.8, "social consent").astype(np.int64)[index], ["no", "yes"]),
            "network": columns.words(mine.pick(np.array([4, 4, 2, 1]), "network"), _NETWORKS),
            "kind": columns.words(mine.pick(np.array([6, 2, 2, 1]), "interaction kind", rank), _KINDS),
            "topic": columns.words(topic, plan.shop.categories),
            "text": _sentences(plan, "reviews", persons.english[index], tone, mine.uniform("words", rank)),
            "created_at": columns.iso(at),
        }
    )
    truth = pa.table({"handle": columns.hexes(me.bits("handle"), "u_"), "person": pa.array(persons.unit)})
    return table, truth.take(pa.array(talkers))
