from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.learn.classifiers import neighbours
from tagsage.learn.classifiers.neighbours import nearest


def all_pairs(queries, among, k, without=None):
    """The obvious way: all products, each row sorted, the lower row first among equals."""
    products = queries.astype(np.float64) @ among.astype(np.float64).T
    if without is not None:
        products[np.arange(len(queries)), without] = -np.inf
    return np.argsort(-products, axis=1, kind="stable")[:, :k]


def test_nearest_rows_are_those_with_the_largest_products():
    among = np.array([[1, 0], [0, 1], [0.8, 0.6], [-1, 0]], dtype=np.float16)
    queries = np.array([[1, 0], [0, -1]], dtype=np.float32)
    assert nearest(queries, among, k=3).tolist() == [[0, 2, 1], [0, 3, 2]]


def test_nearest_rows_leave_each_querys_own_row_out():
    among = np.eye(3, dtype=np.float32)
    own = np.arange(3)
    assert nearest(among, among, k=1).tolist() == [[0], [1], [2]]
    assert nearest(among, among, k=1, without=own).tolist() == [[1], [0], [0]]


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 9), st.integers(2, 60), st.integers(0, 3)),
    numbers=st.integers(1, 90),
    leave_out=st.booleans(),
)
def test_nearest_rows_block_by_block_are_those_of_all_pairs(seed, shape, numbers, leave_out):
    n, m, d = shape
    rng = np.random.default_rng(seed)
    # Whole numbers: products are exact, and many of them equal.
    queries = rng.integers(-2, 3, size=(n, d)).astype(np.float32)
    among = rng.integers(-2, 3, size=(m, d)).astype(np.float16)
    without = rng.integers(0, m, size=n) if leave_out else None
    k = int(rng.integers(1, m + 1 - leave_out))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "BLOCK_NUMBERS", numbers)
        found = nearest(queries, among, k=k, without=without)
    assert np.array_equal(found, all_pairs(queries, among, k, without))


def test_no_query_has_no_neighbours():
    assert nearest(np.zeros((0, 2), np.float32), np.ones((3, 2), np.float32), k=2).shape == (0, 2)


@pytest.mark.parametrize(("k", "without", "most"), [(0, None, 3), (4, None, 3), (3, [0], 2)])
def test_more_neighbours_than_there_are_rows_are_refused(k, without, most):
    queries, among = np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)
    own = None if without is None else np.array(without)
    with pytest.raises(ValueError, match=f"k must be from 1 to {most}, not {k}"):
        nearest(queries, among, k=k, without=own)
