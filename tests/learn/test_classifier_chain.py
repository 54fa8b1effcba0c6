from __future__ import annotations

import logging

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from skmultilearn.problem_transform import ClassifierChain

from tagsage.features.matrix import FeatureMatrix
from tagsage.learn.classifiers import make_classifier


def chain_of(coef, chain, intercept, order, **settings):
    """A fitted chain with given weights."""
    fitted = make_classifier("classifier_chain", seed=0, **settings)
    n_tags = len(intercept)
    fitted.fitted = {"features": len(coef)}
    fitted.arrays = {
        "coef": np.array(coef, dtype=np.float32),
        "chain": np.array(chain, dtype=np.float32),
        "intercept": np.array(intercept, dtype=np.float32),
        "order": np.array(order),
        "constant": np.zeros(n_tags, dtype=np.float32),
        "varying": np.arange(n_tags),
    }
    return fitted


def test_chain_passing_on_decisions_agrees_with_scikit_multilearn(data):
    ours = make_classifier("classifier_chain", seed=0, pass_on_decisions=True)
    ours.fit(data.X, data.rows[:200], data.Y[:200])
    order = ours.arrays["order"].tolist()
    theirs = ClassifierChain(LogisticRegression(max_iter=1000), order=order)
    theirs.fit(data.X.rows(data.rows[:200]).astype(float), data.Y[:200].astype(int))
    expected = theirs.predict_proba(data.X.rows(data.rows[200:]).astype(float)).toarray()
    P = ours.predict_proba(data.X, data.rows[200:])
    assert expected == pytest.approx(P, abs=1e-3)
    for tag, model in enumerate(theirs.classifiers_):
        place = order.index(tag)
        assert ours.arrays["coef"][:, tag] == pytest.approx(model.coef_[0, :12], abs=2e-3)
        before = ours.arrays["chain"][order[:place], tag]
        assert before == pytest.approx(model.coef_[0, 12:], abs=2e-3)


def test_chain_is_in_the_order_of_the_tags_from_the_rarest(data):
    Y = np.zeros((300, 4), dtype=bool)
    for tag, articles in enumerate((40, 20, 90, 20)):
        Y[:articles, tag] = True
    fitted = make_classifier("classifier_chain", seed=0).fit(data.X, data.rows, Y)
    assert fitted.arrays["order"].tolist() == [1, 3, 0, 2]
    known = fitted.arrays["chain"] != 0
    assert known.sum(axis=0).tolist() == [2, 0, 3, 1]
    assert known[1].tolist() == [True, False, True, True]


def test_chain_tells_each_tag_the_probabilities_of_those_before_it():
    # Three tags on one feature, in the order 1, 2, 0.
    weights = {
        "coef": [[1.0, 2.0, 0.0]],
        "chain": [[0, 0, 0], [4, 0, 3], [-2, 0, 0]],
        "intercept": [0.0, -1.0, -2.0],
        "order": [1, 2, 0],
    }
    X = FeatureMatrix([np.array([[1.0], [-1.0]], dtype=np.float32)])

    def logistic(z):
        return 1 / (1 + np.exp(-z))

    P = chain_of(**weights).predict_proba(X, np.arange(2))
    one = logistic(np.array([1.0, -3.0]))
    two = logistic(3 * one - 2)
    zero = logistic(np.array([1.0, -1.0]) + 4 * one - 2 * two)
    assert pytest.approx(np.stack([zero, one, two], axis=1), abs=1e-6) == P

    decided = chain_of(**weights, pass_on_decisions=True).predict_proba(X, np.arange(2))
    # Tag 1 is decided for, against; so is tag 2 (z = 1, -2).
    two = logistic(np.array([1.0, -2.0]))
    zero = logistic(np.array([1.0 + 4 - 2, -1.0]))
    assert pytest.approx(np.stack([zero, one, two], axis=1), abs=1e-6) == decided


def test_chain_of_a_single_tag_is_one_vs_rest(data):
    chain, single = (
        make_classifier(name, seed=0).fit(data.X, data.rows, data.Y[:, :1])
        for name in ("classifier_chain", "ovr_logistic")
    )
    P = single.predict_proba(data.X, data.rows)
    assert chain.predict_proba(data.X, data.rows) == pytest.approx(P, abs=1e-6)


def test_chain_learns_what_a_tag_says_of_another_where_features_say_nothing():
    rng = np.random.default_rng(0)
    X = FeatureMatrix([rng.normal(size=(200, 3)).astype(np.float32)])
    rare = np.arange(200) < 80
    Y = np.stack([~rare, rare], axis=1)
    fitted = make_classifier("classifier_chain", seed=0).fit(X, rng.permutation(200), Y)
    assert fitted.arrays["order"].tolist() == [1, 0]
    assert fitted.arrays["chain"][1, 0] < -5


def test_chain_that_does_not_converge_says_how_many_tags(data, caplog):
    with caplog.at_level(logging.WARNING):
        fitted = make_classifier("classifier_chain", seed=0, max_iter=1)
        fitted.fit(data.X, data.rows, data.Y)
    assert fitted.fitted["unfinished_tags"] == 5
    assert "classifier_chain: 5 of 5 tags did not converge" in caplog.text
