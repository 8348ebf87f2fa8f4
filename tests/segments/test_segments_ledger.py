"""The pressure ledger: what was sent, what came back, who had enough, who is left alone until when."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError, FaultsError
from cdpkit.run import Run
from cdpkit.segments import ledger
from cdpkit.segments.ledger import Cap
from cdpkit.workspace import Workspace

T = pd.Timestamp("2026-07-01 12:00")


def _engine(messages: list[tuple], orders: list[tuple] = (), events: list[tuple] = ()) -> DuckDBEngine:
    """Build an engine from (person, hours before T, channel, clicked hours before T or None)."""
    people = sorted({row[0] for rows in (messages, orders, events) for row in rows} | {"nobody"})
    node = {person: number for number, person in enumerate(people, start=1)}
    hours = lambda h: pd.NaT if h is None else T - pd.Timedelta(hours=h)  # noqa: E731
    sent = pd.DataFrame(
        {
            "message_id": [f"m{i}" for i in range(len(messages))],
            "node_id": [node[row[0]] for row in messages],
            "source": "mail",
            "event_time": pd.Series([hours(row[1]) for row in messages], dtype="datetime64[us]"),
            "known_at": pd.Series([hours(row[1]) for row in messages], dtype="datetime64[us]"),
            "channel": [row[2] for row in messages],
            "clicked_at": pd.Series([hours(row[3]) for row in messages], dtype="datetime64[us]"),
        }
    )
    bought = pd.DataFrame(
        {
            "order_id": [f"o{i}" for i in range(len(orders))],
            "node_id": [node[row[0]] for row in orders],
            "source": "shop",
            "event_time": pd.Series([hours(row[1]) for row in orders], dtype="datetime64[us]"),
            "known_at": pd.Series([hours(row[1]) for row in orders], dtype="datetime64[us]"),
            "channel": "site",
            "amount_minor": 100,
            "currency": "EUR",
        }
    )
    membership = pd.DataFrame(
        {"node_id": list(node.values()), "person_id": list(node), "known_from": pd.Timestamp("2026-01-01")}
    )
    return DuckDBEngine(frames={"messages": sent, "orders": bought, "membership": membership})


@pytest.mark.req("WHR-16")
def test_the_balance_equals_the_fixture() -> None:
    """Four messages of which one clicked, one order: two signals came back, half a signal a message."""
    messages = [("a", h, "email", c) for h, c in ((100, None), (80, 79), (60, None), (40, None))]
    found = ledger.ledger(_engine([*messages, ("b", 10, "sms", None)], [("a", 30)]), T).set_index("person_id")
    assert found.loc["a", ["sent", "answered", "returned", "silent_streak"]].tolist() == [4, 1, 2, 2]
    assert found.loc["a", "reciprocity"] == 0.5
    assert found.loc["b", ["sent", "returned", "silent_streak"]].tolist() == [1, 0, 1]
    months = ledger.over_time(_engine(messages, [("a", 30)]), T, months=2)
    assert len(months) == 1 and months.loc[0, "reciprocity"] == 0.5


def test_a_click_of_tomorrow_has_not_come_back() -> None:
    """What happens after the date changes neither the answers nor the streak."""
    engine = _engine([("a", 10, "email", -5), ("a", 5, "email", None), ("a", -3, "email", None)])
    row = ledger.ledger(engine, T).iloc[0]
    assert (row["sent"], row["answered"], row["silent_streak"]) == (2, 0, 2)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.sampled_from(["email", "sms"])), max_size=12
    ),
    st.integers(0, 3),
    st.sampled_from(["email", "sms", "*"]),
)
def test_nobody_under_a_cap_is_held_back_and_nobody_over_it_is_not(
    sent: list[tuple], most: int, channel: str
) -> None:
    """By hand: a person is capped when the messages of the window already reach the cap."""
    engine = _engine([(person, h + 0.5, by, None) for person, h, by in sent])
    found = set(ledger.capped(engine, T, channel="email", caps=[Cap(most, 24, channel)])["person_id"])
    counted = {p: sum(q == p and h < 24 and channel in ("*", by) for q, h, by in sent) for p in "abc"}
    held = {p for p, n in counted.items() if n >= most and any(q == p for q, _, _ in sent)}
    if channel == "sms":
        assert found == set(), "a cap of another channel does not hold here"
    elif most == 0:
        assert held <= found
    else:
        assert found == held


def test_a_suspension_is_released_the_day_after(tmp_path: Path) -> None:
    """First and last day are included; another channel is not concerned; a reason is asked for."""
    workspace = Workspace.open(tmp_path)
    asked = {"first_day": date(2026, 7, 1), "last_day": date(2026, 7, 3), "author": "ines"}
    ledger.suspend(
        workspace,
        person_id="p1",
        channel="email",
        reason="réclamation",
        decided_at=datetime(2026, 6, 30),
        **asked,
    )
    with pytest.raises(CdpkitError, match="reason"):
        ledger.suspend(workspace, person_id="p2", reason=" ", decided_at=datetime(2026, 6, 30), **asked)
    with pytest.raises(CdpkitError, match="end on or after"):
        ledger.suspend(
            workspace, person_id="p2", reason="x", decided_at=datetime(2026, 6, 30), author="ines",
            first_day=date(2026, 7, 3), last_day=date(2026, 7, 1),
        )  # fmt: skip
    Run.begin(workspace, "absorb").finish()
    run = Run.begin(workspace, "look")
    days = {
        day: ledger.suspended(run.engine(), f"2026-{day} 23:00", channel="email")["person_id"].tolist()
        for day in ("06-30", "07-01", "07-03", "07-04")
    }
    assert days == {"06-30": [], "07-01": ["p1"], "07-03": ["p1"], "07-04": []}
    assert ledger.suspended(run.engine(), "2026-07-02", channel="sms").empty
    run.abandon()


def test_an_impossible_cap_is_refused() -> None:
    """All its faults are told at once."""
    with pytest.raises(FaultsError, match="2 faults"):
        Cap(-1, 0)
