"""Sparse matrices on disk and by blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from tagsage.errors import TagsageError
from tagsage.graph.csr import (
    CsrWriter,
    gather_entries,
    induced_subgraph,
    load_csr,
    row_blocks,
    save_csr,
)


def random_graph(n: int, density: float, seed: int = 0) -> sp.csr_array:
    return sp.csr_array(
        sp.random_array((n, n), density=density, rng=np.random.default_rng(seed)), dtype=np.float32
    )


def is_mapped(array: np.ndarray) -> bool:
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


@pytest.mark.parametrize("mmap", [True, False])
def test_a_saved_matrix_loads_as_it_was(tmp_path: Path, mmap: bool) -> None:
    matrix = random_graph(20, 0.2)
    save_csr(tmp_path / "m", matrix)
    loaded = load_csr(tmp_path / "m", mmap=mmap)
    assert loaded.dtype == np.float32
    assert loaded.indices.dtype == np.int32
    np.testing.assert_array_equal(loaded.toarray(), matrix.toarray())
    assert is_mapped(loaded.indices) == is_mapped(loaded.data) == mmap


def test_a_matrix_written_block_by_block_equals_the_whole(tmp_path: Path) -> None:
    matrix = random_graph(23, 0.3)
    with CsrWriter(tmp_path / "m", columns=23) as writer:
        for start, stop in ((0, 5), (5, 6), (6, 23)):
            writer.append(matrix[start:stop])
    np.testing.assert_array_equal(load_csr(tmp_path / "m").toarray(), matrix.toarray())


def test_a_matrix_without_rows_or_entries_survives_disk(tmp_path: Path) -> None:
    with CsrWriter(tmp_path / "empty", columns=0):
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


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.data())
def test_gathered_entries_are_those_of_the_rows_in_order(
    lengths: list[int], data: st.DataObject
) -> None:
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=8)), dtype=int)
    positions, counts = gather_entries(indptr, rows)
    expected = [entry for row in rows for entry in range(indptr[row], indptr[row + 1])]
    assert positions.tolist() == expected
    assert counts.tolist() == [lengths[row] for row in rows]


def test_the_induced_subgraph_keeps_only_relationships_between_its_nodes() -> None:
    matrix = random_graph(30, 0.3)
    nodes = np.array([1, 4, 5, 17, 29])
    np.testing.assert_array_equal(
        induced_subgraph(matrix, nodes).toarray(), matrix.toarray()[np.ix_(nodes, nodes)]
    )


def test_the_subgraph_of_no_nodes_is_empty() -> None:
    assert induced_subgraph(random_graph(5, 0.5), np.zeros(0, dtype=int)).shape == (0, 0)
