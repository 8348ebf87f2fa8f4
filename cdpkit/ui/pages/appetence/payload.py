"""The page's payload: aggregates only, small groups hidden, ready to be drawn."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cdpkit.errors import CdpkitError, FaultsError
from cdpkit.ui import actions, exports
from cdpkit.ui.messages import LANGUAGES, Text
from cdpkit.ui.plain import plain
from cdpkit.ui.privacy import K, merge_small, suppress

if TYPE_CHECKING:
    import pandas as pd

#: Tiers from the most to the least promising; shown as words, stored as codes.
TIERS = ("hot", "warm", "cold")

#: Changes when a payload of before can no longer be drawn.
FORMAT = 1

#: A page stays under this many bytes.
LARGEST = 300_000

_EDGES = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_STEPS = 60

Rows = Sequence[Mapping[str, Any]]


def payload(
    scores: pd.DataFrame,
    *,
    definition: Text,
    as_of: str,
    data_up_to: str,
    version: str,
    decided_by: str,
    model: str = "appetence",
    evaluation: Mapping[str, pd.DataFrame | Rows] | None = None,
    audiences: Sequence[Mapping[str, Any]] = (),
    reasons: pd.DataFrame | Rows = (),
    values_minor: Mapping[str, int] | None = None,
    population: Text | None = None,
    consent: Text | None = None,
    period: Mapping[str, str] | None = None,
    checked_on: str | None = None,
    cost_per_contact_minor: float = 5,
    currency: str = "EUR",
    horizon_days: int = 30,
    k: int = K,
) -> dict[str, Any]:
    """Return the page's payload from the scores, their evaluation and the audiences.

    Parameters
    ----------
    scores : DataFrame
        One row a scored person: ``score`` (probability in [0, 1]) and ``tier``. Only counts leave.
    definition : Text
        What a hot prospect is, one sentence a language.
    as_of, data_up_to : str
        Date of the scores; last date of the data, in ISO form.
    version, decided_by : str
        Version served; ``"model"`` or ``"rule"``.
    model : str
        Registered name.
    evaluation : mapping, optional
        Tidy frames of `cdpkit.evaluate` by name. On a later period, with outcomes: ``tiers``,
        ``deciles``, ``rule_deciles`` (the same of the baseline rule), ``calibration``, ``ranking``.
        The page says what is missing where one is absent.
    audiences : sequence of mappings
        Manifests of the exported audiences; only counts, purposes and the waterfall are kept.
    reasons : DataFrame or records
        ``tier, people`` and the sentence in columns ``fr`` and ``en``: how many of the tier have it;
        optionally ``others`` (share of everybody else who has it).
    values_minor : mapping, optional
        Past value of each tier's people, in minor units.
    population, consent : Text, optional
        Who is scored; which consent filter was applied.
    period : mapping, optional
        ``start, end`` of the later period on which results were observed.
    checked_on : str, optional
        When actual results were last compared with predictions.
    cost_per_contact_minor : float
        Assumed cost of one contact in minor units.
    currency : str
        ISO 4217 code of every amount.
    horizon_days : int
        Days in which a conversion counts.
    k : int
        Smallest group shown.

    Returns
    -------
    dict
        JSON without any person, under `LARGEST` bytes.

    Raises
    ------
    FaultsError
        If the scores lack a column, hold an unknown tier or a score outside [0, 1].
    CdpkitError
        If the payload is larger than a page may be.

    Examples
    --------
    >>> import pandas as pd
    >>> scores = pd.DataFrame({"score": [0.9] * 30 + [0.1] * 70, "tier": ["hot"] * 30 + ["cold"] * 70})
    >>> page = payload(scores, definition={"fr": "…", "en": "…"}, as_of="2026-06-30",
    ...                data_up_to="2026-06-30", version="1", decided_by="model")
    >>> [(tier["tier"], tier["people"]) for tier in page["tiers"]]
    [('hot', 30), ('warm', 0), ('cold', 70)]
    """
    _check(scores, definition, decided_by)
    frames = {name: _rows(frame) for name, frame in (evaluation or {}).items()}
    counts = {tier: int((scores["tier"] == tier).sum()) for tier in TIERS}
    tiers = _tiers(scores, frames.get("tiers", ()), values_minor or {}, k)
    page = {
        "page": "appetence",
        "format": FORMAT,
        "k": k,
        "as_of": as_of,
        "currency": currency,
        "horizon_days": horizon_days,
        "definition": dict(definition),
        "trust": {
            "data_up_to": data_up_to,
            "people": len(scores),
            "population": population,
            "consent": consent,
            "model": model,
            "version": str(version),
            "decided_by": decided_by,
            "checked_on": checked_on,
        },
        "tiers": tiers,
        "histogram": _histogram(scores, k),
        "top_n": _top_n(scores, k),
        "cost_per_contact_minor": cost_per_contact_minor,
        "reasons": _reasons(_rows(reasons), counts, k),
        "offers": [actions.offer(f"{tier}_prospects", model, f"tier = '{tier}'") for tier in TIERS],
        "audiences": [exports.summary(manifest, k) for manifest in audiences],
        "quality": {
            "period": dict(period) if period else None,
            "deciles": _deciles(frames.get("deciles", ()), k),
            "rule_deciles": _deciles(frames.get("rule_deciles", ()), k),
            "calibration": [row for row in frames.get("calibration", ()) if row["people"] >= k],
            "ranking": list(frames.get("ranking", ())),
        },
    }
    page = plain(page)
    size = len(json.dumps(page, ensure_ascii=False).encode())
    if size > LARGEST:
        raise CdpkitError(f"a page must stay under {LARGEST} bytes", str(size), "Publish fewer rows")
    return page


def empty(what: Text, need: int, got: int, *, data_up_to: str | None = None) -> dict[str, Any]:
    """Return the payload of a page that cannot be computed yet: what is missing, and how much.

    Examples
    --------
    >>> empty({"fr": "commandes", "en": "orders"}, need=100, got=43)["missing"]["got"]
    43
    """
    lack = {"what": dict(what), "need": int(need), "got": int(got)}
    return {"page": "appetence", "format": FORMAT, "missing": lack, "trust": {"data_up_to": data_up_to}}


def _check(scores: pd.DataFrame, definition: Text, decided_by: str) -> None:
    faults = [f"column `{name}` must be present" for name in ("score", "tier") if name not in scores.columns]
    if not faults and len(scores):
        unknown = sorted(set(scores["tier"].dropna()) - set(TIERS))
        if unknown or scores["tier"].isna().any():
            faults.append(f"`tier` must be one of {', '.join(TIERS)}; got {unknown or 'missing values'}")
        if not scores["score"].between(0, 1).all():
            faults.append("`score` must be a probability in [0, 1]")
    if decided_by not in ("model", "rule"):
        faults.append(f"`decided_by` must be model or rule; got {decided_by!r}")
    faults += [f"`definition` must be written in {lang}" for lang in LANGUAGES if not definition.get(lang)]
    if faults:
        raise FaultsError("the appetence page", faults)


def _rows(frame: pd.DataFrame | Rows) -> list[dict[str, Any]]:
    records: Any = frame.to_dict("records") if hasattr(frame, "to_dict") else frame
    return [dict(row) for row in records]


def _tiers(scores: pd.DataFrame, observed: Rows, values: Mapping[str, int], k: int) -> list[dict[str, Any]]:
    """Expected from today's scores; observed from the later period, where both groups reach k."""
    seen = {row["tier"]: row for row in observed}
    counts = [int((scores["tier"] == tier).sum()) for tier in TIERS]
    later = suppress([int(seen[t]["people"]) if t in seen else 0 for t in TIERS], k)
    out = []
    for tier, people, n_later in zip(TIERS, suppress(counts, k), later, strict=True):
        card: dict[str, Any] = {
            "tier": tier,
            "people": people,
            "share": None,
            "expected": None,
            "observed": None,
        }
        if people:
            chances = scores.loc[scores["tier"] == tier, "score"]
            spread = 1.96 * math.sqrt(float((chances * (1 - chances)).sum())) / people
            rate = float(chances.mean())
            card["share"] = people / len(scores)
            card["expected"] = {"rate": rate, "low": max(0.0, rate - spread), "high": min(1.0, rate + spread)}
            card["value_minor"] = values.get(tier)
        if n_later:
            row = seen[tier]
            card["observed"] = {
                "people": n_later,
                "conversions": int(row["observed"]),
                "rate": row["rate"],
                "low": row["low"],
                "high": row["high"],
            }
        out.append(card)
    total = sum(card["observed"]["conversions"] for card in out if card["observed"])
    whole = all(card["observed"] for card in out if card["people"] is None or card["people"])
    for card in out:
        share = card["observed"]["conversions"] / total if total and whole and card["observed"] else None
        card["orders_share"] = share
    return out


