"""Outside facts stand beside our own: every row once, nothing overwritten, nothing from the future."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit import enrich, models
from cdpkit.errors import CdpkitError, ContractError
from cdpkit.features import catalogue
from cdpkit.identity.hashing import identifier_hash
from cdpkit.run import Run
from cdpkit.workspace import Workspace

FEEDS = enrich.sample("2026-01-01", 120, seed=1, emails=[f"p{n}@x.fr" for n in range(0, 40, 2)])

row = st.tuples(
    st.sampled_from(["75001", "75 002", "1000", "99999", None]),
    st.sampled_from(["Paris", "LYON", "lille ", "Atlantis", None]),
    st.integers(0, 100),
    st.sampled_from(["p0@x.fr", "P2@X.fr ", "p1@x.fr", "nobody", None]),
)


def people(rows: list[tuple]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["postcode", "city", "day", "email"])
    as_of = pd.Timestamp("2026-01-10 08:00") + pd.to_timedelta(frame.pop("day"), "D")
    return frame.astype("str").where(frame.notna()).assign(
        as_of=as_of.astype("datetime64[us]"), income=1.0, person_id=[f"h{n}" for n in range(len(frame))]
    )  # fmt: skip


def everything(frame: pd.DataFrame, feeds=FEEDS) -> enrich.Enriched:
    rows = enrich.areas(enrich.Enriched.of(frame), feeds["area"])
    rows = enrich.weather(rows, feeds["weather"])
    rows = enrich.holidays(rows, feeds["holiday"])
    return enrich.third_party(rows, feeds["party"])


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(row, max_size=12), data=st.data())
def test_no_row_is_multiplied_and_no_first_party_value_changes(rows, data):
    """Whatever the rows and however the feeds are ordered: as many rows, the same own columns."""
    frame = people(rows).sample(frac=1, random_state=data.draw(st.integers(0, 9)))
    before = frame.copy()
    done = everything(frame)
    pd.testing.assert_frame_equal(done.frame[before.columns], before)
    pd.testing.assert_frame_equal(frame, before)
    assert set(done.names()) == set(done.frame.columns) - set(before.columns)
    shares = done.coverage.set_index("feed")
    assert shares["matched"].le(shares["with_key"]).all() and shares["rows"].eq(len(frame)).all()
    for feed, first in (("area", "median_income"), ("weather", "rain_mm"), ("party", "interest")):
        assert shares.loc[feed, "matched"] == done.frame[f"{feed}__{first}"].notna().sum()


@pytest.mark.req("DAT-12")
@settings(max_examples=15, deadline=None)
@given(rows=st.lists(row, min_size=1, max_size=8), seed=st.integers(0, 99), shift=st.integers(0, 60))
def test_only_past_weather_is_used(rows, seed, shift):
    """Days from the date on may be cut, changed or reordered: nothing moves; yesterday's change does."""
    cut = pd.Timestamp("2026-01-10") + pd.Timedelta(days=shift)
    frame = people(rows).assign(as_of=cut + pd.Timedelta(hours=8))
    feed = FEEDS["weather"]
    plain = enrich.weather(enrich.Enriched.of(frame), feed)
    later = feed.frame["day"] >= cut
    noise = np.random.default_rng(seed).normal(0, 30, len(feed.frame))
    for future in (
        feed.frame[~later],
        feed.frame.assign(temperature_c=feed.frame["temperature_c"] + noise * later),
        feed.frame.sample(frac=1, random_state=seed),
    ):
        other = enrich.Feed("weather", future, feed.key, feed.columns, "external", "CC0", "2026")
        again = enrich.weather(enrich.Enriched.of(frame), other)
        pd.testing.assert_frame_equal(again.frame, plain.frame)
    yesterday = feed.frame["temperature_c"] + 70.0 * (feed.frame["day"] == cut - pd.Timedelta(days=1))
    warm = enrich.Feed("weather", feed.frame.assign(temperature_c=yesterday), feed.key, feed.columns,
                       "external", "CC0", "2026")  # fmt: skip
    moved = enrich.weather(enrich.Enriched.of(frame), warm).frame["weather__temperature_c"]
    found = plain.frame["weather__temperature_c"].notna()
    np.testing.assert_allclose((moved - plain.frame["weather__temperature_c"])[found], 10.0)
    assert plain.coverage.set_index("feed").loc["weather", "matched"] == found.sum()
    assert set(plain.unmatched["weather"]) == (
        {f"atlantis {cut:%Y-%m-%d}"} if "Atlantis" in set(frame["city"]) else set()
    )


