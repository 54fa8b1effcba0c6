from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from skmultilearn.adapt import MLkNN

from tagsage.features.matrix import FeatureMatrix, unit_blocks, unit_rows
from tagsage.learn.classifiers import make_classifier


@pytest.mark.parametrize(("k", "s"), [(10, 1.0), (3, 0.5)])
def test_mlknn_agrees_with_scikit_multilearn(data, k, s):
    train, test = data.rows[:150], data.rows[150:190]
    ours = make_classifier("mlknn", seed=0, k=k, s=s).fit(data.X, train, data.Y[:150])
    theirs = MLkNN(k=k, s=s, ignore_first_neighbours=1)
    theirs.knn_ = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="cosine")
    # At the fit, an article is its own first neighbour, and is left out; a new one has none.
    theirs.fit(ours.arrays["articles"].astype(np.float64), data.Y[:150].astype(int))
    theirs.ignore_first_neighbours = 0
    new = unit_rows(data.X.rows(test), data.X.block_widths, unit_blocks(data.X)).astype(np.float64)
    expected = theirs.predict_proba(new).toarray()
    assert ours.predict_proba(data.X, test) == pytest.approx(expected, abs=1e-6)


def test_mlknn_computes_what_is_worked_out_by_hand():
    # Two groups of two; of the first both have the tag, of the second one has it.
    features = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 0.05]], dtype=np.float32)
    Y = np.array([[True], [True], [True], [False]])
    X, train = FeatureMatrix([features]), np.arange(4)
    fitted = make_classifier("mlknn", seed=0, k=1).fit(X, train, Y)
    # δ of the four, without themselves: 1, 1, 0, 1.
    without_tag, with_tag = 2 / 6 * 1 / 3, 4 / 6 * 2 / 5
    assert fitted.arrays["posterior"][0, 0] == pytest.approx(with_tag / (with_tag + without_tag))
    # The new article's neighbour has the tag: 4/6 · 3/5 against 2/6 · 2/3.
    P = fitted.predict_proba(X, np.array([4]))
    assert P[0, 0] == pytest.approx((4 / 6 * 3 / 5) / (4 / 6 * 3 / 5 + 2 / 6 * 2 / 3))
