"""People who look like one, and bases that grow: few columns, families, twins, namesakes; chunks, any order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.identity import Resolution, ScoringModel, agreement, pairs, resolve
from cdpkit.normalise import Keys

# Names a family mixes up: many differ by an ending, some by one letter.
FIRST = [
    "marie",
    "marion",
    "martine",
    "mireille",
    "jean",
    "jeanne",
    "jeannine",
    "louis",
    "louise",
    "lucien",
    "lucie",
    "paul",
    "paule",
    "pauline",
    "pierre",
    "pierrette",
    "andre",
    "andrea",
    "simon",
    "simone",
    "michel",
    "micheline",
    "denis",
    "claude",
    "claudine",
    "emile",
    "emilie",
    "julien",
    "julie",
    "juliette",
    "henri",
    "yves",
    "yvette",
    "noel",
    "gabriel",
    "gabrielle",
    "daniel",
    "danielle",
    "raphael",
    "joel",
    "leon",
    "leonie",
    "lea",
    "nina",
    "emma",
]
LAST = [a + b for a in ("mar", "ber", "dur", "lef", "gir", "rou", "fon", "chev", "gar", "bon")
        for b in ("tin", "nard", "and", "ebvre", "oux", "taine", "alier", "eau")]  # fmt: skip


def slip(text: str, random: np.random.Generator) -> str:
    at = int(random.integers(1, len(text) - 1))
    return text[:at] + "xqzk"[int(random.integers(4))] + text[at + 1 :]


def day(random: np.random.Generator) -> str:
    return f"{1935 + int(random.integers(70))}-{1 + int(random.integers(12)):02}-{2 + int(random.integers(26)):02}"


def again(people: list[dict], random: np.random.Generator, share: float) -> pd.DataFrame:
    """Write some people down twice, with slips."""
    rows = []
    for person, row in enumerate(people):
        rows.append(row | {"person": person})
        if random.random() < share:
            wrong = {
                k: slip(v, random) for k, v in row.items() if k != "birth_date" and random.random() < 0.2
            }
            rows.append(row | wrong | {"person": person})
    return pd.DataFrame(rows).assign(source="s", record_id=[f"r{i}" for i in range(len(rows))])


def families(n: int = 500, share: float = 0.3, seed: int = 2) -> pd.DataFrame:
    """Return homes of one to five: one name and address, names alike, twins, sons named after fathers."""
    random = np.random.default_rng(seed)
    people: list[dict] = []
    for _ in range(n):
        home = {"last_name": str(random.choice(LAST)), "postcode": f"{int(random.integers(10, 95))}100",
                "street": f"{1 + int(random.integers(150))} rue {random.choice(LAST)}"}  # fmt: skip
        names = random.choice(FIRST, 1 + int(random.integers(5)), replace=False).tolist()
        if len(names) > 2 and random.random() < 0.15:
            names[2] = names[0]
        days = [day(random) for _ in names]
        if len(names) > 3 and random.random() < 0.25:
            days[3] = days[2]
        people += [home | {"first_name": f, "birth_date": d} for f, d in zip(names, days, strict=True)]
    return again(people, random, share)


def regional(n: int = 1500, share: float = 0.3, seed: int = 1) -> pd.DataFrame:
    """Return three columns in which each last name goes with three first names."""
    random = np.random.default_rng(seed)
    typical = {last: random.choice(FIRST, 3, replace=False) for last in LAST[:40]}
    people = []
    for _ in range(n):
        last = str(random.choice(LAST[:40]))
        first = str(random.choice(typical[last] if random.random() < 0.9 else FIRST))
        people.append({"first_name": first, "last_name": last, "birth_date": day(random)})
    return again(people, random, share)


def found(records: pd.DataFrame, **asked: object) -> tuple[Resolution, dict[str, float]]:
    out = resolve(records.drop(columns="person"), run_id="r1", **asked)  # type: ignore[arg-type]
    both = out.as_of().merge(records[["source", "record_id", "person"]])
    return out, agreement(both["person_id"], both["person"])


def coincidences(records: pd.DataFrame) -> int:
    """Count the people whom every column takes for an earlier one."""
    told = ["last_name", "birth_date", *(c for c in ("street",) if c in records)]
    return int(records.duplicated([*told, "first_name"]).sum())


def test_families_twins_and_namesakes_at_home_stay_apart() -> None:
    """One name, one address, names alike, a birth date in common: relatives are not one person."""
    out, scores = found(families())
    assert scores["pair_precision"] >= 0.93 and scores["pair_recall"] >= 0.95 and scores["largest"] <= 6
    assert out.scoring is not None
    kinds = out.scoring.totals
    assert kinds["households"] > 5 * kinds["twins"] > 0 and kinds["named alike at home"] > 0


def test_where_first_names_go_with_last_names_namesakes_stay_apart() -> None:
    """Two names that come together in a region say less than the two of them apart."""
    out, scores = found(regional())
    assert scores["pair_precision"] >= 0.9 and scores["pair_recall"] >= 0.6 and scores["largest"] <= 5
    assert out.scoring is not None and out.scoring.totals["namesakes"] > out.scoring.totals["persons"]


@pytest.mark.parametrize("base", [families, regional])
def test_lookalikes_without_duplicates_are_not_merged(base) -> None:
    """Nobody is there twice: nobody is joined, but for those whom chance made alike in every column."""
    records = base(share=0.0)
    out, _ = found(records, scoring=True)
    assert len(records) - len(out.persons) <= coincidences(records) + 1


@pytest.mark.parametrize(
    "columns",
    [["first_name", "last_name", "birth_date"], ["first_name", "last_name", "postcode"], ["last_name", "birth_date", "street"]],
)  # fmt: skip
def test_three_columns_are_enough_and_do_not_join_everybody(columns: list[str]) -> None:
    """Few columns: few are found, and those that are found are right more often than not."""
    records = families(share=0.4, seed=5)
    _, scores = found(records[[*columns, "person", "source", "record_id"]])
    assert scores["b3_precision"] >= 0.9 and scores["largest"] <= 8


# Growing bases

BASE = families(160, share=0.5, seed=9)


@pytest.fixture(scope="module")
def whole() -> Resolution:
    return resolve(BASE.drop(columns="person"), run_id="r1", scoring=True)


def partition(out: Resolution) -> set[frozenset[str]]:
    return {frozenset(ids) for _, ids in out.as_of().groupby("person_id")["record_id"]}


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, len(BASE) - 1), max_size=3), st.integers(0, 2**32 - 1))
def test_any_order_and_chunking_gives_one_partition(whole: Resolution, cuts: list[int], seed: int) -> None:
    """Under one model a base that came in pieces is the base that came at once; a last look changes nothing."""
    assert whole.scoring is not None
    rows = BASE.drop(columns="person").sample(frac=1, random_state=np.random.default_rng(seed))
    out: Resolution | None = None
    for k, end in enumerate([*sorted(set(cuts)), len(rows)]):
        out = resolve(rows.iloc[:end], out, run_id=f"c{k}", scoring=whole.scoring.model)
    assert out is not None
    assert partition(out) == partition(whole)
    same = resolve(rows, out, run_id="again")
    assert same.person_events.empty
    pd.testing.assert_frame_equal(same.membership, out.membership)


def test_a_new_record_is_compared_with_its_blocks_and_nothing_else(
    whole: Resolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier run compared is remembered, unless a record says something else than it did."""
    read: list[int] = []
    levels = pairs._Scale._read

    def counted(scale: pairs._Scale, connection: object, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        read.append(len(left))
        return levels(scale, connection, left, right)

    monkeypatch.setattr(pairs._Scale, "_read", counted)
    records = BASE.drop(columns="person")
    assert whole.scoring is not None
    resolve(records, run_id="r2", scoring=whole.scoring.model)
    everything = sum(read)
    read.clear()
    resolve(records, whole, run_id="r2")
    assert sum(read) == 0
    changed = records.copy()
    changed.loc[0, "street"] = "77 quai des brumes"
    news = pd.DataFrame([BASE.iloc[3].drop("person").to_dict() | {"record_id": "new", "first_name": "mxrie"}])
    grown = resolve(pd.concat([changed, news], ignore_index=True), whole, run_id="r3")
    assert 0 < sum(read) < everything / 10
    bulk = resolve(pd.concat([changed, news], ignore_index=True), run_id="r4", scoring=whole.scoring.model)
    assert partition(grown) == partition(bulk)


def test_ten_percent_more_records_leave_ids_alone_and_lost_ones_resolve() -> None:
    """Nine tenths, then all: 99 % of the persons keep their id; every id that went leads to a present one."""
    records = families(700, share=0.6, seed=4).drop(columns="person")
    order = np.random.default_rng(0).permutation(len(records))
    first = resolve(records.iloc[order[: int(0.9 * len(order))]], run_id="r1")
    grown = resolve(records, first, run_id="r2")
    before, now = set(first.persons["person_id"]), set(grown.persons["person_id"])
    assert len(before & now) >= 0.99 * len(before)
    alias = dict(zip(grown.aliases["old_id"], grown.aliases["person_id"], strict=True))
    assert all(alias[lost] in now for lost in before - now)


def test_pairs_given_up_early_are_those_that_everything_compared_would_give_up(whole: Resolution) -> None:
    """Scores are the model's own sums, pair by pair, and no pair of hope is dropped on the way."""
    assert whole.scoring is not None
    model, compared = whole.scoring.model, whole.scoring.compared
    n = len(next(iter(compared.fields.values())).codes)
    fast, _ = pairs.score(model, compared.fields, n, compared.left, compared.right)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs._Scale, "most", lambda scale: 1e6)
        slow, all_of_it = pairs.score(model, compared.fields, n, compared.left, compared.right)
    assert (all_of_it.levels > -2).all() and len(fast) < len(compared.left)
    pd.testing.assert_frame_equal(fast, slow)


