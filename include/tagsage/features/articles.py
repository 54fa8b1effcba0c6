"""Articles as feature blocks read them: of a corpus, or new ones."""

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
from tagsage.graph.csr import make_csr

if TYPE_CHECKING:
    from tagsage.features.known import Known
    from tagsage.graph.csr import Csr
    from tagsage.store.snapshot import Snapshot

PARTITION_ROWS = 100_000

IdArray = npt.NDArray[np.uint64]
NOBODY = np.uint64(0)
"""The id of an article that no corpus holds."""


def article_ids(keys: Sequence[str]) -> IdArray:
    """Return a number for each article's key, the same in every run.

    A hash of 64 bits: eight bytes per article instead of its address. Among 5.5 million articles
    two are taken for each other with a chance of one in a million.

    Parameters
    ----------
    keys : sequence of str, length n
        The articles' keys; an empty one stands for an article that no corpus holds.

    Returns
    -------
    uint64 array, shape [n]
    """
    names = np.array(list(keys), dtype=object)
    ids: IdArray = pd.util.hash_array(names, categorize=False)
    return np.where(names == "", NOBODY, ids)


@dataclass(frozen=True, eq=False)
class Articles:
    """Some articles.

    Attributes
    ----------
    ids : uint64 array, shape [n]
        See :func:`article_ids`.
    texts : sequence of str, length n
        Title and subtitle; empty where nothing is known.
    authors : object array of str, shape [n]
        The authors' names; empty where nobody is known.
    members : csr_array of float32, shape [n, n_lists]
        Ones where the article is in the list; columns ascending in each row.
    list_names : object array of str, shape [n_lists]
        The lists' names.
    vectors : float array, shape [n, d]
        The vectors of the texts; they may be memory-mapped. No columns where no block needs them.
    known : Known or None
        What states were fitted on, once :meth:`Known.mark` has looked these articles up there.
    places : int64 array, shape [n]
        Where each stands in `known`; -1 for an article that wasn't counted.
    counted : bool array, shape [memberships]
        Which memberships were counted, in the order of ``members.indices``.
    """

    ids: IdArray
    texts: Sequence[str]
    authors: npt.NDArray[np.object_]
    members: Csr
    list_names: npt.NDArray[np.object_]
    vectors: npt.NDArray[np.floating]
    known: Known | None = None
    places: npt.NDArray[np.int64] | None = None
    counted: npt.NDArray[np.bool_] | None = None

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
        """Return articles whose lists are given by name; a name that comes twice counts once.

        Parameters
        ----------
        texts, authors : sequence of str, length n
            See the attributes.
        lists : sequence of sequences of str, length n
            The names of the lists that hold each article.
        keys : sequence of str, length n, optional
            The keys of those that a corpus holds, else empty; by default none is held.
        vectors : float array, shape [n, d], optional
            See the attributes.
        """
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
        members: Any = self.members[rows]
        counted = self.counted
        if counted is not None:
            marks = make_csr(
                counted.astype(np.float32),
                self.members.indices,
                self.members.indptr,
                self.members.shape,
            )
            counted = marks[rows].data > 0
        return replace(
            self,
            ids=self.ids[rows],
            texts=self.texts[rows]
            if isinstance(rows, slice)
            else [self.texts[row] for row in rows.tolist()],
            authors=self.authors[rows],
            members=members,
            vectors=self.vectors[rows],
            places=None if self.places is None else self.places[rows],
            counted=counted,
        )

    def partitions(self, size: int = PARTITION_ROWS) -> Iterator[Self]:
        """Yield them in partitions, in order."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def in_lists(self, members: Csr) -> Articles:
        """Return them as members of other lists of the same names; marked again where marked."""
        changed = replace(self, members=members, counted=None)
        return changed if self.known is None else self.known.mark(changed)

    def in_no_list(self) -> Articles:
        """Return them as if no list held them."""
        return self.in_lists(
            make_csr(
                np.zeros(0, dtype=np.float32),
                np.zeros(0, dtype=np.int32),
                np.zeros(len(self) + 1, dtype=np.int64),
                self.members.shape,
            )
        )

    def with_vectors(self, vectors: npt.NDArray[np.floating]) -> Self:
        """Return them with other vectors of their texts."""
        return replace(self, vectors=vectors)

    def with_members(self, members: Csr, list_names: npt.NDArray[np.object_]) -> Self:
        """Return them, not marked yet, in lists of other names."""
        return replace(
            self, members=members, list_names=list_names, known=None, places=None, counted=None
        )


def _no_vectors(n: int) -> npt.NDArray[np.float32]:
    return np.zeros((n, 0), dtype=np.float32)
