from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from skmultilearn.problem_transform import LabelPowerset

from tagsage.learn.classifiers import make_classifier, multinomial
from tagsage.learn.classifiers.multinomial import MultinomialLogistic


def classes(n: int = 400, d: int = 8, n_classes: int = 6):
    rng = np.random.default_rng(2)
    X = (rng.normal(size=(n, d)) * np.linspace(0.3, 3, d) + 5).astype(np.float32)
    z = (X - 5) @ rng.normal(size=(d, n_classes)) + rng.gumbel(size=(n, n_classes))
    return X, z.argmax(axis=1) * 10


@pytest.mark.parametrize("C", [0.01, 0.1, 1.0])
def test_multinomial_logistic_agrees_with_scikit_learn(C, monkeypatch):
    monkeypatch.setattr(multinomial, "BLOCK_NUMBERS", 600)  # blocks of 100 rows
    X, y = classes()
    ours = MultinomialLogistic(C=C, max_iter=500, tol=0).fit(X[:-7], y[:-7])
    theirs = LogisticRegression(C=C, max_iter=5000, tol=1e-9)
    theirs.fit(X[:-7].astype(np.float64), y[:-7])
    assert np.array_equal(ours.classes_, theirs.classes_)
    # float32 knows the objective's minimum to seven digits, and where it lies to about half.
    assert ours.coef_ == pytest.approx(theirs.coef_, abs=5e-3 * np.abs(theirs.coef_).max())
    assert ours.predict_proba(X) == pytest.approx(theirs.predict_proba(X.astype(float)), abs=3e-3)
    assert (ours.predict(X) == theirs.predict(X.astype(float))).mean() > 0.99


def test_multinomial_logistic_at_its_default_tolerance_is_close_to_the_minimum():
    X, y = classes()
    default, exact = MultinomialLogistic().fit(X, y), MultinomialLogistic(tol=0).fit(X, y)
    assert default.n_iter_ < exact.n_iter_
    assert exact.objective_ <= default.objective_ <= 1.01 * exact.objective_


def test_multinomial_logistic_started_at_its_solution_stays_there():
    X, y = classes()
    first = MultinomialLogistic(tol=1e-6).fit(X, y)
    again = MultinomialLogistic(tol=1e-6).fit(X, y, start=(first.coef_, first.intercept_))
    assert again.n_iter_ <= 2
    assert again.predict_proba(X) == pytest.approx(first.predict_proba(X), abs=1e-2)


def test_multinomial_logistic_of_a_single_class_is_sure_of_it():
    model = MultinomialLogistic().fit(np.ones((3, 2)), ["a", "a", "a"])
    assert model.predict_proba(np.zeros((1, 2))).tolist() == [[1]]


def test_label_powerset_agrees_with_scikit_multilearn_over_scikit_learn(data):
    """The study's model, by the study's libraries; ours must be the same model, faster."""
    train, test = np.arange(200), np.arange(200, 300)
    ours = make_classifier("label_powerset", seed=0, tol=0.0, max_iter=500)
    ours.fit(data.X, data.rows[train], data.Y[train])
    theirs = LabelPowerset(LogisticRegression(max_iter=5000, tol=1e-8))
    with warnings.catch_warnings():
        # scikit-multilearn asks scikit-learn for what it will drop.
        warnings.simplefilter("ignore", FutureWarning)
        theirs.fit(data.X.rows(data.rows[train]).astype(float), data.Y[train].astype(int))
        expected = theirs.predict_proba(data.X.rows(data.rows[test]).astype(float)).toarray()
    P = ours.predict_proba(data.X, data.rows[test])
    assert expected == pytest.approx(P, abs=5e-3)


def test_label_powerset_takes_our_regression_as_its_classifier(data):
    theirs = LabelPowerset(MultinomialLogistic(tol=1e-5), require_dense=[True, True])
    theirs.fit(data.X.rows(data.rows), data.Y.astype(int))
    ours = make_classifier("label_powerset", seed=0, tol=1e-5).fit(data.X, data.rows, data.Y)
    expected = theirs.predict_proba(data.X.rows(data.rows[:20])).toarray()
    assert ours.predict_proba(data.X, data.rows[:20]) == pytest.approx(expected, abs=1e-5)


def test_label_powerset_knows_exactly_the_label_sets_of_the_training_part(data):
    fitted = make_classifier("label_powerset", seed=0).fit(data.X, data.rows, data.Y)
    known = {tuple(row) for row in fitted.arrays["sets"].tolist()}
    assert known == {tuple(row) for row in data.Y.tolist()}
    assert fitted.fitted["label_sets"] == len(known)


def test_label_powerset_started_from_a_fit_on_fewer_articles_finds_the_same(data):
    settings = {"tol": 1e-6, "max_iter": 300}
    part = make_classifier("label_powerset", seed=0, **settings)
    part.fit(data.X, data.rows[:150], data.Y[:150])
    cold = make_classifier("label_powerset", seed=0, **settings).fit(data.X, data.rows, data.Y)
    warm = make_classifier("label_powerset", seed=0, **settings)
    warm.fit(data.X, data.rows, data.Y, start=part)
    assert warm.fitted["label_sets"] > part.fitted["label_sets"]
    assert warm.predict_proba(data.X, data.rows) == pytest.approx(
        cold.predict_proba(data.X, data.rows), abs=1e-2
    )
