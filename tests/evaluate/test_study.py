"""The study's own table, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tagsage.evaluate.study import study_scores, study_table
from tagsage.features import FeatureMatrix
from tagsage.learn.calibration import Calibration
from tagsage.learn.candidate import CalibratedClassifier, FittedCandidate
from tagsage.learn.classifiers.label_powerset import LabelPowerset
from tagsage.learn.thresholds import Thresholds

A, B, AB = 0, 1, 2  # label sets
TEXT, GRAPHSAGE = "text:label_powerset", "graphsage:label_powerset"


@pytest.fixture
def fitted() -> FittedCandidate:
    """Return a model of the tags a, b and c, whose features are the log-odds of its label sets."""
    classifier = LabelPowerset(seed=0)
    classifier.arrays = {
        "coef": np.eye(3, dtype=np.float32),
        "intercept": np.zeros(3, dtype=np.float32),
        "sets": np.array([[True, False], [False, True], [True, True]]),
        "constant": np.zeros(3, dtype=np.float32),
        "varying": np.array([0, 1]),
    }
    main = CalibratedClassifier(classifier, Calibration.identity(3), Thresholds.constant(3))
    return FittedCandidate(main, ["a", "b", "c"], {})


def features(*sets: int) -> FeatureMatrix:
    """Return articles for which these sets are the most likely, with .4 of the probability."""
    P = np.full((len(sets), 3), 0.3)
    P[np.arange(len(sets)), sets] = 0.4
    return FeatureMatrix([np.log(P).astype(np.float32)])


def test_an_article_gets_its_most_likely_set_and_not_the_tags_above_a_threshold(fitted):
    X, rows = features(A, B, AB), np.arange(3)
    sets = fitted.main.classifier.most_likely_sets(X, rows)
    assert sets.astype(int).tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 0]]
    # a is in two sets, with .7 together; b with .6.
    assert fitted.predict(X, rows).assigned.astype(int).tolist() == [[1, 1, 0]] * 3


def test_no_article_gets_the_empty_set(fitted):
    fitted.main.classifier.arrays["sets"][AB] = False
    P = np.log([[0.1, 0.3, 0.6]]).astype(np.float32)
    sets = fitted.main.classifier.most_likely_sets(FeatureMatrix([P]), np.arange(1))
    assert sets.astype(int).tolist() == [[0, 1, 0]]


def test_a_tag_that_all_training_articles_have_is_in_every_set(fitted):
    fitted.main.classifier.arrays["constant"][2] = 1
    sets = fitted.main.classifier.most_likely_sets(features(A, B), np.array([1]))
    assert sets.astype(int).tolist() == [[0, 1, 1]]


def test_scores_are_those_that_the_study_computes_of_articles_with_a_target_tag(fitted):
    X = features(A, A, B, AB, B, A, AB)
    has = ["a", "ab", "b", "a", "c", ""]
    Y = np.array([[tag in own for tag in "abc"] for own in has])
    scores = study_scores(TEXT, fitted, X, np.arange(6), Y)
    # Right are the first and the third of five. a: 3 of 3, b: 1 of 3, c: never.
    assert scores == {
        "accuracy": pytest.approx(2 / 5),
        "macro_precision": pytest.approx((1 + 1 / 3 + 0) / 3),
        "weighted_precision": pytest.approx((3 * 1 + 2 / 3 + 1 * 0) / 6),
    }
    assert study_scores("text+lists:label_powerset", fitted, X, np.arange(6), Y) is None


def scores(weighted: float) -> dict[str, float]:
    return {"accuracy": 0.1, "macro_precision": 0.2, "weighted_precision": weighted}


def test_the_model_with_the_best_weighted_precision_comes_first_and_of_equal_ones_text():
    found = study_table({TEXT: scores(0.3), "words:linear": None, GRAPHSAGE: scores(0.4)})
    assert found.to_numpy().tolist() == [[GRAPHSAGE, 0.1, 0.2, 0.4], [TEXT, 0.1, 0.2, 0.3]]
    equal = study_table({GRAPHSAGE: scores(0.3), TEXT: scores(0.3)})
    assert equal["candidate"].tolist() == [TEXT, GRAPHSAGE]


def test_without_its_models_the_table_is_empty():
    found = study_table({"words:linear": None})
    assert found.columns.tolist()[:2] == ["candidate", "accuracy"]
    assert found.empty
