"""What is inferred stays apart from what was declared, and what the law protects is never inferred."""

from __future__ import annotations

import pandas as pd
import pytest

from cdpkit import identity
from cdpkit.errors import FaultsError
from cdpkit.run import Run
from cdpkit.sensitive import sensitive
from cdpkit.workspace import Workspace

DAY = pd.Timestamp("2025-01-01")


@pytest.fixture
def run(tmp_path):
    """Zoe and Ana under a basis, Leo without; Zoe declared a city."""
    run = Run.begin(Workspace(tmp_path), "identity")
    people = ["zoe", "ana", "leo"]
    nodes = pd.DataFrame({"node_id": [1, 2, 3], "source": ["crm", "crm", "web"], "record_id": people,
                          "node_type": "contact", "known_at": DAY})  # fmt: skip
    run.lake.write("nodes", nodes)
    run.lake.write("source_bases", pd.DataFrame(
        {"source": ["crm"] * 2, "purpose": ["stitching", "profiling"], "basis": "legitimate_interest"}))  # fmt: skip
    run.lake.write("source_fields", pd.DataFrame(
        {"source": ["crm"], "field": ["diet"], "class": ["sensitive"]}))  # fmt: skip
    profile = pd.DataFrame(
        {"node_id": [1], "source": "crm", "city": "Lyon", "event_time": DAY, "known_at": DAY}
    )
    run.lake.write("profiles", profile)
    identity.store(run, identity.resolve(identity.records(run.engine()), run_id="r1"))
    yield run
    run.abandon()


def guess(run: Run, attribute: str, value: str = "yes", confidence: float = 0.8) -> pd.DataFrame:
    persons = run.engine().query("SELECT person_id FROM membership ORDER BY node_id").to_pandas()["person_id"]
    return pd.DataFrame(
        {"person_id": persons, "attribute": attribute, "value": value, "confidence": confidence}
    )


@pytest.mark.req("IDN-22")
def test_an_inferred_attribute_never_becomes_a_fact(run) -> None:
    """Written with its confidence for who may be profiled; golden, levels and facts stay as declared."""
    golden = run.engine().query("SELECT * FROM golden").to_pandas()
    level = identity.identity_levels(run.engine(), "2025-02-01").persons
    assert identity.infer(run, guess(run, "city", "Paris"), model="household", as_of="2025-02-01") == 2
    assert identity.infer(run, guess(run, "city", "Nice"), model="household", as_of="2025-02-01") == 2
    engine = run.engine()
    told = engine.query("SELECT * FROM inferred").to_pandas()
    assert set(told["value"]) == {"Nice"} and (told["confidence"] == 0.8).all() and len(told) == 2
    identity.store(run, identity.resolve(identity.records(engine), identity.previous(engine), run_id="r2"))
    pd.testing.assert_frame_equal(run.engine().query("SELECT * FROM golden").to_pandas(), golden)
    pd.testing.assert_frame_equal(identity.identity_levels(run.engine(), "2025-02-01").persons, level)
    view = identity.profile_360(run.engine(), told["person_id"].iloc[0], subject_request=True)
    assert view.facts.set_index("attribute")["value"].to_dict() == {"city": "Lyon"}
    assert view.inferred[["attribute", "value", "model"]].to_numpy().tolist() == [
        ["city", "Nice", "household"]
    ]


@pytest.mark.req("IDN-22")
@pytest.mark.parametrize(
    "attribute",
    [
        "religion",
        "is_pregnant",
        "Opinion politique",
        "sexualOrientation",
        "syndicat",
        "ethnic_origin",
        "diet",
    ],
)
def test_inferring_a_sensitive_trait_fails(run, attribute: str) -> None:
    """By its name in either language, or because a source declared the field sensitive; nothing is written."""
    with pytest.raises(FaultsError, match="must not be inferred"):
        identity.infer(run, guess(run, attribute), model="m", as_of="2025-02-01")
    assert run.engine().query("SELECT * FROM inferred").to_pandas().empty


@pytest.mark.req("IDN-22")
def test_no_other_door_lets_it_in_and_values_count_too(run) -> None:
    """The lake itself refuses; a harmless name over a protected value too; the value is not repeated."""
    rows = guess(run, "religion").assign(model="m", as_of=DAY, run_id="r")
    with pytest.raises(FaultsError, match="religion"):
        run.lake.write("inferred", rows)
    with pytest.raises(FaultsError, match="may tell health") as told:
        identity.infer(run, guess(run, "segment", "diabétique"), model="m", as_of="2025-02-01")
    assert "diab" not in str(told.value)
    with pytest.raises(FaultsError, match="2 faults"):
        identity.infer(run, guess(run, "religion", confidence=0.0), model="m", as_of="2025-02-01")


@pytest.mark.parametrize(
    "name", ["favourite_category", "has_children", "trace", "price_sensitivity", "region", "communion_gift"]
)
def test_ordinary_attributes_are_no_sensitive_ones(name: str) -> None:
    """Words that merely look alike pass."""
    assert sensitive(name) is None
