"""From scores to assigned tags: one threshold for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from tagsage.graph.csr import make_csr
from tagsage.learn.features import FloatArray
from tagsage.learn.targets import BoolArray

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

DEFAULT_THRESHOLD = 0.5


def global_threshold(P: FloatArray, Y: BoolArray) -> float:
    """Return the threshold with the best micro-F1; exact: every score is tried.

    A tag is assigned when its score is at least the threshold. With TP(t) the assigned pairs that
    are right, micro-F1(t) = 2 TP(t) / (assigned(t) + relevant).

    Parameters
    ----------
    P : float array, shape [n, L]
        Scores, the higher the likelier.
    Y : bool array, shape [n, L]
        Which tags are right.

    Returns
    -------
    float
        One of the scores; among equally good ones the highest. 0.5 when no tag is right, or there
        is no row.
    """
    return _best_cut(np.asarray(P, dtype=np.float32).ravel(), Y.ravel(), int(Y.sum()))


def sparse_threshold(scores: Csr, Y: Csr) -> float:
    """Return the threshold with the best micro-F1, for sparse scores of thousands of tags.

    As :func:`global_threshold`; a pair without a score is never assigned.

    Parameters
    ----------
    scores : csr_array of floats, shape [n, R]
        Scores above 0, the higher the likelier.
    Y : csr_array, shape [n, R]
        Which tags are right, as ones.

    Returns
    -------
    float
        One of the scores; 0.5 when no tag is right, or there is no score.
    """
    # To learn which scores are of right tags: number them all; what Y has keeps its number.
    numbers = np.arange(1, scores.nnz + 1)
    places = make_csr(numbers, scores.indices, scores.indptr, scores.shape)
    hits = np.zeros(scores.nnz, dtype=np.bool_)
    hits[sp.csr_array(places.multiply(Y)).data - 1] = True
    return _best_cut(scores.data.astype(np.float32), hits, int(Y.sum()))


def _best_cut(scores: FloatArray, hits: BoolArray, relevant: int) -> float:
    """Return the best of the scores of some pairs; `relevant` counts pairs without a score, too."""
    if relevant == 0 or len(scores) == 0:
        return DEFAULT_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    found = np.cumsum(hits[order], dtype=np.int64)
    # Equal scores are assigned together: only the last of them is a possible cut.
    cuts = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    f1 = 2 * found[cuts] / (cuts + 1 + relevant)
    return float(scores[cuts[int(np.argmax(f1))]])
