"""One candidate: a classifier fitted on a feature set, with the threshold that assigns tags."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from tagsage.errors import TagsageError
from tagsage.learn.classifiers import Classifier, Validation, load_classifier, make_classifier
from tagsage.learn.classifiers.base import write_json
from tagsage.learn.features import FeatureMatrix, FloatArray, IndexArray, row_blocks
from tagsage.learn.metrics import Scores, evaluate
from tagsage.learn.predictions import top_tags
from tagsage.learn.split import Split, stratified_split
from tagsage.learn.targets import BoolArray
from tagsage.learn.thresholds import DEFAULT_THRESHOLD, global_threshold
from tagsage.progress import track

CANDIDATE_FILE = "candidate.json"
CLASSIFIER_FOLDER = "classifier"
VALIDATION_SHARE = 0.15
# With fewer articles a validation part says nothing.
MIN_VALIDATED_ROWS = 20
PREDICT_ROWS = 1 << 14


@dataclass(frozen=True)
class FittedCandidate:
    """A fitted classifier and its threshold.

    Attributes
    ----------
    classifier : Classifier
        Fitted.
    tags : list of str, length L
        The tags of its columns.
    threshold : float
        A tag is assigned when its probability is at least this.
    summary : dict
        JSON-serialisable: ``classifier``, ``seed``, its settings, what its fit found out,
        ``threshold``, ``train_articles``, ``tune_seconds``, ``fit_seconds`` (tuning included).
    """

    classifier: Classifier
    tags: list[str]
    threshold: float
    summary: dict[str, Any]

    def predict_proba(self, X: FeatureMatrix, rows: IndexArray) -> FloatArray:
        """Return float32 [len(rows), L]: the probability of every tag."""
        return self.classifier.predict_proba(X, rows)

    def evaluate(self, X: FeatureMatrix, Y: BoolArray, rows: IndexArray) -> Scores:
        """Score it on articles it was not fitted on.

        Parameters
        ----------
        X : FeatureMatrix
            Features of all articles.
        Y : bool array, shape [m, L]
            The truth, aligned with `rows`.
        rows : integer array, shape [m]
            The articles.

        Returns
        -------
        Scores
            With ``predict_seconds`` and ``threshold`` among the overall ones.
        """
        started = time.perf_counter()
        P = self.predict_proba(X, rows)
        seconds = time.perf_counter() - started
        scores = evaluate(P, Y, self.threshold, self.tags)
        overall = {**scores.overall, "threshold": self.threshold, "predict_seconds": seconds}
        return Scores(overall, scores.per_tag)

    def top_tags(self, X: FeatureMatrix, rows: IndexArray, *, k: int) -> Iterator[pd.DataFrame]:
        """Yield the best tags of articles, a frame for each block of them.

        See :func:`tagsage.learn.predictions.top_tags`; ``row`` is the article index. Blocks bound
        the memory: probabilities of millions of articles are never held at once.
        """
        blocks = list(row_blocks(rows, PREDICT_ROWS))
        for _, block in track(blocks, "predicting: blocks of articles"):
            P = self.predict_proba(X, block)
            yield top_tags(P, threshold=self.threshold, tags=self.tags, k=k, rows=block)

    def save(self, folder: Path) -> None:
        """Write arrays and JSON into a folder, which is made; ``candidate.json`` last."""
        self.classifier.save(folder / CLASSIFIER_FOLDER)
        value = {"tags": self.tags, "threshold": self.threshold, "summary": self.summary}
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
        return cls(load_classifier(folder / CLASSIFIER_FOLDER), **value)


def tuning_split(Y: BoolArray, *, seed: int) -> Split | None:
    """Split the training articles for tuning; the same for every candidate of a night.

    Parameters
    ----------
    Y : bool array, shape [m, L]
        The tags of the training articles.
    seed : int
        Seed of the split.

    Returns
    -------
    Split or None
        `train` is fitted, `test` chooses threshold and epochs; None for too few articles.
    """
    if len(Y) < MIN_VALIDATED_ROWS:
        return None
    return stratified_split(Y, test_share=VALIDATION_SHARE, seed=seed)


def fit_candidate(
    X: FeatureMatrix,
    Y: BoolArray,
    train_rows: IndexArray,
    *,
    tags: Sequence[str],
    classifier: str,
    seed: int,
    tuning: FeatureMatrix | None = None,
    search_trials: int = 0,
    search_max_seconds: float | None = None,
) -> FittedCandidate:
    """Fit a classifier and choose its threshold, on training articles alone.

    Twice: first on 85% of the training articles, to choose on the other 15% the threshold (best
    micro-F1) and, for a classifier that stops early, the number of epochs; then, with these, on all
    of them. With fewer than 20 articles, or when no tag can be right among the 15%, the threshold
    is 0.5 and the classifier's default settings are taken.

    Parameters
    ----------
    X : FeatureMatrix, shape [n, d]
        Features of all articles; only `train_rows` are read.
    Y : bool array, shape [m, L]
        The tags of the training articles, aligned with `train_rows`. Test labels do not come in.
    train_rows : integer array, shape [m]
        Article indices of the training part.
    tags : sequence of str, length L
        The tags of the columns.
    classifier : str
        Its name.
    seed : int
        Seed of the validation split and the classifier.
    tuning : FeatureMatrix, shape [n, d], optional
        The features while threshold and epochs are chosen, where these differ: features made of
        labels must know those of the 85% alone (:func:`tuning_split`). Otherwise the held-out
        articles' own labels would come back to them through their neighbours, on whose features
        the fit has learned, and they would look better than test articles do.
    search_trials : int
        How many hyper-parameter settings to try on the 85%, the defaults first; 0: the defaults
        are taken. See :func:`tagsage.learn.search.search_settings`; the trials are told in the
        summary as ``search``.
    search_max_seconds : float, optional
        When to begin no further trial.

    Returns
    -------
    FittedCandidate
        Fitted on all `train_rows`.
    """
    started = time.perf_counter()
    settings: dict[str, Any] = {}
    threshold = DEFAULT_THRESHOLD
    tuned: Classifier | None = None
    found: dict[str, Any] = {}
    inner = tuning_split(Y, seed=seed)
    if inner is not None:
        seen = X if tuning is None else tuning
        held_out = Validation(train_rows[inner.test], Y[inner.test])
        if search_trials:
            # Here, not above: a served model imports this module and never searches.
            from tagsage.learn.search import search_settings

            searched = search_settings(
                seen,
                Y,
                train_rows,
                classifier=classifier,
                inner=inner,
                seed=seed,
                trials=search_trials,
                max_seconds=search_max_seconds,
            )
            settings, tuned = searched.settings, searched.tuned
            found["search"] = searched.trials
        else:
            tuned = make_classifier(classifier, seed=seed)
            tuned.fit(seen, train_rows[inner.train], Y[inner.train], validation=held_out)
        threshold = global_threshold(tuned.predict_proba(seen, held_out.rows), held_out.Y)
        if tuned.fitted.get("epochs"):
            settings["epochs"] = tuned.fitted["epochs"]
    tune_seconds = time.perf_counter() - started
    fitted = make_classifier(classifier, seed=seed, **settings)
    fitted.fit(X, train_rows, Y, start=tuned)
    summary = _summary(fitted, threshold, len(train_rows)) | found
    summary["tune_seconds"] = tune_seconds
    summary["fit_seconds"] = time.perf_counter() - started
    return FittedCandidate(fitted, list(tags), threshold, summary)


def refit_candidate(
    X: FeatureMatrix, Y: BoolArray, rows: IndexArray, *, like: FittedCandidate
) -> FittedCandidate:
    """Fit a candidate again on more articles, with nothing chosen anew.

    The winner is fitted so on all labelled articles, test part included, before it predicts: same
    settings and seed, same number of epochs, same threshold. What is known of its quality remains
    the score of the fit on the training part.

    Parameters
    ----------
    X : FeatureMatrix, shape [n, d]
        Features of all articles.
    Y : bool array, shape [m, L]
        Tags, aligned with `rows`.
    rows : integer array, shape [m]
        The articles to fit.
    like : FittedCandidate
        The candidate fitted on the training part.

    Returns
    -------
    FittedCandidate
        Fitted on `rows`.
    """
    started = time.perf_counter()
    before = like.classifier
    fitted = make_classifier(before.name, seed=before.seed, **before.settings)
    fitted.fit(X, rows, Y, start=before)
    summary = _summary(fitted, like.threshold, len(rows))
    summary["tune_seconds"] = 0.0
    summary["fit_seconds"] = time.perf_counter() - started
    return FittedCandidate(fitted, like.tags, like.threshold, summary)


def _summary(fitted: Classifier, threshold: float, articles: int) -> dict[str, Any]:
    found = {name: value for name, value in fitted.fitted.items() if np.isscalar(value)}
    return {
        "classifier": fitted.name,
        "seed": fitted.seed,
        **fitted.settings,
        **found,
        "threshold": threshold,
        "train_articles": articles,
    }
