"""What a base teaches about agreement: a Fellegi-Sunter model learned by Splink without labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from cdpkit import texts
from cdpkit.identity.comparisons import OWN, comparisons, frequencies, usable
from cdpkit.identity.pairs import opened
from cdpkit.identity.scoring import ScoringModel
from cdpkit.normalise import Keys

SEED = 11
#: Pairs drawn to learn how often strangers agree, and pairs of one learning session.
_STRANGERS, _SESSION = 300_000, 300_000
#: A base smaller than this, or records with fewer comparable attributes, teach no model.
MIN_RECORDS, MIN_FIELDS = 200, 3
#: Records that teach; of a larger base, a sample.
MAX_RECORDS = 100_000
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


def possible(fields: Mapping[str, Keys], n: int) -> bool:
    """Tell whether a base can teach a model: Splink is there, enough records, enough attributes."""
    names = usable(fields, n) if n >= MIN_RECORDS else []
    return len(names) >= MIN_FIELDS and not set(OWN).isdisjoint(names) and find_spec("splink") is not None


def fit(every: Mapping[str, Keys], n: int, sample: np.ndarray) -> ScoringModel:
    """Learn a model from records of a base, duplicates included, without labels.

    How often strangers agree comes from a seeded sample of pairs; how often two records of one person
    agree, from expectation maximisation over pairs that agree on other attributes (Fellegi and Sunter
    1969; Winkler 2000).

    Parameters
    ----------
    every : mapping of str to Keys
        Fields of the records, among `cdpkit.identity.comparisons.FIELDS`.
    n : int
        Number of records.
    sample : ndarray of int
        Records to learn from; how usual a value is, all of them teach.

    Returns
    -------
    ScoringModel
        The same for the same rows in the same order.
    """
    fields = usable(every, n)
    frame = pd.DataFrame(
        {
            name: texts.chosen(texts.arrow(every[name].categories), every[name].codes[sample])
            for name in fields
        }
    )
    with _linker(frame, fields) as linker:
        from splink import block_on

        linker.training.estimate_u_using_random_sampling(max_pairs=_STRANGERS, seed=SEED)
        for columns in _sessions(frame):
            _learn(linker, block_on(*columns))
        learned = linker.misc.save_model_to_json()["comparisons"]
    settings = _settings(fields)
    for comparison, taught in zip(settings["comparisons"], learned, strict=True):
        levels = zip(comparison["comparison_levels"], taught["comparison_levels"], strict=True)
        for level, found in levels:
            if not level.get("is_null_level"):
                level["m_probability"] = found.get("m_probability")
                level["u_probability"] = found.get("u_probability")
    known = frequencies({name: every[name] for name in fields})
    return ScoringModel(tuple(fields), _complete(_plausible(settings), len(frame)), known, n)


def _complete(settings: dict[str, Any], n: int) -> dict[str, Any]:
    """Say little of a degree of agreement that no pair showed."""
    unseen = 0.5 / min(_STRANGERS, n * (n - 1) / 2)
    for comparison in settings["comparisons"]:
        for level in comparison["comparison_levels"]:
            if not level.get("is_null_level"):
                level["u_probability"] = level["u_probability"] or unseen
                level["m_probability"] = level["m_probability"] or min(level["u_probability"], _UNTAUGHT)
    return settings


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
    "national_id": (0.25, 0.1),
}
_LEAST = 1e-5
#: Most of one person under a degree of agreement that no pair of one person showed.
_UNTAUGHT = 0.01


def _settings(fields: list[str]) -> dict[str, Any]:
    return {
        "link_type": "dedupe_only",
        "unique_id_column_name": "unique_id",
        "sql_dialect": "duckdb",
        "probability_two_random_records_match": 1e-4,
        # No pair is predicted here; Splink wants a rule all the same.
        "blocking_rules_to_generate_predictions": ["l.unique_id = r.unique_id"],
        "comparisons": comparisons(fields),
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
def _linker(frame: pd.DataFrame, fields: list[str]) -> Iterator[Any]:
    """Open a quiet Splink on a frame. The frequency of values counts when pairs are scored, not here."""
    from splink import DuckDBAPI, Linker

    settings = _settings(fields)
    for comparison in settings["comparisons"]:
        for level in comparison["comparison_levels"]:
            level.pop("tf_adjustment_column", None)
            level.pop("tf_adjustment_weight", None)
    logger = logging.getLogger("splink")
    level = logger.level
    with opened() as connection:
        try:
            connection.register("given", frame.assign(unique_id=np.arange(len(frame))))
            connection.execute("CREATE TABLE records AS SELECT * FROM given ORDER BY unique_id")
            api = DuckDBAPI(connection=connection)
            linker = Linker(api.register(connection.table("records")), settings)
            logger.setLevel(logging.CRITICAL)
            yield linker
        finally:
            logger.setLevel(level)
