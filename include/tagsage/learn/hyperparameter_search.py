"""A search for hyper-parameters inside the training part."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tagsage.features.matrix import BoolArray, FeatureMatrix, IndexArray
from tagsage.learn.classifiers import Classifier, Range, Validation, classifier_class
from tagsage.learn.split import Split
from tagsage.learn.thresholds import best_micro_f1
from tagsage.progress import track

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# Trials drawn at random, the defaults among them, before the sampler goes by what it has seen.
RANDOM_TRIALS = 5


def search_hyperparameters(
    X: FeatureMatrix,
    Y: BoolArray,
    rows: IndexArray,
    *,
    classifier: str,
    inner: Split,
    seed: int,
    trials: int,
) -> tuple[Classifier, list[dict[str, float]]]:
    """Try hyper-parameters and keep the first with the best micro-F1 at its best common threshold.

    The first trial is the classifier's defaults; others are by a tree-structured Parzen estimator
    (Bergstra et al.: Algorithms for hyper-parameter optimization, 2011; Optuna's ``TPESampler``).
    The winner's score is too good to be reported: it is the best of several on these articles.
    `inner` has positions in `rows`: `train` is fitted, `test` scores and decides about early
    stopping. Returns the best trial's classifier, and numbers about every trial.
    """
    # Here, not above: it takes long, and most runs search nothing.
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind = classifier_class(classifier)
    space = {name: _distribution(values) for name, values in kind.space.items()}
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({name: kind.defaults[name] for name in space})
    held_out = Validation(rows[inner.test], Y[inner.test])
    best: Classifier
    best_f1 = -1.0
    done: list[dict[str, float]] = []
    for _ in track(range(trials), f"searching settings of {classifier}: trials"):
        began = time.monotonic()
        trial = study.ask(space)
        fitted = kind(seed=seed, **trial.params)
        fitted.fit(X, rows[inner.train], Y[inner.train], validation=held_out)
        threshold, f1 = best_micro_f1(fitted.predict_proba(X, held_out.rows), held_out.Y)
        study.tell(trial, f1)
        done.append({
            "micro_f1": f1,
            "threshold": threshold,
            "seconds": time.monotonic() - began,
            **trial.params,
            **{name: fitted.fitted[name] for name in ("epochs",) if name in fitted.fitted},
        })
        if f1 > best_f1:
            best_f1, best = f1, fitted
    return best, done


def _distribution(values: Range) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    if isinstance(values.low, int) and isinstance(values.high, int):
        return IntDistribution(values.low, values.high, log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)
