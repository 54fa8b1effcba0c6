from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from skmultilearn.problem_transform import LabelPowerset

from tagsage.learn.classifiers import make_classifier
from tagsage.learn.classifiers.label_powerset import fit_multinomial


def classes(n: int = 400, d: int = 8, n_classes: int = 6):
    rng = np.random.default_rng(2)
    X = (rng.normal(size=(n, d)) * np.linspace(0.3, 3, d) + 5).astype(np.float32)
    z = (X - 5) @ rng.normal(size=(d, n_classes)) + rng.gumbel(size=(n, n_classes))
    return X, z.argmax(axis=1)


@pytest.mark.parametrize("C", [0.01, 0.1, 1.0])
def test_multinomial_regression_agrees_with_scikit_learn(C):
    X, y = classes()
    many = {"steps": 2000, "batch_size": 400, "seed": 0}
    W, b = fit_multinomial(X[:-7], y[:-7], inverse_penalty=C, **many)
    theirs = LogisticRegression(C=C, max_iter=5000, tol=1e-9)
    theirs.fit(X[:-7].astype(np.float64), y[:-7])
    # float32 knows the objective's minimum to seven digits, and where it lies to about half.
    assert pytest.approx(W, abs=5e-3 * np.abs(theirs.coef_).max()) == theirs.coef_.T
    expected = theirs.predict_proba(X.astype(float))
    assert softmax(X @ W + b, axis=1) == pytest.approx(expected, abs=3e-3)


def test_label_powerset_agrees_with_scikit_multilearn_over_scikit_learn(data):
    """The study's model, by the study's libraries; ours must be the same model, faster."""
    train, test = np.arange(200), np.arange(200, 300)
    ours = make_classifier("label_powerset", seed=0, min_steps=2000)
    ours.fit(data.X, data.rows[train], data.Y[train])
    theirs = LabelPowerset(LogisticRegression(max_iter=5000, tol=1e-8))
    with warnings.catch_warnings():
        # scikit-multilearn asks scikit-learn for what it will drop.
        warnings.simplefilter("ignore", FutureWarning)
        theirs.fit(data.X.rows(data.rows[train]).astype(float), data.Y[train].astype(int))
        expected = theirs.predict_proba(data.X.rows(data.rows[test]).astype(float)).toarray()
    P = ours.predict_proba(data.X, data.rows[test])
    assert expected == pytest.approx(P, abs=5e-3)


def test_label_powerset_knows_exactly_the_label_sets_of_the_training_part(data):
    fitted = make_classifier("label_powerset", seed=0).fit(data.X, data.rows, data.Y)
    known = {tuple(row) for row in fitted.arrays["sets"].tolist()}
    assert known == {tuple(row) for row in data.Y.tolist()}
    assert fitted.fitted["label_sets"] == len(known)
