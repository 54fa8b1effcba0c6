from __future__ import annotations

import json

import numpy as np
import pytest

from tagsage.evaluate.metrics import evaluate
from tagsage.features.matrix import FeatureMatrix
from tagsage.learn.classifiers import Range, Validation, make_classifier
from tagsage.learn.classifiers.mlknn import MlKnn
from tagsage.learn.classifiers.mlp import Mlp
from tagsage.learn.fitting import fit_candidate, tuning_split
from tagsage.learn.hyperparameter_search import search_hyperparameters
from tagsage.learn.thresholds import best_micro_f1

TAGS = list("abcde")


pytestmark = pytest.mark.usefixtures("small_models")


def search(data, classifier="ovr_logistic", *, trials, seed=1):
    inner = tuning_split(data.Y, seed=1)
    return search_hyperparameters(
        data.X,
        data.Y,
        data.rows,
        classifier=classifier,
        inner=inner,
        seed=seed,
        trials=trials,
    )


def without_time(trials):
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in trials]


def best_of(trials):
    return trials[int(np.argmax([trial["micro_f1"] for trial in trials]))]


def test_search_tries_the_defaults_first_keeps_the_best_and_prints_nothing(name, data, capfd):
    best, trials = search(data, name, trials=2)
    assert capfd.readouterr() == ("", "")
    space, defaults = type(best).space, type(best).defaults
    for setting, values in space.items():
        assert trials[0][setting] == defaults[setting]
        assert best.settings[setting] == best_of(trials)[setting]
        assert all(values.low <= trial[setting] <= values.high for trial in trials)
    assert json.loads(json.dumps(trials)) == trials


def test_search_judges_a_trial_by_micro_f1_on_the_held_out_articles(data):
    _, trials = search(data, "mlp", trials=2)
    inner = tuning_split(data.Y, seed=1)
    held_out = Validation(data.rows[inner.test], data.Y[inner.test])
    for trial in trials:
        settings = {name: trial[name] for name in Mlp.space}
        fitted = make_classifier("mlp", seed=1, **settings)
        fitted.fit(data.X, data.rows[inner.train], data.Y[inner.train], validation=held_out)
        P = fitted.predict_proba(data.X, held_out.rows)
        threshold, _ = best_micro_f1(P, held_out.Y)
        assert trial["threshold"] == threshold
        assert (
            trial["micro_f1"]
            == evaluate(P, held_out.Y, np.float32(threshold) <= P, TAGS).overall["micro_f1"]
        )
        assert trial["epochs"] == fitted.fitted["epochs"]


def test_search_with_the_same_seed_is_the_same_and_with_another_it_is_not(data):
    # More trials than are drawn at random.
    first, again, other = (
        without_time(search(data, "mlknn", trials=8, seed=seed)[1]) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_search_finds_a_setting_that_is_better_than_a_bad_default(data, monkeypatch):
    monkeypatch.setattr(MlKnn, "defaults", {**MlKnn.defaults, "k": 200})
    monkeypatch.setattr(MlKnn, "space", {"k": Range(1, 200, log=True)})
    best, trials = search(data, "mlknn", trials=8)
    assert best.settings["k"] < 100
    assert best_of(trials)["micro_f1"] > trials[0]["micro_f1"]


def test_candidate_takes_what_the_search_found(data):
    options = {"tags": TAGS, "classifier": "mlknn", "seed": 1}
    found = fit_candidate(data.X, data.Y, data.rows, search_trials=4, **options)
    best, trials = search(data, "mlknn", trials=4)
    assert without_time(found.summary["search"]) == without_time(trials)
    assert found.main.classifier.settings == best.settings
    plain = make_classifier("mlknn", seed=1, **best.settings).fit(data.X, data.rows, data.Y)
    arrays = found.main.classifier.arrays
    assert all(np.array_equal(plain.arrays[key], arrays[key]) for key in arrays)


def test_candidate_searches_on_the_features_for_tuning(data):
    noise = np.random.default_rng(3).normal(size=data.X.shape).astype(np.float32)
    X = FeatureMatrix(np.split(noise, [6], axis=1))
    options = {"tags": TAGS, "classifier": "mlknn", "seed": 1, "search_trials": 2}
    on_noise = fit_candidate(data.X, data.Y, data.rows, tuning=X, **options)
    plain = fit_candidate(data.X, data.Y, data.rows, **options)
    for bad, good in zip(on_noise.summary["search"], plain.summary["search"], strict=True):
        assert bad["micro_f1"] < good["micro_f1"]


def test_candidate_without_a_search_or_with_too_few_articles_tells_of_none(data):
    options = {"tags": TAGS, "classifier": "ovr_logistic", "seed": 1}
    assert "search" not in fit_candidate(data.X, data.Y, data.rows, **options).summary
    few = fit_candidate(data.X, data.Y[:6], data.rows[:6], search_trials=3, **options)
    assert "search" not in few.summary
