"""The block ``words``: the words of title and subtitle, one column each, weighted by TF-IDF."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from tagsage.embed.words import words_of
from tagsage.features.vocabulary import VocabularyBlock, smooth_idf
from tagsage.graph.csr import empty_csr, make_csr

if TYPE_CHECKING:
    from tagsage.features.articles import Articles
    from tagsage.graph.csr import Csr

# As scikit-learn's: a single letter says little.
ANALYZER = partial(words_of, shortest=2)


class Words(VocabularyBlock):
    """Words by TF-IDF, (1 + ln tf) × idf, in at least two articles, each row of unit length."""

    name: ClassVar[str] = "words"

    @staticmethod
    def count(articles: Articles) -> pd.Series[int]:
        """Return the number of articles per word."""
        counter = CountVectorizer(analyzer=ANALYZER, binary=True, dtype=np.int32)
        try:
            counts = counter.fit_transform(articles.texts).sum(axis=0)
        except ValueError:
            # scikit-learn refuses texts without a single word.
            return pd.Series(dtype="int64")
        words = counter.get_feature_names_out()
        return pd.Series(np.asarray(counts, dtype=np.int64).ravel(), index=words)

    def transform(self, articles: Articles) -> tuple[Csr]:
        """Return the weighted words, [n, words]."""
        shape = (len(articles), len(self.vocabulary.keys))
        # scikit-learn refuses a vocabulary without words, and no texts.
        if not all(shape):
            return (empty_csr(*shape),)
        weighted = self._vectorizer.transform(articles.texts)
        return (make_csr(weighted.data, weighted.indices, weighted.indptr, shape),)

    @cached_property
    def _vectorizer(self) -> TfidfVectorizer:
        vectorizer = TfidfVectorizer(
            analyzer=ANALYZER,
            sublinear_tf=True,
            vocabulary=self.vocabulary.keys.tolist(),
            dtype=np.float32,
        )
        vectorizer.idf_ = smooth_idf(self.articles, self.total)
        return vectorizer
