"""The runner of one machine: one partition after another, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import pandas as pd

if TYPE_CHECKING:
    Counts = pd.Series[int]

P = TypeVar("P")
R = TypeVar("R")


class LocalRunner:
    """See :class:`tagsage.runner.base.Runner`. Memory holds one partition and the sums."""

    def map(self, function: Callable[[P], R], partitions: Iterable[P]) -> Iterator[R]:
        """Yield the function's result for each partition, in order."""
        return map(function, partitions)

    def sum_by_key(self, function: Callable[[P], Counts], partitions: Iterable[P]) -> Counts:
        """Return the sums of what the function counts in each partition, sorted by key."""
        total = pd.Series(dtype="int64")
        for counts in self.map(function, partitions):
            total = counts if total.empty else total.add(counts, fill_value=0)
        return total.astype("int64").sort_index()
