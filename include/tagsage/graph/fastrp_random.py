"""The random numbers of GDS's FastRP: the same streams, drawn for many nodes at once.

GDS uses the generator "Ran" of Press et al. (Numerical Recipes, 3rd edition, section 7.1) behind
``java.util.Random``: 64-bit states u, v, w, all arithmetic modulo 2^64. The functions work on
Python's integers, for one long stream, and on uint64 arrays, for one short stream a node.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

# An integer below 2^64, or a uint64 array.
Word: TypeAlias = Any
State: TypeAlias = tuple[Word, Word, Word]

MASK = (1 << 64) - 1
START = 4101842887655102017


def first_number(seed: int) -> int:
    """Return the first number of a seed's stream: the seed that GDS really uses, 64 bits."""
    return int(_next_long(_seeded(seed & MASK, 1))[0])


def single_stream(seed: int, count: int) -> npt.NDArray[np.float64]:
    """Draw the first numbers of one stream.

    Parameters
    ----------
    seed : int
        64 bits.
    count : int
        How many numbers.

    Returns
    -------
    float64 array, shape [count]
        Uniform in [0, 1).
    """
    state = _seeded(seed, 1)
    drawn = np.empty((count, 2), dtype=np.uint64)
    for row in range(count):
        high, state = _next_long(state)
        low, state = _next_long(state)
        drawn[row] = high, low
    return _next_double(drawn[:, 0], drawn[:, 1])


def node_streams(
    seed: int, ids: npt.NDArray[np.int64], count: int
) -> Iterator[npt.NDArray[np.float64]]:
    """Draw the first numbers of every node's own stream.

    Parameters
    ----------
    seed : int
        64 bits.
    ids : int64 array, shape [n]
        The nodes' ids; a node's stream starts from seed XOR id.
    count : int
        How many numbers a node.

    Yields
    ------
    float64 array, shape [n]
        The next number of every node, uniform in [0, 1).
    """
    seeds = ids.astype(np.uint64) ^ np.uint64(seed)
    state = _seeded(seeds, np.ones_like(seeds))
    for _ in range(count):
        high, state = _next_long(state)
        low, state = _next_long(state)
        yield _next_double(high, low)


def _seeded(seed: Word, one: Word) -> State:
    u = seed ^ START
    _, (u, _, w) = _next_long((u, one * START, one))
    _, (u, v, w) = _next_long((u, u, w))
    _, state = _next_long((u, v, v))
    return state


def _next_long(state: State) -> tuple[Word, State]:
    """Return 64 random bits and the state after them."""
    u, v, w = state
    u = (u * 2862933555777941757 + 7046029254386353087) & MASK
    v = v ^ (v >> 17)
    v = v ^ ((v << 31) & MASK)
    v = v ^ (v >> 8)
    w = (w * 4294957665 + (w >> 32)) & MASK
    x = u ^ ((u << 21) & MASK)
    x = x ^ (x >> 35)
    x = x ^ ((x << 4) & MASK)
    return ((x + v) & MASK) ^ w, (u, v, w)


def _next_double(
    high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]
) -> npt.NDArray[np.float64]:
    """Join 26 and 27 bits of two draws, as ``java.util.Random.nextDouble`` does."""
    bits = ((high >> np.uint64(38)) << np.uint64(27)) + (low >> np.uint64(37))
    numbers: npt.NDArray[np.float64] = bits.astype(np.float64) * 2.0**-53
    return numbers
