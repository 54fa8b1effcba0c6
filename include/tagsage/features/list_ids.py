"""The block ``list_ids``: the lists that hold an article, one column each, weighted by IDF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from tagsage.features.base import Block
from tagsage.graph.csr import make_csr

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.features.known import Known
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings


class ListIds(Block):
    """One-hot lists times idf, each row of unit length; a row of zeros in no known list.

    The idf of a list that holds s of n articles is ln((1 + n) / (1 + s)) + 1, as in scikit-learn's
    ``TfidfTransformer(smooth_idf=True)``, and 0 for a list that holds none.

    Parameters
    ----------
    sizes : int64 array, shape [n_lists]
        How many counted articles each known list holds.
    total : int
        How many articles were counted.
    """

    name: ClassVar[str] = "list_ids"
    needs_lists: ClassVar[bool] = True
    sparse: ClassVar[bool] = True

    def __init__(self, sizes: npt.NDArray[np.int64], total: int) -> None:
        self.sizes, self.total = sizes, total
        idf = np.log((1 + total) / (1 + sizes)) + 1
        self._idf = np.where(sizes > 0, idf, 0).astype(np.float32)

    @classmethod
    def fit(
        cls,
        articles: Articles,
        settings: Settings,
        runner: Runner,
        *,
        trained: Path | None = None,
    ) -> Self:
        """Count the articles per list."""
        del settings, runner, trained
        known: Known = articles.known  # type: ignore[assignment]
        return cls(known.list_sizes, len(known.ids))

    def transform(self, articles: Articles) -> tuple[Csr]:
        """Return the weighted lists, csr_array of float32 [n, lists]."""
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

    def columns(self, known: Known) -> npt.NDArray[np.object_]:
        """Return the lists' names."""
        return known.list_names

    def save(self, folder: Path) -> None:
        """Write the counts."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "sizes.npy", self.sizes, allow_pickle=False)
        (folder / "total.json").write_text(json.dumps(self.total), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the counts."""
        total = json.loads((folder / "total.json").read_text(encoding="utf-8"))
        return cls(np.load(folder / "sizes.npy", allow_pickle=False), total)
