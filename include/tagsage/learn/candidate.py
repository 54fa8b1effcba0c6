"""One candidate: a classifier fitted on a feature set, calibrated, with thresholds for its tags.

A feature set that knows of lists gets a second classifier beside it, the fallback, fitted on what
an article in no list has, too (its text, its author). It answers for such articles: they get what
a model without lists would say, instead of what a model of lists makes of their absence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from tagsage.errors import TagsageError
from tagsage.features.matrix import FeatureMatrix, FloatArray, IndexArray, row_blocks
from tagsage.learn.calibration import Calibration
from tagsage.learn.classifiers import Classifier, load_classifier
from tagsage.learn.classifiers.base import write_json
from tagsage.learn.predictions import top_tags
from tagsage.learn.targets import BoolArray
from tagsage.learn.thresholds import Assignment
from tagsage.progress import track

CANDIDATE_FILE = "candidate.json"
CLASSIFIER_FOLDER, FALLBACK_FOLDER = "classifier", "fallback"
PREDICT_ROWS = 1 << 14


class Answers(NamedTuple):
    """What a candidate says of some articles.

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
class Tagging:
    """A fitted classifier, what makes probabilities of its scores, and tags of these.

    Attributes
    ----------
    classifier : Classifier
        Fitted.
    calibration : Calibration
        Of its scores.
    assignment : Assignment
        Of tags by the calibrated probabilities.
    """

    classifier: Classifier
    calibration: Calibration
    assignment: Assignment

    def answer(self, X: FeatureMatrix, rows: IndexArray) -> Answers:
        """Return probabilities and assigned tags of some articles."""
        P = self.calibration.apply(self.classifier.predict_proba(X, rows))
        return Answers(P, self.assignment.assign(P))

    def to_json(self) -> dict[str, Any]:
        """Return all but the classifier as JSON takes it."""
        return {"calibration": vars(self.calibration), "assignment": self.assignment.to_json()}

    @classmethod
    def load(cls, classifier: Path, value: dict[str, Any]) -> Self:
        """Read a classifier's folder and what :meth:`to_json` gave."""
        return cls(
            load_classifier(classifier),
            Calibration(**value["calibration"]),
            Assignment.from_json(value["assignment"]),
        )


@dataclass(frozen=True)
class FittedCandidate:
    """A fitted classifier, and how its tags are assigned.

    Attributes
    ----------
    main : Tagging
        Answers for articles in lists, and for all where there is no fallback.
    tags : list of str, length L
        The tags of its columns.
    summary : dict
        JSON-serialisable: ``classifier``, ``seed``, its settings, what its fit found out,
        ``threshold`` (the one for all tags), ``calibration_slope`` and ``…_intercept``,
        ``train_articles``, ``tune_seconds``, ``fit_seconds`` (tuning included).
    fallback : Tagging or None
        Answers for articles in no list, from the blocks that these have.
    """

    main: Tagging
    tags: list[str]
    summary: dict[str, Any]
    fallback: Tagging | None = None

    @property
    def classifier(self) -> Classifier:
        """The main classifier."""
        return self.main.classifier

    @property
    def knows_list_free(self) -> bool:
        """Whether it knows what to say of an article in no list."""
        return self.fallback is not None

    @property
    def threshold(self) -> float:
        """The threshold for all tags, which those of single tags are near."""
        return self.main.assignment.common

    def answer(self, X: FeatureMatrix, rows: IndexArray) -> Answers:
        """Return what it says of some articles.

        Parameters
        ----------
        X : FeatureMatrix
            Features of all articles.
        rows : integer array, shape [m]
            The articles wanted.
        """
        linked, own = X.in_list[rows], X.list_free()
        if self.fallback is None or own is None or linked.all():
            return self.main.answer(X, rows)
        rows = np.asarray(rows)
        of_linked = self.main.answer(X, rows[linked])
        of_others = self.fallback.answer(own, rows[~linked])
        # Where each article's answer is, when the two parts follow one another.
        place = np.argsort(np.argsort(~linked, kind="stable"), kind="stable")
        return Answers(
            np.concatenate([of_linked.probabilities, of_others.probabilities])[place],
            np.concatenate([of_linked.assigned, of_others.assigned])[place],
        )

    def thresholds(self, X: FeatureMatrix, rows: IndexArray) -> FloatArray:
        """Return float32 [len(rows), L]: what a probability must reach for its tag.

        The fallback has thresholds of its own.
        """
        main = self.main.assignment.thresholds
        if self.fallback is None or X.list_free() is None:
            return np.broadcast_to(main, (len(rows), len(main)))
        return np.where(X.in_list[rows][:, None], main, self.fallback.assignment.thresholds)

    def predict_proba(self, X: FeatureMatrix, rows: IndexArray) -> FloatArray:
        """Return float32 [len(rows), L]: the calibrated probability of every tag."""
        return self.answer(X, rows).probabilities

    def top_tags(self, X: FeatureMatrix, rows: IndexArray, *, k: int) -> Iterator[pd.DataFrame]:
        """Yield the best tags of articles, a frame for each block of them.

        See :func:`tagsage.learn.predictions.top_tags`; ``row`` is the article index. Blocks bound
        the memory: probabilities of millions of articles are never held at once.
        """
        blocks = list(row_blocks(rows, PREDICT_ROWS))
        for _, block in track(blocks, "predicting: blocks of articles"):
            yield top_tags(
                *self.answer(X, block), self.thresholds(X, block), tags=self.tags, k=k, rows=block
            )

    def save(self, folder: Path) -> None:
        """Write arrays and JSON into a folder, which is made; ``candidate.json`` last."""
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
        file = folder / CANDIDATE_FILE
        if not file.exists():
            raise TagsageError(f"The folder {folder} holds no fitted candidate; fit one again.")
        value = json.loads(file.read_text(encoding="utf-8"))
        tags = value["tags"]
        main = Tagging.load(folder / CLASSIFIER_FOLDER, value["main"])
        fallback = None
        if value["fallback"] is not None:
            fallback = Tagging.load(folder / FALLBACK_FOLDER, value["fallback"])
        return cls(main, tags, value["summary"], fallback)
