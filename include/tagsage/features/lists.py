"""The block ``lists``: the mean vectors of an article's lists, hop by hop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tagsage.features.base import Block
from tagsage.graph.csr import FloatArray, make_csr

if TYPE_CHECKING:
    from tagsage.features.articles import MarkedArticles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings

    HalfArray = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Hop:
    """The lists' state after one hop of propagation."""

    means: HalfArray  # of the non-zero vectors in each list, [n_lists, d]
    known: FloatArray  # how many each mean is of

    def propagate(
        self, members: Csr, counted: npt.NDArray[np.bool_], own: FloatArray
    ) -> FloatArray:
        """Return the mean of the lists' means, [m, d]; zeros where no list has a vector.

        With z_l the mean of list l over c_l articles, x_a an article's own vector (zero: unknown)::

            X'_a = mean of z'_l over its lists l with c_l > 0
            z'_l = (c_l z_l + x_a) / (c_l + 1)   for a membership that wasn't counted, else z_l

        So an article's own vector is part of its lists' means, whether it was counted or came
        later.
        """
        used, position = np.unique(members.indices, return_inverse=True)
        known = np.asarray(self.known)[members.indices]
        weights = (known > 0).astype(np.float32)
        adds = (own != 0).any(axis=1)
        is_added = np.repeat(adds, np.diff(members.indptr)) & ~counted & (known > 0)
        kept = np.where(is_added, known / (known + 1), weights).astype(np.float32)

        def rows(values: FloatArray) -> Csr:
            shape = (members.shape[0], len(used))
            return make_csr(values, position.astype(np.int32), members.indptr, shape)

        ones = np.ones(len(used), dtype=np.float32)
        result: FloatArray = rows(kept) @ np.asarray(self.means[used], dtype=np.float32)
        result += (rows(weights - kept) @ ones)[:, None] * own
        total = rows(weights) @ ones
        result /= np.where(total > 0, total, 1).astype(np.float32)[:, None]
        return result


class Lists(Block):
    """Propagation of vectors over lists: article <- mean of its lists <- mean of their articles.

    The normalisation by list is that of one hypergraph convolution (Feng et al.: Hypergraph neural
    networks. AAAI 2019), for several hops as in SIGN (Frasca et al., 2020).
    """

    name: ClassVar[str] = "lists"
    settings: ClassVar[tuple[str, ...]] = ("lists_hops",)
    needs_lists: ClassVar[bool] = True
    needs_vectors: ClassVar[bool] = True
    refreshable: ClassVar[bool] = True

    def __init__(self, means: Sequence[HalfArray], known: Sequence[FloatArray]) -> None:
        self.hops = [Hop(*arrays) for arrays in zip(means, known, strict=True)]

    @classmethod
    def fit(cls, articles: MarkedArticles, settings: Settings, runner: Runner) -> Self:
        """Average the non-zero vectors of each list's articles."""
        return cls._averaged(articles, runner, hops=settings.lists_hops)

    def refreshed(self, articles: MarkedArticles, runner: Runner) -> Self:
        """Average again."""
        return self._averaged(articles, runner, hops=len(self.hops))

    @classmethod
    def _averaged(cls, articles: MarkedArticles, runner: Runner, *, hops: int) -> Self:
        counted = articles.only_counted()
        block = cls([], [])
        for _ in range(hops):
            block.hops.append(Hop(*_list_means(block, counted, runner)))
        return block

    def transform(self, articles: MarkedArticles) -> tuple[FloatArray, ...]:
        """Return the vectors after 1, 2, … hops, [n, d] each."""
        own = np.asarray(articles.vectors, dtype=np.float32)
        result: list[FloatArray] = []
        for hop in self.hops:
            own = hop.propagate(articles.members, articles.counted, own)
            result.append(own)
        return tuple(result)

    def state(self) -> dict[str, Any]:
        """Return the means of each hop."""
        return {
            "means": np.stack([hop.means for hop in self.hops]),
            "known": np.stack([hop.known for hop in self.hops]),
        }


def _list_means(
    block: Lists, counted: MarkedArticles, runner: Runner
) -> tuple[HalfArray, FloatArray]:
    """Average the vectors after the hops so far over each list's articles, and count these."""

    def sums(part: MarkedArticles) -> tuple[npt.NDArray[Any], ...]:
        vectors = block.transform(part)[-1] if block.hops else part.vectors
        numbers = np.asarray(vectors, dtype=np.float64)
        has_vector = (numbers != 0).any(axis=1).astype(np.float64)
        # A partition is in few of all lists.
        used, position = np.unique(part.members.indices, return_inverse=True)
        ones, shape = np.ones(len(position)), (len(part), len(used))
        of_used = make_csr(ones, position.astype(np.int32), part.members.indptr, shape)
        to_lists: Any = of_used.T.tocsr()
        return used, to_lists @ numbers, to_lists @ has_vector

    n_lists = counted.members.shape[1]
    total, count = np.zeros((n_lists, counted.vectors.shape[1])), np.zeros(n_lists)
    for used, of_part, counts in runner.map(sums, counted.partitions()):
        total[used] += of_part
        count[used] += counts
    # Half precision halves what every version of the model keeps.
    means = (total / np.maximum(count, 1)[:, None]).astype(np.float16)
    return means, count.astype(np.float32)
