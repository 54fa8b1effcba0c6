"""Fitting a candidate: tuned on a part of the training articles, then fitted on all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tagsage.features.matrix import BoolArray, FeatureMatrix, IndexArray
from tagsage.learn.calibration import Calibration, fit_calibration
from tagsage.learn.candidate import CalibratedClassifier, FittedCandidate
from tagsage.learn.classifiers import Classifier, Validation, make_classifier
from tagsage.learn.hyperparameter_search import search_hyperparameters
from tagsage.learn.split import Split, stratified_split
from tagsage.learn.thresholds import Thresholds
from tagsage.settings.predictions import PredictionSettings

VALIDATION_SHARE = 0.15
# With fewer articles a validation part says nothing.
MIN_VALIDATED_ROWS = 20
# So many articles of its own kind calibrate a classifier better than more of all kinds.
MIN_CALIBRATED_ROWS = 200


def tuning_split(Y: BoolArray, *, seed: int) -> Split | None:
    """Split the training articles for tuning; the same for every candidate of a run.

    `train` is fitted, `test` chooses thresholds and epochs; None for fewer than 20 articles.
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
    settings: PredictionSettings | None = None,
    fallback: CalibratedClassifier | None = None,
    search_trials: int = 0,
    like: FittedCandidate | None = None,
) -> FittedCandidate:
    """Fit a classifier, calibrate it and choose its thresholds, on training articles only.

    It is fitted twice: on 85% of the training articles, to choose calibration, thresholds and, with
    early stopping, the number of epochs on the other 15%; then, with these, on all of them. With
    fewer than 20 articles nothing is chosen, and the threshold is 0.5. Where only some blocks of
    `X` need lists, a fallback is fitted on the others in the same way, unless it is given: it is a
    candidate without lists on the same articles and seed.

    Parameters
    ----------
    X : FeatureMatrix, shape [n, d]
        Features of all articles; only `train_rows` are read.
    Y : bool array, shape [m, L]
        The tags of the articles `train_rows` [m].
    tuning : FeatureMatrix, shape [n, d], optional
        The features for tuning, where these differ: features made of labels may only use those of
        the 85% (:func:`tuning_split`), or the other articles' own labels would come back to them.
    search_trials : int
        Hyper-parameters to try on the 85%, reported in the summary as ``search``; 0: none.
    like : FittedCandidate, optional
        One that was fitted on articles of this training part before. What was chosen for it is
        taken over, and nothing is fitted on the 85%.
    """
    started = time.perf_counter()
    tuning = X if tuning is None else tuning
    inner = tuning_split(Y, seed=seed)
    untuned = make_classifier(classifier, seed=seed)
    tuner = _Tuner(Y, train_rows, inner, untuned, settings or PredictionSettings(), search_trials)
    # Where there is a fallback, the main classifier predicts for articles in lists alone.
    predicted = tuning.in_list[train_rows] | (not X.needs_lists)
    tuned, trials = (like.main, []) if like else tuner.tune(tuning, predicted)
    tune_seconds = time.perf_counter() - started
    main = _refit(X, Y, train_rows, tuned)
    rest, rest_tuning = X.list_free(), tuning.list_free()
    if not X.needs_lists:
        fallback = None
    elif fallback is None and rest is not None and rest_tuning is not None:
        # It must do for any article, as a candidate on the same blocks would.
        everyone = np.ones(len(train_rows), dtype=np.bool_)
        tuned = like.fallback if like and like.fallback else tuner.tune(rest_tuning, everyone)[0]
        fallback = _refit(rest, Y, train_rows, tuned)
    summary = _summary(main, len(train_rows), started, tune_seconds)
    if trials:
        summary["search"] = trials
    return FittedCandidate(main, list(tags), summary, fallback)


def refit_candidate(
    X: FeatureMatrix, Y: BoolArray, rows: IndexArray, *, like: FittedCandidate
) -> FittedCandidate:
    """Fit a candidate again on more articles: same settings, epochs, calibration, thresholds."""
    started = time.perf_counter()
    main, fallback, rest = _refit(X, Y, rows, like.main), None, X.list_free()
    if like.fallback is not None and rest is not None:
        fallback = _refit(rest, Y, rows, like.fallback)
    return FittedCandidate(main, like.tags, _summary(main, len(rows), started), fallback)


def _refit(
    X: FeatureMatrix, Y: BoolArray, rows: IndexArray, like: CalibratedClassifier
) -> CalibratedClassifier:
    known = like.classifier
    classifier = make_classifier(known.name, seed=known.seed, **known.settings)
    return replace(like, classifier=classifier.fit(X, rows, Y))


@dataclass(frozen=True)
class _Tuner:
    """Fits on the 85% (`inner.train`), and chooses on the other 15%."""

    Y: BoolArray
    rows: IndexArray
    inner: Split | None
    untuned: Classifier
    settings: PredictionSettings
    search_trials: int

    def tune(
        self, X: FeatureMatrix, predicted: BoolArray
    ) -> tuple[CalibratedClassifier, list[dict[str, float]]]:
        """Choose on those articles that the classifier will predict for, where they are enough.

        Returns a classifier to be fitted again with its settings, and the trials of the search.
        """
        if self.inner is None:
            tags = self.Y.shape[1]
            calibration = Calibration.identity(tags)
            thresholds = Thresholds.constant(tags, self.settings)
            return CalibratedClassifier(self.untuned, calibration, thresholds), []
        train, test = self.inner.train, self.inner.test
        held_out = Validation(self.rows[test], self.Y[test])
        name, seed = self.untuned.name, self.untuned.seed
        trials: list[dict[str, float]] = []
        if self.search_trials:
            fitted, trials = search_hyperparameters(
                X,
                self.Y,
                self.rows,
                classifier=name,
                inner=self.inner,
                seed=seed,
                trials=self.search_trials,
            )
        else:
            fitted = make_classifier(name, seed=seed)
            fitted.fit(X, self.rows[train], self.Y[train], validation=held_out)
        # What the fit chose by itself, such as the number of epochs, is not chosen again.
        fitted.settings |= {
            name: fitted.fitted[name] for name in fitted.settings if name in fitted.fitted
        }
        scored = predicted[test]
        if scored.sum() < MIN_CALIBRATED_ROWS:
            scored = np.ones_like(scored)
        P, truth = fitted.predict_proba(X, held_out.rows[scored]), held_out.Y[scored]
        calibration = fit_calibration(P, truth)
        thresholds = Thresholds.choose(calibration.apply(P), truth, self.settings)
        return CalibratedClassifier(fitted, calibration, thresholds), trials


def _summary(
    fitted: CalibratedClassifier, articles: int, started: float, tune_seconds: float = 0.0
) -> dict[str, Any]:
    classifier = fitted.classifier
    found = {name: value for name, value in classifier.fitted.items() if np.isscalar(value)}
    return {
        "classifier": classifier.name,
        "seed": classifier.seed,
        **classifier.settings,
        **found,
        "threshold": fitted.thresholds.common,
        "calibration_a": fitted.calibration.a,
        "calibration_b": fitted.calibration.b,
        "train_articles": articles,
        "tune_seconds": tune_seconds,
        "fit_seconds": time.perf_counter() - started,
    }