def test_scores_are_those_of_the_engine(whole: Resolution) -> None:
    """The same model in Splink gives each pair the same weight, frequencies of names included."""
    splink = pytest.importorskip("splink")
    import duckdb

    assert whole.scoring is not None
    model, compared = whole.scoring.model, whole.scoring.compared
    fields: dict[str, Keys] = compared.fields
    n = len(next(iter(fields.values())).codes)
    ours, _ = pairs.score(model, fields, n, compared.left, compared.right)
    ours = ours.head(400)
    frame = pd.DataFrame({name: pd.Series(list(key), dtype="str") for name, key in fields.items()})
    connection = duckdb.connect()
    connection.register("given", frame.assign(unique_id=np.arange(n)))
    connection.execute("CREATE TABLE records AS SELECT * FROM given")
    api = splink.DuckDBAPI(connection=connection)
    even = model.settings | {
        "probability_two_random_records_match": 0.5,
        "retain_intermediate_calculation_columns": True,
    }
    linker = splink.Linker(api.register(connection.table("records")), even)
    for name, shares in model.frequencies.items():
        table = pd.DataFrame({name: list(shares), f"tf_{name}": list(shares.values())})
        connection.register(f"known_{name}", table)
        connection.execute(
            f"CREATE TABLE tf_{name} AS SELECT v.{name}, COALESCE(k.tf_{name}, {1 / model.n_records!r}) AS tf_{name}"
            f" FROM (SELECT DISTINCT {name} FROM records WHERE {name} IS NOT NULL) AS v"
            f" LEFT JOIN known_{name} AS k USING ({name})"
        )
        linker.table_management.register_term_frequency_lookup(
            api.register(connection.table(f"tf_{name}")), name
        )
    given = pd.DataFrame({"match_key": "0", "join_key_l": ours["left"], "join_key_r": ours["right"]})
    connection.register("wanted", given)
    connection.execute("CREATE TABLE pairs AS SELECT * FROM wanted")
    linker.table_management.register_blocked_pairs_for_predict(api.register(connection.table("pairs")))
    theirs = (
        linker.inference.predict(threshold_match_weight=-500, warning_mode="never").as_duckdbpyrelation().df()
    )
    both = ours.merge(theirs, left_on=["left", "right"], right_on=["unique_id_l", "unique_id_r"])
    assert len(both) == len(ours) > 100
    np.testing.assert_allclose(both["bayes"], both["match_weight"], atol=1e-6)


def test_a_model_of_few_columns_scores_a_base_of_more(whole: Resolution) -> None:
    """A saved model reads the attributes it learned, whatever else there is or is missing."""
    assert whole.scoring is not None
    model: ScoringModel = whole.scoring.model
    records = BASE.drop(columns=["person", "street"]).assign(email=[f"e{i}@x.fr" for i in range(len(BASE))])
    assert len(resolve(records, run_id="r1", scoring=model).persons) <= len(records)
