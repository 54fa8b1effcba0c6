"""Precision and recall, beside those of every threshold one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.evaluate import curves
from tagsage.evaluate.curves import precision_recall


def test_precision_recall_of_a_worked_example():
    P = np.array([[1.0, 0.75], [0.5, 0.25]], dtype=np.float32)
    Y = np.array([[False, True], [False, True]])
    found = precision_recall(P, Y)
    # At 1.0 nothing right is found yet: the curve begins with the first right pair.
    assert found["threshold"].tolist() == [0.75, 0.25]
    assert found["precision"].tolist() == [1 / 2, 2 / 4]
    assert found["recall"].tolist() == [1 / 2, 1]


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 12),
    n_tags=st.integers(1, 6),
    points=st.integers(2, 9),
    numbers=st.sampled_from([1, 8, 10**6]),
)
def test_any_point_has_the_precision_and_recall_of_its_threshold(seed, n, n_tags, points, numbers):
    random = np.random.default_rng(seed)
    P = (random.integers(0, 9, (n, n_tags)) / random.integers(8, 12)).astype(np.float32)
    Y = random.random((n, n_tags)) < 0.3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "BLOCK_NUMBERS", numbers)
        found = precision_recall(P, Y, points=points)
    assert len(found) <= points
    assert found["threshold"].is_monotonic_decreasing
    assert found["recall"].is_monotonic_increasing
    for line in found.itertuples():
        assigned = np.float32(line.threshold) <= P
        assert line.precision == pytest.approx((assigned & Y).sum() / assigned.sum())
        assert line.recall == pytest.approx((assigned & Y).sum() / Y.sum())
    if Y.any():
        assert found["recall"].iloc[-1] == 1
        assert found["recall"].iloc[0] > 0
    else:
        assert found.empty


def test_points_are_spread_over_recall():
    random = np.random.default_rng(0)
    Y = random.random((400, 20)) < 0.1
    P = (0.3 * Y + 0.7 * random.random(Y.shape)).astype(np.float32)
    found = precision_recall(P, Y, points=11)
    np.testing.assert_allclose(found["recall"], np.linspace(0, 1, 11), atol=0.02)


def test_without_articles_there_is_no_curve():
    nothing = np.zeros((0, 3))
    assert precision_recall(nothing.astype(np.float32), nothing.astype(bool)).empty


def test_negative_zero_is_the_lowest_score():
    P = np.array([[-0.0, 0.5]], dtype=np.float32)
    found = precision_recall(P, np.array([[True, True]]))
    assert found["threshold"].tolist() == [0.5, 0.0]


@pytest.mark.parametrize("score", [-0.1, float("nan")])
def test_scores_that_are_none_are_refused(score):
    with pytest.raises(ValueError, match="a score is below 0, or no number"):
        precision_recall(np.array([[score]], dtype=np.float32), np.array([[True]]))


def test_other_shapes_and_too_few_points_are_refused():
    P, Y = np.zeros((2, 3), dtype=np.float32), np.zeros((2, 3), dtype=bool)
    with pytest.raises(ValueError, match=r"shapes differ: P \(2, 3\), Y \(1, 3\)"):
        precision_recall(P, Y[:1])
    with pytest.raises(ValueError, match="points=1 must be at least 2"):
        precision_recall(P, Y, points=1)
