"""What a tagger keeps of the corpus's lists: their means of vectors, and their counts of labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from tagsage.graph.csr import FloatArray, make_csr
from tagsage.graph.labels import ListLabels
from tagsage.graph.lists import list_weights
from tagsage.graph.memberships import ListFactors

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

# Columns of the vectors taken at a time when list means are computed: 256 MB of float32.
BLOCK_NUMBERS = 1 << 26

_NAMES = "names.json"


@dataclass(frozen=True)
class ListMeans:
    """What the lists of the corpus say: a mean vector and a weight each, hop by hop.

    Attributes
    ----------
    index : dict of str to int
        Row of each list's name.
    means : list of float16 arrays, shape [n_lists, d]
        One a hop: the mean of the members' vectors, of the hop before.
    weights : list of float32 arrays, shape [n_lists]
        One a hop: size ** -discount, and 0 for a list of whose members nothing is known.
    """

    index: dict[str, int]
    means: list[npt.NDArray[np.float16]]
    weights: list[FloatArray]

    def features(self, lists: Sequence[Sequence[str]]) -> list[FloatArray]:
        """Return the propagated vectors of new articles, one array [n, d] a hop.

        Parameters
        ----------
        lists : sequence of sequences of str, length n
            The names of each article's lists; names that are not known do not count.
        """
        members, used = _memberships(self.index, lists)
        result = []
        for means, weights in zip(self.means, self.weights, strict=True):
            chosen = weights[used][members.indices]
            pick = make_csr(chosen, members.indices, members.indptr, members.shape)
            total = pick @ np.ones(len(used), dtype=np.float32)
            summed: FloatArray = pick @ np.asarray(means[used], dtype=np.float32)
            result.append(summed / np.where(total > 0, total, 1).astype(np.float32)[:, None])
        return result

    @classmethod
    def load(cls, folder: Path, hops: int) -> Self:
        """Read what :func:`write_list_means` wrote; the means are memory-mapped."""
        numbers = range(1, hops + 1)
        return cls(
            _load_names(folder),
            means=[
                np.load(folder / f"means{hop}.npy", mmap_mode="r", allow_pickle=False)
                for hop in numbers
            ],
            weights=[np.load(folder / f"weights{hop}.npy", allow_pickle=False) for hop in numbers],
        )


@dataclass(frozen=True)
class NamedListLabels:
    """What the lists of the corpus say of tags, by the lists' names.

    Attributes
    ----------
    index : dict of str to int
        Row of each list's name.
    lists : ListLabels
        Sums and counts of the articles that the tagger was fitted on.
    """

    index: dict[str, int]
    lists: ListLabels

    def features(self, lists: Sequence[Sequence[str]]) -> list[FloatArray]:
        """Return the propagated labels of new articles: shares [n, L] and evidence [n, 1].

        Parameters
        ----------
        lists : sequence of sequences of str, length n
            The names of each article's lists; names that are not known do not count.
        """
        members, used = _memberships(self.index, lists)
        return list(self.lists.of(used).features(members))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :func:`write_named_lists` wrote."""
        return cls(_load_names(folder), ListLabels.load(folder))


