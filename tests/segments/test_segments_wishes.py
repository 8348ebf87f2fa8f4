"""What people asked for wins: the last wish counts, and an audience that goes against it leaves them out."""

from __future__ import annotations

import pandas as pd
import pytest

from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError
from cdpkit.segments import Audience, build
from cdpkit.segments.wishes import declared

T = pd.Timestamp("2026-06-01")
PEOPLE = [f"p{k}" for k in range(6)]


def wish(person: int, kind: str, value: str, days: int = 100) -> dict:
    """Return a preference told so many days ago."""
    when = T - pd.Timedelta(days=days)
    return {
        "node_id": person,
        "source": "crm",
        "kind": kind,
        "value": value,
        "event_time": when,
        "known_at": when,
    }


def engine(*wishes: dict, sent: tuple[int, ...] = ()) -> DuckDBEngine:
    """Return six persons who agreed to e-mail, what they asked for, and messages of the last week."""
    before, nodes = T - pd.Timedelta(days=300), list(range(6))
    at = T - pd.Timedelta(days=7)
    frames = {
        "nodes": pd.DataFrame({"node_id": nodes, "source": "crm", "record_id": PEOPLE, "node_type": "contact",
                               "known_at": before}),
        "membership": pd.DataFrame({"node_id": nodes, "person_id": PEOPLE, "known_from": before,
                                    "known_to": pd.Series([pd.NaT] * 6, dtype="datetime64[us]")}),
        "golden": pd.DataFrame({"person_id": PEOPLE, "attribute": "email", "node_id": nodes, "source": "crm",
                                "known_at": before, "rule": "latest",
                                "value": [f"{p}@x.example" for p in PEOPLE]}),
        "consents": pd.DataFrame({"node_id": nodes, "source": "crm", "purpose": "activation", "channel": "email",
                                  "status": "granted", "event_time": before, "known_at": before}),
        "preferences": pd.DataFrame(wishes),
    }  # fmt: skip
    if sent:
        frames["messages"] = pd.DataFrame(
            [{"message_id": f"m{k}", "node_id": k, "source": "mail", "event_time": at, "known_at": at}
             for k in sent]
        )  # fmt: skip
    return DuckDBEngine(frames=frames)


@pytest.mark.req("WHR-19")
def test_the_last_wish_of_each_kind_is_read() -> None:
    """Channel, hour (a number or a part of the day), frequency (a number or a word) and subjects."""
    told = engine(
        wish(0, "channel", "SMS", 50), wish(0, "channel", "email", 90), wish(1, "channel", "push"),
        wish(0, "period", "evening"), wish(1, "hour", "7h", 10), wish(1, "period", "noon", 20),
        wish(2, "hour", "31"), wish(2, "frequency", "monthly"), wish(3, "frequency", "2"),
        wish(3, "frequency", "much", 99), wish(4, "topic", "Jardin, Sport"), wish(5, "topic", "Mode", 90),
    )  # fmt: skip
    assert declared(told, "channel", T).values.tolist() == [["p0", "sms"], ["p1", "push"]]
    assert declared(told, "channel", T - pd.Timedelta(days=60)).values.tolist() == [
        ["p0", "email"],
        ["p1", "push"],
    ]
    assert declared(told, "hour", T).values.tolist() == [["p0", 20], ["p1", 7]]
    assert declared(told, "frequency", T).values.tolist() == [["p2", 1], ["p3", 2]]
    assert sorted(declared(told, "topic", T)["topic"]) == ["jardin", "mode", "sport"]
    with pytest.raises(CdpkitError, match="colour"):
        declared(told, "colour", T)


@pytest.mark.req("WHR-19")
def test_an_audience_leaves_out_who_asked_for_something_else() -> None:
    """Another channel, other subjects and a number reached are left out, each with its reason; a like wish stays."""
    world = engine(
        wish(0, "channel", "sms"), wish(1, "channel", "email"), wish(2, "frequency", "monthly"),
        wish(3, "topic", "sport"), wish(4, "topic", "jardin"), sent=(2, 5),
    )  # fmt: skip
    asked = {"control_share": 0.0, "quiet_days": 0, "topic": "Jardin"}
    built = build(world, Audience("all", **asked), as_of=T)
    why = built.candidates.set_index("person_id")["excluded_by"].dropna().to_dict()
    assert why == {"p0": "wished", "p2": "capped", "p3": "wished"}
    assert sorted(built.members) == ["p1", "p4", "p5"]
    without = build(world, Audience("all", wishes=False, **asked), as_of=T)
    assert len(without.members) == 6
