"""A corpus with the tags of a model, and which labelled articles are like an article."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from tagsage.features import Articles
from tagsage.learn.labels import sparse_labels
from tagsage.store.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd

    from tagsage.graph.csr import Csr

IntArray = npt.NDArray[np.int64]

# Articles whose shared lists are counted at a time, and labelled ones that texts are compared with.
COLISTED_ROWS, TEXT_ROWS = 512, 512
SHARED_LISTS = 3


class Similar(NamedTuple):
    """Articles that are like another, the most similar first."""

    articles: IntArray
    similarity: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LabelledCorpus:
    """A corpus as explanations read it; without `vectors` no similar texts are found."""

    articles: pd.DataFrame  # those of the snapshot
    corpus: Articles  # the same, as blocks read them
    tags: Csr  # the model's, [n_articles, L]
    vectors: npt.NDArray[np.floating] | None  # [n_articles, d]

    @classmethod
    def of(
        cls, snapshot: Snapshot, tags: Sequence[str], vectors: npt.NDArray[np.floating] | None
    ) -> Self:
        """Read a snapshot with the tags of a model, in the order of its columns."""
        Y = sparse_labels(snapshot.articles["tags"].tolist(), tags)
        return cls(snapshot.articles, Articles.of_snapshot(snapshot), Y, vectors)

    @cached_property
    def urls(self) -> npt.NDArray[np.object_]:
        """The articles' addresses."""
        return self.articles["url"].to_numpy(dtype=object)

    @cached_property
    def titles(self) -> npt.NDArray[np.object_]:
        """The articles' titles."""
        return self.articles["title"].to_numpy(dtype=object)

    @property
    def list_names(self) -> npt.NDArray[np.object_]:
        """The lists' names."""
        return self.corpus.list_names

    @property
    def members(self) -> Csr:
        """Which article is in which list, csr_array [n_articles, n_lists]."""
        return self.corpus.members

    @cached_property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Which articles have a tag of the model."""
        return np.diff(self.tags.indptr) > 0

    @cached_property
    def list_sizes(self) -> IntArray:
        """How many articles each list holds."""
        return np.bincount(self.members.indices, minlength=self.members.shape[1])

    @cached_property
    def list_labelled(self) -> IntArray:
        """How many labelled articles each list holds."""
        return (self.members.T @ self.labelled.astype(np.float32)).astype(np.int64)

    @cached_property
    def list_tags(self) -> Csr:
        """How many articles of each list have each tag, csr_array [n_lists, L]."""
        return sp.csr_array(self.members.T.tocsr() @ self.tags)

    def lists_of(self, article: int) -> IntArray:
        """Return the numbers of an article's lists."""
        entries = slice(*self.members.indptr[article : article + 2])
        return self.members.indices[entries].astype(np.int64)

    def shared_lists(self, article: int, other: int) -> IntArray:
        """Return the smallest lists that hold both articles, at most three."""
        shared = np.intersect1d(self.lists_of(article), self.lists_of(other))
        return shared[np.argsort(self.list_sizes[shared], kind="stable")[:SHARED_LISTS]]

    def colisted(self, rows: IntArray, columns: IntArray, *, top: int) -> list[Similar]:
        """Find the labelled articles with a tag that share the most lists with an article.

        A shared list of n articles counts 1 / ln(1 + n), as in L. Adamic and E. Adar, "Friends and
        neighbors on the Web", Social Networks 25 (2003). `rows` and `columns` [p] are pairs.
        """
        articles_of_tags = self.tags.tocsc()
        weights = (1 / np.log1p(np.maximum(self.list_sizes, 1))).astype(np.float32)
        found = [Similar(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in rows]
        for tag in np.unique(columns):
            having = np.sort(articles_of_tags[:, [tag]].indices)
            theirs = self.members[having].T.tocsr()
            pairs = np.flatnonzero(columns == tag)
            for part in np.array_split(pairs, len(pairs) // COLISTED_ROWS + 1):
                shared = (self.members[rows[part]] * weights).tocsr() @ theirs
                for place, pair in enumerate(part.tolist()):
                    entries = slice(*shared.indptr[place : place + 2])
                    others, weight = having[shared.indices[entries]], shared.data[entries]
                    order = np.lexsort((others, -weight))
                    order = order[others[order] != rows[pair]][:top]
                    found[pair] = Similar(others[order].astype(np.int64), weight[order])
        return found

    def nearest_texts(self, rows: IntArray, *, top: int) -> list[Similar]:
        """Find the labelled articles whose vectors have the largest cosine, above 0."""
        if self.vectors is None or not len(rows):
            return [Similar(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in rows]
        mine = normalize(np.asarray(self.vectors[rows], dtype=np.float32))
        best: Any = np.zeros((len(rows), top), dtype=np.float32)
        which: Any = np.full((len(rows), top), -1, dtype=np.int64)
        labelled = np.flatnonzero(self.labelled)
        for start in range(0, len(labelled), TEXT_ROWS):
            block = labelled[start : start + TEXT_ROWS]
            theirs = normalize(np.asarray(self.vectors[block], dtype=np.float32))
            cosine = mine @ theirs.T
            cosine[rows[:, None] == block] = 0
            best = np.concatenate([best, cosine], axis=1)
            which = np.concatenate([which, np.broadcast_to(block, cosine.shape)], axis=1)
            kept = np.argpartition(-best, top - 1, axis=1)[:, :top]
            best, which = (np.take_along_axis(part, kept, axis=1) for part in (best, which))
        order = np.lexsort((which, -best), axis=1)
        best, which = (np.take_along_axis(part, order, axis=1) for part in (best, which))
        return [Similar(w[b > 0], b[b > 0]) for w, b in zip(which, best, strict=True)]