@pytest.mark.req("DAT-13")
def test_areas_come_with_licence_and_vintage_and_unmatched_postcodes_are_listed():
    """A postcode nobody knows is listed; a first-party column of the same name is never replaced."""
    done = enrich.areas(enrich.Enriched.of(people([("75 001", None, 0, None), ("99999", None, 0, None),
                                                   (None, None, 0, None)])), FEEDS["area"])  # fmt: skip
    assert done.unmatched["area"] == ["99999"]
    assert done.coverage.iloc[0].to_dict() == {
        "feed": "area", "rows": 3, "with_key": 2, "matched": 1, "coverage": pytest.approx(1 / 3)
    }  # fmt: skip
    terms = done.provenance.set_index("column").loc["area__median_income"]
    assert terms["provenance"] == "open_data" and terms["vintage"] == "2026" and "CC0" in terms["licence"]
    with pytest.raises(CdpkitError, match="columns of its own; got already there: area__median_income"):
        enrich.areas(done, FEEDS["area"])
    with pytest.raises(ContractError, match="licence must be known"):
        enrich.Feed("area", FEEDS["area"].frame, ["postcode"], ["density"], "open_data", " ", "2026")


def test_bought_data_join_by_digest_only():
    """A clear address is refused in a feed, and unmatched addresses are counted, never listed."""
    done = enrich.third_party(
        enrich.Enriched.of(people([(None, None, 0, " P0@x.FR"), (None, None, 0, "p1@x.fr")])), FEEDS["party"]
    )
    assert done.frame["party__interest"].notna().tolist() == [True, False]
    assert done.unmatched["party"] == ["1 hashed keys"] and done.names("third_party") == done.names()
    clear = pd.DataFrame({"mail": ["p0@x.fr", identifier_hash("email", "p2@x.fr", "google")], "x": [1, 2]})
    with pytest.raises(ContractError, match="SHA-256 digests only; got 1 other values"):
        enrich.third_party_feed("party", clear, "mail", ["x"], "contract", "2026")


def test_holidays_are_counted_from_both_sides():
    """The next one is known in advance; of a country without a calendar nothing is said."""
    frame = people([(None, None, 0, None)] * 3).assign(
        as_of=pd.to_datetime(["2026-05-01 10:00", "2026-05-03 00:00", "2026-05-08 00:00"]).astype(
            "datetime64[us]"
        ),
        country=["FR", None, "GB"],
    )
    done = enrich.holidays(enrich.Enriched.of(frame), FEEDS["holiday"], country="country").frame
    assert done["holiday__days_to_next"].fillna(-1).tolist() == [0, 5, -1]
    assert done["holiday__days_since_last"].fillna(-1).tolist() == [0, 2, -1]


def test_a_table_of_the_lake_is_a_feed(on):
    """The latest row of a key holds, and the terms are those its rows carry."""
    loaded = pd.DataFrame({"postcode": ["75001", "75001"], "median_income": [1.0, 2.0], "licence": "LO 2.0",
                           "vintage": "2021", "source": "insee",
                           "known_at": pd.to_datetime(["2025-01-01", "2025-02-01"])})  # fmt: skip
    with on({"outside_areas": loaded}) as engine:
        feed = enrich.lake_feed(engine, "outside_areas", ["postcode"], name="area")
    assert (feed.licence, feed.vintage, list(feed.columns)) == ("LO 2.0", "2021", ["median_income"])
    assert enrich.areas(enrich.Enriched.of(people([("75001", None, 0, None)])), feed).frame[
        "area__median_income"
    ].tolist() == [2.0]


