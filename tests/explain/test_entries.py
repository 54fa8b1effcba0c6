"""Entries left out of sparse rows, values and best of groups, against dense matrices."""

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.explain.entries import best_of_groups, expand, values_at, without_entries


def matrix(seed: int, shape: tuple[int, int] = (7, 9)) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    dense = rng.random(shape) * (rng.random(shape) < 0.4)
    made = sp.csr_array(dense)
    made.sort_indices()
    return made


def test_entries_of_rows_by_hand():
    made = sp.csr_array(np.array([[1, 0, 2], [0, 0, 0], [0, 3, 0]]))
    place, entry = expand(made.indptr, np.array([2, 1, 0, 2]))
    assert place.tolist() == [0, 2, 2, 3]
    assert made.data[entry].tolist() == [3, 1, 2, 3]


@pytest.mark.parametrize("seed", range(5))
def test_each_entry_left_out_in_turn_is_the_dense_row_with_a_zero(seed):
    made = matrix(seed)
    rows = np.repeat(np.arange(7), np.diff(made.indptr))
    without = without_entries(made, rows, np.arange(made.nnz), np.arange(made.nnz))
    expected = made.toarray()[rows]
    expected[np.arange(made.nnz), made.indices] = 0
    assert np.array_equal(without.toarray(), expected)


def test_several_entries_left_out_together_and_none():
    made = sp.csr_array(np.array([[1.0, 2, 3], [4, 5, 0]]))
    without = without_entries(made, np.array([0, 1, 0]), np.array([0, 0]), np.array([0, 2]))
    assert without.toarray().tolist() == [[0, 2, 0], [4, 5, 0], [1, 2, 3]]


@pytest.mark.parametrize("seed", range(3))
def test_single_values_are_those_of_the_dense_matrix(seed):
    made = matrix(seed)
    rows, columns = (part.ravel() for part in np.indices(made.shape))
    order = np.random.default_rng(seed).permutation(len(rows))
    values = values_at(made, rows[order], columns[order])
    assert np.array_equal(values, made.toarray()[rows[order], columns[order]])


def test_values_of_rows_without_entries_are_zero():
    made = sp.csr_array(np.array([[0, 0], [1, 0]]))
    assert values_at(made, np.array([0, 0]), np.array([0, 1])).tolist() == [0, 0]
    assert values_at(sp.csr_array((2, 2)), np.array([1]), np.array([1])).tolist() == [0]


def test_best_of_groups_by_hand():
    group = np.array([1, 0, 1, 1, 0])
    value = np.array([0.5, 0.1, 0.9, 0.5, 0.2])
    assert best_of_groups(group, value, 2).tolist() == [4, 1, 2, 0]
    assert best_of_groups(group[:0], value[:0], 2).tolist() == []
