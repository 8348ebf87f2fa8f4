"""Where everything comes from: a tile back to its files, and what changes when a source goes."""

from __future__ import annotations

import pandas as pd
import pytest

from cdpkit import governance
from cdpkit.errors import CdpkitError
from cdpkit.features import catalogue
from cdpkit.schema import TABLES

SOURCES = {"events": "web", "orders": "shop", "messages": "email", "contacts": "calls", "profiles": "crm"}
AS_OF = ["2026-02-05"]
PAGES = {
    "appetence": {"page": "appetence", "tiers": [{"tier": "hot"}], "audiences": []},
    "data": {"quality": []},
}


@pytest.fixture(scope="module")
def frames(world, table):
    """Facts of five sources, the files they came in, a model's scores and reports."""
    made = world(3, rows=300, nodes=14)
    for name, source in SOURCES.items():
        made[name] = made[name].assign(source=source)
    files = [(f"{source}0123456789abcdef", source, name, "f.csv", "c", 1, 1, 0, "r1")
             for name, source in SOURCES.items()]  # fmt: skip
    made["source_files"] = table(
        "content_hash source dataset file_name contract_hash records_in good quarantined run_id", files
    )
    made["scores"] = table(
        "person_id as_of model version score percentile decile decided_by reference_population",
        [("p", pd.Timestamp("2026-02-05"), "appetence", "1", 0.5, 50.0, 5, "rule", "all")],
    )
    made["reports"] = table(
        "model as_of name content", [("appetence", pd.Timestamp("2026-02-05"), "tiers", "[]"),
                                     ("data", pd.Timestamp("2026-02-05"), "quality", "[]")]
    )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def graph(frames, on):
    """Their lineage."""
    with on(frames) as engine:
        return governance.Lineage.read(engine, pages=PAGES)


@pytest.mark.req("GOV-08")
@pytest.mark.parametrize("source", sorted(SOURCES.values()))
def test_removing_a_source_changes_only_what_lists_it(frames, graph, on, source):
    """Without the facts of one source, every feature that moves has it in its lineage."""
    table = next(name for name, of in SOURCES.items() if of == source)
    built = {}
    for removed in (False, True):
        kept = dict(frames)
        if removed:
            kept[table] = frames[table].head(0)
        with on(kept) as engine:
            found = catalogue.standard().build(engine, as_of=AS_OF, population="all").to_pandas()
        built[removed] = found.set_index("person_id").sort_index()
    both = built[False].index.intersection(built[True].index)
    assert len(both) > 5
    changed = {
        name for name in catalogue.standard().names
        if not built[False].loc[both, name].astype("str").equals(built[True].loc[both, name].astype("str"))
    }  # fmt: skip
    listed = {thing.partition(":")[2] for thing in graph.downstream(f"source:{source}", "feature")}
    assert changed and changed <= listed < set(catalogue.standard().names)


def test_a_tile_goes_back_to_its_files(graph):
    """From the dashboard to the bytes, and from a file on to the tiles it reaches."""
    up = graph.upstream("tile:appetence/tiers")
    assert {"scores:appetence", "report:appetence/tiers", "table:features_standard"} <= set(up)
    assert "file:web/events/web012345678" in up and "column:orders.event_time" in up
    assert "tile:data/quality" in graph.downstream("file:crm/profiles/crm012345678", "tile")
    assert "report:data/quality" in graph.upstream("tile:data/quality")
    frame = graph.frame().set_index("thing")
    assert frame.loc["feature:rfm__n_orders__90d", ["sources", "files"]].tolist() == ["shop", 1]
    with pytest.raises(CdpkitError, match="must be in the lineage"):
        graph.upstream("tile:nothing")


def test_no_arrow_goes_round(graph):
    """Nothing comes from itself."""
    assert not [thing for thing in graph.things() if thing in graph.upstream(thing)]


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_column_is_documented_in_both_languages(frames, graph, on, language, tmp_path):
    """Meaning, class of personal data, time it is kept and sources, on a page in two forms."""
    with on(frames) as engine:
        found = governance.catalogue(engine, graph, language)
        text = governance.page(engine, language, lineage=graph)
        page = governance.page(engine, language, "html", lineage=graph)
    assert set(found["table"]) == set(TABLES) and found["meaning"].str.len().min() > 0
    assert found["retention_days"].gt(0).all()
    first = found.set_index(["table", "column"]).loc[("events", "category")]
    assert first[["pii", "sources"]].tolist() == ["none", "web"]
    for word in ("appetence/tiers", "rfm__n_orders__90d", "identifiers"):
        assert word in text and word in page
    assert f'lang="{language}"' in page and page.count("<table>") == page.count("</table>")
    own = tmp_path / "retention.toml"
    own.write_text("[identifier]\ndays = 30\n")
    assert governance.retention(own)["identifier"]["days"] == 30
    own.write_text("[unknown]\ndays = 30\n")
    with pytest.raises(CdpkitError, match="class of data"):
        governance.retention(own)
