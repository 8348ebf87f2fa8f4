"""Which identifier values may link: blocked, invalid and shared values are set aside, with a reason."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit import texts
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
_EMAIL = r"^[^@\s]+@[^@\s.]+([.][^@\s.]+)+$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


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
    valid_months : int, optional
        Not seen for longer, a value holds no more; default: it holds for ever.
    """

    weight: float
    max_records: int
    max_names: int
    valid_months: int | None = None


#: Defaults by type. A person rarely leaves more traces than this under one value; shops and calls do.
#: A cookie may be kept for thirteen months (CNIL, 2020).
TYPES: dict[str, IdentifierType] = {
    "national_id": IdentifierType(20.0, 20, 4),
    "account_id": IdentifierType(16.0, 100, 4),
    "loyalty_id": IdentifierType(14.0, 10, 4),
    "email": IdentifierType(12.0, 20, 6),
    "phone": IdentifierType(10.0, 20, 6),
    "app_id": IdentifierType(9.0, 10, 4),
    "device_id": IdentifierType(8.0, 10, 4),
    "cookie_id": IdentifierType(8.0, 10, 4, valid_months=13),
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
    counted : mapping of str to mapping of str to (int, int, int)
        Where the records are a part of a base: by type and key, how many records of the whole carry it,
        under how many distinct first names, and how many of them have one.

    Examples
    --------
    >>> Hygiene(blocked={"email": ["accueil@enseigne.fr"]}).verdict("email", "accueil@enseigne.fr")
    ('blocked', 'on the list')
    """

    types: Mapping[str, IdentifierType] = field(default_factory=lambda: dict(TYPES))
    blocked: Mapping[str, Collection[str]] = field(default_factory=dict)
    allowed: Mapping[str, Collection[str]] = field(default_factory=dict)
    counted: Mapping[str, Mapping[str, tuple[int, int, int]]] = field(default_factory=dict)

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
        status, reason = VERDICTS[int(self.verdicts(kind, pd.Index([key], dtype="str"))[0])]
        return status, reason

    def verdicts(self, kind: str, values: pd.Index) -> np.ndarray:
        """Judge many keys: the position of each one's status and reason in `VERDICTS`."""
        key = texts.arrow(values)
        bare = _bare(key)
        checks = [
            (_isin(key, self.blocked.get(kind, ())), "on the list"),
            (pc.or_(_matches(bare, "^0*$"), pc.equal(key, "-1")), "zeros or signs only"),
            (_isin(bare, PLACEHOLDERS), "placeholder"),
            *_CHECKS.get(kind, _code)(key, bare),
        ]
        out = np.zeros(len(key), dtype=np.int8)
        # Written last first, so that the first reason that holds is the one given.
        for hit, reason in reversed(checks):
            out[hit.to_numpy(zero_copy_only=False)] = _REASONS[reason]
        out[_isin(key, self.allowed.get(kind, ())).to_numpy(zero_copy_only=False)] = 0
        return out


#: What can be said of a key by itself: its status and the reason.
VERDICTS: tuple[tuple[str, str | None], ...] = (
    ("ok", None),
    *(
        ("blocked", reason)
        for reason in (
            "on the list",
            "zeros or signs only",
            "placeholder",
            "placeholder domain",
            "default date",
            "repeated character",
            "repeated digits",
            "counting digits",
        )
    ),
    *(("invalid", reason) for reason in ("not an address", "not a number", "not a date", "no letter")),
)
_REASONS = {str(reason): i for i, (_, reason) in enumerate(VERDICTS) if reason}
_Check = tuple[pa.Array, str]


def _bare(key: pa.Array) -> pa.Array:
    """Return the letters and digits of each key, folded."""
    plain = pc.string_is_ascii(key)
    bare = texts.replaced(pc.ascii_lower(key), "[^a-z0-9]+", "")
    if pc.all(plain).as_py() is not False:
        return bare
    hard = [(fold(text) or "").replace(" ", "") for text in pc.filter(key, pc.invert(plain)).to_pylist()]
    return pc.replace_with_mask(bare, pc.invert(plain), pa.array(hard, key.type))


def _isin(texts_: pa.Array, words: Collection[str]) -> pa.Array:
    return pc.is_in(texts_, pa.array(sorted(words), texts_.type))


def _matches(key: pa.Array, pattern: str) -> pa.Array:
    return pc.match_substring_regex(key, pattern)


def _repeats(bare: pa.Array, least: int) -> pa.Array:
    """Tell which texts are one character again and again."""
    first = pc.utf8_slice_codeunits(bare, 0, 1)
    length = pc.utf8_length(bare)
    return pc.and_(pc.greater_equal(length, least), pc.equal(bare, pc.binary_repeat(first, length)))


def _email(key: pa.Array, bare: pa.Array) -> list[_Check]:
    domain = pc.if_else(_matches(key, "@"), texts.replaced(key, "^[^@]*@", ""), "")
    local = _bare(texts.replaced(key, "(?s)@.*$", ""))
    host = texts.replaced(domain, r"(?s)\..*$", "")
    return [
        (pc.or_(_isin(domain, _MAIL_DOMAINS), _isin(host, PLACEHOLDERS)), "placeholder domain"),
        (pc.invert(_matches(key, _EMAIL)), "not an address"),
        (pc.or_(_matches(local, "^0*$"), _isin(local, PLACEHOLDERS | _MAILBOXES)), "placeholder"),
        (_repeats(local, 3), "repeated character"),
    ]


def _phone(key: pa.Array, bare: pa.Array) -> list[_Check]:
    national = texts.replaced(key, "^(?:[+]..|0*)", "")
    long = pc.greater_equal(pc.utf8_length(key), 7)
    series = _parts(_SERIES, 9)
    return [
        (pc.invert(pc.and_(_matches(key, "^[+]*[0-9]+$"), long)), "not a number"),
        (_matches(national, "|".join(f"{digit}{{7}}" for digit in range(10))), "repeated digits"),
        (_isin(pc.utf8_slice_codeunits(national, 0, 9), series), "counting digits"),
    ]


def _parts(series: Collection[str], most: int) -> set[str]:
    """Return the pieces of some texts, up to a length."""
    return {
        one[i:j] for one in series for i in range(len(one)) for j in range(i, min(i + most, len(one)) + 1)
    }


def _date(key: pa.Array, bare: pa.Array) -> list[_Check]:
    return [(_isin(key, _DATES), "default date"), (pc.invert(_matches(key, _DATE)), "not a date")]


def _name(key: pa.Array, bare: pa.Array) -> list[_Check]:
    return [
        (pc.or_(_isin(bare, _NAMES), _repeats(bare, 3)), "placeholder"),
        (pc.invert(_matches(bare, r"\pL")), "no letter"),
    ]


def _code(key: pa.Array, bare: pa.Array) -> list[_Check]:
    starts = {one[:n] for one in _SERIES for n in range(5, len(one) + 1)}
    return [(_repeats(bare, 2), "repeated character"), (_isin(bare, starts), "counting digits")]


_CHECKS: dict[str, Callable[[pa.Array, pa.Array], list[_Check]]] = {
    "email": _email,
    "phone": _phone,
    "birth_date": _date,
    "first_name": _name,
    "last_name": _name,
}


def assess(
    seen: pd.DataFrame,
    kind: str,
    values: pd.Index,
    verdicts: np.ndarray,
    first_name: np.ndarray,
    rules: Hygiene,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Give every value of one identifier type a status and a reason.

    Parameters
    ----------
    seen : DataFrame
        ``node, code``: which record carries which value, once.
    kind : str
        Identifier type.
    values : Index
        Keys by code.
    verdicts : ndarray of int
        What is said of each key by itself, as a position in `VERDICTS`.
    first_name : ndarray of int
        Code of each node's first name, -1 when unknown.
    rules : Hygiene
        Caps and lists.

    Returns
    -------
    (DataFrame, ndarray of int)
        ``id_type, value, n_records, n_names, status, reason``, one row a value, in code order; and of
        each value 0 when it may link, 1 when it is shared by too many, 2 otherwise.
    """
    n = len(values)
    code, names = seen["code"].to_numpy(), first_name[seen["node"].to_numpy()]
    records = np.bincount(code, minlength=n)
    # One record has one name: only values on several records can be shared.
    named = (names >= 0) & (records[code] > 1)
    pairs = np.sort(code[named] * (int(names.max(initial=0)) + 1) + names[named])
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    n_names = np.bincount(code[names >= 0], minlength=n)
    n_named = n_names.copy()
    n_names[records > 1] = 0
    n_names += np.bincount(pairs // (int(names.max(initial=0)) + 1), minlength=n)
    if whole := rules.counted.get(kind):
        place = pc.index_in(texts.arrow(values), value_set=pa.array(list(whole), pa.large_string()))
        at = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
        counts = np.array(list(whole.values()), dtype=np.int64)[place.drop_null().to_numpy()]
        records[at], n_names[at], n_named[at] = counts.T
    cap = rules.types[kind]
    said = [
        *VERDICTS,
        ("shared", f"more than {cap.max_records} records"),
        ("shared", f"more than {cap.max_names} first names"),
        ("shared", "nearly one first name a record"),
    ]
    listed = _isin(texts.arrow(values), rules.allowed.get(kind, ())).to_numpy(zero_copy_only=False)
    verdicts = verdicts.copy()
    for k, broken in enumerate(
        (
            records > cap.max_records,
            n_names > cap.max_names,
            (n_names >= AUTO_NAMES) & (n_names >= AUTO_SHARE * n_named),
        )
    ):
        verdicts[broken & (verdicts == 0) & ~listed] = len(VERDICTS) + k
    status = pd.DataFrame(
        {
            "id_type": texts.chosen([kind], np.zeros(n, dtype=np.int64)),
            "value": values,
            "n_records": records.astype(np.int64),
            "n_names": n_names.astype(np.int64),
            "status": texts.chosen([status for status, _ in said], verdicts),
            "reason": texts.chosen([reason for _, reason in said], verdicts),
        }
    )
    return status, np.where(verdicts == 0, 0, np.where(verdicts >= len(VERDICTS), 1, 2))