@dataclass(frozen=True)
class NamedListFactors:
    """The factors of the corpus's lists, by the lists' names.

    Attributes
    ----------
    index : dict of str to int
        Row of each list's name.
    lists : ListFactors
        The factors.
    """

    index: dict[str, int]
    lists: ListFactors

    def features(self, lists: Sequence[Sequence[str]]) -> FloatArray:
        """Return the embeddings of new articles, float32 [n, k].

        Parameters
        ----------
        lists : sequence of sequences of str, length n
            The names of each article's lists; names that are not known do not count.
        """
        members, used = _memberships(self.index, lists)
        return self.lists.of(used).embed(members)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :func:`write_named_lists` wrote."""
        return cls(_load_names(folder), ListFactors.load(folder))


def list_means(
    incidence: Csr, vectors: npt.NDArray[np.floating], size_discount: float
) -> tuple[FloatArray, FloatArray]:
    """Average the known vectors of each list's articles, and weigh the lists.

    Parameters
    ----------
    incidence : csr_array, shape [n_articles, n_lists]
        Which article is in which list.
    vectors : float array, shape [n_articles, d]
        One vector an article; a zero row is not known and does not count.
    size_discount : float
        See :func:`tagsage.graph.lists.propagate_lists`.

    Returns
    -------
    means : float32 array, shape [n_lists, d]
        Zero rows for lists of whose articles nothing is known.
    weights : float32 array, shape [n_lists]
        size ** -size_discount, where size counts all articles of the list; 0 for lists of whose
        articles nothing is known.
    """
    n, n_lists = incidence.shape
    to_lists = incidence.T.tocsr().astype(np.float32)
    sizes = np.diff(to_lists.indptr).astype(np.float32)
    d = vectors.shape[1]
    width = max(1, min(d, BLOCK_NUMBERS // max(n, n_lists, 1)))
    means = np.zeros((n_lists, d), dtype=np.float32)
    known = np.zeros(n, dtype=bool)
    for left in range(0, d, width):
        columns = slice(left, min(left + width, d))
        block = np.ascontiguousarray(vectors[:, columns], dtype=np.float32)
        known |= (block != 0).any(axis=1)
        means[:, columns] = to_lists @ block
    members = to_lists @ known.astype(np.float32)
    means /= np.maximum(members, 1)[:, None]
    return means, list_weights(sizes, members, size_discount)


def write_list_means(
    folder: Path,
    names: npt.NDArray[Any],
    incidence: Csr,
    hop_inputs: Sequence[npt.NDArray[np.floating]],
    size_discount: float,
) -> None:
    """Write what :class:`ListMeans` needs to a folder, which is made.

    Parameters
    ----------
    folder : pathlib.Path
        Does not exist yet.
    names : str array, shape [n_lists]
        The lists' names.
    incidence, hop_inputs, size_discount
        See :func:`tagsage.tracking.featuriser.write_featuriser`.
    """
    folder.mkdir()
    _write_names(folder, names)
    for hop, vectors in enumerate(hop_inputs, start=1):
        means, weights = list_means(incidence, vectors, size_discount)
        # Half precision halves what every version keeps; it moves a feature by less than 0.1%.
        np.save(folder / f"means{hop}.npy", means.astype(np.float16), allow_pickle=False)
        np.save(folder / f"weights{hop}.npy", weights, allow_pickle=False)


def write_named_lists(folder: Path, names: npt.NDArray[Any], lists: Path) -> None:
    """Write what was saved of lists, with their names, to a folder, which is made.

    Parameters
    ----------
    folder : pathlib.Path
        Does not exist yet.
    names : str array, shape [n_lists]
        The lists' names.
    lists : pathlib.Path
        Folder of the saved :class:`~tagsage.graph.labels.ListLabels` or
        :class:`~tagsage.graph.memberships.ListFactors`.
    """
    shutil.copytree(lists, folder)
    _write_names(folder, names)


def _memberships(
    index: dict[str, int], lists: Sequence[Sequence[str]]
) -> tuple[Csr, npt.NDArray[np.int64]]:
    """Return which article is in which known list, as ones, and the rows of these lists."""
    known = [{index[name] for name in names if name in index} for names in lists]
    columns = np.array([row for found in known for row in sorted(found)], dtype=np.int64)
    used, position = np.unique(columns, return_inverse=True)
    indptr = np.concatenate([[0], np.cumsum([len(found) for found in known], dtype=np.int64)])
    ones = np.ones(len(columns), dtype=np.float32)
    members = make_csr(ones, position.astype(np.int32), indptr, (len(lists), len(used)))
    return members, used


def _write_names(folder: Path, names: npt.NDArray[Any]) -> None:
    (folder / _NAMES).write_text(json.dumps([str(name) for name in names]), encoding="utf-8")


def _load_names(folder: Path) -> dict[str, int]:
    names = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
    return {name: row for row, name in enumerate(names)}
