"""What every estimator of people, products and channels keeps to, though none of them takes X and y."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from cdpkit.errors import FaultsError, IntegrityError
from cdpkit.models import (
    Attribution,
    ChannelAffinity,
    EngagementScore,
    Lookalike,
    NextTouchpoint,
    Recommender,
    SendTime,
)


def people() -> tuple[pd.DataFrame, np.ndarray]:
    """People of whom those who visit much are sought."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "visits": rng.poisson(3, 800).astype(float),
            "recency": np.where(rng.random(800) < 0.1, np.nan, rng.exponential(30, 800)),
            "city": rng.choice(["Lyon", "Nice", "Lille"], 800),
        },
        index=[f"p{i:04d}" for i in range(800)],
    )
    return X, (X["visits"] > 4).to_numpy() & (rng.random(800) < 0.7)


def purchases() -> pd.DataFrame:
    """Purchases of three circles of people, each with products of its own."""
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(250), 8)
    day = pd.to_timedelta(rng.integers(0, 100 * 86_400, size=2000), "s")
    return pd.DataFrame(
        {
            "person_id": [f"p{p:03d}" for p in person],
            "product_id": [f"{c}{i}" for c, i in zip(person % 3, rng.integers(8, size=2000), strict=True)],
            "ts": (pd.Timestamp("2026-01-01") + day).astype("datetime64[us]"),
        }
    )


def touches() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Touches of three channels, of which one adds conversions, and a hint of each person's intent."""
    rng = np.random.default_rng(2)
    n = 3000
    intent = rng.normal(size=n)
    length = 1 + rng.poisson(1.2, n)
    person = np.repeat(np.arange(n), length)
    weight = np.exp(np.outer(intent[person], [0.0, 0.0, 1.0]) + rng.gumbel(size=(len(person), 3)))
    channel = weight.argmax(axis=1)
    place = np.arange(len(person)) - np.repeat(np.cumsum(length) - length, length)
    social = np.bincount(person, channel == 0, n)
    bought = rng.random(n) < 1 / (1 + np.exp(3 - 0.9 * social - intent))
    frame = pd.DataFrame(
        {
            "person_id": [f"p{p:04d}" for p in person],
            "ts": (pd.Timestamp("2026-01-01") + pd.to_timedelta(place, "D")).astype("datetime64[us]"),
            "channel": np.array(["social", "video", "brand"])[channel],
            "converted": (place == length[person] - 1) & bought[person],
        }
    ).assign(value=lambda t: np.where(t["converted"], 12.5, 0.0))
    hint = pd.DataFrame({"person_id": [f"p{p:04d}" for p in range(n)], "proxy": intent})
    return frame, hint


def mail() -> pd.DataFrame:
    """Messages at random hours to people of whom half react in the morning and half in the evening."""
    rng = np.random.default_rng(3)
    person, hour = np.repeat(np.arange(200), 25), rng.integers(6, 22, 5000)
    clicked = rng.random(5000) < np.where(np.abs(hour - np.where(person % 2, 8, 19)) < 3, 0.4, 0.05)
    at = pd.Timestamp("2026-01-01") + pd.to_timedelta(24 * np.tile(np.arange(25), 200) + hour, "h")
    frame = pd.DataFrame({"person_id": [f"p{p:03d}" for p in person], "sent_at": at})
    return frame.assign(reacted_at=(at + pd.Timedelta("1h")).where(clicked))


def sends() -> pd.DataFrame:
    """The same messages, with their clicks."""
    return mail().rename(columns={"reacted_at": "clicked_at"})


def places() -> pd.DataFrame:
    """Where people of three habits were met."""
    frame = mail().rename(columns={"sent_at": "ts"})[["person_id", "ts"]]
    rng = np.random.default_rng(4)
    own = frame["person_id"].str[-1].astype(int).to_numpy() % 3
    met = np.where(rng.random(len(frame)) < 0.6, own, rng.integers(0, 3, len(frame)))
    return frame.assign(touchpoint=np.array(["site", "store", "app"])[met])


