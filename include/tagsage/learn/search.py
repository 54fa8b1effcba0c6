"""Hyper-parameters tried out inside the training part, within a budget."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tagsage.features.matrix import FeatureMatrix, FloatArray, IndexArray
from tagsage.learn.classifiers import Classifier, Validation, make_classifier
from tagsage.learn.classifiers.base import Range
from tagsage.learn.classifiers.registry import classifier_class
from tagsage.learn.split import Split
from tagsage.learn.targets import BoolArray
from tagsage.learn.thresholds import global_threshold
from tagsage.progress import track

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# Trials drawn at random, the defaults among them, before the sampler goes by what it has seen.
RANDOM_TRIALS = 5


@dataclass(frozen=True)
class Searched:
    """What a search found.

    Attributes
    ----------
    settings : dict
        The best trial's hyper-parameters: those of the classifier's `space`.
    trials : list of dict
        One a trial, in the order they were made, numbers only: ``micro_f1``, ``threshold``,
        ``seconds``, the hyper-parameters, and ``epochs`` where the fit chose them.
    tuned : Classifier
        The best trial's classifier, fitted on `inner.train`.
    """

    settings: dict[str, Any]
    trials: list[dict[str, float]]
    tuned: Classifier


def search_settings(
    X: FeatureMatrix,
    Y: BoolArray,
    rows: IndexArray,
    *,
    classifier: str,
    inner: Split,
    seed: int,
    trials: int,
    max_seconds: float | None = None,
) -> Searched:
    """Try hyper-parameters and keep the best.

    Each trial is fitted on the inner training part and judged on the inner test part: by micro-F1
    at the best threshold for all tags. The first trial is the classifier's defaults, so what is
    found is at least as good there; among equals the first is taken. The others are chosen by a
    tree-structured Parzen estimator [1]_ (Optuna's ``TPESampler``), the first few of them at
    random.

    The winner is the best of several on these articles, so its score there is a little too good:
    it is there to choose by, not to report.

    Parameters
    ----------
    X : FeatureMatrix, shape [n, d]
        Features of all articles, those for tuning where these differ; only `rows` are read.
    Y : bool array, shape [m, L]
        The tags of the training articles, aligned with `rows`.
    rows : integer array, shape [m]
        Article indices of the training part.
    classifier : str
        Its name.
    inner : Split
        Positions in `rows`: `train` is fitted, `test` judges and, for a classifier that stops
        early, tells when.
    seed : int
        Seed of the classifiers and of the choice. Same data, same seed: same result, unless time
        ends the search.
    trials : int
        Most trials, at least 1.
    max_seconds : float, optional
        No trial but the first begins after this time; one that has begun is finished.

    Returns
    -------
    Searched
        The best settings, all trials, the best fit.

    Raises
    ------
    ValueError
        When `trials` is less than 1.

    References
    ----------
    .. [1] J. Bergstra, R. Bardenet, Y. Bengio, B. Kégl: Algorithms for hyper-parameter
       optimization. NIPS 2011.
    """
    if trials < 1:
        raise ValueError(f"{trials=} must be at least 1")
    # Here, not above: it takes long, and most runs search nothing.
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind = classifier_class(classifier)
    space = {name: _distribution(values) for name, values in kind.space.items()}
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({name: kind.defaults[name] for name in space})
    held_out = Validation(rows[inner.test], Y[inner.test])
    settings: dict[str, Any] = {}
    tuned = make_classifier(classifier, seed=seed)
    told: list[dict[str, float]] = []
    best = -1.0  # below any score: the first trial is kept at first
    started = time.monotonic()
    for _ in track(range(trials), f"searching settings of {classifier}: trials"):
        began = time.monotonic()
        if told and max_seconds is not None and began - started > max_seconds:
            break
        trial = study.ask(space)
        fitted = make_classifier(classifier, seed=seed, **trial.params)
        fitted.fit(X, rows[inner.train], Y[inner.train], validation=held_out)
        P = fitted.predict_proba(X, held_out.rows)
        threshold = global_threshold(P, held_out.Y)
        f1 = micro_f1(P, held_out.Y, threshold)
        study.tell(trial, f1)
        told.append({
            "micro_f1": f1,
            "threshold": threshold,
            "seconds": time.monotonic() - began,
            **trial.params,
            **{name: fitted.fitted[name] for name in ("epochs",) if name in fitted.fitted},
        })
        if f1 > best:
            best, settings, tuned = f1, dict(trial.params), fitted
    return Searched(settings, told, tuned)


def micro_f1(P: FloatArray, Y: BoolArray, threshold: float) -> float:
    """Return micro-F1 as :func:`tagsage.evaluate.metrics.evaluate` has it, and nothing else."""
    # In float32 as the probabilities are: the score that is the threshold must reach it.
    assigned = np.float32(threshold) <= P
    hits, pairs = int((assigned & Y).sum()), int(assigned.sum()) + int(Y.sum())
    return 2 * hits / max(pairs, 1)


def _distribution(values: Range) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    if isinstance(values.low, int) and isinstance(values.high, int):
        return IntDistribution(values.low, values.high, log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)
