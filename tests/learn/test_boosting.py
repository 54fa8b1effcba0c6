from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from tagsage.features.matrix import FeatureMatrix
from tagsage.learn.classifiers import Validation, make_classifier
from tagsage.learn.classifiers.boosting import Trees, complete_trees

NODE = [
    ("value", np.float64),
    ("feature_idx", np.int64),
    ("num_threshold", np.float64),
    ("left", np.uint32),
    ("right", np.uint32),
    ("is_leaf", np.uint8),
]


@pytest.fixture(autouse=True)
def one_core():
    """Many small parallel loops wait for each other on a busy machine."""
    with threadpool_limits(limits=1):
        yield


def library(settings, *, epochs: int, seed: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        learning_rate=settings["learning_rate"],
        max_iter=epochs,
        max_leaf_nodes=2 ** settings["max_depth"],
        max_depth=settings["max_depth"],
        min_samples_leaf=settings["min_samples_leaf"],
        l2_regularization=settings["l2"],
        max_features=settings["max_features"],
        max_bins=settings["max_bins"],
        early_stopping=False,
        random_state=seed,
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_depth": 1, "l2": 0.0, "max_features": 1.0},
        {"max_depth": 5, "min_samples_leaf": 2, "max_bins": 255, "max_features": 0.5},
    ],
)
def test_boosting_agrees_with_scikit_learn(data, settings):
    ours = make_classifier("boosting", seed=4, epochs=15, **settings)
    ours.fit(data.X, data.rows[:200], data.Y[:200])
    P = ours.predict_proba(data.X, data.rows)
    for tag in range(5):
        theirs = library(ours.settings, epochs=15, seed=4)
        theirs.fit(data.X.rows(data.rows[:200]), data.Y[:200, tag])
        expected = theirs.predict_proba(data.X.rows(data.rows))[:, 1]
        assert P[:, tag] == pytest.approx(expected, abs=1e-6)


def test_boosting_agrees_with_scikit_learn_on_values_right_at_the_thresholds():
    """Thresholds lie half-way between values; here float32 cannot hold the half-way points."""
    low = np.float32(1)
    values = np.array([low, np.nextafter(low, np.float32(2))], dtype=np.float32)
    features = np.repeat(values, 30)[:, None]
    Y = np.repeat([[False], [True]], 30, axis=0)
    X, rows = FeatureMatrix([features]), np.arange(60)
    ours = make_classifier("boosting", seed=0, l2=0.0).fit(X, rows, Y)
    theirs = library(ours.settings, epochs=ours.settings["epochs"], seed=0).fit(features, Y[:, 0])
    P = ours.predict_proba(X, rows)[:, 0]
    assert pytest.approx(theirs.predict_proba(features)[:, 1], abs=1e-6) == P
    assert P[0] < 0.1 < 0.9 < P[-1]


def test_boosting_keeps_the_number_of_trees_with_the_least_validation_loss(data):
    settings = {"l2": 0.0, "learning_rate": 0.5, "min_samples_leaf": 2, "max_features": 1.0}
    train, held_out = data.rows[:150], data.rows[150:]
    watched = make_classifier("boosting", seed=0, max_epochs=12, **settings)
    watched.fit(data.X, train, data.Y[:150], validation=Validation(held_out, data.Y[150:]))
    losses = []
    for epochs in range(1, 13):
        fitted = make_classifier("boosting", seed=0, epochs=epochs, **settings)
        P = fitted.fit(data.X, train, data.Y[:150]).predict_proba(data.X, held_out)
        assert fitted.fitted["validation_losses"] == []
        losses.append(-np.log(np.where(data.Y[150:], P, 1 - P)).sum() / len(held_out))
    assert watched.fitted["validation_losses"] == pytest.approx(losses, rel=1e-4)
    epochs = watched.fitted["epochs"]
    assert epochs == np.argmin(losses) + 1
    assert 1 < epochs < 12
    again = make_classifier("boosting", seed=0, epochs=epochs, **settings)
    again.fit(data.X, train, data.Y[:150])
    assert all(np.array_equal(watched.arrays[key], again.arrays[key]) for key in again.arrays)


def test_trees_give_the_value_of_the_leaf_that_a_row_comes_to():
    trees = Trees(
        feature=np.array([[0, 1, 1], [1, 0, 0]], dtype=np.int32),
        threshold=np.array([[0, -1, 1], [0.5, 0, 9]], dtype=np.float32),
        value=np.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=np.float32),
    )
    rows = np.array([[0, -1], [0, 0], [1, 1], [1, 2]], dtype=np.float32)
    assert trees.values(rows.T).tolist() == [[1, 2, 3, 4], [5, 5, 7, 7]]


def test_trees_without_a_split_give_their_value_to_all():
    trees = Trees(
        np.zeros((2, 0), np.int32), np.zeros((2, 0), np.float32), np.array([[3], [4]], np.float32)
    )
    assert trees.values(np.zeros((5, 3), np.float32)).tolist() == [[3, 3, 3], [4, 4, 4]]


def test_trees_of_uneven_depth_are_filled_up():
    """One tree is a leaf; the other's left branch ends early."""
    leaf = np.array([(7, 0, 0, 0, 0, 1)], dtype=NODE)
    uneven = np.array(
        [
            (0, 2, 0.5, 1, 2, 0),
            (1, 0, 0, 0, 0, 1),
            (0, 1, 1 + 2**-40, 3, 4, 0),
            (2, 0, 0, 0, 0, 1),
            (3, 0, 0, 0, 0, 1),
        ],
        dtype=NODE,
    )
    trees = complete_trees([leaf, uneven], depth=2)
    assert trees.feature.tolist() == [[0, 0, 0], [2, 0, 1]]
    # 1 + 2^-40 rounds to 1 in float32; so does 1 - 2^-40, but that lies below 1.
    assert trees.threshold.tolist() == [[np.inf] * 3, [0.5, np.inf, 1]]
    assert trees.value.tolist() == [[7, 7, 7, 7], [1, 1, 2, 3]]
    uneven["num_threshold"][2] = 1 - 2**-40
    below = complete_trees([uneven], depth=2).threshold[0, 2]
    assert below == np.nextafter(np.float32(1), np.float32(0))
    rows = np.array([[0, 0, 0], [0, 1, 1], [0, 2, 1]], dtype=np.float32)
    assert trees.values(rows.T).tolist() == [[7, 7, 7], [1, 2, 3]]
