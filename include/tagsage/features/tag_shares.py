"""The tags of the other articles in an article's groups: the base of labels and authors."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.features.base import Block
from tagsage.graph.csr import FloatArray, empty_csr, make_csr

if TYPE_CHECKING:
    from tagsage.features.articles import MarkedArticles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner

# Shares are rounded to so many decimals: below them lies the noise of the order of additions, and
# in it, faintly, an article's own tags that were added and taken away again.
DECIMALS = 6
# Numbers of one block of rows: 128 MB in double precision, and up to twice that on the way.
BLOCK_NUMBERS = 1 << 24
# Articles whose tags are counted at once.
COUNT_ROWS = 1 << 17


class TagShares(Block):
    """Propagation of tags over groups of articles: article <- its groups <- their tagged articles.

    A group is a list, or an author. With y_b the tags of tagged article b, α the prior weight; of
    article a and group l, over the tagged articles b other than a::

        k_al = how many of them are in l
        p_a  = mean of all their y_b, in groups or not: the tags' overall shares
        s_al = (sum of y_b over those in l + α p_a) / (k_al + α)
        shares_a  = mean of s_al over its groups l
        support_a = log(1 + sum over its groups l of k_al)

    With α = 0, a group without tagged articles doesn't count. Articles in no group get zeros. An
    article's own tags never reach its row; they do reach the rows of articles that share a group
    with it. The state counts tagged articles: `sums` [n_groups, L] by group and tag, `labelled` by
    group, `totals` by tag, `total`.
    """

    needs_tags: ClassVar[bool] = True
    refreshable: ClassVar[bool] = True

    def __init__(
        self, prior_weight: float, sums: Csr, labelled: FloatArray, totals: FloatArray, total: int
    ) -> None:
        self.prior_weight, self.sums, self.labelled = prior_weight, sums, labelled
        self.totals, self.total = totals, total

    @classmethod
    @abstractmethod
    def _count(cls, articles: MarkedArticles, runner: Runner, *, prior_weight: float) -> Self:
        """Count the tags per group of the articles that were counted, for a prior weight."""

    def refreshed(self, articles: MarkedArticles, runner: Runner) -> Self:
        """Count again."""
        return self._count(articles, runner, prior_weight=self.prior_weight)

    @abstractmethod
    def groups_of(self, articles: MarkedArticles) -> tuple[Csr, npt.NDArray[np.bool_]]:
        """Return which article is in which group, ones [n, n_groups], and which were counted."""

    def transform(self, articles: MarkedArticles) -> tuple[FloatArray, FloatArray]:
        """Return shares, [n, L] from 0 to 1, and support, [n, 1]."""
        shares = np.zeros((len(articles), len(self.totals)), dtype=np.float32)
        support = np.zeros((len(articles), 1), dtype=np.float32)
        height = max(1, BLOCK_NUMBERS // max(len(self.totals), 1))
        for start in range(0, len(articles), height):
            rows = slice(start, start + height)
            shares[rows], support[rows] = self._shares(articles.take(rows))
        return shares, support

    def _shares(self, articles: MarkedArticles) -> tuple[FloatArray, FloatArray]:
        groups, counted = self.groups_of(articles)
        of_article, tags = articles.known.own_tags(articles)
        alpha = self.prior_weight
        column, starts = groups.indices, groups.indptr
        row = np.repeat(np.arange(len(articles)), np.diff(starts))
        own = counted & of_article[row]
        others = self.labelled[column] - own
        size = (others + alpha).astype(np.float64)
        counts = size > 0
        factor = np.divide(1, size, out=np.zeros_like(size), where=counts)

        def sums(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
            return np.bincount(row, values, minlength=len(articles)).astype(np.float64)

        neighbours, groups_counted, in_groups = sums(others), sums(counts), sums(factor)
        # The overall shares are those of the other articles, too.
        prior = alpha * in_groups / np.maximum(self.total - of_article, 1)
        used, position = np.unique(column, return_inverse=True)
        narrow = make_csr(factor, position.astype(np.int32), starts, (len(articles), len(used)))
        shares: npt.NDArray[np.float64] = (
            narrow @ sp.csr_array(self.sums[used]).astype(np.float64)
        ).toarray()
        shares += prior[:, None] * self.totals
        shares -= (sums(factor * own) + prior)[:, None] * tags.toarray()
        np.maximum(shares, 0, out=shares)
        shares /= np.maximum(groups_counted, 1)[:, None]
        support = np.log1p(neighbours)[:, None]
        return shares.round(DECIMALS).astype(np.float32), support.astype(np.float32)

    def state(self) -> dict[str, Any]:
        """Return the counts."""
        names = ("prior_weight", "sums", "labelled", "totals", "total")
        return {name: getattr(self, name) for name in names}


def count_tags(groups: Csr, articles: MarkedArticles, runner: Runner) -> dict[str, Any]:
    """Count the tagged articles of each group [n, n_groups], and their tags, for a state."""
    labelled, tags = articles.known.own_tags(articles)

    def sums(start: int) -> tuple[Csr, npt.NDArray[np.float64]]:
        part = slice(start, start + COUNT_ROWS)
        to_groups: Any = groups[part].T.tocsr()
        return sp.csr_array(to_groups @ tags[part]), to_groups @ labelled[part].astype(float)

    shape = (groups.shape[1], tags.shape[1])
    total = empty_csr(*shape)
    count = np.zeros(shape[0])
    for of_part, counts in runner.map(sums, range(0, len(articles), COUNT_ROWS)):
        total = sp.csr_array(total + of_part)
        count += counts
    return {
        "sums": total,
        "labelled": count.astype(np.float32),
        "totals": np.asarray(tags.sum(axis=0), dtype=np.float32),
        "total": int(labelled.sum()),
    }
