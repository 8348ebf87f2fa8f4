"""Counter-based random numbers: a draw depends on the seed, the stream, the unit and counters, nothing else.

So results do not depend on chunks, threads or order of evaluation, and a potential outcome can be
recomputed under another action with the same luck.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy as np
from scipy.special import ndtri

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def mix(bits: np.ndarray) -> np.ndarray:
    """Return the SplitMix64 finaliser of an array of 64-bit words (Steele, Lea and Flood 2014)."""
    bits = bits ^ (bits >> np.uint64(30))
    bits *= np.uint64(_FIRST)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(_SECOND)
    bits ^= bits >> np.uint64(31)
    return bits


def _mix_int(word: int) -> int:
    word &= _MASK
    word = ((word ^ (word >> 30)) * _FIRST) & _MASK
    word = ((word ^ (word >> 27)) * _SECOND) & _MASK
    return word ^ (word >> 31)


@lru_cache(maxsize=4096)
def _stream_key(stream: str) -> int:
    return int.from_bytes(blake2b(stream.encode(), digest_size=8).digest(), "little")


class Draws:
    """Random numbers of a set of units.

    Parameters
    ----------
    seed : int
        The world's seed.
    units : array of int
        One identity a unit (a person, a household, a product). Equal units draw equal numbers.

    Examples
    --------
    >>> one, both = Draws(0, [7]), Draws(0, [3, 7])
    >>> bool(one.uniform("z", 12)[0] == both.uniform("z", 12)[1])
    True
    """

    def __init__(self, seed: int, units: np.ndarray | list[int]) -> None:
        words = np.asarray(units).astype(np.uint64) + np.uint64(_GOLDEN)
        self.base = mix(mix(words) ^ np.uint64(_mix_int(seed * _GOLDEN + 1)))

    @classmethod
    def keyed(cls, words: np.ndarray) -> Draws:
        """Return draws whose units are 64-bit words already drawn, such as a session's."""
        other = object.__new__(cls)
        other.base = mix(words)
        return other

    def take(self, index: np.ndarray) -> Draws:
        """Return the draws of the units at `index`."""
        other = object.__new__(Draws)
        other.base = self.base[index]
        return other

    def replicate(self, n: int) -> Draws:
        """Return `n` independent copies of every unit, copy after copy."""
        other = object.__new__(Draws)
        keys = np.array([_mix_int(_GOLDEN * (copy + 1)) for copy in range(n)], dtype=np.uint64)
        other.base = mix(keys[:, None] ^ self.base[None, :]).ravel()
        return other

    def bits(self, stream: str, *counters: int | np.ndarray) -> np.ndarray:
        """Return one 64-bit word a unit; counters are numbers or arrays aligned with the units."""
        key = _stream_key(stream)
        arrays = []
        for place, counter in enumerate(counters):
            if isinstance(counter, np.ndarray):
                arrays.append((place, counter))
            else:
                key = _mix_int(key + _GOLDEN * (int(counter) + 1) + place)
        words = mix(self.base ^ np.uint64(_mix_int(key)))
        for place, counter in arrays:
            step = counter.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(2 * place + 1)
            words = mix(words + step)
        return words

    def uniform(self, stream: str, *counters: int | np.ndarray) -> np.ndarray:
        """Return numbers in the open interval (0, 1)."""
        return (self.bits(stream, *counters) >> np.uint64(11)) * 2.0**-53 + 2.0**-54

    def normal(self, stream: str, *counters: int | np.ndarray) -> np.ndarray:
        """Return standard normal numbers."""
        return ndtri(self.uniform(stream, *counters))

    def chance(self, p: float | np.ndarray, stream: str, *counters: int | np.ndarray) -> np.ndarray:
        """Return True with probability `p`."""
        return self.uniform(stream, *counters) < p

    def exponential(self, mean: float | np.ndarray, stream: str, *counters: int | np.ndarray) -> np.ndarray:
        """Return exponential waiting times of the given mean."""
        return -np.log(self.uniform(stream, *counters)) * mean

    def poisson(
        self, mean: np.ndarray | float, most: int, stream: str, *counters: int | np.ndarray
    ) -> np.ndarray:
        """Return Poisson counts, cut at `most`."""
        u = self.uniform(stream, *counters)
        mean = np.broadcast_to(np.asarray(mean, dtype=float), u.shape)
        term = np.exp(-mean)
        below, count = term.copy(), np.zeros(u.shape, dtype=np.int64)
        for k in range(1, most + 1):
            over = u > below
            count += over
            term = term * mean / k
            below += term
        return count

    def pick(self, weights: np.ndarray | list[float], stream: str, *counters: int | np.ndarray) -> np.ndarray:
        """Return a category number a unit, drawn with the same weights for all."""
        cut = np.cumsum(np.asarray(weights, dtype=float))
        chosen = np.searchsorted(cut / cut[-1], self.uniform(stream, *counters), side="right")
        return np.minimum(chosen, len(cut) - 1)

    def pick_row(self, cumulative: np.ndarray, stream: str, *counters: int | np.ndarray) -> np.ndarray:
        """Return a category number a unit, from one row of cumulative shares a unit."""
        u = self.uniform(stream, *counters)
        return np.minimum((cumulative <= u[:, None]).sum(axis=1), cumulative.shape[1] - 1)


def scramble(numbers: np.ndarray, seed: int, stream: str, modulus: int) -> np.ndarray:
    """Return a one-to-one shuffle of ``0 … modulus - 1``, so that a public number hides its rank.

    Examples
    --------
    >>> sorted(scramble(np.arange(10), 3, "card", 10).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    key = _mix_int(_stream_key(stream) + _GOLDEN * (seed + 1))
    factor = key % modulus
    while np.gcd(factor, modulus) != 1:
        factor += 1
    shift = _mix_int(key) % modulus
    exact = [(int(number) * factor + shift) % modulus for number in numbers] if modulus > 2**31 else None
    if exact is not None:
        return np.array(exact, dtype=np.int64)
    return (np.asarray(numbers, dtype=np.int64) % modulus * factor + shift) % modulus
