"""Articles that a model is asked about, and what it is found to say of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tagsage.explain.background import Background
from tagsage.explain.entries import IntArray
from tagsage.explain.explanations import TermEvidence
from tagsage.graph.labels import Own
from tagsage.tracking.inputs import Inputs, members_of, renumbered
from tagsage.vectors.lsa import LsaEmbedder
from tagsage.vectors.text import article_texts

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr
    from tagsage.tracking.servable import Tagger

ROWS_A_CALL = 4096
# Below that a score is rounding.
LEAST_DROP = 1e-6

Vectors = Callable[[IntArray], npt.NDArray[np.float32]]
Blocks = Mapping[str, npt.NDArray[Any]]


def list_numbers(tagger: Tagger, background: Background) -> IntArray:
    """Return the number that each of the corpus' lists has in the model, or -1.

    The model may be of an earlier night, with lists of its own.
    """
    index = tagger.featuriser.list_index
    return np.array([index.get(str(name), -1) for name in background.lists], dtype=np.int64)


class AskedArticles:
    """A block of articles that the model can be asked about."""

    def __init__(
        self,
        tagger: Tagger,
        background: Background,
        articles: IntArray,
        numbers: IntArray,
        vectors: Vectors | None,
        given: Callable[[IntArray], Blocks] | None,
    ) -> None:
        self.tagger, self.background, self.articles = tagger, background, articles
        featuriser = tagger.featuriser
        frame = background.articles.iloc[articles]
        texts = article_texts(frame)
        embedder = featuriser.embedder
        self.linear = tagger.candidate.classifier.sparse
        self.lsa = embedder if isinstance(embedder, LsaEmbedder) and not self.linear else None
        self.terms = self.lsa.terms(texts) if self.lsa is not None else None
        if self.lsa is not None and self.terms is not None:
            text = self.lsa.embed_terms(self.terms)
        elif not featuriser.needs_vectors:
            text = np.zeros((len(texts), 0), dtype=np.float32)
        elif vectors is not None:
            text = np.asarray(vectors(articles), dtype=np.float32)
        else:
            text = featuriser.text_vectors(texts)
        n_lists = len(featuriser.list_index)
        own = background.tags[articles].toarray() > 0
        authors = featuriser.authors.index if featuriser.authors else {}
        author_names = frame["author"].fillna("").to_numpy(dtype=object)
        names = [[name] for name in author_names.tolist()]
        self.inputs = Inputs(
            text,
            renumbered(background.incidence[articles], numbers, n_lists),
            members_of(authors, names),
            in_corpus=featuriser.counts(frame["key"].tolist()),
            own=Own(background.labelled[articles], own) if own.any() else None,
            texts=texts,
            author_names=author_names,
            given=given(articles) if given else {},
        )
        # Back from the model's lists to those of the corpus.
        self.lists = np.zeros(n_lists, dtype=np.int64)
        self.lists[numbers[numbers >= 0]] = np.flatnonzero(numbers >= 0)

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
            Their lists.
        text : callable, optional
            Returns their vectors, a part at a time.
        """
        parts = []
        for start in range(0, max(len(places), 1), ROWS_A_CALL):
            part = slice(start, start + ROWS_A_CALL)
            inputs = self.inputs.take(places[part])
            if members is not None:
                inputs = replace(inputs, members=members[part])
            if text is not None:
                inputs = replace(inputs, text=text(part), counted=inputs.text)
            X = self.tagger.featuriser.matrix_of(inputs)
            parts.append(self.tagger.candidate.predict_proba(X, np.arange(len(X))))
        return np.concatenate(parts)

    def thresholds(self) -> npt.NDArray[np.float32]:
        """Return what each probability [n, L] has to reach for its tag to be assigned."""
        X = self.tagger.featuriser.matrix_of(self.inputs)
        return self.tagger.candidate.thresholds(X, np.arange(len(X)))

    def without_graph(self) -> npt.NDArray[np.float32]:
        """Return probabilities [n, L] if the articles were in no list."""
        nothing = {block: np.zeros_like(array) for block, array in self.inputs.given.items()}
        none = self.inputs.members.copy()
        none.data[:] = 0
        none.eliminate_zeros()
        inputs = replace(self.inputs, members=none, given=nothing)
        X = self.tagger.featuriser.matrix_of(inputs)
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
