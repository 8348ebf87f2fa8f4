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
        joint = {"all": (" et ", " and "), "any": (" ou ", " or ")}[self.match][0 if french else 1]
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
