"""Articles as feature blocks read them: those of a corpus, or new ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.corpus.fields import UNKNOWN_AUTHOR
from tagsage.embed.text import article_texts
from tagsage.graph.csr import empty_csr, make_csr

if TYPE_CHECKING:
    from tagsage.features.known_articles import KnownArticles
    from tagsage.graph.csr import Csr
    from tagsage.store.snapshot import Snapshot

PARTITION_ROWS = 100_000

IdArray = npt.NDArray[np.uint64]
NOBODY = np.uint64(0)
"""The id of an article that no corpus holds."""


def article_ids(keys: Sequence[str]) -> IdArray:
    """Return a number for each article's key, the same in every run.

    Among 5.5 million articles, two have the same 64-bit hash with a chance of one in a million. An
    empty key stands for an article in no corpus.
    """
    names = np.array(list(keys), dtype=object)
    ids: IdArray = pd.util.hash_array(names, categorize=False)
    return np.where(names == "", NOBODY, ids)


@dataclass(frozen=True, eq=False)
class Articles:
    """Some articles; texts (title and subtitle) and authors are empty where unknown."""

    ids: IdArray  # see :func:`article_ids`
    texts: Sequence[str]
    authors: npt.NDArray[np.object_]
    members: Csr  # ones, [n, n_lists], sorted indices
    list_names: npt.NDArray[np.object_]
    vectors: npt.NDArray[np.floating]  # [n, d], maybe memory-mapped; d = 0 where unneeded

    @classmethod
    def of_snapshot(
        cls, snapshot: Snapshot, vectors: npt.NDArray[np.floating] | None = None
    ) -> Self:
        """Return all articles of a corpus, in its order, with the vectors of their texts."""
        authors = snapshot.articles["author"].to_numpy(dtype=object, copy=True)
        authors[authors == UNKNOWN_AUTHOR] = ""
        members: Any = snapshot.incidence()
        members.sort_indices()
        return cls(
            article_ids(snapshot.articles["key"].tolist()),
            article_texts(snapshot.articles),
            authors,
            members,
            snapshot.lists,
            _no_vectors(len(authors)) if vectors is None else vectors,
        )

    @classmethod
    def of_names(
        cls,
        texts: Sequence[str],
        authors: Sequence[str],
        lists: Sequence[Sequence[str]],
        *,
        keys: Sequence[str] | None = None,
        vectors: npt.NDArray[np.floating] | None = None,
    ) -> Self:
        """Return articles whose lists are given by name; by default they are in no corpus."""
        unique = [dict.fromkeys(names) for names in lists]
        lengths = np.fromiter(map(len, unique), dtype=np.int64, count=len(unique))
        codes, names = pd.factorize(
            np.array(list(chain.from_iterable(unique)), dtype=object), sort=True
        )
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        ones = np.ones(len(codes), dtype=np.float32)
        members = make_csr(ones, codes.astype(np.int32), indptr, (len(unique), len(names)))
        members.sort_indices()
        return cls(
            article_ids(keys if keys is not None else [""] * len(unique)),
            list(texts),
            np.array(authors, dtype=object),
            members,
            names,
            _no_vectors(len(unique)) if vectors is None else vectors,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: npt.NDArray[np.integer] | slice) -> Self:
        """Return some of them, in the order given."""
        texts = self.texts
        members: Any = self.members[rows]
        return replace(
            self,
            ids=self.ids[rows],
            texts=texts[rows] if isinstance(rows, slice) else [texts[row] for row in rows.tolist()],
            authors=self.authors[rows],
            members=members,
            vectors=self.vectors[rows],
        )

    def partitions(self, size: int = PARTITION_ROWS) -> Iterator[Self]:
        """Yield them in partitions, in order."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def in_lists(self, members: Csr) -> Self:
        """Return them as members of other lists of the same names."""
        return replace(self, members=members)

    def in_no_list(self) -> Self:
        """Return them as if no list held them."""
        return self.in_lists(empty_csr(*self.members.shape))

    def with_vectors(self, vectors: npt.NDArray[np.floating]) -> Self:
        """Return them with other vectors of their texts."""
        return replace(self, vectors=vectors)


@dataclass(frozen=True, eq=False)
class MarkedArticles(Articles):
    """Articles that were looked up in what states were fitted on by :meth:`KnownArticles.mark`."""

    known: KnownArticles
    places: npt.NDArray[np.int64]  # positions in `known`; -1: wasn't counted
    counted: npt.NDArray[np.bool_]  # which of ``members.indices`` were counted

    def take(self, rows: npt.NDArray[np.integer] | slice) -> Self:
        """Return some of them, in the order given."""
        taken, places = super().take(rows), self.places[rows]
        counted = self.known.counted_memberships(places, taken.members)
        return replace(taken, places=places, counted=counted)

    def in_lists(self, members: Csr) -> Self:
        """Return them as members of other lists of the same names, looked up again."""
        counted = self.known.counted_memberships(self.places, members)
        return replace(self, members=members, counted=counted)

    def only_counted(self) -> Self:
        """Return those that were counted."""
        is_counted = self.places >= 0
        return self if is_counted.all() else self.take(np.flatnonzero(is_counted))


def _no_vectors(n: int) -> npt.NDArray[np.float32]:
    return np.zeros((n, 0), dtype=np.float32)
