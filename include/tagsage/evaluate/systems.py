"""What a system gave on test articles, reduced to what scores of any part of them need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import scipy.sparse as sp

from tagsage.evaluate.leaderboard import RANKED_BY
from tagsage.evaluate.metrics import Float64Array, article_rankings, assigned_tags
from tagsage.features.matrix import FloatArray
from tagsage.learn.targets import BoolArray

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

METRICS = RANKED_BY
"""What is compared: micro-F1, macro-F1, P@5, LRAP."""


@dataclass(frozen=True)
class System:
    """The answers of a candidate, or of anything else that tags, on n test articles.

    A part of the articles, or a resample of them, is a weight for each article. With these arrays
    every score of it is made of weighted sums over articles; P is not needed again.

    Attributes
    ----------
    assigned : csr_array of float64, shape [n, L]
        One where a tag is assigned to an article.
    p_at_5, lrap : float64 arrays, shape [n]
        Of each article; see :func:`tagsage.evaluate.metrics.evaluate`.
    """

    assigned: Csr
    p_at_5: Float64Array
    lrap: Float64Array

    @classmethod
    def of(cls, P: FloatArray, Y: BoolArray, assigned: BoolArray | float) -> Self:
        """Reduce probabilities.

        Parameters
        ----------
        P : float array, shape [n, L]
            Probabilities.
        Y : bool array, shape [n, L]
            The truth.
        assigned : bool array, shape [n, L], or float
            Which tags are assigned; a number: those whose probability is at least this.

        Raises
        ------
        ValueError
            When shapes differ.
        """
        if P.shape != Y.shape:
            raise ValueError(f"shapes differ: P {P.shape}, Y {Y.shape}")
        rankings = article_rankings(P, Y)
        tags: Csr = sp.csr_array(assigned_tags(P, assigned)).astype(np.float64)
        return cls(tags, rankings["p_at_5"], rankings["lrap"])

    def scores(self, Y: BoolArray) -> dict[str, float]:
        """Return the scores on all articles: to the last bit those of ``evaluate``.

        Parameters
        ----------
        Y : bool array, shape [n, L]
            The truth.

        Returns
        -------
        dict of str to float
            The value of each of `METRICS`.
        """
        sums = SystemTable.of(Y, [self]).sums(np.ones((len(Y), 1)))
        return {
            "micro_f1": float(sums.micro_f1()[0, 0]),
            "macro_f1": float(sums.f1()[0, :, 0].mean()),
            "p_at_5": float(self.p_at_5.mean()),
            "lrap": float(self.lrap.mean()),
        }


@dataclass(frozen=True)
class SystemTable:
    """Some systems beside the truth, to be summed over parts of the articles.

    Attributes
    ----------
    columns : csr_array of float64, shape [n, (1 + 2 systems) L + 2 systems]
        Ones for the truth, for what each system assigned, and for what of that is right; then
        P@5 of each system, then LRAP.
    systems, tags : int
        How many systems, and L.
    """

    columns: Csr
    systems: int
    tags: int

    @classmethod
    def of(cls, Y: BoolArray, systems: Sequence[System]) -> Self:
        """Put systems side by side.

        Parameters
        ----------
        Y : bool array, shape [n, L]
            The truth.
        systems : sequence of System
            On the same articles and tags.

        Raises
        ------
        ValueError
            When a system's shape is not that of the truth.
        """
        for system in systems:
            if system.assigned.shape != Y.shape:
                raise ValueError(f"shapes differ: assigned {system.assigned.shape}, Y {Y.shape}")
        truth: Csr = sp.csr_array(Y).astype(np.float64)
        assigned = [system.assigned for system in systems]
        right: list[Csr] = [sp.csr_array(truth.multiply(one)) for one in assigned]
        rankings = [system.p_at_5 for system in systems] + [system.lrap for system in systems]
        dense = [sp.csr_array(values[:, None]) for values in rankings]
        blocks: list[Csr] = [truth, *assigned, *right, *dense]
        return cls(sp.hstack(blocks, format="csr"), len(systems), Y.shape[1])

    def sums(self, weights: Float64Array) -> Sums:
        """Add up parts of the articles.

        One product of a sparse matrix, linear in its entries × parts. With 4 of 400 tags an article
        it is six times as fast as the product of dense matrices. Whole numbers are exact; columns
        that are equal have equal sums.

        Parameters
        ----------
        weights : float64 array, shape [n, parts]
            How often each article is in each part.
        """
        sums = self.columns.T @ weights
        rankings = sums[len(sums) - 2 * self.systems :].reshape(2, self.systems, -1)
        counts = sums[: len(sums) - 2 * self.systems].reshape(
            1 + 2 * self.systems, self.tags, weights.shape[1]
        )
        relevant, assigned, hits = np.split(counts, [1, 1 + self.systems])
        return Sums(relevant, assigned, hits, *rankings)


class Sums(NamedTuple):
    """Sums over parts of the articles.

    Attributes
    ----------
    relevant : float64 array, shape [1, L, parts]
        How many articles have a tag; the same for every system.
    assigned, hits : float64 arrays, shape [systems, L, parts]
        To how many it is assigned, to how many rightly.
    p_at_5, lrap : float64 arrays, shape [systems, parts]
        Sums, not means.
    """

    relevant: Float64Array
    assigned: Float64Array
    hits: Float64Array
    p_at_5: Float64Array
    lrap: Float64Array

    def f1(self) -> Float64Array:
        """Return F1 tag by tag, [systems, L, parts]; 0 for a tag neither assigned nor relevant."""
        return 2 * self.hits / np.maximum(self.assigned + self.relevant, 1)

    def micro_f1(self) -> Float64Array:
        """Return F1 over all (article, tag) pairs together, [systems, parts]."""
        pairs = (self.assigned + self.relevant).sum(axis=1)
        micro: Float64Array = 2 * self.hits.sum(axis=1) / np.maximum(pairs, 1)
        return micro
