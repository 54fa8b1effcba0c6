"""The largest entries of rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from tagsage.graph.top_k import top_entries


def oracle(dense: np.ndarray, top_k: int) -> np.ndarray:
    """Sort every row; the lower column comes first among equals."""
    kept = np.zeros_like(dense)
    for row, values in enumerate(dense):
        best = sorted(range(len(values)), key=lambda column: (-values[column], column))[:top_k]
        kept[row, best] = values[best]
    return kept


def test_the_two_largest_of_a_row_stay_and_the_lower_columns_of_equal_ones():
    matrix = sp.csr_array(
        np.array([[0.1, 0.5, 0.3, 0.0], [0.2, 0.2, 0.2, 0.9], [0.0, 0.4, 0.0, 0.0], [0, 0, 0, 0]])
    )
    found = top_entries(matrix, 2)
    expected = [[0, 0.5, 0.3, 0], [0.2, 0, 0, 0.9], [0, 0.4, 0, 0], [0, 0, 0, 0]]
    assert found.toarray().tolist() == expected
    assert found.nnz == 5


def test_the_matrix_given_stays_as_it_was():
    matrix = sp.csr_array(
        (np.array([0.5, 0.0, 0.7]), np.array([2, 1, 0]), np.array([0, 3])), shape=(1, 3)
    )
    found = top_entries(matrix, 3)
    assert (found.indices.tolist(), found.data.tolist()) == ([0, 2], [0.7, 0.5])
    assert (matrix.indices.tolist(), matrix.nnz) == ([2, 1, 0], 3)


@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(0, 12), st.integers(1, 12)),
    top_k=st.integers(1, 13),
)
def test_any_matrix_keeps_what_sorting_every_row_keeps(seed, shape, top_k):
    random = np.random.default_rng(seed)
    dense = random.integers(0, 4, shape).astype(np.float32)
    found = top_entries(sp.csr_array(dense), top_k)
    assert np.array_equal(found.toarray(), oracle(dense, top_k))
    assert found.has_sorted_indices
    assert found.dtype == np.float32


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 2)])
def test_a_matrix_without_entries_stays_empty(shape):
    found = top_entries(sp.csr_array(shape, dtype=np.float32), 1)
    assert (found.shape, found.nnz) == (shape, 0)
