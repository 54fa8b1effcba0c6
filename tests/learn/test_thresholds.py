from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from tagsage.learn.thresholds import global_threshold, sparse_threshold


def f1_at(P, Y, threshold) -> float:
    assigned = threshold <= P
    return 2 * (assigned & Y).sum() / (assigned.sum() + Y.sum())


def test_global_threshold_of_a_worked_example():
    # Cuts: .9 -> 2*1/(1+3); .8 -> 2*1/(2+3); .7 -> 2*2/(3+3); .4 -> 2*3/(4+3) is best; .1 less.
    P = np.array([[0.9, 0.8], [0.7, 0.4], [0.1, 0.1]], dtype=np.float32)
    Y = np.array([[True, False], [True, True], [False, False]])
    assert global_threshold(P, Y) == np.float32(0.4)


def test_global_threshold_assigns_equal_scores_together():
    P = np.array([[0.5, 0.5, 0.2]], dtype=np.float32)
    assert global_threshold(P, np.array([[True, False, False]])) == np.float32(0.5)
    assert global_threshold(P, np.array([[False, True, False]])) == np.float32(0.5)


def test_global_threshold_of_equally_good_cuts_is_the_highest():
    # Cut .9: 2*1/(1+2) = 2/3; cut .1: 2*2/(4+2) = 2/3.
    P = np.array([[0.9, 0.4, 0.3, 0.1]], dtype=np.float32)
    assert global_threshold(P, np.array([[True, False, False, True]])) == np.float32(0.9)


def test_global_threshold_without_right_tags_or_rows_is_a_half():
    assert global_threshold(
        np.ones((2, 2), dtype=np.float32), np.zeros((2, 2), dtype=bool)
    ) == np.float32(0.5)
    assert global_threshold(
        np.ones((0, 2), dtype=np.float32), np.zeros((0, 2), dtype=bool)
    ) == np.float32(0.5)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_global_threshold_is_as_good_as_the_best_of_all_scores(pairs):
    P = np.array([[score for score, _ in pairs]], dtype=np.float32)
    Y = np.array([[truth for _, truth in pairs]])
    if Y.any():
        best = max(f1_at(P, Y, score) for score in P[0])
        assert f1_at(P, Y, np.float32(global_threshold(P, Y))) == best


def test_sparse_threshold_of_a_worked_example():
    # Right: .9, .4 and a pair without a score. Cuts: .9 -> 2/(1+3); .8 -> 2/(2+3); .4 -> 4/(3+3).
    scores = sp.csr_array(np.array([[0.9, 0.8, 0.0], [0.0, 0.4, 0.1]], dtype=np.float32))
    Y = sp.csr_array(np.array([[True, False, True], [False, True, False]]))
    assert sparse_threshold(scores, Y) == np.float32(0.4)


def test_sparse_threshold_without_right_tags_or_scores_is_a_half():
    scores, nothing = sp.csr_array(np.ones((2, 2), dtype=np.float32)), sp.csr_array((2, 2))
    assert sparse_threshold(scores, nothing.astype(bool)) == np.float32(0.5)
    assert sparse_threshold(nothing.astype(np.float32), scores.astype(bool)) == np.float32(0.5)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 6), n_tags=st.integers(1, 6))
def test_sparse_threshold_is_the_best_of_all_scores_when_the_others_are_never_assigned(
    seed, n, n_tags
):
    random = np.random.default_rng(seed)
    P = (random.integers(0, 5, (n, n_tags)) / 5).astype(np.float32)
    Y = random.random((n, n_tags)) < 0.3
    found = sparse_threshold(sp.csr_array(P), sp.csr_array(Y))
    scores = P[P > 0]
    if Y.any() and len(scores):
        assert found in scores
        assert f1_at(P, Y, np.float32(found)) == max(f1_at(P, Y, score) for score in scores)
