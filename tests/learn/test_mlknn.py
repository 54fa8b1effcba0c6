from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from skmultilearn.adapt import MLkNN

from tagsage.features.matrix import FeatureMatrix, unit_blocks, unit_rows
from tagsage.learn.classifiers import make_classifier


def library(k: int, s: float, *, itself: bool) -> MLkNN:
    """scikit-multilearn's, with our measure of nearness."""
    model = MLkNN(k=k, s=s, ignore_first_neighbours=0 if itself else 1)
    model.knn_ = NearestNeighbors(
        n_neighbors=k, algorithm="brute", metric=lambda one, other: 9 - one @ other
    )
    return model


@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize(("k", "s"), [(10, 1.0), (3, 0.5)])
def test_mlknn_agrees_with_scikit_multilearn(data, k, s, itself):
    train, test = data.rows[:150], data.rows[150:190]
    ours = make_classifier("mlknn", seed=0, k=k, s=s, count_itself=itself)
    ours.fit(data.X, train, data.Y[:150])
    theirs = library(k, s, itself=itself)
    # The library's articles are their own first neighbours: with ignore_first_neighbours they are
    # not. But then it leaves out the first neighbour of a new article, too, unless told anew.
    theirs.fit(ours.arrays["features"].astype(np.float64), data.Y[:150].astype(int))
    theirs.ignore_first_neighbours = 0
    new = unit_rows(data.X.rows(test), data.X.block_widths, unit_blocks(data.X)).astype(np.float64)
    expected = theirs.predict_proba(new).toarray()
    assert ours.predict_proba(data.X, test) == pytest.approx(expected, abs=1e-6)
    assert ours.arrays["prior"] == pytest.approx(theirs._prior_prob_true, abs=1e-6)


def test_mlknn_computes_what_is_worked_out_by_hand():
    # Two groups of two; of the first both have the tag, of the second one has it.
    features = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 0.05]], dtype=np.float32)
    Y = np.array([[True], [True], [True], [False]])
    X, train = FeatureMatrix([features]), np.arange(4)
    fitted = make_classifier("mlknn", seed=0, k=1).fit(X, train, Y)
    # δ of the four, without themselves: 1, 1, 0, 1.
    assert fitted.arrays["prior"].tolist() == pytest.approx([4 / 6])
    assert fitted.arrays["conditional"][1, 0].tolist() == pytest.approx([2 / 5, 3 / 5])
    assert fitted.arrays["conditional"][0, 0].tolist() == pytest.approx([1 / 3, 2 / 3])
    # The new article's neighbour has the tag: 4/6 · 3/5 against 2/6 · 2/3.
    P = fitted.predict_proba(X, np.array([4]))
    assert P[0, 0] == pytest.approx((4 / 6 * 3 / 5) / (4 / 6 * 3 / 5 + 2 / 6 * 2 / 3))


def test_mlknn_adds_the_cosines_of_blocks_and_ignores_single_columns():
    one = np.array([[2, 0], [0, 5], [3, 3], [1, 0]], dtype=np.float32)
    two = np.array([[0, 1], [0, 0], [7, 0], [9, 1]], dtype=np.float32)
    count = np.array([[0], [0], [100], [100]], dtype=np.float32)
    X = FeatureMatrix([one, two, count])
    Y = np.array([[True], [False], [False]])
    fitted = make_classifier("mlknn", seed=0, k=1, count_itself=True).fit(X, np.arange(3), Y)
    assert fitted.arrays["features"].shape == (3, 4)
    # The last article is at cosines 1 + .11, 0 + 0 and .71 + .99 to the others: the third wins.
    near = fitted._tagged_neighbours(fitted._directions(X.rows(np.array([3]))), 1)
    assert near.tolist() == [[0]]
    untagged = FeatureMatrix([one, np.zeros_like(two), count])
    near = fitted._tagged_neighbours(fitted._directions(untagged.rows(np.array([3]))), 1)
    assert near.tolist() == [[1]]


def test_mlknn_of_fewer_articles_than_neighbours_takes_those_there_are(data):
    fitted = make_classifier("mlknn", seed=0).fit(data.X, data.rows[:4], data.Y[:4])
    assert fitted.fitted["neighbours"] == 3
    itself = make_classifier("mlknn", seed=0, count_itself=True)
    assert itself.fit(data.X, data.rows[:4], data.Y[:4]).fitted["neighbours"] == 4


def test_mlknn_of_single_columns_alone_knows_no_nearness_and_gives_nearly_the_shares(data):
    X = FeatureMatrix([data.X.rows(np.arange(len(data.X)))[:, :1]])
    fitted = make_classifier("mlknn", seed=0).fit(X, data.rows, data.Y)
    first, second = fitted.predict_proba(X, np.array([0, 1]))
    assert first == pytest.approx(data.Y.mean(axis=0), abs=0.06)
    assert second.tolist() == first.tolist()
