"""What every classifier must do, whatever its method."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from tagsage.errors import TagsageError
from tagsage.evaluate.metrics import evaluate
from tagsage.features.matrix import FeatureMatrix
from tagsage.learn.classifiers import (
    Classifier,
    Validation,
    classifier_class,
    load_classifier,
    make_classifier,
)
from tests.learn.conftest import SMALL, synthetic


def make(name: str, seed: int = 0, **changes) -> Classifier:
    return make_classifier(name, seed=seed, **{**SMALL.get(name, {}), **changes})


@cache
def whole(name: str) -> Classifier:
    """Fit a classifier on all the articles; nobody changes it."""
    data = synthetic()
    return make(name, seed=3).fit(data.X, data.rows, data.Y)


def same(one: Classifier, other: Classifier, X: FeatureMatrix) -> bool:
    rows = np.arange(len(X))
    return np.array_equal(one.predict_proba(X, rows), other.predict_proba(X, rows))


def test_what_a_search_may_change_has_its_default_within_the_range(name):
    kind = classifier_class(name)
    assert kind.space
    for setting, values in kind.space.items():
        assert values.low < values.high
        assert values.low <= kind.defaults[setting] <= values.high
        assert isinstance(kind.defaults[setting], type(values.low))


def test_classifier_learns_and_keeps_the_order_of_the_tags(name, data):
    train, test = np.arange(200), np.arange(200, 300)
    fitted = make(name).fit(data.X, data.rows[train], data.Y[train])
    P = fitted.predict_proba(data.X, data.rows[test])
    assert P.dtype == np.float32
    assert P.shape == (100, 5)
    assert P.min() >= 0
    assert P.max() <= 1
    scores = evaluate(P, data.Y[test], P >= 0.5, list("abcde"))
    # Always guessing each tag's share gives average precisions of about that share, .35.
    assert (scores.per_tag["average_precision"] > 0.6).all()
    reordered = make(name).fit(data.X, data.rows[train], data.Y[train][:, ::-1])
    # Not the same numbers (the networks start differently), but the same tags.
    turned = reordered.predict_proba(data.X, data.rows[test])[:, ::-1]
    assert np.abs(turned - P).mean() < 0.15


def test_classifier_reads_only_the_rows_it_is_given(name, data):
    features = data.X.rows(np.arange(len(data.X)))
    features[np.setdiff1d(np.arange(len(data.X)), data.rows)] = np.nan
    unseen = FeatureMatrix(np.split(features, [6], axis=1))
    other = make(name, seed=3).fit(unseen, data.rows, data.Y)
    assert same(whole(name), other, data.X)


PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from tagsage.features.matrix import FeatureMatrix
from tagsage.learn.classifiers import CLASSIFIERS, make_classifier
small, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
X = FeatureMatrix([np.load(folder / "left.npy"), np.load(folder / "right.npy")])
for name in CLASSIFIERS:
    fitted = make_classifier(name, seed=3, **small.get(name, {}))
    fitted.fit(X, np.load(folder / "rows.npy"), np.load(folder / "Y.npy"))
    fitted.save(folder / name)
"""


