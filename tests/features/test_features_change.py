"""Changes of behaviour: those planted in the world are found, and where nothing changes few are called."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit import world as worlds
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import NotEnoughDataError
from cdpkit.features import ChangeDetector, change

RECENT, BEFORE = 42, 168
KEYS = {"web_events": ("events", "event_id"), "email_log": ("messages", "message_id")}


def moments(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    told = {c: pd.to_datetime(frame[c], format="mixed", utc=True).dt.tz_localize(None) for c in columns}
    return frame.assign(**{name: time.astype("datetime64[us]") for name, time in told.items()})


def observed(made: worlds.World) -> tuple[DuckDBEngine, pd.DataFrame]:
    """Return what persons did, each under its true person: who is who is not in question here."""
    raw, truth, tables = made.raw, made.truth, {}
    for export, (table, key) in KEYS.items():
        rows = raw[export].merge(truth[table][[key, "person"]], on=key).drop_duplicates(key)
        time = "ts" if table == "events" else "sent_at"
        kept = rows.rename(columns={"person": "node_id", time: "event_time"}).assign(source="w")
        more = ["event_type"] if table == "events" else ["clicked_at"]
        kept = moments(kept, "event_time", *[c for c in more if c.endswith("_at")])
        tables[table] = kept[[key, "node_id", "source", "event_time", *more]]
    orders = truth["orders"].drop_duplicates("order_id").assign(source="w", currency="EUR")
    orders = moments(orders.rename(columns={"person": "node_id", "ordered_at": "event_time"}), "event_time")
    tables["orders"] = orders.astype({"order_id": "str"})[
        ["order_id", "node_id", "source", "event_time", "amount_minor", "currency"]
    ]
    persons = truth["persons"].query("kind == 'person'")
    held = pd.DataFrame(
        {"node_id": persons["person"], "person_id": persons["person"].astype("str"), "known_to": pd.NaT}
    )
    held = held.assign(known_from=pd.Timestamp("2024-01-01")).astype(
        dict.fromkeys(("known_from", "known_to"), "datetime64[us]")
    )
    frames = {name: rows.assign(known_at=rows["event_time"]) for name, rows in tables.items()}
    return DuckDBEngine(frames=frames | {"membership": held}), persons


def called(engine: DuckDBEngine, learned: str, rows: pd.DataFrame) -> tuple[ChangeDetector, pd.DataFrame]:
    """Learn at one date from everybody, and judge persons at theirs."""
    series = change.series(RECENT, BEFORE)
    detector = ChangeDetector(alpha=0.05, recent=RECENT, before=BEFORE)
    detector.fit(series.build(engine, learned, consent=False).to_pandas())
    said = detector.detect(series.build(engine, at=rows, consent=False).to_pandas())
    return detector, said


@pytest.fixture(scope="module")
def retail() -> tuple[ChangeDetector, pd.DataFrame]:
    """Detection 42 days after each planted date, in a retail world."""
    engine, persons = observed(worlds.generate(4000, seed=5))
    planted = persons[persons["changed_at"].notna()]
    at = pd.DataFrame(
        {
            "person_id": planted["person"].astype("str"),
            "ts": planted["changed_at"] + pd.Timedelta(days=RECENT),
        }
    )
    detector, said = called(engine, "2025-10-15", at)
    return detector, said.assign(planted=planted["change"].to_numpy())


@pytest.mark.req("DAT-19")
def test_changes_of_the_world_are_found_and_its_controls_left_alone(retail) -> None:
    """Persons with a past: more visits are found in one case of six, and 3 % of the unchanged are called.

    Stated figures, at alpha 5 %: the control's rate is under the bound of the detector (6 %, within its own
    error), people who visit more are called four times as often, and what is called up went up.
    """
    detector, said = retail
    known = said[said["compared"] > 0]
    rate = known.groupby("planted")["changed"].mean()
    control = known[known["planted"] == "control"]["changed"]
    error = np.sqrt(detector.alpha * (1 - detector.alpha) / len(control))
    assert rate["control"] <= detector.bound_ + 1.645 * error
    assert detector.bound_ < 0.07
    assert rate["visits up"] > 0.12 and rate["visits up"] > 3 * rate["control"]
    up = known[(known["planted"] == "visits up") & known["changed"]]
    assert (up["direction"] == "up").mean() > 0.8


def test_a_call_gives_its_reasons_in_words(retail) -> None:
    """Whoever is called has a reason, strongest first, with both figures; the others have none."""
    _, said = retail
    assert said.loc[said["changed"], "reasons"].map(len).min() >= 1
    assert (said.loc[~said["changed"], "reasons"].map(len) == 0).all()
    some = said.loc[said["changed"], "reasons"].iloc[0][0]
    assert f"in {RECENT} days, against" in some


def steady(rng: np.random.Generator, rate: np.ndarray, now: np.ndarray) -> pd.DataFrame:
    """Return counts of visits over both stretches."""
    n = len(rate)
    recent, old = rng.poisson(now * RECENT), rng.poisson(rate * BEFORE)
    return pd.DataFrame({"person_id": [f"p{i}" for i in range(n)], "as_of": pd.Timestamp("2026-01-01"),
                         f"change__visits__{RECENT}d": recent, f"change__visits__{RECENT + BEFORE}d": recent + old})  # fmt: skip


@pytest.mark.req("DAT-19")
def test_false_alarms_stay_under_alpha_over_many_worlds_without_change() -> None:
    """Over 60 draws of persons of all paces, the mean rate of false alarms is alpha at most."""
    rates = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        pace = rng.lognormal(-2, 0.8, 1500)
        detector = ChangeDetector(alpha=0.05).fit(steady(rng, pace, pace))
        rates.append(detector.detect(steady(rng, pace, pace))["changed"].mean())
    assert np.mean(rates) <= 0.05 + 2 * np.std(rates) / np.sqrt(len(rates))
    assert np.mean(np.array(rates) <= detector.bound_ + 0.012) > 0.9


@pytest.mark.req("DAT-19")
def test_strong_changes_are_found_with_the_stated_precision_and_recall() -> None:
    """Threefold visits, or none any more, of people who came every five days: recall 90 %, precision 80 %."""
    rng, n = np.random.default_rng(1), 3000
    pace = np.full(n, 0.2)
    now = np.where(np.arange(n) < 400, 0.6, np.where(np.arange(n) < 800, 0.0, 0.2))
    said = ChangeDetector(alpha=0.05).fit(steady(rng, pace, pace)).detect(steady(rng, pace, now))
    changed = np.arange(n) < 800
    assert said["changed"][changed].mean() > 0.9
    assert changed[said["changed"]].mean() > 0.8
    assert (said["direction"][:400][said["changed"][:400]] == "up").all()
    assert (said["direction"][400:800][said["changed"][400:800]] == "down").all()


def test_too_few_persons_are_refused() -> None:
    """A threshold needs persons to be learned on."""
    rng = np.random.default_rng(0)
    with pytest.raises(NotEnoughDataError, match="changes need"):
        ChangeDetector().fit(steady(rng, np.full(50, 0.2), np.full(50, 0.2)))
