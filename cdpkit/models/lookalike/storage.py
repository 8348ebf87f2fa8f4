"""A lookalike on disk: JSON, XGBoost's JSON and arrays; who the people are only when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import CdpkitError
from cdpkit.models.baseline import Verdict
from cdpkit.models.frame import Columns
from cdpkit.models.lookalike.parts import PARTS
from cdpkit.models.state import read_json, write_json

if TYPE_CHECKING:
    from cdpkit.models.lookalike.estimator import Lookalike


def save(model: Lookalike, folder: str | Path, people: bool) -> Path:
    """Write the state into a folder: see `Lookalike.save`."""
    check_is_fitted(model, "parts_")
    if model.random_state is not None and not isinstance(model.random_state, int | np.integer):
        raise CdpkitError("`random_state` must be a number or None to be saved", got="a generator")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "format": "lookalike",
        "parameters": model.get_params(),
        "columns": model.columns_.to_dict(),
        "parts": [part.save(folder) for part in model.parts_],  # type: ignore[attr-defined]
        "choice": model.choice_,
        "verdict": model.verdict_.to_dict(),
        "validation": model.validation_,
        "quality": model.quality_,
        "traits": model.traits_,
        "prior": model.prior_,
        "others": model.others_,
        "middle": model.middle_,
        "people": people,
    }
    for name in ("above_", "quantiles_", "origin_", "axes_", "column_weight_"):
        np.save(folder / f"{name}.npy", getattr(model, name), allow_pickle=False)
    np.save(folder / "scales_.npy", np.array(model.scales_), allow_pickle=False)
    if people and model.people_ is not None:
        np.save(folder / "space_.npy", model.space_, allow_pickle=False)
        who = pd.DataFrame({"person": model.people_, "is_seed": model.is_seed_})
        who.to_parquet(folder / "people.parquet", index=False)
    write_json(folder / "lookalike.json", content)
    return folder


def load(cls: type[Lookalike], folder: str | Path) -> Lookalike:
    """Read back what `save` wrote: see `Lookalike.load`."""
    folder = Path(folder)
    content = read_json(folder / "lookalike.json", "lookalike")
    model = cls(**content["parameters"])
    model.columns_ = Columns.from_dict(content["columns"])
    model.parts_ = [
        PARTS[part["kind"]].load(part, model.columns_, folder, model.n_jobs) for part in content["parts"]
    ]
    model.choice_, model.verdict_ = content["choice"], Verdict(**content["verdict"])
    for name in ("validation", "quality", "traits"):
        setattr(model, f"{name}_", pd.DataFrame(content[name]))
    model.prior_, model.others_, model.middle_ = (content[k] for k in ("prior", "others", "middle"))
    for name in ("above_", "quantiles_", "origin_", "axes_", "column_weight_"):
        setattr(model, name, np.load(folder / f"{name}.npy", allow_pickle=False))
    scales = np.load(folder / "scales_.npy", allow_pickle=False)
    model.scales_ = [(float(centre), float(spread)) for centre, spread in scales]
    model.people_, model.is_seed_, model._twins = None, np.zeros(0, dtype=bool), None
    if content["people"]:
        who = pd.read_parquet(folder / "people.parquet")
        model.people_, model.is_seed_ = pd.Index(who["person"]), who["is_seed"].to_numpy()
        model.space_ = np.load(folder / "space_.npy", allow_pickle=False)
    return model
