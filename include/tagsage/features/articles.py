"""Articles as feature blocks read them: of a corpus, or new ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.corpus.fields import UNKNOWN_AUTHOR
from tagsage.graph.csr import make_csr
from tagsage.vectors.text import article_texts

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr
    from tagsage.store.snapshot import Snapshot

PARTITION_ROWS = 100_000


@dataclass(frozen=True, eq=False)
class Articles:
    """Some articles.

    Attributes
    ----------
    texts : sequence of str, length n
        Title and subtitle; empty where nothing is known.
    authors : object array of str, shape [n]
        The authors' names; empty where nobody is known.
    members : csr_array of float32, shape [n, n_lists]
        Ones where the article is in the list.
    list_names : object array of str, shape [n_lists]
        The lists' names.
    """

    texts: Sequence[str]
    authors: npt.NDArray[np.object_]
    members: Csr
    list_names: npt.NDArray[np.object_]

    @classmethod
    def of_snapshot(cls, snapshot: Snapshot) -> Self:
        """Return all articles of a corpus, in its order."""
        authors = snapshot.articles["author"].to_numpy(dtype=object, copy=True)
        authors[authors == UNKNOWN_AUTHOR] = ""
        return cls(article_texts(snapshot.articles), authors, snapshot.incidence(), snapshot.lists)

    @classmethod
    def of_names(
        cls, texts: Sequence[str], authors: Sequence[str], lists: Sequence[Sequence[str]]
    ) -> Self:
        """Return articles whose lists are given by name; a name that comes twice counts once.

        Parameters
        ----------
        texts, authors : sequence of str, length n
            See the attributes.
        lists : sequence of sequences of str, length n
            The names of the lists that hold each article.
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
        return cls(list(texts), np.array(authors, dtype=object), members, names)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: npt.NDArray[np.integer] | slice) -> Self:
        """Return some of them, in the order given."""
        texts = self.texts[rows] if isinstance(rows, slice) else [self.texts[row] for row in rows]
        members: Any = self.members[rows]
        return type(self)(texts, self.authors[rows], members, self.list_names)

    def partitions(self, size: int = PARTITION_ROWS) -> Iterator[Self]:
        """Yield them in partitions, in order."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))
