"""The block ``list_ids``: the lists that hold an article, one column each, weighted by IDF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from tagsage.features.base import Block
from tagsage.features.vocabulary import smooth_idf
from tagsage.graph.csr import make_csr

if TYPE_CHECKING:
    from tagsage.features.articles import MarkedArticles
    from tagsage.features.known_articles import KnownArticles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings


class ListIds(Block):
    """One-hot lists × IDF, each row of unit length; `sizes` are the counted articles per list."""

    name: ClassVar[str] = "list_ids"
    needs_lists: ClassVar[bool] = True
    sparse: ClassVar[bool] = True

    def __init__(self, sizes: npt.NDArray[np.int64], total: int) -> None:
        self.sizes, self.total = sizes, total
        self._idf = np.where(sizes > 0, smooth_idf(sizes, total), 0).astype(np.float32)

    @classmethod
    def fit(cls, articles: MarkedArticles, settings: Settings, runner: Runner) -> Self:
        """Count the articles per list."""
        del settings, runner
        return cls(articles.known.list_sizes, len(articles.known.ids))

    def transform(self, articles: MarkedArticles) -> tuple[Csr]:
        """Return the weighted lists, [n, lists]."""
        members = articles.members
        values = self._idf[members.indices]
        matrix = make_csr(values, members.indices, members.indptr, members.shape)
        # scikit-learn refuses a matrix without rows or columns.
        if not members.nnz:
            return (matrix,)
        # A copy: the members' own arrays must stay as they are.
        matrix = sp.csr_array(normalize(matrix))
        matrix.eliminate_zeros()
        return (matrix,)

    def columns(self, known: KnownArticles) -> npt.NDArray[np.object_]:
        """Return the lists' names."""
        return known.list_names

    def state(self) -> dict[str, Any]:
        """Return the counts."""
        return {"sizes": self.sizes, "total": self.total}
