"""What every runner does. Nothing above this room knows which one works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import pandas as pd

P = TypeVar("P")
R = TypeVar("R")


class Runner(Protocol):
    """Maps functions over partitions and reduces what they return.

    A function changes nothing, its argument included: it may run in another process, and again.
    """

    def map(self, function: Callable[[P], R], partitions: Iterable[P]) -> Iterator[R]:
        """Yield the function's result for each partition, in the order of the partitions."""

    def sum_by_key(
        self, function: Callable[[P], pd.Series[int]], partitions: Iterable[P]
    ) -> pd.Series[int]:
        """Return the sums, sorted by key, of what the function counts in each partition.

        The function takes a partition and returns a series of int64, whose keys, texts or uint64,
        are unique.
        """
