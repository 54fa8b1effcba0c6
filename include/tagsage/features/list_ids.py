"""The block ``list_ids``: the lists that hold an article, one column each, weighted by IDF."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from tagsage.features.vocabulary import VocabularyBlock
from tagsage.graph.csr import make_csr

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.graph.csr import Csr


class ListIds(VocabularyBlock):
    """One-hot lists times idf, each row of unit length; a row of zeros in no known list."""

    name: ClassVar[str] = "list_ids"
    min_articles: ClassVar[int] = 1

    @staticmethod
    def count(articles: Articles) -> pd.Series[int]:
        """Return the number of articles per list."""
        sizes = np.bincount(articles.members.indices, minlength=len(articles.list_names))
        held = np.flatnonzero(sizes)
        counts = pd.Series(sizes[held], index=articles.list_names[held])
        return counts.astype("int64")

    def transform(self, articles: Articles) -> Csr:
        """Return the weighted lists, csr_array of float32 [n, lists]."""
        members, idf = articles.members, self.vocabulary.idf()
        columns = self.vocabulary.columns_of(articles.list_names)[members.indices]
        known = columns >= 0
        indptr = np.concatenate([[0], np.cumsum(known)])[members.indptr]
        columns = columns[known].astype(np.int32)
        matrix = make_csr(idf[columns], columns, indptr, (len(articles), len(idf)))
        matrix.sort_indices()
        # scikit-learn refuses a matrix without columns.
        return sp.csr_array(normalize(matrix, copy=False)) if len(idf) else matrix
