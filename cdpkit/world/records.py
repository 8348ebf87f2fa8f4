"""What source systems wrote down about persons: contacts, accounts and cards, with their faults."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit.world import columns
from cdpkit.world.catalogue import words
from cdpkit.world.draws import Draws, scramble
from cdpkit.world.persons import Persons
from cdpkit.world.plan import Plan

#: Kinds of record, one slot each: a source's second record of a person has a slot of its own.
CONTACT, CONTACT_AGAIN, ACCOUNT, ACCOUNT_AGAIN, CARD, CARD_AGAIN, CALLER = range(7)
#: State of the address on a record.
FINE, MISSING, PLACEHOLDER, HUB, TYPO = range(5)
_ACCENTS = str.maketrans("àâäéèêëîïôöùûüçÀÂÄÉÈÊËÎÏÔÖÙÛÜÇ", "aaaeeeeiioouuucAAAEEEEIIOOUUUC")
_BLOCK = 10_000


@cache
def _surnames() -> list[str]:
    text = words()
    made = [stem + end for end in text["surname_endings"] for stem in text["surname_stems"]]
    return [*text["surnames"], *made]


def _zipf(n: int, power: float) -> np.ndarray:
    return 1.0 / np.arange(1, n + 1) ** power


def plain(text: pa.Array) -> pa.Array:
    """Return text without accents, in lower case, letters only."""
    lowered = [value.translate(_ACCENTS).lower() for value in text.to_pylist()]
    return pc.replace_substring_regex(pa.array(lowered, pa.string()), r"[^a-z]", "")


@dataclass
class Identity:
    """Who persons really are, in clear: never stored in the truth, which holds numbers only."""

    first: pa.Array
    last: pa.Array
    female: np.ndarray
    birth: np.ndarray
    email: pa.Array
    email_again: pa.Array
    email_household: pa.Array
    mobile: np.ndarray
    landline: np.ndarray
    street: pa.Array
    postcode: np.ndarray
    city: pa.Array


def identity(plan: Plan, persons: Persons) -> Identity:
    """Return the civil identity of persons; members of a household share name, address and line."""
    text, me = words(), Draws(plan.seed, persons.unit)
    home = Draws(plan.seed, persons.household + (1 << 42))
    female = me.chance(0.54, "female")
    names = [*text["female"], *text["male"]]
    n_female = len(text["female"])
    first = np.where(
        female,
        me.pick(_zipf(n_female, 0.4), "first name"),
        n_female + me.pick(_zipf(len(text["male"]), 0.4), "first name"),
    )
    families = _surnames()
    own = me.chance(plan.rules.population.own_surname, "own surname") & ~persons.head
    weight = _zipf(len(families), 0.55)
    last = np.where(own, me.pick(weight, "surname"), home.pick(weight, "surname"))
    first_text, last_text = columns.words(first, names), columns.words(last, families)
    year = (1942 + 64 * home.uniform("generation")).astype(np.int64) + me.poisson(9.0, 25, "age gap") - 9
    birth = ((year - 1970) * 365.25 + 365 * me.uniform("birthday")).astype(np.int64)
    birth = np.minimum(birth, int(np.datetime64("2008-12-31").astype(int)))
    # Four digits that no other person of the same ten thousand has, then the ten thousand if not the first.
    digits = scramble(persons.unit % _BLOCK, plan.seed, "address", _BLOCK)
    block = persons.unit // _BLOCK
    suffix = pc.cast(pa.array(np.where(block > 0, block * _BLOCK + digits, digits)), pa.string())
    domains = text["email_domains"]
    plain_first, plain_last = plain(first_text), plain(last_text)
    domain = columns.words(me.pick(_zipf(len(domains), 0.6), "domain"), domains)
    other = columns.words(me.pick(np.ones(len(domains)), "other domain"), domains)
    home_domain = columns.words(home.pick(np.ones(len(domains)), "domain"), domains)
    local = pc.binary_join_element_wise(plain_first, pc.binary_join_element_wise(plain_last, suffix, ""), ".")
    initial = pc.utf8_slice_codeunits(plain_first, 0, 1)
    again = pc.binary_join_element_wise(initial, plain_last, suffix, "")
    family = plain(columns.words(home.pick(weight, "surname"), families))
    house = pc.cast(pa.array(scramble(persons.household, plan.seed, "house", 10_000_019)), pa.string())
    shared = pc.binary_join_element_wise("famille", family, house, ".")
    number = pc.cast(pa.array(1 + home.pick(_zipf(140, 0.5), "street number")), pa.string())
    kind = columns.words(
        home.pick(_zipf(len(text["street_kinds"]), 1.0), "street kind"), text["street_kinds"]
    )
    street = columns.words(home.pick(np.ones(len(text["street_names"])), "street"), text["street_names"])
    return Identity(
        first=first_text,
        last=last_text,
        female=female,
        birth=birth,
        email=pc.binary_join_element_wise(local, domain, "@"),
        email_again=pc.binary_join_element_wise(again, other, "@"),
        email_household=pc.binary_join_element_wise(shared, home_domain, "@"),
        mobile=mobiles(plan, persons.unit),
        landline=_landlines(plan, persons.household),
        street=pc.binary_join_element_wise(number, kind, street, " "),
        postcode=persons.postcode,
        city=columns.words(persons.city, [name for name, *_ in text["cities"]]),
    )


def mobiles(plan: Plan, unit: np.ndarray, *, again: bool = False) -> np.ndarray:
    """Return one mobile number a person, nine digits after +33; `again` is the next one."""
    return 600_000_000 + scramble(2 * unit + again, plan.seed, "mobile", 200_000_000 - 33)


def _landlines(plan: Plan, household: np.ndarray) -> np.ndarray:
    return 100_000_000 + scramble(household, plan.seed, "landline", 400_000_000 - 37)


def address_state(plan: Plan, me: Draws, slot: int) -> np.ndarray:
    """Return what is wrong with the e-mail address of a record."""
    quality = plan.rules.quality
    factor = {CONTACT: 1.0, CONTACT_AGAIN: 1.5, ACCOUNT: 0.0, ACCOUNT_AGAIN: 0.0}.get(slot, 4.0)
    typo = quality.typo * (0.3 if slot in (ACCOUNT, ACCOUNT_AGAIN) else 0.6)
    hub = quality.hub if slot in (CONTACT, CONTACT_AGAIN) else 0.0
    fake = quality.placeholder if slot not in (ACCOUNT, ACCOUNT_AGAIN) else 0.0
    share = np.array([quality.missing_email * factor, fake, hub, typo])
    u = me.uniform("address state", slot)
    cut = np.cumsum(share)
    return np.select(
        [u < cut[0], u < cut[1], u < cut[2], u < cut[3]], [MISSING, PLACEHOLDER, HUB, TYPO], FINE
    )


def misspell(values: pa.Array, who: np.ndarray, luck: Draws, stream: str) -> pa.Array:
    """Return `values` with one slip of the keyboard in the rows where `who` is true."""
    rows = np.flatnonzero(who)
    if not len(rows):
        return values
    kind = luck.take(rows).pick(np.ones(4), stream + " kind")
    where = luck.take(rows).uniform(stream + " place")
    letter = luck.take(rows).pick(np.ones(26), stream + " letter")
    text = values.to_pylist()
    for row, slip, share, new in zip(
        rows.tolist(), kind.tolist(), where.tolist(), letter.tolist(), strict=True
    ):
        value = text[row]
        if value is None or len(value) < 4:
            continue
        at = 1 + int(share * (len(value.partition("@")[0]) - 2))
        if slip == 0:
            text[row] = value[:at] + value[at + 1 :]
        elif slip == 1:
            text[row] = value[:at] + value[at + 1 : at + 2] + value[at] + value[at + 2 :]
        elif slip == 2:
            text[row] = value[:at] + chr(97 + new) + value[at + 1 :]
        else:
            text[row] = value[: at + 1] + value[at:]
    return pa.array(text, pa.string())


@dataclass
class Written:
    """The fields of records, as a source wrote them."""

    first: pa.Array
    last: pa.Array
    email: pa.Array
    phone: pa.Array
    state: np.ndarray


def write(plan: Plan, persons: Persons, who: Identity, index: np.ndarray, slot: int) -> Written:
    """Return names, e-mail and phone as one source wrote them for the persons at `index`."""
    text, quality = words(), plan.rules.quality
    me, home = Draws(plan.seed, persons.unit[index]), Draws(plan.seed, persons.household[index] + (1 << 42))
    place = pa.array(index)
    typed = slot in (ACCOUNT, ACCOUNT_AGAIN)
    slips = quality.typo * (0.3 if typed else 1.0)
    first, last = who.first.take(place), who.last.take(place)
    swapped = me.chance(0.2 * quality.typo, "swapped", slot)
    first, last = pc.if_else(pa.array(swapped), last, first), pc.if_else(pa.array(swapped), first, last)
    first = misspell(first, me.chance(slips, "first slip", slot), me, f"first {slot}")
    last = misspell(last, me.chance(slips, "last slip", slot), me, f"last {slot}")
    style = me.pick(np.array([6, 2, 2, 1] if slot in (CARD, CARD_AGAIN) else [2, 6, 1, 1]), "case", slot)
    first, last = _styled(first, style), _styled(last, style)
    fake = me.chance(quality.placeholder * 0.5 * (not typed), "fake name", slot)
    names = columns.words(me.pick(np.ones(4), "fake name kind", slot), text["placeholder_names"])
    last = pc.if_else(pa.array(fake), names, last)
    first = columns.blank(first, ~me.chance(0.02 if not typed else 0.08, "no first name", slot))
    return Written(first, last, *_address(plan, persons, who, index, slot, me, home))


def _styled(names: pa.Array, style: np.ndarray) -> pa.Array:
    """Return names as the source's staff types them: capitals, proper, proper without accents, lower case."""
    bare = pa.array([None if v is None else v.translate(_ACCENTS) for v in names.to_pylist()], pa.string())
    return pc.choose(pa.array(style), pc.utf8_upper(bare), names, bare, pc.utf8_lower(names))


