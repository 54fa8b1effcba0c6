"""One logistic regression a tag."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from tagsage.features.matrix import FeatureMatrix, FloatArray, IndexArray
from tagsage.learn.classifiers.base import Classifier, Range, Validation, sigmoid
from tagsage.learn.targets import BoolArray
from tagsage.progress import track

logger = logging.getLogger(__name__)


class OvrLogistic(Classifier):
    """One-vs-rest: for every tag a logistic regression of its own, L2-penalised.

    scikit-learn's ``OneVsRestClassifier(LogisticRegression(C))``, saved as two arrays. The rows
    that are fitted are held in memory.
    """

    name: ClassVar[str] = "ovr_logistic"
    defaults: ClassVar[Mapping[str, Any]] = {"C": 1.0, "max_iter": 1000}
    space: ClassVar[Mapping[str, Range]] = {"C": Range(0.1, 10.0, log=True)}

    def _fit(
        self,
        X: FeatureMatrix,
        rows: IndexArray,
        Y: BoolArray,
        validation: Validation | None,
        start: Self | None,
    ) -> None:
        del validation, start
        features = X.rows(rows)
        coef = np.empty((X.shape[1], Y.shape[1]), dtype=np.float32)
        intercept = np.empty(Y.shape[1], dtype=np.float32)
        unfinished = 0
        with fitting_tags():
            for tag in track(range(Y.shape[1]), "training ovr_logistic"):
                model = LogisticRegression(C=self.settings["C"], max_iter=self.settings["max_iter"])
                model.fit(features, Y[:, tag])
                coef[:, tag], intercept[tag] = model.coef_[0], model.intercept_[0]
                unfinished += int(model.n_iter_[0] >= self.settings["max_iter"])
        tell_unfinished(self.name, unfinished, Y.shape[1])
        self.arrays = {"coef": coef, "intercept": intercept}
        self.fitted = {"features": X.shape[1], "unfinished_tags": unfinished}

    def _predict(self, features: FloatArray) -> FloatArray:
        z: FloatArray = features @ self.arrays["coef"] + self.arrays["intercept"]
        return sigmoid(z)


@contextmanager
def fitting_tags() -> Generator[None]:
    """Fit tag after tag on one core, and leave it to the caller to tell what does not converge."""
    # On several cores the small products of one tag's fit wait for each other: 25 s instead of 6 s
    # for 161 tags.
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def tell_unfinished(name: str, unfinished: int, n_tags: int) -> None:
    """Warn of the tags, if any, whose regression did not converge."""
    if unfinished:
        logger.warning("%s: %d of %d tags did not converge", name, unfinished, n_tags)
