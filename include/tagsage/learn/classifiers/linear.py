"""One linear model per tag, on sparse features."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier

from tagsage.features.matrix import BoolArray, FeatureMatrix, FloatArray, IndexArray
from tagsage.graph.arrays import one_blas_thread, sigmoid
from tagsage.learn.classifiers.base import Classifier, Range, Validation
from tagsage.progress import track

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr


class Linear(Classifier):
    """One-vs-rest: a logistic regression per tag, fitted by stochastic gradient descent.

    scikit-learn's ``SGDClassifier(loss="log_loss")``, saved as two arrays. Its score is a sum of
    weight × value over an article's words, lists and author, so it explains itself.
    """

    name: ClassVar[str] = "linear"
    defaults: ClassVar[Mapping[str, Any]] = {"C": 5.0, "max_iter": 30}
    space: ClassVar[Mapping[str, Range]] = {"C": Range(1.0, 20.0, log=True)}
    sparse: ClassVar[bool] = True
    additive: ClassVar[bool] = True

    def _fit(self, X: FeatureMatrix, rows: IndexArray, Y: BoolArray, _: Validation | None) -> None:
        features = X.sparse_rows(rows)
        coef = np.zeros((X.shape[1], Y.shape[1]), dtype=np.float32)
        intercept = np.empty(Y.shape[1], dtype=np.float32)

        def fit_tag(tag: int) -> None:
            model = SGDClassifier(
                loss="log_loss",
                # C weighs the loss of all articles against the penalty, as in LogisticRegression;
                # alpha the penalty against the mean loss.
                alpha=1 / (self.settings["C"] * len(rows)),
                max_iter=self.settings["max_iter"],
                tol=1e-3,
                random_state=self.seed,
            )
            model.fit(features, Y[:, tag])
            coef[:, tag], intercept[tag] = model.coef_[0], model.intercept_[0]

        # scikit-learn's loop over the rows leaves Python's lock to the others.
        with (
            one_blas_thread(),
            warnings.catch_warnings(category=ConvergenceWarning, action="ignore"),
            ThreadPoolExecutor(os.cpu_count()) as threads,
        ):
            tags = range(Y.shape[1])
            for _ in track(threads.map(fit_tag, tags), "training linear", total=len(tags)):
                pass
        self.arrays = {"coef": coef, "intercept": intercept}

    def _predict(self, features: FloatArray | Csr) -> FloatArray:
        z: FloatArray = features @ self.arrays["coef"] + self.arrays["intercept"]
        return sigmoid(z)