def _address(
    plan: Plan, persons: Persons, who: Identity, index: np.ndarray, slot: int, me: Draws, home: Draws
) -> tuple[pa.Array, pa.Array, np.ndarray]:
    text, population, quality = words(), plan.rules.population, plan.rules.quality
    place = pa.array(index)
    state = address_state(plan, me, slot)
    # A shop lets an address open one account only.
    sharing = persons.head[index] | (slot not in (ACCOUNT, ACCOUNT_AGAIN))
    sharing &= home.chance(population.shared_email, "shared address") & me.chance(0.6, "uses shared address")
    other = me.chance(0.5 if slot == CONTACT_AGAIN else 0.12, "other address", slot // 2) | (
        slot == ACCOUNT_AGAIN
    )
    use = np.where(sharing, 2, np.where(other, 1, 0))
    email = pc.choose(
        pa.array(use), who.email.take(place), who.email_again.take(place), who.email_household.take(place)
    )
    email = misspell(email, state == TYPO, me, f"email {slot}")
    capital = me.chance(0.10, "capital address", slot)
    email = pc.if_else(pa.array(capital), pc.utf8_upper(email), email)
    padded = pc.binary_join_element_wise(email, " ", "")
    email = pc.if_else(pa.array(me.chance(0.01, "padded address", slot)), padded, email)
    fakes = columns.words(me.pick(np.ones(4), "fake address", slot), text["placeholder_emails"])
    email = pc.if_else(pa.array(state == PLACEHOLDER), fakes, email)
    email = pc.if_else(pa.array(state == HUB), pa.scalar(text["hub_email"]), email)
    email = columns.blank(email, state != MISSING)
    fixed = me.chance(population.landline, "landline", slot)
    number = np.where(fixed, who.landline[index], who.mobile[index])
    number = np.where(
        me.chance(0.4 * quality.typo, "phone slip", slot), number // 10 * 10 + (number + 3) % 10, number
    )
    phone = phones(number, me.pick(np.array([4, 3, 2, 1, 1]), "phone style", slot))
    fakes = columns.words(me.pick(np.ones(4), "fake phone", slot), text["placeholder_phones"])
    phone = pc.if_else(pa.array(me.chance(quality.placeholder, "fake phone row", slot)), fakes, phone)
    missing = quality.missing_phone * (2.2 if slot in (ACCOUNT, ACCOUNT_AGAIN) else 1.0)
    return email, columns.blank(phone, ~me.chance(missing, "no phone", slot)), state


def phones(number: np.ndarray, style: np.ndarray) -> pa.Array:
    """Return nine-digit French numbers in the styles people write them.

    Examples
    --------
    >>> phones(np.array([612345678, 612345678]), np.array([0, 2])).to_pylist()
    ['0612345678', '+33612345678']
    """
    nine = columns.digits(number, 9)
    national = columns.fixed(np.concatenate([np.full((len(nine), 1), 48, np.uint8), nine], axis=1))
    pairs = [pc.utf8_slice_codeunits(national, k, k + 2) for k in range(0, 10, 2)]
    bare = columns.fixed(nine)
    plus = pc.binary_join_element_wise("+33", bare, "")
    return pc.choose(
        pa.array(np.asarray(style)),
        national,
        pc.binary_join_element_wise(*pairs, " "),
        plus,
        pc.binary_join_element_wise(*pairs, "."),
        pc.binary_join_element_wise("0033", bare, ""),
    )
