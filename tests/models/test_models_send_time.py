"""SendTime finds planted hours, knows when there are none, and keeps to the hours asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit.errors import FaultsError, NotEnoughDataError
from cdpkit.evaluate import off_policy
from cdpkit.models import SendTime


def mail(
    people: int = 400, sends: int = 30, seed: int = 0, effect: float = 1.5, visits: int = 0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Messages at random hours to people who like 8 or 19 o'clock, who may also visit then."""
    rng = np.random.default_rng(seed)
    likes = np.where(np.arange(people) % 2, 8, 19)
    person = np.repeat(np.arange(people), sends)
    hour = rng.integers(6, 22, len(person))
    level = rng.gamma(2, 0.05, people)
    fits = np.abs(hour - likes[person]) < 3
    clicked = rng.random(len(person)) < np.minimum(level[person] * np.exp(effect * fits), 1)
    at = pd.Timestamp("2026-01-01") + pd.to_timedelta(72 * np.tile(np.arange(sends), people) + hour, "h")
    frame = pd.DataFrame({"person_id": [f"p{p:03d}" for p in person], "sent_at": at, "kind": "send"})
    frame["reacted_at"] = (frame["sent_at"] + pd.Timedelta("1h")).where(clicked)
    who = np.repeat(np.arange(people), visits)
    when = (likes[who] + np.rint(rng.normal(0, 2, len(who)))) % 24 + 24 * rng.integers(0, 90, len(who))
    visit = pd.DataFrame(
        {
            "person_id": [f"p{p:03d}" for p in who],
            "sent_at": pd.Timestamp("2026-01-01") + pd.to_timedelta(when, "h"),
            "kind": "visit",
            "reacted_at": pd.Series(pd.NaT, index=range(len(who)), dtype="datetime64[us]"),
        }
    )
    return pd.concat([frame, visit], ignore_index=True) if visits else frame, likes


def near(hour: pd.Series, likes: np.ndarray) -> float:
    """Return the share of people whose hour is one they like."""
    return float((np.abs(hour.to_numpy() - likes) < 3).mean())


@pytest.fixture(scope="module")
def fitted() -> tuple[SendTime, np.ndarray]:
    """A model of people with two rhythms, who also visit."""
    frame, likes = mail(visits=6)
    return SendTime(zone="UTC").fit(frame), likes


@pytest.mark.req("MOD-06")
def test_planted_hours_are_found(fitted: tuple[SendTime, np.ndarray]) -> None:
    """Nine persons in ten get an hour they like; half would, at everybody's best hour."""
    model, likes = fitted
    told = model.best([f"p{p:03d}" for p in range(len(likes))], range(6, 22))
    assert model.served_ == "own hours" and model.verdict_.decided_by == "model"
    assert near(told["hour"], likes) > 0.9
    assert told.loc[told["decided_by"] == "own hours", "gain"].min() >= 0


def test_reactions_count_against_what_was_sent() -> None:
    """An hour at which ten times as much is sent is not thereby a better one."""
    rng = np.random.default_rng(3)
    hour = np.where(rng.random(24_000) < 0.9, 10, 17)
    at = pd.Timestamp("2026-01-01") + pd.to_timedelta(24 * rng.integers(0, 60, 24_000) + hour, "h")
    frame = pd.DataFrame({"person_id": rng.integers(0, 800, 24_000), "sent_at": at})
    clicked = rng.random(24_000) < np.where(hour == 10, 0.05, 0.15)
    frame["reacted_at"] = (frame["sent_at"] + pd.Timedelta("1h")).where(clicked)
    model = SendTime(zone="UTC").fit(frame)
    assert (model.best(range(50), [10, 17])["hour"] == 17).all()


@pytest.mark.req("MOD-06")
def test_nothing_is_found_where_hours_do_not_matter() -> None:
    """Over 200 worlds of people who visit at their hours and react at any, nine preferences are served at most."""
    served = [
        SendTime(zone="UTC").fit(mail(120, 16, seed=seed, effect=0.0, visits=4)[0]).served_
        for seed in range(200)
    ]
    assert sum(name != "any hour" for name in served) <= 9


def test_visits_that_say_nothing_of_reactions_are_not_believed() -> None:
    """People who visit at hours of their own, and click at any, have no hours of their own to be written to."""
    frame, _ = mail(300, 20, seed=5, effect=0.0, visits=10)
    assert SendTime(zone="UTC").fit(frame).served_ != "own hours"


def test_somebody_seen_too_little_has_the_common_hour(fitted: tuple[SendTime, np.ndarray]) -> None:
    """An unknown person gets everybody's hour, and is told so."""
    told = fitted[0].best(["p000", "nobody"], range(6, 22)).set_index("person_id")
    assert told.loc["nobody", "decided_by"] == "everybody's hours" and told.loc["nobody", "gain"] == 0
    assert told.loc["p000", "decided_by"] == "own hours"


