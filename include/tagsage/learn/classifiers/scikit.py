"""Classifiers of scikit-learn, as they are, saved with skops."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import sklearn.multioutput
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from threadpoolctl import threadpool_limits

from tagsage.features.matrix import BoolArray, FeatureMatrix, FloatArray, IndexArray
from tagsage.files import write_bytes
from tagsage.learn.classifiers.base import Classifier, Range, Validation

MODEL = "model.skops"


class ScikitClassifier(Classifier):
    """A multi-label classifier with scikit-learn's interface; the rows are held in memory."""

    trusted: ClassVar[list[str]] = []
    """Types that skops wants to have named before it reads them."""
    model: Any = None

    @abstractmethod
    def make_model(self, Y: BoolArray) -> Any:
        """Return the estimator, not fitted."""

    def _fit(self, X: FeatureMatrix, rows: IndexArray, Y: BoolArray, _: Validation | None) -> None:
        # On several cores the small products of one tag's fit wait for each other.
        with (
            threadpool_limits(limits=1),
            warnings.catch_warnings(category=ConvergenceWarning, action="ignore"),
        ):
            # Whole numbers of 64 bits: scikit-learn permutes the columns of smaller ones.
            self.model = self.make_model(Y).fit(X.rows(rows), Y.astype(np.int64))

    def _predict(self, features: FloatArray) -> FloatArray:
        P: FloatArray = np.asarray(self.model.predict_proba(features), dtype=np.float32)
        # Of one tag, OneVsRestClassifier gives both probabilities, that of the tag last.
        return P[:, -len(self.arrays["varying"]) :]

    def save(self, folder: Path) -> None:
        """Write the estimator beside the arrays."""
        if self.model is not None:
            write_bytes(folder / MODEL, skops.io.dumps(self.model))
        super().save(folder)

    @classmethod
    def load(cls, folder: Path, about: Mapping[str, Any]) -> Self:
        """Read the estimator, too."""
        classifier = super().load(folder, about)
        if (folder / MODEL).exists():
            classifier.model = skops.io.load(folder / MODEL, trusted=cls.trusted)
        return classifier


class OvrLogistic(ScikitClassifier):
    """One-vs-rest: a logistic regression per tag, L2-penalised."""

    name: ClassVar[str] = "ovr_logistic"
    defaults: ClassVar[Mapping[str, Any]] = {"C": 1.0, "max_iter": 1000}
    space: ClassVar[Mapping[str, Range]] = {"C": Range(0.1, 10.0, log=True)}

    def make_model(self, _: BoolArray) -> Any:
        """Return the estimator, not fitted."""
        return OneVsRestClassifier(LogisticRegression(**self.settings))


class ClassifierChain(ScikitClassifier):
    """A chain of logistic regressions (J. Read et al., 2009), the rarest tag first.

    Each sees the probabilities of the tags before it; in the paper, the decisions.
    """

    name: ClassVar[str] = "classifier_chain"
    defaults: ClassVar[Mapping[str, Any]] = {"C": 1.0, "max_iter": 1000}
    space: ClassVar[Mapping[str, Range]] = {"C": Range(0.1, 10.0, log=True)}

    def make_model(self, Y: BoolArray) -> Any:
        """Return the estimator, not fitted."""
        return sklearn.multioutput.ClassifierChain(
            LogisticRegression(**self.settings),
            order=np.argsort(Y.sum(axis=0), kind="stable").tolist(),
            chain_method="predict_proba",
        )


class Boosting(ScikitClassifier):
    """Gradient-boosted trees on binned features, per tag; by far the slowest classifier."""

    name: ClassVar[str] = "boosting"
    multiplies: ClassVar[bool] = False
    trusted: ClassVar[list[str]] = [
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    ]
    defaults: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 0.2,
        "l2_regularization": 30.0,
        "max_depth": 3,
        "max_features": 0.1,
        "max_bins": 32,
        "max_iter": 60,
    }
    space: ClassVar[Mapping[str, Range]] = {
        "learning_rate": Range(0.05, 0.5, log=True),
        "l2_regularization": Range(1.0, 300.0, log=True),
        "max_depth": Range(1, 5),
    }

    def make_model(self, _: BoolArray) -> Any:
        """Return the estimator, not fitted."""
        trees = HistGradientBoostingClassifier(
            **self.settings, early_stopping=False, random_state=self.seed
        )
        return OneVsRestClassifier(trees)
