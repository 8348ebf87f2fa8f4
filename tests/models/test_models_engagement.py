"""Engagement: what was known before each message, whose learner serves, what to mend, whom to leave alone."""

from email.message import EmailMessage
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdpkit.errors import FaultsError
from cdpkit.models.engagement import (
    EngagementScore,
    check_message,
    control_chart,
    history,
    message_score,
    saved,
    sunset,
)

END = "2026-01-10"
KEY = "A" * 392  # the length of a key of 2048 bits
DNS = {
    "e.shop.example": ["v=spf1 include:_spf.tool.example ~all"],
    "s1._domainkey.shop.example": [f"v=DKIM1; k=rsa; p={KEY}"],
    "_dmarc.shop.example": ["v=DMARC1; p=quarantine; rua=mailto:d@shop.example"],
}


def messages(n: int = 6000, people: int = 400, seed: int = 0, effect: bool = True) -> pd.DataFrame:
    """Draw messages whose clicks depend on a lasting taste and on fatigue, complaints on fatigue."""
    luck = np.random.default_rng(seed)
    person, day = luck.integers(0, people, n), np.sort(luck.uniform(0, 360, n))
    sent = pd.Timestamp("2025-01-01") + pd.to_timedelta((day * 86400).astype("int64"), "s")
    taste = luck.normal(size=people)
    kind = luck.choice(["news", "offer"], n)
    lift = 1.2 * taste[person] + 1.5 * (kind == "offer") if effect else np.zeros(n)
    clicked = luck.random(n) < 1 / (1 + np.exp(2.2 - lift))
    after = pd.Timedelta("2h")
    return pd.DataFrame(
        {
            "person_id": person,
            "sent_at": sent,
            "clicked_at": pd.Series(sent + after).where(clicked),
            "complained_at": pd.Series(sent + after).where(luck.random(n) < 0.002),
            "kind": kind,
        }
    )


def good() -> EmailMessage:
    """Write a message with nothing wrong."""
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "Shop <news@shop.example>", "Your spring selection"
    mail["Return-Path"] = "<b@e.shop.example>"
    mail["DKIM-Signature"] = "v=1; a=rsa-sha256; d=shop.example; s=s1; b=abc"
    mail["List-Unsubscribe"] = "<https://shop.example/u/1>"
    mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    words = "Three dresses in linen, cut for warm days, and how to wear them. " * 3
    mail.set_content(f"{words}\nhttps://shop.example/unsubscribe")
    mail.add_alternative(
        f'<p>{words}</p><img alt="A dress" src="https://shop.example/a.png">'
        '<a href="https://shop.example/unsubscribe">Unsubscribe</a>',
        subtype="html",
    )
    return mail


def test_history_equals_a_count_by_hand_and_sees_nothing_of_later() -> None:
    sends = messages(400, 25)
    told = history(sends)
    for row in range(0, 400, 37):
        one = sends.iloc[row]
        before = sends[(sends["person_id"] == one["person_id"]) & (sends["sent_at"] < one["sent_at"])]
        seen = before["clicked_at"][before["clicked_at"] < one["sent_at"]]
        age = (one["sent_at"] - before["sent_at"]) / pd.Timedelta("1D")
        assert told.sent[row, 0] == pytest.approx((0.5 ** (age / 30)).sum())
        assert told.happened[row, -1, 0] == len(seen)
        last = seen.max() if len(seen) else pd.Timestamp(0)
        assert told.unanswered[row] == (before["sent_at"] >= last).sum()
    later = sends.copy()
    later.loc[200:, "clicked_at"] = pd.NaT
    again = history(later)
    before = (sends["sent_at"] <= sends["sent_at"].iloc[200]).to_numpy()
    assert np.array_equal(again.happened[before], told.happened[before])


