"""Nearest neighbours, exactly, without a matrix of all similarities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tagsage.features.matrix import FloatArray, IndexArray

BLOCK_NUMBERS = 1 << 22


def nearest(
    queries: FloatArray,
    among: npt.NDArray[np.floating],
    *,
    k: int,
    without: IndexArray | None = None,
) -> npt.NDArray[np.int64]:
    """Return the rows with the largest scalar products.

    Block after block of `among` is multiplied with all queries; of a block only those rows are
    looked at that beat a query's k-th best so far, a few in each block. Time is that of the
    products, memory that of one block.

    Parameters
    ----------
    queries : float32 array, shape [q, d]
        What neighbours are wanted of.
    among : float array, shape [m, d]
        Where they are sought; float16 is converted block by block.
    k : int
        How many, at least 1; at most m, or m - 1 with `without`.
    without : integer array, shape [q], optional
        For each query a row of `among` that is none of its neighbours: itself.

    Returns
    -------
    int64 array, shape [q, k]
        Rows of `among`, the best first; of equally good ones the lower row comes first.

    Raises
    ------
    ValueError
        When `k` is out of these bounds.
    """
    most = len(among) - (without is not None)
    if not 1 <= k <= most:
        raise ValueError(f"k must be from 1 to {most}, not {k}")
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    found = np.full((len(queries), k), -1, dtype=np.int64)
    size = max(BLOCK_NUMBERS // max(len(queries), 1), 1)
    for start in range(0, len(among), size):
        block = np.asarray(among[start : start + size], dtype=np.float32)
        products = queries @ block.T
        if without is not None:
            own = np.flatnonzero((without >= start) & (without < start + len(block)))
            products[own, without[own] - start] = -np.inf
        worst = best[:, -1:]
        if start == 0 and len(block) > k:
            # Nothing is known yet that could refuse most of the block: its own k-th best does.
            kth = np.partition(products, -k, axis=1)[:, -k, None]
            worst = np.nextafter(kth, np.float32(-np.inf))
        # Of the flat array: numpy finds the few in a matrix ten times as slowly.
        better = np.flatnonzero((products > worst).ravel())
        query, column = np.divmod(better, len(block))
        best, found = _merged(best, found, query, products[query, column], start + column)
    return found


def _merged(
    best: FloatArray,
    found: npt.NDArray[np.int64],
    query: npt.NDArray[np.int64],
    product: FloatArray,
    row: npt.NDArray[np.int64],
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Return each query's k best of those it has and new ones (query, product, row).

    Both come in the order of their rows among equals, and the new rows are the higher ones: a
    stable sort keeps it so.
    """
    n, k = best.shape
    query = np.concatenate([np.repeat(np.arange(n), k), query])
    product = np.concatenate([best.ravel(), product])
    row = np.concatenate([found.ravel(), row])
    order = np.lexsort((-product, query))
    first = np.searchsorted(query[order], np.arange(n))
    chosen = order[first[:, None] + np.arange(k)]
    return product[chosen], row[chosen]
