"""A fitted candidate: a classifier on a feature set, calibrated, with a threshold for each tag.

If its features need lists, it has a second classifier, the fallback, which predicts for articles in
no list. The fallback is fitted on the blocks that such an article has, too (its text, its author):
the main classifier would take the absence of lists for information.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from tagsage.errors import TagsageError
from tagsage.features.matrix import BoolArray, FeatureMatrix, FloatArray, IndexArray
from tagsage.files import read_json, write_json
from tagsage.learn.calibration import Calibration
from tagsage.learn.classifiers import Classifier, load_classifier
from tagsage.learn.thresholds import Thresholds

CANDIDATE_FILE = "candidate.json"
CLASSIFIER_FOLDER, FALLBACK_FOLDER = "classifier", "fallback"


class Predictions(NamedTuple):
    """Calibrated probabilities and assigned tags of some articles, both [m, L]."""

    probabilities: FloatArray
    assigned: BoolArray


@dataclass(frozen=True)
class CalibratedClassifier:
    """A fitted classifier with the calibration of its scores and the thresholds of its tags."""

    classifier: Classifier
    calibration: Calibration
    thresholds: Thresholds

    def predict(self, X: FeatureMatrix, rows: IndexArray) -> Predictions:
        """Return probabilities and assigned tags of some articles."""
        P = self.calibration.apply(self.classifier.predict_proba(X, rows))
        return Predictions(P, self.thresholds.assign(P))

    def to_json(self) -> dict[str, Any]:
        """Return all but the classifier as JSON-able values."""
        return {"calibration": self.calibration.to_json(), "thresholds": self.thresholds.to_json()}

    @classmethod
    def load(cls, classifier: Path, value: dict[str, Any]) -> Self:
        """Read a classifier's folder and what :meth:`to_json` gave."""
        return cls(
            load_classifier(classifier),
            Calibration.from_json(value["calibration"]),
            Thresholds.from_json(value["thresholds"]),
        )


@dataclass(frozen=True)
class FittedCandidate:
    """A candidate that was fitted, and predicts.

    `tags` [L] are those of its columns. `summary` is JSON-able: ``classifier``, ``seed``, its
    settings, what its fit reports, ``threshold`` (the common one), ``calibration_a`` and
    ``…_b``, ``train_articles``, ``tune_seconds``, ``fit_seconds`` (tuning included).
    """

    main: CalibratedClassifier
    tags: list[str]
    summary: dict[str, Any]
    fallback: CalibratedClassifier | None = None

    def predict(self, X: FeatureMatrix, rows: IndexArray) -> Predictions:
        """Return probabilities and assigned tags of the articles `rows`; `X` is of all articles."""
        in_list, rest = X.in_list[rows], X.list_free()
        if self.fallback is None or rest is None or in_list.all():
            return self.main.predict(X, rows)
        rows = np.asarray(rows)
        P = np.empty((len(rows), len(self.tags)), dtype=np.float32)
        assigned = np.empty(P.shape, dtype=np.bool_)
        P[in_list], assigned[in_list] = self.main.predict(X, rows[in_list])
        P[~in_list], assigned[~in_list] = self.fallback.predict(rest, rows[~in_list])
        return Predictions(P, assigned)

    def thresholds(self, X: FeatureMatrix, rows: IndexArray) -> FloatArray:
        """Return what a probability must reach for its tag, [len(rows), L]."""
        main = self.main.thresholds.per_tag
        if self.fallback is None or X.list_free() is None:
            return np.broadcast_to(main, (len(rows), len(main)))
        return np.where(X.in_list[rows][:, None], main, self.fallback.thresholds.per_tag)

    def predict_proba(self, X: FeatureMatrix, rows: IndexArray) -> FloatArray:
        """Return the calibrated probability of every tag, [len(rows), L]."""
        return self.predict(X, rows).probabilities

    def save(self, folder: Path) -> None:
        """Write it into a folder, which is made; ``candidate.json`` last."""
        self.main.classifier.save(folder / CLASSIFIER_FOLDER)
        if self.fallback is not None:
            self.fallback.classifier.save(folder / FALLBACK_FOLDER)
        value = {
            "tags": self.tags,
            "main": self.main.to_json(),
            "fallback": None if self.fallback is None else self.fallback.to_json(),
            "summary": self.summary,
        }
        write_json(folder / CANDIDATE_FILE, value)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote; a TagsageError says when there is no candidate."""
        value = read_json(folder / CANDIDATE_FILE)
        if value is None:
            raise TagsageError(f"The folder {folder} holds no fitted candidate; fit one again.")
        fallback = None
        if value["fallback"] is not None:
            fallback = CalibratedClassifier.load(folder / FALLBACK_FOLDER, value["fallback"])
        main = CalibratedClassifier.load(folder / CLASSIFIER_FOLDER, value["main"])
        return cls(main, value["tags"], value["summary"], fallback)
