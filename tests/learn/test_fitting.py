from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tagsage.errors import TagsageError
from tagsage.evaluate.metrics import Scores, evaluate
from tagsage.features.matrix import FeatureMatrix
from tagsage.learn.calibration import fit_calibration
from tagsage.learn.candidate import FittedCandidate
from tagsage.learn.classifiers import Validation, make_classifier
from tagsage.learn.fitting import fit_candidate, refit_candidate, tuning_split
from tagsage.learn.split import stratified_split
from tagsage.learn.thresholds import best_micro_f1, tag_thresholds
from tests.learn.conftest import TAGS, assert_same_model, fit, labels_of, synthetic

pytestmark = pytest.mark.usefixtures("small_models")

# One that takes sparse rows, and one that stops early.
TWO = ["linear", "mlp"]


@cache
def fitted_on(name: str) -> FittedCandidate:
    """Fit a candidate on the usual data; nobody changes it."""
    data = synthetic()
    return fit(data, labels_of(data), name)


def score(fitted: FittedCandidate, X: FeatureMatrix, Y: np.ndarray, rows: np.ndarray) -> Scores:
    P, assigned = fitted.predict(X, rows)
    return evaluate(P, Y, assigned, fitted.tags)


@pytest.mark.parametrize("name", TWO)
def test_flipping_every_test_label_changes_neither_model_nor_threshold(name, data):
    labels = labels_of(data)
    flipped = labels.Y.copy()
    flipped[labels.test] ^= True
    turned = replace(labels, Y=flipped)
    before, after = fitted_on(name), fit(data, turned, name)
    assert_same_model(before, after, data.X)
    good = score(before, data.X, labels.Y_test, labels.test_rows)
    bad = score(after, data.X, turned.Y_test, turned.test_rows)
    assert good.overall["micro_f1"] > bad.overall["micro_f1"]


@pytest.mark.parametrize("name", TWO)
def test_candidate_tunes_on_a_held_out_part_and_fits_on_all_training_articles(name, data):
    labels, fitted = labels_of(data), fitted_on(name)
    inner = stratified_split(labels.Y_train, test_share=0.15, seed=1)
    rows, Y = labels.train_rows, labels.Y_train
    tuned = make_classifier(name, seed=1)
    held_out = Validation(rows[inner.test], Y[inner.test])
    tuned.fit(data.X, rows[inner.train], Y[inner.train], validation=held_out)
    raw = tuned.predict_proba(data.X, held_out.rows)
    expected = fit_calibration(raw, held_out.Y)
    assert fitted.main.calibration.to_json() == expected.to_json()
    calibrated = fitted.main.calibration.apply(raw)
    common, _ = best_micro_f1(calibrated, held_out.Y)
    assert fitted.main.thresholds.common == common
    assert np.array_equal(fitted.main.thresholds.per_tag, tag_thresholds(calibrated, common))
    if name == "mlp":
        assert fitted.summary["epochs"] == tuned.fitted["epochs"]
    assert fitted.summary["train_articles"] == len(labels.train)
    assert fitted.summary["classifier"] == name
    assert 0 < fitted.summary["tune_seconds"] < fitted.summary["fit_seconds"]


@pytest.mark.parametrize("name", TWO)
def test_candidate_is_tuned_on_the_features_for_tuning_and_fitted_on_the_others(name, data):
    labels = labels_of(data)
    noise = np.random.default_rng(3).normal(size=data.X.shape).astype(np.float32)
    columns = [noise[:, : data.X.block_widths[0]], noise[:, data.X.block_widths[0] :]]
    options = {"tags": TAGS, "classifier": name, "seed": 1}
    arguments = (labels.Y_train, labels.train_rows)
    plain = fitted_on(name)
    on_noise = fit_candidate(FeatureMatrix(columns), *arguments, **options)
    mixed = fit_candidate(data.X, *arguments, tuning=FeatureMatrix(columns), **options)
    assert mixed.main.to_json() == on_noise.main.to_json() != plain.main.to_json()
    good, bad = (
        score(fitted, X, labels.Y_test, labels.test_rows)
        for fitted, X in ((mixed, data.X), (on_noise, FeatureMatrix(columns)))
    )
    assert good.overall["lrap"] > bad.overall["lrap"]


def test_tuning_splits_off_15_percent_unless_there_are_too_few_articles(data):
    inner = tuning_split(data.Y, seed=1)
    assert len(inner.test) == pytest.approx(0.15 * len(data.Y), abs=10)
    assert len(inner.train) + len(inner.test) == len(data.Y)
    assert tuning_split(data.Y[:19], seed=1) is None


@pytest.mark.parametrize("name", TWO)
def test_refit_takes_over_threshold_and_epochs(name, data):
    labels, fitted = labels_of(data), fitted_on(name)
    again = refit_candidate(data.X, labels.Y, labels.rows, like=fitted)
    assert again.main.to_json() == fitted.main.to_json()
    assert again.main.classifier.settings == fitted.main.classifier.settings
    assert again.summary["train_articles"] == len(labels.rows)


