"""How much each degree of agreement says: a model, kept as versioned JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdpkit.errors import CdpkitError

FORMAT = 1


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

    @property
    def different(self) -> dict[str, float]:
        """Share of one person's records that differ outright, by comparison of a first name or birth date."""
        return {
            comparison["output_column_name"]: comparison["comparison_levels"][-1]["m_probability"]
            for comparison in self.settings["comparisons"]
            if comparison["output_column_name"] in ("first_name", "birth_date")
        }

    @property
    def emails(self) -> dict[int, float]:
        """Share of one person's records at each level of the e-mail comparison, from 0 (different) up."""
        return {
            k: level["m_probability"]
            for comparison in self.settings["comparisons"]
            if comparison["output_column_name"] == "email"
            for k, level in enumerate(reversed(comparison["comparison_levels"]))
            if not level.get("is_null_level")
        }

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
