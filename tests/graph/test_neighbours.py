"""Sampling of neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.graph.graphsage.neighbours import layer_seed, sample_neighbours


def graph(rows: list[list[int]]) -> sp.csr_array:
    dense = np.zeros((len(rows), len(rows)), dtype=np.float32)
    for node, targets in enumerate(rows):
        dense[node, targets] = 1
    return sp.csr_array(dense)


def test_a_node_with_few_neighbours_has_all_of_them() -> None:
    neighbours, counts = sample_neighbours(
        graph([[1, 2, 3], [0], [], [2, 1]]), np.array([0, 1, 2, 3]), 3, layer_seed(1, 0, 0)
    )
    assert counts.tolist() == [3, 1, 0, 2]
    assert neighbours[0].tolist() == [1, 2, 3]
    assert neighbours[1].tolist() == [0, 1, 1], "empty slots hold the node itself"
    assert neighbours[2].tolist() == [2, 2, 2]
    assert neighbours[3].tolist() == [1, 2, 3]


def test_a_node_with_many_neighbours_has_distinct_ones_of_its_own() -> None:
    random = np.random.default_rng(0)
    dense = random.random((200, 200)) < 0.3
    matrix = sp.csr_array(dense.astype(np.float32))
    neighbours, counts = sample_neighbours(matrix, np.arange(200), 10, layer_seed(5, 1, 1))
    assert (counts == 10).all()
    for node, row in enumerate(neighbours):
        assert len(set(row.tolist())) == 10
        assert dense[node, row].all()


def test_a_node_has_the_same_sample_wherever_it_appears() -> None:
    matrix = sp.csr_array((np.random.default_rng(0).random((50, 50)) < 0.5).astype(np.float32))
    seed = layer_seed(3, 2, 0)
    everyone, _ = sample_neighbours(matrix, np.arange(50), 4, seed)
    some, _ = sample_neighbours(matrix, np.array([17, 3, 17]), 4, seed)
    assert some.tolist() == everyone[[17, 3, 17]].tolist()


@pytest.mark.parametrize("other", [(4, 2, 0), (3, 1, 0), (3, 2, 1)])
def test_seed_epoch_and_layer_each_change_the_sample(other: tuple[int, int, int]) -> None:
    matrix = sp.csr_array((np.random.default_rng(0).random((50, 50)) < 0.5).astype(np.float32))
    first, _ = sample_neighbours(matrix, np.arange(50), 4, layer_seed(3, 2, 0))
    second, _ = sample_neighbours(matrix, np.arange(50), 4, layer_seed(*other))
    assert (first != second).any()


@pytest.mark.parametrize(("size", "degree"), [(1, 5), (2, 5), (4, 5)])
def test_every_set_of_neighbours_is_equally_likely(size: int, degree: int) -> None:
    # Many nodes with the same neighbours stand for many draws.
    n = 20_000
    indptr = np.arange(n + 1) * degree
    matrix = sp.csr_array(
        (np.ones(n * degree, dtype=np.float32), np.tile(np.arange(degree), n), indptr),
        shape=(n, n),
    )
    neighbours, _ = sample_neighbours(matrix, np.arange(n), size, layer_seed(1, 1, 0))
    codes = np.sort((1 << neighbours).sum(axis=1))
    _, times = np.unique(codes, return_counts=True)
    sets = {(1, 5): 5, (2, 5): 10, (4, 5): 5}[size, degree]
    assert len(times) == sets
    expected = n / sets
    chi_squared = ((times - expected) ** 2 / expected).sum()
    assert chi_squared < 30, "beyond the 0.05% tail for nine degrees of freedom"


def test_no_nodes_have_no_neighbours() -> None:
    neighbours, counts = sample_neighbours(
        graph([[1], [0]]), np.zeros(0, dtype=int), 3, layer_seed(1, 0, 0)
    )
    assert neighbours.shape == (0, 3)
    assert counts.shape == (0,)
