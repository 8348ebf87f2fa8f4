"""Every feature of the catalogue equals a plain, slow reading of its declaration, person by person."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache

import pandas as pd
import pytest
from sqlglot import exp

from cdpkit.features import catalogue
from cdpkit.features.behaviours import CONSIDERED_HOURS, CONSIDERED_VIEWS, DELIBERATION_DAYS, IMPULSIVE_SHARE
from cdpkit.features.declarations import SESSION_FACTS, Output
from cdpkit.features.facts import VIEWS
from cdpkit.features.history import STRANDS
from cdpkit.features.lexicon import pattern
from cdpkit.features.plan import Part
from cdpkit.features.predicate import parse as parse_filter
from cdpkit.schema import TABLES

START = pd.Timestamp("2026-01-01")
DAY = pd.Timedelta(days=1)
Row = dict
parse = cache(parse_filter)


def missing(value: object) -> bool:
    return value is None or (not isinstance(value, list) and bool(pd.isna(value)))


def clean(frame: pd.DataFrame) -> list[Row]:
    """Return rows as dicts with None for what is missing."""
    return [{k: None if missing(v) else v for k, v in row.items()} for row in frame.to_dict("records")]


# --- views, spelled out ---------------------------------------------------------------------------------


def described(row: Row, versions: dict[str, list[Row]]) -> list[Row]:
    """Return a row beside the version of its product that was in force when it was learned."""
    found = versions.get(row.get("product_id"), [])
    if not found:
        return []
    held = [v for v in found if v["known_at"] <= row["known_at"]]
    version = held[-1] if held else found[0]
    known = max(row["known_at"], version["known_at"])
    return [row | {k: version[k] for k in ("category", "brand", "tier", "tags")} | {"known_at": known,
            "category": version["category"] or row.get("category"), "brand": version["brand"] or row.get("brand")}]  # fmt: skip


def views(tables: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Return the computed facts."""
    versions: dict[str, list[Row]] = defaultdict(list)
    for product in sorted(tables["products"], key=lambda p: p["known_at"]):
        versions[product["product_id"]].append(product)
    seen = [r for r in tables["events"] if r["event_type"] in ("Product Viewed", "Product Added")]
    browsed = [d for row in seen for d in described(row, versions)]
    lines = [r for r in tables["order_lines"] if r["quantity"] is None or r["quantity"] > 0]
    located = []
    for row in tables["profiles"]:
        areas = sorted(
            (a for a in tables["areas"] if a["postcode"] == row.get("postcode")), key=lambda a: a["known_at"]
        )
        held = [a for a in areas if a["known_at"] <= row["known_at"]] or areas[:1]
        located += [row | held[-1] | {"known_at": max(row["known_at"], held[-1]["known_at"])}] if held else []
    attributes = (
        "first_name",
        "last_name",
        "gender",
        "birth_date",
        "street",
        "postcode",
        "city",
        "country",
        "language",
    )
    facts = [
        row | {"kind": name} for row in tables["profiles"] for name in attributes if row.get(name) is not None
    ]
    facts += [row | {"kind": row["id_type"]} for row in tables["identifiers"]]
    facts += [row | {"kind": "choices"} for row in tables["consents"]]
    facts += [
        row | {"kind": name}
        for name in VIEWS["facts"].bases
        if name not in ("profiles", "identifiers", "consents")
        for row in tables[name]
    ]
    inter = []
    for strand in STRANDS:
        for row in tables[strand.table]:
            time = row.get(strand.time)
            if time is not None:
                known = row["known_at"] if strand.time == "event_time" else max(row["known_at"], time)
                inter.append(row | {"event_time": time, "known_at": known, "direction": strand.direction,
                                    "kind": strand.kind, "fact": strand.table, "channel": row.get("channel")})  # fmt: skip
    return {
        "browsed": browsed, "tagged": [row | {"tag": tag} for row in browsed for tag in (row["tags"] or [])],
        "bought": [d for row in lines for d in described(row, versions)], "located": located, "facts": facts,
        "interactions": inter,
    }  # fmt: skip


# --- filters: SQL's three values ------------------------------------------------------------------------


