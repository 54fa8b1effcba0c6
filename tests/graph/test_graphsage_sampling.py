"""What GraphSAGE draws: neighbours, batches, positive and negative examples."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.graph.graphsage.model import layer_seed, sample_neighbours
from tagsage.graph.graphsage.train import Batches, draw_batches
from tests.graph.conftest import settings_of


# -- neighbours ----------------------------------------------------------------------------------
def test_a_node_with_few_neighbours_has_all_of_them() -> None:
    dense = np.zeros((4, 4), dtype=np.float32)
    for node, targets in enumerate([[1, 2, 3], [0], [], [2, 1]]):
        dense[node, targets] = 1
    neighbours, counts = sample_neighbours(sp.csr_array(dense), np.arange(4), 3, np.uint64(1))
    assert counts.tolist() == [3, 1, 0, 2]
    # Empty slots hold the node itself.
    assert neighbours.tolist() == [[1, 2, 3], [0, 1, 1], [2, 2, 2], [1, 2, 3]]


def dense_graph(n: int, share: float) -> sp.csr_array:
    return sp.csr_array((np.random.default_rng(0).random((n, n)) < share).astype(np.float32))


def test_a_node_with_many_neighbours_has_distinct_ones_of_its_own_wherever_it_appears() -> None:
    graph, seed = dense_graph(200, 0.3), layer_seed(5, 1, 1)
    neighbours, counts = sample_neighbours(graph, np.arange(200), 10, seed)
    assert (counts == 10).all()
    for node, row in enumerate(neighbours.tolist()):
        assert len(set(row)) == 10
        assert set(row) <= set(graph[[node]].indices.tolist())
    some, _ = sample_neighbours(graph, np.array([17, 3, 17]), 10, seed)
    assert some.tolist() == neighbours[[17, 3, 17]].tolist()


@pytest.mark.parametrize("other", [(4, 2, 0), (3, 1, 0), (3, 2, 1)])
def test_seed_epoch_and_layer_each_change_the_sample(other: tuple[int, int, int]) -> None:
    graph = dense_graph(50, 0.5)
    first, _ = sample_neighbours(graph, np.arange(50), 4, layer_seed(3, 2, 0))
    second, _ = sample_neighbours(graph, np.arange(50), 4, layer_seed(*other))
    assert (first != second).any()


@pytest.mark.parametrize(("size", "sets"), [(1, 5), (2, 10), (4, 5)])
def test_every_set_of_neighbours_is_equally_likely(size: int, sets: int) -> None:
    # Many nodes with the same five neighbours stand for many draws.
    n = 20_000
    ones = np.ones(5 * n, dtype=np.float32)
    graph = sp.csr_array((ones, np.tile(np.arange(5), n), np.arange(n + 1) * 5), shape=(n, n))
    neighbours, _ = sample_neighbours(graph, np.arange(n), size, layer_seed(1, 1, 0))
    _, times = np.unique((1 << neighbours).sum(axis=1), return_counts=True)
    assert len(times) == sets
    chi_squared = ((times - n / sets) ** 2 / (n / sets)).sum()
    assert chi_squared < 30, "beyond the 0.05% tail for nine degrees of freedom"


# -- batches -------------------------------------------------------------------------------------
def ring(n: int) -> sp.csr_array:
    """Join each node to the one before it and the one behind it."""
    following = np.roll(np.eye(n, dtype=np.float32), 1, axis=1)
    return sp.csr_array(np.maximum(following, following.T))


def batches_of(graph: sp.csr_array, size: int, *, depth: int = 15, epochs: int = 20) -> Batches:
    settings = settings_of(
        graphsage_batch_size=size, graphsage_search_depth=depth, graphsage_epochs=epochs
    )
    return draw_batches(graph, settings)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    # ceil(4 * 10 / 2597 * 260); the ratio is at most 1.
    [(2597, 5), (100, 4), (30, 3), (7, 1)],
)
def test_an_iteration_uses_as_many_batches_as_in_gds(nodes: int, expected: int) -> None:
    assert batches_of(ring(nodes), 10).schedule.shape == (20, 10, expected)


def test_batches_are_consecutive_nodes_and_the_last_may_be_short() -> None:
    batches = batches_of(ring(23), 10)
    assert batches.nodes[0].tolist() == list(range(10))
    assert batches.nodes[2].tolist() == [20, 21, 22] + [0] * 7
    np.testing.assert_allclose(batches.share[0], 0.1)
    np.testing.assert_allclose(batches.share[2], [1 / 3] * 3 + [0] * 7, rtol=1e-6)
    assert set(np.unique(batches.schedule)) == {0, 1, 2}


def test_a_positive_example_is_at_most_search_depth_steps_away() -> None:
    batches = batches_of(ring(400), 50, depth=3)
    step = (batches.positives - batches.nodes + 200) % 400 - 200
    assert set(np.abs(step).ravel().tolist()) == {0, 1, 2, 3}


def test_a_walk_ends_where_no_relationship_leads_on() -> None:
    one_way = sp.csr_array(np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32))
    assert batches_of(one_way, 3).positives[0, 1:].tolist() == [2, 2]


def test_negative_examples_differ_from_each_other_and_from_the_positives() -> None:
    batches = batches_of(ring(200), 20)
    for positives, negatives in zip(batches.positives, batches.negatives, strict=True):
        assert len(set(negatives.tolist())) == 20
        assert not set(negatives.tolist()) & set(positives.tolist())


def test_negative_examples_are_drawn_by_degree_to_the_power_three_quarters() -> None:
    # Node i has 16, 1 or no relationships, a third of the nodes each: 16^0.75 = 8.
    n = 3000
    degrees = np.tile([16, 1, 0], n // 3)
    indptr = np.concatenate([[0], np.cumsum(degrees)])
    targets = np.concatenate([(i + 1 + np.arange(d)) % n for i, d in enumerate(degrees)])
    ones = np.ones(len(targets), dtype=np.float32)
    graph = sp.csr_array((ones, targets, indptr), shape=(n, n))
    negatives = batches_of(graph, 5, epochs=100).negatives.ravel()
    shares = np.bincount(negatives % 3, minlength=3) / len(negatives)
    assert shares[2] == 0
    assert shares[0] / shares[1] == pytest.approx(8, rel=0.15)


def test_a_graph_with_too_few_other_nodes_still_gets_negative_examples() -> None:
    batches = batches_of(ring(3), 3)
    assert batches.negatives.shape == (1, 3)
    assert ((batches.negatives >= 0) & (batches.negatives < 3)).all()
