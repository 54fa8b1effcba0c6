"""What the features of articles are made of: vectors, and places in lists, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.graph.csr import FloatArray, make_csr
from tagsage.graph.labels import Own

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr


@dataclass(frozen=True)
class Inputs:
    """Some articles as a featuriser takes them.

    Attributes
    ----------
    text : float32 array, shape [n, dimensions]
        Their vectors.
    members : csr_array, shape [n, n_lists]
        Which article is in which list that the featuriser knows, as ones.
    authors : csr_array, shape [n, n_authors]
        Who wrote which, as ones, of the authors that the featuriser knows; at most one a row.
    in_corpus : bool array, shape [n], optional
        Which are articles of the corpus that the lists are known from: their own vectors are part
        of the lists' means already. By default none is.
    counted : float32 array, shape [n, dimensions], optional
        The vectors that the lists' means hold of them, where `text` is that of a changed text.
    own : Own, optional
        What of the articles' own labels is counted in the lists, and is left out. By default
        nothing is.
    texts : sequence of str, length n
        What words are taken from; may be left out where no block needs them.
    author_names : object array of str, shape [n]
        Their authors' names; may be left out likewise.
    given : mapping of str to array, shape [n, d]
        Blocks that are known already and not made: those of a graph that only the corpus has. With
        them ``linked``, bool [n]: which of the articles are in a list.
    """

    text: FloatArray
    members: Csr
    authors: Csr
    in_corpus: npt.NDArray[np.bool_] | None = None
    counted: FloatArray | None = None
    own: Own | None = None
    texts: Sequence[str] = ()
    author_names: npt.NDArray[np.object_] = field(default_factory=lambda: np.empty(0, dtype=object))
    given: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.text)

    def take(self, rows: npt.NDArray[np.integer]) -> Self:
        """Return some of the articles, in the order given; one may come several times."""
        return replace(
            self,
            text=self.text[rows],
            members=self.members[rows],
            authors=self.authors[rows],
            in_corpus=None if self.in_corpus is None else self.in_corpus[rows],
            counted=None if self.counted is None else self.counted[rows],
            own=None if self.own is None else Own(*(array[rows] for array in self.own)),
            texts=[self.texts[row] for row in rows] if self.texts else (),
            author_names=self.author_names[rows] if len(self.author_names) else self.author_names,
            given={block: array[rows] for block, array in self.given.items()},
        )


def members_of(
    index: Mapping[str, int],
    names: Iterable[Sequence[str]],
    further: Iterable[Sequence[int]] | None = None,
) -> Csr:
    """Return which article is in which known list.

    Parameters
    ----------
    index : mapping of str to int
        The number of each list's name, from 0.
    names : iterable of sequences of str, n of them
        The names of each article's lists; one that is not known, or comes twice, does not count.
    further : iterable of sequences of int, n of them, optional
        Numbers of further lists of each.

    Returns
    -------
    csr_array of float32, shape [n, n_lists]
        Ones; the lists of an article ascending.
    """
    known = [
        sorted({index[name] for name in of_article if name in index}) if of_article else ()
        for of_article in names
    ]
    if further is not None:
        known = [
            sorted({*own, *others}) if others else own
            for own, others in zip(known, further, strict=True)
        ]
    lengths = np.fromiter(map(len, known), dtype=np.int64, count=len(known))
    indptr = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    indices = np.fromiter(chain.from_iterable(known), dtype=np.int32, count=int(indptr[-1]))
    ones = np.ones(len(indices), dtype=np.float32)
    return make_csr(ones, indices, indptr, (len(known), len(index)))


def used_columns(members: Csr) -> tuple[Csr, npt.NDArray[np.int64]]:
    """Return the columns that have entries, as a matrix of their own, and which they are."""
    used, position = np.unique(members.indices, return_inverse=True)
    shape = (members.shape[0], len(used))
    narrow = make_csr(members.data, position.astype(np.int32), members.indptr, shape)
    return narrow, used.astype(np.int64)


def renumbered(members: Csr, numbers: npt.NDArray[np.integer], columns: int) -> Csr:
    """Return a matrix with its columns numbered anew.

    Parameters
    ----------
    members : csr_array, shape [n, m]
        The matrix.
    numbers : int array, shape [m]
        The new number of each column; below 0: the column is left out.
    columns : int
        How many columns the result has.
    """
    places = np.asarray(numbers)[members.indices]
    kept = places >= 0
    indptr = np.concatenate([[0], np.cumsum(kept)])[members.indptr]
    matrix = make_csr(
        members.data[kept], places[kept].astype(np.int32), indptr, (members.shape[0], columns)
    )
    result: Csr = sp.csr_array(matrix)
    result.sort_indices()
    return result
