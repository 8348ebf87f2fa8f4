"""Who is in the frame: as known then, permitted then, and active then."""

from __future__ import annotations

import pandas as pd
import pytest

from cdpkit.errors import FeatureError
from cdpkit.features import Count, FeatureSet, Population, Rate, Recency, Sum, catalogue, interactions, known
from cdpkit.run import Run
from cdpkit.workspace import Workspace

T = pd.Timestamp("2026-03-01")
DAY = pd.Timedelta(days=1)
US = pd.Timedelta(microseconds=1)
COUNTS = FeatureSet("f", [Count("orders", fill=0)])


@pytest.fixture
def frames(table) -> dict[str, pd.DataFrame]:
    """Three persons of one record each; 4 joins person a at T."""
    return {
        "nodes": table("node_id source node_type", [(1, "shop", "account"), (2, "shop", "account"), (3, "web", "cookie"), (4, "web", "cookie")],
                       record_id=["1", "2", "3", "4"], known_at=T - 90 * DAY),
        "membership": table("node_id person_id known_from known_to", [
            (1, "a", T - 90 * DAY, None), (2, "b", T - 90 * DAY, None), (3, "c", T - 90 * DAY, None),
            (4, "d", T - 90 * DAY, T), (4, "a", T, None)]),
        "orders": table("order_id node_id event_time known_at", [
            ("o1", 1, T - 5 * DAY, T - 5 * DAY), ("o2", 2, T - 40 * DAY, T - 40 * DAY), ("o3", 3, T, T),
            ("o4", 4, T - 4 * DAY, T - 4 * DAY), ("o5", 3, T - 3 * DAY, T)], source="shop"),
        "source_bases": pd.DataFrame({"source": ["shop"], "purpose": ["profiling"], "basis": ["legitimate_interest"]}),
    }  # fmt: skip


def persons(frame: pd.DataFrame) -> list[str]:
    return frame["person_id"].tolist()


@pytest.mark.parametrize(
    ("population", "expected"),
    [
        ("all", ["a", "b", "c", "d"]),
        ("known", ["a", "b"]),
        ("active_5", ["a", "d"]),
        ("active_4", ["d"]),
        ("buyers", ["a", "b", "d"]),
        ("buyers_30", ["a", "d"]),
        ("known & active_5", ["a"]),
    ],
)
def test_a_population_is_computed_at_the_date(population: str, expected: list[str], frames, on) -> None:
    """The start of a window counts; what happens or is learned at the date does not."""
    built = COUNTS.build(on(frames), T, population=population, consent=False)
    assert persons(built.to_pandas()) == expected
    assert str(Population.parse(population)) == population


@pytest.mark.parametrize("words", ["everyone", "active", "active_0", "active_x", "all &", ""])
def test_unknown_populations_are_refused(words: str) -> None:
    """The message lists the words that exist."""
    with pytest.raises(FeatureError, match="active_<days>"):
        Population.parse(words)


def test_persons_are_those_known_strictly_before_the_date(frames, on) -> None:
    """At the instant of a merge the records are still apart; a microsecond later they are one person."""
    engine = on(frames)
    at = COUNTS.build(engine, T, consent=False).to_pandas().set_index("person_id")["f__n_orders"]
    after = COUNTS.build(engine, T + US, consent=False).to_pandas().set_index("person_id")["f__n_orders"]
    assert at.to_dict() == {"a": 1, "b": 1, "c": 0, "d": 1}
    assert after.to_dict() == {"a": 2, "b": 1, "c": 2}


