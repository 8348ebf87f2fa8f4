"""What a marketer means by "hot": definitions that can be read, stored and compared.

A definition says which behaviour must follow a date, how much of it and how soon. Labels are built
from it, models are saved with it, dashboards print its sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

from cdpkit.errors import FaultsError
from cdpkit.phrases import check_language, say
from cdpkit.schema import TABLES

#: How a marketer says "n rows of this table", by table and language.
_WORDS = {
    "orders": ("passe au moins {value} {commande|commandes}", "places at least {value} {order|orders}"),
    "events": (
        "fait au moins {value} {action|actions} en ligne",
        "takes at least {value} {action|actions} online",
    ),
    "contacts": (
        "nous contacte au moins {value} {fois|fois}",
        "contacts us at least {value} {time|times}",
    ),
    "quotes": ("demande au moins {value} devis", "asks for at least {value} {quote|quotes}"),
    "contracts": (
        "signe au moins {value} {contrat|contrats}",
        "signs at least {value} {contract|contracts}",
    ),
    "bookings": (
        "fait au moins {value} {réservation|réservations}",
        "makes at least {value} {booking|bookings}",
    ),
    "reviews": ("écrit au moins {value} avis", "writes at least {value} {review|reviews}"),
}

#: How a marketer says "no row of this table".
_NONE = {
    "orders": ("ne passe aucune commande", "places no order"),
    "events": ("ne fait aucune action en ligne", "takes no action online"),
    "contacts": ("ne nous contacte plus", "does not contact us any more"),
    "bookings": ("ne fait aucune réservation", "makes no booking"),
}

_D = TypeVar("_D", bound="BehaviourDefinition")


class DefinitionError(FaultsError):
    """A definition does not hold together."""


@dataclass(frozen=True)
class Behaviour:
    """One behaviour to look for: rows of a table that meet a filter, counted or summed.

    Parameters
    ----------
    table : str
        Canonical table keyed by node, such as ``"orders"`` or ``"events"``.
    where : str, optional
        Filter over the table's columns; ``known(cancelled_at)`` asks what had happened by the end of
        the window. Checked when labels are built.
    at_least : int
        Rows needed, or the total needed when `total` is given.
    total : str, optional
        Integer column to add up instead of counting rows, such as ``"amount_minor"``.
    at : str, optional
        Outcome time that must fall into the window, such as ``"cancelled_at"`` of contracts; by default
        the time of the fact itself.
    fr, en : str, optional
        The behaviour in the marketer's words, completing "un client qui …" / "a customer who …".

    Examples
    --------
    >>> Behaviour("orders").sentence("fr")
    'passe au moins 1 commande'
    """

    table: str
    where: str | None = None
    at_least: int = 1
    total: str | None = None
    fr: str | None = None
    en: str | None = None
    at: str | None = None

    def faults(self) -> list[str]:
        """Return what is wrong, one sentence each."""
        table = TABLES.get(self.table)
        if table is None or "node_id" not in table or table.event_time is None:
            return [f"`table` must be a fact keyed by node; got {self.table!r}"]
        found = []
        if self.at_least < 1:
            found.append(f"`at_least` must be >= 1; got {self.at_least}")
        if self.total is not None and (self.total not in table or table[self.total].type != "int64"):
            found.append(f"`total` must be an integer column of {self.table}; got {self.total!r}")
        elif self.total is not None and table[self.total].outcome_of is not None:
            found.append(f"`total` must not be an outcome column; got {self.total!r}")
        if self.at is not None and (self.at not in table or table[self.at].outcome_of != self.at):
            found.append(f"`at` must be an outcome time of {self.table}; got {self.at!r}")
        return found

    def sentence(self, language: str) -> str:
        """Say the behaviour in `language`, without a subject."""
        own = {"fr": self.fr, "en": self.en}[check_language(language)]
        if own:
            return say(own, language, self.at_least)
        if self.total is not None:
            frame = {
                "fr": "atteint au moins {value} de {column} ({table})",
                "en": "reaches at least {value} of {column} ({table})",
            }
            text = say(frame[language], language, self.at_least, column=self.total, table=self.table)
        else:
            generic = (f"a au moins {{value}} × {self.table}", f"has at least {{value}} × {self.table}")
            words = _WORDS.get(self.table, generic)
            text = say(words[0 if language == "fr" else 1], language, self.at_least)
        return f"{text} ({self.where})" if self.where else text


@dataclass(frozen=True)
class BehaviourDefinition:
    """A definition by behaviours that follow a date: `[t + gap, t + gap + horizon)`.

    Parameters
    ----------
    name : str
        Name of the label and of its column in the lake.
    behaviours : tuple of Behaviour
        What must be seen in the window.
    horizon_days, gap_days : int
        Length of the window in days, and days left out before it.
    match : {"all", "any"}
        Whether every behaviour is needed, or one.
    population : str
        Whom the question is asked about, as `Population.parse` reads it.
    """

    name: str
    behaviours: tuple[Behaviour, ...] = (Behaviour("orders"),)
    horizon_days: int = 30
    gap_days: int = 0
    match: str = "all"
    population: str = "all"

    kind: ClassVar[str] = "behaviour"
    _opening: ClassVar[tuple[str, str]] = ("Client qui", "Customer who")

    def __post_init__(self) -> None:
        object.__setattr__(self, "behaviours", tuple(self.behaviours))
        faults = [f for behaviour in self.behaviours for f in behaviour.faults()]
        if not self.name.isidentifier():
            faults.append(f"`name` must be a plain identifier; got {self.name!r}")
        if not self.behaviours:
            faults.append("`behaviours` must hold at least one behaviour; got none")
        if self.horizon_days < 1:
            faults.append(f"`horizon_days` must be >= 1; got {self.horizon_days}")
        if self.gap_days < 0:
            faults.append(f"`gap_days` must be >= 0; got {self.gap_days}")
        if self.match not in ("all", "any"):
            faults.append(f"`match` must be 'all' or 'any'; got {self.match!r}")
        if faults:
            raise DefinitionError(f"definition {self.name!r}", faults)

    def sentence(self, language: str) -> str:
        """Say the whole definition in one sentence a marketer can check.

        Examples
        --------
        >>> print(HotProspectDefinition("purchase").sentence("en"))
        Hot prospect: a customer who places at least 1 order within 30 days.
        """
        french = check_language(language) == "fr"
        # Who is lost by showing none of several behaviours shows neither the first nor the second.
        every = (self.match == "all") != getattr(self, "absent", False)
        joint = {True: (" et ", " and "), False: (" ou ", " or ")}[every][0 if french else 1]
        what = joint.join(behaviour.sentence(language) for behaviour in self.behaviours)
        template = "dans les {value} {jour|jours} suivants" if french else "within {value} {day|days}"
        when = say(template, language, self.horizon_days)
        if self.gap_days:
            after = ", après un délai de {value} {jour|jours}" if french else ", after {value} {day|days}"
            when += say(after, language, self.gap_days)
        return f"{self._opening[0 if french else 1]} {what} {when}."

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as plain values, ready for JSON."""
        values = asdict(self)
        values["behaviours"] = [asdict(behaviour) for behaviour in self.behaviours]
        return {"kind": self.kind, **values}

    @classmethod
    def from_dict(cls: type[_D], values: Mapping[str, Any]) -> _D:
        """Rebuild the definition `to_dict` gave; an unknown key or another kind is refused.

        Examples
        --------
        >>> hot = HotProspectDefinition("purchase", horizon_days=14)
        >>> HotProspectDefinition.from_dict(hot.to_dict()) == hot
        True
        """
        given = dict(values)
        kind = given.pop("kind", cls.kind)
        unknown = sorted(set(given) - {f.name for f in fields(cls)})
        faults = [f"key `{key}` must be one of the definition's" for key in unknown]
        if kind != cls.kind:
            faults.append(f"`kind` must be {cls.kind!r}; got {kind!r}")
        if faults:
            raise DefinitionError("definition", faults)
        given["behaviours"] = tuple(Behaviour(**b) for b in given.get("behaviours", ()))
        return cls(**given)


