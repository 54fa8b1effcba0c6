"""Scores of tags that are too rare to be learned, from lists and from the frequent tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.graph.csr import make_csr, row_blocks, vertical_stack
from tagsage.graph.labels import DECIMALS, ListLabels
from tagsage.graph.top_k import top_entries
from tagsage.learn.features import FloatArray
from tagsage.learn.targets import BoolArray

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

# Products of one block of rows: 50 MB with their columns.
BLOCK_PRODUCTS = 1 << 22
# A frequent tag less likely than this says nothing of rare ones.
MIN_PROBABILITY = 0.05


class OwnTags(NamedTuple):
    """What is counted of the articles themselves in the sums of their lists.

    Attributes
    ----------
    counted : bool array, shape [m]
        Which of them are labelled articles.
    tags : csr_array, shape [m, R]
        Their tags, as ones; none where they are not counted.
    """

    counted: npt.NDArray[np.bool_]
    tags: Csr


def neighbour_tag_scores(
    lists: ListLabels, members: Csr, *, own: OwnTags | None = None, k: int = 50
) -> Csr:
    """Score all tags of articles by the labelled articles that share a list with them.

    The sparse relative of :func:`tagsage.graph.labels.propagate_labels`, for thousands of tags.
    With its k_al, w_l, y_b and the prior weight α, of article a::

        score_a = (sum over its lists l of w_l s_al) / (sum over its lists l of w_l)
        s_al    = (sum of y_b over the labelled articles b ≠ a in l) / (k_al + α)

    A list with few labelled articles is shrunk towards 0, not towards the tags' overall shares:
    those would fill every row with every tag, and are next to 0 for rare ones. An article's lists
    are averaged, not added up: the ranking is the same, and a score is a share, as a probability
    is. Articles in no list, or whose lists hold no labelled article, get empty rows.

    On the test parts of 12,986 scientific articles (27,952 tags that are no target tags) and of the
    bundled corpus (418), the mean share of an article's rare tags that are among the five rare tags
    with the best scores was .152 and .269 with prior weight 0, .160 and .271 with 3, .157 and .271
    with 30. (The most frequent of the rare tags for all: .004 and .028.)

    Parameters
    ----------
    lists : ListLabels
        What lists say of the tags, from :func:`tagsage.graph.labels.list_labels` with sparse
        labels.
    members : csr_array, shape [m, n_lists]
        Which article is in which list, as ones.
    own : OwnTags, optional
        What is counted in `lists` of these articles themselves, and is left out. By default they
        are taken for articles that are not counted, such as test articles.
    k : int
        How many tags an article keeps, at least 1; of equal ones the lower columns.

    Returns
    -------
    csr_array of float32, shape [m, R]
        Scores above 0, at most 1.

    Notes
    -----
    The cost is linear in memberships × tags of a list, and nothing is dense.
    """
    counted = np.zeros(members.shape[0]) if own is None else own.counted.astype(np.float64)
    degrees = np.diff(members.indptr)
    size = lists.labelled[members.indices] - np.repeat(counted, degrees) + lists.config.prior_weight
    weight = np.where(size > 0, lists.weights[members.indices], 0).astype(np.float64)
    factor = np.divide(weight, size, out=np.zeros_like(size), where=size > 0)
    weights = make_csr(weight, members.indices, members.indptr, members.shape)
    total = np.asarray(weights.sum(axis=1))
    factors = make_csr(factor, members.indices, members.indptr, members.shape)
    factors = _scale_rows(factors, np.divide(1, total, out=np.zeros_like(total), where=total > 0))
    mine = None if own is None else _scale_rows(own.tags, np.asarray(factors.sum(axis=1)))
    return _best_of_product(factors, lists.sums, k, minus=mine)


def tag_frequencies(Y_frequent: BoolArray, Y_rare: Csr) -> Csr:
    """Return how frequent rare tags are among the articles with a frequent one.

    Parameters
    ----------
    Y_frequent : bool array, shape [m, L]
        Frequent tags of the training articles.
    Y_rare : csr_array, shape [m, R]
        Their rare tags, as ones.

    Returns
    -------
    csr_array of float64, shape [L, R]
        P(rare | frequent): articles with both / articles with the frequent one.

    Raises
    ------
    ValueError
        When the numbers of articles differ.
    """
    if Y_frequent.shape[0] != Y_rare.shape[0]:
        raise ValueError(f"shapes differ: Y_frequent {Y_frequent.shape}, Y_rare {Y_rare.shape}")
    frequent: Csr = sp.csr_array(Y_frequent).astype(np.float64)
    together: Csr = sp.csr_array(frequent.T @ Y_rare.astype(np.float64))
    return _scale_rows(together, 1 / np.maximum(Y_frequent.sum(axis=0), 1))


def cooccurrence_scores(
    P: FloatArray, frequencies: Csr, *, k: int = 50, min_probability: float = MIN_PROBABILITY
) -> Csr:
    """Score rare tags of articles by the frequent tags that were predicted.

    With P_af the probability of frequent tag f, where it is at least `min_probability`::

        score_ar = (sum over f of P_af P(r | f)) / (sum over f of P_af)

    A mean, not a noisy-or (1 - product over f of (1 - P_af P(r | f))): frequent tags come together,
    and a noisy-or would take them for independent reasons and count the same reason again with each
    of them. The mean is never above the largest P(r | f), and it is a product of sparse matrices.
    The two rank alike: measured as for :func:`neighbour_tag_scores`, with probabilities of the
    `mlp` on text, lists and labels, either gave .317 on the bundled corpus, and the mean .077, the
    noisy-or .078 on the scientific articles. Half these scores and half those of neighbours (prior
    weight 3) gave .416 and .157.

    Parameters
    ----------
    P : float array, shape [n, L]
        Probabilities of frequent tags, of articles that `frequencies` was not counted on.
    frequencies : csr_array, shape [L, R]
        P(rare | frequent), from :func:`tag_frequencies`.
    k : int
        How many tags an article keeps, at least 1; of equal ones the lower columns.
    min_probability : float
        Less likely tags do not count, above 0: the rows stay sparse.

    Returns
    -------
    csr_array of float32, shape [n, R]
        Scores above 0, at most 1; no tags where no frequent one is likely.

    Raises
    ------
    ValueError
        When the numbers of frequent tags differ.
    """
    if P.shape[1] != frequencies.shape[0]:
        raise ValueError(f"shapes differ: P {P.shape}, frequencies {frequencies.shape}")
    likely: Csr = sp.csr_array(np.where(min_probability <= P, P, 0)).astype(np.float64)
    total = np.asarray(likely.sum(axis=1))
    likely = _scale_rows(likely, np.divide(1, total, out=np.zeros_like(total), where=total > 0))
    return _best_of_product(likely, frequencies, k)


def _best_of_product(left: Csr, right: Csr, k: int, *, minus: Csr | None = None) -> Csr:
    """Return the k largest entries of each row of left @ right, less what is taken away."""
    right = right.astype(np.float64)
    ones = make_csr(np.ones(left.nnz), left.indices, left.indptr, left.shape)
    products = ones @ np.diff(right.indptr).astype(np.float64)
    blocks: list[Csr] = [right[:0].astype(np.float32)]
    # The constant keeps rows without products from making one endless block.
    for start, stop in row_blocks(products + 64, BLOCK_PRODUCTS):
        scores = left[start:stop] @ right
        if minus is not None:
            scores = sp.csr_array(scores - minus[start:stop])
        # Where all is taken away, a trace of the order of additions is left.
        scores.data = scores.data.round(DECIMALS)
        blocks.append(top_entries(scores.astype(np.float32), k))
    return vertical_stack(blocks)


def _scale_rows(matrix: Csr, factors: npt.NDArray[np.float64]) -> Csr:
    data = matrix.data * np.repeat(factors, np.diff(matrix.indptr))
    return make_csr(data, matrix.indices, matrix.indptr, matrix.shape)
