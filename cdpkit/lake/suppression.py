"""The list of what was erased, as keyed digests: enough to refuse a reload, useless to anyone else."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from cdpkit.lake.files import write_atomic

# National numbers are compared on their last digits: +33 6…, 0033 6… and 06… are one line.
_PHONE_DIGITS = 9


class Suppression:
    """Records and identifiers that must not come back.

    Parameters
    ----------
    path : Path
        The list: one HMAC-SHA256 a line, sorted, so that its order says nothing.
    key : Path
        The key, made at the first erasure, readable by its owner only and kept out of the lake.
    """

    def __init__(self, path: Path, key: Path) -> None:
        self._path, self._key_path = path, key
        self._digests = frozenset(path.read_text().split()) if path.exists() else frozenset()
        self._key = key.read_bytes() if self._digests else b""

    def __len__(self) -> int:
        return len(self._digests)

    def records(self, pairs: Iterable[tuple[str, str]]) -> list[bool]:
        """Tell, for each ``(source, record_id)``, whether it was erased."""
        return self._listed("record", pairs)

    def identifiers(self, pairs: Iterable[tuple[str, str]]) -> list[bool]:
        """Tell, for each ``(id_type, value)``, whether it was erased, however it is written."""
        return self._listed("identifier", ((kind, normal(kind, value)) for kind, value in pairs))

    def add(self, records: Iterable[tuple[str, str]], identifiers: Iterable[tuple[str, str]]) -> None:
        """Put records and identifiers on the list."""
        if not self._key:
            self._key = self._make_key()
        added = {self._digest("record", pair) for pair in records}
        added |= {self._digest("identifier", (kind, normal(kind, value))) for kind, value in identifiers}
        if added - self._digests:
            self._digests = self._digests | added
            write_atomic(self._path, "".join(f"{line}\n" for line in sorted(self._digests)).encode())

    def _listed(self, space: str, pairs: Iterable[tuple[str, str]]) -> list[bool]:
        if not self._digests:
            return [False for _ in pairs]
        return [self._digest(space, pair) in self._digests for pair in pairs]

    def _digest(self, space: str, pair: tuple[str, str]) -> str:
        return hmac.digest(self._key, "\0".join((space, *map(str, pair))).encode(), "sha256").hex()

    def _make_key(self) -> bytes:
        self._key_path.parent.mkdir(parents=True, exist_ok=True)
        if not self._key_path.exists():
            write_atomic(self._key_path, secrets.token_bytes(32), mode=0o600)
            os.chmod(self._key_path.parent, 0o700)
        return self._key_path.read_bytes()


def normal(kind: str, value: str) -> str:
    """Return an identifier as it is compared.

    Examples
    --------
    >>> normal("phone", "+33 6 12 34 56 78") == normal("phone", "06.12.34.56.78")
    True
    >>> normal("email", " Jean@Example.FR ")
    'jean@example.fr'
    """
    if kind == "phone":
        return re.sub(r"\D", "", str(value))[-_PHONE_DIGITS:]
    return str(value).strip().casefold()
