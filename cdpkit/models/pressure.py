"""PressureModel: what one more message brings, and costs, to people already written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import FaultsError, NotEnoughDataError
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]

#: Days tried, after which a message weighs 1/e.
LIVES = (3.0, 7.0, 14.0, 28.0)

#: Standard errors from which an effect of pressure is taken as real; the best of the lives is tested.
SURE = 2.7

#: Reactions, or unsubscriptions, under which an effect is never sure: a few events have errors too small.
LEAST_EVENTS = 30

#: Messages in four weeks among which the cap is chosen.
CAPS = np.arange(0, 29)


def stock(person: ArrayLike, sent_at: ArrayLike, days: float) -> Array:
    """Return the weight of earlier messages at each message: Σ exp(−age / days), itself left out.

    Examples
    --------
    >>> stock(["a", "a", "b"], pd.to_datetime(["2026-01-01", "2026-01-08", "2026-01-08"]), 7.0).round(3)
    array([0.   , 0.368, 0.   ])
    """
    at = pd.Series(pd.to_datetime(np.asarray(sent_at))).astype("datetime64[us]").astype("int64").to_numpy()
    code = pd.factorize(np.asarray(person), sort=True)[0]
    order = np.lexsort((at, code))
    told, left, before = np.zeros(len(at)), 0.0, -1
    for k, row in enumerate(order):
        if code[row] != before:
            left, before = 0.0, code[row]
        else:
            left = (left + 1) * np.exp(-(at[row] - at[order[k - 1]]) / (86_400e6 * days))
        told[row] = left
    return told


class PressureModel(BaseEstimator):
    """Learn how reactions fall and departures rise with the messages of the last days.

    Pressure is a stock that each message adds to and time wears. Reactions, and unsubscriptions (which end
    everything that could follow), are logistic in the stock. People written to more are often those who react
    more: the effects are told as they look, and held against what decided the sending. A cap is recommended
    only where an effect, so held, is surely bad.

    Parameters
    ----------
    value : float
        Worth of a reaction.
    loss : float
        Loss of an unsubscription, in the same unit.
    min_messages : int
        Messages under which `fit` declines.

    Attributes
    ----------
    days_ : float
        Days after which a message weighs 1/e.
    effects_ : DataFrame
        ``outcome, adjusted, effect, se, sure``: log-odds a unit of stock, with and without what decided the
        sending; errors are the larger of
        the model's and those robust to repetition within persons.
    served_ : {"cap", "no cap"}
        Whether pressure surely does harm.
    cap_ : float
        Messages in four weeks that bring most, a person; missing where no cap is served.
    response_ : DataFrame
        ``messages`` in four weeks, ``stock``, ``reaction, unsubscription`` (chances a message), ``worth`` (a
        person, over four weeks).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> day = np.tile(np.cumsum(rng.choice([1, 7], 40)), 300)
    >>> sent = pd.DataFrame({"person_id": np.repeat(np.arange(300), 40)})
    >>> sent["sent_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(day, "D")
    >>> tired = stock(sent["person_id"], sent["sent_at"], 7.0)
    >>> sent["reacted"] = rng.random(12_000) < expit(-1 - 0.5 * tired)
    >>> sent["unsubscribed"] = rng.random(12_000) < 0.002
    >>> PressureModel().fit(sent).served_
    'cap'
    """

    def __init__(self, value: float = 1.0, loss: float = 10.0, min_messages: int = 1000) -> None:
        self.value = value
        self.loss = loss
        self.min_messages = min_messages

    def fit(self, sends: pd.DataFrame, *, intent: ArrayLike | None = None) -> PressureModel:
        """Learn from messages sent.

        Parameters
        ----------
        sends : DataFrame
            ``person_id, sent_at, reacted, unsubscribed``, a row a message; optional ``propensity``, the
            chance with which it was sent.
        intent : array-like of shape (messages,) or (messages, columns), optional
            What decided the sending and may decide the reaction, as known before it.

        Returns
        -------
        PressureModel

        Raises
        ------
        FaultsError
            With every fault of the arguments.
        NotEnoughDataError
            Under `min_messages` messages.
        """
        known = self._check(sends, intent)
        if len(sends) < self.min_messages:
            raise NotEnoughDataError(f"pressure needs {self.min_messages} messages", got=f"{len(sends)}")
        code = pd.factorize(sends["person_id"], sort=True)[0]
        outcomes = {name: sends[name].to_numpy(dtype=float) for name in ("reacted", "unsubscribed")}
        best = None
        for days in LIVES:
            dose = stock(sends["person_id"], sends["sent_at"], days)
            fits = {name: logistic(np.column_stack([dose, known]), y, code) for name, y in outcomes.items()}
            total = sum(fit[2] for fit in fits.values())
            if best is None or total > best[0] + 1e-9:
                best = (total, days, dose, fits)
        assert best is not None
        _, self.days_, dose, adjusted = best
        bare = {name: logistic(dose[:, None], y, code) for name, y in outcomes.items()}
        harm = {"reacted": -1, "unsubscribed": 1}
        self.effects_ = pd.DataFrame(
            [
                {"outcome": name, "adjusted": held, "effect": w[1], "se": error[1],
                 "sure": bool(harm[name] * w[1] > SURE * error[1] and outcomes[name].sum() >= LEAST_EVENTS)}
                for held, fits in ((False, bare), (True, adjusted))
                for name, (w, error, _) in fits.items()
            ]
        )  # fmt: skip
        sure = self.effects_[self.effects_["adjusted"]].set_index("outcome")
        self.served_ = "cap" if sure["sure"].any() else "no cap"
        # Chances are told for the people as they are: the mean of what decided the sending.
        self.constants_ = {n: float(w[0] + known.mean(axis=0) @ w[2:]) for n, (w, _, _) in adjusted.items()}
        self.slopes_ = {n: float(adjusted[n][0][1]) if sure["sure"][n] else 0.0 for n in outcomes}
        self.response_ = self._response()
        most = float(CAPS[int(self.response_["worth"].to_numpy().argmax())])
        self.cap_ = most if self.served_ == "cap" else float("nan")
        return self

    def _check(self, sends: Any, intent: ArrayLike | None) -> Array:
        faults = []
        if not isinstance(sends, pd.DataFrame):
            raise FaultsError("PressureModel.fit", ["`sends` must be a DataFrame"])
        for name in ("person_id", "sent_at", "reacted", "unsubscribed"):
            if name not in sends:
                faults.append(f"column `{name}` must be there")
        if "sent_at" in sends and not pd.api.types.is_datetime64_dtype(sends["sent_at"]):
            faults.append("`sent_at` must be an instant in UTC without a zone")
        for name in ("reacted", "unsubscribed"):
            if name in sends and not sends[name].isin([0, 1]).all():
                faults.append(f"`{name}` must be true or false")
        if not self.value > 0 or not self.loss >= 0:
            faults.append("`value` must be over 0 and `loss` at least 0")
        known = np.zeros((len(sends), 0)) if intent is None else np.asarray(intent, dtype=float)
        known = known.reshape(len(known), -1)
        if len(known) != len(sends) or not np.isfinite(known).all():
            faults.append("`intent` must hold finite numbers, a row a message")
        if "propensity" in sends:
            chance = sends["propensity"].to_numpy(dtype=float)
            if not ((chance > 0) & (chance <= 1)).all():
                faults.append("`propensity` must be over 0 and at most 1")
            else:
                known = np.column_stack([known, np.log(chance)])
        if faults:
            raise FaultsError("PressureModel.fit", faults)
        return known

    def _response(self) -> pd.DataFrame:
        """Return what a steady number of messages in four weeks brings."""
        with np.errstate(divide="ignore"):
            wear = np.exp(-28 / (np.maximum(CAPS, 1e-9) * self.days_))
        level = np.where(CAPS > 0, wear / (1 - wear), 0.0)
        chance = {n: expit(self.constants_[n] + self.slopes_[n] * level) for n in self.slopes_}
        worth = CAPS * (chance["reacted"] * self.value - chance["unsubscribed"] * self.loss)
        return pd.DataFrame(
            {"messages": CAPS, "stock": level, "reaction": chance["reacted"],
             "unsubscription": chance["unsubscribed"], "worth": worth}
        )  # fmt: skip

    def classify(self, sends: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
        """Tell who is written to too much, about right, or less than would bring most.

        Parameters
        ----------
        sends : DataFrame
            ``person_id, sent_at``; what is later than `as_of` is not read.
        as_of : Timestamp

        Returns
        -------
        DataFrame
            ``person_id, messages`` (the last four weeks), ``state``: `saturated` (over the cap), `on target`,
            `under-solicited` (under half the cap), `unknown` (no cap served); ``room``, messages left under
            the cap; ``expected``, what keeping to the cap would change over four weeks, for the saturated.
        """
        check_is_fitted(self, "response_")
        past = sends[sends["sent_at"] <= as_of]
        recent = past[past["sent_at"] > as_of - pd.Timedelta(days=28)]
        people = np.sort(past["person_id"].unique())
        messages = recent["person_id"].value_counts().reindex(people, fill_value=0).to_numpy()
        if self.served_ == "no cap":
            state, room, gain = np.full(len(people), "unknown"), np.full(len(people), np.nan), np.nan
        else:
            state = np.where(messages < self.cap_ / 2, "under-solicited", "on target")
            state = np.where(messages > self.cap_, "saturated", state)
            room = np.maximum(self.cap_ - messages, 0)
            worth = self.response_["worth"].to_numpy()
            gain = worth[int(self.cap_)] - worth[np.minimum(messages, CAPS[-1])]
        told = pd.DataFrame({"person_id": people, "messages": messages, "state": state, "room": room})
        return told.assign(expected=np.where(state == "saturated", gain, 0.0))

    def save(self, folder: Path) -> Path:
        """Write the state as JSON; nobody is in it."""
        check_is_fitted(self, "response_")
        names = ("days_", "served_", "cap_", "constants_", "slopes_", "effects_")
        state = {name: getattr(self, name) for name in names}
        content = {"format": "PressureModel", "params": self.get_params(), "state": state}
        write_json(Path(folder) / "pressure.json", content)
        return Path(folder)

    @classmethod
    def load(cls, folder: Path) -> PressureModel:
        """Read a saved model."""
        content = read_json(Path(folder) / "pressure.json", "PressureModel")
        model = cls(**content["params"])
        for name, value in content["state"].items():
            setattr(model, name, float("nan") if value is None else value)
        model.effects_ = pd.DataFrame(model.effects_)
        model.response_ = model._response()
        return model


def logistic(X: Array, y: Array, person: NDArray[np.int64]) -> tuple[Array, Array, float]:
    """Return the weights (constant first), their errors robust to persons, and the log-likelihood."""
    wide = np.column_stack([np.ones(len(X)), X])
    w = np.zeros(wide.shape[1])
    rate = (y.sum() + 0.5) / (len(y) + 1)
    w[0] = np.log(rate / (1 - rate))
    ridge = 1e-3 * np.eye(len(w))
    for _ in range(25):
        p = expit(wide @ w)
        bread = np.linalg.pinv((wide * (p * (1 - p))[:, None]).T @ wide + ridge)
        step = np.clip(bread @ (wide.T @ (y - p)), -2, 2)
        w = w + step
        if np.abs(step).max() < 1e-8:
            break
    p = np.clip(expit(wide @ w), 1e-12, 1 - 1e-12)
    score = np.zeros((person.max() + 1, len(w)))
    np.add.at(score, person, wide * (y - p)[:, None])
    robust = np.sqrt(np.diag(bread @ (score.T @ score) @ bread))
    error = np.maximum(robust, np.sqrt(np.diag(bread)))
    return w, error, float((y * np.log(p) + (1 - y) * np.log1p(-p)).sum())
