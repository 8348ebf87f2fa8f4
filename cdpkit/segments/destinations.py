"""Where a file may go: one declaration a destination, read by one writer (`cdpkit.segments.export`)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdpkit.errors import CdpkitError, FaultsError
from cdpkit.schema import PURPOSES
from cdpkit.segments.contact import ADDRESSES

if TYPE_CHECKING:
    from cdpkit.workspace import Workspace

#: Columns of a file that come from the person's score.
SCORED = ("score", "tier", "decile")

#: Columns that say the same for everybody in the file.
SAID = ("audience", "as_of", "surface", "currency")


@dataclass(frozen=True)
class Column:
    """One column of a file.

    Parameters
    ----------
    name : str
        Header.
    take : str
        An attribute of the golden record, one of `SCORED` or of `SAID`; ``address`` is what the
        audience's channel writes to.
    how : {"plain", "hash", "clear", "value"}
        As it is, hashed as the destination wants it, an address in clear, or the score of a model of
        value.
    channel : str
        Channel whose agreement this column needs; empty for what identifies nobody, and ``audience`` for
        the audience's own channel.
    key : bool
        Whether the destination finds a person by it: a row needs one key at least.
    """

    name: str
    take: str
    how: str = "plain"
    channel: str = ""
    key: bool = False


@dataclass(frozen=True)
class Destination:
    """What one destination takes.

    Parameters
    ----------
    name : str
        Name to ask for it by.
    columns : tuple of Column
        The file, left to right.
    en, fr : str
        What it is, in words.
    form : {"csv", "xlsx", "json", "parquet"}
        Form of the file.
    scheme : str
        How it wants addresses hashed; see `cdpkit.identity.hashing`.
    minimum : int
        Fewest rows it can use: a shorter file does not leave.
    batch : int
        Most rows of one delivery, 0 for no limit.
    surface : str
        Where a content feed is shown: ``site``, ``app``, ``kiosk``.
    purposes : tuple of str
        What its files may be for.
    """

    name: str
    columns: tuple[Column, ...]
    en: str
    fr: str
    form: str = "csv"
    scheme: str = "google"
    minimum: int = 1
    batch: int = 0
    surface: str = ""
    purposes: tuple[str, ...] = ("activation",)

    @property
    def clear(self) -> bool:
        """Whether addresses leave in clear: only a declared processor may receive them."""
        return any(column.how == "clear" for column in self.columns)

    def resolved(self, channel: str) -> tuple[Column, ...]:
        """Return the columns for an audience's channel.

        Examples
        --------
        >>> [column.name for column in destination("matching").resolved("sms")]
        ['phone_sha256', 'tier', 'decile']
        """
        own = ADDRESSES[channel]
        return tuple(
            Column(
                column.name.format(address=own),
                own if column.take == "address" else column.take,
                column.how,
                channel if column.channel == "audience" else column.channel,
                column.key,
            )
            for column in self.columns
        )


_EMAIL = Column("Email", "email", "hash", "email", key=True)
_PHONE = Column("Phone", "phone", "hash", "sms", key=True)
_ACCOUNT = Column("customer_id", "account_id", "hash", "site", key=True)
_SEGMENT = (Column("segment", "audience"), Column("tier", "tier"), Column("decile", "decile"))
_FEED = (Column("segment", "audience"), Column("tier", "tier"))
_NAME = (
    Column("first_name", "first_name", "clear", "audience"),
    Column("last_name", "last_name", "clear", "audience"),
)


def _feed(surface: str, attribute: str, channel: str, en: str, fr: str) -> Destination:
    """Declare the content feed of one surface."""
    key = Column("visitor", attribute, "hash", channel, key=True)
    return Destination(f"cms_{surface}", (key, *_FEED), en, fr, form="json", surface=surface)


#: A platform of ours that knows a visitor by a cookie, an account or a card hashes its own ids to find them.
#: Customer Match wants Email, Phone, First Name, Last Name, Country and Zip, the first four hashed
#: (support.google.com/google-ads/answer/7475964). Meta wants digits without "+", TikTok E.164 with it
#: (ads.tiktok.com/help, customer file, September 2025, which also takes them without) and 1,000 entries.
DESTINATIONS = {
    place.name: place
    for place in (
        Destination(
            "matching",
            (
                Column("{address}_sha256", "address", "hash", "audience", key=True),
                Column("tier", "tier"),
                Column("decile", "decile"),
            ),
            "a partner that matches hashed addresses",
            "un partenaire qui rapproche des adresses hachées",
            minimum=0,  # An empty audience is an answer: its manifest says why.
        ),
        Destination(
            "google_customer_match",
            (
                _EMAIL,
                _PHONE,
                Column("First Name", "first_name", "hash", "post"),
                Column("Last Name", "last_name", "hash", "post"),
                Column("Country", "country", "plain", "post"),
                Column("Zip", "postcode", "plain", "post"),
            ),
            "Google Customer Match",
            "Google Customer Match",
            minimum=100,
        ),
        Destination(
            "meta_custom_audience",
            (
                Column("EMAIL_SHA256", "email", "hash", "email", key=True),
                Column("PHONE_SHA256", "phone", "hash", "sms", key=True),
            ),
            "Meta custom audience",
            "Audience personnalisée Meta",
            scheme="meta",
            minimum=100,
            batch=10_000,
        ),
        Destination(
            "tiktok_custom_audience",
            (
                Column("Email_SHA256", "email", "hash", "email", key=True),
                Column("Phone_SHA256", "phone", "hash", "sms", key=True),
            ),
            "TikTok custom audience",
            "Audience personnalisée TikTok",
            scheme="tiktok",
            minimum=1000,
        ),
        Destination(
            "ga4_user_import",
            (
                Column("user_id", "account_id", "hash", "site", key=True),
                Column("segment", "audience"),
                Column("tier", "tier"),
            ),
            "Google Analytics 4 user data import",
            "Import de données utilisateur Google Analytics 4",
        ),
        Destination(
            "value_bidding",
            (_EMAIL, Column("Conversion Value", "score", "value"), Column("Currency", "currency")),
            "predicted value, for bidding",
            "valeur prédite, pour les enchères",
            minimum=100,
        ),
        Destination(
            "email_tool",
            (Column("email", "email", "clear", "email", key=True), *_NAME, *_FEED),
            "e-mail tool",
            "outil d’e-mail",
        ),
        Destination(
            "sms_tool",
            (Column("phone", "phone", "clear", "sms", key=True), *_FEED),
            "SMS tool",
            "outil de SMS",
        ),
        Destination(
            "push_tool",
            (Column("recipient", "account_id", "clear", "push", key=True), *_FEED),
            "push notification tool",
            "outil de notifications",
        ),
        Destination(
            "post_house",
            (
                Column("first_name", "first_name", "clear", "post"),
                Column("last_name", "last_name", "clear", "post"),
                Column("street", "street", "clear", "post", key=True),
                Column("postcode", "postcode", "clear", "post"),
                Column("city", "city", "clear", "post"),
                Column("country", "country", "clear", "post"),
            ),
            "mailing house",
            "routeur de courrier",
        ),
        Destination(
            "call_list",
            (Column("phone", "phone", "clear", "call", key=True), *_NAME, *_FEED),
            "call centre",
            "centre d’appels",
            form="xlsx",
        ),
        _feed("site", "cookie_id", "site", "content of the site", "contenus du site"),
        _feed("app", "account_id", "app", "content of the application", "contenus de l’application"),
        _feed("kiosk", "loyalty_id", "kiosk", "content of kiosks in stores", "contenus des bornes"),
        Destination(
            "ecommerce", (_ACCOUNT, *_SEGMENT), "e-commerce platform", "plate-forme de commerce en ligne"
        ),
        Destination(
            "recommender",
            (_ACCOUNT, *_SEGMENT, Column("score", "score")),
            "recommendation engine",
            "moteur de recommandation",
            form="parquet",
        ),
    )
}


def destination(name: str) -> Destination:
    """Return a destination by its name.

    Raises
    ------
    CdpkitError
        When no destination has that name.

    Examples
    --------
    >>> destination("tiktok_custom_audience").minimum
    1000
    """
    if name not in DESTINATIONS:
        raise CdpkitError("a destination must be declared", name, f"One of {', '.join(DESTINATIONS)}")
    return DESTINATIONS[name]


@dataclass(frozen=True)
class Processor:
    """Who works for us on clear addresses, and for what.

    Parameters
    ----------
    name : str
        Who it is.
    destinations : tuple of str
        What it may receive; names of destinations.
    purposes : tuple of str
        What for.

    Examples
    --------
    >>> Processor("router", ("email_tool",), ("activation",)).may("email_tool", "activation")
    True
    """

    name: str
    destinations: tuple[str, ...]
    purposes: tuple[str, ...]

    def __post_init__(self) -> None:
        faults = [
            f"destination {name!r} is unknown" for name in self.destinations if name not in DESTINATIONS
        ]
        faults += [f"purpose {name!r} is unknown" for name in self.purposes if name not in PURPOSES]
        if faults:
            raise FaultsError(f"processor {self.name!r}", faults)

    def may(self, name: str, purpose: str) -> bool:
        """Whether it may receive a destination's file for a purpose."""
        return name in self.destinations and purpose in self.purposes


def processors(workspace: Workspace) -> dict[str, Processor]:
    """Read the processors a workspace declares, in ``data/processors.toml``.

    One table a processor: ``[name]`` with ``destinations`` and ``purposes``. Without the file, nobody.
    """
    path = workspace.data / "processors.toml"
    if not path.exists():
        return {}
    declared = tomllib.loads(path.read_text("utf-8"))
    return {
        name: Processor(name, tuple(one.get("destinations", ())), tuple(one.get("purposes", ())))
        for name, one in declared.items()
    }