@dataclass(frozen=True)
class HotProspectDefinition(BehaviourDefinition):
    """What a hot prospect is: somebody who will do this, this much, this soon.

    Parameters
    ----------
    name, behaviours, horizon_days, gap_days, match, population
        As in `BehaviourDefinition`; the population defaults to who was active in the last year.

    Examples
    --------
    >>> hot = HotProspectDefinition(
    ...     "basket",
    ...     behaviours=[Behaviour("orders", total="amount_minor", at_least=10000,
    ...                           fr="achète pour au moins 100 €", en="spends at least €100")],
    ...     horizon_days=90,
    ... )
    >>> print(hot.sentence("fr"))
    Prospect chaud : un client qui achète pour au moins 100 € dans les 90 jours suivants.
    """

    population: str = "active_365"

    kind: ClassVar[str] = "hot_prospect"
    _opening: ClassVar[tuple[str, str]] = ("Prospect chaud : un client qui", "Hot prospect: a customer who")


@dataclass(frozen=True)
class ChurnDefinition(BehaviourDefinition):
    """What a lost customer is: somebody who shows no such behaviour for so long, or ends a contract.

    Parameters
    ----------
    name, behaviours, horizon_days, gap_days, match
        As in `BehaviourDefinition`. The behaviours are those of a customer (an order, a visit); with
        `absent` False, those of a departure (a contract cancelled).
    population : str
        Whom it is asked about; by default those who bought in the last year.
    absent : bool
        Whether a customer is lost by *not* showing the behaviours.

    Examples
    --------
    >>> print(ChurnDefinition("inactive", horizon_days=90).sentence("fr"))
    Client perdu : un client qui ne passe aucune commande dans les 90 jours suivants.
    >>> print(contract_end(60).sentence("en"))
    Lost customer: a customer who cancels a contract within 60 days.
    """

    horizon_days: int = 90
    population: str = "buyers_365"
    absent: bool = True

    kind: ClassVar[str] = "churn"
    _opening: ClassVar[tuple[str, str]] = ("Client perdu : un client qui", "Lost customer: a customer who")

    def sentence(self, language: str) -> str:
        """Say the whole definition in one sentence a marketer can check."""
        said = super().sentence(language)
        if not self.absent:
            return said
        for behaviour in self.behaviours:
            found, none = behaviour.sentence(language), _NONE.get(behaviour.table)
            plain = none is not None and behaviour.at_least == 1 and not (behaviour.fr or behaviour.en)
            if plain and none is not None:
                absent = found.replace(_plain(behaviour, language), none[0 if language == "fr" else 1])
            else:
                absent = ("ne fait pas ceci : " if language == "fr" else "does not do this: ") + found
            said = said.replace(found, absent)
        return said


def _plain(behaviour: Behaviour, language: str) -> str:
    """Return the behaviour's words without its filter."""
    words = _WORDS[behaviour.table][0 if language == "fr" else 1]
    return say(words, language, behaviour.at_least)


def contract_end(horizon_days: int = 60, gap_days: int = 0) -> ChurnDefinition:
    """Return the contractual definition: a contract is cancelled within the horizon.

    Examples
    --------
    >>> contract_end(30).behaviours[0].at
    'cancelled_at'
    """
    leaves = Behaviour("contracts", at="cancelled_at", fr="résilie un contrat", en="cancels a contract")
    return ChurnDefinition("contract_end", (leaves,), horizon_days, gap_days, population="all", absent=False)
