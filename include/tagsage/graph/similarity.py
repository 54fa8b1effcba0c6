"""Similarity of articles: the Jaccard index of the sets of lists that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.errors import TagsageError
from tagsage.graph.csr import make_csr, row_blocks, vertical_stack
from tagsage.graph.top_k import within_top_k
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

# What one block may cost, and so the entries it may have. Each block's product passes over all
# articles once, hence the part for the articles.
BLOCK_PRODUCTS = 4_000_000
BLOCK_PRODUCTS_PER_ARTICLE = 2


@dataclass(frozen=True)
class SimilarityConfig:
    """How articles are joined; the defaults are the study's.

    Attributes
    ----------
    top_k : int
        Neighbours kept an article.
    cutoff : float
        Pairs less similar than this are dropped. Articles that share no list are never joined,
        even at 0.
    degree_cutoff : int
        Articles in fewer lists than this take no part.
    max_list_size : int
        Lists longer than this are left out, as if they did not exist: they count neither in the
        intersection nor in the union nor for `degree_cutoff`. A list of s articles makes s²/2
        pairs, so the longest lists cost most and say least. 0: none is left out.
    """

    top_k: int = 2000
    cutoff: float = 1e-42
    degree_cutoff: int = 1
    max_list_size: int = 0

    def __post_init__(self) -> None:
        for name, least in (("top_k", 1), ("degree_cutoff", 1), ("max_list_size", 0)):
            if getattr(self, name) < least:
                msg = f"similarity: {name} must be at least {least}, not {getattr(self, name)}."
                raise TagsageError(msg)
        if not 0 <= self.cutoff <= 1:
            raise TagsageError(f"similarity: cutoff must be between 0 and 1, not {self.cutoff}.")


def jaccard_similarity(
    incidence: Csr,
    *,
    top_k: int = 2000,
    cutoff: float = 1e-42,
    degree_cutoff: int = 1,
    max_list_size: int = 0,
) -> Csr:
    """Join every article to the articles whose lists are most like its own.

    The semantics are those of ``nodeSimilarity`` in Neo4j GDS 2.13 [1]_ over distinct lists: each
    article keeps its own `top_k`, so a pair appears in both directions unless one side cut it off;
    where several are equally similar at the limit, the lower indices stay. (GDS keeps as many
    and equally similar ones, but not always the lowest: where a better pair displaces one of
    several that are equal, its queue drops any of them.)

    Parameters
    ----------
    incidence : csr_array, shape [n_articles, n_lists]
        Which article is in which list; any nonzero entry counts as one.
    top_k, cutoff, degree_cutoff, max_list_size
        See :class:`SimilarityConfig`.

    Returns
    -------
    csr_array, shape [n_articles, n_articles], float32
        Row i holds article i's neighbours, sorted by index; the values are in (0, 1].

    Raises
    ------
    TagsageError
        When a parameter is out of range.

    References
    ----------
    .. [1] https://neo4j.com/docs/graph-data-science/2.13/algorithms/node-similarity/

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> incidence = sp.csr_array([[1, 1], [1, 0], [0, 0]], dtype="float32")
    >>> jaccard_similarity(incidence).toarray().tolist()
    [[0.0, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    config = SimilarityConfig(top_k, cutoff, degree_cutoff, max_list_size)
    blocks = list(similarity_blocks(incidence, config))
    if not blocks:
        return sp.csr_array(np.zeros((0, 0), dtype=np.float32))
    return vertical_stack(blocks)


def similarity_blocks(incidence: Csr, config: SimilarityConfig) -> Iterator[Csr]:
    """Yield :func:`jaccard_similarity` as consecutive blocks of rows.

    The blocks are cut so that each costs a bounded number of products, whatever the lists' sizes:
    memory is bounded by the largest of a block and the row of a single article.

    Parameters
    ----------
    incidence : csr_array, shape [n_articles, n_lists]
        Which article is in which list.
    config : SimilarityConfig
        How articles are joined.

    Yields
    ------
    csr_array, shape [rows of the block, n_articles], float32
    """
    members = _members(incidence, config)
    n = members.shape[0]
    degrees = np.diff(members.indptr).astype(np.int64)
    list_sizes = np.bincount(members.indices, minlength=members.shape[1])
    # The products that an article's row costs: one for every member of every list of it.
    products = np.bincount(
        np.repeat(np.arange(n), degrees), weights=list_sizes[members.indices], minlength=n
    )
    # The constant keeps articles in no list from making one endless block.
    blocks = row_blocks(products + 64, max(BLOCK_PRODUCTS, BLOCK_PRODUCTS_PER_ARTICLE * n))
    for start, stop in track(blocks, "similarity"):
        block_members = members[start:stop].T.tocsr()
        # Transposed, the product is turned into the block's rows by one counting sort, which also
        # sorts the columns; sorting them one by one takes longer than the product.
        shared = (members @ block_members).tocsc()
        places = np.arange(start, stop, dtype=np.int64)
        yield _joined(shared, degrees[start:stop], places, degrees, config)


class Neighbours:
    """Finds, through their lists, the articles of a graph that are like some others.

    Parameters
    ----------
    members : csr_array, shape [n, n_lists]
        Which article of the graph is in which list.
    config : SimilarityConfig
        How articles are joined.
    """

    def __init__(self, members: Csr, config: SimilarityConfig) -> None:
        self.config = config
        kept = _members(members, config)
        self._degrees = np.diff(kept.indptr).astype(np.int64)
        self._articles: Csr = kept.T.tocsr()
        sizes = np.bincount(members.indices, minlength=members.shape[1])
        self._lists = np.ones(members.shape[1], dtype=np.int32)
        if config.max_list_size:
            self._lists[sizes > config.max_list_size] = 0

    def of(self, members: Csr, places: npt.NDArray[np.int64]) -> Csr:
        """Find the neighbours of some articles, as :func:`jaccard_similarity` would join them.

        Parameters
        ----------
        members : csr_array, shape [m, n_lists]
            Which of them is in which list.
        places : int64 array, shape [m]
            Where each stands in the graph, since an article isn't its own neighbour; -1 for those
            that aren't in it.

        Returns
        -------
        csr_array, shape [m, n], float32
        """
        lists: Csr = sp.csr_array(members.astype(np.int32).multiply(self._lists[None, :]))
        lists.eliminate_zeros()
        degrees = np.diff(lists.indptr).astype(np.int64)
        if self.config.degree_cutoff > 1:
            lists.data[np.repeat(degrees < self.config.degree_cutoff, degrees)] = 0
            lists.eliminate_zeros()
            degrees = np.diff(lists.indptr).astype(np.int64)
        shared: Csr = lists @ self._articles
        shared.sort_indices()
        return _joined(shared, degrees, places, self._degrees, self.config)


def _members(incidence: Csr, config: SimilarityConfig) -> Csr:
    """Return the incidence matrix of the lists and articles that take part, as int32 ones."""
    members = sp.csr_array(incidence, copy=True)
    members.sum_duplicates()
    members.eliminate_zeros()
    members = sp.csr_array(
        (np.ones(members.nnz, dtype=np.int32), members.indices, members.indptr),
        shape=members.shape,
    )
    if config.max_list_size:
        sizes = np.bincount(members.indices, minlength=members.shape[1])
        members.data[sizes[members.indices] > config.max_list_size] = 0
        members.eliminate_zeros()
    degrees = np.diff(members.indptr)
    if config.degree_cutoff > 1:
        members.data[np.repeat(degrees < config.degree_cutoff, degrees)] = 0
        members.eliminate_zeros()
    return members


def _joined(
    shared: Csr | sp.csc_array[Any],
    own_degrees: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    degrees: npt.NDArray[np.int64],
    config: SimilarityConfig,
) -> Csr:
    """Turn counts of shared lists, `indptr` by article of the block, into its rows."""
    rows, n = len(places), len(degrees)
    lengths = np.diff(shared.indptr)
    row = np.repeat(np.arange(rows), lengths)
    other = shared.indices
    union = own_degrees[row] + degrees[other] - shared.data
    similarity = shared.data / union
    keep = (other != places[row]) & (similarity >= config.cutoff)
    row, other, similarity = row[keep], other[keep], similarity[keep]
    lengths = np.bincount(row, minlength=rows)
    if lengths.max(initial=0) > config.top_k:
        keep = within_top_k(similarity, lengths, config.top_k)
        other, similarity = other[keep], similarity[keep]
        lengths = np.minimum(lengths, config.top_k)
    indptr = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    return make_csr(similarity.astype(np.float32), other, indptr, (rows, n))