@pytest.mark.req("DAT-14")
def test_one_switch_drops_all_third_party_columns_and_the_pipeline_still_runs(world, on):
    """Features, enrichment, training, scores: with and without what was bought."""
    with on(world(5, rows=400, nodes=60)) as engine:
        built = catalogue.standard().build(engine, as_of=["2026-02-05"], population="all")
    own = built.drop_empty().to_pandas()
    # As many people as a model asks for: the same behaviours, each shown by sixteen persons.
    own = pd.concat([own.assign(person_id=own["person_id"] + f"-{n}") for n in range(16)], ignore_index=True)
    rng = np.random.default_rng(0)
    own = own.assign(email=[f"p{n % 60}@x.fr" for n in range(len(own))], postcode="75001", city="Paris")
    rows = everything(own)
    y = (rng.random(len(own)) < 0.4).astype(int)
    served = {}
    for name, kept in {"all": rows, "first party": rows.without("third_party")}.items():
        columns = [
            c for c in kept.frame.columns if c not in ("person_id", "as_of", "email", "postcode", "city")
        ]
        X = kept.frame[columns].select_dtypes("number").astype("float64")
        model = models.RuleBaseline("rfm__days_since_order", ascending=True).fit(X, y)
        learner = models.AppetenceClassifier(random_state=0).fit(X, pd.Series(y))
        served[name] = (set(columns), learner.predict_proba(X)[:, 1], model.predict_proba(X)[:, 1])
    dropped = served["all"][0] - served["first party"][0]
    assert dropped == {"party__household_size", "party__interest"} == set(rows.names("third_party"))
    for _, p, rule in served.values():
        assert len(p) == len(rule) == len(own) and np.isfinite(p).all()
    gone = rows.without("third_party")
    assert "third_party" not in set(gone.provenance["provenance"]) and "party" not in set(
        gone.coverage["feed"]
    )
    assert set(gone.names()) == set(rows.names()) - dropped


@pytest.mark.req("DAT-14")
def test_what_a_brand_declares_as_bought_is_stored_and_leaves_with_its_switch(tmp_path):
    """A declared file becomes columns of `features_enriched`; without third parties the table has none of them."""
    held = identifier_hash("email", "p0@x.fr", "google")
    (tmp_path / "seller.csv").write_text(f"digest,income\n{held},2\n")
    declared = tmp_path / "third_party.toml"
    terms = 'columns = ["income"]\nlicence = "contract 7"\nvintage = "2026"\n'
    declared.write_text(f'[seller]\nfile = "seller.csv"\nkey = "digest"\n{terms}')
    rows = enrich.areas(
        enrich.Enriched.of(people([("75001", None, 0, "p0@x.fr"), (None, None, 0, None)])), FEEDS["area"]
    )
    for feed in enrich.bought(declared).values():
        rows = enrich.third_party(rows, feed)
    with Run.begin(Workspace(tmp_path / "home"), "enrichment") as run:
        stored = {}
        for switch in (True, False):
            kept = rows if switch else rows.without("third_party")
            table = kept.write(run, "2026-05-01")
            stored[switch] = run.lake.read("features_enriched", "head").to_pandas()
            assert set(stored[switch]) == {"person_id", "as_of", *kept.names()} == set(table.names)
        assert run.engine().query("SELECT count(*) AS n FROM features_enriched").to_pandas()["n"].item() == 2
    assert stored[True]["seller__income"].tolist().count(2.0) == 1 and "seller__income" not in stored[False]
    declared.write_text(f'[seller]\nfile = "gone.csv"\nkey = "digest"\n{terms}[other]\nfile = "seller.csv"\n')
    with pytest.raises(ContractError, match="third party has 2 faults"):
        enrich.bought(declared)
