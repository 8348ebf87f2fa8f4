"""Labels: the window, the persons, the folds, and what a definition changes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pandas as pd
import pytest

from cdpkit.definitions import Behaviour, HotProspectDefinition
from cdpkit.errors import FeatureError, NotEnoughDataError
from cdpkit.features import Count, FeatureSet, labels

T = pd.Timestamp("2026-03-01")
DAY = pd.Timedelta(days=1)
US = pd.Timedelta(microseconds=1)
END = "2026-12-31"
HOT = HotProspectDefinition("purchase", horizon_days=10, gap_days=2, population="all")


MEMBERSHIP = [
    (1, "a", T - 90 * DAY, None),
    (2, "b", T - 90 * DAY, None),
    (3, "c", T - 90 * DAY, T + 5 * DAY),  # c joins d later
    (3, "d", T + 5 * DAY, None),
    (4, "d", T - 90 * DAY, None),
    (5, "e", T - 90 * DAY, T + 6 * DAY),  # e is split: record 5 leaves for f, record 6 stays
    (5, "f", T + 6 * DAY, None),
    (6, "e", T - 90 * DAY, None),
    (7, "late", T + DAY, None),  # unknown at T
    (7 + 1, "g", T - 90 * DAY, T + 7 * DAY),
    (8, "f", T + 7 * DAY, None),
]


@pytest.fixture(scope="module")
def shop(table) -> Callable[[list[tuple]], dict[str, pd.DataFrame]]:
    """Return what makes tables from orders given as (node, time after T, amount, cancelled after T)."""
    members = table("node_id person_id known_from known_to", MEMBERSHIP)

    def make(rows: list[tuple]) -> dict[str, pd.DataFrame]:
        made = [
            (f"o{i}", node, T + after, amount, None if gone is None else T + gone)
            for i, (node, after, amount, gone) in enumerate(rows)
        ]
        orders = table("order_id node_id event_time amount_minor cancelled_at", made, source="shop")
        return {"orders": orders.assign(known_at=orders["event_time"]), "membership": members}

    return make


@pytest.fixture(scope="module")
def labelled(on, shop) -> Callable[..., pd.Series]:
    """Return what labels the persons of given orders at T."""

    def label(rows: list[tuple], definition: HotProspectDefinition = HOT) -> pd.Series:
        frame = labels.build(on(shop(rows)), definition, T, watermark=END, consent=False)
        assert list(frame.columns) == ["person_id", "as_of", "y", "fold"]
        return frame.set_index("person_id")["y"]

    return label


@pytest.mark.parametrize(
    ("after", "y"),
    [(2 * DAY - US, 0), (2 * DAY, 1), (12 * DAY - US, 1), (12 * DAY, 0)],
    ids=["in the gap", "at its end", "last instant", "at the end"],
)
def test_the_window_holds_its_start_and_not_its_end(after: pd.Timedelta, y: int, labelled) -> None:
    """`[t + gap, t + gap + horizon)`."""
    assert labelled([(1, after, 100, None)])["a"] == y


def test_labels_are_keyed_by_the_person_as_of_the_date(labelled) -> None:
    """Outcomes follow records to their newest person, back to whom they were at the date."""
    rows = [(3, 3 * DAY, 100, None)]  # of c's record, which d's will join
    y = labelled(rows)
    assert y.to_dict() == {"a": 0, "b": 0, "c": 1, "d": 1, "e": 0, "g": 0}
    y = labelled([(8, 3 * DAY, 100, None)])  # g joins f, where one of e's records went
    assert y["g"] == 1 and y["e"] == 1 and y["a"] == 0


def test_persons_who_become_one_stay_in_one_fold(on, shop) -> None:
    """A fold group is a component of persons then and now; others have their own."""
    engine = on(shop([(1, DAY, 1, None)]))
    frame = labels.build(engine, HOT, [T, T + 8 * DAY], watermark=END, consent=False)
    fold = frame.set_index(["person_id", "as_of"])["fold"]
    assert fold["c", T] == fold["d", T] == fold["d", T + 8 * DAY]
    assert fold["e", T] == fold["g", T] == fold["f", T + 8 * DAY]
    assert fold["a", T] == fold["a", T + 8 * DAY]
    assert len({fold["a", T], fold["b", T], fold["c", T], fold["e", T]}) == 4
    assert frame.groupby("person_id")["fold"].nunique().eq(1).all()


def test_labels_and_features_have_the_same_persons(on, shop) -> None:
    """A population is the same whether features or labels are asked for."""
    engine = on(shop([(1, -DAY, 1, None), (4, -DAY, 1, None), (2, DAY, 1, None)]))
    frame = labels.build(engine, HOT, T, population="buyers", watermark=END, consent=False)
    built = (
        FeatureSet("f", [Count("orders")]).build(engine, T, population="buyers", consent=False).to_pandas()
    )
    assert frame["person_id"].tolist() == built["person_id"].tolist() == ["a", "d"]


@pytest.mark.req("MOD-02")
def test_changing_the_definition_changes_the_label_set_as_expected(labelled) -> None:
    """More orders, an amount, a filter, a longer horizon, another match: each selects other persons."""
    rows = [
        (1, 3 * DAY, 4000, None), (1, 4 * DAY, 7000, None),  # a: twice, 110
        (2, 3 * DAY, 12000, 5 * DAY),  # b: once, 120, cancelled within the window
        (4, 20 * DAY, 5000, None),  # d (and c): later
        (6, 3 * DAY, 300, 60 * DAY),  # e (and g): once, cancelled after the window
    ]  # fmt: skip

    def hot(**changes: object) -> set[str]:
        y = labelled(
            rows,
            HotProspectDefinition("x", **{"gap_days": 2, "horizon_days": 10, "population": "all"} | changes),
        )
        return set(y[y == 1].index)

    assert hot() == {"a", "b", "e"}
    assert hot(behaviours=[Behaviour("orders", at_least=2)]) == {"a"}
    assert hot(behaviours=[Behaviour("orders", total="amount_minor", at_least=10000)]) == {"a", "b"}
    assert hot(behaviours=[Behaviour("orders", where="not known(cancelled_at)")]) == {"a", "e"}
    assert hot(horizon_days=30) == {"a", "b", "c", "d", "e"}
    assert hot(gap_days=0, horizon_days=3) == set()
    both = [Behaviour("orders", at_least=2), Behaviour("orders", where="amount_minor >= 12000")]
    assert hot(behaviours=both, match="any") == {"a", "b"}
    assert hot(behaviours=both, match="all") == set()


@pytest.mark.req("MOD-02")
def test_a_definition_that_came_back_gives_the_same_labels(labelled) -> None:
    """Through JSON and back, the definition labels the same persons."""
    rows = [(1, 3 * DAY, 4000, None), (6, 3 * DAY, 300, None)]
    stored = json.loads(json.dumps(HOT.to_dict()))
    assert labelled(rows, HotProspectDefinition.from_dict(stored)).equals(labelled(rows))


def test_windows_that_are_not_observed_are_refused(on, shop) -> None:
    """The message says which window, where the data stop, and what to do; the last whole window passes."""
    engine = on(shop([(1, 11 * DAY + 3600 * 10**6 * US, 1, None)]))
    with pytest.raises(
        FeatureError,
        match=re.escape(
            "1 of 2 ending after the data, which stop at 2026-03-13 00:00, the last at 2026-03-14 00:00"
        ),
    ):
        labels.build(engine, HOT, [T, T + DAY], watermark=T + 12 * DAY, consent=False)
    assert labels.data_watermark(engine, HOT) == T + 12 * DAY
    assert len(labels.build(engine, HOT, T, consent=False)) == 6
    with pytest.raises(FeatureError, match="fully observed"):
        labels.build(engine, HOT, T + US, consent=False)
    with pytest.raises(NotEnoughDataError, match="no row in orders"):
        labels.build(on({}), HOT, T)


def test_filters_of_a_definition_are_checked(labelled) -> None:
    """A definition reaches outcomes only through their time, and only by a filter."""
    for where in ("cancelled_at is not null", "1=1; drop table orders", "lower(channel) = 'x'"):
        with pytest.raises(FeatureError, match="`where`"):
            labelled(
                [(1, 3 * DAY, 1, None)],
                HotProspectDefinition("x", behaviours=[Behaviour("orders", where=where)]),
            )


def test_labels_ask_for_permission(on, shop, table) -> None:
    """Without a basis or a grant nobody is labelled; who objects later is left out on request."""
    nodes = pd.DataFrame(
        {
            "node_id": range(1, 9),
            "source": "shop",
            "record_id": [str(i) for i in range(8)],
            "node_type": "account",
            "known_at": T - 90 * DAY,
        }
    )
    frames = {**shop([(1, 3 * DAY, 1, None)]), "nodes": nodes}
    assert labels.build(on(frames), HOT, T, watermark=END).empty
    frames["source_bases"] = pd.DataFrame(
        {"source": ["shop"], "purpose": ["profiling"], "basis": ["legitimate_interest"]}
    )
    frames["consents"] = table(
        "node_id event_time", [(2, T + DAY)], source="shop", purpose="profiling", channel="*", status="denied"
    ).assign(known_at=lambda c: c["event_time"])
    engine = on(frames)
    assert "b" in set(labels.build(engine, HOT, T, watermark=END)["person_id"])
    assert "b" not in set(labels.build(engine, HOT, T, watermark=END, consent_at=END)["person_id"])


def test_outcomes_come_from_records_that_permit_profiling(on, shop) -> None:
    """An order on a record without permission is not a conversion, even of a permitted person."""
    nodes = pd.DataFrame({"node_id": [1, 2], "source": ["crm", "web"], "record_id": ["a", "b"]})
    both = {
        "nodes": nodes.assign(node_type="contact", known_at=T - 90 * DAY),
        "membership": pd.DataFrame({"node_id": [1, 2], "person_id": "p", "known_from": T - 90 * DAY}),
        "source_bases": pd.DataFrame(
            {"source": ["crm"], "purpose": ["profiling"], "basis": ["legitimate_interest"]}
        ),
    }
    found = {}
    for node in (1, 2):
        frames = {"orders": shop([(node, 3 * DAY, 1, None)])["orders"], **both}
        found[node] = labels.build(on(frames), HOT, T, watermark=END)["y"].tolist()
    assert found == {1: [1], 2: [0]}
