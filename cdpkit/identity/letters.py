"""How far two texts must be apart, by their letters alone: what spares most pairs the reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit import texts
from cdpkit.normalise import Keys

#: What is counted, and how far: two of each letter, six of each digit. A text of two numbers of 64 bits.
_COUNTED = {letter: (0, 2 * k, 2) for k, letter in enumerate(b"abcdefghijklmnopqrstuvwxyz")}
_COUNTED |= {digit: (1, 6 * k, 6) for k, digit in enumerate(b"0123456789")}
_PLACE = np.full(256, len(_COUNTED), dtype=np.int64)
_PLACE[list(_COUNTED)] = np.arange(len(_COUNTED))
_UNARY = np.array([(1 << count) - 1 for count in range(7)], dtype=np.uint64)


class Letters:
    """The letters of some texts, counted.

    Parameters
    ----------
    words : Array of str
        Texts, a missing one counted as empty.

    Notes
    -----
    Of `n` slips (a letter too many, too few, another, or two neighbours swapped), each changes the counts
    of two texts by no more than two. The letters they do not share cannot match, which bounds the
    similarity of Jaro and Winkler from above.
    """

    def __init__(self, words: pa.Array) -> None:
        words = words.fill_null("").cast(pa.large_binary())
        offsets = np.frombuffer(words.buffers()[1], np.int64)[words.offset : words.offset + len(words) + 1]
        data = np.frombuffer(words.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
        row, n = np.repeat(np.arange(len(words)), np.diff(offsets)), len(words)
        #: Length in bytes; a text of other letters than those of one byte is not judged.
        self.length = np.diff(offsets)
        self._judged = np.bincount(row[data > 127], minlength=n) == 0
        width = len(_COUNTED) + 1
        count = np.bincount(_PLACE[data] * n + row, minlength=n * width).reshape(width, n)
        self._count = np.zeros((2, n), dtype=np.uint64)
        for k, (number, place, most) in enumerate(_COUNTED.values()):
            self._count[number] |= _UNARY[np.minimum(count[k], most)] << np.uint64(place)
        self._start = np.zeros((4, len(words)), dtype=np.uint8)
        for k in range(4):
            long = np.flatnonzero(self.length > k)
            self._start[k, long] = data[offsets[long] - offsets[0] + k]

    def slips(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the least number of slips between texts `a` and `b`, by position; 0 where not judged."""
        apart = self._apart(a, self, b)
        least = np.maximum((apart + 1) // 2, np.abs(self.length[a] - self.length[b]))
        return np.where(self._judged[a] & self._judged[b], least, 0)

    def likeness(self, a: np.ndarray, other: Letters, b: np.ndarray) -> np.ndarray:
        """Return the most that the similarity of Jaro and Winkler of `a` and `b` of `other` can be."""
        long_a, long_b = self.length[a], other.length[b]
        matches = np.maximum((long_a + long_b - self._apart(a, other, b)) // 2, 0)
        jaro = (matches / np.maximum(long_a, 1) + matches / np.maximum(long_b, 1) + (matches > 0)) / 3
        same, so_far = np.zeros(len(a)), np.ones(len(a), dtype=bool)
        for k in range(4):
            so_far &= (self._start[k][a] == other._start[k][b]) & (long_a > k)
            same += so_far
        return np.where(self._judged[a] & other._judged[b], jaro + 0.1 * same * (1 - jaro) + 1e-9, 1.0)

    def within(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Tell which texts may begin with the other: one has all letters of the other, and its first."""
        inside = self._apart(a, self, b) <= np.abs(self.length[a] - self.length[b])
        inside &= self._start[0, a] == self._start[0, b]
        return inside | ~self._judged[a] | ~self._judged[b]

    def _apart(self, a: np.ndarray, other: Letters, b: np.ndarray) -> np.ndarray:
        """Return by how many letters the counts differ, at least."""
        one, two = (np.bitwise_count(self._count[k][a] ^ other._count[k][b]) for k in (0, 1))
        return one.astype(np.int64) + two


class Different:
    """Which pairs surely differ outright: the last level of a comparison, told by counting letters.

    Parameters
    ----------
    fields : mapping of str to Keys
        Fields of the records.

    Notes
    -----
    The conditions of `cdpkit.identity.comparisons`, each by a bound: none that holds is missed, so that the
    pairs left over have the level they would have had.
    """

    def __init__(self, fields: Mapping[str, Keys]) -> None:
        self._fields = fields
        self._letters: dict[str, Letters] = {}
        self._years: np.ndarray | None = None

    def sure(self, comparison: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Tell of which pairs of records a comparison surely says that they differ.

        Parameters
        ----------
        comparison : str
            Name of a comparison of one field, which both records carry with two different values.
        left, right : ndarray of int
            Row numbers.
        """
        if comparison not in _JUDGES:
            return np.zeros(len(left), dtype=bool)
        return _JUDGES[comparison](self, left, right)

    def slips(self, name: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the least number of slips between the values of a field."""
        codes = self._fields[name].codes
        return self._of(name).slips(codes[left], codes[right])

    def likeness(self, one: str, left: np.ndarray, other: str, right: np.ndarray) -> np.ndarray:
        """Return the most that the similarity of one field of one record and a field of the other can be."""
        a, b = (
            self._fields[one.partition("@")[0]].codes[left],
            self._fields[other.partition("@")[0]].codes[right],
        )
        return self._of(one).likeness(a, self._of(other), b)

    def name(self, name: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Tell whether two first or last names are neither alike, nor shortened, nor swapped."""
        letters, codes = self._of(name), self._fields[name].codes
        out = (letters.likeness(codes[left], letters, codes[right]) < 0.8) & ~letters.within(
            codes[left], codes[right]
        )
        at = np.flatnonzero(out)
        out[at] = self.slips(name, left[at], right[at]) > 1
        if {"first_name", "last_name"} <= set(self._fields):
            at = np.flatnonzero(out)
            crossed = self.likeness("first_name", left[at], "last_name", right[at]) < 0.88
            crossed |= self.likeness("last_name", left[at], "first_name", right[at]) < 0.88
            out[at] = crossed
        return out

    def birth_date(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Tell whether two dates are years apart, and not by slips."""
        if self._years is None:
            years = pc.utf8_slice_codeunits(texts.arrow(self._fields["birth_date"].categories), 0, 4)
            plain = pc.match_substring_regex(years, "^[0-9]{4}$")
            years = pc.if_else(plain, years, pa.scalar(None, years.type)).cast(pa.int64())
            self._years = np.append(years.cast(pa.float64()).to_numpy(zero_copy_only=False), np.nan)
        codes = self._fields["birth_date"].codes
        # A last and a first day of the year are 366 days apart with a year between them.
        out = np.abs(self._years[codes[left]] - self._years[codes[right]]) > 2
        at = np.flatnonzero(out)
        out[at] = self.slips("birth_date", left[at], right[at]) > 2
        return out

    def email(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Tell whether two addresses differ in more than slips, and so do their names."""
        out = self.likeness("email@", left, "email@", right) < 0.88
        at = np.flatnonzero(out)
        out[at] = self.slips("email", left[at], right[at]) > 2
        return out

    def _of(self, name: str) -> Letters:
        """Return the letters of a field; ``email@``: of what stands before the sign. The last is no value."""
        if name not in self._letters:
            field, sign, _ = name.partition("@")
            words = texts.arrow(self._fields[field].categories)
            if sign:
                words = pc.list_element(pc.split_pattern(words, sign), 0)
            words = words.cast(pa.large_string())
            self._letters[name] = Letters(pa.concat_arrays([words, pa.array([None], words.type)]))
        return self._letters[name]


_Judge = Callable[[Different, np.ndarray, np.ndarray], np.ndarray]
_JUDGES: dict[str, _Judge] = {
    "first_name": lambda some, left, right: some.name("first_name", left, right),
    "last_name": lambda some, left, right: some.name("last_name", left, right),
    "birth_date": Different.birth_date,
    "email": Different.email,
    "phone": lambda some, left, right: some.slips("phone", left, right) > 2,
    "national_id": lambda some, left, right: some.slips("national_id", left, right) > 2,
    "street": lambda some, left, right: some.likeness("street", left, "street", right) < 0.8,
    "postcode": lambda some, left, right: some.slips("postcode", left, right) > 1,
}
