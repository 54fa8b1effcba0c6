"""From probabilities to assigned tags: one threshold for all."""

from __future__ import annotations

import numpy as np

from tagsage.learn.features import FloatArray
from tagsage.learn.targets import BoolArray

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
    scores = np.asarray(P, dtype=np.float32).ravel()
    relevant = int(Y.sum())
    if relevant == 0:
        return DEFAULT_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    hits = np.cumsum(Y.ravel()[order], dtype=np.int64)
    # Equal scores are assigned together: only the last of them is a possible cut.
    cuts = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    f1 = 2 * hits[cuts] / (cuts + 1 + relevant)
    return float(scores[cuts[int(np.argmax(f1))]])
