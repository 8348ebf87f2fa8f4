"""ChannelAffinity recovers the channel people answer to, finds none where none is, and yields to a wish."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit.errors import CdpkitError, NotEnoughDataError
from cdpkit.models import ChannelAffinity

CHANNELS = np.array(["email", "push", "sms"])


def messages(
    people: int = 400, each: int = 30, seed: int = 0, own: float = 0.3, common: float = 0.0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Messages by channels drawn at random; each person answers one channel more, e-mail does better by `common`."""
    rng = np.random.default_rng(seed)
    liked = rng.choice(3, people, p=[0.5, 0.2, 0.3])
    person, channel = np.repeat(np.arange(people), each), rng.integers(3, size=people * each)
    level = rng.gamma(4.0, 0.02, people)[person]
    chance = level + own * (channel == liked[person]) + common * (channel == 0)
    sent = pd.DataFrame({"person_id": [f"p{k:03d}" for k in person], "channel": CHANNELS[channel]})
    day = rng.integers(0, 200, people * each)
    sent["sent_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(day, "D")
    clicked = rng.random(people * each) < chance
    return sent.assign(reacted_at=(sent["sent_at"] + pd.Timedelta("2h")).where(clicked)), liked


@pytest.mark.req("WHR-05")
def test_the_channel_people_answer_to_is_found() -> None:
    """Nine people in ten get their own channel back; the reasons show what it rests on."""
    sent, liked = messages()
    model = ChannelAffinity().fit(sent)
    people = [f"p{k:03d}" for k in range(400)]
    told = model.best(people)
    assert model.served_ == "own channel" and model.verdict_.decided_by == "model"
    assert (told["channel"].to_numpy() == CHANNELS[liked]).mean() > 0.9
    assert set(told["decided_by"]) == {"own channel"}
    rows = model.reasons(["p000"]).set_index("channel")
    assert rows["affinity"].idxmax() == told["channel"].iloc[0]
    assert (rows["reacted"] <= rows["sent"]).all() and rows["sent"].sum() > 5


@pytest.mark.req("WHR-05", "WHR-19")
def test_a_declared_channel_wins_over_the_inferred_one() -> None:
    """Whoever declared a channel has it, even one never seen; the others keep what was learned."""
    sent, _ = messages()
    model = ChannelAffinity().fit(sent)
    plain = model.best(["p000", "p001", "p002"])
    other = "sms" if plain["channel"].iloc[0] != "sms" else "email"
    declared = pd.DataFrame({"person_id": ["p000", "p002"], "channel": [other, "post"]})
    told = model.best(["p000", "p001", "p002"], declared=declared)
    assert told["channel"].tolist() == [other, plain["channel"].iloc[1], "post"]
    assert told["decided_by"].tolist() == ["declared", "own channel", "declared"]


def test_own_channels_are_not_served_where_none_differs() -> None:
    """Over 60 sets without personal taste own channels are served three times at most; a common gain is found."""
    alarms = sum(
        ChannelAffinity().fit(messages(150, 20, seed, own=0.0)[0]).served_ == "own channel"
        for seed in range(60)
    )
    assert alarms <= 4
    common = ChannelAffinity().fit(messages(400, 20, 1, own=0.0, common=0.15)[0])
    assert common.served_ == "everybody's channel"
    assert set(common.best(["p000", "stranger"])["channel"]) == {"email"}


def test_the_future_is_not_read_and_thin_data_are_refused() -> None:
    """A message of tomorrow changes nothing today; one channel or few reactions are not enough."""
    sent, _ = messages(200)
    at = pd.Timestamp("2026-05-01")
    late = sent.assign(sent_at=sent["sent_at"] + pd.Timedelta("365D"), reacted_at=pd.NaT)
    one = ChannelAffinity().fit(sent, at).affinity(["p001"])
    two = ChannelAffinity().fit(pd.concat([sent, late]), at).affinity(["p001"])
    pd.testing.assert_frame_equal(one, two)
    with pytest.raises(NotEnoughDataError, match="two channels"):
        ChannelAffinity().fit(sent[sent["channel"] == "sms"])
    with pytest.raises(CdpkitError, match="two that were seen"):
        ChannelAffinity().fit(sent).best(["p001"], ["sms", "fax"])
