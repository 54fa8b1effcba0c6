from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tagsage.errors import TagsageError
from tagsage.learn import candidate as candidate_module
from tagsage.learn.candidate import (
    FittedCandidate,
    fit_candidate,
    refit_candidate,
    tuning_split,
)
from tagsage.learn.classifiers import CLASSIFIERS, make_classifier
from tagsage.learn.classifiers.boosting import Boosting
from tagsage.learn.classifiers.mlp import Mlp
from tagsage.learn.features import FeatureMatrix
from tagsage.learn.labels import Labels
from tagsage.learn.predictions import top_tags
from tagsage.learn.split import stratified_split
from tagsage.learn.thresholds import global_threshold

TAGS = list("abcde")


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    small = {"hidden": 16, "dropout": 0.2, "batch_size": 32, "learning_rate": 1e-2}
    monkeypatch.setattr(Mlp, "defaults", {**Mlp.defaults, **small})
    few = {"max_epochs": 20, "l2": 1.0, "max_features": 1.0}
    monkeypatch.setattr(Boosting, "defaults", {**Boosting.defaults, **few})


@pytest.fixture(params=CLASSIFIERS)
def name(request) -> str:
    return request.param


def labels_of(data) -> Labels:
    order = np.argsort(data.rows)
    split = stratified_split(data.Y[order], test_share=0.2, seed=0)
    return Labels(TAGS, data.rows[order], data.Y[order], split.train, split.test)


def fit(data, labels: Labels, name: str, seed: int = 1) -> FittedCandidate:
    return fit_candidate(
        data.X, labels.Y_train, labels.train_rows, tags=labels.tags, classifier=name, seed=seed
    )


def assert_same_model(one: FittedCandidate, other: FittedCandidate) -> None:
    assert one.threshold == other.threshold
    assert one.tags == other.tags
    arrays, others = one.classifier.arrays, other.classifier.arrays
    assert all(np.array_equal(arrays[key], others[key]) for key in arrays)


def test_flipping_every_test_label_changes_neither_model_nor_threshold(name, data):
    labels = labels_of(data)
    flipped = labels.Y.copy()
    flipped[labels.test] ^= True
    turned = Labels(labels.tags, labels.rows, flipped, labels.train, labels.test)
    before, after = fit(data, labels, name), fit(data, turned, name)
    assert_same_model(before, after)
    good = before.evaluate(data.X, labels.Y_test, labels.test_rows)
    bad = after.evaluate(data.X, turned.Y_test, turned.test_rows)
    assert good.overall["micro_f1"] > bad.overall["micro_f1"]


def test_candidate_tunes_on_a_held_out_part_and_fits_on_all_training_articles(name, data):
    labels = labels_of(data)
    fitted = fit(data, labels, name)
    inner = stratified_split(labels.Y_train, test_share=0.15, seed=1)
    rows, Y = labels.train_rows, labels.Y_train
    tuned = make_classifier(name, seed=1)
    held_out = candidate_module.Validation(rows[inner.test], Y[inner.test])
    tuned.fit(data.X, rows[inner.train], Y[inner.train], validation=held_out)
    assert fitted.threshold == global_threshold(
        tuned.predict_proba(data.X, held_out.rows), held_out.Y
    )
    if name in {"mlp", "boosting"}:
        assert fitted.summary["epochs"] == tuned.fitted["epochs"]
    assert fitted.summary["train_articles"] == len(labels.train)
    assert fitted.summary["classifier"] == name
    assert 0 < fitted.summary["tune_seconds"] < fitted.summary["fit_seconds"]


