"""A base resolved part by part is the base resolved whole; components by statements are the components."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError
from cdpkit.identity import Resolution, resolve, resolve_spread
from cdpkit.identity.contraction import contract
from cdpkit.identity.graph import components

DAY = pd.Timestamp("2025-01-01")


def messy(n: int = 400, seed: int = 2) -> pd.DataFrame:
    """Return records of few persons, in two rows where they changed: families, a hub, filler, cookies."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for k in range(n):
        person = int(random.integers(n // 3))
        last, home = f"duval{chr(97 + person // 2 % 20)}", person // 2
        first = ["anne", "louis", "louise", "marc", "zoé"][person % 5]
        row = {
            "source": ["crm", "web", "shop"][k % 3], "record_id": f"k{k}", "node_id": 1000 + 7 * k,
            "known_at": DAY + pd.Timedelta(hours=int(random.integers(2000))),
            "first_name": first, "last_name": last, "birth_date": f"{1950 + person % 50}-0{1 + person % 9}-12",
            "email": [f"{first}{person}@free.fr", f"maison{home}@sfr.fr", "magasin@enseigne.fr", "na"][
                int(random.choice(4, p=[0.5, 0.25, 0.2, 0.05]))
            ],
            "phone": f"06{home:08d}" if random.random() < 0.5 else "0600000000",
            "street": f"{home} rue haute", "postcode": f"{10000 + home}",
            "cookie_id": f"c{person}" if random.random() < 0.2 else None,
            "account_id": f"a{person}" if k % 3 == 1 else None, "may_link": bool(random.random() > 0.03),
        }  # fmt: skip
        for name in ("first_name", "birth_date", "email", "street", "account_id"):
            if random.random() < 0.3:
                row[name] = None
        rows.append(row)
        if random.random() < 0.2:
            later = row["known_at"] + pd.Timedelta(days=3)
            rows.append(row | {"known_at": later, "email": f"{first}{person}@new.fr", "street": None})
    return pd.DataFrame(rows)


def stored(resolution: Resolution) -> pd.DataFrame:
    """Return a membership as the lake holds it."""
    held = resolution.membership.merge(resolution.nodes, on=["source", "record_id"])
    return held[["node_id", "person_id", "known_from", "known_to"]]


def asked(records: pd.DataFrame) -> pd.DataFrame:
    """Return decisions on pairs of records."""
    who = records.drop_duplicates("record_id")[["source", "record_id"]].to_numpy()
    rows = [
        (kind, *who[a], *who[b], DAY + pd.Timedelta(days=200))
        for kind, a, b in (("must_link", 3, 90), ("cannot_link", 4, 61), ("must_link", 5, 120))
    ]
    names = ["kind", "left_source", "left_record_id", "right_source", "right_record_id", "decided_at"]
    return pd.DataFrame(rows, columns=names)


def compared(whole: Resolution, engine: Any, tables: dict[str, str], known: set[str]) -> None:
    """Assert that parts say what the whole says, but for the names of new persons."""

    def told(name: str) -> pd.DataFrame:
        return engine.query(f"SELECT * FROM {tables[name]}").to_pandas()

    there, here = told("membership"), whole.membership
    at = ["source", "record_id", "known_from"]
    both = here.merge(there, on=at, suffixes=("", "_there"), validate="one_to_one")
    assert len(both) == len(here) == len(there)
    assert both["known_to"].equals(both["known_to_there"].astype(both["known_to"].dtype))
    named = both[["person_id", "person_id_there"]].drop_duplicates()
    assert not named["person_id"].duplicated().any() and not named["person_id_there"].duplicated().any()
    old = named[named["person_id"].isin(known) | named["person_id_there"].isin(known)]
    assert (old["person_id"] == old["person_id_there"]).all()
    name = named.set_index("person_id_there")["person_id"]

    def in_order(frame: pd.DataFrame, columns: list[str]) -> list[tuple[str, ...]]:
        return sorted(map(tuple, frame[columns].astype("str").to_numpy()))

    links = [c for c in told("links").columns if c not in ("known_at", "run_id")]
    assert in_order(told("links"), links) == in_order(whole.links, links)
    golden = told("golden").assign(person_id=lambda rows: rows["person_id"].map(name))
    columns = ["person_id", "attribute", "value", "source", "record_id", "rule"]
    assert in_order(golden, columns) == in_order(whole.golden, columns)
    aliases = told("aliases").assign(person_id=lambda rows: rows["person_id"].map(lambda p: name.get(p, p)))
    kept = ["old_id", "person_id"]
    mine = whole.aliases[whole.aliases["old_id"].isin(known)]
    assert in_order(aliases[aliases["old_id"].isin(known)], kept) == in_order(mine, kept)
    counts = [
        frame["event"].value_counts().to_dict() for frame in (told("person_events"), whole.person_events)
    ]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("parts", [1, 7])
def test_parts_say_what_the_whole_says(parts: int) -> None:
    records = messy()
    whole = resolve(records, run_id="r1", scoring=False)
    assert 1 < whole.persons["n_nodes"].max() < 60
    with DuckDBEngine(frames={"said": records}) as engine:
        found = resolve_spread(engine, "said", run_id="r1", parts=parts)
        assert "magasin@enseigne.fr" in set(found.set_aside["value"])
        compared(whole, engine, found.tables, set())


def test_parts_continue_a_state_with_its_ids_its_decisions_and_what_is_gone() -> None:
    records = messy()
    early = records[records["known_at"] < DAY + pd.Timedelta(days=55)]
    before = resolve(early, run_id="r1", scoring=False)
    gone = set(before.nodes["record_id"].head(6))
    later = records[~records["record_id"].isin(gone)]
    whole = resolve(later, before, asked(records), run_id="r2", scoring=False)
    assert len(whole.aliases) > 0
    with DuckDBEngine(frames={"said": later, "held": stored(before)}) as engine:
        found = resolve_spread(
            engine,
            "said",
            run_id="r2",
            membership="held",
            aliases=before.aliases,
            decisions=asked(records),
            parts=5,
        )
        compared(whole, engine, found.tables, set(before.membership["person_id"]))


def alike(n: int = 140) -> pd.DataFrame:
    """Return records with slips in every key, that only scored pairs bring together."""
    known = runpy.run_path(str(Path(__file__).with_name("test_identity_scoring.py")))
    records = known["base"](n).drop(columns="person").sample(frac=1, random_state=4, ignore_index=True)
    return records.assign(node_id=np.arange(len(records)) * 3 + 10)


def apart_and_together(records: pd.DataFrame, whole: Resolution) -> pd.DataFrame:
    """Return decisions: one scored link refused, and two strangers joined."""
    link = whole.links[(whole.links["rule"] == "scored") & (whole.links["state"] == "used")].iloc[0]
    ends = ["left_source", "left_record_id", "right_source", "right_record_id"]
    a, b = records.iloc[0], records.iloc[1]
    rows = [
        ("cannot_link", *link[ends], DAY),
        ("must_link", a["source"], a["record_id"], b["source"], b["record_id"], DAY),
    ]
    return pd.DataFrame(rows, columns=["kind", *ends, "decided_at"])


def test_parts_score_the_pairs_that_the_whole_scores() -> None:
    records = alike()
    learned = resolve(records, run_id="r0").scoring
    assert learned is not None
    before = resolve(records.iloc[20:], run_id="r1", scoring=learned.model)
    decisions = apart_and_together(records, before)
    whole = resolve(records, before, decisions, run_id="r2", scoring=learned.model)
    assert (whole.links["rule"] == "scored").sum() > 20
    with DuckDBEngine(frames={"said": records, "held": stored(before)}) as engine:
        found = resolve_spread(
            engine, "said", run_id="r2", membership="held", aliases=before.aliases, decisions=decisions,
            scoring=learned.model, parts=4,
        )  # fmt: skip
        compared(whole, engine, found.tables, set(before.membership["person_id"]))


def test_an_identical_run_in_parts_gives_no_event() -> None:
    records = messy(150)
    whole = resolve(records, run_id="r1", scoring=False)
    with DuckDBEngine(frames={"said": records, "held": stored(whole)}) as engine:
        found = resolve_spread(engine, "said", run_id="r2", membership="held", parts=3)
        assert engine.query(f"SELECT * FROM {found.tables['person_events']}").to_arrow().num_rows == 0


def test_a_component_that_no_worker_can_hold_is_refused() -> None:
    with DuckDBEngine(frames={"said": messy(150)}) as engine, pytest.raises(CdpkitError, match="at most"):
        resolve_spread(engine, "said", run_id="r1", most=2)


@pytest.mark.parametrize("seed", range(3))
def test_contraction_finds_the_components_of_any_graph(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = 3000
    chain = np.arange(2000)
    left = np.append(chain[:-1], random.integers(2000, n, 700))
    right = np.append(chain[1:], random.integers(2000, n, 700))
    names = random.permutation(n) - 50
    frames = {
        "nodes_": pd.DataFrame({"node": names}),
        "pairs_": pd.DataFrame({"l": names[left], "r": names[right]}),
    }
    with DuckDBEngine(frames=frames) as engine:
        rounds = contract(engine, "nodes_", "pairs_", "groups_", seed, here=[0, 0, 500][seed])
        found = engine.query("SELECT * FROM groups_").to_pandas().set_index("node")["component"]
    labels = components(n, left, right)
    least = pd.Series(names).groupby(labels).transform("min")
    assert found.loc[names].tolist() == least.tolist()
    assert 0 < rounds < 40
