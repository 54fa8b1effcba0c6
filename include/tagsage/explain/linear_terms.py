"""The terms that a linear model's score is the sum of: weight times value, per word and list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tagsage.features import FeatureMatrix
    from tagsage.graph.csr import Csr
    from tagsage.learn.candidate import CalibratedClassifier, FittedCandidate

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
        no training articles have has no terms and a start without bounds. Of an article in no list
        they are those of the fallback, which answers for it.
    """
    rest = X.list_free()
    if candidate.fallback is None or rest is None:
        return _terms(candidate.main, X, rows, columns)
    in_list = X.in_list[rows]
    here, there = np.flatnonzero(in_list), np.flatnonzero(~in_list)
    parts = [
        (here, _terms(candidate.main, X, rows[here], columns[here]), np.arange(X.shape[1])),
        (
            there,
            _terms(candidate.fallback, rest, rows[there], columns[there]),
            np.concatenate([
                np.arange(X.shape[1])[X.columns_of(kind)] for kind in dict.fromkeys(rest.kinds)
            ]),
        ),
    ]
    start = np.empty(len(rows))
    for pairs, terms, _ in parts:
        start[pairs] = terms.start
    pair = np.concatenate([pairs[terms.pair] for pairs, terms, _ in parts])
    column = np.concatenate([numbers[terms.column] for _, terms, numbers in parts])
    log_odds = np.concatenate([terms.log_odds for _, terms, _ in parts])
    order = np.argsort(pair, kind="stable")
    return Terms(start, pair[order], column[order], log_odds[order])


def _terms(
    fitted: CalibratedClassifier, X: FeatureMatrix, rows: IntArray, columns: IntArray
) -> Terms:
    """Take the scores of one classifier apart."""
    arrays, calibration = fitted.classifier.arrays, fitted.calibration
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
    intercept = arrays["intercept"][tag].astype(np.float64)
    start = calibration.slope * intercept + calibration.intercept
    return Terms(np.where(tag >= 0, start, constant), pair, column, log_odds)
