"""Propagation over lists: what an article's company in reading lists says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.errors import TagsageError
from tagsage.graph.arrays import nonzero_rows
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr, FloatArray

# Numbers of one column block: 256 MB of float32 for the articles, and as many for the lists.
BLOCK_NUMBERS = 1 << 26


def propagate_lists(
    incidence: Csr,
    vectors: npt.NDArray[np.floating],
    *,
    hops: int = 2,
    out: Callable[[int], FloatArray] | None = None,
) -> list[FloatArray]:
    """Propagate vectors over lists: article <- mean of its lists <- mean of their articles.

    One hop, with X the vectors, a an article, l a list, |l| its number of articles::

        Z_l = mean of X_b over the articles b of l that have a vector
        X'_a = (sum over its lists l of Z_l / |l|) / (sum over its lists l of 1 / |l|)

    A list's weight is 1/|l|: a short list says more of its articles than a long one. No article
    pairs are built; the cost is linear in memberships. An article's own vector is part of its
    lists' means: it is a feature anyway, and leaks no tag.

    A zero vector means "nothing known" (a stub, an empty text): it does not count in a list's
    mean, though the article itself gets a propagated vector; a list of which nothing is known does
    not count in its articles' means. Articles in no list get zero rows.

    Parameters
    ----------
    incidence : csr_array, shape [n_articles, n_lists]
        Which article is in which list, as ones.
    vectors : float array, shape [n_articles, d]
        The vectors; they may be memory-mapped.
    hops : int
        How many times the vectors are propagated, at least 1.
    out : callable, optional
        Called with the hop (1, 2, …), returns the float32 array [n_articles, d] that takes the
        result, such as a memory-mapped file. By default arrays in memory.

    Returns
    -------
    list of float32 arrays, shape [n_articles, d]
        The vectors after 1, 2, …, `hops` hops. They are means: shorter than the vectors given.

    Raises
    ------
    TagsageError
        When `hops` is below 1, or vectors and memberships disagree on the number of articles.

    References
    ----------
    The normalisation by list is that of one hypergraph convolution (Feng et al.: Hypergraph neural
    networks. AAAI 2019), precomputed for several hops as in SIGN (Frasca et al., 2020).
    """
    if hops < 1:
        raise TagsageError(f"lists: hops must be at least 1, not {hops}.")
    n, n_lists = incidence.shape
    if len(vectors) != n:
        msg = (
            f"There are {len(vectors)} vectors for {n} articles of the graph; "
            "run the stages from the embeddings on again."
        )
        raise TagsageError(msg)
    d = vectors.shape[1]
    to_articles: Csr = sp.csr_array(incidence).astype(np.float32)
    to_lists: Csr = to_articles.T.tocsr()
    sizes = np.diff(to_lists.indptr).astype(np.float32)
    discount = np.divide(1, sizes, out=np.zeros_like(sizes), where=sizes > 0)

    results = [(out or _in_memory(n, d))(hop) for hop in range(1, hops + 1)]
    known = nonzero_rows(vectors)
    scales = []
    for _ in range(hops):
        list_scale, article_scale, known = _scales(to_lists, to_articles, discount, known)
        scales.append((list_scale, article_scale))
    width = max(1, min(d, BLOCK_NUMBERS // max(n, n_lists, 1)))
    for left in track(range(0, d, width), "propagation over lists"):
        columns = slice(left, min(left + width, d))
        block = np.ascontiguousarray(vectors[:, columns], dtype=np.float32)
        for result, (list_scale, article_scale) in zip(results, scales, strict=True):
            means = to_lists @ block
            means *= list_scale[:, None]
            block = to_articles @ means
            block *= article_scale[:, None]
            result[:, columns] = block
    return results


def _scales(
    to_lists: Csr, to_articles: Csr, discount: FloatArray, known: npt.NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Return the factors of one hop: a list's, an article's, and which articles then have rows."""
    known_members = to_lists @ known.astype(np.float32)
    weight = np.where(known_members > 0, discount, 0).astype(np.float32)
    list_scale = (weight / np.maximum(known_members, 1)).astype(np.float32)
    article_weight = to_articles @ weight
    reached = article_weight > 0
    article_scale = np.divide(1, article_weight, out=np.zeros_like(article_weight), where=reached)
    return list_scale, article_scale, reached


def _in_memory(n: int, d: int) -> Callable[[int], FloatArray]:
    return lambda _hop: np.zeros((n, d), dtype=np.float32)
