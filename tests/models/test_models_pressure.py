"""PressureModel recovers planted fatigue, allows for who was written to, and finds nothing in nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from cdpkit.errors import FaultsError, IntegrityError, NotEnoughDataError
from cdpkit.models import PressureModel, SafeExposure
from cdpkit.models.exposure import pressures
from cdpkit.models.pressure import stock


def mail(
    people: int = 300,
    days: int = 90,
    seed: int = 0,
    tires: float = 0.5,
    leaves: float = 0.6,
    biased: float = 0.0,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Messages whose reactions fall and departures rise with a stock of seven days; keen people get more."""
    rng = np.random.default_rng(seed)
    keen = rng.normal(size=people)
    level, here, rows = np.zeros(people), np.ones(people, dtype=bool), []
    often = expit(-1.5 + biased * keen) * rng.uniform(0.3, 1.7, people)
    for day in range(days):
        level *= np.exp(-1 / 7)
        sent = np.flatnonzero(here & (rng.random(people) < often))
        reacted = rng.random(len(sent)) < expit(-1 + 0.8 * keen[sent] * (biased > 0) - tires * level[sent])
        left = rng.random(len(sent)) < expit(-6 + leaves * level[sent])
        rows.append(
            pd.DataFrame(
                {"person": sent, "day": day, "reacted": reacted, "unsubscribed": left, "keen": keen[sent]}
            )
        )
        level[sent] += 1
        here[sent[left]] = False
    told = pd.concat(rows, ignore_index=True)
    told["person_id"] = [f"p{p:03d}" for p in told.pop("person")]
    told["sent_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(told.pop("day"), "D")
    return told.drop(columns="keen"), told["keen"].to_numpy()


def of(model: PressureModel, outcome: str, adjusted: bool = True) -> pd.Series:
    """Return the row of an effect."""
    table = model.effects_
    return table[(table["outcome"] == outcome) & (table["adjusted"] == adjusted)].iloc[0]


@pytest.mark.req("MOD-23")
def test_planted_fatigue_is_recovered() -> None:
    """Both slopes and the wear are found within three standard errors."""
    sends, _ = mail(1500)
    model = PressureModel().fit(sends)
    assert model.days_ == 7.0 and model.served_ == "cap"
    for outcome, truth in (("reacted", -0.5), ("unsubscribed", 0.6)):
        row = of(model, outcome)
        assert row["sure"] and abs(row["effect"] - truth) < 3 * row["se"]


def test_the_cap_is_worth_nearly_the_best_one() -> None:
    """Kept by everybody, the cap brings nine tenths at least of what the true best would."""
    model = PressureModel().fit(mail(1500)[0])
    messages = model.response_["messages"].to_numpy()
    wear = np.exp(-28 / (np.maximum(messages, 1e-9) * 7.0))
    level = np.where(messages > 0, wear / (1 - wear), 0)
    worth = messages * (expit(-1 - 0.5 * level) - 10 * expit(-6 + 0.6 * level))
    assert worth[int(model.cap_)] >= 0.9 * worth.max() > 0


@pytest.mark.req("MOD-23")
def test_confounding_is_shown_and_allowed_for() -> None:
    """Where keen people get more, fatigue looks small; held at equal keenness its truth comes back."""
    sends, keen = mail(1500, biased=1.0, leaves=0.0)
    model = PressureModel().fit(sends, intent=keen)
    bare, held = of(model, "reacted", False), of(model, "reacted")
    assert bare["effect"] > -0.5 + 3 * bare["se"]
    assert abs(held["effect"] + 0.5) < 3 * held["se"]


def test_no_pressure_no_cap() -> None:
    """Over 200 worlds in which nobody tires, a cap is served nine times at most."""
    caps = 0
    for seed in range(200):
        sends, _ = mail(150, 30, seed, tires=0.0, leaves=0.0)
        caps += PressureModel(min_messages=200).fit(sends).served_ == "cap"
    assert caps <= 9


@pytest.mark.req("MOD-23")
def test_people_are_told_apart_by_the_cap() -> None:
    """Over the cap is saturated, under half of it under-solicited, and keeping to it helps the former."""
    sends, _ = mail(1500)
    model = PressureModel().fit(sends)
    told = model.classify(sends, sends["sent_at"].max())
    over = told["state"] == "saturated"
    assert (over == (told["messages"] > model.cap_)).all() and over.any()
    assert ((told["state"] == "under-solicited") == (told["messages"] < model.cap_ / 2)).all()
    assert (told.loc[over, "room"] == 0).all() and (told.loc[over, "expected"] >= 0).all()
    early = model.classify(sends, sends["sent_at"].min() + pd.Timedelta("10D"))
    later = sends.assign(person_id="new").assign(sent_at=sends["sent_at"].max())
    again = model.classify(pd.concat([sends, later]), sends["sent_at"].min() + pd.Timedelta("10D"))
    pd.testing.assert_frame_equal(early, again)


def test_state_rows_and_faults(tmp_path: Path) -> None:
    """Shuffled rows learn the same, state comes back, nobody is in it, faults are told at once."""
    sends, _ = mail(300)
    model = PressureModel().fit(sends)
    other = PressureModel().fit(sends.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(other.response_, model.response_, rtol=1e-6)
    folder = model.save(tmp_path / "pressure")
    assert b"p000" not in (folder / "pressure.json").read_bytes()
    pd.testing.assert_frame_equal(PressureModel.load(folder).response_, model.response_, check_exact=True)
    with pytest.raises(IntegrityError):
        PressureModel.load(tmp_path)
    with pytest.raises(FaultsError) as caught:
        PressureModel(value=0).fit(sends.drop(columns="unsubscribed").assign(sent_at="today", reacted=7))
    assert all(word in str(caught.value) for word in ("value", "unsubscribed", "sent_at", "reacted"))
    with pytest.raises(NotEnoughDataError, match="1000"):
        PressureModel().fit(sends.head(50))


def test_the_stock_wears() -> None:
    """A message a week ago weighs 1/e of one now, whatever the order of rows."""
    at = pd.to_datetime(["2026-01-15", "2026-01-01", "2026-01-08"])
    assert stock(["a", "a", "a"], at, 7.0) == pytest.approx([np.exp(-1) + np.exp(-2), 0, np.exp(-1)])


def periods(
    people: int = 2500, weeks: int = 20, seed: int = 0, slope: float = 0.9, biased: float = 0.0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Weeks of people: patient ones leave from a pressure of 4 on, the others from 2; keen people get more."""
    rng = np.random.default_rng(seed)
    keen, patient = rng.normal(size=people), rng.random(people) < 0.5
    person = np.repeat(np.arange(people), weeks)
    level = rng.gamma(3.0, 1.0, len(person)) * np.exp(biased * keen[person])
    over = np.maximum(level - np.where(patient, 4.0, 2.0)[person], 0)
    left = rng.random(len(person)) < expit(-4 + slope * over - 1.2 * keen[person] * (biased > 0))
    rows = pd.DataFrame({"person_id": [f"p{p:04d}" for p in person], "pressure": level, "left": left})
    rows["segment"] = np.where(patient, "patient", "touchy")[person]
    return rows, keen[person]


@pytest.mark.req("MOD-25")
def test_the_pressure_from_which_people_leave_is_recovered() -> None:
    """Each segment's threshold lies in its interval, within half a message; the cap stays below it."""
    model = SafeExposure(days=7.0).fit(periods()[0])
    told = model.caps_.set_index("segment")
    assert model.served_ == "threshold" and told["served"].all()
    for segment, truth in (("patient", 4.0), ("touchy", 2.0)):
        row = told.loc[segment]
        assert row["low"] <= truth <= row["high"] and abs(row["threshold"] - truth) < 0.5
        assert 0 < row["cap"] <= 28 * truth / 7.0
    assert told.loc["patient", "cap"] > told.loc["touchy", "cap"]
    curve = model.curve_[model.curve_["segment"] == "touchy"]
    assert curve["rate"].iloc[-1] > 3 * curve["rate"].iloc[0]


@pytest.mark.req("MOD-25")
def test_keen_people_who_get_more_do_not_hide_the_harm() -> None:
    """Held at equal keenness the harm is there; without it, it looks smaller."""
    rows, keen = periods(1500, biased=0.5)
    bare, held = SafeExposure().fit(rows), SafeExposure().fit(rows, intent=keen)
    assert held.served_ == "threshold" and held.slope_ > 0.5
    assert bare.slope_ < held.slope_ - 2 * held.slope_se_


@pytest.mark.req("MOD-25")
def test_no_cap_is_given_where_pressure_does_no_harm() -> None:
    """Over 60 sets without harm a threshold is served three times at most."""
    found = [
        SafeExposure().fit(periods(200, 12, seed, slope=0.0)[0].drop(columns="segment")) for seed in range(60)
    ]
    assert sum(model.served_ == "threshold" for model in found) <= 4
    assert all(np.isnan(model.threshold_) for model in found if model.served_ == "no threshold")


def test_exposures_are_built_from_messages_and_kept(tmp_path: Path) -> None:
    """Pressure at a date counts what was sent before it; state comes back; faults are told at once."""
    sends, _ = mail(50)
    at = sends["sent_at"].min() + pd.Timedelta("20D")
    level = pressures(sends, pd.DatetimeIndex([at]), 7.0).set_index("person_id")["pressure"]
    one = sends[(sends["person_id"] == "p003") & (sends["sent_at"] < at)]
    assert level["p003"] == pytest.approx(np.exp(-((at - one["sent_at"]) / pd.Timedelta("7D"))).sum())
    model = SafeExposure().fit(periods(300)[0])
    back = SafeExposure.load(model.save(tmp_path / "exposure"))
    pd.testing.assert_frame_equal(back.caps_, model.caps_)
    with pytest.raises(FaultsError) as caught:
        SafeExposure(days=0).fit(pd.DataFrame({"pressure": [-1.0], "left": [2]}))
    assert all(word in str(caught.value) for word in ("person_id", "days", "pressure", "left"))
    with pytest.raises(NotEnoughDataError, match="departures"):
        SafeExposure().fit(periods(20)[0])
