"""Whether two names, or two birth dates, can be one person's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit import texts
from cdpkit.identity.letters import Letters


class Names:
    """The names of each node.

    Parameters
    ----------
    node, code : ndarray of int
        Which node carries which name, each once, nodes in order.
    first, last : Array of str
        First and last name by code; empty when unknown.
    """

    def __init__(self, node: np.ndarray, code: np.ndarray, first: pa.Array, last: pa.Array) -> None:
        self.node, self.code, self._n = node, code, len(first)
        (word, words), (self._last, lasts) = (texts.encoded(part) for part in (first, last))
        self._first, self._words, self._lasts = word, words.to_pylist(), lasts.to_pylist()
        # A last name as a first name, -1 where nobody is called so.
        self._swapped = pc.index_in(lasts, value_set=words).fill_null(-1).to_numpy()[self._last]
        self._length = pc.utf8_length(words).to_numpy()[word]
        self._initial = texts.encoded(pc.utf8_slice_codeunits(words, 0, 1))[0]
        self._letters = Letters(words.cast(pa.large_string()))
        self._double = (pc.find_substring(words, " ").to_numpy() >= 0)[word]
        self._known: dict[tuple[int, int], bool] = {}

    def __len__(self) -> int:
        """Return the number of names."""
        return self._n

    def agree(self, a: int, b: int) -> bool:
        """Tell whether two names can be one person's: the same ones meet again and again."""
        if a == b:
            return True
        if (a, b) not in self._known:
            one, other = ((self._words[self._first[i]], self._lasts[self._last[i]]) for i in (a, b))
            self._known[a, b] = self._known[b, a] = names_agree(one, other)
        return self._known[a, b]

    def disagree(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Tell which pairs can not be one person's."""
        same = self._first[a] == self._first[b]
        swapped = (self._first[a] == self._swapped[b]) & (self._first[b] == self._swapped[a])
        short = np.minimum(self._length[a], self._length[b])
        far = self._letters.slips(self._first[a], self._first[b]) > 1
        sure = far & ~same & ~swapped & (short >= 3) & ~self._double[a] & ~self._double[b]
        initial, begins = short == 1, self._initial[self._first[a]] == self._initial[self._first[b]]
        sure |= initial & ~begins & ~swapped
        return _asked(a, b, sure, same | (short == 0) | (initial & begins), len(self), self.agree)


class Dates:
    """The birth dates of each node.

    Parameters
    ----------
    node, code : ndarray of int
        Which node carries which date, each once, nodes in order.
    day : Array of str
        ISO date by code.
    """

    def __init__(self, node: np.ndarray, code: np.ndarray, day: pa.Array) -> None:
        self.node, self.code, self._day = node, code, day.to_pylist()
        self._year = texts.encoded(pc.utf8_slice_codeunits(day, 0, 4))[0]

    def __len__(self) -> int:
        """Return the number of dates."""
        return len(self._day)

    def agree(self, a: int, b: int) -> bool:
        """Tell whether two dates can be one person's."""
        return a == b or dates_agree(self._day[a], self._day[b])

    def disagree(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Tell which pairs can not be one person's."""
        return _asked(a, b, self._year[a] != self._year[b], a == b, len(self), self.agree)


def _asked(
    a: np.ndarray, b: np.ndarray, no: np.ndarray, yes: np.ndarray, n: int, agree: Callable[[int, int], bool]
) -> np.ndarray:
    """Return the sure answers, and those of a judge who is asked once for each other pair."""
    out = no.copy()
    at = np.flatnonzero(~no & ~yes)
    place, pairs = pd.factorize(np.minimum(a[at], b[at]) * n + np.maximum(a[at], b[at]))
    answers = np.array([not agree(pair // n, pair % n) for pair in pairs.tolist()], dtype=bool)
    out[at] = answers[place]
    return out


def names_agree(a: tuple[str, str], b: tuple[str, str]) -> bool:
    """Tell whether two (first name, last name) pairs can be one person's.

    Parameters
    ----------
    a, b : (str, str)
        Name keys, empty when unknown.

    Returns
    -------
    bool
        True for equal, unknown, abbreviated, swapped or mistyped (one slip) first names. A final
        ``e`` makes two names of most French couples, not a slip: Louis is not Louise.

    Examples
    --------
    >>> marie = ("marie", "petit")
    >>> [names_agree(marie, other) for other in (("m", "petit"), ("petit", "marie"), ("mraie", "petit"))]
    [True, True, True]
    >>> names_agree(marie, ("michel", "petit"))
    False
    >>> names_agree(("louis", "petit"), ("louise", "petit"))
    False
    """
    (x, x_last), (y, y_last) = a, b
    if x == y or not x or not y:
        return True
    if x_last and y_last and x == y_last and y == x_last:
        return True
    if len(x) == 1 or len(y) == 1:
        return x[0] == y[0]
    short, long = sorted((x, y), key=len)
    if long == short + "e":
        return False
    return long.startswith(short + " ") or (len(short) >= 3 and one_slip(short, long))


def one_slip(a: str, b: str) -> bool:
    """Tell whether one insertion, deletion, substitution or swap of neighbours makes `a` into `b`.

    Examples
    --------
    >>> one_slip("marie", "maire"), one_slip("marie", "mrie"), one_slip("marie", "maria l")
    (True, True, False)
    """
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1:
        return False
    i = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[i:] == b[i + 1 :]
    swapped = a[i + 1 : i + 2] + a[i : i + 1] == b[i : i + 2] and a[i + 2 :] == b[i + 2 :]
    return swapped or a[i + 1 :] == b[i + 1 :]


def dates_agree(a: str, b: str) -> bool:
    """Tell whether two birth dates can be one person's.

    Parameters
    ----------
    a, b : str
        ISO dates.

    Returns
    -------
    bool
        True for equal dates, day and month swapped, or one of them on 1 January (only the year
        known) of the same year.

    Examples
    --------
    >>> dates_agree("1980-03-04", "1980-04-03"), dates_agree("1980-03-04", "1980-01-01")
    (True, True)
    >>> dates_agree("1980-03-04", "1981-03-04")
    False
    """
    if a == b:
        return True
    if a[:4] != b[:4]:
        return False
    return a.endswith("-01-01") or b.endswith("-01-01") or (a[5:7] == b[8:10] and a[8:10] == b[5:7])
