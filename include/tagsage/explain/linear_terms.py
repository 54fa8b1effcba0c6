"""The terms that a linear model's score is the sum of: weight times value, per word and list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr
    from tagsage.learn.candidate import FittedCandidate
    from tagsage.learn.features import FeatureMatrix

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Terms:
    """What adds up to the log-odds of pairs of article and tag.

    Attributes
    ----------
    start : float64 array, shape [p]
        The log-odds of an article of which nothing is known.
    pair : int64 array, shape [t]
        Of which pair each term is, ascending.
    column : int64 array, shape [t]
        The column of the features.
    log_odds : float64 array, shape [t]
        Weight times value. With `start`, a pair's terms add up to its log-odds.
    """

    start: npt.NDArray[np.float64]
    pair: IntArray
    column: IntArray
    log_odds: npt.NDArray[np.float64]

    def sums(self, some: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Return the sum of some terms of each pair, shape [p]."""
        weights = np.where(some, self.log_odds, 0.0)
        return np.bincount(self.pair, weights, len(self.start)).astype(np.float64)


def linear_terms(
    candidate: FittedCandidate, X: FeatureMatrix, rows: IntArray, columns: IntArray
) -> Terms:
    """Take the scores of a linear candidate apart.

    Parameters
    ----------
    candidate : FittedCandidate
        With the classifier ``linear``.
    X : FeatureMatrix
        Features.
    rows, columns : int64 arrays, shape [p]
        The pairs: rows of `X`, and the column of a tag of each.

    Returns
    -------
    Terms
        Calibrated: a pair's probability is the logistic function of their sum. A tag that all or
        no training articles have has no terms and a start without bounds.
    """
    arrays, calibration = candidate.classifier.arrays, candidate.main.calibration
    # The classifier's own numbers of the tags; -1 for one that doesn't vary.
    own = np.full(len(arrays["constant"]), -1, dtype=np.int64)
    own[arrays["varying"]] = np.arange(len(arrays["varying"]))
    tag = own[columns]
    constant = np.where(arrays["constant"][columns] > 0, np.inf, -np.inf)
    if not len(arrays["varying"]):
        nothing = np.zeros(0, dtype=np.int64)
        return Terms(constant, nothing, nothing, nothing.astype(np.float64))
    features: Csr = X.sparse_rows(rows)
    pair = np.repeat(np.arange(len(rows)), np.diff(features.indptr))
    column = features.indices.astype(np.int64)
    varies = tag[pair] >= 0
    pair, column = pair[varies], column[varies]
    weight: Any = arrays["coef"][column, tag[pair]]
    log_odds = calibration.slope * weight.astype(np.float64) * features.data[varies]
    start = calibration.slope * arrays["intercept"][tag] + calibration.intercept
    return Terms(np.where(tag >= 0, start, constant), pair, column, log_odds)


def place_of(X: FeatureMatrix, kind: str) -> slice:
    """Return which columns of the joined features are those of a kind of block."""
    first = 0
    for width, name in zip(X.block_widths, X.kinds, strict=True):
        if name == kind:
            return slice(first, first + width)
        first += width
    return slice(first, first)
