"""From scores to calibrated probabilities: beta calibration, with an intercept per tag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from tagsage.features.matrix import BoolArray, FloatArray

LogOdds = npt.NDArray[np.float64]

# More pairs than this do not make the numbers better.
MAX_PAIRS = 1 << 22
# Smaller slopes would make nearly equal scores equal.
LEAST_SLOPE = 0.01
# Felt only where scores tell right from wrong without a mistake, and slopes would be infinite.
SLOPE_PENALTY = 0.1
# How strongly a tag's intercept is drawn to the common one: 1 / the variance expected of it. On
# validation articles of two corpora 2 to 8 were as good; 16 was worse for rare tags.
INTERCEPT_PENALTY = 4.0
NEWTON_STEPS, LONGEST_STEP = 20, 1.0


@dataclass(frozen=True, eq=False)
class Calibration:
    """Beta calibration: calibrated log-odds = a log P - b log(1 - P) + the tag's intercept.

    M. Kull, T. M. Silva Filho, P. Flach: Beta calibration, AISTATS 2017; with a = b it is Platt
    scaling. It keeps the order of a tag's scores, and 0 and 1. All tags share a and b, because rare
    ones have too few articles for their own.
    """

    a: float
    b: float
    intercepts: LogOdds  # [L]

    @classmethod
    def identity(cls, tags: int) -> Self:
        """Return the one that changes nothing, for so many tags."""
        return cls(1.0, 1.0, np.zeros(tags))

    def apply(self, P: FloatArray) -> FloatArray:
        """Return calibrated probabilities of the shape of `P`, [n, L]."""
        if self.a == self.b == 1 and not self.intercepts.any():
            return P
        with np.errstate(divide="ignore"):
            z = logit(P)
        calibrated: FloatArray = expit(self.log_odds(z)).astype(np.float32)
        return calibrated

    def log_odds(self, z: npt.NDArray[np.floating], tag: int | None = None) -> LogOdds:
        """Return calibrated log-odds; `z` are a classifier's, [n, L], or [n] of one tag."""
        own = self.intercepts if tag is None else self.intercepts[tag]
        return np.asarray(self.a * log_expit(z) - self.b * log_expit(-z) + own)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {**vars(self), "intercepts": self.intercepts.tolist()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        return cls(**{**value, "intercepts": np.array(value["intercepts"], dtype=np.float64)})


def fit_calibration(P: FloatArray, Y: BoolArray) -> Calibration:
    """Fit the calibration of scores `P` [n, L] on articles that the scores were not fitted on.

    First a, b and a common intercept, then what each tag adds to it. Scores of exactly 0 or 1 are
    ignored. Nothing is changed where all pairs, or none, are right, or where higher scores aren't
    likelier.
    """
    # Every so many-th article, not the first ones: they may be sorted.
    step = max(1, -(-P.size // MAX_PAIRS))
    P, Y = P[::step], Y[::step]
    between = (P > 0) & (P < 1)
    if not Y[between].any() or Y[between].all():
        return Calibration.identity(P.shape[1])
    z = logit(np.where(between, P, 0.5).astype(np.float64))
    a, b, common = _fit_beta(z[between], Y[between])
    if a == b == LEAST_SLOPE:
        return Calibration.identity(P.shape[1])
    log_odds = Calibration(a, b, np.zeros(P.shape[1])).log_odds(z) + common
    return Calibration(a, b, common + _fit_intercepts(log_odds, Y, between))


def _fit_beta(z: LogOdds, right: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return a, b and the common intercept, by a logistic regression with bounds."""
    features = np.stack([log_expit(z), -log_expit(-z), np.ones_like(z)])
    sums = features @ right

    def loss(weights: LogOdds) -> tuple[float, LogOdds]:
        log_odds = weights @ features
        far = weights[:2] - 1
        value = np.logaddexp(0, log_odds).sum() - weights @ sums + SLOPE_PENALTY / 2 * far @ far
        gradient = features @ expit(log_odds) - sums
        gradient[:2] += SLOPE_PENALTY * far
        # Means: the method's tolerances are meant for numbers about 1.
        return float(value) / len(z), gradient / len(z)

    bounds = [(LEAST_SLOPE, None), (LEAST_SLOPE, None), (None, None)]
    found = minimize(
        loss,
        np.array([1.0, 1.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-12, "gtol": 1e-9},
    )
    a, b, common = found.x.tolist()
    return a, b, common


def _fit_intercepts(log_odds: LogOdds, Y: BoolArray, between: BoolArray) -> LogOdds:
    """Return what each tag adds to its log-odds, [L]: logistic regressions with an L2 penalty.

    All at once, by Newton's method; the length of a step is bounded, because it goes too far where
    all probabilities are nearly 0.
    """
    added = np.zeros(Y.shape[1])
    right = (Y & between).sum(axis=0)
    for _ in range(NEWTON_STEPS):
        P = expit(log_odds + added) * between
        gradient = P.sum(axis=0) - right + INTERCEPT_PENALTY * added
        curvature = (P * (1 - P)).sum(axis=0) + INTERCEPT_PENALTY
        added -= np.clip(gradient / curvature, -LONGEST_STEP, LONGEST_STEP)
    return added
