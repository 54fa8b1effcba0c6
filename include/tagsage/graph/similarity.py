"""Similarity of articles: the Jaccard index of the sets of lists that hold them.

As ``nodeSimilarity`` in Neo4j GDS 2.13: each article keeps its own `top_k` neighbours, so a pair
appears in both directions unless one side cut it off. Of equally similar articles at the limit,
those with the lower indices stay (in GDS any). Lists of more than `max_list_size` articles are
ignored (0: none is), because a list of s articles makes s²/2 pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.graph.csr import empty_csr, make_csr, row_blocks
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

# What one block may cost, and so the entries it may have. Each block's product passes over all
# articles once, hence the part for the articles.
BLOCK_PRODUCTS = 4_000_000
BLOCK_PRODUCTS_PER_ARTICLE = 2


def jaccard_similarity(members: Csr, *, top_k: int, max_list_size: int = 0) -> Csr:
    """Join every article to the articles whose lists are most like its own.

    `members` [n_articles, n_lists] has ones where an article is in a list. Row i of the result
    [n_articles, n_articles] holds article i's neighbours, ascending; the values are in (0, 1].
    """
    blocks = list(similarity_blocks(members, top_k=top_k, max_list_size=max_list_size))
    return sp.vstack(blocks, format="csr") if blocks else empty_csr(0, 0)


def similarity_blocks(members: Csr, *, top_k: int, max_list_size: int = 0) -> Iterator[Csr]:
    """Yield :func:`jaccard_similarity` as consecutive blocks of rows, of bounded memory."""
    kept = _without_lists(members, _is_short(members, max_list_size))
    n = kept.shape[0]
    degrees = np.diff(kept.indptr).astype(np.int64)
    list_sizes = np.bincount(kept.indices, minlength=kept.shape[1])
    # The products that an article's row costs: one for every member of every list of it.
    products = np.bincount(
        np.repeat(np.arange(n), degrees), weights=list_sizes[kept.indices], minlength=n
    )
    # The constant keeps articles in no list from making one endless block.
    blocks = row_blocks(products + 64, max(BLOCK_PRODUCTS, BLOCK_PRODUCTS_PER_ARTICLE * n))
    for start, stop in track(blocks, "similarity"):
        # Transposed, the product is turned into the block's rows by one counting sort, which also
        # sorts the columns; sorting them one by one takes longer than the product.
        shared = (kept @ kept[start:stop].T.tocsr()).tocsc()
        places = np.arange(start, stop, dtype=np.int64)
        yield _joined(shared, degrees[start:stop], places, degrees, top_k)


class Neighbours:
    """Finds, through the lists, the neighbours that some articles have in a graph of n articles.

    `members` [n, n_lists] has ones where an article of the graph is in a list.
    """

    def __init__(self, members: Csr, *, top_k: int, max_list_size: int = 0) -> None:
        self.top_k = top_k
        self._is_short = _is_short(members, max_list_size)
        kept = _without_lists(members, self._is_short)
        self._degrees = np.diff(kept.indptr).astype(np.int64)
        self._articles: Csr = kept.T.tocsr()

    def of(self, members: Csr, places: npt.NDArray[np.int64]) -> Csr:
        """Find the neighbours of m articles, as :func:`jaccard_similarity` would join them, [m, n].

        `places` [m] are their positions in the graph (no article is its own neighbour); -1: not in
        it.
        """
        lists = _without_lists(members, self._is_short)
        degrees = np.diff(lists.indptr).astype(np.int64)
        shared: Csr = lists @ self._articles
        shared.sort_indices()
        return _joined(shared, degrees, places, self._degrees, self.top_k)


def _is_short(members: Csr, max_list_size: int) -> npt.NDArray[np.bool_]:
    sizes = np.bincount(members.indices, minlength=members.shape[1])
    return sizes <= max_list_size if max_list_size else np.ones(len(sizes), dtype=np.bool_)


def _without_lists(members: Csr, stays: npt.NDArray[np.bool_]) -> Csr:
    values = stays[members.indices].astype(np.int32)
    kept = sp.csr_array((values, members.indices, members.indptr), shape=members.shape, copy=True)
    kept.eliminate_zeros()
    return kept


def _joined(
    shared: Csr | sp.csc_array[Any],
    own_degrees: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    degrees: npt.NDArray[np.int64],
    top_k: int,
) -> Csr:
    """Turn counts of shared lists, `indptr` by article of the block, into its rows."""
    rows, n = len(places), len(degrees)
    row = np.repeat(np.arange(rows), np.diff(shared.indptr))
    other = shared.indices
    similarity = shared.data / (own_degrees[row] + degrees[other] - shared.data)
    is_other = other != places[row]
    row, other, similarity = row[is_other], other[is_other], similarity[is_other]
    lengths = np.bincount(row, minlength=rows)
    if lengths.max(initial=0) > top_k:
        keep = _within_top_k(similarity, lengths, top_k)
        other, similarity = other[keep], similarity[keep]
        lengths = np.minimum(lengths, top_k)
    indptr = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    return make_csr(similarity.astype(np.float32), other, indptr, (rows, n))


def _within_top_k(
    values: npt.NDArray[np.floating], lengths: npt.NDArray[np.int64], top_k: int
) -> npt.NDArray[np.bool_]:
    """Return which values, row after row, are among the largest of their row; ties: the first."""
    row = np.repeat(np.arange(len(lengths)), lengths)
    in_long_row = np.flatnonzero(lengths[row] > top_k)
    row = row[in_long_row]
    order = in_long_row[np.lexsort((-values[in_long_row], row))]
    rank = in_long_row - (np.cumsum(lengths) - lengths)[row]
    keep = np.ones(len(values), dtype=np.bool_)
    keep[order] = rank < top_k
    return keep
