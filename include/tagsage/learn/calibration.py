"""From scores to calibrated probabilities: Platt scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from tagsage.features.matrix import BoolArray, FloatArray

# Two numbers are fitted: more pairs than this do not make them better.
MAX_PAIRS = 1 << 23


@dataclass(frozen=True)
class Calibration:
    """Platt scaling: P' = sigmoid(slope · logit(P) + intercept).

    It keeps the order of all scores, and 0 and 1. All tags share the two numbers, because rare ones
    have too few articles for their own.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, P: FloatArray) -> FloatArray:
        """Return calibrated probabilities of the shape of `P`."""
        if (self.slope, self.intercept) == (1.0, 0.0):
            return P
        with np.errstate(divide="ignore"):
            z = logit(P)
        calibrated: FloatArray = expit(self.slope * z + self.intercept).astype(np.float32)
        return calibrated


def fit_calibration(P: FloatArray, Y: BoolArray) -> Calibration:
    """Fit Platt scaling (J. Platt, 1999) on articles that the scores were not fitted on.

    Scores of exactly 0 or 1 are ignored. Nothing is scaled where all pairs, or none, are right, or
    where higher scores aren't likelier.
    """
    rows = max(1, MAX_PAIRS // max(P.shape[1], 1))
    # Every so many-th article, not the first ones: they may be sorted.
    step = max(1, -(-len(P) // rows))
    scores, right = P[::step].ravel(), Y[::step].ravel()
    between = (scores > 0) & (scores < 1)
    z, right = logit(scores[between].astype(np.float64)), right[between]
    if not right.any() or right.all():
        return Calibration()
    # Here, not above: a served model only applies it.
    from sklearn.linear_model import LogisticRegression

    # The penalty is felt only where scores tell right from wrong without a mistake, and the slope
    # would be infinite.
    model = LogisticRegression(C=10, tol=1e-6, max_iter=1000).fit(z[:, None], right)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return Calibration(slope, intercept) if slope > 0 else Calibration()
