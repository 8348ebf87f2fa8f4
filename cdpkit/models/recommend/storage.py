"""A recommender on disk: JSON, arrays and Parquet; histories only when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.utils.validation import check_is_fitted

from cdpkit.models.baseline import Verdict
from cdpkit.models.recommend.interactions import Interactions
from cdpkit.models.recommend.parts import Parts
from cdpkit.models.state import read_json, write_json

if TYPE_CHECKING:
    from cdpkit.models.recommend.estimator import Recommender


def save(model: Recommender, folder: str | Path, people: bool) -> Path:
    """Write the state into a folder: see `Recommender.save`."""
    check_is_fitted(model, "parts_")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weight, sparse = model.parts_.weight, hasattr(model.parts_.weight, "indptr")
    arrays = {"popular": model.parts_.popular}
    arrays |= {n: getattr(weight, n) for n in ("data", "indices", "indptr")} if sparse else {"weight": weight}
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values, allow_pickle=False)
    model.rules_.to_parquet(folder / "rules.parquet", index=False)
    pd.DataFrame({"product_id": model.products_}).to_parquet(folder / "products.parquet", index=False)
    if people and model.seen_ is not None:
        s = model.seen_
        pd.DataFrame(
            {"person_id": s.persons[s.person], "product_id": s.products[s.product], "ts": s.ts,
             "quantity": s.quantity, "basket_id": s.basket}
        ).to_parquet(folder / "history.parquet", index=False)  # fmt: skip
    content = {
        "format": "recommender",
        "parameters": model.get_params(),
        "weights": model.weights_,
        "half_life": model.half_life_,
        "verdicts": {task: v.to_dict() | {"se": min(v.se, 1e300)} for task, v in model.verdicts_.items()},
        "validation": model.validation_,
        "as_of": model.as_of_.isoformat(),
        "sparse": sparse,
        "people": people,
    }
    write_json(folder / "recommender.json", content)
    return folder


def load(cls: type[Recommender], folder: str | Path) -> Recommender:
    """Read back what `save` wrote: see `Recommender.load`."""
    folder = Path(folder)
    content = read_json(folder / "recommender.json", "recommender")
    model = cls(**content["parameters"])
    model.weights_, model.half_life_ = content["weights"], content["half_life"]
    model.verdicts_ = {task: Verdict(**v) for task, v in content["verdicts"].items()}
    model.validation_ = pd.DataFrame(content["validation"])
    model.as_of_ = pd.Timestamp(content["as_of"])
    model.rules_ = pd.read_parquet(folder / "rules.parquet")
    model.products_ = pd.Index(pd.read_parquet(folder / "products.parquet")["product_id"])
    n, names = len(model.products_), ("data", "indices", "indptr") if content["sparse"] else ("weight",)
    arrays = [np.load(folder / f"{name}.npy", allow_pickle=False) for name in names]
    weight = csr_matrix(tuple(arrays), shape=(n, n)) if content["sparse"] else arrays[0]
    popular = np.load(folder / "popular.npy", allow_pickle=False)
    now = np.datetime64(model.as_of_.as_unit("us"))
    model.parts_ = Parts(model.products_, now, popular, model.popular_days, weight, model.rules_)
    model.seen_ = None
    if content["people"]:
        model.seen_ = Interactions.of(pd.read_parquet(folder / "history.parquet")).on(model.products_)
    return model