def _histogram(scores: pd.DataFrame, k: int) -> dict[str, Any] | None:
    """Count people by chance; the limits between tiers are edges, so a bar belongs to one tier."""
    import numpy as np

    if not len(scores):
        return None
    chances = scores["score"].to_numpy()
    floors = _floors(scores)
    cuts = sorted({cut for cut in floors.values() if 0 < cut < 1})
    edges = [0.0] + [e for e in _EDGES if all(abs(e - cut) > 0.2 * max(e, cut) for cut in cuts)] + [1.0]
    edges = sorted({*edges, *cuts})
    counts, _ = np.histogram(chances, bins=edges)
    merged, sums = merge_small(edges, counts.tolist(), k, walls=cuts)
    tiers = [next((t for t in TIERS[:2] if t in floors and low >= floors[t]), "cold") for low in merged[:-1]]
    return {"edges": merged, "counts": suppress(sums, k), "tiers": tiers, "cuts": floors}


def _floors(scores: pd.DataFrame) -> dict[str, float]:
    """Write each limit between tiers with as few digits as still separate them."""
    floors = {}
    for tier, below in (("hot", TIERS[1:]), ("warm", TIERS[2:])):
        inside, under = (
            scores.loc[scores["tier"] == tier, "score"],
            scores.loc[scores["tier"].isin(below), "score"],
        )
        if len(inside):
            least, most = float(inside.min()), float(under.max()) if len(under) else 0.0
            rounded = (math.floor(least * 10**digits) / 10**digits for digits in range(2, 6))
            floors[tier] = next((cut for cut in rounded if most < cut <= least), least)
    return floors