def test_a_learner_serves_where_it_beats_the_shrunk_rate_and_the_rate_beats_everybody_s(
    tmp_path: Path,
) -> None:
    sends = messages()
    model = EngagementScore(learner="logistic").fit(sends, sends[["kind"]], as_of=END)
    row = model.validation_.set_index("outcome").loc["click"]
    assert row["loss_rule"] < row["loss_base"] and row["loss_model"] < row["loss_rule"]
    assert row["decided_by"] == "model" and row["auc_model"] > row["auc_rule"] > 0.6
    # A dozen complaints teach nothing: the shrunk rate is served.
    assert model.heads_["complaint"].model is None
    people = pd.Index(range(400))
    told = model.score(sends, pd.DataFrame({"kind": "offer"}, index=people), as_of=END, persons=people)
    assert told["score"].between(0, 100).all() and told["click"].between(0, 1).all()
    back = EngagementScore.load(model.save(tmp_path))
    again = back.score(sends, pd.DataFrame({"kind": "offer"}, index=people), as_of=END, persons=people)
    assert again["value"].equals(told["value"])
    spared = saved(told, (0.1,))
    assert spared["click"].iloc[0] < 0.1


def test_where_people_do_not_differ_the_rule_is_served() -> None:
    alarms = 0
    for seed in range(5):
        sends = messages(2500, 200, seed + 10, effect=False)
        model = EngagementScore(learner="logistic", min_outcomes=50).fit(sends, sends[["kind"]], as_of=END)
        alarms += model.heads_["click"].model is not None
    assert alarms <= 1


def test_the_future_does_not_change_a_score() -> None:
    sends = messages(1500, 100)
    model = EngagementScore(min_outcomes=10**9).fit(sends, as_of="2025-09-01")
    cut = sends[sends["sent_at"] < "2025-09-01"]
    late = cut["clicked_at"] >= "2025-09-01"
    cut = cut.assign(clicked_at=cut["clicked_at"].mask(late))
    again = EngagementScore(min_outcomes=10**9).fit(cut, as_of="2025-09-01")
    people = pd.Index(range(100))
    first = model.score(sends, as_of="2025-09-01", persons=people)
    assert first.equals(again.score(cut, as_of="2025-09-01", persons=people))


def test_every_fault_of_the_messages_is_told_at_once() -> None:
    with pytest.raises(FaultsError) as told:
        EngagementScore().fit(pd.DataFrame({"person_id": [None]}), as_of=END)
    assert "sent_at" in str(told.value) and "clicked_at" in str(told.value)


@pytest.mark.req("MOD-26")
def test_a_known_bad_message_scores_below_a_known_good_one_and_says_what_to_mend() -> None:
    fine = check_message(good(), DNS, rates={"complaint": 0.0005, "bounce": 0.004, "silent": 0.1})
    assert fine.empty and message_score(fine) == 100
    bad = (
        b"From: Deals <deals@gmail.example>\nReply-To: x@y.example\nSubject: RE: YOU HAVE WON!!!\n"
        b"Content-Type: text/html\n\n<img src=a><a href='http://bit.ly/x'>www.bank.example</a> Click here"
    )
    found = check_message(bad, {}, rates={"complaint": 0.004, "bounce": 0.05, "silent": 0.6})
    assert message_score(found) == 0 < message_score(fine)
    assert {"spf_missing", "dkim_missing", "dmarc_missing", "unsubscribe_missing", "complaints_over"} <= set(
        found["finding"]
    )
    assert {"subject_loud", "subject_reply", "link_shortened", "link_lies", "image_only"} <= set(
        found["finding"]
    )
    assert found["points"].is_monotonic_decreasing and found["fix_fr"].ne(found["fix_en"]).all()
    # Gmail's limits are named where they bite.
    fixes = found.set_index("finding")["fix_en"]
    assert "0.3 %" in fixes["complaints_over"] and "Gmail" in fixes["complaints_over"]
    raised = check_message(good(), DNS, rates={"complaint": 0.001})
    assert raised["finding"].tolist() == ["complaints_raised"] and "0,1 %" in raised["fix_fr"].iloc[0]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"e.shop.example": ["v=spf1 +all"]}, "spf_open"),
        ({"e.shop.example": ["v=spf1 -all", "v=spf1 ~all"]}, "spf_several"),
        (
            {"e.shop.example": ["v=spf1 " + " ".join(f"include:a{k}.example" for k in range(11)) + " -all"]},
            "spf_lookups",
        ),
        ({"s1._domainkey.shop.example": []}, "dkim_key"),
        ({"s1._domainkey.shop.example": ["v=DKIM1; p=" + "A" * 216]}, "dkim_weak"),
        ({"_dmarc.shop.example": ["v=DMARC1; p=none"]}, "dmarc_none"),
        ({"_dmarc.shop.example": []}, "dmarc_missing"),
    ],
)
def test_each_fault_of_authentication_is_found_alone(change: dict[str, list[str]], finding: str) -> None:
    assert check_message(good(), DNS | change)["finding"].tolist() == [finding]


