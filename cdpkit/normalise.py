"""Comparable keys of names, dates, addresses and identifiers.

A key is what two spellings of the same thing share. The value as given is never changed: keys live
beside it. Every function takes one text; `keys` maps a whole column over its distinct values.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit import texts

_BLANK = pa.scalar(" ", pa.large_string())
#: Letters that compatibility decomposition leaves alone.
_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
_TITLES = (
    "m", "mr", "mrs", "ms", "miss", "mme", "mlle", "dr", "me", "pr", "prof", "sir", "monsieur", "madame",
    "mademoiselle",
)  # fmt: skip
#: "St" is both a saint and a street: one spelling for all of them.
_STREET_WORDS = {
    "av": "avenue", "ave": "avenue", "bd": "boulevard", "bld": "boulevard", "blvd": "boulevard",
    "boul": "boulevard", "ch": "chemin", "che": "chemin", "imp": "impasse", "pl": "place", "r": "rue",
    "rte": "route", "all": "allee", "sq": "square", "res": "residence", "fg": "faubourg", "crs": "cours",
    "st": "saint", "ste": "sainte", "rd": "road", "ln": "lane", "dr": "drive", "ct": "court",
    "street": "saint", "b": "bis", "t": "ter",
}  # fmt: skip
_GMAIL = ("gmail.com", "googlemail.com")
_FRENCH_PHONE = re.compile(r"(?:\+33|0033|33(?=\d{9}$)|0)?([1-9]\d{8})")
_ISO_DATE = re.compile(r"(\d{4})[-/.]?(\d{2})[-/.]?(\d{2})(?:[ T].*)?$")
_EUROPEAN_DATE = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4})(?:[ T].*)?$")


def clean(value: object) -> str | None:
    r"""Return the text in its compatibility form, without invisible characters, or None when empty.

    Parameters
    ----------
    value : object
        Anything; numbers and dates are spelt out.

    Returns
    -------
    str or None

    Examples
    --------
    >>> clean("  ＡＢ\u200b C\t"), clean("\u200b ")
    ('AB C', None)
    """
    text = value if isinstance(value, str) else str(value)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    text = "".join(c if c.isprintable() else " " for c in text) if not text.isprintable() else text
    return " ".join(text.split()) or None


def fold(value: object) -> str | None:
    """Return lower-case words without accents or punctuation.

    Examples
    --------
    >>> fold("  JEAN-François "), fold("İpek"), fold("Lœtitia"), fold("!")
    ('jean francois', 'ipek', 'loetitia', None)
    """
    text = clean(value)
    if text is None:
        return None
    text = text.casefold().translate(_LETTERS)
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[\W_]+", " ", text.replace("'", "").replace("’", "")).split()) or None


def name_key(value: object) -> str | None:
    """Return the folded name without a leading title.

    Examples
    --------
    >>> name_key("Mme Hélène"), name_key("M")
    ('helene', 'm')
    """
    text = fold(value)
    while text and " " in text and text.split(" ", 1)[0] in _TITLES:
        text = text.split(" ", 1)[1]
    return text


def email_key(value: object) -> str | None:
    """Return the e-mail address in lower case without any white space.

    Examples
    --------
    >>> email_key(" Jane.Saoirse@Gmail.com ")
    'jane.saoirse@gmail.com'
    """
    text = clean(value)
    return None if text is None else text.casefold().replace(" ", "").removeprefix("mailto:") or None


def email_alias_key(email: str) -> str:
    """Return the mailbox behind an e-mail key: no +tag, no dots at Gmail.

    Examples
    --------
    >>> email_alias_key("jane.saoirse+work@googlemail.com")
    'janesaoirse@gmail.com'
    """
    local, at, domain = email.partition("@")
    local = local.split("+", 1)[0] or local
    if domain in _GMAIL:
        local, domain = local.replace(".", ""), _GMAIL[0]
    return local + at + domain


def phone_key(value: object, region: str = "FR") -> str | None:
    """Return the number in E.164 when it can be one, else its digits.

    Parameters
    ----------
    value : object
        A number as typed.
    region : str
        ISO country of a number without a country prefix.

    Examples
    --------
    >>> phone_key("06 12-34.56 78"), phone_key("+33 (0)6 12 34 56 78"), phone_key("020 7946 0958", "GB")
    ('+33612345678', '+33612345678', '+442079460958')
    >>> phone_key("12")
    '12'
    """
    text = clean(value)
    if text is None:
        return None
    digits = re.sub(r"[^\d+]", "", text.replace("(0)", ""))
    # The usual case by pattern: the library costs about 40 microseconds a number.
    if (region == "FR" or digits.startswith(("+33", "0033"))) and (m := _FRENCH_PHONE.fullmatch(digits)):
        return "+33" + m[1]
    import phonenumbers

    try:
        number = phonenumbers.parse("+" + digits[2:] if digits.startswith("00") else text, region)
    except phonenumbers.NumberParseException:
        return digits.replace("+", "") or text.casefold()
    if phonenumbers.is_possible_number(number):
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return digits.replace("+", "") or text.casefold()


def date_key(value: object) -> str | None:
    """Return an ISO date; a text that is no date stays as it is.

    Examples
    --------
    >>> date_key("31/12/1980"), date_key("19801231"), date_key("1980-12-31 00:00:00"), date_key("soon")
    ('1980-12-31', '1980-12-31', '1980-12-31', 'soon')
    """
    text = clean(value)
    if text is None or text == "NaT":
        return None
    if m := _ISO_DATE.match(text):
        year, month, day = int(m[1]), int(m[2]), int(m[3])
    elif m := _EUROPEAN_DATE.match(text):
        year, month, day = int(m[3]), int(m[2]), int(m[1])
        if month > 12 >= day:
            month, day = day, month
    else:
        return text
    try:
        return dt.date(year, month, day).isoformat()
    except ValueError:
        return text


def street_key(value: object) -> str | None:
    """Return the folded street with usual words spelt out.

    Examples
    --------
    >>> street_key("12, Av. de l'Été") == street_key("12 avenue de l’ete")
    True
    """
    text = fold(value)
    return None if text is None else " ".join(_STREET_WORDS.get(word, word) for word in text.split())


def code_key(value: object) -> str | None:
    """Return an identifier in lower case without any white space.

    Examples
    --------
    >>> code_key(" AB-12 34 ")
    'ab-1234'
    """
    text = clean(value)
    if text is None:
        return None
    return text.casefold().replace(" ", "")


def number_key(value: object) -> str | None:
    """Return the letters and digits of an official number, in lower case.

    Examples
    --------
    >>> number_key("1 80-05 75.123")
    '1800575123'
    """
    text = code_key(value)
    return None if text is None else re.sub(r"[^\w]", "", text) or text


#: How each known attribute becomes a key; phones are apart, for they need the country.
KEYS: dict[str, Callable[[object], str | None]] = {
    "first_name": name_key,
    "last_name": name_key,
    "birth_date": date_key,
    "email": email_key,
    "phone": phone_key,
    "street": street_key,
    "postcode": number_key,
    "city": fold,
    "national_id": number_key,
    "loyalty_id": code_key,
    "account_id": code_key,
    "cookie_id": code_key,
    "device_id": code_key,
    "app_id": code_key,
}


@dataclass(frozen=True)
class Keys:
    """A column of keys.

    Parameters
    ----------
    codes : ndarray of int
        Position of each row's key in `categories`, -1 when it has none.
    categories : Index
        Distinct keys in alphabetical order, so that codes compare like texts.
    """

    codes: np.ndarray
    categories: pd.Index

    def __iter__(self) -> Iterator[str]:
        """Yield the key of each row, missing when it has none."""
        return iter(self.array())

    def array(self) -> pd.api.extensions.ExtensionArray:
        """Return the keys as a column of texts."""
        return texts.chosen(texts.arrow(self.categories), self.codes)


def keys(column: pd.Series, make: Callable[[object], str | None]) -> Keys:
    """Map a column to keys, once for each distinct value.

    Parameters
    ----------
    column : Series
        Values as given; missing stays missing.
    make : callable
        One of the functions of this module.

    Examples
    --------
    >>> keys(pd.Series(["Zoé", None, "zoe ", "Anne"]), name_key).codes.tolist()
    [1, -1, 1, 0]
    """
    codes, values = texts.distinct(column)
    plain = _PLAIN.get(make)
    made = _made(values, plain and plain(values), make)
    if not made.equals(values):
        return _coded(codes, made)
    # Every value is its own key: they are distinct already.
    place, categories = texts.in_order(values)
    return Keys(np.append(place, -1)[codes], texts.index(categories))


def phone_keys(column: pd.Series, country: pd.Series | None = None, default: str = "FR") -> Keys:
    """Map a column of phone numbers to keys, each read in the country beside it.

    Examples
    --------
    >>> phones = pd.Series(["0612345678", "020 7946 0958"])
    >>> list(phone_keys(phones, pd.Series(["France", "GB"])))
    ['+33612345678', '+442079460958']
    """
    codes, values = texts.distinct(column)
    if country is None or country.isna().all():
        made = _made(values, _plain_phone(values, default), lambda value: phone_key(value, default))
        return _coded(codes, made)
    found = country.map(regions(country)).fillna(default)
    parts: list[pa.Array] = []
    place = np.full(len(codes), -1, dtype=np.int64)
    for region in sorted(set(found)):
        at = np.flatnonzero((found == region).to_numpy() & (codes >= 0))
        used, place_of = np.unique(codes[at], return_inverse=True)
        some = values.take(pa.array(used))
        place[at] = place_of + sum(len(part) for part in parts)
        read = functools.partial(phone_key, region=region)
        parts.append(_made(some, _plain_phone(some, region), read))
    return _coded(place, pa.concat_arrays(parts) if parts else pa.array([], pa.large_string()))


def email_aliases(values: pa.Array) -> pa.Array:
    """Return the mailbox behind each e-mail key (see `email_alias_key`)."""
    untagged = texts.replaced(values, r"(?s)^([^@+]+)[+][^@]*(@|$)", r"\1\2")
    gmail = pc.match_substring_regex(untagged, r"^[^@]*@(gmail|googlemail)[.]com$")
    if not pc.any(gmail).as_py():
        return untagged
    local = pc.replace_substring(texts.replaced(untagged, "@.*$", ""), ".", "")
    mailbox = pc.binary_join_element_wise(local.cast(pa.string()), pa.scalar("@" + _GMAIL[0]), "")
    return pc.if_else(gmail, mailbox.cast(values.type), untagged)


def cleaned(values: pa.Array) -> pa.Array:
    """Return each value as `clean` does."""
    held = pc.if_else(pc.string_is_ascii(values), values, pa.scalar(None, pa.large_string()))
    blank = texts.replaced(held, r"[\x00-\x20\x7f]+", " ")
    return _made(values, pc.ascii_trim_whitespace(blank), clean)


def _coded(codes: np.ndarray, made: pa.Array) -> Keys:
    """Return the keys of rows that point to distinct values."""
    table, categories = texts.ranked(made)
    return Keys(np.append(table, -1)[codes], texts.index(categories))


def _made(values: pa.Array, plain: pa.Array | None, make: Callable[[object], str | None]) -> pa.Array:
    """Return the key of each value: in bulk where the value is plain, else one by one.

    `plain` has an empty text where a value has no key, and nothing where it is not plain.
    """
    if plain is None:
        return pa.array([make(value) for value in values.to_pylist()], pa.large_string())
    hard = np.flatnonzero(plain.is_null().to_numpy(zero_copy_only=False))
    plain = pc.if_else(pc.equal(plain, ""), pa.scalar(None, pa.large_string()), plain)
    if len(hard) == 0:
        return plain
    one_by_one = [make(value) for value in values.take(pa.array(hard)).to_pylist()]
    place = np.arange(len(values))
    place[hard] = len(values) + np.arange(len(hard))
    return pa.concat_arrays([plain, pa.array(one_by_one, pa.large_string())]).take(pa.array(place))


def _ascii(values: pa.Array) -> pa.Array:
    """Return the values in lower case, nothing where a letter is not of the plain alphabet."""
    held = pc.if_else(pc.string_is_ascii(values), values, pa.scalar(None, pa.large_string()))
    return pc.ascii_lower(held)


def _plain_fold(values: pa.Array) -> pa.Array:
    bare = pc.replace_substring(_ascii(values), "'", "")
    return pc.ascii_trim_whitespace(texts.replaced(bare, "[^a-z0-9]+", " "))


def _plain_name(values: pa.Array) -> pa.Array:
    return texts.replaced(_plain_fold(values), f"^(?:(?:{'|'.join(_TITLES)}) )+", "")


def _plain_code(values: pa.Array) -> pa.Array:
    return texts.replaced(_ascii(values), r"[\x00-\x20\x7f]+", "")


def _plain_email(values: pa.Array) -> pa.Array:
    return texts.replaced(_plain_code(values), "^mailto:", "")


def _plain_number(values: pa.Array) -> pa.Array:
    code = _plain_code(values)
    bare = texts.replaced(code, "[^a-z0-9_]+", "")
    return pc.if_else(pc.equal(bare, ""), code, bare)


def _plain_street(values: pa.Array) -> pa.Array:
    words = pc.split_pattern(_plain_fold(values), " ")
    codes, spelt = texts.encoded(words.values.cast(pa.large_string()))
    spelt = pa.array([_STREET_WORDS.get(word, word) for word in spelt.to_pylist()], pa.large_string())
    each = words.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    ends = pa.array(np.append(0, np.cumsum(each)), pa.int64())
    joined = pc.binary_join(pa.LargeListArray.from_arrays(ends, spelt.take(pa.array(codes))), _BLANK)
    return pc.if_else(words.is_null(), pa.scalar(None, pa.large_string()), joined)


def _plain_phone(values: pa.Array, region: str) -> pa.Array:
    """Return French numbers in E.164; the rest is for the library."""
    digits = texts.replaced(pc.replace_substring(_ascii(values), "(0)", ""), r"[^\d+]", "")
    begins = "(?:[+]33|0033|33|0)?" if region == "FR" else "(?:[+]33|0033)"
    shape = f"^{begins}([1-9][0-9]{{8}})$"
    spelt = texts.replaced(digits, shape, r"+33\1")
    return pc.if_else(pc.match_substring_regex(digits, shape), spelt, pa.scalar(None, pa.large_string()))


#: The same keys in bulk, for values of the plain alphabet.
_PLAIN: dict[Callable[[object], str | None], Callable[[pa.Array], pa.Array]] = {
    name_key: _plain_name,
    fold: _plain_fold,
    email_key: _plain_email,
    code_key: _plain_code,
    number_key: _plain_number,
    street_key: _plain_street,
}


def regions(country: pd.Series) -> dict[object, str]:
    """Return the ISO code of each country as given: a code, or a name in English or French."""
    given = {value: clean(value) for value in country.dropna().unique()}
    names: dict[str, str] = {}
    if any(text is not None and len(text) != 2 for text in given.values()):
        from babel import Locale

        for language in ("en", "fr"):
            for code, name in Locale(language).territories.items():
                if len(code) == 2:
                    names[fold(name) or ""] = code
    regions = {
        value: text.upper() if len(text) == 2 else names.get(fold(text) or "")
        for value, text in given.items()
        if text is not None
    }
    return {value: region for value, region in regions.items() if region}