def test_only_permitted_records_are_used(frames, on, table) -> None:
    """Without a decision a record needs its source's basis; a denial leaves the whole person out."""
    decisions = [
        (3, "granted", T - DAY),  # c says yes: in
        (2, "denied", T - DAY),  # b says no: out
        (1, "denied", T),  # a says no at the date: still in
    ]
    frames["consents"] = table(
        "node_id status event_time", decisions, source="shop", purpose="profiling", channel="*"
    ).assign(known_at=lambda c: c["event_time"])
    engine = on(frames)
    assert persons(COUNTS.build(engine, T).to_pandas()) == ["a", "c"]
    assert persons(COUNTS.build(engine, T, consent=False).to_pandas()) == ["a", "b", "c", "d"]
    assert persons(COUNTS.build(engine, T, consent_at=T + DAY).to_pandas()) == ["c"]
    rows = pd.DataFrame({"person_id": ["b", "c", "a", "b"], "ts": [T, T, T + DAY, T - 2 * DAY]})
    by_row = COUNTS.build(engine, at=rows).to_pandas()
    assert persons(by_row) == ["b", "c", "a", "b"]
    assert by_row["f__n_orders"].isna().tolist() == [True, False, True, False]
    seen = interactions(engine, T, consent=True)
    assert set(seen["person_id"]) == {"a"}


@pytest.mark.req("DAT-08")
def test_a_profile_without_messages_shows_missing_not_zero(frames, on, table) -> None:
    """Each family has its own coverage, equal to a count by hand."""
    frames["messages"] = table(
        "message_id node_id event_time known_at", [("m1", 1, T - DAY, T - DAY)], source="email"
    )
    features = FeatureSet("x", [
        Count("messages", windows=[30], family="reactivity"),
        Rate("messages", of=known("clicked_at"), windows=[30], family="reactivity"),
        Recency("orders", family="rfm"),
        Count("orders", fill=0, family="rfm"),
        Count("profiles", family="declared"),
    ])  # fmt: skip
    built = features.build(on(frames), T, consent=False)
    frame = built.to_pandas().set_index("person_id")
    assert frame["reactivity__n_messages__30d"].to_dict() == pytest.approx(
        {"a": 1, "b": float("nan"), "c": float("nan"), "d": float("nan")}, nan_ok=True
    )
    by_feature = built.coverage().set_index("feature")
    assert by_feature["present"].tolist() == [1, 1, 3, 4, 0]
    families = built.coverage("family").set_index("family")
    assert families["coverage"].to_dict() == {"reactivity": 0.25, "rfm": 0.875, "declared": 0.0}
    assert families["covered"].to_dict() == {"reactivity": 0.25, "rfm": 1.0, "declared": 0.0}
    of_person = built.coverage("person").set_index("person_id")
    assert of_person.loc["a", ["reactivity", "rfm"]].tolist() == [1.0, 1.0]
    assert of_person.loc["c", ["reactivity", "rfm"]].tolist() == [0.0, 0.5]


def test_a_source_that_is_absent_leaves_its_families_missing(frames, on) -> None:
    """With orders only, other families are empty, and a model can drop them by name."""
    built = catalogue.standard().build(on(frames), T, population="buyers", consent=False)
    families = built.coverage("family").set_index("family")["covered"]
    assert families["rfm"] == 1.0
    assert families[["browsing", "reactivity", "contact", "profile", "affinity", "intent"]].eq(0).all()
    kept = built.drop_empty()
    assert kept.empty == [] and set(kept.dropped) == set(built.empty)
    assert set(kept.names) | set(kept.dropped) == set(built.names)
    assert list(kept.to_pandas().columns) == ["person_id", "as_of", *kept.names]


def test_refunds_alone_are_not_browsing(frames, on, table) -> None:
    """A shop that books refunds as events has told nothing of anybody's visits."""
    refunds = [("e1", 1, T - DAY, T - DAY, "Order Refunded")]
    frames["events"] = table("event_id node_id event_time known_at event_type", refunds, source="shop")
    built = catalogue.standard().build(on(frames), T, consent=False)
    covered = built.coverage("family").set_index("family")["covered"]
    assert covered[["browsing", "intent", "affinity"]].eq(0).all()


