"""A fitted candidate: a classifier on a feature set, calibrated, with a threshold for each tag.

A feature set that knows of lists gets a second classifier beside it, the fallback, fitted on what
an article in no list has, too (its text, its author). It predicts for such articles: they get what
a model without lists would say, instead of what a model of lists makes of their absence.
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
    """What a candidate predicts for some articles.

    Attributes
    ----------
    probabilities : float32 array, shape [m, L]
        Calibrated.
    assigned : bool array, shape [m, L]
        Which tags are assigned.
    """

    probabilities: FloatArray
    assigned: BoolArray


@dataclass(frozen=True)
class CalibratedClassifier:
    """A fitted classifier, what makes probabilities of its scores, and tags of these."""

    classifier: Classifier
    calibration: Calibration
    thresholds: Thresholds

    def predict(self, X: FeatureMatrix, rows: IndexArray) -> Predictions:
        """Return probabilities and assigned tags of some articles."""
        P = self.calibration.apply(self.classifier.predict_proba(X, rows))
        return Predictions(P, self.thresholds.assign(P))

    def to_json(self) -> dict[str, Any]:
        """Return all but the classifier as JSON takes it."""
        return {"calibration": vars(self.calibration), "thresholds": self.thresholds.to_json()}

    @classmethod
    def load(cls, classifier: Path, value: dict[str, Any]) -> Self:
        """Read a classifier's folder and what :meth:`to_json` gave."""
        return cls(
            load_classifier(classifier),
            Calibration(**value["calibration"]),
            Thresholds.from_json(value["thresholds"]),
        )


@dataclass(frozen=True)
class FittedCandidate:
    """What is fitted of a candidate, and predicts.

    Attributes
    ----------
    main : CalibratedClassifier
        Predicts for articles in lists, and for all where there is no fallback.
    tags : list of str, length L
        The tags of its columns.
    summary : dict
        JSON-serialisable: ``classifier``, ``seed``, its settings, what its fit found out,
        ``threshold`` (the common one), ``calibration_slope`` and ``…_intercept``,
        ``train_articles``, ``tune_seconds``, ``fit_seconds`` (tuning included).
    fallback : CalibratedClassifier or None
        Predicts for articles in no list, from the blocks that these have.
    """

    main: CalibratedClassifier
    tags: list[str]
    summary: dict[str, Any]
    fallback: CalibratedClassifier | None = None

    @property
    def classifier(self) -> Classifier:
        """The main classifier."""
        return self.main.classifier

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
        """Return float32 [len(rows), L]: what a probability must reach for its tag.

        The fallback has thresholds of its own.
        """
        main = self.main.thresholds.per_tag
        if self.fallback is None or X.list_free() is None:
            return np.broadcast_to(main, (len(rows), len(main)))
        return np.where(X.in_list[rows][:, None], main, self.fallback.thresholds.per_tag)

    def predict_proba(self, X: FeatureMatrix, rows: IndexArray) -> FloatArray:
        """Return float32 [len(rows), L]: the calibrated probability of every tag."""
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
        """Read what :meth:`save` wrote.

        Raises
        ------
        TagsageError
            When the folder holds no candidate.
        """
        value = read_json(folder / CANDIDATE_FILE)
        if value is None:
            raise TagsageError(f"The folder {folder} holds no fitted candidate; fit one again.")
        fallback = None
        if value["fallback"] is not None:
            fallback = CalibratedClassifier.load(folder / FALLBACK_FOLDER, value["fallback"])
        main = CalibratedClassifier.load(folder / CLASSIFIER_FOLDER, value["main"])
        return cls(main, value["tags"], value["summary"], fallback)