def test_a_tool_that_signs_for_itself_is_out_of_line_with_the_sender() -> None:
    mail = good()
    del mail["DKIM-Signature"], mail["Return-Path"]
    mail["Return-Path"] = "<b@tool.example>"
    mail["DKIM-Signature"] = "v=1; d=tool.example; s=t; b=x"
    dns = DNS | {"tool.example": ["v=spf1 -all"], "t._domainkey.tool.example": [f"p={KEY}"]}
    assert check_message(mail, dns)["finding"].tolist() == ["alignment"]


def test_a_week_out_of_control_is_told_and_ordinary_weeks_are_not() -> None:
    luck, alarms, weeks = np.random.default_rng(0), 0, 0
    start = pd.Timestamp("2025-06-01")
    for _ in range(40):
        back = np.repeat(np.arange(20), 2000)
        sends = pd.DataFrame({"provider": "orange", "sent_at": start + pd.to_timedelta(7 * back, "D")})
        sends["complained_at"] = sends["sent_at"].where(luck.random(len(sends)) < 0.001)
        chart = control_chart(sends, as_of=start + pd.Timedelta(days=139))
        alarms, weeks = alarms + int((chart["signal"] == "above").sum()), weeks + len(chart)
    # 0.135 % of the weeks by design, 800 weeks: more than 5 would be one chance in a thousand.
    assert weeks == 800 and alarms <= 5
    sends.loc[sends["sent_at"] == sends["sent_at"].max(), "complained_at"] = sends["sent_at"].where(
        luck.random(len(sends)) < 0.01
    )
    last = control_chart(sends, as_of=start + pd.Timedelta(days=139)).iloc[-1]
    assert last["signal"] == "above" and last["threshold"] == "over 0.3 %"


def test_weeks_that_vary_by_themselves_widen_the_limits() -> None:
    luck, start = np.random.default_rng(1), pd.Timestamp("2025-06-01")
    back = np.repeat(np.arange(30), 5000)
    rate = 0.03 * np.exp(0.4 * luck.normal(size=30))[back]
    sends = pd.DataFrame({"provider": "gmail", "sent_at": start + pd.to_timedelta(7 * back, "D")})
    sends["clicked_at"] = sends["sent_at"].where(luck.random(len(sends)) < rate)
    chart = control_chart(sends, "click", as_of=start + pd.Timedelta(days=209))
    assert (chart["signal"] != "").mean() < 0.1


def test_the_sunset_list_holds_who_complained_bounces_or_stays_silent_beyond_luck() -> None:
    at = pd.date_range("2025-01-01", periods=45, freq="7D")
    base = pd.DataFrame({"sent_at": at}).assign(
        clicked_at=pd.NaT, complained_at=pd.NaT, bounced_at=pd.NaT, unsubscribed_at=pd.NaT
    )
    base = base.astype(dict.fromkeys(base.columns, "datetime64[us]"))
    people = {
        name: base.copy() for name in ("reads", "silent", "marked", "gone", "dead", "mended", "new", "quiet")
    }
    for name in ("reads", "mended", "new", "marked", "gone"):
        people[name].loc[::5, "clicked_at"] = at[::5]
    people["marked"].loc[3, "complained_at"] = at[3]
    people["gone"].loc[44, "unsubscribed_at"] = at[44]
    people["dead"].loc[43:, "bounced_at"] = at[43:]
    people["mended"].loc[[40, 41], "bounced_at"] = at[[40, 41]]
    people["new"] = people["new"].iloc[-3:].assign(clicked_at=pd.NaT)
    people["quiet"] = people["quiet"].iloc[:20]
    people["quiet"].loc[0, "clicked_at"] = at[19] + pd.Timedelta(days=60)
    sends = pd.concat([frame.assign(person_id=name) for name, frame in people.items()])
    listed = sunset(sends, as_of="2026-01-01").set_index("person_id")["reason"].to_dict()
    assert listed == {"silent": "silent", "marked": "complained", "gone": "unsubscribed", "dead": "bounces"}