def test_snapshots_are_written_once_each(frames, on, tmp_path) -> None:
    """Writing again replaces the same dates; the lake gives back what was built."""
    built = catalogue.standard().build(on(frames), [T, T + DAY], consent=False).drop_empty()
    run = Run.begin(Workspace.open(tmp_path), "features", run_id="r000001")
    try:
        for _ in range(2):
            written = built.write(run)
        stored = run.lake.read(written.name, "head").to_pandas()
    finally:
        run.abandon()
    assert written.name == "features_standard" and written.key == ("person_id", "as_of")
    keys = ["as_of", "person_id"]
    expected = built.to_pandas().sort_values(keys).reset_index(drop=True)
    stored = stored.sort_values(keys).reset_index(drop=True)[expected.columns]
    pd.testing.assert_frame_equal(stored, expected, check_categorical=False, check_dtype=False)
    rows = pd.DataFrame({"person_id": ["a", "b"], "ts": [T, T + DAY]})
    with pytest.raises(FeatureError, match="snapshots"):
        catalogue.standard().build(on(frames), at=rows, consent=False).write(run)


def test_frames_have_declared_types(frames, on) -> None:
    """Numbers in the width asked for, text as categories fixed by the declaration."""
    built = catalogue.standard().build(on(frames), T, consent=False)
    frame = built.to_pandas(dtype="float32")
    assert frame["rfm__n_orders"].dtype == "float32"
    assert list(frame["profile__gender"].cat.categories) == ["f", "m", "other"]
    assert frame["person_id"].dtype == "str" and frame["as_of"].dtype == "datetime64[us]"
    matrix = built.matrix()
    assert matrix.shape == (4, len(built.names)) and matrix.dtype == "float32"
    with pytest.raises(FeatureError, match="float32"):
        built.to_pandas(dtype="int8")


def test_a_population_without_anybody_gives_an_empty_frame(on) -> None:
    """No data is no row, with every column in place."""
    frame = COUNTS.build(on({}), T).to_pandas()
    assert frame.empty and list(frame.columns) == ["person_id", "as_of", "f__n_orders"]
    assert catalogue.standard().build(on({}), T).coverage("family")["coverage"].eq(0).all()


def test_build_asks_for_one_kind_of_date(frames, on) -> None:
    """Dates are given as snapshots or by row, whole and present."""
    engine = on(frames)
    rows = pd.DataFrame({"person_id": ["a"], "ts": [T]})
    for wrong in (
        lambda: COUNTS.build(engine),
        lambda: COUNTS.build(engine, T, at=rows),
        lambda: COUNTS.build(engine, at=rows, population="active_5"),
        lambda: COUNTS.build(engine, at=rows.rename(columns={"ts": "when"})),
        lambda: COUNTS.build(engine, at=rows.assign(ts=pd.NaT)),
        lambda: COUNTS.build(engine, []),
    ):
        with pytest.raises(FeatureError):
            wrong()
    zoned = rows.assign(ts=pd.to_datetime(["2026-03-01 01:00"]).tz_localize("Europe/Paris"))
    assert COUNTS.build(engine, at=zoned).to_pandas()["as_of"].tolist() == [T]


def test_money_is_never_summed_across_currencies(frames, on) -> None:
    """Two currencies in a window make a missing amount; one currency asked for is kept."""
    frames["orders"] = frames["orders"].assign(
        amount_minor=[100, 200, 300, 400, 500], currency=["EUR", "EUR", "EUR", "GBP", "EUR"]
    )
    features = FeatureSet(
        "m", [Sum("orders.amount_minor", name="any"), Sum("orders.amount_minor", name="eur", currency="EUR")]
    )
    frame = features.build(on(frames), T + US, consent=False).to_pandas().set_index("person_id")
    assert frame["m__any"].isna().tolist() == [True, False, False]
    assert frame["m__eur"].to_dict() == {"a": 100, "b": 200, "c": 800}
