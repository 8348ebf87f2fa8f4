"""Policies played in a world: what would have happened."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit import world
from cdpkit.errors import CdpkitError
from cdpkit.world.play import effects
from cdpkit.world.policies import EVERYBODY, NOBODY, PRACTICE, Sends

DATES = {"start": "2025-10-01", "end": "2026-02-01"}


@pytest.fixture(scope="module")
def shop() -> world.World:
    """Four months of 500 persons."""
    return world.generate(500, seed=6, **DATES)


@pytest.fixture(scope="module")
def arms(shop: world.World) -> pd.DataFrame:
    """Everybody and nobody mailed during the last two months."""
    return shop.play({"all": EVERYBODY, "none": NOBODY}, "2025-12-01", replicates=4)


def test_the_practice_played_is_what_happened(shop: world.World) -> None:
    """Orders, their value, messages and reactions are those of the world's own truth."""
    played = shop.play(PRACTICE).set_index("person")
    assert (played.replicate == 0).all()
    orders, messages = shop.truth["orders"], shop.truth["messages"]
    grouped = orders.groupby("person")
    for name, told in {
        "orders": grouped.size(),
        "value_minor": grouped.amount_minor.sum(),
        "orders_shown": orders[orders.attributable].groupby("person").size(),
        "value_shown_minor": orders[orders.attributable].groupby("person").amount_minor.sum(),
        "messages": messages.groupby("person").size(),
        "opens": messages[messages.human_open].groupby("person").size(),
        "departures": shop.truth["departures"].groupby("person").size(),
        "visits": shop.truth["sessions"].query("person < 500").groupby("person").size(),
    }.items():
        pd.testing.assert_series_equal(
            played[name], told.reindex(played.index, fill_value=0), check_names=False, check_dtype=False
        )
    assert played.clicks.sum() > 0 and played.unsubscribes.sum() > 0


def test_play_depends_on_its_arguments_only(shop: world.World, arms: pd.DataFrame) -> None:
    """The same policies give the same outcomes, whatever the chunks and whatever else is played."""
    parts = world.World(shop.plan, chunk_size=123)
    again = parts.play({"none": NOBODY}, "2025-12-01", replicates=2)
    one = arms[(arms.policy == "none") & (arms.replicate < 2)]
    keys = ["person", "replicate"]
    pd.testing.assert_frame_equal(
        again.sort_values(keys).reset_index(drop=True), one.sort_values(keys).reset_index(drop=True)
    )


def test_policies_meet_the_same_luck(arms: pd.DataFrame) -> None:
    """The paired difference varies far less than a difference between two futures without pairing."""
    wide = arms.pivot(index=["person", "replicate"], columns="policy", values="orders")
    paired = (wide["all"] - wide["none"]).var()
    replicate = wide.index.get_level_values("replicate")
    yes, no = wide["all"].to_numpy()[replicate < 3], wide["none"].to_numpy()[replicate > 0]
    assert 0 < paired < 0.35 * np.var(yes - no)
    assert arms.query("policy == 'none'").clicks.sum() < 0.1 * arms.query("policy == 'all'").clicks.sum()
    assert wide["all"].sum() > wide["none"].sum()


def test_the_sum_of_chances_has_the_mean_of_the_orders(arms: pd.DataFrame) -> None:
    """Each day's chance, added up, is the expected number of orders that show, with less noise."""
    gap = arms.orders_shown - arms.expected_orders
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(len(gap))
    assert arms.expected_orders.var() < arms.orders_shown.var()


def test_replicates_are_other_futures(arms: pd.DataFrame) -> None:
    """Replicates differ among themselves, and the persons are the same ones."""
    table = arms[arms.policy == "all"].pivot(index="person", columns="replicate", values="visits")
    assert table.notna().all().all()
    correlation = np.corrcoef(table.to_numpy().T)[np.triu_indices(4, 1)]
    assert (correlation > 0.2).all() and (correlation < 0.95).all()