def test_candidate_is_tuned_on_the_features_for_tuning_and_fitted_on_the_others(name, data):
    labels = labels_of(data)
    noise = np.random.default_rng(3).normal(size=data.X.shape).astype(np.float32)
    columns = [noise[:, : data.X.block_widths[0]], noise[:, data.X.block_widths[0] :]]
    options = {"tags": TAGS, "classifier": name, "seed": 1}
    arguments = (labels.Y_train, labels.train_rows)
    plain = fit(data, labels, name)
    tuned_on_noise = fit_candidate(data.X, *arguments, tuning=FeatureMatrix(columns), **options)
    fitted_on_noise = fit_candidate(FeatureMatrix(columns), *arguments, tuning=data.X, **options)
    assert tuned_on_noise.threshold < plain.threshold
    assert fitted_on_noise.threshold == plain.threshold
    good = tuned_on_noise.evaluate(data.X, labels.Y_test, labels.test_rows)
    bad = fitted_on_noise.evaluate(FeatureMatrix(columns), labels.Y_test, labels.test_rows)
    assert good.overall["lrap"] > bad.overall["lrap"]


def test_tuning_splits_off_15_percent_unless_there_are_too_few_articles(data):
    inner = tuning_split(data.Y, seed=1)
    assert len(inner.test) == pytest.approx(0.15 * len(data.Y), abs=10)
    assert len(inner.train) + len(inner.test) == len(data.Y)
    assert tuning_split(data.Y[:19], seed=1) is None


def test_candidate_scores_itself_by_tag_and_overall(name, data):
    labels = labels_of(data)
    scores = fit(data, labels, name).evaluate(data.X, labels.Y_test, labels.test_rows)
    assert scores.overall["micro_f1"] > 0.6
    assert scores.overall["test_articles"] == len(labels.test)
    assert 0 < scores.overall["threshold"] <= 1
    assert scores.per_tag["tag"].tolist() == TAGS
    assert scores.per_tag["support"].tolist() == labels.Y_test.sum(axis=0).tolist()


def test_candidate_read_again_is_the_same(name, data, tmp_path):
    fitted = fit(data, labels_of(data), name)
    fitted.save(tmp_path / "candidate")
    again = FittedCandidate.load(tmp_path / "candidate")
    assert_same_model(fitted, again)
    assert again.summary == fitted.summary
    with pytest.raises(TagsageError, match=r"holds no fitted candidate; fit one again\.$"):
        FittedCandidate.load(tmp_path)


def test_refit_takes_over_threshold_and_epochs(name, data):
    labels = labels_of(data)
    fitted = fit(data, labels, name)
    again = refit_candidate(data.X, labels.Y, labels.rows, like=fitted)
    assert again.threshold == fitted.threshold
    assert again.classifier.settings == fitted.classifier.settings
    assert again.summary["train_articles"] == len(labels.rows)
    repeated = refit_candidate(data.X, labels.Y, labels.rows, like=fitted)
    assert_same_model(again, repeated)


def test_top_tags_block_by_block_are_those_of_all_at_once(data, monkeypatch):
    monkeypatch.setattr(candidate_module, "PREDICT_ROWS", 7)
    fitted = fit(data, labels_of(data), "ovr_logistic")
    rows = np.array([319, 4, 4, *range(100, 130)])
    blocks = list(fitted.top_tags(data.X, rows, k=3))
    assert len(blocks) == 5
    P = fitted.predict_proba(data.X, rows)
    whole = top_tags(P, threshold=fitted.threshold, tags=TAGS, k=3, rows=rows)
    pd.testing.assert_frame_equal(
        pd.concat(blocks, ignore_index=True), whole, check_exact=False, rtol=1e-5
    )


def test_candidate_of_very_few_articles_takes_a_half_as_threshold(name, data):
    fitted = fit_candidate(data.X, data.Y[:6], data.rows[:6], tags=TAGS, classifier=name, seed=0)
    assert fitted.threshold == pytest.approx(0.5)


@pytest.mark.parametrize("value", [True, False])
def test_candidate_of_a_tag_that_all_or_no_training_articles_have(name, data, value):
    Y = np.full((300, 1), value)
    fitted = fit_candidate(data.X, Y, data.rows, tags=["a"], classifier=name, seed=0)
    assert (fitted.predict_proba(data.X, data.rows) == value).all()
    scores = fitted.evaluate(data.X, Y, data.rows)
    assert scores.overall["accuracy"] == 1