@pytest.mark.parametrize("name", TWO)
def test_what_an_earlier_candidate_chose_is_taken_over_and_only_the_weights_are_new(name, data):
    labels, fitted = labels_of(data), fitted_on(name)
    fewer = labels.train_rows[:-30]
    options = {"tags": TAGS, "classifier": name, "seed": 1}
    again = fit_candidate(data.X, labels.Y_train[:-30], fewer, like=fitted, **options)
    assert again.main.to_json() == fitted.main.to_json()
    assert again.main.classifier.settings == fitted.main.classifier.settings
    by_refit = refit_candidate(data.X, labels.Y_train[:-30], fewer, like=fitted)
    rows = labels.test_rows
    expected = by_refit.predict_proba(data.X, rows)
    assert np.array_equal(again.predict_proba(data.X, rows), expected)
    assert not np.array_equal(expected, fitted.predict_proba(data.X, rows))


@pytest.mark.parametrize("name", TWO)
def test_candidate_of_very_few_articles_takes_a_half_as_threshold(name, data):
    fitted = fit_candidate(data.X, data.Y[:6], data.rows[:6], tags=TAGS, classifier=name, seed=0)
    assert fitted.main.thresholds.common == pytest.approx(0.5)


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("value", [True, False])
def test_candidate_of_a_tag_that_all_or_no_training_articles_have(name, data, value):
    Y = np.full((300, 1), value)
    fitted = fit_candidate(data.X, Y, data.rows, tags=["a"], classifier=name, seed=0)
    assert (fitted.predict_proba(data.X, data.rows) == value).all()
    assert (fitted.predict(data.X, data.rows).assigned == value).all()


def with_lists(data, in_list: np.ndarray) -> FeatureMatrix:
    """Text that says little, lists that say the rest, of the articles that are in one."""
    text, rest = data.X.blocks
    return FeatureMatrix(
        [text, np.where(in_list[:, None], rest, 0)], kinds=["text", "lists"], in_list=in_list
    )


@pytest.mark.parametrize("name", TWO)
def test_article_in_no_list_gets_what_the_candidate_on_text_says(name, data, tmp_path):
    labels = labels_of(data)
    in_list = np.arange(len(data.X)) % 3 > 0
    options = {"tags": TAGS, "classifier": name, "seed": 1}
    arguments = (labels.Y_train, labels.train_rows)
    X = with_lists(data, in_list)
    fitted = fit_candidate(X, *arguments, **options)
    on_text = fit_candidate(FeatureMatrix(data.X.blocks[:1]), *arguments, **options)
    rows = labels.test_rows
    P, assigned = fitted.predict(X, rows)
    cold = ~in_list[rows]
    # The same model as the candidate on text, to the last digit.
    expected, tags = on_text.predict(FeatureMatrix(data.X.blocks[:1]), rows)
    assert np.allclose(P[cold], expected[cold], rtol=1e-5)
    assert np.array_equal(assigned[cold], tags[cold])
    of_main = fitted.main.predict(X, rows[~cold])
    assert np.allclose(P[~cold], of_main.probabilities, rtol=1e-5)
    assert np.array_equal(assigned[~cold], of_main.assigned)
    assert np.array_equal(assigned, fitted.thresholds(X, rows) <= P)
    # Taken for being in no list, all of them do.
    nowhere = FeatureMatrix(X.blocks, kinds=X.kinds, in_list=np.zeros(len(X), dtype=bool))
    assert np.allclose(fitted.predict_proba(nowhere, rows), expected, rtol=1e-5)
    fitted.save(tmp_path / "candidate")
    again = FittedCandidate.load(tmp_path / "candidate")
    assert_same_model(fitted, again, X)
    refitted = refit_candidate(X, labels.Y, labels.rows, like=fitted)
    assert fitted.fallback is not None
    assert refitted.fallback is not None
    assert refitted.fallback.to_json() == fitted.fallback.to_json()
    assert refitted.fallback.classifier.settings == fitted.fallback.classifier.settings


@pytest.mark.parametrize("name", TWO)
def test_candidate_read_again_is_the_same(name, data, tmp_path):
    fitted = fitted_on(name)
    fitted.save(tmp_path / "candidate")
    again = FittedCandidate.load(tmp_path / "candidate")
    assert_same_model(fitted, again, data.X)
    assert again.summary == fitted.summary
    with pytest.raises(TagsageError, match="holds no fitted candidate"):
        FittedCandidate.load(tmp_path)


def test_candidate_of_lists_alone_or_of_text_alone_has_no_fallback(data):
    labels = labels_of(data)
    options = {"tags": TAGS, "classifier": "ovr_logistic", "seed": 1}
    for kinds in (["lists", "lists"], ["text", "authors"]):
        X = FeatureMatrix(data.X.blocks, kinds=kinds, in_list=np.zeros(len(data.X), dtype=bool))
        fitted = fit_candidate(X, labels.Y_train, labels.train_rows, **options)
        assert fitted.fallback is None
        P = fitted.predict_proba(X, labels.test_rows)
        assert np.array_equal(P, fitted.main.predict(X, labels.test_rows).probabilities)
