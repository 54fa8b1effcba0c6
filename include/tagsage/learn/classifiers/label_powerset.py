"""The study's classifier: every set of tags seen in training is a class of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.features.matrix import FeatureMatrix, FloatArray, IndexArray
from tagsage.learn.classifiers.base import Classifier, Range, Validation
from tagsage.learn.classifiers.multinomial import MultinomialLogistic, softmax
from tagsage.learn.targets import BoolArray

BLOCK_NUMBERS = 1 << 22


class LabelPowersetLogistic(Classifier):
    """LabelPowerset over logistic regression, after the study.

    scikit-multilearn's ``LabelPowerset`` turns label sets into classes and
    :class:`MultinomialLogistic` learns them: ``LogisticRegression()``'s objective with its default
    C = 1, on features as they are. A tag's probability is the sum over the sets that hold it, as
    ``LabelPowerset.predict_proba`` has it, computed by a matrix product instead of its loop over
    rows × sets.

    Where it differs from the study: tags are assigned by a threshold on these probabilities, like
    every candidate's, not by taking the likeliest set; and the regression is solved in float32 to
    a relative tolerance instead of stopping after scikit-learn's 100 steps. The rows that are
    fitted are held in memory, and time grows with rows × sets: it is made for corpora of the
    study's size.
    """

    name: ClassVar[str] = "label_powerset"
    defaults: ClassVar[Mapping[str, Any]] = {"C": 1.0, "max_iter": 60, "tol": 3e-4}
    space: ClassVar[Mapping[str, Range]] = {"C": Range(0.1, 100.0, log=True)}

    def _fit(
        self,
        X: FeatureMatrix,
        rows: IndexArray,
        Y: BoolArray,
        validation: Validation | None,
        start: Self | None,
    ) -> None:
        # Here, not above: a served model only predicts.
        from skmultilearn.problem_transform import LabelPowerset

        del validation
        # Only its translation of label sets: its own fit would turn dense features into sparse.
        powerset = LabelPowerset()
        codes = powerset.transform(sp.csr_matrix(Y, dtype=np.int64))
        sets = np.zeros((len(powerset.reverse_combinations_), Y.shape[1]), dtype=np.bool_)
        for code, members in enumerate(powerset.reverse_combinations_):
            sets[code, members] = True
        model = MultinomialLogistic(**self.settings)
        share = np.bincount(codes) / len(codes)
        begin = None if start is None else start._start_for(sets, share)
        model.fit(X.rows(rows), codes, start=begin)
        self.arrays = {
            "coef": model.coef_,
            "intercept": model.intercept_,
            "sets": sets,
            "share": share.astype(np.float32),
        }
        self.fitted = {
            "features": X.shape[1],
            "label_sets": len(sets),
            "steps": model.n_iter_,
            "objective": model.objective_,
        }

    def _start_for(
        self, sets: BoolArray, share: npt.NDArray[np.float64]
    ) -> tuple[FloatArray, FloatArray]:
        """Return this model's weights for other label sets; a set it does not know gets zeros."""
        known = {row.tobytes(): code for code, row in enumerate(self.arrays["sets"])}
        code = np.array([known.get(row.tobytes(), -1) for row in sets], dtype=np.int64)
        coef = np.where(code[:, None] >= 0, self.arrays["coef"][code], 0).astype(np.float32)
        # Intercepts stand for shares, up to a constant that all sets have in common.
        offset = np.mean(self.arrays["intercept"] - np.log(self.arrays["share"]))
        intercept = np.where(code >= 0, self.arrays["intercept"][code], np.log(share) + offset)
        return coef, intercept.astype(np.float32)

    def _predict(self, features: FloatArray) -> FloatArray:
        sets = self.arrays["sets"].astype(np.float32)
        rows = max(BLOCK_NUMBERS // len(sets), 1)
        P = np.empty((len(features), sets.shape[1]), dtype=np.float32)
        for first in range(0, len(features), rows):
            z = features[first : first + rows] @ self.arrays["coef"].T + self.arrays["intercept"]
            P[first : first + rows] = softmax(z) @ sets
        return P
