"""Counting letters spares the reading of texts, and changes no answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit.identity.comparisons import comparisons
from cdpkit.identity.letters import Different
from cdpkit.identity.names import Names, names_agree
from cdpkit.identity.pairs import _Scale, opened
from cdpkit.identity.scoring import ScoringModel
from cdpkit.normalise import Keys, keys
from cdpkit.texts import arrow

FIELDS = ("first_name", "last_name", "birth_date", "national_id", "email", "phone", "street", "postcode")
WORDS = [
    "marie",
    "jean paul",
    "mohamed",
    "zoe",
    "al",
    "m",
    "олег",
    "müller",
    "anna",
    "hannah",
    "xx",
    "mariette",
]


def slipped(text: str, random: np.random.Generator) -> str:
    """Return the text after up to three slips of every kind."""
    for _ in range(int(random.integers(4))):
        at, new = int(random.integers(len(text))), "abe019-"[int(random.integers(7))]
        swap = text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]
        text = [
            text[:at] + text[at + 1 :],
            text[:at] + new + text[at:],
            text[:at] + new + text[at + 1 :],
            swap,
        ][int(random.integers(4))] or "a"
    return text


@pytest.fixture(scope="module")
def fields() -> dict[str, Keys]:
    """Return records of few values each, every value next to its slips."""
    random = np.random.default_rng(5)

    def drawn(values: list[str]) -> Keys:
        column = [None if random.random() < 0.05 else slipped(v, random) for v in random.choice(values, 160)]
        return keys(pd.Series(column), str)

    days = ["1980-03-04", "1980-01-01", "1998-12-31", "2000-01-01", "1980-04-03", "1962-10-10", "soon"]
    return {
        "first_name": drawn(WORDS),
        "last_name": drawn(WORDS),
        "birth_date": drawn(days),
        "national_id": drawn(["1800575123456", "2611199123"]),
        "email": drawn([f"{a}@{b}.fr" for a in ("marie.lou", "m-l", "zoé") for b in ("free", "orange")]),
        "phone": drawn(["+33612345678", "+33111111111"]),
        "street": drawn(["12 rue de la paix", "avenue foch", "1 impasse des lilas"]),
        "postcode": drawn(["75001", "69100"]),
    }


def test_a_pair_told_apart_by_its_letters_is_one_that_reading_tells_apart(fields: dict[str, Keys]) -> None:
    left, right = np.triu_indices(160, 1)
    different = Different(fields)
    spared = {}
    with opened() as connection:
        for one in comparisons(list(FIELDS)):
            for level in one["comparison_levels"]:
                level |= {"m_probability": 0.5, "u_probability": 0.1}
            model = ScoringModel(FIELDS, {"comparisons": [one]}, {}, 160)
            scale = _Scale.of(one, fields, model, standard=True)
            own = fields[scale.name].codes
            other = (own[left] >= 0) & (own[right] >= 0) & (own[left] != own[right])
            sure = different.sure(scale.name, left[other], right[other])
            read = scale._read(connection, left[other], right[other])
            assert (read[sure] == 0).all(), scale.name
            spared[scale.name] = sure.sum() / (read == 0).sum()
    assert min(spared.values()) > 0.1


def test_names_are_judged_together_as_one_by_one(fields: dict[str, Keys]) -> None:
    first, last = (arrow(fields[name].categories).fill_null("") for name in ("first_name", "last_name"))
    n = min(len(first), len(last))
    names = Names(np.arange(n), np.arange(n), first[:n], last[:n])
    a, b = np.triu_indices(n, 1)
    asked = [
        not names_agree((first[i].as_py(), last[i].as_py()), (first[j].as_py(), last[j].as_py()))
        for i, j in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert names.disagree(a, b).tolist() == asked
