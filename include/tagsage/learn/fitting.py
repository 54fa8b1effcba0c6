"""A candidate is fitted: tuned on a part of the training articles, then fitted on all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tagsage.features.matrix import FeatureMatrix, IndexArray
from tagsage.learn.calibration import Calibration, fit_calibration
from tagsage.learn.candidate import FittedCandidate, Tagging
from tagsage.learn.classifiers import Classifier, Validation, make_classifier
from tagsage.learn.search import search_settings
from tagsage.learn.split import Split, stratified_split
from tagsage.learn.targets import BoolArray
from tagsage.learn.thresholds import Assignment
from tagsage.settings.learn import AssignmentSettings

VALIDATION_SHARE = 0.15
# With fewer articles a validation part says nothing.
MIN_VALIDATED_ROWS = 20
# So many articles of its own kind calibrate a classifier better than more of all kinds.
MIN_CALIBRATED_ROWS = 200


def tuning_split(Y: BoolArray, *, seed: int) -> Split | None:
    """Split the training articles for tuning; the same for every candidate of a run.

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
    assignment: AssignmentSettings | None = None,
    fallback: Tagging | None = None,
    search: Search | None = None,
) -> FittedCandidate:
    """Fit a classifier, calibrate it and choose its thresholds, on training articles alone.

    Twice: first on 85% of the training articles, to choose on the other 15% calibration, thresholds
    and, for a classifier that stops early, the number of epochs; then, with these, on all of them.
    With fewer than 20 articles nothing is calibrated, the threshold is 0.5, and the classifier's
    default settings are taken. Where `X` has blocks that know of lists beside others, a fallback is
    fitted in the same way, on the others.

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
        The features while thresholds and epochs are chosen, where these differ: features made of
        labels must know those of the 85% alone (:func:`tuning_split`). Otherwise the held-out
        articles' own labels would come back to them through their neighbours, on whose features
        the fit has learned, and they would look better than test articles do.
    assignment : AssignmentSettings, optional
        How tags are assigned.
    fallback : Tagging, optional
        The fallback, where it was fitted already: a candidate on the same articles, seed, and
        blocks without lists is the same thing.
    search : Search, optional
        Hyper-parameters to try on the 85%; the defaults are taken without it. The trials are told
        in the summary as ``search``.

    Returns
    -------
    FittedCandidate
        Fitted on all `train_rows`.
    """
    started = time.perf_counter()
    config = assignment or AssignmentSettings()
    seen = X if tuning is None else tuning
    inner = tuning_split(Y, seed=seed)
    needs_fallback = X.needs_lists
    answers_for = seen.in_list[train_rows] | (not needs_fallback)
    main = _tune(seen, Y, train_rows, inner, classifier, seed, config, answers_for, search)
    tune_seconds = time.perf_counter() - started
    fitted = main.fit(X, Y, train_rows)
    if not needs_fallback:
        fallback = None
    elif fallback is None:
        fallback = _fit_fallback(X, seen, Y, train_rows, inner, classifier, seed, config, search)
    summary = _summary(fitted, len(train_rows))
    if main.trials:
        summary["search"] = list(main.trials)
    summary["tune_seconds"] = tune_seconds
    summary["fit_seconds"] = time.perf_counter() - started
    return FittedCandidate(fitted, list(tags), summary, fallback)