def by_channels() -> pd.DataFrame:
    """Messages by channels drawn at random to people of whom half react to text messages."""
    frame, rng = mail(), np.random.default_rng(4)
    text = rng.random(5000) < 0.5
    liked = text == (frame["person_id"].str[1:].astype(int) % 2 == 0)
    clicked = rng.random(5000) < np.where(liked, 0.4, 0.1)
    frame["channel"] = np.where(text, "sms", "email")
    return frame.assign(reacted_at=(frame["sent_at"] + pd.Timedelta("1h")).where(clicked))


@dataclass(frozen=True)
class Case:
    """An estimator, how it is fitted (rows in a given order), what it tells, and how it is spoilt."""

    make: Callable[..., Any]
    fit: Callable[[Any, Callable[[pd.DataFrame], pd.DataFrame]], Any]
    tell: Callable[[Any], pd.DataFrame]
    save: dict[str, Any]
    spoil: Callable[[Any], Any]
    faults: tuple[str, ...]


def _fit_lookalike(model: Lookalike, shuffle: Callable[[pd.DataFrame], pd.DataFrame]) -> Lookalike:
    X, is_seed = people()
    rows = shuffle(X.assign(is_seed=is_seed))
    return model.fit(rows.drop(columns="is_seed"), rows["is_seed"])


def _tell_lookalike(model: Lookalike) -> pd.DataFrame:
    X, _ = people()
    scores = pd.DataFrame({"score": model.decision_function(X), "like": model.resemblance(X)}, index=X.index)
    twins = model.twins(["p0003", "p0100"], 5).rename(columns={"distance": "score", "similarity": "like"})
    return pd.concat([scores, twins[["score", "like"]]])


def _tell_recommender(model: Recommender) -> pd.DataFrame:
    return model.recommend(["p001", "p002", "p200"], 4)