def compare(left: object, right: object, how: Callable) -> bool | None:
    return None if left is None or right is None else bool(how(left, right))


COMPARE: dict[type, Callable] = {
    exp.EQ: lambda a, b: a == b, exp.NEQ: lambda a, b: a != b, exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b, exp.LT: lambda a, b: a < b, exp.LTE: lambda a, b: a <= b,
}  # fmt: skip


def value(tree: exp.Expression, row: Row, t: pd.Timestamp) -> object:
    """Evaluate a filter on one row."""
    if isinstance(tree, exp.Paren):
        return value(tree.this, row, t)
    if isinstance(tree, exp.And | exp.Or):
        sides = [value(tree.this, row, t), value(tree.expression, row, t)]
        wins = isinstance(tree, exp.Or)
        if wins in sides:
            return wins
        return None if None in sides else not wins
    if isinstance(tree, exp.Not):
        inner = value(tree.this, row, t)
        return None if inner is None else not inner
    if isinstance(tree, exp.Anonymous):
        time = row.get(tree.expressions[0].name)
        return time is not None and time < t
    if isinstance(tree, exp.Is):
        return value(tree.this, row, t) is None
    if isinstance(tree, exp.In):
        left = value(tree.this, row, t)
        return None if left is None else left in [value(e, row, t) for e in tree.expressions]
    if isinstance(tree, exp.Between):
        left, low, high = (value(tree.args[k], row, t) for k in ("this", "low", "high"))
        return None if left is None else low <= left <= high
    if isinstance(tree, exp.Literal):
        return tree.this if tree.is_string else float(tree.this)
    if isinstance(tree, exp.Column):
        return row.get(tree.name)
    return compare(value(tree.this, row, t), value(tree.expression, row, t), COMPARE[type(tree)])