def refit_candidate(
    X: FeatureMatrix, Y: BoolArray, rows: IndexArray, *, like: FittedCandidate
) -> FittedCandidate:
    """Fit a candidate again on more articles, with nothing chosen anew.

    The winner is fitted so on all labelled articles, test part included, before it predicts: same
    settings and seed, same number of epochs, same calibration and thresholds. What is known of its
    quality remains the score of the fit on the training part.

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
    own = X.list_free()
    main = _again(X, Y, rows, like.main)
    fallback = None
    if like.fallback is not None and own is not None:
        fallback = _again(own, Y, rows, like.fallback)
    summary = _summary(main, len(rows))
    summary["tune_seconds"] = 0.0
    summary["fit_seconds"] = time.perf_counter() - started
    return FittedCandidate(main, like.tags, summary, fallback)


@dataclass(frozen=True)
class Search:
    """The budget of a search for hyper-parameters.

    Attributes
    ----------
    trials : int
        How many settings to try, the defaults first.
    max_seconds : float or None
        When to begin no further trial.
    """

    trials: int
    max_seconds: float | None = None


@dataclass(frozen=True)
class _Tuned:
    """What fitting on the 85% has chosen."""

    name: str
    seed: int
    settings: dict[str, Any]
    start: Classifier | None
    calibration: Calibration
    assignment: Assignment
    trials: tuple[dict[str, float], ...] = ()

    def fit(self, X: FeatureMatrix, Y: BoolArray, train_rows: IndexArray) -> Tagging:
        """Fit on all training articles."""
        classifier = make_classifier(self.name, seed=self.seed, **self.settings)
        fitted = classifier.fit(X, train_rows, Y, start=self.start)
        return Tagging(fitted, self.calibration, self.assignment)


def _tune(
    X: FeatureMatrix,
    Y: BoolArray,
    train_rows: IndexArray,
    inner: Split | None,
    classifier: str,
    seed: int,
    config: AssignmentSettings,
    answers_for: npt.NDArray[np.bool_],
    search: Search | None,
) -> _Tuned:
    """Fit on the 85%, choose on the articles of the other 15% that it will answer for."""
    if inner is None:
        constant = Assignment.constant(Y.shape[1], config=config)
        return _Tuned(classifier, seed, {}, None, Calibration(), constant)
    watched = Validation(train_rows[inner.test], Y[inner.test])
    settings: dict[str, Any] = {}
    trials: list[dict[str, float]] = []
    if search is None:
        tuned = make_classifier(classifier, seed=seed)
        tuned.fit(X, train_rows[inner.train], Y[inner.train], validation=watched)
    else:
        found = search_settings(
            X,
            Y,
            train_rows,
            classifier=classifier,
            inner=inner,
            seed=seed,
            trials=search.trials,
            max_seconds=search.max_seconds,
        )
        settings, trials, tuned = found.settings, found.trials, found.tuned
    epochs = tuned.fitted.get("epochs")
    judged = answers_for[inner.test]
    if judged.sum() < MIN_CALIBRATED_ROWS:
        judged = np.ones_like(judged)
    P, truth = tuned.predict_proba(X, watched.rows[judged]), watched.Y[judged]
    calibration = fit_calibration(P, truth)
    assignment = Assignment.of(calibration.apply(P), truth, config)
    if epochs:
        settings["epochs"] = epochs
    return _Tuned(classifier, seed, settings, tuned, calibration, assignment, tuple(trials))


def _again(X: FeatureMatrix, Y: BoolArray, rows: IndexArray, before: Tagging) -> Tagging:
    known = before.classifier
    classifier = make_classifier(known.name, seed=known.seed, **known.settings)
    return replace(before, classifier=classifier.fit(X, rows, Y, start=known))


def _fit_fallback(
    X: FeatureMatrix,
    seen: FeatureMatrix,
    Y: BoolArray,
    train_rows: IndexArray,
    inner: Split | None,
    classifier: str,
    seed: int,
    config: AssignmentSettings,
    search: Search | None,
) -> Tagging | None:
    """Fit on the blocks that an article in no list has, too; None where there are none."""
    own, own_seen = X.list_free(), seen.list_free()
    if own is None or own_seen is None:
        return None
    # It must do for any article, as a candidate on the same blocks would.
    everyone = np.ones(len(train_rows), dtype=np.bool_)
    tuned = _tune(own_seen, Y, train_rows, inner, classifier, seed, config, everyone, search)
    return tuned.fit(own, Y, train_rows)


def _summary(fitted: Tagging, articles: int) -> dict[str, Any]:
    classifier = fitted.classifier
    found = {name: value for name, value in classifier.fitted.items() if np.isscalar(value)}
    return {
        "classifier": classifier.name,
        "seed": classifier.seed,
        **classifier.settings,
        **found,
        "threshold": fitted.assignment.common,
        "calibration_slope": fitted.calibration.slope,
        "calibration_intercept": fitted.calibration.intercept,
        "train_articles": articles,
    }
