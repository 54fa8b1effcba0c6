"""Rows of sparse matrices with some entries left out, and the best of each group: arrays only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tagsage.graph.csr import make_csr

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

IntArray = npt.NDArray[np.int64]


def expand(indptr: npt.NDArray[np.integer], rows: npt.NDArray[np.integer]) -> tuple[Any, Any]:
    """Return the entries of some rows of a CSR matrix.

    Parameters
    ----------
    indptr : int array, shape [n + 1]
        Of the matrix.
    rows : int array, shape [m]
        The rows; one may come several times.

    Returns
    -------
    place : int64 array, shape [e]
        Which of `rows` each entry is of: 0 … m-1, ascending.
    entry : int64 array, shape [e]
        Its position in the matrix' indices and data.
    """
    starts = np.asarray(indptr, dtype=np.int64)[rows]
    lengths = np.asarray(indptr, dtype=np.int64)[np.asarray(rows) + 1] - starts
    place = np.repeat(np.arange(len(lengths)), lengths)
    before = np.cumsum(lengths) - lengths
    return place, np.arange(len(place)) - before[place] + starts[place]


def without_entries(
    matrix: Csr,
    rows: npt.NDArray[np.integer],
    place: npt.NDArray[np.integer],
    entry: npt.NDArray[np.integer],
) -> Csr:
    """Return rows of a matrix, each without some of its entries.

    Parameters
    ----------
    matrix : csr_array, shape [n, m]
        The matrix.
    rows : int array, shape [v]
        The rows.
    place, entry : int arrays, shape [e]
        What is left out: of which of `rows` (0 … v-1), the entry at which position of the matrix'
        indices and data.

    Returns
    -------
    csr_array, shape [v, m]
    """
    of_row, position = expand(matrix.indptr, rows)
    stride = max(matrix.nnz, 1)
    removed = np.asarray(place, dtype=np.int64) * stride + entry
    kept = ~np.isin(of_row * stride + position, removed)
    counts = np.bincount(of_row[kept], minlength=len(rows))
    indptr = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
    position = position[kept]
    shape = (len(rows), matrix.shape[1])
    return make_csr(matrix.data[position], matrix.indices[position], indptr, shape)


def values_at(
    matrix: Csr, rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer]
) -> npt.NDArray[Any]:
    """Return single values of a CSR matrix whose columns are sorted in each row.

    Parameters
    ----------
    matrix : csr_array, shape [n, m]
        The matrix.
    rows, columns : int arrays, shape [e]
        Which values.

    Returns
    -------
    array, shape [e]
        0 where there is no entry.
    """
    if not matrix.nnz:
        return np.zeros(len(rows), dtype=matrix.dtype)
    wanted, where = np.unique(rows, return_inverse=True)
    place, entry = expand(matrix.indptr, wanted)
    width = matrix.shape[1]
    keys = place * width + matrix.indices[entry]
    asked = where * width + columns
    found = np.minimum(np.searchsorted(keys, asked), max(len(keys) - 1, 0))
    if not len(keys):
        return np.zeros(len(rows), dtype=matrix.dtype)
    return np.where(keys[found] == asked, matrix.data[entry[found]], 0)


def best_of_groups(
    group: npt.NDArray[np.integer], value: npt.NDArray[np.floating], top: int
) -> IntArray:
    """Return the positions of the largest values of each group.

    Parameters
    ----------
    group : int array, shape [e]
        The group of each value.
    value : float array, shape [e]
        The values.
    top : int
        How many of a group are kept.

    Returns
    -------
    int64 array
        Positions; groups ascending, the largest value of a group first, of equal ones that which
        comes first.
    """
    order = np.lexsort((-value, group))
    grouped = group[order]
    first = np.flatnonzero(np.concatenate([[True], grouped[1:] != grouped[:-1]])[: len(grouped)])
    lengths = np.diff(np.append(first, len(grouped)))
    rank = np.arange(len(grouped)) - np.repeat(first, lengths)
    return order[rank < top]
