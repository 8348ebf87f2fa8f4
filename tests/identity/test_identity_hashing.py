"""Hashes equal what the platforms publish, and belong to one platform."""

from __future__ import annotations

import hashlib

import pytest

from cdpkit.errors import CdpkitError
from cdpkit.identity.hashing import SCHEMES, identifier_hash, partner_key


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_published_vectors_of_uid2_are_met() -> None:
    """Lower case, and at Gmail neither dots nor tag; base64 of the raw digest."""
    assert (
        identifier_hash("email", "USER@example.com", "uid2") == "tMmiiTI7IaAcPpQPFQ65uMVCWH8av9jw4cwf/F5HVRQ="
    )
    assert (
        identifier_hash("email", "JaneSaoirse+Work@gmail.com", "uid2")
        == "ku4mBX7Z3qJTXWyLFB1INzkyR2WZGW4ANSJUiW21iI8="
    )
    in_hex = identifier_hash("email", "USER@example.com", "meta")
    assert in_hex is not None and in_hex.startswith("b4c9a289") and in_hex.endswith("75514")


@pytest.mark.parametrize(
    ("kind", "value", "scheme", "hashed"),
    [
        ("email", " Jane.Doe+a@Gmail.com ", "google", "janedoe+a@gmail.com"),
        ("email", "jane.doe@googlemail.com", "google", "janedoe@googlemail.com"),
        ("email", " Jane.Doe+a@Gmail.com ", "meta", "jane.doe+a@gmail.com"),
        ("email", "Jane.Doe@shop.fr", "google", "jane.doe@shop.fr"),
        ("phone", "06 12 34 56 78", "google", "+33612345678"),
        ("phone", "06 12 34 56 78", "meta", "33612345678"),
        ("phone", "06 12 34 56 78", "tiktok", "+33612345678"),
    ],
)
def test_each_destination_has_its_own_normalisation(kind: str, value: str, scheme: str, hashed: str) -> None:
    """Google drops Gmail's dots, Meta keeps them and drops the plus of a phone."""
    assert identifier_hash(kind, value, scheme) == sha(hashed)


def test_what_is_no_address_or_number_is_not_hashed() -> None:
    """A placeholder has no hash in any scheme; a hash for Meta passes through; a wrong scheme is named."""
    for scheme in SCHEMES:
        assert identifier_hash("email", "n/a", scheme) is None
        assert identifier_hash("phone", "12", scheme) is None
        assert identifier_hash("email", None, scheme) is None
    assert identifier_hash("email", sha("x").upper(), "meta") == sha("x")
    with pytest.raises(CdpkitError, match="scheme"):
        identifier_hash("email", "a@b.fr", "fax")


def test_keys_of_two_partners_do_not_join() -> None:
    """One person, two salts, no common key; the clear address is in none."""
    one, two = (partner_key("email", "jane@shop.fr", salt) for salt in (b"one", b"two"))
    assert one == partner_key("email", " JANE@shop.fr", b"one") != two
    assert one != identifier_hash("email", "jane@shop.fr", "google")