@pytest.mark.req("WHR-19")
def test_an_hour_asked_for_wins(fitted: tuple[SendTime, np.ndarray]) -> None:
    """What a person declared is served and never drawn at random, whatever was learned."""
    declared = pd.DataFrame({"person_id": ["p000"], "hour": [13]})
    model, _ = fitted
    row = model.best(["p000", "p001"], range(6, 22), declared).iloc[0]
    assert (row["hour"], row["decided_by"]) == (13, "declared")
    drawn = pd.concat(
        [model.policy(["p000"], range(6, 22), declared=declared, random_state=s) for s in range(30)]
    )
    assert (drawn["hour"] == 13).all() and (drawn["propensity"] == 1).all()


def test_hours_are_local() -> None:
    """One instant is another hour in another zone, in winter as in summer."""
    frame, _ = mail(200, 30)
    moved = frame.assign(zone="America/Montreal")
    for name in ("sent_at", "reacted_at"):
        local = moved[name].dt.tz_localize("America/Montreal", nonexistent="shift_forward", ambiguous="NaT")
        moved[name] = local.dt.tz_convert("UTC").dt.tz_localize(None)
    people = frame["person_id"].unique()
    there, here = SendTime().fit(moved).curve(people), SendTime(zone="UTC").fit(frame).curve(people)
    np.testing.assert_allclose(there, here, rtol=0.02)


def test_nothing_later_than_the_date_is_read() -> None:
    """A reaction after the date is no reaction yet; a message after it is refused."""
    frame, _ = mail(200, 20)
    as_of = frame["sent_at"].max()
    later = frame.assign(reacted_at=frame["reacted_at"].where(frame["reacted_at"] <= as_of))
    people = frame["person_id"].unique()
    pd.testing.assert_frame_equal(
        SendTime(zone="UTC").fit(frame, as_of).curve(people),
        SendTime(zone="UTC").fit(later, as_of).curve(people),
    )
    with pytest.raises(FaultsError, match="as_of"):
        SendTime(zone="UTC").fit(frame, as_of - pd.Timedelta("3D"))


def test_openings_and_too_few_reactions_are_refused() -> None:
    """An opening may be a machine's; forty messages teach nothing."""
    frame, _ = mail(20, 10)
    with pytest.raises(FaultsError, match="machine"):
        SendTime().fit(frame.assign(kind="open"))
    with pytest.raises(NotEnoughDataError, match="100 reactions"):
        SendTime().fit(frame.head(40))


@pytest.mark.req("MOD-06")
def test_the_policy_logs_true_chances(fitted: tuple[SendTime, np.ndarray]) -> None:
    """Chances logged are those of the draws, and a tenth at least is left to chance."""
    model, likes = fitted
    hours = [8, 13, 19]
    people = [f"p{p:03d}" for p in range(len(likes))]
    drawn = pd.concat([model.policy(people, hours, explore=0.3, random_state=s) for s in range(40)])
    off = drawn["hour"] != drawn["best"]
    assert drawn["propensity"].round(6).isin([0.1, 0.8]).all()
    assert off.mean() == pytest.approx(0.2, abs=0.01)
    with pytest.raises(FaultsError, match="explore"):
        model.policy(people, hours, explore=0.05)


@pytest.mark.req("MOD-06")
def test_the_value_of_own_hours_is_estimated_from_random_ones() -> None:
    """The estimate from messages at random hours covers the true value of the hours chosen, 95 times in 100."""
    rng = np.random.default_rng(0)
    inside, hits = 0, 1000
    for _ in range(hits):
        slot, best = rng.integers(3, size=600), rng.integers(3, size=600)
        p = np.where(slot == best, 0.3, 0.1)
        clicks = rng.random(600) < p
        explored = np.full(600, 1 / 3)
        told = off_policy(
            clicks, explored, slot == best, expected=np.full(600, 0.2), expected_under=np.full(600, 0.2)
        ).set_index("estimator")
        inside += told.loc["snips", "low"] < 0.3 < told.loc["snips", "high"]
        assert told.loc["snips", "effective"] == (slot == best).sum()
    assert 0.93 <= inside / hits <= 0.97


def test_visits_stand_in_where_reactions_are_few() -> None:
    """With a click a person at most, the hours of visits are served, and are those planted."""
    frame, likes = mail(1200, 8, effect=1.0, visits=12)
    model = SendTime(zone="UTC").fit(frame)
    told = model.best([f"p{p:03d}" for p in range(1200)], range(6, 22))
    assert model.served_ == "own hours" and model.verdict_.decided_by == "model"
    assert near(told["hour"], likes) > 0.9