class Person:
    """What one person shows at a date, and the parts of features over it."""

    def __init__(self, tables: dict[str, list[Row]], nodes: set[int], t: pd.Timestamp) -> None:
        self.t = t
        self.rows = {
            name: [r for r in rows if r["node_id"] in nodes and r["event_time"] < t and r["known_at"] < t]
            for name, rows in tables.items()
            if rows and "node_id" in rows[0] and "event_time" in rows[0]
        }

    def of(self, table: str, where: str | None, window: int | None) -> list[Row]:
        kept = self.rows.get(table, [])
        if where is not None:
            kept = [r for r in kept if value(parse(where), r, self.t) is True]
        return kept if window is None else [r for r in kept if r["event_time"] >= self.t - window * DAY]

    def part(self, part: Part) -> object:
        rows = self.of(part.table, part.where, part.window)
        return getattr(self, f"_{part.level}")(part, rows)

    def fading(self, rows: list[Row], days: float) -> float:
        return sum(math.exp(-((self.t - r["event_time"]) / DAY) / days) for r in rows)

    def _rows(self, part: Part, rows: list[Row]) -> object:
        op, column = part.op, part.column or "event_time"
        filled = [r for r in rows if r.get(column) is not None]
        values = [r[column] for r in filled]
        if op == "count":
            return len(rows)
        if op == "says":
            return sum(bool(re.search(pattern(part.values[0]), text.lower())) for text in values)
        if op == "decay":
            return self.fading(rows, float(part.values[0]))
        if op == "reached":
            return max(
                (part.values.index(v) + 1 if v in part.values else 0 for v in (r.get(column) for r in rows)),
                default=None,
            )
        if op == "filled":
            return len(values)
        if not values:
            return None
        if op in ("latest", "earliest"):
            instant = (max if op == "latest" else min)(r["event_time"] for r in filled)
            found = {r[column] for r in filled if r["event_time"] == instant}
            listed = [v for v in part.values[:-1] if v in found]
            return listed[-1 if op == "latest" else 0] if listed else part.values[-1]
        if op in ("last", "first"):
            keys = VIEWS[part.table].table.key if part.table in VIEWS else TABLES[part.table].key
            ordered = sorted(filled, key=lambda r: (r["event_time"], *(r[k] for k in keys), r[column]))
            return ordered[-1 if op == "last" else 0][column]
        return {"sum": sum, "micro": sum, "min": min, "max": max}[op](values)

    def _values(self, part: Part, rows: list[Row]) -> object:
        def key(row: Row) -> object:
            return row["event_time"].date() if part.group == "day" else row.get(part.group)

        groups: dict[object, list[Row]] = defaultdict(list)
        for row in rows:
            if key(row) is not None:
                groups[key(row)].append(row)
        if part.op == "saturated":
            return (
                sum(1 - math.exp(-self.fading(g, float(part.values[0]))) for g in groups.values())
                if groups
                else None
            )
        sizes = Counter({k: len(g) for k, g in groups.items()})
        if part.op == "repeated":
            return sum(n >= int(part.having) for n in sizes.values())
        return {"distinct": len(sizes), "top": max(sizes.values(), default=None), "total": sizes.total()}[
            part.op
        ]

    def sessions(self, rows: list[Row], silence: int) -> list[list[Row]]:
        groups: dict[object, list[Row]] = defaultdict(list)
        run, last = 0, None
        for row in sorted(rows, key=lambda r: r["event_time"]):
            if row["session_id"] is not None:
                groups[row["session_id"]].append(row)
                continue
            if last is None or row["event_time"] - last >= pd.Timedelta(minutes=silence):
                run += 1
            last = row["event_time"]
            groups[run].append(row)
        return list(groups.values())

    def _sessions(self, part: Part, rows: list[Row]) -> object:
        kept = []
        for session in self.sessions(rows, int(part.group)):
            length = (session[-1]["event_time"] - session[0]["event_time"]) / pd.Timedelta(minutes=1)
            held = {w: any(r["event_type"] == e for r in session) for w, e in SESSION_FACTS.items()}
            held |= {"n_events": len(session), "minutes": length}
            if part.having is None or value(parse(part.having), held, self.t) is True:
                kept.append((len(session), length))
        if part.op == "n":
            return len(kept)
        return sum(n if part.op == "events" else minutes for n, minutes in kept)

    def _gaps(self, part: Part, rows: list[Row]) -> object:
        times = sorted(r["event_time"] for r in rows)
        gaps = [(b - a) / DAY for a, b in itertools.pairwise(times)]
        places = range(2, len(gaps) + 2)
        return {"n": len(gaps), "sum": sum(gaps), "square": sum(g * g for g in gaps), "index": sum(places),
                "index_square": sum(i * i for i in places), "cross": sum(i * g for i, g in zip(places, gaps, strict=True))}[part.op]  # fmt: skip

    def _purchases(self, part: Part, rows: list[Row]) -> object:
        found = []
        lines = [
            r
            for r in self.of("order_lines", part.where, None)
            if r["product_id"] and (r["quantity"] or 1) > 0
        ]
        for product in {r["product_id"] for r in lines}:
            viewed = [
                r["event_time"]
                for r in self.of("events", None, None)
                if r["event_type"] == "Product Viewed" and r["product_id"] == product
            ]
            before = pd.Timestamp.min
            for at in sorted({r["event_time"] for r in lines if r["product_id"] == product}):
                seen = [v for v in viewed if before < v <= at and v >= at - DELIBERATION_DAYS * DAY]
                if seen and (part.window is None or at >= self.t - part.window * DAY):
                    found.append(((at - min(seen)) / pd.Timedelta(hours=1), len(seen)))
                before = at
        quick = [h < CONSIDERED_HOURS and n < CONSIDERED_VIEWS for h, n in found]
        return {
            "n": len(found),
            "length": sum(h for h, _ in found),
            "views": sum(n for _, n in found),
            "quick": sum(quick),
        }[part.op]


# --- formulas: what declarations say --------------------------------------------------------------------


def ratio(above: object, below: object) -> float | None:
    return None if not below else (above or 0) / below


def one_currency(result: object, guards: list) -> object:
    return None if guards and guards[0] != guards[1] else result


