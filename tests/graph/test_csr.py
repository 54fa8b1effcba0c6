"""Sparse matrices on disk and by blocks, and their largest entries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from tagsage.errors import TagsageError
from tagsage.graph.csr import csr_writer, induced_subgraph, load_csr, row_blocks, save_csr
from tagsage.graph.top_k import within_top_k


def random_graph(n: int, density: float) -> sp.csr_array:
    random = np.random.default_rng(0)
    return sp.csr_array(sp.random_array((n, n), density=density, rng=random), dtype=np.float32)


def is_mapped(array: np.ndarray) -> bool:
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


@pytest.mark.parametrize("mmap", [True, False])
def test_a_matrix_written_block_by_block_loads_as_the_whole(tmp_path: Path, mmap: bool) -> None:
    matrix = random_graph(23, 0.3)
    with csr_writer(tmp_path / "m", columns=23) as append:
        for start, stop in ((0, 5), (5, 6), (6, 23)):
            append(matrix[start:stop])
    loaded = load_csr(tmp_path / "m", mmap=mmap)
    assert loaded.dtype == np.float32
    assert loaded.indices.dtype == np.int32
    np.testing.assert_array_equal(loaded.toarray(), matrix.toarray())
    assert is_mapped(loaded.indices) == is_mapped(loaded.data) == mmap


def test_a_matrix_without_rows_or_entries_survives_disk(tmp_path: Path) -> None:
    with csr_writer(tmp_path / "empty", columns=0):
        pass
    assert load_csr(tmp_path / "empty").shape == (0, 0)
    save_csr(tmp_path / "zeros", sp.csr_array((3, 4), dtype=np.float32))
    assert load_csr(tmp_path / "zeros").shape == (3, 4)


def test_a_folder_without_a_matrix_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(TagsageError, match=rf"sparse matrix in {tmp_path}.*run the stage"):
        load_csr(tmp_path)


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 60))
def test_row_blocks_cover_all_rows_within_the_budget(cost: list[int], budget: int) -> None:
    blocks = list(row_blocks(np.array(cost), budget))
    assert [row for start, stop in blocks for row in range(start, stop)] == list(range(len(cost)))
    for start, stop in blocks:
        assert sum(cost[start:stop]) <= budget or stop == start + 1


@pytest.mark.parametrize("nodes", [[1, 4, 5, 17, 29], []])
def test_the_induced_subgraph_keeps_only_relationships_between_its_nodes(nodes: list[int]) -> None:
    matrix = random_graph(30, 0.3)
    found = induced_subgraph(matrix, np.array(nodes, dtype=int))
    np.testing.assert_array_equal(found.toarray(), matrix.toarray()[np.ix_(nodes, nodes)])


# -- the largest entries of rows -----------------------------------------------------------------
def top_entries(matrix: sp.csr_array, top_k: int) -> np.ndarray:
    kept = matrix.copy()
    kept.data[~within_top_k(matrix.data, np.diff(matrix.indptr).astype(np.int64), top_k)] = 0
    return kept.toarray()


def test_the_two_largest_of_a_row_stay_and_the_lower_columns_of_equal_ones():
    matrix = sp.csr_array(
        np.array([[0.1, 0.5, 0.3, 0.0], [0.2, 0.2, 0.2, 0.9], [0.0, 0.4, 0.0, 0.0], [0, 0, 0, 0]])
    )
    expected = [[0, 0.5, 0.3, 0], [0.2, 0, 0, 0.9], [0, 0.4, 0, 0], [0, 0, 0, 0]]
    assert top_entries(matrix, 2).tolist() == expected


@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    top_k=st.integers(1, 13),
)
def test_any_matrix_keeps_what_sorting_every_row_keeps(seed, shape, top_k):
    dense = np.random.default_rng(seed).integers(0, 4, shape).astype(np.float32)
    expected = np.zeros_like(dense)
    for row, values in enumerate(dense):
        best = sorted(range(len(values)), key=lambda column: (-values[column], column))[:top_k]
        expected[row, best] = values[best]
    matrix = sp.csr_array(dense)
    found = top_entries(matrix, top_k)
    assert np.array_equal(found, expected)
    assert np.array_equal(matrix.toarray(), dense), "the input was changed"