def _top_n(scores: pd.DataFrame, k: int) -> list[dict[str, Any]]:
    """About sixty steps, at least k people apart: two steps never tell one person apart.

    Everybody, the hot, then the hot with the warm are steps unless a few people lie between two; others
    too near give way to them.
    """
    from cdpkit.evaluate import top_n

    total = len(scores)
    if total < k:
        return []
    hot, warm = (int((scores["tier"] == tier).sum()) for tier in TIERS[:2])
    sizes: list[int] = []
    for n in (total, hot, hot + warm):
        if n >= k and all(abs(n - kept) >= k for kept in sizes):
            sizes.append(n)
    for i in range(1, _STEPS):
        n = max(k, round(total * i / _STEPS))
        if all(abs(n - kept) >= k for kept in sizes):
            sizes.append(n)
    base = float(scores["score"].mean())
    rows = _rows(top_n(scores["score"].to_numpy(), sizes=sorted(sizes)))
    return [
        {
            "n": int(row["people"]),
            "expected": row["expected"],
            "low": row["expected_low"],
            "high": row["expected_high"],
            "random": base * int(row["people"]),
        }
        for row in rows
    ]


def _reasons(rows: Rows, counts: Mapping[str, int], k: int) -> dict[str, list[dict[str, Any]]]:
    """Per tier, the reasons that at least k people have, the most frequent first."""
    kept: dict[str, list[dict[str, Any]]] = {tier: [] for tier in TIERS}
    for row in sorted(rows, key=lambda row: -row["people"]):
        people, total = int(row["people"]), int(counts.get(row["tier"], 0))
        if people < k or not total:
            continue
        reason = {"text": {lang: row[lang] for lang in LANGUAGES}, "people": people, "share": people / total}
        others = row.get("others")
        kept[row["tier"]].append(reason | ({} if others is None else {"others": others}))
    return {tier: reasons[:6] for tier, reasons in kept.items()}


def _deciles(rows: Rows, k: int) -> list[dict[str, Any]]:
    """Keep what the lift figure needs, of deciles that reach k people."""
    keep = ("decile", "people", "rate", "low", "high", "lift", "cumulative_share")
    return [{key: row[key] for key in keep} for row in rows if row["people"] >= k]