def formula(output: Output, p: list, t: pd.Timestamp) -> tuple[object, bool]:
    """Return the value, and whether nothing was seen."""
    f = output.formula
    if f in ("count", "flag"):
        return (None if not p[0] else (p[0] if f == "count" else 1)), not p[0]
    if f == "counted":
        return (None if not p[1] else p[0] or 0), not p[1]
    if f in ("sum", "micro_sum", "value"):
        return one_currency(p[0], p[2:]), not p[1]
    if f in ("mean", "micro_mean"):
        return one_currency(None if not p[1] else ratio(p[0], p[1]), p[2:]), not p[1]
    if f in ("by_session", "micro_by_session"):
        return (None if p[0] is None else ratio(p[0], p[1])), not p[2]
    if f in ("ratio", "minutes", "hours"):
        return ratio(p[0], p[1]), not p[1]
    if f == "scaled_ratio":
        return (None if not p[1] else ratio(p[0], p[1]) * output.number), not p[1]
    if f == "stock":
        return (p[0] if p[1] else None), not p[1]
    if f == "style":
        share = ratio(p[0], p[1])
        return (None if share is None else "impulsive" if share >= IMPULSIVE_SHARE else "considered"), not p[
            1
        ]
    return _single(output, p, t), p[0] is None


def _single(output: Output, p: list, t: pd.Timestamp) -> object:
    """Return the value of a formula that is missing only when its part is."""
    f = output.formula
    if f in ("mean_gap", "sd_gap", "slope"):
        return _gap(f, p)
    if p[0] is None:
        return None
    if f in ("days_since", "years_since"):
        return (t - pd.Timestamp(p[0])) / DAY / (365.25 if f == "years_since" else 1)
    if f == "knowledge":
        return min(100.0, p[0] * output.number)
    return {"category": p[0], "field": p[0], "reached": p[0]}[f]


def _gap(f: str, p: list) -> float | None:
    if f == "mean_gap":
        last, first, n = p
        return (last - first) / DAY / (n - 1) if n > 1 else None
    n, total = p[0], p[1]
    if n < 2:
        return None
    if f == "sd_gap":
        return math.sqrt(max(n * p[2] - total * total, 0) / (n * (n - 1)))
    return (n * p[4] - p[2] * total) / (n * p[3] - p[2] ** 2)


@pytest.mark.parametrize("seed", [0])
def test_every_feature_of_the_catalogue_equals_the_reference(seed: int, world, on) -> None:
    """All of them, at two dates, for every person: counts exact, floats within 1e-9, fills as declared."""
    frames = world(seed)
    features = catalogue.complete()
    dates = [START + 20 * DAY, START + 33 * DAY]
    built = features.build(on(frames), dates, consent=False).to_pandas()
    tables = {name: clean(frame) for name, frame in frames.items()}
    tables |= views(tables)
    spoke = {n: min((max(r["event_time"], r["known_at"]) for r in rows if r.get("event_time") is not None), default=None)
             for n, rows in tables.items() if rows and "known_at" in rows[0]}  # fmt: skip
    members, seen = frames["membership"], Counter()
    for row in built.to_dict("records"):
        t = row["as_of"]
        held = members[
            (members["person_id"] == row["person_id"])
            & (members["known_from"] < t)
            & ~(members["known_to"] < t)
        ]
        person, kept = Person(tables, set(held["node_id"]), t), {}
        for output in features.outputs:
            for part in (*output.parts, *([output.history] if output.history else [])):
                if part not in kept:
                    kept[part] = person.part(part)
            expected, unseen = formula(output, [kept[part] for part in output.parts], t)
            if unseen and output.history is not None and kept[output.history]:
                expected = 0.0
            elif (
                unseen
                and isinstance(output.fill, int | float)
                and spoke.get(output.table) is not None
                and spoke[output.table] < t
            ):
                expected = float(output.fill)
            got, where = row[output.name], (output.name, row["person_id"], t, expected, row[output.name])
            if expected is None:
                assert missing(got), where
            elif isinstance(expected, str):
                assert got == expected, where
            else:
                assert got == pytest.approx(float(expected), rel=1e-9, abs=1e-9), where
            seen[output.name] += expected is not None
    silent = [name for name in features.names if not seen[name]]
    assert not silent, f"the reference must have a value to compare for {silent}"
