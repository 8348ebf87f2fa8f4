"""Which identifier values may link: blocked, invalid and shared values are set aside, with a reason."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cdpkit.normalise import fold


def _words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


#: Words typed where a value was missing, in English and French, folded and without spaces.
PLACEHOLDERS = _words(
    """na nan none null nil nul undefined unknown unk missing empty void notprovided notavailable notset
    noname anonymous anon guest default dummy test tests testing tester tbd tba todo xxx xx zzz abc
    abcd abcdef azerty qwerty asdf inconnu inconnue inconnus anonyme vide aucun aucune neant sans
    nonrenseigne nonrenseignee noncommunique nondisponible nonconnu nr nc nsp ras essai exemple example
    sample invite defaut rien idem false true no non noemail nomail sansemail sansmail pasdemail
    pasdadresse noreply nepasrepondre donotreply"""
)
_NAMES = _words(
    """client cliente clients customer customers user users utilisateur prenom nom firstname lastname
    name surname monsieur madame mademoiselle mr mrs ms mme mlle m particulier famille family societe
    magasin boutique caisse comptoir web internet admin administrateur divers"""
)
_MAILBOXES = _words("client customer user email mail nobody noone personne adresse xyz")
_MAIL_DOMAINS = _words(
    """example.com example.org example.net example.fr exemple.fr exemple.com test.com test.fr test.org
    noemail.com noemail.fr nomail.com nomail.fr none.com email.com.invalid localhost sansmail.fr
    pasdemail.fr pasdemail.com inconnu.fr inconnu.com domain.com domaine.fr"""
)
_DATES = _words("1900-01-01 1901-01-01 1970-01-01 1111-11-11 9999-12-31 2999-12-31")
_SERIES = ("0123456789", "1234567890", "9876543210")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class IdentifierType:
    """How one type of identifier links.

    Parameters
    ----------
    weight : float
        Strength of an equality, in log2 odds.
    max_records : int
        Carried by more records than this, a value is shared and links nobody.
    max_names : int
        Seen with more distinct first names than this, a value is shared.
    """

    weight: float
    max_records: int
    max_names: int


#: Defaults by type. A person rarely leaves more traces than this under one value; shops and calls do.
TYPES: dict[str, IdentifierType] = {
    "national_id": IdentifierType(20.0, 20, 4),
    "account_id": IdentifierType(16.0, 100, 4),
    "loyalty_id": IdentifierType(14.0, 10, 4),
    "email": IdentifierType(12.0, 20, 6),
    "phone": IdentifierType(10.0, 20, 6),
    "app_id": IdentifierType(9.0, 10, 4),
    "device_id": IdentifierType(8.0, 10, 4),
    "cookie_id": IdentifierType(8.0, 10, 4),
}

#: From this many distinct first names, nearly one a record, a value is generic whatever its cap.
AUTO_NAMES, AUTO_SHARE = 4, 0.8


@dataclass(frozen=True)
class Hygiene:
    """The rules an identifier value must meet to link.

    Parameters
    ----------
    types : mapping of str to IdentifierType
        Identifier types that link, with their caps.
    blocked : mapping of str to collection of str
        More blocked keys, by type.
    allowed : mapping of str to collection of str
        Keys that link whatever the rules say, by type.

    Examples
    --------
    >>> Hygiene(blocked={"email": ["accueil@enseigne.fr"]}).verdict("email", "accueil@enseigne.fr")
    ('blocked', 'on the list')
    """

    types: Mapping[str, IdentifierType] = field(default_factory=lambda: dict(TYPES))
    blocked: Mapping[str, Collection[str]] = field(default_factory=dict)
    allowed: Mapping[str, Collection[str]] = field(default_factory=dict)

    def verdict(self, kind: str, key: str) -> tuple[str, str | None]:
        """Return the status of one key by itself, and why.

        Parameters
        ----------
        kind : str
            Identifier type, or ``first_name``, ``last_name``, ``birth_date``.
        key : str
            A key of `cdpkit.normalise`.

        Returns
        -------
        (str, str or None)
            ``ok``, ``blocked`` or ``invalid``, and the reason.

        Examples
        --------
        >>> Hygiene().verdict("phone", "+33600000000")
        ('blocked', 'repeated digits')
        >>> Hygiene().verdict("email", "jean.martin@orange.fr")
        ('ok', None)
        """
        if key in self.allowed.get(kind, ()):
            return "ok", None
        if key in self.blocked.get(kind, ()):
            return "blocked", "on the list"
        bare = key if key.isascii() and key.isalnum() else (fold(key) or "").replace(" ", "")
        if not bare.strip("0") or key == "-1":
            return "blocked", "zeros or signs only"
        if bare in PLACEHOLDERS:
            return "blocked", "placeholder"
        if kind == "email":
            return _email(key)
        if kind == "phone":
            return _phone(key)
        if kind == "birth_date":
            if key in _DATES:
                return "blocked", "default date"
            return ("ok", None) if _DATE.fullmatch(key) else ("invalid", "not a date")
        if kind in ("first_name", "last_name"):
            if bare in _NAMES or (len(bare) > 2 and len(set(bare)) == 1):
                return "blocked", "placeholder"
            return ("ok", None) if re.search(r"[^\W\d_]", bare) else ("invalid", "no letter")
        if len(set(bare)) == 1 and len(bare) > 1:
            return "blocked", "repeated character"
        if len(bare) >= 5 and any(series.startswith(bare) for series in _SERIES):
            return "blocked", "counting digits"
        return "ok", None

    def verdicts(self, kind: str, values: pd.Index) -> tuple[np.ndarray, np.ndarray]:
        """Return the statuses and reasons of many keys."""
        both = [self.verdict(kind, value) for value in values]
        return np.array([s for s, _ in both], dtype=object), np.array([r for _, r in both], dtype=object)


def _email(key: str) -> tuple[str, str | None]:
    """Judge an e-mail key."""
    local, _, domain = key.partition("@")
    bare = re.sub(r"[\W_]+", "", local)
    if domain in _MAIL_DOMAINS or domain.partition(".")[0] in PLACEHOLDERS:
        return "blocked", "placeholder domain"
    if not _EMAIL.fullmatch(key):
        return "invalid", "not an address"
    if not bare.strip("0") or bare in PLACEHOLDERS or bare in _MAILBOXES:
        return "blocked", "placeholder"
    if len(bare) > 2 and len(set(bare)) == 1:
        return "blocked", "repeated character"
    return "ok", None


def _phone(key: str) -> tuple[str, str | None]:
    """Judge a phone key."""
    national = key[3:] if key.startswith("+") else key.lstrip("0")
    if not key.lstrip("+").isdigit() or len(key) < 7:
        return "invalid", "not a number"
    if re.search(r"(\d)\1{6,}", national):
        return "blocked", "repeated digits"
    if any(national[:9] in series for series in _SERIES):
        return "blocked", "counting digits"
    return "ok", None


def assess(
    seen: pd.DataFrame,
    kind: str,
    values: pd.Index,
    verdicts: tuple[np.ndarray, np.ndarray],
    first_name: np.ndarray,
    rules: Hygiene,
) -> pd.DataFrame:
    """Give every value of one identifier type a status and a reason.

    Parameters
    ----------
    seen : DataFrame
        ``node, code``: which record carries which value, once.
    kind : str
        Identifier type.
    values : Index
        Keys by code.
    verdicts : (ndarray, ndarray)
        Status and reason of each key by itself.
    first_name : ndarray of int
        Code of each node's first name, -1 when unknown.
    rules : Hygiene
        Caps and lists.

    Returns
    -------
    DataFrame
        ``id_type, value, n_records, n_names, status, reason``, one row a value, in code order.
    """
    n = len(values)
    records = np.bincount(seen["code"], minlength=n)
    names = first_name[seen["node"]]
    named = seen["code"].to_numpy()[names >= 0]
    pairs = np.unique(np.stack([named, names[names >= 0]]), axis=1)
    n_names = np.bincount(pairs[0], minlength=n)
    n_named = np.bincount(named, minlength=n)
    status, reason = (part.copy() for part in verdicts)
    cap = rules.types[kind]
    listed = np.isin(np.asarray(values, dtype=object), list(rules.allowed.get(kind, ())))
    for broken, why in (
        (records > cap.max_records, f"more than {cap.max_records} records"),
        (n_names > cap.max_names, f"more than {cap.max_names} first names"),
        ((n_names >= AUTO_NAMES) & (n_names >= AUTO_SHARE * n_named), "nearly one first name a record"),
    ):
        hit = broken & (status == "ok") & ~listed
        status[hit], reason[hit] = "shared", why
    return pd.DataFrame(
        {
            "id_type": kind,
            "value": np.asarray(values, dtype=object),
            "n_records": records.astype(np.int64),
            "n_names": n_names.astype(np.int64),
            "status": status,
            "reason": reason,
        }
    ).astype({"id_type": "str", "value": "str", "status": "str"})
