"""What a candidate got right on each article: enough to score any subset of the articles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import scipy.sparse as sp

from tagsage.evaluate.metrics import Float64Array, article_rankings
from tagsage.features.matrix import BoolArray, FloatArray

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr


@dataclass(frozen=True)
class ArticleResults:
    """A candidate's results per test article; its scores on any subset are weighted sums."""

    assigned: Csr  # ones, [n, L]
    p_at_5: Float64Array  # [n]
    lrap: Float64Array  # [n]

    @classmethod
    def of(cls, P: FloatArray, Y: BoolArray, assigned: BoolArray) -> Self:
        """Reduce probabilities, truth and assigned tags, all [n, L]."""
        rankings = article_rankings(P, Y)
        return cls(sparse_of(assigned), rankings["p_at_5"], rankings["lrap"])

    def sums(self, truth: Csr, weights: Float64Array) -> Sums:
        """Sum over articles; `weights` [n, parts] says how often each article is in each part."""
        has_tag = (np.diff(truth.indptr) > 0).astype(np.float64)
        return Sums(
            truth.T @ weights,
            self.assigned.T @ weights,
            sp.csr_array(truth.multiply(self.assigned)).T @ weights,
            self.p_at_5 @ weights,
            self.lrap @ weights,
            has_tag @ weights,
        )

    def scores(self, Y: BoolArray) -> dict[str, float]:
        """Return `METRICS` on all articles, as :func:`tagsage.evaluate.metrics.evaluate` does."""
        sums = self.sums(sparse_of(Y), np.ones((len(Y), 1)))
        ranked = max(Y.any(axis=1).sum(), 1)
        return {
            "micro_f1": float(sums.micro_f1()[0]),
            "macro_f1": float(sums.f1()[:, 0].mean()),
            "p_at_5": float(self.p_at_5.sum() / ranked),
            "lrap": float(self.lrap.sum() / ranked),
        }


class Sums(NamedTuple):
    """Sums over parts of the articles, per tag [L, parts] or over all tags [parts]."""

    relevant: Float64Array  # articles that have a tag, [L, parts]
    assigned: Float64Array  # those it is assigned to
    hits: Float64Array  # and rightly so
    p_at_5: Float64Array  # [parts]
    lrap: Float64Array
    with_tag: Float64Array  # articles with any tag: those that have a ranking

    def f1(self) -> Float64Array:
        """Return F1 per tag, [L, parts]; 0 for a tag neither assigned nor relevant."""
        return 2 * self.hits / np.maximum(self.assigned + self.relevant, 1)

    def micro_f1(self) -> Float64Array:
        """Return F1 over all (article, tag) pairs together, [parts]."""
        pairs = (self.assigned + self.relevant).sum(axis=0)
        micro: Float64Array = 2 * self.hits.sum(axis=0) / np.maximum(pairs, 1)
        return micro

    def mean_p_at_5(self) -> Float64Array:
        """Return P@5, [parts]; 0 for a part without an article that has a tag."""
        return self.p_at_5 / np.maximum(self.with_tag, 1)

    def mean_lrap(self) -> Float64Array:
        """Return LRAP, [parts]; 0 for a part without an article that has a tag."""
        return self.lrap / np.maximum(self.with_tag, 1)


def sparse_of(Y: BoolArray) -> Csr:
    """Return ones where a tag is; sums of them are exact in double precision alone."""
    ones: Csr = sp.csr_array(Y).astype(np.float64)
    return ones
