"""Precision against recall, for every threshold at once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tagsage.features.matrix import FloatArray
from tagsage.learn.targets import BoolArray

BLOCK_NUMBERS = 1 << 22
# The upper 16 bits of a float32 that is not negative grow with it: they are its bin, and bins are
# at most 1/128 of their scores wide.
BITS = 16


def precision_recall(P: FloatArray, Y: BoolArray, *, points: int = 200) -> pd.DataFrame:
    """Return precision and recall over all (article, tag) pairs, as the threshold falls.

    Scores are not sorted but counted in some ten thousand bins, so that the cost is linear and the
    memory bounded. The thresholds are lower ends of bins; at them, precision and recall are exact.

    Parameters
    ----------
    P : float array, shape [n, L]
        Scores, at least 0.
    Y : bool array, shape [n, L]
        The truth.
    points : int
        How many points at most, at least 2: as evenly spread over recall as the scores allow.

    Returns
    -------
    pandas.DataFrame
        ``threshold`` (float32, falling), ``precision``, ``recall`` (float64, from the first right
        pair to 1) when a tag is assigned from the threshold on. Empty when no tag is right.

    Raises
    ------
    ValueError
        When shapes differ, a score is below 0 or none, or there are fewer than 2 points.
    """
    if P.shape != Y.shape:
        raise ValueError(f"shapes differ: P {P.shape}, Y {Y.shape}")
    if points < 2:
        raise ValueError(f"{points=} must be at least 2")
    counts = np.zeros((2, 1 << BITS), dtype=np.int64)
    block = max(BLOCK_NUMBERS // max(P.shape[1], 1), 1)
    for start in range(0, len(P), block):
        scores = np.ascontiguousarray(P[start : start + block], dtype=np.float32)
        if not (scores >= 0).all():
            raise ValueError("a score is below 0, or no number")
        # Adding 0 makes of -0.0, whose bits are the largest, 0.0.
        bins = (scores + np.float32(0)).view(np.uint32) >> BITS
        for count, some in zip(counts, (bins, bins[Y[start : start + block]]), strict=True):
            count += np.bincount(some.ravel(), minlength=1 << BITS)
    used = np.flatnonzero(counts[0])[::-1]
    assigned, hits = counts[:, used].cumsum(axis=1)
    relevant = hits[-1] if len(hits) else 0
    recall, precision = hits / max(relevant, 1), hits / assigned
    levels = np.linspace(0, 1, points) if relevant else np.zeros(0)
    # The first threshold that reaches each level; that of level 0 finds the first right pair.
    kept = np.unique(np.searchsorted(recall, np.maximum(levels, 0.5 / max(relevant, 1))))
    return pd.DataFrame({
        "threshold": (used[kept].astype(np.uint32) << BITS).view(np.float32),
        "precision": precision[kept],
        "recall": recall[kept],
    })
