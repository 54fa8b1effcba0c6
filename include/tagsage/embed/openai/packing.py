"""Texts packed into requests within the limits, and requests split to find what spoils them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# A part of a request that failed often enough is not tried as often again before it is split.
ATTEMPTS_OF_A_PART = 2


@dataclass
class Work:
    """Texts to be sent together, and how that went so far.

    Attributes
    ----------
    positions : list of int
        Which texts.
    attempts : int
        How often they may fail together.
    failures : int
        How often they did.
    refusals : int
        How often the server said that it does not take them.
    successes_before : int or None
        How many requests had succeeded when they, or others with them, first failed.
    not_before : float
        When they may be sent again, by the monotonic clock.
    """

    positions: list[int]
    attempts: int
    failures: int = 0
    refusals: int = 0
    successes_before: int | None = None
    not_before: float = 0.0

    def part(self, positions: list[int], attempts_of_one: int) -> Work:
        """Return some of the texts, without the others; one alone may fail more often."""
        attempts = attempts_of_one if len(positions) == 1 else ATTEMPTS_OF_A_PART
        return Work(positions, attempts, successes_before=self.successes_before)

    def halves(self, attempts_of_one: int) -> list[Work]:
        """Split in two."""
        middle = len(self.positions) // 2
        parts = self.positions[:middle], self.positions[middle:]
        return [self.part(part, attempts_of_one) for part in parts]

    def delay(self) -> float:
        """Return how many seconds there are until it may be sent."""
        return self.not_before - time.monotonic()


def pack(
    estimates: npt.NDArray[np.int64], *, most_texts: int, most_tokens: int
) -> Iterator[tuple[int, int]]:
    """Cut texts, in their order, into requests within the limits.

    Parameters
    ----------
    estimates : int64 array, shape [n]
        Tokens of each text.
    most_texts, most_tokens : int
        Limits of a request; a text beyond `most_tokens` goes alone.

    Yields
    ------
    (int, int)
        Half-open ranges.

    Examples
    --------
    >>> list(pack(np.array([5, 5, 5, 20, 1]), most_texts=2, most_tokens=12))
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    ends = np.cumsum(estimates)
    start = 0
    while start < len(estimates):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + most_tokens, side="right"))
        stop = min(max(stop, start + 1), start + most_texts)
        yield start, stop
        start = stop
