"""The state of persons at a midnight, and what is noted of each day: the words of the dynamics."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

#: Days since something that never happened.
NEVER = 10_000

#: Why carts are left behind, and where a visit comes from; from `AD` on, the advertising channels.
CAUSES = ("comparing", "short of time", "price", "delivery")
COMPARING, TIME, PRICE, DELIVERY = range(4)
ORGANIC, MAIL, CANCEL, HELP, AD = range(5)


@dataclass
class State:
    """The latent state of persons at one midnight (UTC)."""

    alive: np.ndarray
    z: np.ndarray
    episode: np.ndarray
    episode_no: np.ndarray
    wanted: np.ndarray
    cart: np.ndarray
    cause: np.ndarray
    boost: np.ndarray
    pressure: np.ndarray
    subscribed: np.ndarray
    account: np.ndarray
    card: np.ndarray
    unhappy: np.ndarray
    seen: np.ndarray
    leaving: np.ndarray
    contract: np.ndarray
    quoted: np.ndarray
    ads: np.ndarray

    def tile(self, n: int) -> State:
        """Return `n` copies of everybody, copy after copy."""
        return State(**{f.name: np.concatenate([getattr(self, f.name)] * n) for f in fields(self)})

    def copy(self) -> State:
        """Return an independent copy."""
        return self.tile(1)


_ROW: dict = {"person": np.int64, "day": np.int64}
#: Columns of the tables that may have no row at all.
_EMPTY: dict[str, dict] = {
    "sends": _ROW
    | dict.fromkeys(("hour", "channel", "variant", "number"), np.int64)
    | dict.fromkeys(("random_arm", "bounced", "opened", "clicked", "stops", "complains"), np.bool_)
    | dict.fromkeys(("propensity", "pressure", "gain"), np.float64),
    "held": _ROW | {"propensity": np.float64, "random_arm": np.bool_},
    "quotes": _ROW | {"episode_no": np.int64, "wanted": np.int64},
    "watches": _ROW | {"wanted": np.int64, "kind": np.int64},
    "terms": _ROW | {"rise": np.float64, "cancels": np.bool_, "p": np.float64, "reason": np.int64},
}


@dataclass
class Facts:
    """What happened, table by table, as lists of one frame of arrays a day."""

    sessions: list[dict] = field(default_factory=list)
    sends: list[dict] = field(default_factory=list)
    store: list[dict] = field(default_factory=list)
    calls: list[dict] = field(default_factory=list)
    left: list[dict] = field(default_factory=list)
    held: list[dict] = field(default_factory=list)
    touches: list[dict] = field(default_factory=list)
    credits: list[dict] = field(default_factory=list)
    quotes: list[dict] = field(default_factory=list)
    watches: list[dict] = field(default_factory=list)
    terms: list[dict] = field(default_factory=list)

    def add(self, name: str, day: int, person: np.ndarray, **columns: np.ndarray) -> None:
        """Record rows of a day."""
        rows = {"person": person, "day": np.full(len(person), day)} | columns
        getattr(self, name).append(rows)

    def table(self, name: str) -> dict[str, np.ndarray]:
        """Return one table with its days put together."""
        days = getattr(self, name)
        if not days:
            return {column: np.zeros(0, kind) for column, kind in _EMPTY.get(name, {}).items()}
        return {column: np.concatenate([day[column] for day in days]) for column in days[0]}


@dataclass(frozen=True)
class Reachable:
    """Who can be sent an e-mail: from a day, with an address that works or not."""

    from_day: np.ndarray
    bad_address: np.ndarray
