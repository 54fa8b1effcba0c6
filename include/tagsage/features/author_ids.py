"""The block ``author_ids``: who wrote an article, one column per author."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pandas as pd

from tagsage.features.vocabulary import VocabularyBlock

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.graph.csr import Csr

# Beside words and lists, which have unit length, an author counts half.
WEIGHT = 0.5


class AuthorIds(VocabularyBlock):
    """One-hot authors; a row of zeros for an unknown author."""

    name: ClassVar[str] = "author_ids"

    @staticmethod
    def count(articles: Articles) -> pd.Series[int]:
        """Return the number of articles per author."""
        known = articles.authors[articles.authors != ""]
        return pd.Series(known, dtype=object).value_counts().astype("int64")

    def transform(self, articles: Articles) -> tuple[Csr]:
        """Return the authors, [n, authors]."""
        matrix = self.vocabulary.one_hot(articles.authors)
        matrix.data *= WEIGHT
        return (matrix,)
