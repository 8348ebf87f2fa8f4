"""One hash for each destination: each platform normalises in its own way before it hashes.

A hash made for one destination says nothing to another, so it is stored with its scheme and matched
only within it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable

from cdpkit.errors import CdpkitError
from cdpkit.normalise import clean, phone_key

_ADDRESS = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_HASHED = re.compile(r"[0-9a-f]{64}")


def _lower(value: object) -> str | None:
    text = clean(value)
    text = None if text is None else text.lower().replace(" ", "")
    return text if text and _ADDRESS.fullmatch(text) else None


def _google(value: object) -> str | None:
    """Lower case, no dots before Gmail's domains."""
    text = _lower(value)
    if text is None:
        return None
    local, _, domain = text.partition("@")
    return f"{local.replace('.', '')}@{domain}" if domain in ("gmail.com", "googlemail.com") else text


def _uid2(value: object) -> str | None:
    """Lower case; at gmail.com no dots and no +tag."""
    text = _lower(value)
    if text is None or not text.endswith("@gmail.com"):
        return text
    local = text.removesuffix("@gmail.com").split("+", 1)[0].replace(".", "")
    return f"{local}@gmail.com" if local else None


def _plus(value: object, region: str) -> str | None:
    """E.164 with its sign."""
    number = phone_key(value, region)
    return number if number and number.startswith("+") and len(number) <= 16 else None


def _digits(value: object, region: str) -> str | None:
    """Country code and number, no sign."""
    number = _plus(value, region)
    return None if number is None else number[1:]


def _hex(digest: bytes) -> str:
    return digest.hex()


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")


#: E-mail rule, phone rule and encoding of each scheme.
_SCHEMES: dict[str, tuple[Callable, Callable, Callable[[bytes], str]]] = {
    "google": (_google, _plus, _hex),
    "meta": (_lower, _digits, _hex),
    "tiktok": (_lower, _plus, _hex),
    "uid2": (_uid2, _plus, _base64),
}
SCHEMES = tuple(_SCHEMES)


def identifier_hash(kind: str, value: object, scheme: str, region: str = "FR") -> str | None:
    """Hash an e-mail or phone as one destination wants it.

    Parameters
    ----------
    kind : str
        ``email`` or ``phone``.
    value : object
        As given. A value that is already 64 hexadecimal digits passes through, for Meta only.
    scheme : str
        ``google``, ``meta``, ``tiktok`` or ``uid2``.
    region : str
        ISO country of a phone number without a prefix.

    Returns
    -------
    str or None
        SHA-256, in hexadecimal or (UID2) base64; None when the value cannot be one.

    Raises
    ------
    CdpkitError
        When the scheme or kind is unknown.

    Examples
    --------
    >>> identifier_hash("email", " USER@example.com ", "uid2")
    'tMmiiTI7IaAcPpQPFQ65uMVCWH8av9jw4cwf/F5HVRQ='
    >>> len({identifier_hash("phone", "06 12 34 56 78", scheme) for scheme in ("meta", "google", "uid2")})
    3
    """
    if scheme not in _SCHEMES:
        raise CdpkitError(f"a hash scheme must be one of {', '.join(SCHEMES)}", got=scheme)
    if kind not in ("email", "phone"):
        raise CdpkitError("a hashed identifier must be an email or a phone", got=kind)
    email, phone, encode = _SCHEMES[scheme]
    if scheme == "meta" and isinstance(value, str) and _HASHED.fullmatch(value.strip().lower()):
        return value.strip().lower()
    text = email(value) if kind == "email" else phone(value, region)
    return None if text is None else encode(hashlib.sha256(text.encode()).digest())


def text_hash(value: object, *, fold: bool = True) -> str | None:
    """Hash a name or an id: surrounding blanks do not count.

    Parameters
    ----------
    value : object
        As given.
    fold : bool
        Whether case does not count either: so for a name, never for an id.

    Examples
    --------
    >>> text_hash(" Ana ") == text_hash("ana"), text_hash("Ana", fold=False) == text_hash("ana")
    (True, False)
    """
    text = clean(value)
    if not text:
        return None
    return hashlib.sha256((text.lower() if fold else text).encode()).hexdigest()


def partner_key(kind: str, value: object, salt: bytes, region: str = "FR") -> str | None:
    """Return the keyed hash of an e-mail or phone for one partner: keys of two partners do not join.

    Parameters
    ----------
    kind, value, region
        As for `identifier_hash`.
    salt : bytes
        Secret shared with this partner only.

    Examples
    --------
    >>> partner_key("email", "a@b.fr", b"one") == partner_key("email", " A@B.fr", b"one")
    True
    >>> partner_key("email", "a@b.fr", b"one") == partner_key("email", "a@b.fr", b"two")
    False
    """
    plain = identifier_hash(kind, value, "google", region)
    return None if plain is None else hmac.digest(salt, f"{kind}\0{plain}".encode(), "sha256").hex()
