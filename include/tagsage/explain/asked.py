"""Articles that a model is asked about, and what it is found to say of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.embed.lsa import LsaEmbedder
from tagsage.explain.entries import IntArray
from tagsage.explain.explanations import TermEvidence

if TYPE_CHECKING:
    from tagsage.explain.background import Background
    from tagsage.features import Articles, FeatureMatrix
    from tagsage.graph.csr import Csr
    from tagsage.registry.tagger import Tagger

ROWS_A_CALL = 4096
# Below that a score is rounding.
LEAST_DROP = 1e-6

Vectors = Callable[[IntArray], npt.NDArray[np.float32]]


class AskedArticles:
    """A block of articles that the model can be asked about."""

    def __init__(
        self,
        tagger: Tagger,
        background: Background,
        rows: IntArray,
        vectors: Vectors | None,
    ) -> None:
        self.tagger, self.background, self.rows = tagger, background, rows
        features, embedder = tagger.features, tagger.embedder
        articles = background.corpus.take(rows)
        self.linear = tagger.candidate.classifier.sparse
        self.lsa = embedder if isinstance(embedder, LsaEmbedder) else None
        self.terms = self.lsa.terms(articles.texts) if self.lsa is not None else None
        if self.lsa is not None and self.terms is not None:
            articles = articles.with_vectors(self.lsa.embed_terms(self.terms))
        elif features.needs_vectors:
            given = vectors(rows) if vectors is not None else tagger.vectors(articles.texts)
            articles = articles.with_vectors(np.asarray(given, dtype=np.float32))
        self.articles = features.known.mark(articles)
        # From the model's lists to those of the corpus.
        names = pd.Index(background.corpus.list_names, dtype=object)
        self.lists = names.get_indexer(features.known.list_index)

    def answer(
        self,
        places: IntArray,
        *,
        members: Csr | None = None,
        text: Callable[[slice], npt.NDArray[np.float32]] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return probabilities [v, L] of some of the articles, in other lists or with other texts.

        Parameters
        ----------
        places : int64 array, shape [v]
            The articles' places in the block.
        members : csr_array, shape [v, n_lists], optional
            Their lists, of the model.
        text : callable, optional
            Returns their vectors, a part at a time.
        """
        parts = []
        for start in range(0, max(len(places), 1), ROWS_A_CALL):
            part = slice(start, start + ROWS_A_CALL)
            articles = self.articles.take(places[part])
            if members is not None:
                articles = articles.in_lists(members[part])
            if text is not None:
                articles = articles.with_vectors(text(part))
            parts.append(self._ask(articles))
        return np.concatenate(parts)

    def matrix(self) -> FeatureMatrix:
        """Return the features of all articles of the block."""
        return self.tagger.features.transform(self.articles)

    def thresholds(self) -> npt.NDArray[np.float32]:
        """Return what each probability [n, L] has to reach for its tag to be assigned."""
        return self.tagger.candidate.thresholds(self.matrix(), np.arange(len(self.rows)))

    def without_graph(self) -> npt.NDArray[np.float32]:
        """Return probabilities [n, L] if the articles were in no list."""
        return self._ask(self.articles.in_no_list())

    def _ask(self, articles: Articles) -> npt.NDArray[np.float32]:
        X = self.tagger.features.transform(articles)
        return self.tagger.candidate.predict_proba(X, np.arange(len(X)))


@dataclass(frozen=True)
class Named:
    """Entries of a matrix (lists or words) that are named for pairs of article and tag."""

    pair: IntArray
    number: IntArray
    drop: npt.NDArray[np.floating]


@dataclass(frozen=True)
class Measured:
    """What a model says of pairs of article and tag, and what its lists and words do for that."""

    rows: IntArray
    columns: IntArray
    score: npt.NDArray[np.floating]
    threshold: npt.NDArray[np.floating]
    without_graph: npt.NDArray[np.floating]
    lists: Named
    words: Named
    terms: list[list[TermEvidence]]
    vocabulary: Sequence[str] | npt.NDArray[np.object_]


def grouped(n: int, place: IntArray, items: list[Any]) -> list[list[Any]]:
    """Return the items of each of n places; `place` is ascending."""
    bounds = np.searchsorted(place, np.arange(n + 1)).tolist()
    return [items[first:last] for first, last in pairwise(bounds)]
