"""How well rare tags are found: the long tail of tags, by how many articles teach them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from tagsage.graph.top_k import top_entries
from tagsage.learn.bands import bands
from tagsage.learn.features import FloatArray, IndexArray
from tagsage.learn.metrics import Float64Array, ratio_or_null
from tagsage.learn.targets import BoolArray

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

# Training articles; beyond the last, all tags are target tags by default.
SUPPORT_LIMITS = (0, 2, 5, 10, 30, 100)
PLACES = 5


def propensities(
    training_support: IndexArray, training_articles: int, *, a: float = 0.55, b: float = 1.5
) -> Float64Array:
    """Return how likely each tag is to be given where it is right.

    The rarer a tag, the more often it is missing where it belongs: nobody thought of it. The model
    of it [1]_, with N training articles, N_l of them with tag l::

        p_l = 1 / (1 + C (N_l + b)^-a),   C = (log N - 1) (b + 1)^a

    A tag on one article has 1 / log N. For fewer than 3 articles C is 0, and every tag has 1.

    Parameters
    ----------
    training_support : integer array, shape [R]
        Training articles with each tag, at least 0.
    training_articles : int
        N, at least 1.
    a, b : float
        Fitted to Wikipedia in the paper, and its choice where nothing is known.

    Returns
    -------
    float64 array, shape [R]
        From above 0 to 1.

    References
    ----------
    .. [1] H. Jain, Y. Prabhu, M. Varma: Extreme multi-label loss functions for recommendation,
       tagging, ranking & other missing label applications. KDD 2016.
    """
    c = max(np.log(training_articles) - 1, 0) * (b + 1) ** a
    propensity: Float64Array = 1 / (1 + c * (np.asarray(training_support) + b) ** -a)
    return propensity


def propensity_scored_precision(
    P: FloatArray | Csr,
    Y: BoolArray | Csr,
    propensity: Float64Array,
    *,
    ks: Sequence[int] = (1, 3, 5),
) -> dict[str, float]:
    """Return PSP@k: precision among the k best tags, in which a rare tag counts more.

    As in the paper of :func:`propensities`, normalised: the sum over articles and their k best tags
    of y / p, over the largest such sum that any ranking of the same articles reaches. Were every
    article's best k tags right and the rarest it has, it would be 1.

    Parameters
    ----------
    P : float array or csr_array, shape [n, R]
        Scores, at least 0; a tag with 0 has no place in the ranking. Ties: the lower column first.
    Y : bool array or csr_array, shape [n, R]
        The truth.
    propensity : float array, shape [R]
        Of each tag, from above 0 to 1.
    ks : sequence of int
        How many places count.

    Returns
    -------
    dict of str to float
        ``psp_at_1``, … by `ks`; 0 when no article has a tag.

    Raises
    ------
    ValueError
        When shapes differ.
    """
    _check(P, Y, propensity)
    scores, gains = _sparse(P), _gains(Y, propensity)
    found = {}
    for k in ks:
        best = float(top_entries(gains, k).sum())
        found[f"psp_at_{k}"] = float(_best(scores, k).multiply(gains).sum()) / best if best else 0.0
    return found


def tail_report(
    P: FloatArray | Csr,
    Y: BoolArray | Csr,
    training_support: IndexArray,
    training_articles: int,
    *,
    threshold: float,
    limits: Sequence[int] = SUPPORT_LIMITS,
) -> pd.DataFrame:
    """Score bands of tags, from those that no training article has to the frequent ones.

    All tags compete for the five places: what a frequent tag takes, a rare one does not get.

    Parameters
    ----------
    P : float array or csr_array, shape [n, R]
        Scores of the test articles, at least 0; a tag with 0 is neither ranked nor assigned.
    Y : bool array or csr_array, shape [n, R]
        The truth, of all tags, not of the target tags alone.
    training_support : integer array, shape [R]
        Training articles with each tag.
    training_articles : int
        How many training articles there are, for the propensities.
    threshold : float
        A tag is assigned when its score is at least this, for macro-F1.
    limits : sequence of int
        The last support of each band but the open one.

    Returns
    -------
    pandas.DataFrame
        A line for each band, the rarest first: ``support`` (the band), ``tags`` (of the band, with
        a test article), ``articles`` (test articles with one of them), ``pairs`` (of article and
        tag), ``recall_at_5`` (share of an article's tags of the band that are among its five best
        tags, mean over these articles), ``psp_at_5`` (as
        :func:`propensity_scored_precision`, the best being the band's tags in all five places),
        ``macro_f1`` (mean over these tags). Scores are null where there is no article.

    Raises
    ------
    ValueError
        When shapes differ.
    """
    _check(P, Y, training_support)
    band = bands(np.asarray(training_support), limits)
    names = band.categories
    members = np.equal(band.codes[:, None], np.arange(len(names))).astype(np.float64)
    scores, truth = _sparse(P), _sparse(Y)
    gains = _gains(Y, propensities(training_support, training_articles))
    best = _best(scores, PLACES)
    relevant = truth @ members
    found = best.multiply(truth) @ members
    gained = np.asarray(best.multiply(gains).sum(axis=0)) @ members
    support = np.asarray(truth.sum(axis=0))
    articles, tags = (relevant > 0).sum(axis=0), (support > 0) @ members
    return pd.DataFrame({
        "support": names.astype(str),
        "tags": tags.astype(np.int64),
        "articles": articles,
        "pairs": (support @ members).astype(np.int64),
        "recall_at_5": ratio_or_null((found / np.maximum(relevant, 1)).sum(axis=0), articles),
        "psp_at_5": ratio_or_null(gained, _best_gains(gains, members)),
        "macro_f1": ratio_or_null(_f1(scores, truth, threshold) @ members, tags),
    })


def _check(P: FloatArray | Csr, Y: BoolArray | Csr, of_tags: npt.NDArray[Any]) -> None:
    if P.shape != Y.shape or Y.shape[1] != len(of_tags):
        raise ValueError(f"shapes differ: P {P.shape}, Y {Y.shape}, {len(of_tags)} tags")


def _sparse(matrix: npt.NDArray[Any] | Csr) -> Csr:
    """Return a matrix as a sparse one of floats, without its zeros."""
    sparse: Csr = sp.csr_array(matrix) if isinstance(matrix, np.ndarray) else matrix.copy()
    sparse.eliminate_zeros()
    return sparse if sparse.dtype == np.float32 else sparse.astype(np.float64)


def _best(scores: Csr, k: int) -> Csr:
    """Return ones for the k best tags of each article."""
    best = top_entries(scores, k)
    best.data = np.ones(best.nnz)
    return best


def _gains(Y: BoolArray | Csr, propensity: Float64Array) -> Csr:
    """Return what each right tag counts: 1 / p."""
    gains = _sparse(Y).astype(np.float64)
    gains.data = 1 / propensity[gains.indices]
    return gains


def _best_gains(gains: Csr, members: Float64Array) -> Float64Array:
    """Return the largest sum of gains for each band's tags alone, shape [bands]."""
    best = np.zeros(members.shape[1])
    for band, inside in enumerate(members.T):
        own = gains.copy()
        own.data *= inside[own.indices]
        best[band] = top_entries(own, PLACES).sum()
    return best


def _f1(scores: Csr, truth: Csr, threshold: float) -> Float64Array:
    """Return F1 tag by tag, shape [R]; 0 for a tag without test articles."""
    assigned = scores.astype(np.float64)
    assigned.data = (np.float32(threshold) <= scores.data).astype(np.float64)
    hits, given, relevant = (
        np.asarray(matrix.sum(axis=0)) for matrix in (assigned.multiply(truth), assigned, truth)
    )
    f1: Float64Array = 2 * hits / np.maximum(given + relevant, 1)
    return f1
