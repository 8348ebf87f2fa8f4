"""Scored pairs: a Fellegi-Sunter model learned by Splink without labels, kept as versioned JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdpkit.errors import CdpkitError
from cdpkit.identity.comparisons import FREQUENCIES, OWN, comparisons, usable

FORMAT = 1
_SEED = 11
#: Pairs drawn to learn how often strangers agree, and pairs of one learning session.
_STRANGERS, _SESSION = 1_000_000, 1_000_000
#: A base smaller than this, or records with fewer comparable attributes, teach no model.
MIN_RECORDS, MIN_FIELDS = 200, 3
#: Pairs less likely than this, in log2 odds when every record has one match, are not kept.
_FLOOR = -8.0

# Pairs that agree on one set of attributes teach how the others agree in one person.
_SESSIONS = (
    ("national_id",),
    ("email",),
    ("phone",),
    ("birth_date",),
    ("first_name", "last_name"),
    ("street", "postcode"),
    ("last_name", "postcode"),
    ("first_name", "city"),
    ("last_name",),
    ("street",),
    ("postcode",),
    ("first_name",),
)


@dataclass(frozen=True)
class ScoringModel:
    """How much each degree of agreement says, learned from one base.

    Parameters
    ----------
    fields : tuple of str
        Attributes compared.
    settings : dict
        Model and settings as Splink writes them.
    frequencies : dict of str to dict of str to float
        Share of the base under each name, birth date and place; no identifier is among them.
    n_records : int
        Records it was learned from.
    """

    fields: tuple[str, ...]
    settings: dict[str, Any]
    frequencies: dict[str, dict[str, float]]
    n_records: int

    def save(self, path: str | Path) -> None:
        """Write the model as JSON."""
        content = {
            "format": FORMAT,
            "fields": list(self.fields),
            "n_records": self.n_records,
            "settings": self.settings,
            "frequencies": self.frequencies,
        }
        Path(path).write_text(json.dumps(content, ensure_ascii=False, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> ScoringModel:
        """Read a model.

        Raises
        ------
        CdpkitError
            When the file is of another format.
        """
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise CdpkitError(
                f"a scoring model must be of format {FORMAT}",
                got=str(content.get("format")),
                do="Learn it again: resolve(records, run_id=…).scoring.model.save(path)",
            )
        return cls(
            tuple(content["fields"]), content["settings"], content["frequencies"], content["n_records"]
        )


def possible(frame: pd.DataFrame) -> bool:
    """Tell whether a base can teach a model: Splink is there, enough records, enough attributes."""
    fields = usable(frame) if len(frame) >= MIN_RECORDS else []
    return len(fields) >= MIN_FIELDS and not set(OWN).isdisjoint(fields) and find_spec("splink") is not None


def fit(frame: pd.DataFrame) -> ScoringModel:
    """Learn a model from the records of a base, duplicates included, without labels.

    How often strangers agree comes from a seeded sample of pairs; how often two records of one person
    agree, from expectation maximisation over pairs that agree on other attributes (Fellegi and Sunter
    1969; Winkler 2000).

    Parameters
    ----------
    frame : DataFrame
        One row a record, columns among `cdpkit.identity.comparisons.FIELDS`.

    Returns
    -------
    ScoringModel
        The same for the same rows in the same order.
    """
    fields = usable(frame)
    frame = frame[fields]
    frequencies = {
        name: {str(k): float(v) for k, v in frame[name].value_counts(normalize=True).sort_index().items()}
        for name in FREQUENCIES
        if name in fields
    }
    with _linker(frame, _settings(fields), frequencies, len(frame)) as (linker, _):
        from splink import block_on

        linker.training.estimate_u_using_random_sampling(max_pairs=_STRANGERS, seed=_SEED)
        for columns in _sessions(frame):
            _learn(linker, block_on(*columns))
        settings = _plausible(linker.misc.save_model_to_json())
    return ScoringModel(tuple(fields), settings, frequencies, len(frame))


def score(model: ScoringModel, frame: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """Score the pairs of records that share a block.

    Parameters
    ----------
    model : ScoringModel
        What to score by.
    frame : DataFrame
        One row a record, numbered from 0.
    blocks : DataFrame
        A column of block numbers for each rule (see `cdpkit.identity.blocking.blocks`).

    Returns
    -------
    DataFrame
        ``left, right`` (row numbers), ``bayes`` (log2 of how much likelier the pair is in one person
        than among strangers), and for each comparison ``says_<name>`` (its part of it) and
        ``level_<name>`` (position of its level in the model; -1: missing). Hopeless pairs are left out.
    """
    frame = frame.reindex(columns=list(model.fields))
    prior = 1 / max(len(frame), 2)
    settings = model.settings | {"probability_two_random_records_match": prior}
    names = [c["output_column_name"] for c in settings["comparisons"]]
    empty = {"left": "int64", "right": "int64", "bayes": "float64"}
    if blocks.empty or not len(blocks.columns):
        says = {f"says_{name}": "float64" for name in names}
        levels = {f"level_{name}": "int64" for name in names}
        types = empty | says | levels
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})
    with _linker(frame, settings, model.frequencies, model.n_records) as (linker, connection):
        _pairs(connection, blocks)
        pairs = linker._db_api.register(connection.table("pairs"))
        linker.table_management.register_blocked_pairs_for_predict(pairs)
        found = linker.inference.predict(threshold_match_weight=_FLOOR, warning_mode="never")
        relation = found.as_duckdbpyrelation()
        given = set(relation.columns)
        columns = [
            'unique_id_l AS "left"',
            'unique_id_r AS "right"',
            f"match_weight - ({float(np.log2(prior / (1 - prior)))!r}) AS bayes",
        ]
        for name in names:
            frequency = [c for c in given if c == f"mw_tf_adj_{name}"]
            columns.append(f"{' + '.join([f'mw_{name}', *frequency])} AS says_{name}")
            columns.append(f"CAST(gamma_{name} AS INTEGER) AS level_{name}")
        return relation.project(", ".join(columns)).order('"left", "right"').df()


def _learn(linker: Any, rule: Any) -> None:
    """Run one session. Splink fails where a share reaches zero or one: then it stops some rounds earlier."""
    from splink.internals.exceptions import SplinkException

    whole = linker._settings_obj.training_settings
    for rounds in (whole.max_iterations, 8, 4, 2):
        linker._settings_obj.training_settings = replace(whole, max_iterations=rounds)
        before = linker._settings_obj.core_model_settings.copy()
        try:
            linker.training.estimate_parameters_using_expectation_maximisation(
                rule, estimate_without_term_frequencies=True, max_pairs=_SESSION
            )
            break
        except (ValueError, SplinkException):
            # The session had changed the model it was to teach.
            linker._settings_obj.core_model_settings = before
    linker._settings_obj.training_settings = whole


def _plausible(settings: dict[str, Any]) -> dict[str, Any]:
    """Hold what was learned of one person to what a person can be: agreeing with oneself, mostly.

    In a base without duplicates the learner finds namesakes and neighbours, and would call them persons.
    """
    for comparison in settings["comparisons"]:
        levels = [level for level in comparison["comparison_levels"] if not level.get("is_null_level")]
        m = np.array([level.get("m_probability") or 0.0 for level in levels])
        if m.sum() <= 0:
            continue
        least, most = _AGREEMENT.get(comparison["output_column_name"], (0.0, 0.5))
        m = m / m.sum()
        inner = m[1:-1].sum()
        first, last = max(m[0], least), min(m[-1], most)
        room = 1 - first - last
        if room < 0:
            last, room = 1 - first, 0.0
        elif inner <= 1e-9:
            first, room = 1 - last, 0.0
        m = np.array([first, *(m[1:-1] * (room / inner if inner > 1e-9 else 0.0)), last])
        for level, value in zip(levels, m, strict=True):
            if level.get("m_probability") is not None or value > 0:
                level["m_probability"] = float(max(value, _LEAST))
    return settings


#: Least share of equal and most of different values in one person, where a person has one.
_AGREEMENT = {
    "first_name": (0.25, 0.2),
    "last_name": (0.25, 0.2),
    "birth_date": (0.25, 0.2),
    "national_id": (0.25, 0.2),
}
_LEAST = 1e-5


def _settings(fields: list[str]) -> dict[str, Any]:
    return {
        "link_type": "dedupe_only",
        "unique_id_column_name": "unique_id",
        "sql_dialect": "duckdb",
        "probability_two_random_records_match": 1e-4,
        # Pairs are given, see `_pairs`; Splink wants a rule all the same.
        "blocking_rules_to_generate_predictions": ["l.unique_id = r.unique_id"],
        "comparisons": comparisons(fields),
        "retain_matching_columns": True,
        "retain_intermediate_calculation_columns": True,
        "max_iterations": 25,
        "em_convergence": 0.001,
    }


def _sessions(frame: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Yield the sessions that teach each attribute twice, where pairs enough agree."""
    taught = {str(name): 0 for name in frame}
    for columns in _SESSIONS:
        others = [str(name) for name in frame if name not in columns]
        if not set(columns) <= set(frame) or all(taught[name] >= 2 for name in others):
            continue
        sizes = frame.dropna(subset=list(columns)).groupby(list(columns)).size()
        if int((sizes * (sizes - 1) // 2).sum()) >= 50:
            taught |= {name: taught[name] + 1 for name in others}
            yield columns


@contextmanager
def _linker(
    frame: pd.DataFrame, settings: dict[str, Any], frequencies: dict[str, dict[str, float]], n: int
) -> Iterator[tuple[Any, Any]]:
    """Open a quiet Splink on a frame. One thread: sums in a fixed order, so the same input gives the same."""
    import duckdb
    from splink import DuckDBAPI, Linker

    connection = duckdb.connect(config={"threads": 1})
    logger = logging.getLogger("splink")
    level = logger.level
    try:
        connection.execute("SET enable_progress_bar = false")
        connection.register("given", frame.assign(unique_id=np.arange(len(frame))).astype(_text(frame)))
        connection.execute("CREATE TABLE records AS SELECT * FROM given ORDER BY unique_id")
        api = DuckDBAPI(connection=connection)
        linker = Linker(api.register(connection.table("records")), settings)
        logger.setLevel(logging.CRITICAL)
        for name, known in frequencies.items():
            table = pd.DataFrame(
                {
                    name: pd.Series(list(known), dtype="str"),
                    f"tf_{name}": pd.Series(list(known.values()), dtype=float),
                }
            )
            connection.register(f"known_{name}", table)
            # A value the model never saw is as rare as one seen once.
            connection.execute(
                f"CREATE TABLE tf_{name} AS SELECT v.{name}, COALESCE(k.tf_{name}, {1 / n!r}) AS tf_{name}"
                f" FROM (SELECT DISTINCT {name} FROM records WHERE {name} IS NOT NULL) AS v"
                f" LEFT JOIN known_{name} AS k USING ({name})"
            )
            linker.table_management.register_term_frequency_lookup(
                api.register(connection.table(f"tf_{name}")), name
            )
        yield linker, connection
    finally:
        logger.setLevel(level)
        connection.close()


def _text(frame: pd.DataFrame) -> dict[str, str]:
    return dict.fromkeys(frame.columns, "str")


def _pairs(connection: Any, blocks: pd.DataFrame) -> None:
    """Write the pairs of all blocks, each once, where Splink looks for them."""
    numbered = blocks.assign(unique_id=np.arange(len(blocks)))
    connection.register("blocks", numbered)
    parts = []
    for name in blocks.columns:
        connection.execute(
            f"CREATE TABLE in_{name} AS SELECT unique_id, {name} AS block FROM blocks WHERE {name} >= 0"
        )
        parts.append(
            f"SELECT l.unique_id AS join_key_l, r.unique_id AS join_key_r FROM in_{name} AS l"
            f" JOIN in_{name} AS r ON l.block = r.block AND l.unique_id < r.unique_id"
        )
    connection.execute(
        "CREATE TABLE pairs AS SELECT '0' AS match_key, join_key_l, join_key_r"
        f" FROM ({' UNION '.join(parts)}) ORDER BY join_key_l, join_key_r"
    )
