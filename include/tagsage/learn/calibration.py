"""From scores to probabilities that hold: Platt scaling."""

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

    It keeps the order of all scores, of articles and of tags; 0 and 1 stay what they are. All tags
    share the two numbers: rare ones have too few articles for numbers of their own.

    Attributes
    ----------
    slope : float
        Above 0; below 1 where scores are too sure of themselves.
    intercept : float
        Above 0 where scores are too low.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, P: FloatArray) -> FloatArray:
        """Return calibrated probabilities, float32, of the shape of `P`."""
        if (self.slope, self.intercept) == (1.0, 0.0):
            return P
        with np.errstate(divide="ignore"):
            z = logit(P)
        calibrated: FloatArray = expit(self.slope * z + self.intercept).astype(np.float32)
        return calibrated


def fit_calibration(P: FloatArray, Y: BoolArray) -> Calibration:
    """Fit Platt scaling on articles that the scores were not fitted on.

    J. Platt: Probabilistic outputs for support vector machines, 1999.

    Parameters
    ----------
    P : float32 array, shape [n, L]
        Scores between 0 and 1. Those that are exactly 0 or 1 say nothing of the scaling.
    Y : bool array, shape [n, L]
        Which tags are right.

    Returns
    -------
    Calibration
        No change where all pairs, or none, are right, or where higher scores are not likelier.
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
