"""What of a corpus may speak for a tag: its lists, its labelled articles, their texts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.explain.entries import IntArray, best_of_groups, expand, values_at
from tagsage.features import Articles
from tagsage.graph.top_k import top_entries
from tagsage.learn.labels import label_matrix
from tagsage.store.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from tagsage.graph.csr import Csr

# Entries of one product of articles and articles; 200 MB.
PRODUCT_ENTRIES = 1 << 24
# Articles that are compared with so many labelled ones at a time: 16 MB of similarities.
TEXT_ROWS, LABELLED_ROWS = 2048, 2048
SHARED_LISTS = 3


class Found(NamedTuple):
    """Articles that were found for others.

    Attributes
    ----------
    place : int64 array, shape [f]
        For which of those asked for, ascending; best first.
    article : int64 array, shape [f]
        The article found.
    value : float array, shape [f]
        How near it is.
    """

    place: IntArray
    article: IntArray
    value: npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Background:
    """A corpus as explanations read it.

    Attributes
    ----------
    articles : pandas.DataFrame
        As in a snapshot: ``key``, ``url``, ``title``, ``subtitle``, ``author``, ``is_stub``.
    corpus : Articles
        The same, as blocks read them.
    tags : csr_array of float32, shape [n_articles, L]
        Which article has which tag of the model; columns ascending.
    vectors : float array, shape [n_articles, d], or None
        The vectors of the texts, of the model's embedder; may be memory-mapped. None: there are
        none at hand, and no nearest texts are found.
    """

    articles: pd.DataFrame
    corpus: Articles
    tags: Csr
    vectors: npt.NDArray[np.floating] | None

    @classmethod
    def of(
        cls, snapshot: Snapshot, tags: Sequence[str], vectors: npt.NDArray[np.floating] | None
    ) -> Self:
        """Make it of a snapshot and the tags of a model.

        Parameters
        ----------
        snapshot : Snapshot
            The corpus.
        tags : sequence of str, length L
            The model's tags, in the order of its columns.
        vectors : float array, shape [n_articles, d], or None
            See `vectors`.
        """
        labels = label_matrix(snapshot.articles["tags"].tolist(), tags)
        Y: Csr = sp.csr_array(labels.astype(np.float32))
        return cls(snapshot.articles, Articles.of_snapshot(snapshot), Y, vectors)

    @property
    def lists(self) -> npt.NDArray[np.object_]:
        """The lists' names."""
        return self.corpus.list_names

    @property
    def incidence(self) -> Csr:
        """Which article is in which list, csr_array [n_articles, n_lists]; columns ascending."""
        return self.corpus.members

    @cached_property
    def urls(self) -> npt.NDArray[np.object_]:
        """The articles' addresses."""
        return self.articles["url"].to_numpy(dtype=object)

    @cached_property
    def titles(self) -> npt.NDArray[np.object_]:
        """The articles' titles; may hold anything."""
        return self.articles["title"].to_numpy(dtype=object)

    @cached_property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Which articles have some tag of the model."""
        return np.diff(self.tags.indptr) > 0

    @cached_property
    def list_sizes(self) -> IntArray:
        """How many articles each list holds."""
        return np.bincount(self.incidence.indices, minlength=len(self.lists)).astype(np.int64)

    @cached_property
    def list_labelled(self) -> IntArray:
        """How many labelled articles each list holds."""
        return (self.incidence.T @ self.labelled.astype(np.float32)).astype(np.int64)

    @cached_property
    def list_tags(self) -> Csr:
        """How many articles of each list have each tag, csr_array [n_lists, L]."""
        counts: Csr = sp.csr_array(self.incidence.T.tocsr() @ self.tags)
        counts.sort_indices()
        return counts

    def colisted(self, rows: IntArray, columns: IntArray, *, top: int) -> Found:
        """Find the labelled articles with a tag that share the most lists with an article.

        A shared list of n articles counts 1 / ln(1 + n), as in L. Adamic and E. Adar, "Friends and
        neighbors on the Web", Social Networks 25 (2003): a list of few says more. No pairs of
        articles but those of one tag are counted, in bounded blocks.

        Parameters
        ----------
        rows, columns : int64 arrays, shape [p]
            Articles, and a tag each.
        top : int
            How many to find at most.

        Returns
        -------
        Found
            By the places of `rows`; of equal articles that with the lower number first.
        """
        weights = (1 / np.log1p(np.maximum(self.list_sizes, 1))).astype(np.float32)
        mine = self.incidence.multiply(weights[None, :]).tocsr()
        of_tags = self.tags.tocsc()
        parts = []
        for tag in np.unique(columns).tolist():
            having = of_tags.indices[of_tags.indptr[tag] : of_tags.indptr[tag + 1]]
            if not len(having):
                continue
            having = np.sort(having)
            theirs = self.incidence[having].T.tocsr()
            asked = np.flatnonzero(columns == tag)
            per_list = np.diff(theirs.indptr).astype(np.float32)
            entries = np.cumsum(self.incidence[rows[asked]] @ per_list)
            bounds = np.searchsorted(
                entries, np.arange(PRODUCT_ENTRIES, entries[-1], PRODUCT_ENTRIES)
            )
            for part in np.split(asked, np.unique(bounds)):
                shared = sp.csr_array(mine[rows[part]] @ theirs)
                itself = having[shared.indices] == np.repeat(rows[part], np.diff(shared.indptr))
                shared.data[itself] = 0
                kept = top_entries(shared, top)
                place = np.repeat(part, np.diff(kept.indptr))
                parts.append((place, having[kept.indices], kept.data))
        if not parts:
            return Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        place, article, value = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = best_of_groups(place, value, top)
        return Found(place[order], article[order].astype(np.int64), value[order])

    def shared_lists(self, articles: IntArray, others: IntArray) -> tuple[IntArray, IntArray]:
        """Return the smallest lists that pairs of articles share, at most `SHARED_LISTS`.

        Parameters
        ----------
        articles, others : int64 arrays, shape [f]
            The pairs.

        Returns
        -------
        place, numbers : int64 arrays, shape [s]
            Of which pair, ascending, and which list; the smallest first.
        """
        place, entry = expand(self.incidence.indptr, articles)
        numbers = self.incidence.indices[entry].astype(np.int64)
        both = values_at(self.incidence, others[place], numbers) > 0
        place, numbers = place[both], numbers[both]
        order = best_of_groups(place, -self.list_sizes[numbers].astype(np.float64), SHARED_LISTS)
        return place[order], numbers[order]

    def nearest_texts(self, rows: IntArray, *, top: int) -> Found:
        """Find the labelled articles whose texts are the most like an article's.

        Parameters
        ----------
        rows : int64 array, shape [m]
            Articles.
        top : int
            How many to find at most.

        Returns
        -------
        Found
            By the places of `rows`; the value is the cosine of the vectors. Nothing for articles
            without a vector, and nothing that is not the least alike.
        """
        best = np.zeros((len(rows), top), dtype=np.float32)
        which = np.zeros((len(rows), top), dtype=np.int64)
        labelled = np.flatnonzero(self.labelled)
        if self.vectors is not None:
            for first in range(0, len(labelled), LABELLED_ROWS):
                theirs = labelled[first : first + LABELLED_ROWS]
                right = _unit(self.vectors[theirs]).T.copy()
                for start in range(0, len(rows), TEXT_ROWS):
                    block = slice(start, start + TEXT_ROWS)
                    likeness = _unit(self.vectors[rows[block]]) @ right
                    itself = np.searchsorted(theirs, rows[block]).clip(max=len(theirs) - 1)
                    same = np.flatnonzero(theirs[itself] == rows[block])
                    likeness[same, itself[same]] = 0
                    _merge_best(best[block], which[block], likeness, theirs)
        place, rank = np.nonzero(best > 0)
        return Found(place.astype(np.int64), which[place, rank], best[place, rank])


def _merge_best(
    best: npt.NDArray[np.float32],
    which: IntArray,
    likeness: npt.NDArray[np.float32],
    articles: IntArray,
) -> None:
    """Put the largest of some further values among the largest so far, in place."""
    top, width = best.shape[1], likeness.shape[1]
    if not best.any() and width > top:
        column = np.argpartition(likeness, width - top, axis=1)[:, width - top :].ravel()
        place = np.repeat(np.arange(len(best)), top)
    else:
        # Only what is above the least of those found so far is looked at: little.
        place, column = np.nonzero(likeness > best.min(axis=1, keepdims=True))
    place = np.concatenate([np.repeat(np.arange(len(best)), top), place])
    values = np.concatenate([best.ravel(), likeness[place[best.size :], column]])
    numbers = np.concatenate([which.ravel(), articles[column]])
    kept = best_of_groups(place, values, top)
    best[:] = values[kept].reshape(best.shape)
    which[:] = numbers[kept].reshape(which.shape)


def _unit(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    rows = np.array(vectors, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    np.divide(rows, lengths, out=rows, where=lengths > 0)
    return rows