CASES = {
    "lookalike": Case(
        Lookalike,
        _fit_lookalike,
        _tell_lookalike,
        {"people": True},
        lambda m: m.set_params(prior=2.0, folds=1).fit(people()[0], [True, None]),
        ("prior", "folds", "is_seed", "one length"),
    ),
    "recommender": Case(
        Recommender,
        lambda m, shuffle: m.fit(shuffle(purchases())),
        _tell_recommender,
        {"people": True},
        lambda m: m.fit(purchases().drop(columns="product_id").assign(ts="today", quantity=-1)),
        ("product_id", "ts", "quantity"),
    ),
    "attribution": Case(
        Attribution,
        lambda m, shuffle: m.fit(shuffle(touches()[0]), intent=shuffle(touches()[1])),
        lambda m: pd.concat([m.credits_, m.incremental_.table], ignore_index=True),
        {},
        lambda m: m.fit(touches()[0].drop(columns="channel").assign(ts="today", converted=7)),
        ("channel", "ts", "converted"),
    ),
    "engagement": Case(
        EngagementScore,
        lambda m, shuffle: m.set_params(min_outcomes=10**9).fit(shuffle(sends()), as_of="2026-02-20"),
        lambda m: m.score(sends(), as_of="2026-02-20"),
        {},
        lambda m: m.set_params(horizon_days=-1.0, worth={"love": 1.0}).fit(
            sends().drop(columns="person_id").assign(sent_at="p003"), as_of="2026-02-20"
        ),
        ("horizon_days", "worth", "person_id", "sent_at"),
    ),
    "next_touchpoint": Case(
        NextTouchpoint,
        lambda m, shuffle: m.fit(shuffle(places())),
        lambda m: m.predict(places()),
        {},
        lambda m: m.fit(places().drop(columns="touchpoint").assign(ts="p003")),
        ("touchpoint", "ts"),
    ),
    "channel_affinity": Case(
        ChannelAffinity,
        lambda m, shuffle: m.fit(shuffle(by_channels())),
        lambda m: m.affinity(["p000", "p001", "nobody"]),
        {"people": True},
        lambda m: m.set_params(window_hours=0, half_life_days=-1).fit(
            by_channels().drop(columns="channel").assign(sent_at="p003")
        ),
        ("window_hours", "half_life_days", "channel", "sent_at"),
    ),
    "send_time": Case(
        SendTime,
        lambda m, shuffle: m.fit(shuffle(mail())),
        lambda m: m.curve(["p000", "p001", "nobody"]),
        {"people": True},
        lambda m: m.set_params(slots=7, zone="Mars").fit(
            mail().drop(columns="person_id").assign(sent_at="p003")
        ),
        ("slots", "zone", "person_id", "sent_at"),
    ),
}


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    """Each estimator, fitted once on rows as they come."""
    return {name: case.fit(case.make(), lambda frame: frame) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_parameters_are_stored_as_given(name: str) -> None:
    """Construction checks and changes nothing; a clone has the same parameters and no state."""
    make = CASES[name].make
    given = {p: object() for p in inspect.signature(make).parameters}
    model = make(**given)
    assert all(getattr(model, p) is value for p, value in given.items())
    assert set(vars(model)) == set(given)


@pytest.mark.parametrize("name", CASES)
def test_a_clone_is_unfitted_and_fits_the_same(name: str, fitted: dict[str, Any]) -> None:
    """Fitting a clone gives the same answers, to the last digit."""
    case = CASES[name]
    copy = clone(fitted[name])
    assert not [attribute for attribute in vars(copy) if attribute.endswith("_")]
    with pytest.raises((NotFittedError, AttributeError)):
        case.tell(copy)
    pd.testing.assert_frame_equal(
        case.tell(case.fit(copy, lambda f: f)), case.tell(fitted[name]), check_exact=True
    )


@pytest.mark.parametrize("name", CASES)
def test_a_second_fit_forgets_the_first(name: str, fitted: dict[str, Any]) -> None:
    """Fitting twice is fitting once."""
    case = CASES[name]
    model = case.fit(case.fit(case.make(), lambda f: f), lambda f: f)
    pd.testing.assert_frame_equal(case.tell(model), case.tell(fitted[name]), check_exact=True)


@pytest.mark.parametrize("name", CASES)
def test_the_order_of_rows_does_not_matter(name: str, fitted: dict[str, Any]) -> None:
    """A shuffled frame gives the same answers."""
    case = CASES[name]
    model = case.fit(case.make(), lambda frame: frame.sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(case.tell(model), case.tell(fitted[name]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_state_is_saved_without_pickle_and_comes_back(
    name: str, fitted: dict[str, Any], tmp_path: Path
) -> None:
    """What is read back tells the same; files are JSON, plain arrays and Parquet."""
    case = CASES[name]
    folder = fitted[name].save(tmp_path / name, **case.save)
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".npy", ".parquet"}
    again = case.make.load(folder)
    assert again.get_params() == fitted[name].get_params()
    pd.testing.assert_frame_equal(case.tell(again), case.tell(fitted[name]), check_exact=True)
    with pytest.raises(IntegrityError):
        case.make.load(tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_nobody_is_named_in_what_a_registry_keeps(name: str, fitted: dict[str, Any], tmp_path: Path) -> None:
    """Saved as it comes, no file holds a person's id."""
    folder = fitted[name].save(tmp_path / name)
    for path in folder.iterdir():
        assert not re.search(rb"p0\d\d", path.read_bytes()), path.name


@pytest.mark.parametrize("name", CASES)
def test_all_faults_are_told_at_once(name: str) -> None:
    """One refusal names every fault, and no value of a person."""
    case = CASES[name]
    with pytest.raises(FaultsError) as caught:
        case.spoil(case.make())
    for word in case.faults:
        assert word in str(caught.value)
    assert len(caught.value.faults) >= len(case.faults)
    assert not re.search(r"p0\d\d", str(caught.value))


@pytest.mark.parametrize("name", ["lookalike", "attribution"])
def test_randomness_is_a_parameter(name: str) -> None:
    """One seed, one answer; the global generator is neither read nor moved."""
    case = CASES[name]
    told = []
    for noise in (1, 2):
        np.random.seed(noise)
        before = np.random.get_state()[1].copy()
        told.append(case.tell(case.fit(case.make(random_state=7), lambda f: f)))
        assert np.array_equal(before, np.random.get_state()[1])
    pd.testing.assert_frame_equal(*told, check_exact=True)


@pytest.mark.parametrize("name", CASES)
def test_the_input_is_left_alone(name: str) -> None:
    """Fitting changes nothing in the frames it is given."""
    kept: list[tuple[pd.DataFrame, pd.DataFrame]] = []

    def watch(frame: pd.DataFrame) -> pd.DataFrame:
        kept.append((frame, frame.copy()))
        return frame

    CASES[name].fit(CASES[name].make(), watch)
    for frame, copy in kept:
        pd.testing.assert_frame_equal(frame, copy)
