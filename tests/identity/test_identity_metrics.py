"""Agreement with the truth, on cases that can be counted by hand and on a public set."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpkit.identity import agreement, audit, resolve

LABELS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=15)


@given(LABELS)
def test_figures_equal_their_definitions(labels: list[tuple[int, int]]) -> None:
    """Pairs and B-cubed are what counting every pair and every record gives."""
    found, truth = zip(*labels, strict=True)
    got = agreement(found, truth)
    pairs = list(itertools.combinations(labels, 2))
    both = sum(a[0] == b[0] and a[1] == b[1] for a, b in pairs)
    claimed, real = sum(a[0] == b[0] for a, b in pairs), sum(a[1] == b[1] for a, b in pairs)
    assert got["pair_precision"] == pytest.approx(both / claimed if claimed else 1)
    assert got["pair_recall"] == pytest.approx(both / real if real else 1)
    shares = [sum(b == a for b in labels) / sum(b[0] == a[0] for b in labels) for a in labels]
    assert got["b3_precision"] == pytest.approx(sum(shares) / len(labels))

    def clusters(side: int) -> set[frozenset[int]]:
        return {frozenset(i for i, x in enumerate(labels) if x[side] == v) for v in {x[side] for x in labels}}

    assert got["exact"] == pytest.approx(len(clusters(0) & clusters(1)) / len(clusters(1)))


def febrl(shared_data, *names: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    parts = [
        pd.read_csv(shared_data(f"febrl/{name}.csv.gz"), skipinitialspace=True, dtype=str).assign(source=name)
        for name in names
    ]
    raw = pd.concat(parts, ignore_index=True).rename(
        columns={"rec_id": "record_id", "given_name": "first_name", "surname": "last_name", "date_of_birth": "birth_date",
                 "soc_sec_id": "national_id", "suburb": "city"}
    )  # fmt: skip
    raw["street"] = raw["street_number"].str.cat(raw["address_1"], sep=" ")
    truth = raw[["source", "record_id"]].assign(person=raw["record_id"].str.extract(r"rec-(\d+)-")[0])
    columns = [
        "source",
        "record_id",
        "first_name",
        "last_name",
        "birth_date",
        "national_id",
        "street",
        "postcode",
        "city",
    ]
    return raw[columns], truth


@pytest.mark.req("IDN-01")
def test_exact_keys_find_most_of_febrl_and_nothing_false(shared_data) -> None:
    """On FEBRL 4 exact keys are sure of what they join; scored pairs are for the rest."""
    records, truth = febrl(shared_data, "febrl4a", "febrl4b")
    got = audit(resolve(records, run_id="r1"), truth)["agreement"].set_index("name")["value"]
    assert got["pair_precision"] >= 0.999
    assert got["pair_recall"] >= 0.8
    assert got["b3_f1"] >= 0.95
    assert got["largest"] <= 2
