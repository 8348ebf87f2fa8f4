"""Keys are equal for spellings of one thing, and only for those."""

from __future__ import annotations

import unicodedata

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit import normalise
from cdpkit.identity import resolve


@pytest.mark.parametrize(
    ("given_as", "same"),
    [
        ("Hélène", "HELENE"),
        ("He\u0301le\u0300ne", "Hélène"),
        ("ＨＥＬＥＮＥ", "helene"),
        ("He\u200bl\u00adene\ufeff", "helene"),
        ("İstanbul", "istanbul"),
        ("ISTANBUL", "ıstanbul"),
        ("Lœtitia", "LOETITIA"),
        ("Strauß", "STRAUSS"),
        ("Jean-Pierre", "jean  pierre"),
        ("Mme D'Arc", "darc"),
        ("O’Neil", "O'Neil"),
    ],
)
def test_spellings_of_one_name_have_one_key(given_as: str, same: str) -> None:
    """Compatibility forms, invisible characters, case, accents, hyphens and titles do not count."""
    assert normalise.name_key(given_as) == normalise.name_key(same)


@given(st.text(max_size=20))
def test_keys_are_stable_under_canonical_forms_and_themselves(text: str) -> None:
    """A key of a key is the key, and composed and decomposed texts have one key."""
    key = normalise.fold(text)
    assert key is None or normalise.fold(key) == key
    assert normalise.fold(unicodedata.normalize("NFD", text)) == normalise.fold(
        unicodedata.normalize("NFC", text)
    )


@pytest.mark.parametrize(
    "phone",
    ["0612345678", "06 12 34 56 78", "06.12.34.56.78", "+33612345678", "0033 6 12 34 56 78", "+33 (0)6-12-34-56-78",
     "612345678", "33612345678", "\u200b06\u00a012 34 56 78"],
)  # fmt: skip
def test_french_phones_have_one_key_however_typed(phone: str) -> None:
    """Prefixes, separators and a lost leading zero do not count."""
    assert normalise.phone_key(phone) == "+33612345678"


def test_the_pattern_for_french_phones_agrees_with_the_library() -> None:
    """The fast path returns what the library would."""
    import phonenumbers

    for number in ("0102030405", "0698765432", "0912345678", "0800123456"):
        parsed = phonenumbers.parse(number, "FR")
        assert normalise.phone_key(number) == phonenumbers.format_number(
            parsed, phonenumbers.PhoneNumberFormat.E164
        )


def test_a_phone_is_read_in_the_country_beside_it() -> None:
    """A name or code of the country, in either language, decides; else the default does."""
    column = pd.Series(["020 7946 0958"] * 4 + ["06 12 34 56 78"])
    country = pd.Series(["GB", "United Kingdom", "Royaume-Uni", "gb", None])
    assert list(normalise.phone_keys(column, country)) == ["+442079460958"] * 4 + ["+33612345678"]


def test_a_column_of_keys_keeps_its_gaps_and_its_order() -> None:
    """Missing and empty values have no key; categories are sorted so that codes compare like texts."""
    keys = normalise.keys(pd.Series(["b", None, " ", "a", "B"]), normalise.name_key)
    assert keys.codes.tolist() == [1, -1, -1, 0, 1]
    assert list(keys.categories) == ["a", "b"]


@pytest.mark.parametrize(
    "value", ["1980-12-31", "31/12/1980", "31.12.1980", "19801231", "12/31/1980", pd.Timestamp("1980-12-31")]
)
def test_dates_have_one_key_however_written(value: object) -> None:
    """ISO, European, compact and typed dates are one day."""
    assert normalise.date_key(value) == "1980-12-31"


def test_addresses_with_unicode_variants_make_one_person() -> None:
    """Two spellings of an e-mail link, whatever hides in them."""
    records = pd.DataFrame(
        {
            "source": "s",
            "record_id": ["a", "b", "c"],
            "email": ["Zoe@Shop.fr", "zoe\u200b@shop.fr ", "ＺＯＥ@shop.fr"],
        }
    )
    assert len(resolve(records, run_id="r1").persons) == 1


def test_a_mailbox_written_two_ways_links_by_its_own_rule() -> None:
    """Gmail's dots and tags lead to one mailbox, as evidence of its own kind."""
    records = pd.DataFrame(
        {
            "source": "s",
            "record_id": ["a", "b"],
            "email": ["jane.saoirse+work@gmail.com", "janesaoirse@googlemail.com"],
        }
    )
    out = resolve(records, run_id="r1")
    assert len(out.persons) == 1
    assert out.links["rule"].tolist() == ["email alias"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(alphabet="aAbM mrED.@+-_/&'’()0123456789éŒİ\u200b\t\x7f", max_size=16),
            st.from_regex(r"(\+33|0033|0|)[ .]?[0-9]([ .-]?[0-9]{2}){4}", fullmatch=True),
            st.sampled_from(["mme marie", "12 av. st jean", "mailto:A@b.fr", "mr mr x", "m", "st"]),
        ),
        max_size=12,
    )
)
def test_a_column_has_the_keys_of_its_values_one_by_one(values: list[str]) -> None:
    """Plain values are read in bulk: the same keys as by the function of one value, for every attribute."""
    column = pd.Series([*values, None], dtype="str")
    for name, make in normalise.KEYS.items():
        found = normalise.phone_keys(column) if name == "phone" else normalise.keys(column, make)
        assert [key if isinstance(key, str) else None for key in found] == [*map(make, values), None], name