@pytest.fixture(scope="module")
def fitted_elsewhere(data, tmp_path_factory):
    """A folder with each classifier as another process fitted and saved it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    left, right = data.X.blocks
    for file, array in (("left", left), ("right", right), ("rows", data.rows), ("Y", data.Y)):
        np.save(folder / f"{file}.npy", array)
    subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(SMALL), str(folder)], check=True)
    return folder


def test_classifier_fitted_in_another_process_is_the_same_model(name, data, fitted_elsewhere):
    there = load_classifier(fitted_elsewhere / name)
    assert there.seed == 3
    assert there.settings == whole(name).settings
    assert there.fitted == whole(name).fitted
    assert same(whole(name), there, data.X)
    files = (file for file in (fitted_elsewhere / name).rglob("*") if file.is_file())
    suffixes = {file.suffix for file in files}
    assert suffixes <= {".npy", ".json", ".skops"}


def test_constant_tags_have_probability_one_and_zero_and_need_no_model(name, data, tmp_path):
    Y = data.Y.copy()
    Y[:, 1], Y[:, 3] = True, False
    P = make(name).fit(data.X, data.rows, Y).predict_proba(data.X, data.rows)
    assert (P[:, 1] == 1).all()
    assert (P[:, 3] == 0).all()
    others = [0, 2, 4]
    alone = make(name).fit(data.X, data.rows, Y[:, others])
    assert np.array_equal(P[:, others], alone.predict_proba(data.X, data.rows))
    make(name).fit(data.X, data.rows, Y[:, [1, 3]]).save(tmp_path)
    P = load_classifier(tmp_path).predict_proba(data.X, np.array([0, 5]))
    assert P.tolist() == [[1, 0], [1, 0]]


def test_very_few_rows_and_columns_without_spread_are_enough(name):
    X = FeatureMatrix([np.array([[0, 7], [1, 7], [2, 7]], dtype=np.float32)])
    Y = np.array([[True, False], [False, True], [False, True]])
    P = make(name).fit(X, np.arange(3), Y).predict_proba(X, np.arange(3))
    assert np.isfinite(P).all()


def test_an_article_has_the_same_probabilities_alone_and_in_any_batch_and_order(name, data):
    fitted = whole(name)
    n = len(data.X)
    together = fitted.predict_proba(data.X, np.arange(n))
    random = np.random.default_rng(0)
    batches = [np.array([row]) for row in range(0, n, 41)]
    batches += [random.permutation(n), random.permutation(n)[:37], np.array([5, 5, 200])]
    batches.append(np.zeros(0, dtype=np.int64))
    for rows in batches:
        assert np.array_equal(fitted.predict_proba(data.X, rows), together[rows])
        # Asked about by themselves: a matrix that holds no others.
        some = FeatureMatrix([block[rows] for block in data.X.blocks], kinds=data.X.kinds)
        assert np.array_equal(fitted.predict_proba(some, np.arange(len(rows))), together[rows])


def test_unknown_names_are_refused(name, tmp_path):
    with pytest.raises(TagsageError, match="no classifier 'svm'; choose one of linear"):
        make_classifier("svm", seed=0)
    with pytest.raises(TypeError, match=rf"{name} has no setting \['depth'\]"):
        make_classifier(name, seed=0, depth=3)
    with pytest.raises(TagsageError, match="holds no saved classifier"):
        load_classifier(tmp_path)


def test_mlp_stops_early_and_takes_the_best_epoch(data):
    train, held_out = np.arange(220), np.arange(220, 300)
    validation = Validation(data.rows[held_out], data.Y[held_out])
    fitted = make("mlp", max_epochs=200, dropout=0.0, weight_decay=0.0)
    fitted.fit(data.X, data.rows[train], data.Y[train], validation=validation)
    losses = fitted.fitted["validation_losses"]
    best = fitted.fitted["epochs"]
    assert losses[best - 1] == min(losses)
    assert len(losses) == best + fitted.settings["patience"] < 200
    P = fitted.predict_proba(data.X, validation.rows).astype(float)
    loss = -np.log(np.where(validation.Y, P, 1 - P)).sum() / len(held_out)
    assert loss == pytest.approx(min(losses), rel=1e-4)


def test_mlp_reads_the_direction_of_each_blocks_rows_and_not_their_length():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 60, 5)).astype(np.float32)
    two[3] = 0
    Y = one[:, :2] > 0
    rows = np.arange(60)
    longer = two * rng.uniform(0.5, 9, size=(60, 1)).astype(np.float32)
    first = make_classifier("mlp", seed=1, epochs=2).fit(FeatureMatrix([one, two]), rows, Y)
    P = first.predict_proba(FeatureMatrix([one, two]), rows)
    again = first.predict_proba(FeatureMatrix([one, longer]), rows)
    np.testing.assert_allclose(again, P, atol=1e-5)
    assert np.isfinite(P).all()


def test_a_block_that_says_an_articles_own_tags_upside_down_is_not_believed():
    """The labels of one list that holds all articles, each without its own: all but constant."""
    random = np.random.default_rng(0)
    direction = random.normal(size=(6, 4))
    text = random.normal(size=(2400, 6)).astype(np.float32)
    Y = text @ direction + random.normal(size=(2400, 4)) > 1
    train, test = np.arange(2000), np.arange(2000, 2400)
    totals = Y[train].sum(axis=0)
    shares = np.tile(totals / 2000, (2400, 1))
    shares[train] = (totals - Y[train]) / 1999
    shares = shares.astype(np.float32)
    scores = []
    for X in (FeatureMatrix([text]), FeatureMatrix([text, shares], kinds=["text", "labels"])):
        P = make("mlp").fit(X, train, Y[train]).predict_proba(X, test)
        scores.append(evaluate(P, Y[test], P >= 0.5, list("abcd")).overall["micro_f1"])
    assert scores[0] > 0.5
    assert scores[1] > scores[0] - 0.05


def test_ovr_logistic_is_scikit_learns_one_vs_rest(data):
    ours = make("ovr_logistic").fit(data.X, data.rows, data.Y)
    theirs = OneVsRestClassifier(LogisticRegression(max_iter=1000))
    theirs.fit(data.X.rows(data.rows), data.Y.astype(int))
    expected = theirs.predict_proba(data.X.rows(np.arange(320)))
    assert ours.predict_proba(data.X, np.arange(320)) == pytest.approx(expected, abs=1e-5)


def test_chain_begins_with_the_rarest_tag_and_learns_what_it_says_of_others():
    rng = np.random.default_rng(0)
    X = FeatureMatrix([rng.normal(size=(200, 3)).astype(np.float32)])
    rare = np.arange(200) < 80
    rows = rng.permutation(200)
    fitted = make("classifier_chain").fit(X, rows, np.stack([~rare, rare], axis=1))
    assert list(fitted.model.order_) == [1, 0]
    # The features say nothing; what a tag says of the other is passed on as a probability.
    common = fitted.model.estimators_[1]
    assert common.coef_[0, -1] < -5
    P = fitted.predict_proba(X, rows)
    z = X.rows(rows) @ common.coef_[0, :3] + common.coef_[0, 3] * P[:, 1] + common.intercept_[0]
    assert P[:, 0] == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-5)
