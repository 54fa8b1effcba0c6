"""What every classifier does, and what they share: constant tags, saving, checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from tagsage.features.matrix import BoolArray, FeatureMatrix, FloatArray, IndexArray, row_blocks
from tagsage.files import atomic_file, write_json
from tagsage.graph.arrays import FIXED_ROWS, one_blas_thread, padded

MODEL_FILE = "classifier.json"
PREDICT_ROWS = 2048


class Validation(NamedTuple):
    """Training articles that a fit may use to decide when to stop: indices [m] and tags [m, L]."""

    rows: IndexArray
    Y: BoolArray


class Range(NamedTuple):
    """The values of a hyper-parameter in a search: both ends included, `log` for a log scale."""

    low: float
    high: float
    log: bool = False


class Classifier(ABC):
    """Gives every article a probability for every tag.

    Tags that all training articles have, or none, are not passed to the method. The same data and
    seed give the same model. Settings replace the class's `defaults`.
    """

    name: ClassVar[str]
    defaults: ClassVar[Mapping[str, Any]]
    space: ClassVar[Mapping[str, Range]]
    """The few hyper-parameters that a search may change; their defaults lie within."""
    sparse: ClassVar[bool] = False
    """Whether it takes rows as sparse matrices, and with them blocks of many columns."""
    additive: ClassVar[bool] = False
    """Whether its log-odds are sums of a weight times a value per column, and so explained."""
    multiplies: ClassVar[bool] = True
    """Whether it predicts by products of dense matrices.

    Their last digits depend on how many rows are multiplied at once. So it always gets the same
    number of rows: an article then has the same score by itself and among others.
    """

    def __init__(self, *, seed: int, **settings: Any) -> None:
        unknown = sorted(set(settings) - set(self.defaults))
        if unknown:
            raise TypeError(f"{self.name} has no setting {unknown}; it has {sorted(self.defaults)}")
        self.seed = seed
        self.settings: dict[str, Any] = {**self.defaults, **settings}
        self.fitted: dict[str, Any] = {}
        self.arrays: dict[str, npt.NDArray[Any]] = {}

    def fit(
        self,
        X: FeatureMatrix,
        rows: IndexArray,
        Y: BoolArray,
        *,
        validation: Validation | None = None,
    ) -> Self:
        """Fit on the articles `rows` [m] with tags `Y` [m, L]; reports go to `fitted`.

        `X` has the features of all articles. `validation` is for methods that stop early.
        """
        everywhere, somewhere = Y.all(axis=0), Y.any(axis=0)
        varying = np.flatnonzero(somewhere & ~everywhere)
        self.fitted, self.arrays = {"features": X.shape[1]}, {}
        if len(varying):
            watched: Validation | None = None
            if validation is not None and len(validation.rows):
                watched = Validation(validation.rows, validation.Y[:, varying])
            self._fit(X, rows, Y[:, varying], watched)
        self.arrays["constant"] = np.asarray(everywhere, dtype=np.float32)
        self.arrays["varying"] = varying.astype(np.int64)
        return self

    def predict_proba(self, X: FeatureMatrix, rows: IndexArray) -> FloatArray:
        """Return the probability of every tag, [m, L]; `X` has the same blocks as in the fit."""
        constant, varying = self.arrays["constant"], self.arrays["varying"]
        P = np.tile(constant, (len(rows), 1))
        if len(varying):
            P[:, varying] = self._predict_rows(X, rows).clip(0, 1)
        return P

    def _predict_rows(self, X: FeatureMatrix, rows: IndexArray) -> FloatArray:
        """Return probabilities [m, varying tags] of the articles `rows`, block by block."""
        P = np.empty((len(rows), len(self.arrays["varying"])), dtype=np.float32)
        if self.sparse or not self.multiplies:
            for part, block in row_blocks(rows, PREDICT_ROWS):
                P[part] = self._predict(X.sparse_rows(block) if self.sparse else X.rows(block))
            return P
        with one_blas_thread():
            for part, block in row_blocks(rows, FIXED_ROWS):
                P[part] = self._predict(padded(X.rows(block)))[: len(block)]
        return P

    def save(self, folder: Path) -> None:
        """Write arrays, then JSON, into a folder, which is made."""
        for name, array in self.arrays.items():
            with atomic_file(folder / f"{name}.npy") as file:
                np.save(file, array, allow_pickle=False)
        about = {
            "classifier": self.name,
            "seed": self.seed,
            "settings": self.settings,
            "fitted": self.fitted,
            "arrays": sorted(self.arrays),
        }
        write_json(folder / MODEL_FILE, about)

    @classmethod
    def load(cls, folder: Path, about: Mapping[str, Any]) -> Self:
        """Read what :meth:`save` wrote; `about` is the content of its JSON."""
        classifier = cls(seed=about["seed"], **about["settings"])
        classifier.fitted = dict(about["fitted"])
        classifier.arrays = {
            name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in about["arrays"]
        }
        return classifier

    @abstractmethod
    def _fit(
        self, X: FeatureMatrix, rows: IndexArray, Y: BoolArray, validation: Validation | None
    ) -> None:
        """Fit on labels without constant columns; fills `arrays` and `fitted`."""

    def _predict(self, features: Any) -> FloatArray:
        """Return probabilities [m, varying tags] of one block of rows [m, d], sparse or not."""
        raise NotImplementedError