def test_caps_count_what_was_sent_before(shop: world.World) -> None:
    """A cap bounds the messages of a window, that of the practice before it included."""
    capped = shop.play(Sends(who=1.0, cap=1, days=28), "2025-12-01", "2025-12-15")
    free = shop.play(EVERYBODY, "2025-12-01", "2025-12-15")
    assert free.messages.max() > 1
    old = shop.truth["persons"].query("born_at < '2025-06-01'").person
    capped = capped[capped.person.isin(old)].set_index("person")
    assert capped.messages.max() == 1
    sent = shop.raw["email_log"].merge(shop.truth["messages"], on="message_id")
    when = pd.to_datetime(sent.sent_at)
    lately = sent.person[(when >= "2025-11-18") & (when < "2025-12-01")]
    soon = capped[capped.index.isin(lately)]
    assert len(soon) > 20 and (soon.messages == 0).all()


def test_each_person_can_have_an_hour_and_a_cap(shop: world.World) -> None:
    """Series by person decide; persons without a value follow the practice."""
    hour = pd.Series(20, index=range(0, 250))
    cap = pd.Series(0, index=range(250, 500))
    seen: list[np.ndarray] = []

    def who(now: object) -> np.ndarray:
        seen.append(now.person)  # type: ignore[attr-defined]
        return np.ones(len(seen[-1]))

    played = shop.play(Sends(who=who, hour=hour, cap=cap), "2026-01-01").set_index("person")
    base = shop.play(EVERYBODY, "2026-01-01").set_index("person")
    assert len(seen) and played.messages[:250].sum() > 50
    old = shop.truth["persons"].query("born_at < '2025-06-01' and person >= 250").person
    assert played.messages.reindex(old).fillna(0).sum() == 0
    assert not played.clicks[:250].equals(base.clicks[:250])


@pytest.mark.parametrize("preset", ["null", "null_effects"])
def test_no_treatment_acts_in_null_worlds(preset: str) -> None:
    """There the effect of every send is zero, person by person, exactly."""
    made = world.generate(200, seed=3, preset=preset, **DATES)
    for outcome in ("chance", "expected_orders"):
        found = effects(
            made, "2025-12-01", 30, outcome=outcome, replicates=3, treated=EVERYBODY, control=NOBODY
        )
        assert (found.effect == 0).all() and found.reachable.sum() > 50
        assert found.control.sum() > 0
    two = made.play({"a": EVERYBODY, "b": NOBODY}, "2025-12-01").set_index(["policy", "person"])
    same = ["visits", "orders", "value_minor", "departures", "expected_orders"]
    pd.testing.assert_frame_equal(two.loc["a", same], two.loc["b", same])
    assert two.loc["a"].messages.sum() > two.loc["b"].messages.sum() + 200


def test_effects_follow_their_planted_cause() -> None:
    """Those whom messages persuade gain, sleeping dogs lose, and persons out of reach neither."""
    made = world.generate(1500, seed=3, **DATES)
    found = effects(made, "2025-12-01", 30, treated=EVERYBODY, control=NOBODY, replicates=8)
    joined = found.merge(made.truth["persons"], on="person")
    mean = joined[joined.reachable].groupby(np.sign(joined.message_effect)).effect.mean()
    assert mean[1.0] > mean[0.0] > mean[-1.0] and mean[1.0] > 0.002
    assert (found.loc[~found.reachable, "effect"] == 0).mean() > 0.9


def test_effects_state_their_error(shop: world.World) -> None:
    """Two numbers of futures differ by what the stated errors allow."""
    few, many = (
        effects(shop, "2025-12-01", 20, treated=EVERYBODY, control=NOBODY, replicates=r) for r in (6, 24)
    )
    acts = many.se > 0
    z = (few.effect - many.effect)[acts] / np.hypot(few.se, many.se)[acts].clip(lower=1e-4)
    assert z.abs().median() < 1.2 and few.se.mean() > many.se.mean()


def test_arguments_that_cannot_be_played(shop: world.World) -> None:
    """Dates outside the world, an unknown outcome and a senseless cap are refused."""
    with pytest.raises(CdpkitError, match="days of the world"):
        shop.play(PRACTICE, "2025-12-01", "2027-01-01")
    with pytest.raises(CdpkitError, match="outcome"):
        effects(shop, "2025-12-01", outcome="joy")
    with pytest.raises(CdpkitError, match="replicates"):
        shop.play(PRACTICE, replicates=0)
    with pytest.raises(CdpkitError, match="`days`"):
        Sends(cap=1, days=90)
