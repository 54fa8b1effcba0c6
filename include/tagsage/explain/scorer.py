"""A model's scores of some articles of the corpus, also without some of their lists or words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tagsage.embed.lsa import LsaEmbedder

if TYPE_CHECKING:
    from tagsage.explain.labelled_corpus import IntArray, LabelledCorpus
    from tagsage.features import Articles, FeatureMatrix
    from tagsage.registry.tagger import Tagger

FloatArray = npt.NDArray[np.float32]
Vectors = Callable[["IntArray"], FloatArray]

ROWS_PER_CALL = 4096


class Scorer:
    """Scores n articles with a model; what their own tags add to their lists is left out.

    `vectors` returns the vectors of articles, float32 [m, d]. Without it the texts are embedded.
    """

    def __init__(
        self, tagger: Tagger, corpus: LabelledCorpus, rows: IntArray, vectors: Vectors | None
    ) -> None:
        self.tagger, self.corpus, self.rows = tagger, corpus, rows
        self.articles = corpus.corpus.take(rows)
        # Other texts are embedded only where that is free and quick.
        self.takes_texts = not tagger.features.needs_vectors or isinstance(
            tagger.embedder, LsaEmbedder
        )
        if tagger.features.needs_vectors:
            if vectors is None or self.takes_texts:
                made = tagger.vectors(self.articles.texts)
            else:
                made = np.asarray(vectors(rows), dtype=np.float32)
            self.articles = self.articles.with_vectors(made)

    @cached_property
    def features(self) -> FeatureMatrix:
        """The features of all the articles."""
        return self.tagger.features.transform(self.articles)

    def scores(self) -> FloatArray:
        """Return the probabilities, [n, L]."""
        return self.tagger.candidate.predict_proba(self.features, np.arange(len(self.rows)))

    def thresholds(self) -> FloatArray:
        """Return what each probability has to reach for its tag to be assigned, [n, L]."""
        return self.tagger.candidate.thresholds(self.features, np.arange(len(self.rows)))

    def scores_with_texts(self, places: IntArray, texts: Sequence[str]) -> FloatArray:
        """Return the probabilities of some of the articles if they had other texts, [m, L]."""
        articles = replace(self.articles.take(places), texts=texts)
        # Without an embedder there are no texts, and not even none can be embedded.
        if self.tagger.features.needs_vectors and texts:
            articles = articles.with_vectors(self.tagger.vectors(texts))
        return self.scores_of(articles)

    def scores_of(self, articles: Articles) -> FloatArray:
        """Return the probabilities of other articles, such as some of these in other lists."""
        parts = []
        for start in range(0, max(len(articles), 1), ROWS_PER_CALL):
            part = articles.take(slice(start, start + ROWS_PER_CALL))
            X = self.tagger.features.transform(part)
            parts.append(self.tagger.candidate.predict_proba(X, np.arange(len(X))))
        return np.concatenate(parts)
