from __future__ import annotations

import logging

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from tagsage.learn.classifiers import make_classifier


def test_ovr_logistic_agrees_with_scikit_learns_one_vs_rest(data):
    ours = make_classifier("ovr_logistic", seed=0).fit(data.X, data.rows, data.Y)
    theirs = OneVsRestClassifier(LogisticRegression(max_iter=1000))
    theirs.fit(data.X.rows(data.rows), data.Y.astype(int))
    expected = theirs.predict_proba(data.X.rows(np.arange(320)))
    assert ours.predict_proba(data.X, np.arange(320)) == pytest.approx(expected, abs=1e-5)


def test_ovr_logistic_that_does_not_converge_says_how_many_tags(data, caplog):
    with caplog.at_level(logging.WARNING):
        fitted = make_classifier("ovr_logistic", seed=0, max_iter=1)
        fitted.fit(data.X, data.rows, data.Y)
    assert fitted.fitted["unfinished_tags"] == 5
    assert "ovr_logistic: 5 of 5 tags did not converge" in caplog.text
