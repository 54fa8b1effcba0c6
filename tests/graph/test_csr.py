"""Sparse matrices on disk and by blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.errors import TagsageError
from tagsage.graph.csr import csr_writer, induced_subgraph, load_csr


def random_graph(n: int, density: float) -> sp.csr_array:
    random = np.random.default_rng(0)
    return sp.csr_array(sp.random_array((n, n), density=density, rng=random), dtype=np.float32)


def is_mapped(array: np.ndarray) -> bool:
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def test_a_matrix_written_block_by_block_loads_as_the_whole(tmp_path: Path) -> None:
    matrix = random_graph(23, 0.3)
    with csr_writer(tmp_path / "m", columns=23) as append:
        for start, stop in ((0, 5), (5, 6), (6, 23)):
            append(matrix[start:stop])
    loaded = load_csr(tmp_path / "m")
    assert loaded.dtype == np.float32
    assert loaded.indices.dtype == np.int32
    np.testing.assert_array_equal(loaded.toarray(), matrix.toarray())
    assert is_mapped(loaded.indices)
    assert is_mapped(loaded.data)


def test_a_folder_without_a_matrix_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(TagsageError, match=rf"sparse matrix in {tmp_path}.*run the stage"):
        load_csr(tmp_path)


@pytest.mark.parametrize("nodes", [[1, 4, 5, 17, 29], []])
def test_the_induced_subgraph_keeps_only_relationships_between_its_nodes(nodes: list[int]) -> None:
    matrix = random_graph(30, 0.3)
    found = induced_subgraph(matrix, np.array(nodes, dtype=int))
    np.testing.assert_array_equal(found.toarray(), matrix.toarray()[np.ix_(nodes, nodes)])
