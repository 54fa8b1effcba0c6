"""Batches of GraphSAGE's training, and its settings."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.errors import TagsageError
from tagsage.graph.graphsage.batches import draw_batches
from tagsage.graph.graphsage.config import GraphSageConfig


def ring(n: int) -> sp.csr_array:
    dense = np.zeros((n, n), dtype=np.float32)
    for i in range(n):
        dense[i, [(i + 1) % n, (i - 1) % n]] = 1
    return sp.csr_array(dense)


def test_the_defaults_are_the_settings_of_the_study() -> None:
    config = GraphSageConfig()
    assert (config.dimensions, config.sample_sizes, config.search_depth) == (256, (10, 10), 15)
    assert (config.epochs, config.max_iterations, config.batch_size) == (20, 10, 10)
    assert (config.learning_rate, config.activation, config.aggregator) == (1e-4, "relu", "mean")
    assert (config.negative_weight, config.tolerance, config.penalty_l2) == (20, 1e-4, 0)


@pytest.mark.parametrize(
    ("nodes", "batch_size", "ratio", "expected"),
    [
        (2597, 10, None, 5),  # ceil(4 * 10 / 2597 * 260)
        (100, 10, None, 4),
        (30, 10, None, 3),  # the ratio is at most 1
        (7, 10, None, 1),
        (100, 10, 0.25, 3),  # ceil(0.25 * 10)
        (100, 10, 1.0, 10),
    ],
)
def test_an_iteration_uses_as_many_batches_as_in_gds(
    nodes: int, batch_size: int, ratio: float | None, expected: int
) -> None:
    config = GraphSageConfig(batch_size=batch_size, batch_sampling_ratio=ratio)
    assert config.batches_per_iteration(nodes) == expected


def test_batches_are_consecutive_nodes_and_the_last_may_be_short() -> None:
    batches = draw_batches(
        ring(23), GraphSageConfig(batch_size=10, epochs=4, max_iterations=3, search_depth=2)
    )
    assert batches.schedule.shape == (4, 3, 3)
    assert batches.nodes[0].tolist() == list(range(10))
    assert batches.nodes[2].tolist() == [20, 21, 22] + [0] * 7
    np.testing.assert_allclose(batches.share[0], 0.1)
    np.testing.assert_allclose(batches.share[2], [1 / 3] * 3 + [0] * 7, rtol=1e-6)
    assert batches.schedule.min() >= 0
    assert batches.schedule.max() < len(batches.nodes)


def test_a_positive_example_is_at_most_search_depth_steps_away() -> None:
    config = GraphSageConfig(batch_size=50, search_depth=3, epochs=1, max_iterations=40)
    batches = draw_batches(ring(400), config)
    step = (batches.positives - batches.nodes + 200) % 400 - 200
    assert set(np.abs(step).ravel().tolist()) == {0, 1, 2, 3}


def test_a_walk_ends_where_no_relationship_leads_on() -> None:
    one_way = sp.csr_array(np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32))
    batches = draw_batches(one_way, GraphSageConfig(batch_size=3, search_depth=9, seed=8))
    assert batches.positives[0, 2] == 2
    assert batches.positives[0, 1] == 2


def test_negative_examples_differ_from_each_other_and_from_the_positives() -> None:
    batches = draw_batches(ring(200), GraphSageConfig(batch_size=20, max_iterations=5, epochs=5))
    for positives, negatives in zip(batches.positives, batches.negatives, strict=True):
        assert len(set(negatives.tolist())) == 20
        assert not set(negatives.tolist()) & set(positives.tolist())


def test_negative_examples_are_drawn_by_degree_to_the_power_three_quarters() -> None:
    # Node i has 16, 1 or no relationships, a third of the nodes each: 16^0.75 = 8.
    n = 3000
    degrees = np.tile([16, 1, 0], n // 3)
    indptr = np.concatenate([[0], np.cumsum(degrees)])
    targets = np.concatenate([(i + 1 + np.arange(d)) % n for i, d in enumerate(degrees)])
    matrix = sp.csr_array((np.ones(len(targets), dtype=np.float32), targets, indptr), shape=(n, n))
    config = GraphSageConfig(batch_size=5, batch_sampling_ratio=1.0, epochs=4)
    negatives = draw_batches(matrix, config).negatives.ravel()
    shares = np.bincount(negatives % 3, minlength=3) / len(negatives)
    assert shares[2] == 0
    assert shares[0] / shares[1] == pytest.approx(8, rel=0.15)


def test_a_graph_with_too_few_other_nodes_still_gets_negative_examples() -> None:
    batches = draw_batches(ring(3), GraphSageConfig(batch_size=3))
    assert batches.negatives.shape == (1, 3)
    assert ((batches.negatives >= 0) & (batches.negatives < 3)).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dimensions": 0}, "dimensions must be at least 1, not 0"),
        ({"sample_sizes": ()}, r"sample_sizes must be one number above 0 .* not \(\)"),
        ({"sample_sizes": (10, 0)}, r"sample_sizes must be .* not \(10, 0\)"),
        ({"aggregator": "sum"}, "aggregator must be one of mean, pool, not 'sum'"),
        ({"activation": "tanh"}, "activation must be one of relu, sigmoid, not 'tanh'"),
        ({"learning_rate": 0}, "learning_rate must be above 0, not 0"),
        ({"penalty_l2": -1}, "penalty_l2 must be at least 0, not -1"),
        ({"batch_sampling_ratio": 0}, r"batch_sampling_ratio must be in \(0, 1\], not 0"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(TagsageError, match=message):
        GraphSageConfig(**wrong)
